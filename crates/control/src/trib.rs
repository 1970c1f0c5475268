//! What redis-trib does, on any cluster, ours or not: create, check, info, call.

use std::collections::BTreeSet;
use std::time::Duration;

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::{Epoch, NodeId};
use model::outline::Outline;
use model::slots::SlotRange;
use model::spec::Credentials;
use model::step::{Outcome, Phase};
use model::view::{ClusterReport, ClusterView, NodeView, Peer, PeerRole};
use plan::allocate::{self, Refusal};
use plan::check;
use serde::{Deserialize, Serialize};

use crate::approve::Question;
use crate::approve::refused;
use crate::command::{Cluster, Control, Reply};
use crate::converge::policy;
use crate::execute::{Journal, Scene, execute};
use crate::{census, wait};

/// How many rounds the search for nodes takes: the seed, those it knows, and those that they know
/// of which it has not heard.
const SEARCH_ROUNDS_MAX: usize = 3;

/// A cluster, as its own nodes describe it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// The node that was asked first.
    pub seed: NodeAddress,
    /// Its nodes: primaries by their first slot, each followed by its replicas.
    pub nodes: Vec<ClusterNode>,
}

/// A node of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterNode {
    /// Its id; `None` where it does not answer and nobody knows it.
    pub id: Option<NodeId>,
    /// Its address.
    pub address: NodeAddress,
    /// Whether it answers.
    pub answers: bool,
    /// Whether it is a primary.
    pub is_primary: bool,
    /// The primary that it copies.
    pub copies: Option<NodeId>,
    /// Its slots.
    pub slots: Vec<SlotRange>,
    /// Its keys.
    pub keys: u64,
    /// The epoch of its claim.
    pub epoch: Epoch,
}

impl ClusterNode {
    /// How many slots it owns.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        self.slots.iter().map(|range| u32::from(range.len())).sum()
    }
}

/// What a node answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answered {
    /// The node.
    pub address: NodeAddress,
    /// Its answer, or why there is none.
    pub answer: Result<String, Fault>,
}

/// Which nodes a command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Which {
    /// All.
    All,
    /// The primaries.
    Primaries,
    /// The replicas.
    Replicas,
}

/// What is to become a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) nodes: &'a [NodeAddress],
    pub(crate) replicas: u16,
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) dry_run: bool,
    pub(crate) limit: Duration,
}

/// Makes servers that run a cluster. Where they are one already, nothing is done.
pub(crate) async fn create(control: &Control, wanted: Wanted<'_>) -> Result<Reply, Fault> {
    let hands = &control.hands;
    let view = hands.nodes.observe(wanted.nodes, wanted.credentials).await;
    let shards = match allocate::allocate(wanted.nodes, wanted.replicas, &view) {
        Ok(shards) => shards,
        Err(_) if is_whole(wanted, &view) => {
            return Ok(Reply::Created(describe(wanted.nodes, &view)));
        }
        Err(refusals) => return Err(refused(refusals)),
    };
    let plan = allocate::create(&shards, &view, policy(wanted.limit));
    if wanted.dry_run {
        return Ok(Reply::Plan(Outline::from(&plan)));
    }
    if !plan.is_empty() {
        control.approver.approve(Question::Plan {
            what: "create a cluster",
            plan: &Outline::from(&plan),
            findings: &[],
        })?;
        let scene = Scene::Servers(wanted.credentials);
        match execute(hands, scene, &plan, &NoJournal).await? {
            Outcome::Done => {}
            Outcome::Failed(fault) => return Err(fault),
            Outcome::Interrupted => return Err(wait::interrupted()),
        }
    }
    let view = hands.nodes.observe(wanted.nodes, wanted.credentials).await;
    Ok(Reply::Created(describe(wanted.nodes, &view)))
}

/// Whether these servers already are one ready cluster, of these and no other nodes.
fn is_whole(wanted: Wanted<'_>, view: &ClusterView) -> bool {
    plan::ready::obstacles(wanted.nodes, view).is_empty()
        && view.values().all(|node| node.cluster().is_some())
}

/// A cluster that is not ours has no journal here.
pub(crate) struct NoJournal;

impl Journal for NoJournal {
    fn begins(&self, _: &Phase) -> Result<(), Fault> {
        Ok(())
    }

    fn ended(&self, _: &Phase, _: &Outcome) -> Result<(), Fault> {
        Ok(())
    }
}

/// Judges a cluster.
pub(crate) async fn check(control: &Control, cluster: &Cluster) -> Result<Reply, Fault> {
    let (addresses, view) = find(control, cluster).await?;
    let mut findings = check::check(&addresses, &view, None);
    let credentials = cluster.credentials.as_ref();
    let held = census::of_disorder(control, credentials, &addresses, &view).await?;
    findings.extend(check::in_slots_of_others(&addresses, &view, &held));
    let findings = check::worst_first(findings);
    Ok(Reply::Checked(describe(&addresses, &view), findings))
}

/// Describes a cluster.
pub(crate) async fn info(control: &Control, cluster: &Cluster) -> Result<Reply, Fault> {
    let (addresses, view) = find(control, cluster).await?;
    Ok(Reply::Info(describe(&addresses, &view)))
}

