//! The simulated world: workloads and their processes, what is on its way between them, and what
//! is going to happen.
//!
//! It moves only when somebody looks at it: then all that was to happen until that moment happens,
//! in its order. It knows no tokio, no thread and no real time.

pub(crate) mod atomic;
mod blows;
mod bus;
mod copies;
mod formed;
pub(crate) mod migrate;
mod network;
mod processes;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{InstanceName, NodeId, WorkloadName};
use model::view::Ending;
use tokio::sync::Notify;

use self::atomic::Job;
use self::bus::Connection;
use self::migrate::{Migrated, Transfer};
use self::network::Network;
pub(crate) use self::traffic::Traffic;
use crate::dice::Dice;
use crate::letter::{Effect, Letter};
use crate::mishap::Mishaps;
use crate::queue::Queue;
use crate::server::{Role, Server};
use crate::site::Site;
use crate::unit::Unit;
use crate::units::Units;

/// A workload of an instance.
pub(crate) type UnitName = (InstanceName, WorkloadName);

/// A process: an address and how often a process was started there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Process {
    pub(crate) address: NodeAddress,
    pub(crate) boot: u64,
}

/// Something that is going to happen. What is for a process that is no more does not.
#[derive(Debug)]
pub(crate) enum Event {
    Listens(Process),
    Loaded(Process),
    Tick(Process),
    Ends(Process, Ending),
    Restarts(Process),
    /// A node goes on making a link that hung.
    Connects(Process, u64, NodeAddress),
    Linked(Process, u64),
    Unlinked(Process, u64),
    Arrives(Delivery),
    /// The data of the source is copied to the replica.
    Copied {
        replica: Process,
        source: Process,
        number: u64,
    },
    /// A write arrives at a replica.
    Streamed {
        replica: Process,
        number: u64,
        write: Write,
    },
    /// A replica notices that its primary is gone.
    StreamEnds {
        replica: Process,
        number: u64,
    },
    /// A replica has told how far it is.
    Acknowledged {
        primary: Process,
        replica: NodeAddress,
        offset: u64,
    },
    /// The keys of a MIGRATE arrive at its target.
    Restores(Box<Transfer>),
    /// The answer arrives at its source: what was taken, and what was said.
    Restored(Process, u64, Vec<u32>, Migrated),
    /// The source of a MIGRATE has waited long enough.
    GivesUp(Process, u64),
    /// A migration of whole slots goes on.
    Job(u64),
    /// A write arrives at the target of one.
    Forwarded(u64, u32, Option<u64>),
    /// A planned mishap strikes.
    Strikes(usize),
    /// The client's turn.
    Turn,
}

/// A letter on its way over a link.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Who made the link, and its number there.
    owner: Process,
    link: u64,
    to: Process,
    letter: Box<Letter>,
}

/// A write on its way through replication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) key: u32,
    /// `None` where it was deleted.
    pub(crate) value: Option<u64>,
    /// Whether it is of slots that its primary is about to take over as a whole.
    pub(crate) is_staged: bool,
    pub(crate) offset: u64,
}

/// The simulated world.
#[derive(Debug)]
pub(crate) struct Realm {
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    pub(crate) site: Site,
    pub(crate) units: Units,
    pub(crate) mishaps: Mishaps,
    pub(crate) traffic: Option<Traffic>,
    /// Whether a supervisor is there, which starts again what ends.
    pub(crate) is_minded: bool,
    /// Whether somebody is asked before a server that ended starts again.
    pub(crate) has_keeper: bool,
    /// Rung when a server has ended and somebody is to be asked.
    pub(crate) bell: Arc<Notify>,
    /// Rung when the tool is killed.
    pub(crate) axe: Arc<Notify>,
    queue: Queue<Event>,
    network: Network,
    links: BTreeMap<(Process, u64), Connection>,
    /// The pauses by which next starts are longer, each with the number of its mishap.
    slow_starts: BTreeMap<WorkloadName, (Duration, usize)>,
    /// Who forgets the next node that introduces itself.
    forgetful: Vec<WorkloadName>,
    streams: u64,
    boots: u64,
    /// How many MIGRATEs there were, and what came of those that nobody has asked about yet.
    migrations: u64,
    answers: BTreeMap<u64, Migrated>,
    /// The migrations of whole slots, with those that have ended.
    jobs: Vec<Job>,
}

impl Realm {
    pub(crate) fn new(seed: u64, site: Site) -> Self {
        Self {
            now: Duration::ZERO,
            dice: Dice::new(seed),
            site,
            units: Units::default(),
            mishaps: Mishaps::default(),
            traffic: None,
            is_minded: true,
            has_keeper: false,
            bell: Arc::default(),
            axe: Arc::default(),
            queue: Queue::new(),
            network: Network::default(),
            links: BTreeMap::new(),
            slow_starts: BTreeMap::new(),
            forgetful: Vec::new(),
            streams: 0,
            boots: 0,
            migrations: 0,
            answers: BTreeMap::new(),
            jobs: Vec::new(),
        }
    }

