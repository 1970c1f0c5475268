//! The limits that a plan carries with it.

use std::time::Duration;

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
}
