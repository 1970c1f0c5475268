//! Events: what happens while a plan is carried out, as data. Who shows them decides how.

use std::time::Duration;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::finding::Finding;
use crate::migration::MoveProgress;
use crate::outline::OutlinePhase;

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Event {
    /// A phase begins.
    PhaseStarted {
        /// Its number, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// The phase.
        phase: OutlinePhase,
    },
    /// Some of a phase's steps are applied.
    PhaseProgress {
        /// How many are.
        done: usize,
        /// How many there are.
        of: usize,
    },
    /// All of a phase's steps are applied.
    PhaseFinished {
        /// The phase's title.
        title: String,
        /// How long it took.
        took: Duration,
    },
    /// A step failed.
    StepFailed {
        /// What it is about.
        subject: String,
        /// Why.
        fault: Fault,
    },
    /// Something is still waited for.
    Waiting {
        /// What keeps it, in words: `redis-2: replica link is down`.
        on: String,
        /// For how long so far.
        since: Duration,
    },
    /// Slots are on their way, and this far.
    Moving(MoveProgress),
    /// A check noticed something on the way.
    Noticed(Finding),
    /// A line of a log that was asked for.
    LogLine {
        /// The workload.
        workload: String,
        /// The line.
        line: String,
    },
    /// A line of a job's output.
    JobOutput {
        /// The job's workload.
        workload: String,
        /// The line.
        line: String,
    },
}

/// Takes events as they happen; it must not block.
pub trait Audience: Send + Sync {
    /// Takes one event.
    fn tell(&self, event: Event);
}

/// An audience that listens to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Audience for Nobody {
    fn tell(&self, _: Event) {}
}
