//! Commands that take their time: each runs on a thread of its own, and what happens becomes its
//! record. It decides nothing; the driver does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::cancel::Cancel;
use model::event::{Audience, Event};
use model::fault::{Class, Fault};
use model::migration::MoveProgress;

use crate::accounts::{Accounts, secret};
use crate::hub::Hub;
use crate::problem::status_of;
use crate::wire::{
    EventBody, FindingBody, MovingBody, OperationBody, PhaseBody, PhaseState, ProblemBody,
    ProofBody, milliseconds,
};

/// How many operations are at hand; older ones are in the state.
const AT_HAND_MAX: usize = 200;
/// How many answers to idempotency keys are remembered.
const KEYS_MAX: usize = 1000;
/// How many phases of one operation are kept: an endless one must not fill the memory.
const PHASES_MAX: usize = 200;
/// The shortest time between two tellings of mere progress.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Entry {
    body: OperationBody,
    cancel: Cancel,
    told: Instant,
}

/// The operations.
#[derive(Debug)]
pub(crate) struct Operations {
    entries: Mutex<BTreeMap<String, Entry>>,
    order: Mutex<VecDeque<String>>,
    keys: Mutex<VecDeque<(String, String, String)>>,
    hub: Arc<Hub>,
    accounts: Arc<Accounts>,
}

/// What came of asking for an operation with a key.
pub(crate) enum Known {
    /// Nobody used the key yet.
    No,
    /// This operation answers it.
    Same(String),
    /// It was used for something else.
    Other,
}

impl Operations {
    /// Those that were kept. What ran when the server ended runs no more.
    pub(crate) fn open(hub: Arc<Hub>, accounts: Arc<Accounts>) -> Result<Self, Fault> {
        let mut entries = BTreeMap::new();
        let mut order = VecDeque::new();
        for mut body in accounts.operations()?.into_iter().take(AT_HAND_MAX) {
            if body.state == "running" {
                "interrupted".clone_into(&mut body.state);
                accounts.keep(&body)?;
            }
            order.push_front(body.id.clone());
            entries.insert(body.id.clone(), entry(body));
        }
        Ok(Self {
            entries: Mutex::new(entries),
            order: Mutex::new(order),
            keys: Mutex::default(),
            hub,
            accounts,
        })
    }

    /// Begins one.
    pub(crate) fn begin(
        &self,
        instance: &str,
        verb: &str,
        user: &str,
    ) -> Result<(OperationBody, Cancel), Fault> {
        let body = OperationBody {
            id: secret()?.chars().take(16).collect(),
            instance: instance.to_owned(),
            verb: verb.to_owned(),
            user: user.to_owned(),
            state: "running".to_owned(),
            began_at: now(),
            ended_at: None,
            cancelling: false,
            paused: false,
            phases: Vec::new(),
            waiting_on: None,
            moving: None,
            proof: None,
            problem: None,
        };
        self.accounts.keep(&body)?;
        let entry = entry(body.clone());
        let cancel = entry.cancel.clone();
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        order.push_back(body.id.clone());
        entries.insert(body.id.clone(), entry);
        // One that runs stays at hand, however old it is.
        let oldest_ended = order
            .iter()
            .position(|id| entries.get(id).is_none_or(|it| it.body.state != "running"));
        if order.len() > AT_HAND_MAX
            && let Some(id) = oldest_ended.and_then(|index| order.remove(index))
        {
            entries.remove(&id);
        }
        drop(entries);
        self.hub
            .tell(instance, EventBody::Operation(Box::new(body.clone())));
        Ok((body, cancel))
    }

