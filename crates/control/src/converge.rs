//! Brings an instance to what it should be: observes, plans, executes, and again until the plan is
//! empty. It needs no memory of what it did before.

use std::collections::BTreeMap;
use std::time::Duration;

use model::fault::{Class, Code, Fault};
use model::finding::{Finding, Severity};
use model::ids::WorkloadName;
use model::instance::Instance;
use model::outline::Outline;
use model::secret::Secret;
use model::step::{Outcome, Plan, Step};
use model::view::View;
use model::workload::{Existing, PlacedFile, Workload};
use plan::converge::Goal;
use plan::policy::{Policy, USUAL_MANNER};
use template::Discovery;

use crate::approve::{Approver, Question};
use crate::command::Control;
use crate::execute::{Journal, Scene, execute};
use crate::hands::Hands;
use crate::store::Store;
use crate::wait;

/// How many plans may follow one another. Two are usual: one that makes, and one that is empty.
/// Each round that fails and is tried again needs one more.
const ROUNDS_MAX: u32 = 8;

/// An election that was lost (`admin::promote`).
pub(crate) const NOT_ELECTED: Code = Code("SY2018");

/// The pause before another election is asked for. A replica that lost one holds the next after
/// four node time-outs, which are eight seconds and more.
const ELECTION_PAUSE: Duration = Duration::from_secs(1);

/// The limits of a run.
#[must_use]
pub(crate) const fn policy(limit: Duration) -> Policy {
    Policy {
        healthy_limit: limit,
        ready_limit: limit,
        elect_planned: true,
        manner: USUAL_MANNER,
    }
}

/// The workloads of an instance, rendered.
pub(crate) fn workloads(
    instance: &Instance,
    view: &View,
) -> Result<BTreeMap<WorkloadName, Workload>, Fault> {
    let discovery = Discovery::of(&instance.spec, &instance.layout, &BTreeMap::new());
    let mut rendered: BTreeMap<WorkloadName, Vec<PlacedFile>> = BTreeMap::new();
    for name in instance.layout.seats.keys() {
        let Some(service) = instance.spec.service(name.service()) else {
            continue;
        };
        for file in &service.files {
            let text = template::render(file, &instance.values, &discovery, name)?;
            rendered.entry(name.clone()).or_default().push(PlacedFile {
                target: file.target.clone(),
                text: Secret::new(text),
                existing: if file.keep {
                    Existing::Keep
                } else {
                    Existing::Replace
                },
            });
        }
    }
    Ok(plan::workloads::workloads(instance, view, &rendered))
}

/// The plan for an instance as it is seen now.
pub(crate) fn plan_for(instance: &Instance, view: &View, policy: Policy) -> Result<Plan, Fault> {
    let workloads = workloads(instance, view)?;
    let goal = Goal {
        instance,
        workloads: &workloads,
    };
    Ok(plan::converge::converge(goal, view, policy))
}

/// The instance once its shape is as it was to be: who has left has no seat any more.
pub(crate) async fn settle(
    control: &Control,
    store: &Store,
    instance: Instance,
) -> Result<Instance, Fault> {
    let view = control.hands.observe(&instance).await?;
    match plan::scale::settled(&instance, &view) {
        None => Ok(instance),
        Some(settled) => {
            store.save(&settled)?;
            Ok(settled)
        }
    }
}

/// What a run came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Converged {
    /// Whether anything had to be done.
    pub(crate) changed: bool,
    /// What was noticed at the end.
    pub(crate) findings: Vec<Finding>,
}

/// A run: the question is asked once, before the first plan is carried out.
pub(crate) struct Run<'a> {
    pub(crate) hands: &'a Hands,
    pub(crate) approver: &'a dyn Approver,
    pub(crate) journal: &'a dyn Journal,
    /// What the question is about: `deliver orders`.
    pub(crate) what: String,
    /// What should be known before the answer.
    pub(crate) review: Vec<Finding>,
    pub(crate) policy: Policy,
}

