//! The driver on a simulated world: real decisions, real execution, real state on disk, and a
//! platform, servers and time that can fail in any way at any moment.
//!
//! `SHARDYARD_SIM_SEED=n` replays one seed of the random schedules, `SHARDYARD_SIM_SCHEDULES=n`
//! runs that many of them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic is the message, and what was run is told"
)]

mod bugs;
mod elastic;
mod field;
mod losses;
mod operator;
mod schedules;
mod stage;
mod steps;
mod up;
