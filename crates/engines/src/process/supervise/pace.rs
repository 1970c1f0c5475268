//! When a server that ended starts again. Pure: times go in, a time comes out.

use std::time::Duration;

use crate::process::launch::Restart;
use crate::process::state::End;

/// The pause before the second restart in a row; each later one doubles it. The first restart has
/// none: a single crash should cost its clients as little as it can.
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// The longest pause: a server that cannot start costs the host next to nothing then, and one
/// whose trouble is over is back within half a minute.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A run of this length shows that the trouble before it is over.
const RUN_GOOD: Duration = Duration::from_secs(60);

/// How often a server has ended soon after its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pace {
    ends: u32,
}

impl Pace {
    /// A run ended after this time.
    pub(super) fn ended_after(&mut self, ran: Duration) {
        if ran >= RUN_GOOD {
            self.ends = 0;
        }
        self.ends = self.ends.saturating_add(1);
    }

    /// How long to wait before the next start.
    pub(super) fn pause(self) -> Duration {
        match self.ends {
            0 | 1 => Duration::ZERO,
            ends => PAUSE_FIRST
                .saturating_mul(1_u32.checked_shl(ends - 2).unwrap_or(u32::MAX))
                .min(PAUSE_MAX),
        }
    }
}

/// Whether a server that ended like this starts again.
pub(super) const fn starts_again(restart: Restart, end: End) -> bool {
    match restart {
        Restart::Always => true,
        Restart::OnFailure => !matches!(end, End::Exit(0)),
        Restart::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_longer() {
        let mut pace = Pace::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pace.ended_after(Duration::from_secs(1));
            pauses.push(pace.pause().as_millis());
        }
        assert_eq!(
            pauses,
            [0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
        pace.ends = u32::MAX;
        pace.ended_after(Duration::ZERO);
        assert_eq!(pace.pause(), PAUSE_MAX);
        pace.ended_after(RUN_GOOD);
        assert_eq!(pace.pause(), Duration::ZERO);
    }

    #[test]
    fn the_policy_decides_what_starts_again() {
        for (restart, good, bad) in [
            (Restart::Always, true, true),
            (Restart::OnFailure, false, true),
            (Restart::Never, false, false),
        ] {
            assert_eq!(starts_again(restart, End::Exit(0)), good);
            for end in [End::Exit(1), End::Signal(9), End::Unseen] {
                assert_eq!(starts_again(restart, end), bad);
            }
        }
    }
}
