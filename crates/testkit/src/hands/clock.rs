//! The simulated time.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use model::port::Clock;

use crate::world::World;

/// The time of a simulated world, from its beginning.
#[derive(Clone, Debug)]
pub struct SimClock {
    world: World,
}

impl SimClock {
    pub(crate) const fn new(world: World) -> Self {
        Self { world }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        self.world.now()
    }

    fn sleep<'a>(&'a self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(time))
    }
}
