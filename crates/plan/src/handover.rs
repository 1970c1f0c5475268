//! Decides which replica takes over from a primary that lives, so that no write is lost.
//!
//! Who follows on a primary that died is `failover`'s. Nothing here forces anything: a replica that
//! is not linked or far behind is refused.

use std::collections::BTreeMap;
use std::fmt;

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::ids::{HostName, NodeId};
use model::instance::{Instance, Layout, PlannedRole};
use model::size::ByteSize;
use model::step::{Condition, Member, Phase, Plan, Promotion, Step, StewardStep, Wait};
use model::view::{
    ClusterReport, ClusterView, NodeReport, NodeView, PeerRole, Replication, ReplicationLink, View,
};

use crate::policy::Policy;
use crate::ready::LAG_MAX;
use crate::shards::{self, Node, acting, member};

/// Why a handover cannot be without a loss.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Nobody knows a node there.
    Unknown(NodeAddress),
    /// One end does not answer.
    NotAnswering(NodeAddress),
    /// It neither owns slots nor copies a node that does.
    NotConcerned(NodeAddress),
    /// No replica of it is linked and has caught up.
    NoReplica(Member),
    /// The replica is not linked.
    NoLink(Member),
    /// The replica is too far behind.
    Behind {
        /// The replica.
        replica: Member,
        /// By how much.
        by: ByteSize,
    },
    /// Slots of the primary are on their way, and a new primary would not know it.
    OpenSlots(Member),
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(node) => write!(out, "no node of the cluster is at {node}"),
            Self::NotAnswering(node) => write!(out, "{node} does not answer"),
            Self::NotConcerned(node) => {
                write!(out, "{node} neither owns slots nor copies a node that does")
            }
            Self::NoReplica(primary) => {
                write!(out, "no replica of {primary} is linked and has caught up")
            }
            Self::NoLink(replica) => write!(out, "{replica} has no link to its primary"),
            Self::Behind { replica, by } => write!(out, "{replica} is {by} behind its primary"),
            Self::OpenSlots(primary) => write!(out, "slots of {primary} are on their way"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Explain for Refusal {
    fn code(&self) -> Code {
        Code(match self {
            Self::Unknown(_) | Self::NotConcerned(_) => "SY2421",
            Self::NotAnswering(_) => "SY2422",
            Self::NoReplica(_) | Self::NoLink(_) | Self::Behind { .. } => "SY2423",
            Self::OpenSlots(_) => "SY2424",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Unknown(_) | Self::NotConcerned(_) => Class::Usage,
            Self::NotAnswering(_) => Class::Unreachable,
            Self::NoReplica(_) | Self::NoLink(_) | Self::Behind { .. } | Self::OpenSlots(_) => {
                Class::Refused
            }
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Unknown(_) | Self::NotConcerned(_) => {
                Some("name a primary that owns slots, or one of its replicas".to_owned())
            }
            Self::NotAnswering(_) => Some(
                "both ends must answer; a dead primary's replica is elected by the others"
                    .to_owned(),
            ),
            Self::NoReplica(_) | Self::NoLink(_) | Self::Behind { .. } => {
                Some("wait until a replica has caught up".to_owned())
            }
            Self::OpenSlots(_) => Some("let the move end first".to_owned()),
        }
    }
}

/// The handover that a node is named for: a replica takes over from its primary, and from a primary
/// its best replica does.
///
/// # Errors
/// Where a write could be lost.
pub fn handover(node: NodeAddress, view: &ClusterView) -> Result<Promotion, Refusal> {
    let (member, cluster, _) = at(node, view)?;
    let myself = cluster.myself().ok_or(Refusal::Unknown(node))?;
    match myself.role {
        PeerRole::Primary if myself.slots.is_empty() => Err(Refusal::NotConcerned(node)),
        PeerRole::Primary => best_replica(member, view, &[]),
        PeerRole::Replica(primary) => {
            let primary = primary.ok_or(Refusal::NotConcerned(node))?;
            let address = cluster
                .peer(primary)
                .and_then(|peer| peer.address)
                .ok_or(Refusal::NotConcerned(node))?;
            let promotion = Promotion {
                node: member,
                instead_of: Member {
                    id: primary,
                    address,
                },
            };
            judge(promotion, view).map(|_| promotion)
        }
    }
}

fn at(
    node: NodeAddress,
    view: &ClusterView,
) -> Result<(Member, &ClusterReport, &NodeReport), Refusal> {
    let seen = view.get(&node).ok_or(Refusal::Unknown(node))?;
    let report = seen.report().ok_or(Refusal::NotAnswering(node))?;
    let cluster = report.cluster.as_ref().ok_or(Refusal::Unknown(node))?;
    let member = Member {
        id: cluster.id,
        address: node,
    };
    Ok((member, cluster, report))
}

/// The replica that has read the most, but for these; of equal ones the lowest id.
pub(crate) fn best_replica(
    primary: Member,
    view: &ClusterView,
    but: &[NodeAddress],
) -> Result<Promotion, Refusal> {
    let mut best: Option<(u64, std::cmp::Reverse<Member>)> = None;
    let mut refusal = None;
    for (address, node) in view {
        let Some(cluster) = node.cluster() else {
            continue;
        };
        let copies = cluster
            .myself()
            .is_some_and(|it| it.role == PeerRole::Replica(Some(primary.id)));
        if !copies || but.contains(address) {
            continue;
        }
        let promotion = Promotion {
            node: Member {
                id: cluster.id,
                address: *address,
            },
            instead_of: primary,
        };
        match judge(promotion, view) {
            Ok(offset) => best = best.max(Some((offset, std::cmp::Reverse(promotion.node)))),
            Err(Refusal::OpenSlots(node)) => refusal = Some(Refusal::OpenSlots(node)),
            Err(_) => {}
        }
    }
    match best {
        Some((_, std::cmp::Reverse(node))) => Ok(Promotion {
            node,
            instead_of: primary,
        }),
        None => Err(refusal.unwrap_or(Refusal::NoReplica(primary))),
    }
}

/// How far the replica has read; refused where the handover could lose a write.
fn judge(promotion: Promotion, view: &ClusterView) -> Result<u64, Refusal> {
    let replica = promotion.node;
    let (_, cluster, primary) = at(promotion.instead_of.address, view)?;
    let owner = cluster
        .myself()
        .filter(|it| it.role == PeerRole::Primary && !it.slots.is_empty())
        .ok_or(Refusal::NotConcerned(promotion.instead_of.address))?;
    if !owner.open_slots.is_empty() {
        return Err(Refusal::OpenSlots(promotion.instead_of));
    }
    let (_, _, report) = at(replica.address, view)?;
    let Replication::Replica { link, offset, .. } = report.replication else {
        return Err(Refusal::NoLink(replica));
    };
    if link != ReplicationLink::Up {
        return Err(Refusal::NoLink(replica));
    }
    let by = ByteSize::bytes(primary.replication.offset().saturating_sub(offset));
    if by > LAG_MAX {
        return Err(Refusal::Behind { replica, by });
    }
    Ok(offset)
}

/// The handovers that bring the primaries of an instance back to where they were planned, as far as
/// they can be without a loss.
#[must_use]
pub fn spread(instance: &Instance, view: &View) -> Vec<Promotion> {
    let layout = &instance.layout;
    let planned = |node: &Node<'_>| node.2.role == PlannedRole::Primary && !node.1.leaves;
    layout
        .shards()
        .into_iter()
        .filter_map(|shard| {
            let primary = acting(layout, view, shard)?;
            let nodes = layout.shard(shard);
            let home = nodes.iter().find(|node| planned(node))?;
            promotion(view, &primary, home)
        })
        .collect()
}

/// The handovers after which no host holds a majority of the primaries, where three hosts exist:
/// those of `spread` on a host that does.
pub(crate) fn relief(instance: &Instance, view: &View) -> Vec<Promotion> {
    let layout = &instance.layout;
    let staying = layout.nodes().filter(|(_, seat, _)| !seat.leaves);
    let hosts: std::collections::BTreeSet<&HostName> =
        staying.map(|(_, seat, _)| &seat.host).collect();
    if hosts.len() < HOSTS_MIN {
        return Vec::new();
    }
    let mut by_host: BTreeMap<&HostName, usize> = BTreeMap::new();
    let primaries: Vec<Node<'_>> = layout
        .shards()
        .into_iter()
        .filter(|shard| !crate::scale::leaves(layout, *shard))
        .filter_map(|shard| acting(layout, view, shard))
        .collect();
    for primary in &primaries {
        *by_host.entry(&primary.1.host).or_default() += 1;
    }
    let is_crowded = |id: NodeId| {
        let primary = primaries.iter().find(|node| node.2.id == id);
        primary.is_some_and(|node| by_host[&node.1.host] * 2 > primaries.len())
    };
    let mut promotions = spread(instance, view);
    promotions.retain(|it| is_crowded(it.instead_of.id));
    promotions
}

/// With fewer hosts one of them always has half of the primaries or more.
const HOSTS_MIN: usize = 3;

/// The primaries of shards that stay, where they sit at a node that leaves: its best replica among
/// those that stay takes over. Without one that is in sync nothing is planned; the next look sees.
pub(crate) fn of_those_that_leave(layout: &Layout, view: &View) -> Vec<Promotion> {
    layout
        .shards()
        .into_iter()
        .filter(|shard| !crate::scale::leaves(layout, *shard))
        .filter_map(|shard| {
            let primary = acting(layout, view, shard).filter(|node| node.1.leaves)?;
            let nodes = layout.shard(shard);
            let heirs = nodes.iter().filter(|node| !node.1.leaves);
            heirs
                .filter_map(|heir| {
                    let offset = shards::report_of(view, heir)?.replication.offset();
                    let promotion = promotion(view, &primary, heir)?;
                    Some((offset, std::cmp::Reverse(promotion.node), promotion))
                })
                .max()
                .map(|(_, _, promotion)| promotion)
        })
        .collect()
}

/// The promotion of a node instead of a primary that it copies in sync.
fn promotion(view: &View, primary: &Node<'_>, node: &Node<'_>) -> Option<Promotion> {
    let promotion = Promotion {
        node: member(node),
        instead_of: member(primary),
    };
    let is_copy = node.2.id != primary.2.id && shards::copies(view, node, primary.2.id);
    // Slots that are on their way arrive first: a replica would not know of them.
    let in_sync = judge(promotion, &view.nodes).is_ok();
    (is_copy && in_sync).then_some(promotion)
}

/// The plan for these handovers, after which all of these nodes are ready again.
#[must_use]
pub fn plan(
    promotions: Vec<Promotion>,
    nodes: Vec<NodeAddress>,
    view: &View,
    policy: Policy,
) -> Plan {
    let mut phases = Vec::new();
    if !promotions.is_empty() {
        let names: Vec<String> = promotions.iter().map(|it| it.node.to_string()).collect();
        phases.push(Phase {
            title: match names.as_slice() {
                [one] => format!("{one} is primary"),
                many => format!("{} replicas are primaries", many.len()),
            },
            steps: vec![Step::Steward(StewardStep::EnsureHandedOver { promotions })],
        });
        phases.push(Phase {
            title: "the cluster is ready".to_owned(),
            steps: vec![Step::Wait(Wait {
                until: Condition::Ready(nodes),
                limit: policy.ready_limit,
            })],
        });
    }
    Plan {
        based_on: view.fingerprint(),
        phases,
        findings: Vec::new(),
    }
}

/// The node that answers at this address, as a member.
#[must_use]
pub fn member_at(node: NodeAddress, view: &ClusterView) -> Option<Member> {
    let cluster = view.get(&node).and_then(NodeView::cluster)?;
    Some(Member {
        id: cluster.id,
        address: node,
    })
}
