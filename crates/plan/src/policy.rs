//! The limits that a plan carries with it.

use std::time::Duration;

use model::migration::{BigKeys, MoveManner};
use model::size::ByteSize;

/// How long things may take. There is no default on purpose: who plans says what holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How long workloads may take to come up; reading a large data set takes minutes.
    pub healthy_limit: Duration,
    /// How long a cluster may take to be ready once its nodes are up.
    pub ready_limit: Duration,
    /// Whether the planned primaries of a new cluster are elected after a start with exchanged
    /// roles. An election that was lost is not held again: the roles are as good the other way.
    pub elect_planned: bool,
    /// In which manner slots are moved.
    pub manner: MoveManner,
}

/// In which manner slots are moved where nobody said otherwise.
pub const USUAL_MANNER: MoveManner = MoveManner {
    // A client in the same data centre sees a fraction of a millisecond. Ten leave room for the
    // mover, and no time-out is anywhere near.
    latency_max: Some(Duration::from_millis(10)),
    keys_per_second_max: None,
    // Batches are cut by bytes; this only bounds the length of one command.
    batch_keys_max: 1000,
    migrate_timeout: Duration::from_secs(15),
    // Which of two copies is newer cannot be known.
    replace: false,
    // The move of 64 MiB blocks both servers for some tenths of a second.
    big_keys: BigKeys::Move {
        from: ByteSize::mib(64),
    },
    fence: true,
    driver: None,
};
