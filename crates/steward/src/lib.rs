//! Does to a cluster what data depends on: moves slots, hands over, drains, forgets.
//!
//! It speaks to servers only through the port `model::port::Nodes`, and knows time only as
//! `model::port::Clock`, so that the simulation runs this very code. It never decides what should be
//! true: steps come from a plan.

use std::fmt;

use model::fault::{Class, Fault};
use model::migration::Overseer;
use model::port::{Clock, Nodes};
use model::spec::Credentials;
use model::step::StewardStep;

/// What a step is applied with.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The servers.
    pub nodes: &'a dyn Nodes,
    /// Time.
    pub clock: &'a dyn Clock,
    /// With which user the servers are spoken to.
    pub credentials: Option<&'a Credentials>,
    /// Who hears how far a move is, and says whether it goes on.
    pub overseer: &'a dyn Overseer,
}

impl fmt::Debug for Ground<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Ground")
    }
}

/// Makes one thing true. It can be applied twice.
///
/// # Errors
/// With what is not true, and why.
pub async fn apply(ground: Ground<'_>, step: &StewardStep) -> Result<(), Fault> {
    let _ = (ground, step);
    Err(Fault::new("SY4099", Class::Failed, "not built yet"))
}
