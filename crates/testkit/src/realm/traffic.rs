//! A client of the cluster: it writes all the time, and remembers what it was told is written.

use std::collections::BTreeMap;
use std::time::Duration;

use model::address::NodeAddress;

use super::{Event, Process, Realm, Write};
use crate::ledger::Ledger;
use crate::server::{Role, Service, slot_of};

/// How often a client lets itself be sent on before it gives up.
const MOVES_MAX: u32 = 4;

/// A client that writes.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// The pause between two writes.
    pub(crate) every: Duration,
    /// How many keys it writes to.
    pub(crate) keys: u32,
    /// How many replicas must have a write for it to count as copied.
    pub(crate) copies: usize,
    pub(crate) is_paused: bool,
    pub(crate) ledger: Ledger,
    /// Where it last found the owner of a key's slot.
    routes: BTreeMap<u32, NodeAddress>,
    attempts: u64,
}

impl Traffic {
    pub(crate) const fn new(every: Duration, keys: u32, copies: usize) -> Self {
        Self {
            every,
            keys,
            copies,
            is_paused: false,
            ledger: Ledger::new(),
            routes: BTreeMap::new(),
            attempts: 0,
        }
    }
}

impl Realm {
    /// The client writes once and plans its next turn.
    pub(super) fn turn(&mut self) {
        let Some(mut traffic) = self.traffic.take() else {
            return;
        };
        let last = u64::from(traffic.keys.saturating_sub(1));
        let key = u32::try_from(self.dice.between(0, last)).unwrap_or(0);
        let (every, is_paused) = (traffic.every, traffic.is_paused);
        if !is_paused {
            traffic.attempts += 1;
            let value = traffic.attempts;
            let written = self.write_somewhere(&mut traffic, key, value);
            traffic.ledger.tried(key, value, written, self.now);
        }
        self.traffic = Some(traffic);
        self.plan(every, Event::Turn);
    }

    /// Writes where the slot is served; follows those that send it on.
    fn write_somewhere(&mut self, traffic: &mut Traffic, key: u32, value: u64) -> bool {
        let slot = slot_of(key);
        let known = traffic.routes.remove(&key);
        let mut next = known.or_else(|| self.some_server());
        let mut asking = false;
        for _ in 0..MOVES_MAX {
            let Some(address) = next else {
                return false;
            };
            let now = self.now;
            let service = self
                .server_at(address)
                .map(|server| server.service(slot, key, asking, now));
            asking = false;
            match service {
                Some(Service::Taken) => {
                    if let Some(process) = self.process_at(address) {
                        self.write(process, key, Some(value));
                    }
                    traffic.routes.insert(key, address);
                    return true;
                }
                Some(Service::Moved(to)) => next = Some(to),
                Some(Service::Ask(to)) => {
                    next = Some(to);
                    asking = true;
                }
                Some(Service::Down | Service::Waits) => return false,
                None => next = self.some_server(),
            }
        }
        false
    }

    /// Any server that answers.
    fn some_server(&mut self) -> Option<NodeAddress> {
        let all: Vec<NodeAddress> = self.servers().map(|server| server.address).collect();
        self.dice.pick(&all).copied()
    }

    /// A write has reached a replica. It counts as copied once all replicas have it.
    pub(super) fn note_copy(&mut self, replica: Process, write: Write) {
        let Some(written) = write.value else {
            return;
        };
        let Some(primary) = self.server_of(replica).and_then(|it| it.primary()) else {
            return;
        };
        let has_it = |role: Role, value: Option<&u64>| {
            matches!(role, Role::Replica { of, .. } if of == primary)
                && value.is_some_and(|value| *value >= written)
        };
        let copies = self
            .servers()
            .filter(|server| has_it(server.role, server.keys.get(&write.key)))
            .count();
        if let Some(traffic) = &mut self.traffic
            && copies >= traffic.copies
        {
            traffic.ledger.copied(write.key, written);
        }
    }
}
