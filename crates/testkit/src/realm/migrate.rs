//! MIGRATE: two effects, one after the other. The target restores the keys, and once its answer is
//! there the source deletes them. Anything can happen in between.
//!
//! The source does nothing else meanwhile. What it has written to the target arrives even where the
//! way is cut: late, when the source has long given up (the kernels see to that).

use std::time::Duration;

use model::address::NodeAddress;
use model::slots::Slot;
use model::view::OpenDirection;

use super::{Event, Process, Realm};
use crate::server::{Server, slot_of};

/// How long what one of the two says takes to the other.
const WAY: Duration = Duration::from_millis(1);

/// When a target that has stopped writes looks again whether it takes them.
const PAUSED: Duration = Duration::from_millis(10);

/// A MIGRATE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Migration {
    pub(crate) to: NodeAddress,
    pub(crate) keys: Vec<u32>,
    pub(crate) timeout: Duration,
    pub(crate) replace: bool,
}

/// What came of it, in the server's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Migrated {
    Done,
    NoKey,
    Refused(String),
}

/// One that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    source: Process,
    target: Process,
    number: u64,
    entries: Vec<(u32, u64)>,
    replace: bool,
}

/// The number of a MIGRATE, and when something about it is to be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) look_at: Duration,
}

impl Realm {
    /// Begins a MIGRATE. Either it is over at once, or a ticket says where to ask for its end.
    pub(crate) fn migrate(
        &mut self,
        source: Process,
        migration: &Migration,
    ) -> Result<Ticket, Migrated> {
        let Some(server) = self.server_of(source) else {
            return Err(Migrated::Refused("ERR the server is gone".to_owned()));
        };
        if let Some(refusal) = may_migrate(server, migration) {
            return Err(Migrated::Refused(refusal));
        }
        let entries: Vec<(u32, u64)> = migration
            .keys
            .iter()
            .filter_map(|key| Some((*key, *server.keys.get(key)?)))
            .collect();
        if entries.is_empty() {
            return Err(Migrated::NoKey);
        }
        self.migrations += 1;
        let number = self.migrations;
        let gives_up = self.now + migration.timeout.max(WAY * 3);
        let cut = self.cut_between(source.address, migration.to);
        let target = self.process_at(migration.to);
        let late = cut.map_or(Duration::ZERO, |until| until.saturating_sub(self.now));
        if let Some(target) = target {
            let transfer = Transfer {
                source,
                target,
                number,
                entries,
                replace: migration.replace,
            };
            self.plan(late + WAY, Event::Restores(Box::new(transfer)));
        }
        let answered = self.now + late + WAY * 2;
        // Where nobody listens the connection is refused at once.
        let ends = if target.is_none() && cut.is_none() {
            answered
        } else {
            gives_up
        };
        self.touch(source, None, |server, _, _| server.migrating = Some(number));
        self.plan(
            ends.saturating_sub(self.now),
            Event::GivesUp(source, number),
        );
        let look_at = answered.min(ends);
        Ok(Ticket { number, look_at })
    }

    /// The end of a MIGRATE, if it has come.
    pub(crate) fn migrated(&mut self, number: u64) -> Option<Migrated> {
        self.answers.remove(&number)
    }

    /// The target reads what the source has sent.
    pub(super) fn restores(&mut self, transfer: Box<Transfer>) {
        let (source, target) = (transfer.source, transfer.target);
        let Some(server) = self.server_of(target) else {
            return;
        };
        if server.is_paused(self.now) {
            let is_cut = self.cut_between(source.address, target.address).is_some();
            if !is_cut && !self.waits_for(source, transfer.number) {
                // Who has given up has closed its connection: what waits there is never done, and
                // does not overtake what is sent over the next one.
                return;
            }
            // It is a write, and waits as every other one does.
            return self.plan(PAUSED, Event::Restores(transfer));
        }
        let mut restored = Vec::new();
        let mut refusal = None;
        for (key, value) in transfer.entries {
            let Some(server) = self.server_of(target) else {
                return;
            };
            match may_restore(server, key, transfer.replace) {
                None => {
                    self.write(target, key, Some(value));
                    restored.push(key);
                }
                Some(words) => {
                    let words = format!("ERR Target instance replied with error: {words}");
                    refusal.get_or_insert(words);
                }
            }
        }
        // An answer that is lost on the way comes late, too; by then nobody waits for it.
        if self.cut_between(source.address, target.address).is_none() {
            let answer = refusal.map_or(Migrated::Done, Migrated::Refused);
            let event = Event::Restored(source, transfer.number, restored, answer);
            self.plan(WAY, event);
        }
    }

    /// The source reads the answer and deletes what the target has.
    pub(super) fn restored(
        &mut self,
        source: Process,
        number: u64,
        keys: &[u32],
        answer: Migrated,
    ) {
        if !self.waits_for(source, number) {
            return;
        }
        for key in keys {
            self.write(source, *key, None);
        }
        self.touch(source, None, |server, _, _| server.migrating = None);
        self.answers.insert(number, answer);
    }

    /// The source has waited long enough.
    pub(super) fn gives_up(&mut self, source: Process, number: u64) {
        if self.waits_for(source, number) {
            self.touch(source, None, |server, _, _| server.migrating = None);
            let words = "IOERR error or timeout reading to target instance";
            let answer = Migrated::Refused(words.to_owned());
            self.answers.insert(number, answer);
        }
    }

    fn waits_for(&self, source: Process, number: u64) -> bool {
        let server = self.server_of(source);
        server.is_some_and(|it| it.migrating == Some(number))
    }
}

/// Why the source does not take the command (`getNodeByQuery` and `migrateCommand`).
fn may_migrate(server: &Server, migration: &Migration) -> Option<String> {
    if !server.serves() {
        return Some("CLUSTERDOWN The cluster is down".to_owned());
    }
    let slots: Vec<Slot> = migration.keys.iter().map(|key| slot_of(*key)).collect();
    let is_foreign = |slot: &Slot| {
        !server.is_primary()
            || (!server.own_slots().set().contains(*slot) && server.direction_of(*slot).is_none())
    };
    if let Some(slot) = slots.iter().find(|slot| is_foreign(slot)) {
        return Some(format!("MOVED {} somewhere else", slot.number()));
    }
    let lacks_replicas = server.lacks_replicas();
    lacks_replicas.then(|| "NOREPLICAS Not enough good replicas to write.".to_owned())
}

/// Why the target does not take a key (RESTORE-ASKING).
fn may_restore(server: &Server, key: u32, replace: bool) -> Option<String> {
    let slot = slot_of(key);
    if !server.serves() {
        return Some("CLUSTERDOWN The cluster is down".to_owned());
    }
    let imports = matches!(server.direction_of(slot), Some(OpenDirection::From(_)));
    let owns = server.own_slots().set().contains(slot);
    if !server.is_primary() || !(owns || imports) {
        return Some(format!("MOVED {} somewhere else", slot.number()));
    }
    if server.lacks_replicas() {
        return Some("NOREPLICAS Not enough good replicas to write.".to_owned());
    }
    let is_there = server.keys.contains_key(&key);
    (is_there && !replace).then(|| "BUSYKEY Target key name already exists.".to_owned())
}
