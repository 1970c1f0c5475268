//! Decides what must be done, without doing any of it.
//!
//! Every function here is pure: the same spec, view and seed give the same plan, byte for byte.
//! What cannot be decided safely becomes a finding, never a guess.

pub mod allocate;
pub mod backup;
pub mod check;
pub mod converge;
pub mod create;
pub mod failover;
pub mod fix;
pub mod handover;
pub mod import;
pub mod layout;
pub mod moves;
pub mod policy;
pub mod ready;
pub mod scale;
mod shards;
pub mod stop;
pub mod tend;
mod turn;
pub mod workloads;
