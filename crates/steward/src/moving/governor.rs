//! The governor: as fast as the latency budget and the rate limit allow.
//!
//! A small client asks each node concerned for nothing but an answer, as often as clients that care
//! do. Where an answer takes longer than the budget, what goes at once is halved; where it takes
//! less than half of it, a little is added (additive increase, multiplicative decrease).

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use model::command::NodeCommand;
use model::migration::{Brake, MoveManner, Wish};
use model::step::Member;

use super::Work;

/// The most bytes of one `MIGRATE`, and with a budget: what a server restores in about a
/// millisecond.
const BATCH_BYTES: u64 = 256 << 10;
const BATCH_BYTES_GENTLE: u64 = 32 << 10;

/// The bytes that go at once: without a budget, to begin with under one, and at the least. The
/// least is what one round trip is worth.
const ROUND_BYTES_MAX: u64 = 4 << 20;
const ROUND_BYTES_FIRST: u64 = 64 << 10;
const ROUND_BYTES_MIN: u64 = 8 << 10;

/// What is added where answers are quick.
const ROUND_BYTES_MORE: u64 = 8 << 10;

/// The pause between two questions of the probe: often enough to see a stall that a client would.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// Without a budget the probe only tells.
const PROBE_PAUSE_IDLE: Duration = Duration::from_millis(100);

/// How long an answer to the probe may take before it counts as that long.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// The pause between two words about how far it is.
const TELL_PAUSE: Duration = Duration::from_millis(100);

/// How often a move that is paused looks whether it goes on.
const PAUSED_PAUSE: Duration = Duration::from_millis(50);

/// How long the slowest answer of late is shown.
const LATE: Duration = Duration::from_secs(1);

/// How fast a move may be.
#[derive(Debug)]
pub(super) struct Governor {
    budget: Option<Duration>,
    keys_per_second: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    round_bytes: u64,
    /// Nothing goes before then: an answer was slow.
    rest_until: Duration,
    /// When the next key may go, by the limit of keys a second.
    due: Duration,
}

impl Governor {
    pub(super) fn new(manner: &MoveManner) -> Self {
        Self {
            budget: manner.latency_max,
            keys_per_second: manner.keys_per_second_max,
            state: Mutex::new(State {
                round_bytes: match manner.latency_max {
                    Some(_) => ROUND_BYTES_FIRST,
                    None => ROUND_BYTES_MAX,
                },
                rest_until: Duration::ZERO,
                due: Duration::ZERO,
            }),
        }
    }

    /// The most bytes of one `MIGRATE`.
    pub(super) const fn batch_bytes(&self) -> u64 {
        match self.budget {
            Some(_) => BATCH_BYTES_GENTLE,
            None => BATCH_BYTES,
        }
    }

    /// The bytes that may go at once now.
    pub(super) fn round_bytes(&self) -> u64 {
        self.state().round_bytes
    }

    /// The probe has had an answer after this long. Says whether that was too long.
    fn heard(&self, now: Duration, latency: Duration) -> bool {
        let Some(budget) = self.budget else {
            return false;
        };
        let mut state = self.state();
        if latency > budget {
            state.round_bytes = (state.round_bytes / 2).max(ROUND_BYTES_MIN);
            // As long as the clients had to wait, they go first.
            state.rest_until = state.rest_until.max(now + latency.min(PROBE_LIMIT));
            return true;
        }
        if latency * 2 < budget {
            state.round_bytes = (state.round_bytes + ROUND_BYTES_MORE).min(ROUND_BYTES_MAX);
        }
        false
    }