impl Run<'_> {
    /// Brings the instance to what it should be. `started` is called once, after the user agreed
    /// and before anything is done.
    pub(crate) async fn converge(
        mut self,
        instance: &Instance,
        mut started: impl FnMut() -> Result<(), Fault>,
    ) -> Result<Converged, Fault> {
        let mut changed = false;
        let mut has_started = false;
        let mut last_fault: Option<Fault> = None;
        let limit = self.hands.clock.now() + self.policy.ready_limit;
        let mut rounds = 0;
        while rounds < ROUNDS_MAX {
            rounds += 1;
            if self.hands.cancel.is_cancelled() {
                return Err(wait::interrupted());
            }
            let view = self.hands.observe(instance).await?;
            let plan = plan_for(instance, &view, self.policy)?;
            if plan.is_empty() {
                return self.at_rest(changed, plan);
            }
            // A replica that lags for a moment is waited for; nothing is changed by that.
            let is_wait = |step: &Step| matches!(step, Step::Wait(_));
            if !changed && !plan.phases.iter().flat_map(|it| &it.steps).all(is_wait) {
                self.ask(instance, &plan).await?;
                changed = true;
            }
            if !has_started {
                started()?;
                has_started = true;
            }
            let scene = Scene::Instance(instance);
            match execute(self.hands, scene, &plan, self.journal).await? {
                Outcome::Done => last_fault = None,
                Outcome::Interrupted => return Err(wait::interrupted()),
                Outcome::Failed(fault) => {
                    let again = last_fault
                        .as_ref()
                        .is_some_and(|last| last.code == fault.code);
                    if again && fault.code == NOT_ELECTED && self.hands.clock.now() < limit {
                        // It takes some node time-outs until there can be another election.
                        self.hands.clock.sleep(ELECTION_PAUSE).await;
                        rounds -= 1;
                        continue;
                    }
                    if fault.code == wait::STOPPED {
                        // The next plan starts it. The rounds limit how often.
                        last_fault = Some(fault);
                        continue;
                    }
                    if fault.class != Class::NotConverged || again || fault.code.0 == "SY4001" {
                        return Err(fault);
                    }
                    // The world may have moved on without us: look again, and plan anew. What was
                    // an election stays lost, and the roles are as good the other way round.
                    self.policy.elect_planned = false;
                    last_fault = Some(fault);
                }
            }
        }
        Err(last_fault.unwrap_or_else(|| {
            Fault::new(
                "SY4001",
                Class::NotConverged,
                format!("after {ROUNDS_MAX} plans there is still something to do"),
            )
            .with_help("what was asked for stays asked for: run it again to go on")
        }))
    }

    /// Nothing is left to do; whether that is good depends on what was noticed.
    fn at_rest(&self, changed: bool, plan: Plan) -> Result<Converged, Fault> {
        let critical = plan
            .findings
            .iter()
            .find(|finding| finding.severity == Severity::Critical);
        if let Some(finding) = critical {
            let mut fault = Fault::new(
                finding.code.0,
                Class::Unhealthy,
                format!("{}: {}", finding.subject, finding.message),
            );
            fault.help.clone_from(&finding.help);
            return Err(fault);
        }
        Ok(Converged {
            changed,
            findings: plan.findings,
        })
    }

    /// Asks the user. A plan that was overtaken while the user thought about it is not carried out.
    async fn ask(&self, instance: &Instance, plan: &Plan) -> Result<(), Fault> {
        let before = self.hands.clock.now();
        self.approver.approve(Question::Plan {
            what: &self.what,
            plan: &Outline::from(plan),
            findings: &self.review,
        })?;
        let thought = self.hands.clock.now().saturating_sub(before);
        if thought < STALE_AFTER {
            return Ok(());
        }
        let view = self.hands.observe(instance).await?;
        if view.fingerprint() == plan.based_on {
            return Ok(());
        }
        Err(Fault::new(
            "SY4007",
            Class::Refused,
            "the instance has changed since the plan was shown; nothing was done",
        )
        .with_help("run it again to see the plan for what is now"))
    }
}

/// A question that was answered sooner than this was answered by `--yes`, and nothing can have
/// changed meanwhile that the next look would not show.
const STALE_AFTER: Duration = Duration::from_millis(200);
