//! What the benchmarks share: servers that are up before the clock starts, a client of few lines
//! that says when a cluster is ready, and figures that are printed as ratios.
//!
//! Readiness is judged here by a client of the benchmark's own, the same for us and for the peer:
//! neither is believed when it says that it is done.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

mod client;
mod engine;
mod figures;
mod servers;
mod shardyard;

pub use client::{Client, Reply, all_ready};
pub use engine::Engine;
pub use figures::{Figures, ratio, seconds};
pub use servers::Servers;
pub use shardyard::{Shardyard, peer, redis_cli};
