//! What the tests of the product share: the real binary with a state folder of its own, and a
//! client that keeps a ledger of what was acknowledged.
//!
//! A `Shardyard` takes down whatever it delivered when it is dropped, also when its test fails.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic is the message"
)]

mod append;
mod bare;
mod census;
mod client;
mod corpus;
mod docker;
pub mod http;
mod ledger;
mod plain;
mod process;
mod served;
mod sharding;
mod shardyard;
mod turns;

pub use append::{Appended, Appender};
pub use bare::BareServers;
pub use census::{Census, census, census_of, differences};
pub use client::Client;
pub use corpus::{plant, plant_mayflies, plant_on, plant_on_all, without_functions};
pub use docker::{docker, inspect, is_docker_there, try_docker};
pub use ledger::{Ledger, Writer, connect};
pub use process::{kill, wait_until};
pub use served::Served;
pub use sharding::the_job_reshards_and_drains;
pub use shardyard::{Ran, Shardyard, servers};
pub use turns::jobs_have_their_turns;
