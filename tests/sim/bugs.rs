//! Bugs that are put in on purpose, each of which the random schedules must notice: a simulation
//! that says yes to a driver that skips the drain says nothing.
//!
//! No product code knows of them. A bug lies between the steward and the servers (`Spoiled`), or
//! in what becomes of a plan before it is carried out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::address::NodeAddress;
use model::command::{CommandError, NodeAnswer, NodeCommand};
use model::ids::NodeId;
use model::port::{Answer, Nodes, Replies};
use model::slots::SlotSet;
use model::spec::Credentials;
use model::step::{ClusterStep, EngineStep, Member, Phase, Plan, Step, StewardStep};
use model::view::ClusterView;

use crate::elastic::{Schedule, play};
use crate::field::Field;
use crate::operator::{Operator, Rewrite};

/// Within so many schedules a bug must be noticed.
const SCHEDULES: u64 = 600;

/// What the steward is made to believe, or what becomes of its commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lie {
    /// Each slot counts as empty.
    EmptySlots,
    /// A `MIGRATE` counts as done that was never sent.
    MigrateUnsent,
    /// The target is not told that it imports.
    TargetNotOpened,
    /// The source is not told that it gives.
    SourceNotOpened,
    /// The target is not told that it owns a slot.
    TargetNotTold,
    /// The source is not told that it does not.
    SourceNotTold,
    /// The source closes a slot as soon as it has opened it.
    SlotsClosedEarly,
    /// What a node said of the cluster once it says for ever.
    NoReread,
    /// Nobody is told to take over.
    NoFailover,
    /// Nobody is told to forget.
    NobodyForgets,
}

const LIES: [Lie; 10] = [
    Lie::EmptySlots,
    Lie::MigrateUnsent,
    Lie::TargetNotOpened,
    Lie::SourceNotOpened,
    Lie::TargetNotTold,
    Lie::SourceNotTold,
    Lie::SlotsClosedEarly,
    Lie::NoReread,
    Lie::NoFailover,
    Lie::NobodyForgets,
];

/// What becomes of a plan.
const REWRITES: [(&str, Rewrite); 9] = [
    ("no slot is moved", |plan| drop_steps(plan, is_move)),
    ("those that leave are stopped first", |plan| {
        put_first(plan, |step| {
            matches!(step, Step::Engine(EngineStep::EnsureStopped(_)))
        });
    }),
    ("those that leave are forgotten first", |plan| {
        put_first(plan, |step| {
            matches!(step, Step::Steward(StewardStep::EnsureForgotten { .. }))
        });
    }),
    ("nobody hands over before it leaves", |plan| {
        drop_steps(plan, |step| {
            matches!(step, Step::Steward(StewardStep::EnsureHandedOver { .. }))
        });
    }),
    ("newcomers are not met", |plan| {
        drop_steps(plan, |step| {
            matches!(step, Step::Cluster(ClusterStep::EnsureMet { .. }))
        });
    }),
    ("replicas do not copy", |plan| {
        drop_steps(plan, |step| {
            matches!(step, Step::Cluster(ClusterStep::EnsureReplicas { .. }))
        });
    }),
    ("open slots are closed before they are moved", |plan| {
        close_first(plan);
    }),
    ("nobody is forgotten", |plan| {
        drop_steps(plan, |step| {
            matches!(step, Step::Steward(StewardStep::EnsureForgotten { .. }))
        });
    }),
    ("importers do not hear who owns a slot", |plan| {
        drop_steps(plan, |step| {
            matches!(step, Step::Steward(StewardStep::EnsureOwner { .. }))
        });
    }),
];

fn is_move(step: &Step) -> bool {
    matches!(step, Step::Steward(StewardStep::EnsureMoved { .. }))
}

fn drop_steps(plan: &mut Plan, is_it: impl Fn(&Step) -> bool) {
    for phase in &mut plan.phases {
        phase.steps.retain(|step| !is_it(step));
    }
    plan.phases.retain(|phase| !phase.steps.is_empty());
}

fn put_first(plan: &mut Plan, is_it: impl Fn(&Step) -> bool) {
    plan.phases
        .sort_by_key(|phase| !phase.steps.iter().any(&is_it));
}

/// Whoever is to get a slot is told to close it.
fn close_first(plan: &mut Plan) {
    let moves = plan.phases.iter().flat_map(|phase| &phase.steps);
    let steps: Vec<Step> = moves
        .filter_map(|step| match step {
            Step::Steward(StewardStep::EnsureMoved { moves, .. }) => Some(moves),
            Step::Engine(_) | Step::Cluster(_) | Step::Steward(_) | Step::Wait(_) => None,
        })
        .flatten()
        .map(|it| {
            Step::Steward(StewardStep::EnsureStable {
                node: it.target,
                slots: it.slots.clone(),
            })
        })
        .collect();
    if !steps.is_empty() {
        let title = "closed".to_owned();
        plan.phases.insert(0, Phase { title, steps });
    }
}

/// The servers, behind somebody who lies.
struct Spoiled {
    servers: Arc<dyn Nodes>,
    lie: Lie,
    ids: BTreeMap<NodeAddress, NodeId>,
    seen: Mutex<BTreeMap<NodeAddress, NodeAnswer>>,
}

impl Spoiled {
    fn new(servers: Arc<dyn Nodes>, lie: Lie, field: &Field) -> Self {
        let nodes = field.instance.layout.nodes();
        Self {
            servers,
            lie,
            ids: nodes
                .map(|(_, seat, node)| (seat.address, node.id))
                .collect(),
            seen: Mutex::default(),
        }
    }

    /// Whether a command claims slots for the node that it is sent to.
    fn claims(&self, address: NodeAddress, command: &NodeCommand) -> bool {
        matches!(command, NodeCommand::SetOwner { owner, .. } if self.ids.get(&address) == Some(owner))
    }

