//! Instances as they go over the wire: a list, a status, slots, samples. It only reshapes
//! what the driver said.

use control::command::{NodeStatus, Row, ShardStatus, Status};
use model::finding::Finding;
use model::slots::{Slot, SlotRange, SlotSet};
use serde::Serialize;
use utoipa::ToSchema;

/// The instances.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InstanceList {
    /// Each in one line.
    pub instances: Vec<InstanceRow>,
}

/// An instance in one line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InstanceRow {
    /// Its name.
    pub name: String,
    /// `ready`, `converging`, `degraded`, `unavailable`, `stopped`; null where it cannot be told.
    pub state: Option<String>,
    /// Its template.
    pub template: String,
    /// Its engine.
    pub engine: String,
    /// How many shards it has.
    pub shards: usize,
    /// How many workloads it has.
    pub workloads: usize,
    /// When it was asked for, as RFC 3339.
    pub created_at: String,
    /// Why it cannot be told more.
    pub problem: Option<String>,
}

/// How an instance is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: String,
    /// Its engine.
    pub engine: String,
    /// `ready`, `converging`, `degraded`, `unavailable`, `stopped`.
    pub state: String,
    /// Where clients connect: `redis://ip:port`.
    pub endpoints: Vec<String>,
    /// How applications log in.
    pub credentials: Option<CredentialsPlace>,
    /// What came of trying each address that clients are told.
    pub tried: Vec<TriedAddress>,
    /// Its shards, by their first slot.
    pub shards: Vec<Shard>,
    /// Servers that are in no shard.
    pub other_nodes: Vec<Node>,
    /// Its workloads.
    pub workloads: Vec<WorkloadState>,
    /// What was noticed.
    pub findings: Vec<FindingBody>,
    /// Who works on it now, where that is another process; see also the operations.
    pub operation: Option<OperatorBody>,
}

/// Where the password of applications is. The password itself never goes over the wire.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CredentialsPlace {
    /// The user.
    pub user: String,
    /// The file on the server's machine.
    pub password_file: String,
}

/// A try of one address.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TriedAddress {
    /// `ip:port`.
    pub address: String,
    /// Whether it answered.
    pub answered: bool,
    /// What went wrong.
    pub problem: Option<String>,
}

/// A primary and its replicas.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Shard {
    /// Its slots, as `0-5460,6000`.
    pub slots: String,
    /// How many.
    pub slot_count: u32,
    /// Its primary.
    pub primary: Node,
    /// Its replicas.
    pub replicas: Vec<Node>,
}

/// A server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Node {
    /// Its id in the cluster.
    pub id: Option<String>,
    /// `ip:port`.
    pub address: String,
    /// Its workload, as `redis-1`.
    pub workload: String,
    /// Its host.
    pub host: String,
    /// `primary`, `replica`, `standalone`, `unknown`.
    pub role: String,
    /// Its version.
    pub version: Option<String>,
    /// The memory that its data takes.
    pub memory_bytes: Option<u64>,
    /// The most that its data may take.
    pub memory_max_bytes: Option<u64>,
    /// Its keys.
    pub keys: Option<u64>,
    /// Whether a replica is linked to its primary; a primary always is.
    pub linked: bool,
    /// How far it is behind its primary.
    pub lag_bytes: Option<u64>,
}

/// A workload as its engine shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkloadState {
    /// Its name.
    pub name: String,
    /// What it does, in a word or two.
    pub phase: String,
    /// How often it was started again.
    pub restarts: u32,
}

/// What a check noticed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FindingBody {
    /// A code with a page in docs/errors.
    pub code: String,
    /// `notice`, `warning`, `critical`.
    pub severity: String,
    /// What it is about.
    pub subject: String,
    /// What was noticed.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

/// Findings.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FindingList {
    /// All of them.
    pub findings: Vec<FindingBody>,
}

/// Who works on an instance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OperatorBody {
    /// What is done: `up`, `scale`.
    pub verb: String,
    /// The user.
    pub user: String,
    /// The process.
    pub pid: u32,
    /// Since when, as RFC 3339.
    pub since: String,
}

/// Who owns which slots.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SlotMap {
    /// Ranges that do not overlap, by their first slot; a slot in none of them is not served.
    pub owners: Vec<SlotOwner>,
    /// How many slots nobody serves.
    pub not_served: u32,
}

/// A range of slots and its owner.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SlotOwner {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The owner's workload.
    pub workload: String,
    /// The owner's id.
    pub id: Option<String>,
    /// The owner's address.
    pub address: String,
}

/// What each slot holds or costs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SlotFigures {
    /// `keys`; `memory`, in bytes; `load`, in microseconds of a processor since the server counts.
    pub by: String,
    /// A figure for each slot, by its number; null where its owner does not tell it.
    pub values: Vec<Option<u64>>,
    /// The measures that this cluster does not tell.
    pub withheld: Vec<Withheld>,
}

/// A measure that a cluster does not tell.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Withheld {
    /// `memory`, `load`.
    pub by: String,
    /// `version` (only Valkey 8.0 and Redis 8.2 and later count by slot), `server` (it does not
    /// count this), `setting` (`cluster-slot-stats-enabled` is off).
    pub why: String,
}

/// The last lines of logs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogLines {
    /// The lines, workload after workload.
    pub lines: Vec<LogLine>,
}

