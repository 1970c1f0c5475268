//! The process engine with real servers, real supervisors and real signals.
//!
//! Each test has a state folder and addresses of its own, and ends what it started by number.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the lints spare test functions, but not what they share"
)]

mod clusters;
mod damage;
mod fixture;
mod jobs;
mod output;
mod ports;
mod running;
mod supervision;
