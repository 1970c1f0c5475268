//! Who decides whether a server that ended may start again, as the supervisor of the process
//! engine asks its guardian.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use model::ids::{InstanceName, WorkloadName};
use model::view::Ending;

/// Asked before a server that ended unplanned starts again.
pub trait Keeper: Send + Sync {
    /// Does what must be done first, and decides.
    fn ended<'a>(
        &'a self,
        instance: &'a InstanceName,
        workload: &'a WorkloadName,
        ending: Ending,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

/// What a keeper decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The server may start.
    StartAgain,
    /// It must not start yet.
    Hold {
        /// Why.
        reason: String,
        /// When to ask again.
        ask_again_after: Duration,
    },
}
