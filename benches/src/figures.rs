//! Figures of several runs, printed as medians with their spread, and ratios of two.

use std::time::Duration;

/// The times of several runs of one thing.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    /// Takes one run's time.
    pub fn take(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort();
    }

    /// The middle one; 0 where there is none.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The longest; 0 where there is none.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Median and spread as text: `2.05 s (2.01 … 2.11, 5 runs)`.
    #[must_use]
    pub fn shown(&self) -> String {
        let first = self.0.first().copied().unwrap_or_default();
        format!(
            "{} ({:.3} … {:.3}, {} runs)",
            seconds(self.median()),
            first.as_secs_f64(),
            self.longest().as_secs_f64(),
            self.0.len()
        )
    }
}

/// A time as `0.123 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// How many times as fast the second is as the first.
#[must_use]
pub fn ratio(peer: &Figures, ours: &Figures) -> String {
    let ratio = peer.median().as_secs_f64() / ours.median().as_secs_f64().max(1e-9);
    format!("{ratio:.1}×")
}
