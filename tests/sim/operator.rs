//! The smallest driver there is: observes, plans, applies, and again. It runs the real decisions
//! and the real steward, without a store and a lock, so that thousands of schedules cost little;
//! `schedules` and `steps` run the whole driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::WorkloadName;
use model::instance::Instance;
use model::migration::{MoveProgress, Overseer, Wish};
use model::port::{Clock, Engine, Nodes};
use model::secret::Secret;
use model::step::{Condition, Phase, Plan, Step, Wait};
use model::view::{View, WorkloadPhase};
use model::workload::{Existing, PlacedFile, Workload};
use plan::converge::{Goal, converge, server_addresses};
use plan::policy::{Policy, USUAL_MANNER};
use plan::ready;
use template::Discovery;
use testkit::{SimClock, SimEngine, World};

/// How many plans may follow one another.
const ROUNDS_MAX: u32 = 12;

/// How long anything may be waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks at what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// The pause before nodes are told again what they have not heard.
const NUDGE_PAUSE: Duration = Duration::from_millis(250);

/// What changes a plan before it is carried out: a seeded bug, or nothing.
pub(crate) type Rewrite = fn(&mut Plan);

/// A driver.
pub(crate) struct Operator {
    pub(crate) engine: SimEngine,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) clock: SimClock,
    pub(crate) policy: Policy,
    pub(crate) rewrite: Rewrite,
    /// The phases that it began, and what came of each.
    story: Mutex<String>,
}

/// How slots are moved here: nobody measures latency on a clock that stands still.
pub(crate) const fn policy() -> Policy {
    let mut manner = USUAL_MANNER;
    manner.latency_max = None;
    manner.batch_keys_max = 4;
    manner.migrate_timeout = Duration::from_secs(2);
    Policy {
        healthy_limit: LIMIT,
        ready_limit: LIMIT,
        elect_planned: false,
        manner,
    }
}

/// Nobody hears how far it is, and it always goes on.
struct Unseen;

impl Overseer for Unseen {
    fn progress(&self, _: &MoveProgress) {}

    fn wish(&self) -> Wish {
        Wish::GoOn
    }
}

