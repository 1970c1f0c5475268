//! Outlines: what a plan says, in words. An outline is what leaves the driver; the plan itself,
//! whose definitions of workloads hold files with passwords in them, never does.

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::step::{Phase, Plan, Step};
use crate::workload::Fingerprint;

/// What a plan says.
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// The view that the plan was made from.
    pub based_on: Fingerprint,
    /// The phases, first to last.
    pub phases: Vec<OutlinePhase>,
    /// What was noticed while planning, and why something is not planned.
    pub findings: Vec<Finding>,
}

/// What a phase says.
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutlinePhase {
    /// What will be true after it.
    pub title: String,
    /// Its steps.
    pub steps: Vec<OutlineStep>,
}

/// What a step says.
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutlineStep {
    /// Its kind: `ensure_running`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// What will be true, in words.
    pub detail: String,
}

impl Outline {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phases.iter().all(|phase| phase.steps.is_empty())
    }
}

impl From<&Plan> for Outline {
    fn from(plan: &Plan) -> Self {
        Self {
            based_on: plan.based_on,
            phases: plan.phases.iter().map(OutlinePhase::from).collect(),
            findings: plan.findings.clone(),
        }
    }
}

impl From<&Phase> for OutlinePhase {
    fn from(phase: &Phase) -> Self {
        Self {
            title: phase.title.clone(),
            steps: phase.steps.iter().map(OutlineStep::from).collect(),
        }
    }
}

impl From<&Step> for OutlineStep {
    fn from(step: &Step) -> Self {
        Self {
            kind: step.kind().to_owned(),
            subject: step.subject(),
            detail: step.detail(),
        }
    }
}
