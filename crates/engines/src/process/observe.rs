//! Translates what was read on this host into what the core knows: phases, data sets, identities,
//! memory.
//!
//! Pure: texts and bytes go in, views come out. `look` does the reading.

pub(crate) mod dataset;
pub(crate) mod memory;
pub(crate) mod node;

use std::time::Duration;

use model::view::{Ending, WorkloadPhase};

use super::state::{Course, End, State};

/// What was seen of a workload's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// It lives, and its health check passes or not.
    Alive {
        /// Whether it passes; `true` where there is none.
        healthy: bool,
    },
    /// There is none.
    Gone {
        /// Whether a supervisor is there that would start it again.
        supervised: bool,
    },
}

/// What a workload does.
///
/// A process that lives runs, whatever is written down about it. One that ended, and that a living
/// supervisor is about to start again, is `Restarting`; without a supervisor nobody will, and it
/// is `Ended`. What the guardian holds stays held either way: its reason outlives the supervisor.
pub(crate) fn phase(state: &State, seen: Seen, now_ms: u64) -> WorkloadPhase {
    let supervised = match seen {
        Seen::Alive { healthy } => return WorkloadPhase::Running { healthy },
        Seen::Gone { supervised } => supervised,
    };
    let last = Ending::from(state.last.unwrap_or(End::Unseen));
    let (ending, pause) = match &state.course {
        Course::Stopped => return WorkloadPhase::Stopped,
        Course::Held { reason } => {
            return WorkloadPhase::Held {
                reason: reason.clone(),
            };
        }
        Course::Over => return WorkloadPhase::Ended(last),
        // Its end is not yet written down, so `last` tells of the run before.
        Course::Running => (Ending::Unseen, 0),
        Course::Asking => (last, 0),
        Course::Pausing { until_ms } => (last, until_ms.saturating_sub(now_ms)),
    };
    if !supervised {
        return WorkloadPhase::Ended(ending);
    }
    WorkloadPhase::Restarting {
        last: ending,
        pause: Duration::from_millis(pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_workload_does_follows_from_its_process_first() {
        let held = Course::Held {
            reason: "why".to_owned(),
        };
        let kept = WorkloadPhase::Held {
            reason: "why".to_owned(),
        };
        let again = |last, pause| WorkloadPhase::Restarting {
            last,
            pause: Duration::from_millis(pause),
        };
        let one = Ending::Exit(1);
        let pausing = Course::Pausing { until_ms: 1_500 };
        for (course, supervised, expected) in [
            (Course::Stopped, true, WorkloadPhase::Stopped),
            (Course::Stopped, false, WorkloadPhase::Stopped),
            (held.clone(), true, kept.clone()),
            (held, false, kept),
            (Course::Over, true, WorkloadPhase::Ended(one)),
            (Course::Running, true, again(Ending::Unseen, 0)),
            (Course::Running, false, WorkloadPhase::Ended(Ending::Unseen)),
            (Course::Asking, true, again(one, 0)),
            (Course::Asking, false, WorkloadPhase::Ended(one)),
            (pausing.clone(), true, again(one, 500)),
            (pausing, false, WorkloadPhase::Ended(one)),
        ] {
            let state = State {
                course,
                last: Some(End::Exit(1)),
                ..State::default()
            };
            assert_eq!(phase(&state, Seen::Gone { supervised }, 1_000), expected);
            let alive = phase(&state, Seen::Alive { healthy: false }, 1_000);
            assert_eq!(alive, WorkloadPhase::Running { healthy: false });
        }
    }
}