    /// How long these keys have to wait now; they count as sent.
    fn wait_for(&self, now: Duration, keys: usize) -> (Duration, Option<Brake>) {
        let mut state = self.state();
        let rest = state.rest_until.saturating_sub(now);
        let Some(rate) = self.keys_per_second.filter(|rate| *rate > 0) else {
            return (rest, (!rest.is_zero()).then_some(Brake::Latency));
        };
        let due = state.due.saturating_sub(now);
        let keys = u32::try_from(keys).unwrap_or(u32::MAX);
        state.due = state.due.max(now) + Duration::from_secs(1) * keys / rate;
        match (rest, due) {
            (Duration::ZERO, Duration::ZERO) => (Duration::ZERO, None),
            (rest, due) if due > rest => (due, Some(Brake::Rate)),
            (rest, _) => (rest, Some(Brake::Latency)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until nobody wants the move to stand still. It is asked where no slot is open.
pub(super) async fn go_on(work: Work<'_>) {
    let ground = work.ground;
    while ground.overseer.wish() == Wish::Pause {
        work.tally.brake(Brake::Paused);
        ground.clock.sleep(PAUSED_PAUSE).await;
    }
    work.tally.release(Brake::Paused);
}

/// Waits until these keys may go: until clients are served in time, and the rate allows them.
pub(super) async fn admit(work: Work<'_>, keys: usize) {
    let ground = work.ground;
    let (wait, brake) = work.governor.wait_for(ground.clock.now(), keys);
    if let Some(brake) = brake {
        work.tally.brake(brake);
        ground.clock.sleep(wait).await;
        work.tally.release(brake);
    }
}

/// Does a piece of work to its end, watched, and tells how far it has come in the end.
pub(super) async fn watched<T>(
    work: Work<'_>,
    nodes: &[Member],
    moving: impl Future<Output = T>,
) -> T {
    let moving = pin!(moving);
    let watching = pin!(watch(work, nodes));
    let moved = match select(moving, watching).await {
        Either::Left((moved, _)) => moved,
        // Watching never ends by itself.
        Either::Right(((), moving)) => moving.await,
    };
    let ground = work.ground;
    ground
        .overseer
        .progress(&work.tally.progress(ground.clock.now()));
    moved
}

/// Asks the nodes for answers and tells how far it is, until it is dropped.
async fn watch(work: Work<'_>, nodes: &[Member]) {
    let ground = work.ground;
    let pause = match work.governor.budget {
        Some(_) => PROBE_PAUSE,
        None => PROBE_PAUSE_IDLE,
    };
    let mut told = ground.clock.now();
    let mut slowest = (told, Duration::ZERO);
    loop {
        ground.clock.sleep(pause).await;
        let latencies = join_all(nodes.iter().map(|node| latency(work, *node))).await;
        let latency = latencies.into_iter().max().unwrap_or_default();
        let now = ground.clock.now();
        work.governor.heard(now, latency);
        if latency >= slowest.1 || now.saturating_sub(slowest.0) >= LATE {
            slowest = (now, latency);
        }
        if now.saturating_sub(told) >= TELL_PAUSE {
            told = now;
            work.tally.latency(Some(slowest.1));
            ground.overseer.progress(&work.tally.progress(now));
        }
    }
}

/// How long a node takes to answer.
async fn latency(work: Work<'_>, node: Member) -> Duration {
    let ground = work.ground;
    let began = ground.clock.now();
    let question = [NodeCommand::Ping];
    let sent = ground
        .nodes
        .send(node.address, &question, ground.credentials, PROBE_LIMIT);
    // A node that gives no answer is as slow as one can be: whoever needs it says so.
    let _ = sent.await;
    ground.clock.now().saturating_sub(began)
}

#[cfg(test)]
mod tests {
    use model::migration::BigKeys;
    use model::size::ByteSize;

    use super::*;

    fn manner(budget: Option<u64>, rate: Option<u32>) -> MoveManner {
        MoveManner {
            latency_max: budget.map(Duration::from_millis),
            keys_per_second_max: rate,
            batch_keys_max: 1000,
            migrate_timeout: Duration::from_secs(60),
            replace: false,
            big_keys: BigKeys::Move {
                from: ByteSize::mib(1),
            },
            fence: true,
            driver: None,
        }
    }

    #[test]
    fn slow_answers_halve_what_goes_at_once_and_quick_ones_add_to_it() {
        let governor = Governor::new(&manner(Some(5), None));
        let now = Duration::from_secs(1);
        let first = governor.round_bytes();
        assert!(governor.heard(now, Duration::from_millis(6)));
        assert_eq!(governor.round_bytes(), first / 2);
        assert_eq!(
            governor.wait_for(now, 1),
            (Duration::from_millis(6), Some(Brake::Latency))
        );
        for _ in 0..100 {
            governor.heard(now, Duration::from_secs(1));
        }
        assert_eq!(governor.round_bytes(), ROUND_BYTES_MIN);
        assert!(!governor.heard(now, Duration::from_millis(1)));
        assert_eq!(governor.round_bytes(), ROUND_BYTES_MIN + ROUND_BYTES_MORE);
        // Between half of the budget and all of it nothing changes.
        assert!(!governor.heard(now, Duration::from_millis(4)));
        assert_eq!(governor.round_bytes(), ROUND_BYTES_MIN + ROUND_BYTES_MORE);
    }

    #[test]
    fn without_a_budget_nothing_slows_it() {
        let governor = Governor::new(&manner(None, None));
        assert!(!governor.heard(Duration::ZERO, Duration::from_secs(9)));
        assert_eq!(governor.round_bytes(), ROUND_BYTES_MAX);
        assert_eq!(governor.wait_for(Duration::ZERO, 9), (Duration::ZERO, None));
    }

    #[test]
    fn keys_go_no_faster_than_the_limit() {
        let governor = Governor::new(&manner(None, Some(100)));
        let now = Duration::from_secs(5);
        assert_eq!(governor.wait_for(now, 50), (Duration::ZERO, None));
        assert_eq!(
            governor.wait_for(now, 50),
            (Duration::from_millis(500), Some(Brake::Rate))
        );
        // Who waited is not owed anything for the time before.
        let later = Duration::from_secs(60);
        assert_eq!(governor.wait_for(later, 1), (Duration::ZERO, None));
    }
}
