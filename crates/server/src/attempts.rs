//! How often logins failed of late, so that passwords cannot be guessed. It keeps nothing on disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The window, how many failures of one name it may have, and how many of all names together.
const WINDOW: Duration = Duration::from_secs(60);
const PER_NAME_MAX: usize = 5;
const IN_ALL_MAX: usize = 60;

/// Failed logins of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    failed: Mutex<VecDeque<(Instant, String)>>,
}

impl Attempts {
    /// Whether one more try of this name may be made now. It counts as failed until
    /// `succeeded` says otherwise, so that tries at the same time count too.
    pub(crate) fn begin(&self, name: &str, now: Instant) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        while failed
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW)
        {
            failed.pop_front();
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, name) in failed.iter() {
            *counts.entry(name).or_default() += 1;
        }
        let of_name = counts.get(name).copied().unwrap_or_default();
        if of_name >= PER_NAME_MAX || failed.len() >= IN_ALL_MAX {
            return false;
        }
        failed.push_back((now, name.to_owned()));
        true
    }

    /// A login of this name was right: its failures are forgotten.
    pub(crate) fn succeeded(&self, name: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|(_, it)| it != name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_failure_within_a_minute_is_refused_and_a_minute_later_it_is_not() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for _ in 0..PER_NAME_MAX {
            assert!(attempts.begin("ann", start));
        }
        assert!(!attempts.begin("ann", start));
        assert!(attempts.begin("ben", start), "another name is not held");
        assert!(attempts.begin("ann", start + WINDOW));
        attempts.succeeded("ann");
        assert!(attempts.begin("ann", start + WINDOW));
    }
}