    /// What is answered without anybody being asked.
    fn unsent(&self, address: NodeAddress, command: &NodeCommand) -> Option<NodeAnswer> {
        let is_owner = matches!(command, NodeCommand::SetOwner { .. });
        let claims = self.claims(address, command);
        let done = match (self.lie, command) {
            (Lie::EmptySlots, NodeCommand::CountKeys(_)) => Some(NodeAnswer::Number(0)),
            (Lie::EmptySlots, NodeCommand::KeysIn { .. }) => Some(NodeAnswer::Keys(Vec::new())),
            (Lie::NoReread, NodeCommand::Cluster) => {
                self.seen.lock().unwrap().get(&address).cloned()
            }
            (Lie::MigrateUnsent, NodeCommand::Migrate { .. })
            | (Lie::TargetNotOpened, NodeCommand::SetImporting { .. })
            | (Lie::SourceNotOpened, NodeCommand::SetMigrating { .. })
            | (Lie::NoFailover, NodeCommand::Failover)
            | (Lie::NobodyForgets, NodeCommand::Forget(_)) => Some(NodeAnswer::Done),
            _ => None,
        };
        let untold = (self.lie == Lie::TargetNotTold && claims)
            || (self.lie == Lie::SourceNotTold && is_owner && !claims);
        done.or(untold.then_some(NodeAnswer::Done))
    }
}

impl Spoiled {
    /// Sends commands at once, as they came, except where something is not sent or is sent between
    /// them: what the lie does not concern happens as without it.
    async fn each(
        &self,
        address: NodeAddress,
        commands: &[NodeCommand],
        credentials: Option<&Credentials>,
        limit: Duration,
    ) -> Vec<Result<NodeAnswer, CommandError>> {
        let mut answers = Vec::new();
        for command in commands.chunk_by(|_, _| !self.concerns(address, commands)) {
            let unsent = command.first().and_then(|it| self.unsent(address, it));
            if let Some(answer) = unsent {
                answers.push(Ok(answer));
                continue;
            }
            let said = self
                .servers
                .send(address, command, credentials, limit)
                .await;
            if self.lie == Lie::NoReread
                && let [Ok(answer @ NodeAnswer::Cluster(_))] = said.as_slice()
            {
                self.seen.lock().unwrap().insert(address, answer.clone());
            }
            answers.extend(said);
            if let (Lie::SlotsClosedEarly, [NodeCommand::SetMigrating { slot, .. }]) =
                (self.lie, command)
            {
                let early = [NodeCommand::SetStable(*slot)];
                self.servers.send(address, &early, credentials, limit).await;
            }
        }
        answers
    }

    /// Whether one of these commands is not sent, or followed by another.
    fn concerns(&self, address: NodeAddress, commands: &[NodeCommand]) -> bool {
        let closes = |it: &NodeCommand| {
            self.lie == Lie::SlotsClosedEarly && matches!(it, NodeCommand::SetMigrating { .. })
        };
        let mut all = commands.iter();
        all.any(|it| self.unsent(address, it).is_some() || closes(it))
    }
}

impl Nodes for Spoiled {
    fn observe<'a>(
        &'a self,
        addresses: &'a [NodeAddress],
        credentials: Option<&'a Credentials>,
    ) -> Pin<Box<dyn Future<Output = ClusterView> + Send + 'a>> {
        self.servers.observe(addresses, credentials)
    }

    fn apply<'a>(
        &'a self,
        step: &'a ClusterStep,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ()> {
        self.servers.apply(step, credentials)
    }

    fn probe<'a>(
        &'a self,
        primaries: &'a [(Member, SlotSet)],
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ()> {
        self.servers.probe(primaries, credentials)
    }

    fn send<'a>(
        &'a self,
        address: NodeAddress,
        commands: &'a [NodeCommand],
        credentials: Option<&'a Credentials>,
        limit: Duration,
    ) -> Replies<'a> {
        Box::pin(self.each(address, commands, credentials, limit))
    }

    fn call<'a>(
        &'a self,
        address: NodeAddress,
        command: &'a [String],
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String> {
        self.servers.call(address, command, credentials)
    }
}

/// Puts a bug into a driver.
type Spoil = Box<dyn Fn(&mut Operator, &Field) + Send + Sync>;

fn bugs() -> Vec<(String, Spoil)> {
    let lies = LIES.into_iter().map(|lie| {
        let spoil: Spoil = Box::new(move |operator, field| {
            let servers = Arc::clone(&operator.nodes);
            operator.nodes = Arc::new(Spoiled::new(servers, lie, field));
        });
        (format!("{lie:?}"), spoil)
    });
    let rewrites = REWRITES.into_iter().map(|(name, rewrite)| {
        let spoil: Spoil = Box::new(move |operator, _| operator.rewrite = rewrite);
        (name.to_owned(), spoil)
    });
    lies.chain(rewrites).collect()
}

/// The first schedule that notices a bug.
fn noticed(spoil: &Spoil) -> Option<u64> {
    (0..SCHEDULES).find(|seed| play(&Schedule::new(*seed), spoil).is_err())
}

#[test]
fn every_seeded_bug_is_caught() {
    let bugs = bugs();
    let next = AtomicUsize::new(0);
    let run = || {
        let mut found = Vec::new();
        while let Some((name, spoil)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let seed = noticed(spoil);
            eprintln!("{name}: schedule {seed:?}");
            found.push((name.clone(), seed));
        }
        found
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found: Vec<(String, Option<u64>)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        runs.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let missed: Vec<&String> = found
        .iter()
        .filter(|(_, seed)| seed.is_none())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(missed, Vec::<&String>::new(), "nobody notices these");
    assert!(found.len() >= 15);
}
