//! The hands of the driver in the simulated world: the ports of `model::port`.

mod clock;
mod engine;
mod nodes;

use std::time::Duration;

use model::fault::{Class, Fault};
use tokio::time::sleep;

use crate::mishap::How;
use crate::world::World;

pub use self::clock::SimClock;
pub use self::engine::SimEngine;
pub use self::nodes::SimNodes;

/// How long it takes to reach anybody and to be answered.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// The fault of something that a mishap has struck.
fn struck(what: &str) -> Fault {
    Fault::new(
        "SY9001",
        Class::Unreachable,
        format!("{what}: the answer was lost, by plan"),
    )
}

/// The tool is killed here: nothing that it does goes on.
async fn die<T>(world: &World) -> T {
    world.look(|realm| realm.axe.notify_one());
    std::future::pending().await
}

/// Does a deed of the tool, with whatever is planned to go wrong with it. What does nothing and
/// says yes gives `idle`.
async fn suffer<T>(
    world: &World,
    how: Option<How>,
    deed: impl Future<Output = Result<T, Fault>>,
    (what, idle): (&str, T),
) -> Result<T, Fault> {
    match how {
        None => deed.await,
        Some(How::FailsBefore) => Err(struck(what)),
        Some(How::FailsAfter) => {
            deed.await?;
            Err(struck(what))
        }
        Some(How::ToolDiesBefore) => die(world).await,
        Some(How::ToolDiesAfter) => {
            // Whatever came of it, nobody is there to hear of it.
            let _ = deed.await;
            die(world).await
        }
        Some(How::DoesNothing) => Ok(idle),
        Some(How::TakesLonger(by)) => {
            sleep(by).await;
            deed.await
        }
    }
}
