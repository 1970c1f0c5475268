//! The servers' own migration of whole slots (Valkey 9 and Redis 8.4): a snapshot, then what is
//! written meanwhile, then a moment without writes in which the target takes over.
//!
//! A job whose ends are not what they were when it began is dropped on both; its source then owns
//! the slots as before.

use std::time::Duration;

use model::command::{AtomicMigration, AtomicState};
use model::ids::NodeId;
use model::slots::{SlotRange, SlotSet};

use super::{Event, Process, Realm};
use crate::server::{Server, slot_of};

/// How long the snapshot takes.
const SNAPSHOT: Duration = Duration::from_millis(15);

/// How long the stream goes on before writes stop.
const STREAM: Duration = Duration::from_millis(20);

/// How long writes have stopped before the target takes over: longer than a write takes to it.
const PAUSE: Duration = Duration::from_millis(5);

/// How long a write takes to the target.
const WAY: Duration = Duration::from_millis(1);

/// How long the source waits for word of its successor (`slot-migration-write-pause-timeout`).
const PAUSE_LIMIT: Duration = Duration::from_secs(10);

/// A migration of whole slots.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: u64,
    source: (NodeId, Process),
    target: (NodeId, Process),
    slots: SlotSet,
    stage: Stage,
    state: AtomicState,
    message: String,
}

/// How far one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Snapshot,
    Stream,
    Pause,
    TakenOver { at: Duration },
}

impl Realm {
    /// Begins a job, unless its source refuses.
    pub(crate) fn begin_job(
        &mut self,
        source: Process,
        target: Process,
        ranges: &[SlotRange],
    ) -> Result<(), String> {
        let slots = SlotSet::of(ranges);
        let (Some(from), Some(to)) = (self.server_of(source), self.server_of(target)) else {
            return Err("ERR Target node is not reachable".to_owned());
        };
        if !from.is_primary() || !slots.difference(from.own_slots().set()).is_empty() {
            return Err("ERR Slots are not served by this node".to_owned());
        }
        if !to.is_primary() {
            return Err("ERR Target node is not a master".to_owned());
        }
        if !from.open_slots().is_empty() || !to.open_slots().is_empty() {
            return Err("ERR There is a manual slot migration under way".to_owned());
        }
        let overlaps = |job: &Job| job.is_running() && !job.slots.is_disjoint(&slots);
        if self.jobs.iter().any(overlaps) {
            return Err("ERR There is already a migration of these slots".to_owned());
        }
        let (source, target) = ((from.id, source), (to.id, target));
        let id = self.jobs.len() as u64;
        self.jobs.push(Job {
            id,
            source,
            target,
            slots,
            stage: Stage::Snapshot,
            state: AtomicState::Running,
            message: String::new(),
        });
        self.plan(SNAPSHOT, Event::Job(id));
        Ok(())
    }

    /// The jobs that a process knows of, on either end.
    pub(crate) fn jobs_of(&self, process: Process) -> Vec<AtomicMigration> {
        let jobs = self.jobs.iter();
        jobs.filter(|job| job.source.1 == process || job.target.1 == process)
            .map(|job| job.shown(process))
            .collect()
    }

    /// Calls off what a process exports, or the one job with this number.
    pub(crate) fn cancel_jobs(&mut self, process: Process, only: Option<&str>) {
        let mine = |job: &&Job| {
            let is_meant = only.map_or(job.source.1 == process, |id| job.id.to_string() == id);
            job.is_running() && is_meant && !matches!(job.stage, Stage::TakenOver { .. })
        };
        let ids: Vec<u64> = self.jobs.iter().filter(mine).map(|job| job.id).collect();
        for id in ids {
            self.drop_job(id, AtomicState::Cancelled, "called off");
        }
    }

    pub(super) fn go_on_with_job(&mut self, id: u64) {
        let Some(job) = self.running(id) else {
            return;
        };
        if let Stage::TakenOver { at } = job.stage {
            return self.await_word(id, &job, at);
        }
        if let Some(why) = self.broken(&job) {
            return self.drop_job(id, AtomicState::Failed, why);
        }
        match job.stage {
            Stage::Snapshot if self.is_queued(&job) => self.plan(SNAPSHOT, Event::Job(id)),
            Stage::Snapshot => {
                self.set_stage(id, Stage::Stream);
                self.send_snapshot(&job);
                self.plan(STREAM, Event::Job(id));
            }
            Stage::Stream => {
                self.set_stage(id, Stage::Pause);
                self.hold(job.source.1, Some(job.slots));
                self.plan(PAUSE, Event::Job(id));
            }
            Stage::Pause => {
                let at = self.now;
                self.set_stage(id, Stage::TakenOver { at });
                let target = job.target.1;
                let taken = self.touch(target, None, |server, now, dice| {
                    server.take_slots(&job.slots, now, dice)
                });
                for (key, value) in taken.unwrap_or_default() {
                    self.only_pass_on(target, (key, Some(value)), false);
                }
                self.plan(WAY, Event::Job(id));
            }
            Stage::TakenOver { .. } => {}
        }
    }

