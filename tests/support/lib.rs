//! What the tests of the product share: the real binary with a state folder of its own, and a
//! client that keeps a ledger of what was acknowledged.
//!
//! A `Shardyard` takes down whatever it delivered when it is dropped, also when its test fails.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic is the message"
)]

mod docker;
pub mod http;
mod ledger;
mod process;
mod shardyard;

pub use docker::{docker, inspect, is_docker_there, try_docker};
pub use ledger::{Ledger, Writer, connect};
pub use process::{kill, wait_until};
pub use shardyard::{Ran, Shardyard, servers};
