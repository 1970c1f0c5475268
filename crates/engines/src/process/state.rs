//! What a workload does: what state.json holds, written by the supervisor alone.
//!
//! It names the process so that another supervisor can find it again. A number alone does not do
//! that: the system gives it to another process after a while.

use model::view::Ending;
use serde::{Deserialize, Serialize};

use super::launch::Print;

/// What a workload does.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Where it stands.
    pub(crate) course: Course,
    /// The process that runs, or ran when nobody watched.
    pub(crate) process: Option<Identity>,
    /// The definition that the last start was made with.
    pub(crate) fingerprint: Option<Print>,
    /// How the last run ended.
    pub(crate) last: Option<End>,
    /// How often it was started again since it was made.
    pub(crate) restarts: u32,
}

/// Where a workload stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Course {
    /// It is not to run. A process that still runs is being stopped.
    #[default]
    Stopped,
    /// It is to run, and it does unless it ended a moment ago.
    Running,
    /// It ended, and the guardian is asked whether it may start again.
    Asking,
    /// The guardian keeps it from starting.
    Held {
        /// Why.
        reason: String,
    },
    /// It starts again after a pause.
    Pausing {
        /// When, in milliseconds since 1970.
        until_ms: u64,
    },
    /// It ended for good: a job, or a server that is not to be started again.
    Over,
}

impl Course {
    /// Whether the workload is meant to run, now or after a pause.
    pub(crate) const fn is_wanted(&self) -> bool {
        match self {
            Self::Running | Self::Asking | Self::Held { .. } | Self::Pausing { .. } => true,
            Self::Stopped | Self::Over => false,
        }
    }
}

/// Which process it is, for as long as the machine is up and after.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
    /// Which start of the machine that was.
    pub(crate) boot: String,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// With an exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// Nobody was there to see it.
    Unseen,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Exit(code) => Self::Exit(code),
            Ending::Signal(number) => Self::Signal(number),
            Ending::Unseen => Self::Unseen,
        }
    }
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        match end {
            End::Exit(code) => Self::Exit(code),
            End::Signal(number) => Self::Signal(number),
            End::Unseen => Self::Unseen,
        }
    }
}
