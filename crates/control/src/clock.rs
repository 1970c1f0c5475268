//! The real clock.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use model::port::Clock;

/// Time as it passes, from when this was made.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    began: Instant,
}

impl RealClock {
    /// Begins at 0.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn sleep<'a>(&'a self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(time))
    }
}
