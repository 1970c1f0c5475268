//! Decides how an instance is taken down: jobs and servers stop, and only where the user said so
//! is anything deleted.

use std::collections::BTreeMap;

use model::ids::WorkloadName;
use model::instance::Instance;
use model::step::{EngineStep, Phase, Plan, Step};
use model::view::{View, WorkloadPhase};
use model::workload::Workload;

use crate::converge::counted;

/// Whether data stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// It stays, and the next `up` brings the same instance back.
    Keep,
    /// It goes, which the user has agreed to.
    Delete,
}

/// The plan that stops an instance, and deletes it where that was asked for.
#[must_use]
pub fn stop(
    instance: &Instance,
    workloads: &BTreeMap<WorkloadName, Workload>,
    view: &View,
    data: Data,
) -> Plan {
    let mut phases = Vec::new();
    if data == Data::Delete
        && let Some(hook) = &instance.spec.hooks.before_delete
    {
        let jobs = workloads.values().filter(|it| it.name.service() == hook);
        phases.push(Phase {
            title: format!("{hook} done, before anything is deleted"),
            steps: jobs
                .map(|job| Step::Engine(EngineStep::EnsureDone(Box::new(job.clone()))))
                .collect(),
        });
    }
    let running: Vec<Step> = view
        .engine
        .workloads
        .iter()
        .filter(|(_, workload)| runs(&workload.phase))
        .map(|(name, _)| Step::Engine(EngineStep::EnsureStopped(name.clone())))
        .collect();
    if !running.is_empty() {
        phases.push(Phase {
            title: format!("{} stopped", counted(running.len(), "workload")),
            steps: running,
        });
    }
    if data == Data::Delete && !view.engine.workloads.is_empty() {
        phases.push(Phase {
            title: "nothing left, data included".to_owned(),
            steps: view
                .engine
                .workloads
                .keys()
                .map(|name| Step::Engine(EngineStep::EnsureDeleted(name.clone())))
                .collect(),
        });
    }
    Plan {
        based_on: view.fingerprint(),
        phases,
        findings: Vec::new(),
    }
}

/// Whether the workload runs, or would again by itself.
const fn runs(phase: &WorkloadPhase) -> bool {
    match phase {
        WorkloadPhase::Running { .. }
        | WorkloadPhase::Restarting { .. }
        | WorkloadPhase::Held { .. } => true,
        WorkloadPhase::Stopped | WorkloadPhase::Ended(_) => false,
    }
}
