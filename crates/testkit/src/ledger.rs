//! What a client was told is written, to be held against what is there in the end.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a client knows of its writes. The value of a key only ever grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// The last value of each key that a primary has acknowledged.
    pub acknowledged: BTreeMap<u32, u64>,
    /// The last acknowledged value of each key that all replicas had, too (WAIT).
    pub copied: BTreeMap<u32, u64>,
    /// How many writes were tried.
    pub tried: u64,
    /// How many of them were not taken.
    pub refused: u64,
    /// The longest time without a write that was taken, once there was one.
    pub longest_gap: Duration,
    last: Option<Duration>,
}

impl Ledger {
    pub(crate) const fn new() -> Self {
        Self {
            acknowledged: BTreeMap::new(),
            copied: BTreeMap::new(),
            tried: 0,
            refused: 0,
            longest_gap: Duration::ZERO,
            last: None,
        }
    }

    pub(crate) fn tried(&mut self, key: u32, value: u64, is_written: bool, now: Duration) {
        self.tried += 1;
        if !is_written {
            self.refused += 1;
            return;
        }
        self.acknowledged.insert(key, value);
        let since = self.last.replace(now).unwrap_or(now);
        self.longest_gap = self.longest_gap.max(now.saturating_sub(since));
    }

    /// All replicas have a value.
    pub(crate) fn copied(&mut self, key: u32, value: u64) {
        if self
            .acknowledged
            .get(&key)
            .is_some_and(|last| *last >= value)
        {
            let last = self.copied.entry(key).or_default();
            *last = value.max(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_not_owed_and_gaps_are_measured() {
        let mut ledger = Ledger::new();
        let at = Duration::from_millis;
        ledger.tried(1, 1, true, at(10));
        ledger.tried(1, 2, false, at(20));
        ledger.copied(1, 2);
        ledger.tried(2, 3, true, at(60));
        ledger.copied(1, 1);
        assert_eq!(ledger.acknowledged, BTreeMap::from([(1, 1), (2, 3)]));
        assert_eq!(ledger.copied, BTreeMap::from([(1, 1)]));
        assert_eq!((ledger.tried, ledger.refused), (3, 1));
        assert_eq!(ledger.longest_gap, at(50));
    }
}