/// Sends a command to nodes of a cluster, all at once.
pub(crate) async fn call(
    control: &Control,
    cluster: &Cluster,
    command: &[String],
    which: Which,
) -> Result<Reply, Fault> {
    let (addresses, view) = find(control, cluster).await?;
    let chosen = describe(&addresses, &view)
        .nodes
        .into_iter()
        .filter(|node| match which {
            Which::All => true,
            Which::Primaries => node.is_primary,
            Which::Replicas => !node.is_primary,
        });
    let credentials = cluster.credentials.as_ref();
    let nodes = &control.hands.nodes;
    let calls = chosen.map(|node| async move {
        Answered {
            address: node.address,
            answer: nodes.call(node.address, command, credentials).await,
        }
    });
    Ok(Reply::Answers(futures::future::join_all(calls).await))
}

/// The nodes of a cluster that one of them is known of: whoever is known to anybody, and what each
/// says itself.
pub(crate) async fn find(
    control: &Control,
    cluster: &Cluster,
) -> Result<(Vec<NodeAddress>, ClusterView), Fault> {
    let credentials = cluster.credentials.as_ref();
    let mut view = control
        .hands
        .nodes
        .observe(&[cluster.seed], credentials)
        .await;
    must_answer(cluster.seed, &view)?;
    for _ in 0..SEARCH_ROUNDS_MAX {
        let unasked: Vec<NodeAddress> = known(&view)
            .into_iter()
            .filter(|address| !view.contains_key(address))
            .collect();
        if unasked.is_empty() {
            break;
        }
        let more = control.hands.nodes.observe(&unasked, credentials).await;
        view.extend(more);
    }
    Ok((view.keys().copied().collect(), view))
}

fn known(view: &ClusterView) -> BTreeSet<NodeAddress> {
    view.iter()
        .filter_map(|(asked, node)| Some((asked, node.cluster()?)))
        .flat_map(|(asked, cluster)| {
            cluster
                .peers
                .iter()
                .filter(|peer| !peer.in_handshake)
                // A node may know itself by another address than the one it was asked at.
                .filter(|peer| peer.id != cluster.id)
                .filter_map(|peer| peer.address)
                .chain([*asked])
        })
        .collect()
}

fn must_answer(seed: NodeAddress, view: &ClusterView) -> Result<(), Fault> {
    let fault = match view.get(&seed) {
        Some(NodeView::Answering(report)) if report.cluster.is_some() => return Ok(()),
        Some(NodeView::Answering(_)) => Fault::from(Refusal::NoClusterMode(seed)),
        Some(NodeView::Silent { reason }) => {
            Fault::new("SY2001", Class::Unreachable, reason.clone()).with_help(format!(
                "see that a server listens there: redis-cli -h {} -p {} ping",
                seed.ip, seed.port
            ))
        }
        Some(NodeView::Refusing { reason }) => Fault::new(
            "SY2002",
            Class::Refused,
            format!("{seed} does not let us in: {reason}"),
        )
        .with_help("give the user by --user and its password by REDISCLI_AUTH or --password-file"),
        Some(NodeView::Loading) | None => Fault::new(
            "SY2003",
            Class::Unreachable,
            format!("{seed} is still loading its data"),
        ),
    };
    Err(fault)
}

/// The nodes, primaries by their first slot and each followed by its replicas; then the others.
pub(crate) fn describe(addresses: &[NodeAddress], view: &ClusterView) -> ClusterInfo {
    let mut nodes: Vec<ClusterNode> = addresses
        .iter()
        .map(|address| describe_node(*address, view))
        .collect();
    nodes.sort_by(|left, right| {
        (left.slots.is_empty(), left.slots.first(), left.address).cmp(&(
            right.slots.is_empty(),
            right.slots.first(),
            right.address,
        ))
    });
    let (primaries, mut others): (Vec<_>, Vec<_>) =
        nodes.into_iter().partition(|node| !node.slots.is_empty());
    let mut ordered = Vec::new();
    for primary in primaries {
        let id = primary.id;
        ordered.push(primary);
        let (replicas, rest) = others
            .into_iter()
            .partition(|it: &ClusterNode| id.is_some() && it.copies == id);
        ordered.extend::<Vec<_>>(replicas);
        others = rest;
    }
    ordered.extend(others);
    ClusterInfo {
        seed: addresses.first().copied().unwrap_or_else(no_address),
        nodes: ordered,
    }
}

/// Stands for the seed of an empty list; no caller has one.
const fn no_address() -> NodeAddress {
    NodeAddress::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0)
}

fn describe_node(address: NodeAddress, view: &ClusterView) -> ClusterNode {
    let report = view.get(&address).and_then(NodeView::report);
    let own = report
        .and_then(|it| it.cluster.as_ref())
        .and_then(ClusterReport::myself);
    let peer = own.or_else(|| by_others(address, view));
    ClusterNode {
        id: peer.map(|it| it.id),
        address,
        answers: report.is_some(),
        is_primary: peer.is_some_and(|it| it.role == PeerRole::Primary),
        copies: peer.and_then(|it| match it.role {
            PeerRole::Primary => None,
            PeerRole::Replica(primary) => primary,
        }),
        slots: peer.map(|it| it.slots.clone()).unwrap_or_default(),
        keys: report.map_or(0, |it| it.keys),
        epoch: peer.map(|it| it.epoch).unwrap_or_default(),
    }
}

/// A node that does not answer, by the word of others.
fn by_others(address: NodeAddress, view: &ClusterView) -> Option<&Peer> {
    view.values()
        .filter_map(NodeView::cluster)
        .flat_map(|cluster| &cluster.peers)
        .filter(|peer| peer.address == Some(address))
        .max_by_key(|peer| peer.epoch)
}