    /// All at hand, newest first.
    pub(crate) fn list(&self, instance: Option<&str>) -> Vec<OperationBody> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = order.iter().rev().filter_map(|id| entries.get(id));
        newest
            .map(|it| it.body.clone())
            .filter(|it| instance.is_none_or(|name| it.instance == name))
            .collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Option<OperationBody> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(id).map(|it| it.body.clone())
    }

    /// Who is at work on an instance in this server.
    pub(crate) fn running(&self, instance: &str) -> Option<OperationBody> {
        let all = self.list(Some(instance));
        all.into_iter().find(|it| it.state == "running")
    }

    /// Asks one to stop.
    pub(crate) fn cancel(&self, id: &str) -> Option<OperationBody> {
        self.change(id, true, |entry| {
            if entry.body.state == "running" {
                entry.body.cancelling = true;
                entry.cancel.cancel();
            }
        })
    }

    /// Asks all to stop, and says whether any still runs.
    pub(crate) fn cancel_all(&self) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = entries.values().filter(|it| it.body.state == "running");
        running.by_ref().inspect(|it| it.cancel.cancel()).count() > 0
    }

    /// Ends one.
    pub(crate) fn end(&self, id: &str, ended: Result<Option<ProofBody>, &Fault>) {
        let body = self.change(id, true, |entry| {
            let body = &mut entry.body;
            body.ended_at = Some(now());
            body.waiting_on = None;
            let state = match ended {
                Ok(proof) => {
                    body.proof = proof;
                    "done"
                }
                Err(fault) => {
                    body.problem = Some(ProblemBody::new(fault, status_of(fault).as_u16()));
                    if fault.class == Class::Interrupted {
                        "interrupted"
                    } else {
                        "failed"
                    }
                }
            };
            state.clone_into(&mut body.state);
        });
        if let Some(body) = body {
            // What ran is done whether or not its record can be kept; `begin` tells of a full disk.
            let _ = self.accounts.keep(&body);
        }
    }

    /// Looks whether a key was used, and for what.
    pub(crate) fn known(&self, key: &str, body: &str) -> Known {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.iter().find(|it| it.0 == key) {
            None => Known::No,
            Some((_, kept, id)) if kept == body => Known::Same(id.clone()),
            Some(_) => Known::Other,
        }
    }

    /// Remembers what answers a key.
    pub(crate) fn remember(&self, key: &str, body: &str, id: &str) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() == KEYS_MAX {
            keys.pop_front();
        }
        keys.push_back((key.to_owned(), body.to_owned(), id.to_owned()));
    }

    fn change(
        &self,
        id: &str,
        at_once: bool,
        change: impl FnOnce(&mut Entry),
    ) -> Option<OperationBody> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(id)?;
        change(entry);
        let body = entry.body.clone();
        let tells = at_once || entry.told.elapsed() >= PROGRESS_PAUSE;
        if tells {
            entry.told = Instant::now();
            self.hub
                .tell(&body.instance, EventBody::Operation(Box::new(body.clone())));
        }
        Some(body)
    }
}

fn entry(body: OperationBody) -> Entry {
    Entry {
        body,
        cancel: Cancel::new(),
        told: Instant::now(),
    }
}

/// Now, as RFC 3339.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%FT%T%.3fZ").to_string()
}

/// Writes what happens into an operation's record.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) operations: Arc<Operations>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) instance: String,
    pub(crate) id: String,
}

impl Audience for Recorder {
    fn tell(&self, event: Event) {
        match event {
            Event::PhaseStarted { number, of, phase } => {
                self.change(true, |body| {
                    body.waiting_on = None;
                    if body.phases.len() == PHASES_MAX {
                        body.phases.remove(0);
                    }
                    body.phases.push(PhaseState {
                        number,
                        of,
                        steps: PhaseBody::from(&phase).steps,
                        title: phase.title,
                        steps_done: 0,
                        took_ms: None,
                    });
                });
            }
            Event::PhaseProgress { done, .. } => self.change(false, |body| {
                if let Some(phase) = body.phases.last_mut() {
                    phase.steps_done = done;
                }
            }),
            Event::PhaseFinished { took, .. } => self.change(true, |body| {
                body.waiting_on = None;
                if let Some(phase) = body.phases.last_mut() {
                    phase.steps_done = phase.steps.len();
                    phase.took_ms = Some(milliseconds(took));
                }
            }),
            Event::StepFailed { subject, fault } => self.change(true, |body| {
                body.waiting_on = Some(format!("{subject}: {fault}"));
            }),
            Event::Waiting { on, .. } => self.change(false, |body| body.waiting_on = Some(on)),
            Event::Moving(progress) => self.change(false, |body| {
                body.moving = Some(moving(&progress));
            }),
            Event::Noticed(finding) => self.hub.tell(
                &self.instance,
                EventBody::Finding {
                    instance: self.instance.clone(),
                    finding: FindingBody::from(&finding),
                },
            ),
            Event::JobOutput { workload, line } | Event::LogLine { workload, line } => {
                let instance = self.instance.clone();
                let body = EventBody::JobOutput {
                    instance,
                    workload,
                    line,
                };
                self.hub.tell(&self.instance, body);
            }
        }
    }
}

impl Recorder {
    fn change(&self, at_once: bool, change: impl FnOnce(&mut OperationBody)) {
        self.operations
            .change(&self.id, at_once, |entry| change(&mut entry.body));
    }
}

fn moving(progress: &MoveProgress) -> MovingBody {
    let microseconds = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
    MovingBody {
        slots_done: progress.slots_done,
        slots_total: progress.slots_total,
        keys_done: progress.keys_done,
        keys_total: progress.keys_total,
        bytes_done: progress.bytes_done,
        elapsed_ms: milliseconds(progress.elapsed),
        left_ms: progress.left.map(milliseconds),
        latency_us: progress.latency.map(microseconds),
    }
}
