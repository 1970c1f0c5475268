//! Plans, operations, events and problems as they go over the wire. Nothing here knows how they
//! came about.

use control::command::Proof;
use model::fault::Fault;
use model::outline::{Outline, OutlinePhase};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::instance::FindingBody;

/// What would be done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanBody {
    /// The state that it was made from.
    pub based_on: String,
    /// One after the other; none where there is nothing to do.
    pub phases: Vec<PhaseBody>,
    /// What should be known before.
    pub findings: Vec<FindingBody>,
}

/// Steps that are done together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PhaseBody {
    /// What is true after it.
    pub title: String,
    /// The steps.
    pub steps: Vec<StepBody>,
}

/// One thing that will be true.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StepBody {
    /// Its kind, as `ensure_running`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// More of it.
    pub detail: String,
}

impl From<&OutlinePhase> for PhaseBody {
    fn from(phase: &OutlinePhase) -> Self {
        let steps = phase.steps.iter().map(|step| StepBody {
            kind: step.kind.clone(),
            subject: step.subject.clone(),
            detail: step.detail.clone(),
        });
        Self {
            title: phase.title.clone(),
            steps: steps.collect(),
        }
    }
}

impl From<&Outline> for PlanBody {
    fn from(plan: &Outline) -> Self {
        Self {
            based_on: plan.based_on.to_string(),
            phases: plan.phases.iter().map(PhaseBody::from).collect(),
            findings: plan.findings.iter().map(FindingBody::from).collect(),
        }
    }
}

/// Operations, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OperationList {
    /// The operations.
    pub operations: Vec<OperationBody>,
}

/// A command that takes its time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OperationBody {
    /// Its id.
    pub id: String,
    /// The instance.
    pub instance: String,
    /// What is done: `up`, `down`, `scale`, `rebalance`.
    pub verb: String,
    /// Who asked for it; `reconcile` for the server itself.
    pub user: String,
    /// `running`, `done`, `failed`, `interrupted`.
    pub state: String,
    /// Since when, as RFC 3339.
    pub began_at: String,
    /// Until when.
    pub ended_at: Option<String>,
    /// Whether somebody asked it to stop.
    pub cancelling: bool,
    /// Whether somebody had it stand still.
    #[serde(default)]
    pub paused: bool,
    /// The phases that were begun so far, in order.
    pub phases: Vec<PhaseState>,
    /// What it waits for now.
    pub waiting_on: Option<String>,
    /// How far slots are on their way.
    pub moving: Option<MovingBody>,
    /// What a client noticed while slots moved; null before the end, and where none did.
    pub proof: Option<ProofBody>,
    /// Why it failed.
    pub problem: Option<ProblemBody>,
}

/// A phase of an operation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PhaseState {
    /// Its number, from 1. The planner plans again as it sees more, so numbers may begin anew.
    pub number: usize,
    /// How many there are in this plan.
    pub of: usize,
    /// What is true after it.
    pub title: String,
    /// The steps.
    pub steps: Vec<StepBody>,
    /// How many steps are applied.
    pub steps_done: usize,
    /// How long it took; null while it runs.
    pub took_ms: Option<u64>,
}

/// How far slots are on their way.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MovingBody {
    /// The slots that have their new owner.
    pub slots_done: u32,
    /// All slots that are moved.
    pub slots_total: u32,
    /// The keys that have arrived.
    pub keys_done: u64,
    /// The keys that were counted before.
    pub keys_total: u64,
    /// The bytes that have arrived.
    pub bytes_done: u64,
    /// Since the beginning.
    pub elapsed_ms: u64,
    /// The rest, at the rate so far.
    pub left_ms: Option<u64>,
    /// The slowest answer in the last second.
    pub latency_us: Option<u64>,
}

/// What a client noticed while slots moved.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProofBody {
    /// The writes that were tried.
    pub operations: u64,
    /// Those that failed.
    pub errors: u64,
    /// The longest time without an acknowledged write.
    pub longest_write_gap_ms: u64,
    /// The acknowledged writes that are not there any more.
    pub acknowledged_writes_lost: u64,
}

impl From<&Proof> for ProofBody {
    fn from(proof: &Proof) -> Self {
        Self {
            operations: proof.operations,
            errors: proof.errors,
            longest_write_gap_ms: milliseconds(proof.longest_write_gap),
            acknowledged_writes_lost: proof.acknowledged_writes_lost,
        }
    }
}

/// A time in milliseconds.
#[must_use]
pub fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An error, as `application/problem+json` (RFC 9457), with our code.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// `urn:shardyard:error:SY4004`; the page is docs/errors/SY4004.md.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, in a sentence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Our code.
    pub code: String,
    /// What brought it about, nearest first.
    pub causes: Vec<String>,
    /// Text that stands for itself: a place in a file, the end of a log.
    pub detail: Vec<String>,
    /// The way out.
    pub help: Option<String>,
    /// The exit code that the command line would end with.
    pub exit_code: u8,
}

impl ProblemBody {
    /// A fault with this HTTP status.
    #[must_use]
    pub fn new(fault: &Fault, status: u16) -> Self {
        Self {
            kind: format!("urn:shardyard:error:{}", fault.code),
            title: fault.message.clone(),
            status,
            code: fault.code.to_string(),
            causes: fault.causes.clone(),
            detail: fault.detail.clone(),
            help: fault.help.clone(),
            exit_code: fault.class.exit_code(),
        }
    }
}

/// What an event of the stream carries; the stream's `event` field is `kind`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventBody {
    /// An operation began, went on or ended; it is told whole.
    Operation(Box<OperationBody>),
    /// An operation noticed something on the way.
    Finding {
        /// The instance.
        instance: String,
        /// What was noticed.
        finding: FindingBody,
    },
    /// An instance was looked at.
    Sample {
        /// The instance.
        instance: String,
        /// Its figures.
        sample: super::instance::Sample,
    },
    /// A line of a job's output.
    JobOutput {
        /// The instance.
        instance: String,
        /// The job's workload.
        workload: String,
        /// The line.
        line: String,
    },
    /// Events between the last one that was seen and the next are lost: ask anew.
    Gap {},
}
