//! What is going to happen, in the order in which it will. What was planned first for a moment
//! happens first in it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Things that will happen.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    coming: BTreeMap<(Duration, u64), T>,
    planned: u64,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            coming: BTreeMap::new(),
            planned: 0,
        }
    }

    /// Plans something for a moment.
    pub(crate) fn plan(&mut self, at: Duration, what: T) {
        self.planned += 1;
        self.coming.insert((at, self.planned), what);
    }

    /// The next thing, if it happens by then.
    pub(crate) fn next_by(&mut self, limit: Duration) -> Option<(Duration, T)> {
        let first = self.coming.first_entry()?;
        let (at, _) = *first.key();
        (at <= limit).then(|| (at, first.remove()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_for_the_same_moment_happens_in_the_order_of_planning() {
        let mut queue = Queue::new();
        let at = Duration::from_millis;
        for (time, name) in [(5, "c"), (3, "a"), (3, "b"), (9, "d")] {
            queue.plan(at(time), name);
        }
        let mut seen = Vec::new();
        while let Some((_, name)) = queue.next_by(at(8)) {
            seen.push(name);
        }
        assert_eq!(seen, ["a", "b", "c"]);
    }
}