    /// Lets everything happen that is to happen by now.
    pub(crate) fn advance(&mut self, now: Duration) {
        while let Some((at, event)) = self.queue.next_by(now) {
            self.now = at;
            self.happen(event);
        }
        self.now = now;
    }

    pub(crate) fn plan(&mut self, after: Duration, event: Event) {
        self.queue.plan(self.now + after, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Listens(process) => self.listens(process),
            Event::Loaded(process) => self.loaded(process),
            Event::Tick(process) => self.tick(process),
            Event::Ends(process, ending) => self.ends(process, ending),
            Event::Restarts(process) => self.restarts(process),
            Event::Connects(owner, link, to) => self.connect(owner, link, to),
            Event::Linked(owner, link) => self.linked(owner, link),
            Event::Unlinked(owner, link) => self.unlinked(owner, link),
            Event::Arrives(delivery) => self.arrives(delivery),
            Event::Copied {
                replica,
                source,
                number,
            } => self.copied(replica, source, number),
            Event::Streamed {
                replica,
                number,
                write,
            } => self.streamed(replica, number, write),
            Event::StreamEnds { replica, number } => self.stream_ends(replica, number),
            Event::Acknowledged {
                primary,
                replica,
                offset,
            } => self.acknowledged(primary, replica, offset),
            Event::Restores(transfer) => self.restores(transfer),
            Event::Restored(source, number, keys, answer) => {
                self.restored(source, number, &keys, answer);
            }
            Event::GivesUp(source, number) => self.gives_up(source, number),
            Event::Job(id) => self.go_on_with_job(id),
            Event::Forwarded(id, key, value) => self.forwarded(id, key, value),
            Event::Strikes(number) => self.strikes(number),
            Event::Turn => self.turn(),
        }
    }

    pub(crate) fn unit_at(&self, address: NodeAddress) -> Option<&Unit> {
        self.units.at(address)
    }

    pub(crate) fn unit_at_mut(&mut self, address: NodeAddress) -> Option<&mut Unit> {
        self.units.at_mut(address)
    }

    /// The unit of a process that is still the one.
    fn unit_of(&mut self, process: Process) -> Option<&mut Unit> {
        let unit = self.unit_at_mut(process.address)?;
        (unit.boot == process.boot).then_some(unit)
    }

    pub(crate) fn server_at(&self, address: NodeAddress) -> Option<&Server> {
        self.unit_at(address)?.server()
    }

    /// The process at an address, where it is a server that answers.
    pub(crate) fn process_at(&self, address: NodeAddress) -> Option<Process> {
        let unit = self.unit_at(address)?;
        unit.server().map(|_| Process {
            address,
            boot: unit.boot,
        })
    }

    fn server_of(&self, process: Process) -> Option<&Server> {
        let unit = self.unit_at(process.address)?;
        unit.server().filter(|_| unit.boot == process.boot)
    }

    /// All servers that answer.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.units.values().filter_map(Unit::server)
    }

    /// Has a server do something, and does what it then wants done. `over` is the link over which
    /// a letter came that it may answer.
    pub(crate) fn touch<R>(
        &mut self,
        process: Process,
        over: Option<(Process, u64)>,
        act: impl FnOnce(&mut Server, Duration, &mut Dice) -> R,
    ) -> Option<R> {
        let unit = self.units.at_mut(process.address)?;
        let is_it = unit.boot == process.boot;
        let server = unit.server_mut().filter(|_| is_it)?;
        let before = server.role;
        let result = act(server, self.now, &mut self.dice);
        let after = server.role;
        let wishes = std::mem::take(&mut server.wishes);
        let passes_deletions_on = server.passes_deletions_on();
        if before == Role::Primary && after != before {
            self.end_streams_from(process);
        }
        if primary_of(before) != primary_of(after) {
            self.unfollow(process.address);
        }
        for wish in wishes {
            match wish {
                Effect::Connect { link, to } => self.connect(process, link, to),
                Effect::Send { link, letter } => self.send(process, link, letter),
                Effect::Deleted(key) => {
                    if passes_deletions_on {
                        self.only_pass_on(process, (key, None), false);
                    }
                }
                Effect::Answer(letter) => {
                    if let Some((owner, link)) = over {
                        self.answer(process, (owner, link), letter);
                    }
                }
            }
        }
        Some(result)
    }

    fn tick(&mut self, process: Process) {
        let ticked = self.touch(process, None, |server, now, dice| server.tick(now, dice));
        if ticked.is_some() {
            self.follow_primary(process);
            if ticked == Some(true) {
                self.acknowledge(process);
            }
            self.plan(crate::server::TICK, Event::Tick(process));
        }
    }

    /// Whether a name is of a workload of any instance, and which.
    pub(crate) fn find(&self, workload: &WorkloadName) -> Option<UnitName> {
        let mut names = self.units.keys();
        names.find(|(_, name)| name == workload).cloned()
    }
}

/// The node that a server in this role copies.
const fn primary_of(role: Role) -> Option<NodeId> {
    match role {
        Role::Primary => None,
        Role::Replica { of, .. } => Some(of),
    }
}
