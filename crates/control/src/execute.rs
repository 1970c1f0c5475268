//! Carries out a plan: phase after phase, the steps of a phase side by side.
//!
//! It leaves nothing to its own judgement. A step that fails ends its phase once the others are
//! done, and the phases after it do not begin.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use model::event::Event;
use model::fault::{Class, Fault};
use model::instance::Instance;
use model::outline::OutlinePhase;
use model::port::LogRequest;
use model::spec::Credentials;
use model::step::{EngineStep, Outcome, Phase, Plan, Step};

use crate::hands::Hands;
use crate::wait;

/// How many steps of a phase run side by side. An engine makes processes and containers no faster
/// for being asked more often at once, and servers answer one by one.
const AT_ONCE: usize = 32;

/// How long steps that are under way may still take once the user wants to stop. They end sooner
/// by themselves, but for a job.
const GRACE: Duration = Duration::from_secs(5);

/// How many lines of a job's output are handed on.
const JOB_LINES_MAX: usize = 200;

/// Hears of each step, so that it can be kept.
pub(crate) trait Journal {
    /// A phase begins.
    fn begins(&self, phase: &Phase) -> Result<(), Fault>;
    /// A phase has ended.
    fn ended(&self, phase: &Phase, outcome: &Outcome) -> Result<(), Fault>;
}

/// Where a plan is carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scene<'a> {
    /// In an instance, with its platform.
    Instance(&'a Instance),
    /// In a cluster of which only the servers are known.
    Servers(Option<&'a Credentials>),
    /// The same, and a server outside of it whose keys come in.
    Import {
        cluster: Option<&'a Credentials>,
        source: Option<&'a Credentials>,
    },
}

impl<'a> Scene<'a> {
    /// With which user the servers are spoken to.
    pub(crate) const fn credentials(self) -> Option<&'a Credentials> {
        match self {
            Self::Instance(instance) => instance.spec.operator.as_ref(),
            Self::Servers(credentials) => credentials,
            Self::Import { cluster, .. } => cluster,
        }
    }

    /// The same for a server outside of the cluster.
    const fn source_credentials(self) -> Option<&'a Credentials> {
        match self {
            Self::Instance(_) | Self::Servers(_) => None,
            Self::Import { source, .. } => source,
        }
    }

    /// The instance, for steps on its platform.
    pub(crate) fn instance(self) -> Result<&'a Instance, Fault> {
        match self {
            Self::Instance(instance) => Ok(instance),
            Self::Servers(_) | Self::Import { .. } => Err(Fault::new(
                "SY4099",
                Class::Failed,
                "a plan for servers alone has a step on a platform; this is a bug",
            )),
        }
    }
}

/// Carries out a plan.
pub(crate) async fn execute(
    hands: &Hands,
    scene: Scene<'_>,
    plan: &Plan,
    journal: &dyn Journal,
) -> Result<Outcome, Fault> {
    let of = plan.phases.len();
    for (index, phase) in plan.phases.iter().enumerate() {
        if hands.cancel.is_cancelled() {
            return Ok(Outcome::Interrupted);
        }
        hands.tell(Event::PhaseStarted {
            number: index + 1,
            of,
            phase: OutlinePhase::from(phase),
        });
        journal.begins(phase)?;
        let began = hands.clock.now();
        let outcome = run_phase(hands, scene, phase).await;
        journal.ended(phase, &outcome)?;
        if outcome != Outcome::Done {
            return Ok(outcome);
        }
        hands.tell(Event::PhaseFinished {
            title: phase.title.clone(),
            took: hands.clock.now().saturating_sub(began),
        });
    }
    Ok(Outcome::Done)
}

async fn run_phase(hands: &Hands, scene: Scene<'_>, phase: &Phase) -> Outcome {
    let of = phase.steps.len();
    let mut steps = stream::iter(&phase.steps)
        // A step that has not begun when the user wants to stop does not begin.
        .take_while(|_| futures::future::ready(!hands.cancel.is_cancelled()))
        .map(|step| async move { (step, apply(hands, scene, step).await) })
        .buffer_unordered(AT_ONCE);
    let mut failed: Option<Fault> = None;
    let mut done = 0;
    let mut stopping = false;
    loop {
        let next = if stopping {
            match tokio::time::timeout(GRACE, steps.next()).await {
                Ok(next) => next,
                Err(_) => return Outcome::Interrupted,
            }
        } else {
            tokio::select! {
                next = steps.next() => next,
                () = hands.cancel.cancelled() => {
                    stopping = true;
                    continue;
                }
            }
        };
        match next {
            None => break,
            Some((_, Ok(()))) => {
                done += 1;
                hands.tell(Event::PhaseProgress { done, of });
            }
            Some((step, Err(fault))) => {
                hands.tell(Event::StepFailed {
                    subject: step.subject(),
                    fault: fault.clone(),
                });
                failed.get_or_insert(fault);
            }
        }
    }
    match failed {
        Some(fault) if fault.class == Class::Interrupted => Outcome::Interrupted,
        Some(fault) => Outcome::Failed(fault),
        None if done < of => Outcome::Interrupted,
        None => Outcome::Done,
    }
}

async fn apply(hands: &Hands, scene: Scene<'_>, step: &Step) -> Result<(), Fault> {
    match step {
        Step::Engine(step) => {
            let instance = scene.instance()?;
            let applied = hands.engine(instance)?.apply(&instance.name, step).await;
            if let EngineStep::EnsureDone(job) = step {
                hand_on_output(hands, instance, &job.name).await;
            }
            applied
        }
        Step::Cluster(step) => hands.nodes.apply(step, scene.credentials()).await,
        Step::Steward(step) => {
            let ground = steward::Ground {
                nodes: hands.nodes.as_ref(),
                clock: hands.clock.as_ref(),
                credentials: scene.credentials(),
                source_credentials: scene.source_credentials(),
                overseer: &hands.overseer(),
            };
            steward::apply(ground, step).await
        }
        Step::Wait(wait) => wait::until(hands, scene, wait).await,
    }
}

/// A job's output is part of what a delivery says, however it ended.
async fn hand_on_output(hands: &Hands, instance: &Instance, job: &model::ids::WorkloadName) {
    let request = LogRequest {
        workload: job.clone(),
        tail: JOB_LINES_MAX,
        follow: false,
    };
    let workload = job.to_string();
    let mut tell = |line: &str| {
        hands.tell(Event::JobOutput {
            workload: workload.clone(),
            line: line.to_owned(),
        });
    };
    // A log that cannot be read is no reason to fail what the job did.
    if let Ok(engine) = hands.engine(instance) {
        let _ = engine.logs(&instance.name, &request, &mut tell).await;
    }
}
