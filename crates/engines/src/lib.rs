//! Speaks to the platforms that run workloads, one module each.
//!
//! An engine turns a `Workload` into what its platform runs, and what the platform shows into an
//! `EngineView`. Both translations are pure functions of their own (`translate`, `observe`); the
//! rest of an engine moves bytes. This crate never decides what should run: that is the plan's.

pub mod docker;
pub mod process;
