//! Says how an instance is: by shard and node, with what a check noticed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use std::pin::pin;

use futures::future::{Either, select};
use model::address::NodeAddress;
use model::fault::Fault;
use model::finding::Finding;
use model::ids::{InstanceName, NodeId, ServiceName, WorkloadName};
use model::image::ServerVersion;
use model::instance::Instance;
use model::size::ByteSize;
use model::slots::SlotRange;
use model::view::{
    ClusterReport, NodeReport, NodeView, PeerRole, Replication, ReplicationLink, View,
    WorkloadPhase,
};
use plan::check::{self, State};
use plan::converge::server_addresses;
use plan::ready::obstacles;
use serde::{Deserialize, Serialize};

use crate::command::{Control, Reply};
use crate::converge::{plan_for, policy};
use crate::lock::{self, Operator};
use crate::reach::{self, Tried};
use crate::store::password_file;
use crate::word::{self, Known};

/// How an instance is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: InstanceName,
    /// Its template.
    pub template: String,
    /// Its platform.
    pub engine: String,
    /// Its state in one word.
    pub state: State,
    /// Where clients connect.
    pub endpoints: Vec<NodeAddress>,
    /// With which user applications log in, and the file with the password.
    #[serde(serialize_with = "word::path_as_shown")]
    pub credentials: Option<(String, PathBuf)>,
    /// What came of trying each address that clients are told.
    pub tried: Vec<Tried>,
    /// Its shards, by their first slot.
    pub shards: Vec<ShardStatus>,
    /// Servers that belong to no shard.
    pub others: Vec<NodeStatus>,
    /// All its workloads.
    pub workloads: Vec<WorkloadStatus>,
    /// What was noticed.
    pub findings: Vec<Finding>,
    /// Who works on it now.
    pub operator: Option<Operator>,
}

/// A shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its slots.
    pub slots: Vec<SlotRange>,
    /// Its primary.
    pub primary: NodeStatus,
    /// Its replicas.
    pub replicas: Vec<NodeStatus>,
}

/// A server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id in the cluster.
    pub id: Option<NodeId>,
    /// Its address.
    pub address: NodeAddress,
    /// Its workload.
    pub workload: WorkloadName,
    /// Its host.
    pub host: String,
    /// `primary`, `replica`, `standalone`, or `unknown` where it does not answer.
    #[serde(deserialize_with = "word::role")]
    pub role: Known,
    /// Its version.
    pub version: Option<ServerVersion>,
    /// The memory that its data takes.
    pub memory: Option<ByteSize>,
    /// The most that its data may take.
    pub memory_max: Option<ByteSize>,
    /// Its keys.
    pub keys: Option<u64>,
    /// Whether it is linked: a replica to its primary, a primary always.
    pub linked: bool,
    /// How far it is behind its primary.
    pub lag: Option<ByteSize>,
}

/// A workload as its platform shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Its name.
    pub name: WorkloadName,
    /// Where it answers; `None` where it listens nowhere.
    pub address: Option<NodeAddress>,
    /// What it does, in a word or two.
    pub phase: String,
    /// How often it was started again.
    pub restarts: u32,
}

/// Observes and says.
pub(crate) async fn run(control: &Control, name: &InstanceName) -> Result<Reply, Fault> {
    let instance = control.instance(name)?.instance;
    let looking = pin!(control.hands.observe(&instance));
    let trying = pin!(reach::try_seats(control, &instance));
    let (view, tried) = match select(looking, trying).await {
        Either::Left((view, trying)) => (view?, Either::Left(trying)),
        Either::Right((tried, looking)) => (looking.await?, Either::Right(tried)),
    };
    let mut status = status(control, &instance, &view);
    // Nobody answers for what is stopped, and that is not waited for.
    if status.state != State::Stopped {
        let tried = match tried {
            Either::Left(trying) => trying.await,
            Either::Right(tried) => tried,
        };
        reach::reach(control, &instance, &view, (tried, &mut status)).await;
    }
    Ok(Reply::Status(Box::new(status)))
}

/// How an instance is, as it was seen.
pub(crate) fn status(control: &Control, instance: &Instance, view: &View) -> Status {
    let servers = server_addresses(instance);
    let operator = lock::holder(&control.home, &instance.name)
        .filter(|operator| operator.pid != std::process::id());
    let (shards, others) = topology(instance, view, &servers);
    let state = state(instance, view, &servers, operator.is_some());
    let credentials = instance.spec.application.as_ref().and_then(|application| {
        let file = password_file(&control.home, instance)?;
        Some((application.user.clone(), file))
    });
    Status {
        name: instance.name.clone(),
        template: instance.spec.template.to_string(),
        engine: instance.engine.to_string(),
        state,
        endpoints: endpoints(instance, &servers),
        credentials,
        tried: Vec::new(),
        shards,
        others,
        workloads: workloads(instance, view),
        findings: findings(instance, view, &servers, state),
        operator,
    }
}

/// Where clients speak to it.
fn endpoints(instance: &Instance, servers: &[NodeAddress]) -> Vec<NodeAddress> {
    match &instance.spec.clients {
        None => servers.to_vec(),
        Some(service) => addresses_of(instance, service),
    }
}

/// The addresses of a service's workloads that stay.
pub(crate) fn addresses_of(instance: &Instance, service: &ServiceName) -> Vec<NodeAddress> {
    let seats = instance.layout.seats.iter();
    let seats = seats.filter(|(name, seat)| name.service() == service && !seat.leaves);
    seats.map(|(_, seat)| seat.address).collect()
}