impl Operator {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            engine: world.engine(),
            nodes: Arc::new(world.nodes()),
            clock: world.clock(),
            policy: policy(),
            rewrite: |_| {},
            story: Mutex::default(),
        }
    }

    /// The phases that it began, and what came of each.
    pub(crate) fn phases(&self) -> String {
        self.story.lock().unwrap().clone()
    }

    fn tell(&self, word: &str) {
        self.story.lock().unwrap().push_str(word);
    }

    /// The fault of a run that has no end.
    pub(crate) fn hangs(&self) -> Fault {
        Fault::new("SY4001", Class::NotConverged, "it has no end")
    }

    /// What there is to see, as the driver looks at it.
    pub(crate) async fn observe(&self, instance: &Instance) -> Result<View, Fault> {
        let images = instance.spec.services.iter();
        let images: BTreeSet<_> = images.map(|service| service.image.clone()).collect();
        let engine = self.engine.observe(&instance.name, &images).await?;
        let servers = server_addresses(instance);
        let runs = |name: &WorkloadName| {
            let phase = engine.workloads.get(name).map(|it| &it.phase);
            matches!(phase, Some(WorkloadPhase::Running { .. }))
        };
        let seats = instance.layout.seats.iter();
        let running: Vec<NodeAddress> = seats
            .filter(|(name, seat)| servers.contains(&seat.address) && runs(name))
            .map(|(_, seat)| seat.address)
            .collect();
        let nodes = self.nodes.observe(&running, None).await;
        Ok(View { engine, nodes })
    }

    /// What is to be done.
    pub(crate) async fn plan(&self, instance: &Instance) -> Result<(Plan, View), Fault> {
        let view = self.observe(instance).await?;
        let workloads = workloads(instance, &view);
        let goal = Goal {
            instance,
            workloads: &workloads,
        };
        let mut plan = converge(goal, &view, self.policy);
        (self.rewrite)(&mut plan);
        Ok((plan, view))
    }

    /// Brings the instance to what it should be, and drops from it what is over. The instance is
    /// kept as the store would keep it: what was intended stays when this ends early.
    pub(crate) async fn converge(&self, instance: &mut Instance) -> Result<(), Fault> {
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let (plan, view) = self.plan(instance).await?;
            if plan.is_empty() {
                match plan::scale::settled(instance, &view) {
                    Some(settled) => *instance = settled,
                    None => return Ok(()),
                }
                continue;
            }
            match self.execute(instance, &plan).await {
                Ok(()) => last = None,
                Err(fault) if fault.class == Class::NotConverged && last.is_none() => {
                    last = Some(fault);
                }
                Err(fault) => return Err(fault),
            }
        }
        let message = format!("still something to do after {ROUNDS_MAX} plans");
        Err(last.unwrap_or_else(|| Fault::new("SY4001", Class::NotConverged, message)))
    }

    async fn execute(&self, instance: &Instance, plan: &Plan) -> Result<(), Fault> {
        for phase in &plan.phases {
            let at = self.clock.now().as_millis();
            self.tell(&format!("  {at} ms: {} ... ", phase.title));
            let done = self.phase(instance, phase).await;
            self.tell(&format!("{done:?}\n"));
            done?;
        }
        Ok(())
    }

    async fn phase(&self, instance: &Instance, phase: &Phase) -> Result<(), Fault> {
        let steps = phase.steps.iter().map(|step| self.apply(instance, step));
        join_all(steps).await.into_iter().collect()
    }

    async fn apply(&self, instance: &Instance, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Engine(step) => self.engine.apply(&instance.name, step).await,
            Step::Cluster(step) => self.nodes.apply(step, None).await,
            Step::Steward(step) => {
                let ground = steward::Ground {
                    nodes: self.nodes.as_ref(),
                    clock: &self.clock,
                    credentials: None,
                    source_credentials: None,
                    overseer: &Unseen,
                };
                steward::apply(ground, step).await
            }
            Step::Wait(wait) => self.wait(instance, wait).await,
        }
    }

    async fn wait(&self, instance: &Instance, wait: &Wait) -> Result<(), Fault> {
        let began = self.clock.now();
        let mut nudged: Option<Duration> = None;
        loop {
            let view = self.observe(instance).await?;
            let on = self.obstacle(wait, &view).await;
            let Some(on) = on else {
                return Ok(());
            };
            let now = self.clock.now();
            if now.saturating_sub(began) >= wait.limit {
                return Err(Fault::new("SY4001", Class::NotConverged, on));
            }
            if nudged.is_none_or(|at| now.saturating_sub(at) >= NUDGE_PAUSE)
                && let Condition::Agreed(nodes) | Condition::Ready(nodes) = &wait.until
            {
                let words = ready::nudges(&ready::obstacles(nodes, &view.nodes));
                join_all(words.iter().map(|step| self.nodes.apply(step, None))).await;
                nudged = Some(now);
            }
            self.clock.sleep(LOOK_AGAIN).await;
        }
    }

    /// What still keeps it.
    async fn obstacle(&self, wait: &Wait, view: &View) -> Option<String> {
        match &wait.until {
            Condition::Healthy(workloads) => workloads.iter().find_map(|name| {
                let phase = view.engine.workloads.get(name).map(|it| &it.phase);
                let is_up = matches!(phase, Some(WorkloadPhase::Running { healthy: true }));
                (!is_up).then(|| format!("{name} is not up"))
            }),
            Condition::Agreed(nodes) => ready::obstacles(nodes, &view.nodes)
                .into_iter()
                .find(ready::is_disagreement)
                .map(|it| it.to_string()),
            Condition::Ready(nodes) => {
                let obstacles = ready::obstacles(nodes, &view.nodes);
                if let Some(first) = obstacles.first() {
                    return Some(first.to_string());
                }
                let primaries = ready::primaries(nodes, &view.nodes);
                let probed = self.nodes.probe(&primaries, None).await;
                probed.err().map(|fault| fault.message)
            }
        }
    }
}

/// The workloads of an instance. Its one file is the same for all, and rendered once.
pub(crate) fn workloads(instance: &Instance, view: &View) -> BTreeMap<WorkloadName, Workload> {
    static FILE: OnceLock<PlacedFile> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let discovery = Discovery::of(&instance.spec, &instance.layout, &BTreeMap::new());
        let (name, _) = instance.layout.seats.first_key_value().unwrap();
        let file = &instance.spec.services[0].files[0];
        let text = template::render(file, &instance.values, &discovery, name).unwrap();
        PlacedFile {
            target: file.target.clone(),
            text: Secret::new(text),
            existing: Existing::Replace,
        }
    });
    let names = instance.layout.seats.keys();
    let rendered = names
        .map(|name| (name.clone(), vec![file.clone()]))
        .collect();
    plan::workloads::workloads(instance, view, &rendered)
}
