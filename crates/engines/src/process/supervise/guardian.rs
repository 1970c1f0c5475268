//! The guardian: who decides whether a server that ended may start again.
//!
//! The supervisor knows processes, not data. A primary that comes back empty would be copied by
//! its replicas; whether that can happen here is the driver's knowledge, so it is asked.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use model::ids::WorkloadName;
use model::view::Ending;

/// Asked after a server that was meant to run has ended and is gone for sure.
pub trait Guardian: Send + Sync {
    /// Does what must be done first, such as having a replica promoted, and decides. It is asked
    /// within a millisecond or so of the end, and anew after each `Hold`. Planned stops and the
    /// ends of jobs are not asked about.
    ///
    /// `Ending::Unseen` is a server that ended while no supervisor ran, or whose end only another
    /// process could learn of. No verdict within a minute counts as `Hold`.
    fn ended<'a>(
        &'a self,
        workload: &'a WorkloadName,
        ending: Ending,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

/// What a guardian decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The server may start.
    StartAgain,
    /// It must not start, because that could lose data.
    Hold {
        /// Why, for people.
        reason: String,
        /// When to ask again.
        ask_again_after: Duration,
    },
}