/// A line of a log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogLine {
    /// Whose.
    pub workload: String,
    /// The line.
    pub line: String,
}

/// Recent figures of an instance, oldest first; kept in memory since the server started.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SampleList {
    /// The figures.
    pub samples: Vec<Sample>,
}

/// An instance's figures at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The state in one word.
    pub state: String,
    /// Commands a second, all nodes together.
    pub ops_per_second: u64,
    /// The memory of all primaries' data.
    pub memory_bytes: u64,
    /// The keys of all primaries.
    pub keys: u64,
    /// The slowest node's answer to PING, in microseconds.
    pub latency_us: u64,
    /// Each node's figures.
    pub nodes: Vec<NodeSample>,
}

/// A node's figures at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeSample {
    /// Its workload.
    pub workload: String,
    /// Commands a second; null where it does not answer.
    pub ops_per_second: Option<u64>,
    /// The memory that its data takes.
    pub memory_bytes: Option<u64>,
    /// Its answer to PING, in microseconds.
    pub latency_us: Option<u64>,
}

impl From<&Row> for InstanceRow {
    fn from(row: &Row) -> Self {
        Self {
            name: row.name.clone(),
            state: row.state.map(|it| it.as_str().to_owned()),
            template: row.template.clone(),
            engine: row.engine.to_string(),
            shards: row.shards,
            workloads: row.workloads,
            created_at: row.created_at.clone(),
            problem: row.problem.clone(),
        }
    }
}

impl From<&Finding> for FindingBody {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code.to_string(),
            severity: finding.severity.as_str().to_owned(),
            subject: finding.subject.clone(),
            message: finding.message.clone(),
            help: finding.help.clone(),
        }
    }
}

impl From<&NodeStatus> for Node {
    fn from(node: &NodeStatus) -> Self {
        Self {
            id: node.id.map(|id| id.to_string()),
            address: node.address.to_string(),
            workload: node.workload.to_string(),
            host: node.host.clone(),
            role: node.role.to_owned(),
            version: node.version.map(|it| it.to_string()),
            memory_bytes: node.memory.map(|it| it.as_bytes()),
            memory_max_bytes: node.memory_max.map(|it| it.as_bytes()),
            keys: node.keys,
            linked: node.linked,
            lag_bytes: node.lag.map(|it| it.as_bytes()),
        }
    }
}

impl From<&ShardStatus> for Shard {
    fn from(shard: &ShardStatus) -> Self {
        let slots: Vec<String> = shard.slots.iter().map(ToString::to_string).collect();
        Self {
            slots: slots.join(","),
            slot_count: shard.slots.iter().map(|it| u32::from(it.len())).sum(),
            primary: Node::from(&shard.primary),
            replicas: shard.replicas.iter().map(Node::from).collect(),
        }
    }
}

impl From<&Status> for InstanceStatus {
    fn from(status: &Status) -> Self {
        let credentials = status.credentials.as_ref();
        Self {
            name: status.name.to_string(),
            template: status.template.clone(),
            engine: status.engine.clone(),
            state: status.state.as_str().to_owned(),
            endpoints: status
                .endpoints
                .iter()
                .map(|it| format!("redis://{it}"))
                .collect(),
            credentials: credentials.map(|(user, file)| CredentialsPlace {
                user: user.clone(),
                password_file: file.display().to_string(),
            }),
            tried: status.tried.iter().map(tried).collect(),
            shards: status.shards.iter().map(Shard::from).collect(),
            other_nodes: status.others.iter().map(Node::from).collect(),
            workloads: status.workloads.iter().map(workload).collect(),
            findings: status.findings.iter().map(FindingBody::from).collect(),
            operation: status.operator.as_ref().map(|it| OperatorBody {
                verb: it.verb.clone(),
                user: it.user.clone(),
                pid: it.pid,
                since: it.since.clone(),
            }),
        }
    }
}

fn tried(tried: &control::command::Tried) -> TriedAddress {
    TriedAddress {
        address: tried.address.to_string(),
        answered: tried.problem.is_none(),
        problem: tried.problem.clone(),
    }
}

fn workload(workload: &control::command::WorkloadStatus) -> WorkloadState {
    WorkloadState {
        name: workload.name.to_string(),
        phase: workload.phase.clone(),
        restarts: workload.restarts,
    }
}

impl SlotMap {
    /// Who owns which slots of these shards.
    #[must_use]
    pub fn of(shards: &[Shard]) -> Self {
        let mut owners: Vec<SlotOwner> = Vec::new();
        for shard in shards {
            let ranges = shard.slots.split(',').filter_map(SlotRange::parse);
            owners.extend(ranges.map(|range| SlotOwner {
                first: range.first().number(),
                last: range.last().number(),
                workload: shard.primary.workload.clone(),
                id: shard.primary.id.clone(),
                address: shard.primary.address.clone(),
            }));
        }
        owners.sort_by_key(|it| it.first);
        let served = SlotSet::of(&ranges_of(&owners)).len();
        Self {
            owners,
            not_served: u32::try_from(SlotSet::all().len() - served).unwrap_or_default(),
        }
    }
}

fn ranges_of(owners: &[SlotOwner]) -> Vec<SlotRange> {
    let slot = Slot::new;
    let ranges = owners.iter();
    ranges
        .filter_map(|it| SlotRange::new(slot(it.first)?, slot(it.last)?))
        .collect()
}
