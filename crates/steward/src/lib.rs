//! Does to a cluster what data depends on: moves slots, hands over, drains, forgets.
//!
//! It speaks to servers only through the port `model::port::Nodes`, and knows time only as
//! `model::port::Clock`, so that the simulation runs this very code. It never decides what should
//! be true: steps come from a plan. It never flushes, resets or takes over.

mod copies;
mod empty;
mod error;
mod forget;
mod functions;
mod handover;
mod moving;
mod setting;
mod slots;
mod talk;

use std::fmt;

use model::fault::Fault;
use model::migration::Overseer;
use model::port::{Clock, Nodes};
use model::spec::Credentials;
use model::step::StewardStep;

pub use error::StewardError;

/// What a step is applied with.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The servers.
    pub nodes: &'a dyn Nodes,
    /// Time.
    pub clock: &'a dyn Clock,
    /// With which user the servers are spoken to.
    pub credentials: Option<&'a Credentials>,
    /// The same for a server outside of the cluster, whose keys come into it.
    pub source_credentials: Option<&'a Credentials>,
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
    let applied = match step {
        StewardStep::EnsureMoved { moves, manner } => moving::ensure(ground, moves, manner).await,
        StewardStep::EnsureImported(import) => moving::import::ensure(ground, import).await,
        StewardStep::EnsureStable { node, slots } => {
            slots::ensure_stable(ground, *node, slots).await
        }
        StewardStep::EnsureOwner {
            node,
            slots,
            others,
        } => slots::ensure_owner(ground, *node, slots, others).await,
        StewardStep::EnsureHandedOver { promotions } => {
            handover::ensure_all(ground, promotions).await
        }
        StewardStep::EnsureCopies { replica, primary } => {
            copies::ensure(ground, *replica, *primary).await
        }
        StewardStep::EnsureFunctions { source, targets } => {
            functions::ensure(ground, *source, targets).await
        }
        StewardStep::EnsureEmpty { node } => empty::ensure(ground, *node).await,
        StewardStep::EnsureForgotten { gone, by } => forget::ensure_all(ground, gone, by).await,
        StewardStep::EnsureSetting { nodes, name, value } => {
            setting::ensure_all(ground, nodes, name, value).await
        }
    };
    applied.map_err(Fault::from)
}
