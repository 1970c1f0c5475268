//! How far a move is, and whether it is to end. Counted by many at once, told by one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::migration::{Brake, MoveProgress};

/// The numbers of a move.
#[derive(Debug)]
pub(super) struct Tally {
    began: Duration,
    slots_total: u32,
    keys_total: u64,
    numbers: Mutex<Numbers>,
    is_ending: AtomicBool,
}

#[derive(Debug, Default)]
struct Numbers {
    slots: u32,
    keys: u64,
    bytes: u64,
    latency: Option<Duration>,
    brake: Option<Brake>,
}

impl Tally {
    pub(super) fn new(began: Duration, slots_total: u32, keys_total: u64) -> Self {
        Self {
            began,
            slots_total,
            keys_total,
            numbers: Mutex::default(),
            is_ending: AtomicBool::new(false),
        }
    }

    /// Keys have arrived.
    pub(super) fn keys(&self, keys: usize, bytes: u64) {
        let mut numbers = self.numbers();
        numbers.keys += keys as u64;
        numbers.bytes = numbers.bytes.saturating_add(bytes);
    }

    /// Slots have their new owner.
    pub(super) fn slots(&self, slots: usize) {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let mut numbers = self.numbers();
        numbers.slots = numbers.slots.saturating_add(slots);
    }

    /// The slowest answer that the probe has had of late.
    pub(super) fn latency(&self, latency: Option<Duration>) {
        self.numbers().latency = latency;
    }

    /// Something keeps it from full speed.
    pub(super) fn brake(&self, brake: Brake) {
        self.numbers().brake = Some(brake);
    }

    /// That does not keep it any more.
    pub(super) fn release(&self, brake: Brake) {
        let mut numbers = self.numbers();
        if numbers.brake == Some(brake) {
            numbers.brake = None;
        }
    }

    /// What is left is no more to be done: the plan that it is of has had its time.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Whether what is left is no more to be done.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// How far it is.
    pub(super) fn progress(&self, now: Duration) -> MoveProgress {
        let numbers = self.numbers();
        let elapsed = now.saturating_sub(self.began);
        MoveProgress {
            slots_done: numbers.slots,
            slots_total: self.slots_total,
            keys_done: numbers.keys,
            keys_total: self.keys_total,
            bytes_done: numbers.bytes,
            elapsed,
            left: left(elapsed, numbers.slots, self.slots_total),
            latency: numbers.latency,
            brake: numbers.brake,
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        // Each change is whole by itself.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rest of the time, at the rate so far; `None` before anything is done.
fn left(elapsed: Duration, done: u32, total: u32) -> Option<Duration> {
    (done > 0).then(|| elapsed * total.saturating_sub(done) / done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_follows_from_the_rate_so_far() {
        let tally = Tally::new(Duration::from_secs(10), 100, 5000);
        assert_eq!(tally.progress(Duration::from_secs(12)).left, None);
        tally.slots(25);
        tally.keys(7, 700);
        let progress = tally.progress(Duration::from_secs(12));
        assert_eq!(progress.left, Some(Duration::from_secs(6)));
        assert_eq!((progress.keys_done, progress.bytes_done), (7, 700));
    }

    #[test]
    fn a_brake_is_released_by_who_pulled_it() {
        let tally = Tally::new(Duration::ZERO, 1, 0);
        tally.brake(Brake::Latency);
        tally.release(Brake::Fence);
        assert_eq!(tally.progress(Duration::ZERO).brake, Some(Brake::Latency));
        tally.release(Brake::Latency);
        assert_eq!(tally.progress(Duration::ZERO).brake, None);
    }
}
