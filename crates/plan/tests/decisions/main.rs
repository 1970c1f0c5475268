//! What the decisions decide: tables, whole plans as a person would read them, and properties.
//!
//! The tests only call what the crate offers to the driver. They make views by hand and never ask
//! a server.

#![expect(
    clippy::unwrap_used,
    reason = "this is test code: what is made up here is known to be well formed"
)]

mod allocate;
mod backup;
mod check;
mod converge;
mod create;
mod cut_off;
mod failover;
mod fence;
mod fix;
mod fixture;
mod handover;
mod import;
mod layout;
mod moves;
mod ready;
mod rebalance;
mod resize;
mod scale;
mod stop;
mod tend;
mod world;
