//! Decides how servers that already run become a cluster: who is primary, who copies whom, and
//! which slots each shard gets. The same list of servers always gives the same answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::ids::ShardIndex;
use model::instance::Layout;
use model::slots::{SlotRange, even_split};
use model::step::{ClusterStep, Condition, Member, Phase, Plan, Step, Wait};
use model::view::{ClusterReport, ClusterView, NodeView, View};

use crate::policy::Policy;
use crate::ready;

/// The fewest primaries of a cluster: with fewer no replica can be elected when one dies.
pub const PRIMARIES_MIN: usize = 3;

/// One shard of a cluster to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Its primary.
    pub primary: Member,
    /// Its slots.
    pub slots: SlotRange,
    /// Its replicas.
    pub replicas: Vec<Member>,
}

/// Why servers cannot become a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There are too few of them.
    TooFew {
        /// How many there are.
        nodes: usize,
        /// How many replicas each shard is to have.
        replicas: u16,
    },
    /// One is named twice.
    Twice(NodeAddress),
    /// One does not answer, or not to us.
    NotAnswering {
        /// The server.
        node: NodeAddress,
        /// Why.
        reason: String,
    },
    /// One runs without cluster mode.
    NoClusterMode(NodeAddress),
    /// One holds keys.
    HoldsKeys {
        /// The server.
        node: NodeAddress,
        /// How many.
        keys: u64,
    },
    /// One is in a cluster with others.
    InAnotherCluster {
        /// The server.
        node: NodeAddress,
        /// How many nodes it knows that are not in the list.
        others: usize,
    },
    /// One owns slots that the new cluster would give to another.
    OwnsOtherSlots(NodeAddress),
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { nodes, replicas } => write!(
                out,
                "{nodes} nodes with {replicas} replicas each make {} shards, and a cluster needs {PRIMARIES_MIN}",
                nodes / (usize::from(*replicas) + 1)
            ),
            Self::Twice(node) => write!(out, "{node} is named twice"),
            Self::NotAnswering { reason, .. } => out.write_str(reason),
            Self::NoClusterMode(node) => {
                write!(out, "{node} runs without cluster mode (cluster-enabled no)")
            }
            Self::HoldsKeys { node, keys } => write!(out, "{node} already holds {keys} keys"),
            Self::InAnotherCluster { node, others } => write!(
                out,
                "{node} belongs to another cluster: it knows {others} nodes that are not named here"
            ),
            Self::OwnsOtherSlots(node) => {
                write!(
                    out,
                    "{node} already owns slots that would be another node's"
                )
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Explain for Refusal {
    fn code(&self) -> Code {
        Code(match self {
            Self::TooFew { .. } => "SY2020",
            Self::Twice(_) => "SY2021",
            Self::NotAnswering { .. } => "SY2001",
            Self::NoClusterMode(_) => "SY2220",
            Self::HoldsKeys { .. } => "SY2010",
            Self::InAnotherCluster { .. } | Self::OwnsOtherSlots(_) => "SY2011",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::TooFew { .. } | Self::Twice(_) => Class::Usage,
            Self::NotAnswering { .. } => Class::Unreachable,
            Self::NoClusterMode(_)
            | Self::HoldsKeys { .. }
            | Self::InAnotherCluster { .. }
            | Self::OwnsOtherSlots(_) => Class::Refused,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::TooFew { replicas, .. } => {
                let fewest = PRIMARIES_MIN * (usize::from(*replicas) + 1);
                Some(format!("name {fewest} nodes at least"))
            }
            Self::Twice(_) => Some("name each node once".to_owned()),
            Self::NotAnswering { .. } => Some("start it, or leave it out".to_owned()),
            Self::NoClusterMode(_) => Some("set cluster-enabled yes and start it again".to_owned()),
            Self::HoldsKeys { .. } => {
                Some("only empty servers become a new cluster; nothing was changed".to_owned())
            }
            Self::InAnotherCluster { node, .. } | Self::OwnsOtherSlots(node) => Some(format!(
                "shardyard trib check {node}   shows the cluster that it is in"
            )),
        }
    }
}

/// The shards that these servers become; all reasons against it where they cannot.
///
/// # Errors
/// Every reason against it, not only the first.
pub fn allocate(
    nodes: &[NodeAddress],
    replicas: u16,
    view: &ClusterView,
) -> Result<Vec<Shard>, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut seen = BTreeSet::new();
    refusals.extend(
        nodes
            .iter()
            .filter(|node| !seen.insert(**node))
            .map(|node| Refusal::Twice(*node)),
    );
    let copies = usize::from(replicas) + 1;
    if nodes.len() / copies < PRIMARIES_MIN {
        refusals.push(Refusal::TooFew {
            nodes: nodes.len(),
            replicas,
        });
    }
    let mut members = Vec::new();
    for node in nodes {
        match examine(*node, nodes, view) {
            Ok(member) => members.push(member),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let shards = share_out(&members, copies);
    let misplaced: Vec<Refusal> = shards
        .iter()
        .flat_map(|shard| {
            let replicas = shard.replicas.iter().map(|it| (*it, None));
            replicas.chain([(shard.primary, Some(shard.slots))])
        })
        .filter(|(member, slots)| owns_others(*member, *slots, view))
        .map(|(member, _)| Refusal::OwnsOtherSlots(member.address))
        .collect();
    if misplaced.is_empty() {
        Ok(shards)
    } else {
        Err(misplaced)
    }
}

fn examine(
    node: NodeAddress,
    nodes: &[NodeAddress],
    view: &ClusterView,
) -> Result<Member, Refusal> {
    let not_answering = |reason: String| Refusal::NotAnswering { node, reason };
    let report = match view.get(&node) {
        Some(NodeView::Answering(report)) => report,
        Some(NodeView::Silent { reason }) => return Err(not_answering(reason.clone())),
        Some(NodeView::Refusing { reason }) => {
            return Err(not_answering(format!(
                "{node} does not let us in: {reason}"
            )));
        }
        Some(NodeView::Loading) => {
            return Err(not_answering(format!("{node} is loading its data")));
        }
        None => return Err(not_answering(format!("{node} was not asked"))),
    };
    let Some(cluster) = &report.cluster else {
        return Err(Refusal::NoClusterMode(node));
    };
    let others = cluster
        .peers
        .iter()
        .filter(|peer| peer.id != cluster.id && !peer.in_handshake)
        .filter(|peer| peer.address.is_none_or(|address| !nodes.contains(&address)))
        .count();
    if others > 0 {
        return Err(Refusal::InAnotherCluster { node, others });
    }
    if report.keys > 0 {
        return Err(Refusal::HoldsKeys {
            node,
            keys: report.keys,
        });
    }
    Ok(Member {
        id: cluster.id,
        address: node,
    })
}

/// Whether a node owns slots that the plan gives to another: then it is somebody's cluster already.
fn owns_others(member: Member, planned: Option<SlotRange>, view: &ClusterView) -> bool {
    let own = view
        .get(&member.address)
        .and_then(NodeView::cluster)
        .and_then(ClusterReport::myself)
        .map(|myself| myself.slots.as_slice());
    let inside = |range: &SlotRange| {
        planned.is_some_and(|it| it.first() <= range.first() && range.last() <= it.last())
    };
    own.is_some_and(|slots| !slots.iter().all(inside))
}

/// Primaries are taken from the hosts in turn; each replica comes from a host that has no copy of
/// its shard yet, where there is one. What does not fill a row joins the first shards.
fn share_out(members: &[Member], copies: usize) -> Vec<Shard> {
    let mut waiting = in_turn(members);
    let count = members.len() / copies;
    let ranges = even_split(u16::try_from(count).unwrap_or(0));
    let mut shards: Vec<Shard> = waiting
        .drain(..count.min(waiting.len()))
        .zip(ranges)
        .map(|(primary, slots)| Shard {
            primary,
            slots,
            replicas: Vec::new(),
        })
        .collect();
    let mut turn = 0;
    while !waiting.is_empty() && !shards.is_empty() {
        let index = turn % shards.len();
        let shard = &mut shards[index];
        let taken: BTreeSet<IpAddr> = std::iter::once(&shard.primary)
            .chain(&shard.replicas)
            .map(|member| member.address.ip)
            .collect();
        let apart = waiting
            .iter()
            .position(|member| !taken.contains(&member.address.ip));
        shard.replicas.push(waiting.remove(apart.unwrap_or(0)));
        turn += 1;
    }
    shards
}

/// The members, one host after the other, so that neighbours are on different ones.
fn in_turn(members: &[Member]) -> Vec<Member> {
    let mut order: Vec<IpAddr> = Vec::new();
    let mut by_host: BTreeMap<IpAddr, Vec<Member>> = BTreeMap::new();
    for member in members {
        let ip = member.address.ip;
        if !by_host.contains_key(&ip) {
            order.push(ip);
        }
        by_host.entry(ip).or_default().push(*member);
    }
    let longest = by_host.values().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|round| order.iter().map(move |ip| (round, *ip)))
        .filter_map(|(round, ip)| by_host.get(&ip)?.get(round).copied())
        .collect()
}

/// The plan that makes a cluster of these shards. Empty where it is one already.
#[must_use]
pub fn create(shards: &[Shard], view: &ClusterView, policy: Policy) -> Plan {
    let members: Vec<Member> = shards
        .iter()
        .flat_map(|shard| std::iter::once(&shard.primary).chain(&shard.replicas))
        .copied()
        .collect();
    let addresses: Vec<NodeAddress> = members.iter().map(|member| member.address).collect();
    let based_on = View {
        nodes: view.clone(),
        ..View::default()
    }
    .fingerprint();
    let mut plan = Plan {
        based_on,
        phases: Vec::new(),
        findings: Vec::new(),
    };
    if ready::obstacles(&addresses, view).is_empty() {
        return plan;
    }
    let mut add = |title: &str, steps: Vec<Step>| {
        if !steps.is_empty() {
            plan.phases.push(Phase {
                title: title.to_owned(),
                steps,
            });
        }
    };
    let own = |(index, shard): (usize, &Shard)| {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        Step::Cluster(ClusterStep::EnsureSlots {
            node: shard.primary,
            slots: vec![shard.slots],
            epoch: Layout::first_epoch(ShardIndex(index)),
        })
    };
    let copy = |shard: &Shard| {
        (!shard.replicas.is_empty()).then(|| {
            Step::Cluster(ClusterStep::EnsureReplicas {
                primary: shard.primary,
                replicas: shard.replicas.clone(),
            })
        })
    };
    let serve = |shard: &Shard| {
        Step::Cluster(ClusterStep::EnsureServing {
            node: shard.primary,
        })
    };
    add(
        "every slot has an owner",
        shards.iter().enumerate().map(own).collect(),
    );
    add(
        "the nodes know each other",
        vec![Step::Cluster(ClusterStep::EnsureMet { members })],
    );
    add(
        "the replicas copy",
        shards.iter().filter_map(copy).collect(),
    );
    add("the primaries serve", shards.iter().map(serve).collect());
    add(
        "the cluster is ready",
        vec![Step::Wait(Wait {
            until: Condition::Ready(addresses),
            limit: policy.ready_limit,
        })],
    );
    plan
}