    /// Whether an earlier job of the same source is under way: a server exports one at a time.
    fn is_queued(&self, job: &Job) -> bool {
        let earlier = |it: &Job| it.id < job.id && it.source.1 == job.source.1;
        self.jobs.iter().any(|it| it.is_running() && earlier(it))
    }

    /// The source holds writes back until it has heard who owns the slots now.
    fn await_word(&mut self, id: u64, job: &Job, at: Duration) {
        let source = job.source.1;
        let owns = |server: &Server| !server.own_slots().set().is_disjoint(&job.slots);
        let is_owner = self.server_of(source).is_some_and(owns);
        if is_owner && self.now.saturating_sub(at) < PAUSE_LIMIT {
            return self.plan(WAY, Event::Job(id));
        }
        self.hold(source, None);
        self.end(id, AtomicState::Succeeded, "");
    }

    /// Why a job cannot go on.
    fn broken(&self, job: &Job) -> Option<&'static str> {
        let (source, target) = (job.source.1, job.target.1);
        let (Some(from), Some(to)) = (self.server_of(source), self.server_of(target)) else {
            return Some("Connection lost to the other end");
        };
        let owns = job.slots.difference(from.own_slots().set()).is_empty();
        if !from.is_primary() || !owns || !to.is_primary() {
            return Some("A failover has happened");
        }
        let is_cut = self.cut_between(source.address, target.address).is_some();
        is_cut.then_some("Connection lost to the other end")
    }

    fn send_snapshot(&mut self, job: &Job) {
        let Some(server) = self.server_of(job.source.1) else {
            return;
        };
        let keys = server.keys.iter().map(|(key, value)| (*key, *value));
        let keys: Vec<(u32, u64)> = keys
            .filter(|(key, _)| job.slots.contains(slot_of(*key)))
            .collect();
        for (key, value) in keys {
            self.plan(WAY, Event::Forwarded(job.id, key, Some(value)));
        }
    }

    /// A write at a process goes to the targets of its jobs as well.
    pub(super) fn forward(&mut self, source: Process, key: u32, value: Option<u64>) {
        if self.jobs.is_empty() {
            return;
        }
        let concerned = |job: &&Job| {
            job.is_running()
                && job.source.1 == source
                && job.stage != Stage::Snapshot
                && job.slots.contains(slot_of(key))
        };
        let ids: Vec<u64> = self.jobs.iter().filter(concerned).map(|it| it.id).collect();
        for id in ids {
            self.plan(WAY, Event::Forwarded(id, key, value));
        }
    }

    pub(super) fn forwarded(&mut self, id: u64, key: u32, value: Option<u64>) {
        let Some(job) = self.running(id) else {
            return;
        };
        if matches!(job.stage, Stage::TakenOver { .. }) {
            return;
        }
        if let Some(why) = self.broken(&job) {
            return self.drop_job(id, AtomicState::Failed, why);
        }
        let target = job.target.1;
        self.touch(target, None, |server, _, _| match value {
            Some(value) => drop(server.staged.insert(key, value)),
            None => drop(server.staged.remove(&key)),
        });
        self.only_pass_on(target, (key, value), true);
    }

    fn drop_job(&mut self, id: u64, state: AtomicState, why: &str) {
        let Some(job) = self.running(id) else {
            return;
        };
        self.hold(job.source.1, None);
        let target = job.target.1;
        let dropped: Vec<u32> = self.server_of(target).map_or_else(Vec::new, |server| {
            let keys = server.staged.keys().copied();
            keys.filter(|key| job.slots.contains(slot_of(*key)))
                .collect()
        });
        for key in dropped {
            self.touch(target, None, |server, _, _| server.staged.remove(&key));
            self.only_pass_on(target, (key, None), true);
        }
        self.end(id, state, why);
    }

    fn hold(&mut self, source: Process, slots: Option<SlotSet>) {
        self.touch(source, None, |server, _, _| server.held_slots = slots);
    }

    fn running(&self, id: u64) -> Option<Job> {
        let mut jobs = self.jobs.iter();
        jobs.find(|job| job.id == id && job.is_running()).cloned()
    }

    fn set_stage(&mut self, id: u64, stage: Stage) {
        let mut jobs = self.jobs.iter_mut();
        if let Some(job) = jobs.find(|job| job.id == id) {
            job.stage = stage;
        }
    }

    fn end(&mut self, id: u64, state: AtomicState, message: &str) {
        let mut jobs = self.jobs.iter_mut();
        if let Some(job) = jobs.find(|job| job.id == id) {
            job.state = state;
            message.clone_into(&mut job.message);
        }
    }
}

impl Job {
    fn is_running(&self) -> bool {
        self.state == AtomicState::Running
    }

    fn shown(&self, process: Process) -> AtomicMigration {
        AtomicMigration {
            id: self.id.to_string(),
            is_export: self.source.1 == process,
            ranges: self.slots.ranges(),
            source: Some(self.source.0),
            target: Some(self.target.0),
            state: self.state,
            message: self.message.clone(),
        }
    }
}
