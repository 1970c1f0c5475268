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
    /// One does not answer.
    NotAnswering {
        /// The server.
        node: NodeAddress,
        /// Why.
        reason: String,
    },
    /// One does not let us in.
    NotAllowed {
        /// The server.
        node: NodeAddress,
        /// Its answer.
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
            Self::NotAllowed { node, reason } => {
                write!(out, "{node} does not let us in: {reason}")
            }
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
            Self::NotAllowed { .. } => "SY2002",
            Self::NoClusterMode(_) => "SY2220",
            Self::HoldsKeys { .. } => "SY2010",
            Self::InAnotherCluster { .. } | Self::OwnsOtherSlots(_) => "SY2011",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::TooFew { .. } | Self::Twice(_) => Class::Usage,
            Self::NotAnswering { .. } => Class::Unreachable,
            Self::NotAllowed { .. }
            | Self::NoClusterMode(_)
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
            Self::NotAllowed { .. } => Some(
                "give the user by --user and its password by REDISCLI_AUTH or --password-file"
                    .to_owned(),
            ),
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
            let reason = reason.clone();
            return Err(Refusal::NotAllowed { node, reason });
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

/// Laid out host by host in rows as long as there are shards, the members of a column become a
/// shard: two of a column share a host only where a host has more members than there are shards.
/// The host with the fewest primaries so far gives the column's. A last row that is not full joins
/// the first shards.
fn share_out(members: &[Member], copies: usize) -> Vec<Shard> {
    let members = host_by_host(members);
    let count = members.len() / copies;
    let ranges = even_split(u16::try_from(count).unwrap_or(0));
    let mut primaries: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let mut shards = Vec::new();
    for (column, slots) in ranges.into_iter().enumerate() {
        let mut replicas: Vec<Member> = members
            .iter()
            .skip(column)
            .step_by(count)
            .copied()
            .collect();
        let burden = |member: &Member| primaries.get(&member.address.ip).copied().unwrap_or(0);
        let Some(lightest) = (0..replicas.len()).min_by_key(|index| burden(&replicas[*index]))
        else {
            continue;
        };
        let primary = replicas.remove(lightest);
        *primaries.entry(primary.address.ip).or_default() += 1;
        shards.push(Shard {
            primary,
            slots,
            replicas,
        });
    }
    shards
}

/// The members in the order in which their hosts were first named.
fn host_by_host(members: &[Member]) -> Vec<Member> {
    let mut order: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for member in members {
        let next = order.len();
        order.entry(member.address.ip).or_insert(next);
    }
    let mut sorted = members.to_vec();
    sorted.sort_by_key(|member| order.get(&member.address.ip).copied());
    sorted
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
    let phases = if ready::obstacles(&addresses, view).is_empty() {
        Vec::new()
    } else {
        vec![
            Phase {
                title: "every slot has an owner".to_owned(),
                steps: ownership(shards),
            },
            Phase {
                title: "the nodes know each other, and the replicas copy".to_owned(),
                steps: acquaintance(shards, members),
            },
            Phase {
                title: "the primaries serve, and all agree".to_owned(),
                steps: service(shards, &addresses, policy),
            },
            Phase {
                title: "the cluster is ready".to_owned(),
                steps: vec![wait(Condition::Ready(addresses), policy)],
            },
        ]
    };
    Plan {
        based_on,
        phases,
        findings: Vec::new(),
    }
}

fn ownership(shards: &[Shard]) -> Vec<Step> {
    (0..)
        .map(ShardIndex)
        .zip(shards)
        .map(|(index, shard)| {
            Step::Cluster(ClusterStep::EnsureSlots {
                node: shard.primary,
                slots: vec![shard.slots],
                epoch: Layout::first_epoch(index),
            })
        })
        .collect()
}

/// A replica is told whom to copy while the others still meet: it needs to know its primary only,
/// and everybody who meets it later learns its role at once.
fn acquaintance(shards: &[Shard], members: Vec<Member>) -> Vec<Step> {
    let copies = shards.iter().filter(|shard| !shard.replicas.is_empty());
    std::iter::once(ClusterStep::EnsureMet { members })
        .chain(copies.map(|shard| ClusterStep::EnsureReplicas {
            primary: shard.primary,
            replicas: shard.replicas.clone(),
        }))
        .map(Step::Cluster)
        .collect()
}

fn service(shards: &[Shard], addresses: &[NodeAddress], policy: Policy) -> Vec<Step> {
    let serving = shards.iter().map(|shard| {
        Step::Cluster(ClusterStep::EnsureServing {
            node: shard.primary,
        })
    });
    serving
        .chain([wait(Condition::Agreed(addresses.to_vec()), policy)])
        .collect()
}

const fn wait(until: Condition, policy: Policy) -> Step {
    Step::Wait(Wait {
        until,
        limit: policy.ready_limit,
    })
}