fn state(instance: &Instance, view: &View, servers: &[NodeAddress], at_work: bool) -> State {
    let runs = |phase: &WorkloadPhase| match phase {
        WorkloadPhase::Running { .. }
        | WorkloadPhase::Restarting { .. }
        | WorkloadPhase::Held { .. } => true,
        WorkloadPhase::Stopped | WorkloadPhase::Ended(_) => false,
    };
    let any_server = instance.layout.seats.keys().any(|name| {
        let workload = view.engine.workloads.get(name);
        workload.is_some_and(|it| runs(&it.phase))
    });
    let judged = check::state(&obstacles(servers, &view.nodes));
    if at_work {
        State::Converging
    } else if !any_server {
        State::Stopped
    } else {
        judged
    }
}

/// What the plan and the check notice. A stopped instance is as it should be.
fn findings(
    instance: &Instance,
    view: &View,
    servers: &[NodeAddress],
    state: State,
) -> Vec<Finding> {
    if state == State::Stopped {
        return Vec::new();
    }
    let replicas = instance
        .spec
        .services
        .iter()
        .find_map(|it| it.cluster)
        .map(|part| part.replicas);
    // A plan that cannot be made, because a template's text is broken, has nothing to add here.
    let limit = std::time::Duration::ZERO;
    let mut findings = plan_for(instance, view, policy(limit))
        .map(|plan| plan.findings)
        .unwrap_or_default();
    for finding in check::check(servers, &view.nodes, replicas) {
        if !findings.iter().any(|it| it.code == finding.code) {
            findings.push(finding);
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn workloads(instance: &Instance, view: &View) -> Vec<WorkloadStatus> {
    let mut workloads = Vec::new();
    for (name, workload) in &view.engine.workloads {
        workloads.push(WorkloadStatus {
            name: name.clone(),
            address: instance
                .layout
                .seats
                .get(name)
                .map(|seat| seat.address)
                .filter(|address| address.port != 0),
            phase: match &workload.phase {
                WorkloadPhase::Stopped => "stopped".to_owned(),
                WorkloadPhase::Running { healthy: true } => "running".to_owned(),
                WorkloadPhase::Running { healthy: false } => "running, not healthy".to_owned(),
                WorkloadPhase::Restarting { .. } => "restarting".to_owned(),
                WorkloadPhase::Held { .. } => "held".to_owned(),
                WorkloadPhase::Ended(ending) => format!("ended, {ending}"),
            },
            restarts: workload.restarts,
        });
    }
    workloads
}

/// The shards by their first slot, and the servers that are in none.
fn topology(
    instance: &Instance,
    view: &View,
    servers: &[NodeAddress],
) -> (Vec<ShardStatus>, Vec<NodeStatus>) {
    let mut primaries = Vec::new();
    let mut replicas: BTreeMap<NodeId, Vec<NodeStatus>> = BTreeMap::new();
    let mut others = Vec::new();
    let offsets: BTreeMap<NodeId, u64> = view
        .nodes
        .values()
        .filter_map(NodeView::report)
        .filter_map(|it| Some((it.cluster.as_ref()?.id, it.replication.offset())))
        .collect();
    for address in servers {
        let Some(workload) = instance.layout.workload_at(*address) else {
            continue;
        };
        let host = instance.layout.seats.get(workload).map(|it| &it.host);
        let host = host.map(ToString::to_string).unwrap_or_default();
        let report = view.nodes.get(address).and_then(NodeView::report);
        let myself = report
            .and_then(|it| it.cluster.as_ref())
            .and_then(ClusterReport::myself);
        let mut node = node(*address, workload, host, report);
        match myself.map(|it| (it.role, &it.slots)) {
            Some((PeerRole::Primary, slots)) if !slots.is_empty() => {
                primaries.push((slots.clone(), node));
            }
            Some((PeerRole::Replica(Some(primary)), _)) => {
                node.lag = offsets.get(&primary).zip(report).map(|(offset, it)| {
                    ByteSize::bytes(offset.saturating_sub(it.replication.offset()))
                });
                replicas.entry(primary).or_default().push(node);
            }
            Some((PeerRole::Primary | PeerRole::Replica(None), _)) | None => others.push(node),
        }
    }
    primaries.sort_by(|left, right| left.0.cmp(&right.0));
    let mut shards = Vec::new();
    for (slots, primary) in primaries {
        let copies = primary.id.and_then(|id| replicas.remove(&id));
        shards.push(ShardStatus {
            slots,
            primary,
            replicas: copies.unwrap_or_default(),
        });
    }
    others.extend(replicas.into_values().flatten());
    (shards, others)
}

fn node(
    address: NodeAddress,
    workload: &WorkloadName,
    host: String,
    report: Option<&NodeReport>,
) -> NodeStatus {
    let (role, linked) = match report.map(|it| (&it.replication, it.cluster.is_some())) {
        None => ("unknown", false),
        Some((Replication::Primary { .. }, true)) => ("primary", true),
        Some((Replication::Primary { .. }, false)) => ("standalone", true),
        Some((Replication::Replica { link, .. }, _)) => ("replica", *link == ReplicationLink::Up),
    };
    NodeStatus {
        id: report.and_then(|it| it.cluster.as_ref()).map(|it| it.id),
        address,
        workload: workload.clone(),
        host,
        role,
        version: report.map(|it| it.version),
        memory: report.map(|it| it.memory_used),
        memory_max: report.map(|it| it.memory_max),
        keys: report.map(|it| it.keys),
        linked,
        lag: None,
    }
}
