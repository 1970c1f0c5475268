//! What the minders of an instance share: its folder, its guardian, its journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::guardian::Guardian;
use super::journal::Journal;
use crate::process::folders::InstanceFolder;

/// What all minders share.
pub(super) struct Office {
    pub(super) folder: InstanceFolder,
    pub(super) guardian: Arc<dyn Guardian>,
    pub(super) journal: Arc<Journal>,
    /// How many workloads are in their first moments.
    pub(super) starting: Arc<AtomicU32>,
}

impl Office {
    /// Counts a start until what it returns is dropped.
    pub(super) fn count_start(&self) -> StartCount {
        self.starting.fetch_add(1, Ordering::Relaxed);
        StartCount(Arc::clone(&self.starting))
    }
}

/// A workload that counts as starting.
#[derive(Debug)]
pub(super) struct StartCount(Arc<AtomicU32>);

impl StartCount {
    /// How many are starting now.
    pub(super) fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for StartCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
