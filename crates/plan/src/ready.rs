//! Says what keeps a cluster from being ready, and whose word would help.
//!
//! Ready is what a client sees: each slot is served, each replica is linked and has caught up, and
//! all nodes agree. A node's own word about itself is the truth that the others must have heard.

use std::collections::BTreeMap;
use std::fmt;

use model::address::NodeAddress;
use model::ids::NodeId;
use model::size::ByteSize;
use model::slots::SlotSet;
use model::step::{ClusterStep, Member};
use model::view::{
    ClusterReport, ClusterView, NodeReport, NodeView, Peer, PeerHealth, PeerRole, Replication,
    ReplicationLink,
};

/// How far a replica may be behind its primary and yet count as caught up: what a busy primary
/// writes between the two looks. It is the least replication backlog that a server keeps.
pub const LAG_MAX: ByteSize = ByteSize::mib(1);

/// Something that keeps a cluster from being ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// A node does not answer.
    Silent {
        /// The node.
        node: NodeAddress,
        /// What came of asking it.
        reason: String,
    },
    /// A node does not let us in.
    Refusing {
        /// The node.
        node: NodeAddress,
        /// Its answer.
        reason: String,
    },
    /// A node reads its data.
    Loading {
        /// The node.
        node: NodeAddress,
    },
    /// A node does not know another.
    Unknown {
        /// The node.
        observer: Member,
        /// The other.
        other: Member,
    },
    /// A node knows another and has no link to it at present.
    Unlinked {
        /// The node.
        observer: Member,
        /// The other.
        other: Member,
    },
    /// A node has not heard what another is and owns.
    Unheard {
        /// The node.
        listener: Member,
        /// The other.
        speaker: Member,
    },
    /// A node knows another that is not one of ours.
    Stranger {
        /// The node.
        observer: Member,
        /// The other's id.
        stranger: NodeId,
    },
    /// No node owns these slots.
    Unowned {
        /// The slots.
        slots: SlotSet,
    },
    /// Two nodes own these slots.
    OwnedTwice {
        /// The slots.
        slots: SlotSet,
        /// The nodes.
        owners: (Member, Member),
    },
    /// A node says that the cluster does not serve.
    NotServing {
        /// The node.
        node: Member,
    },
    /// A replica's link is not up.
    NoLink {
        /// The replica.
        replica: NodeAddress,
        /// Its link.
        link: ReplicationLink,
    },
    /// A replica has not caught up.
    Behind {
        /// The replica.
        replica: Member,
        /// By how much.
        by: ByteSize,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { reason, .. } => out.write_str(reason),
            Self::Refusing { node, reason } => write!(out, "{node} does not let us in: {reason}"),
            Self::Loading { node } => write!(out, "{node} is loading its data"),
            Self::Unknown { observer, other } => {
                write!(out, "{} does not know {}", observer.address, other.address)
            }
            Self::Unlinked { observer, other } => {
                write!(out, "{} does not reach {}", observer.address, other.address)
            }
            Self::Unheard { listener, speaker } => write!(
                out,
                "{} has not heard what {} is and owns",
                listener.address, speaker.address
            ),
            Self::Stranger { observer, stranger } => write!(
                out,
                "{} knows {}, which is not one of ours",
                observer.address,
                stranger.short()
            ),
            Self::Unowned { slots } => write!(out, "nobody owns slots {slots}"),
            Self::OwnedTwice { slots, owners } => {
                write!(
                    out,
                    "slots {slots} have two owners: {} and {}",
                    owners.0, owners.1
                )
            }
            Self::NotServing { node } => {
                write!(out, "{} says that the cluster does not serve", node.address)
            }
            Self::NoLink { replica, link } => {
                let state = match link {
                    ReplicationLink::Up => "up",
                    ReplicationLink::Copying => "copying for the first time",
                    ReplicationLink::Down { .. } => "down",
                };
                write!(out, "{replica}: its replication link is {state}")
            }
            Self::Behind { replica, by } => {
                write!(out, "{} is {by} behind its primary", replica.address)
            }
        }
    }
}

/// What keeps the cluster of these servers from being ready; nothing where it is. Servers that
/// run without a cluster have to answer, and to be linked where they copy another.
#[must_use]
pub fn obstacles(nodes: &[NodeAddress], view: &ClusterView) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let mut answering = Vec::new();
    for address in nodes {
        match view.get(address) {
            Some(NodeView::Answering(report)) => {
                if let Some(cluster) = &report.cluster {
                    answering.push(Witness {
                        member: Member {
                            id: cluster.id,
                            address: *address,
                        },
                        report,
                        cluster,
                    });
                } else if let Replication::Replica { link, .. } = report.replication
                    && link != ReplicationLink::Up
                {
                    obstacles.push(Obstacle::NoLink {
                        replica: *address,
                        link,
                    });
                }
            }
            Some(NodeView::Silent { reason }) => obstacles.push(Obstacle::Silent {
                node: *address,
                reason: reason.clone(),
            }),
            Some(NodeView::Refusing { reason }) => obstacles.push(Obstacle::Refusing {
                node: *address,
                reason: reason.clone(),
            }),
            Some(NodeView::Loading) => obstacles.push(Obstacle::Loading { node: *address }),
            None => obstacles.push(Obstacle::Silent {
                node: *address,
                reason: format!("{address} was not asked"),
            }),
        }
    }
    if !answering.is_empty() {
        obstacles.extend(ownership(&answering));
        obstacles.extend(agreement(nodes, &answering));
        obstacles.extend(service(&answering));
    }
    obstacles
}

/// A node that answers and is in a cluster.
struct Witness<'a> {
    member: Member,
    report: &'a NodeReport,
    cluster: &'a ClusterReport,
}

/// Each slot has one owner, by the owners' own word.
fn ownership(witnesses: &[Witness<'_>]) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let mut served = SlotSet::empty();
    let mut owners: Vec<(Member, SlotSet)> = Vec::new();
    for witness in witnesses {
        let Some(myself) = witness.cluster.myself() else {
            continue;
        };
        let own = SlotSet::of(&myself.slots);
        let twice = served.intersection(&own);
        if !twice.is_empty() {
            let other = owners
                .iter()
                .find(|(_, slots)| !slots.intersection(&twice).is_empty());
            if let Some((other, _)) = other {
                obstacles.push(Obstacle::OwnedTwice {
                    slots: twice,
                    owners: (*other, witness.member),
                });
            }
        }
        served = served.union(&own);
        owners.push((witness.member, own));
    }
    let unowned = SlotSet::all().difference(&served);
    if !unowned.is_empty() {
        obstacles.push(Obstacle::Unowned { slots: unowned });
    }
    obstacles
}

/// Every node knows, reaches and has heard of every other one, and knows no stranger.
fn agreement(nodes: &[NodeAddress], witnesses: &[Witness<'_>]) -> Vec<Obstacle> {
    let own_words: BTreeMap<NodeId, (Member, &Peer)> = witnesses
        .iter()
        .filter_map(|it| Some((it.member.id, (it.member, it.cluster.myself()?))))
        .collect();
    let mut obstacles = Vec::new();
    for witness in witnesses {
        let observer = witness.member;
        let mut known: BTreeMap<NodeId, &Peer> = BTreeMap::new();
        for peer in witness.cluster.peers.iter().filter(|it| !it.in_handshake) {
            known.insert(peer.id, peer);
            // A node of ours that does not answer tells no id, but it has an address.
            let is_ours = own_words.contains_key(&peer.id)
                || peer.address.is_some_and(|address| nodes.contains(&address));
            if !is_ours {
                obstacles.push(Obstacle::Stranger {
                    observer,
                    stranger: peer.id,
                });
            }
        }
        for (id, (other, own)) in own_words.iter().filter(|(id, _)| **id != observer.id) {
            let (observer, other) = (observer, *other);
            obstacles.extend(match known.get(id) {
                None => Some(Obstacle::Unknown { observer, other }),
                Some(peer) if !peer.linked || peer.health != PeerHealth::Reached => {
                    Some(Obstacle::Unlinked { observer, other })
                }
                Some(peer) if peer.role != own.role || peer.slots != own.slots => {
                    Some(Obstacle::Unheard {
                        listener: observer,
                        speaker: other,
                    })
                }
                Some(_) => None,
            });
        }
    }
    obstacles
}

/// Every node serves, and every replica is linked and has caught up.
fn service(witnesses: &[Witness<'_>]) -> Vec<Obstacle> {
    let offsets: BTreeMap<NodeId, u64> = witnesses
        .iter()
        .map(|it| (it.member.id, it.report.replication.offset()))
        .collect();
    let mut obstacles = Vec::new();
    for witness in witnesses {
        let node = witness.member;
        if !witness.cluster.serves {
            obstacles.push(Obstacle::NotServing { node });
        }
        let Replication::Replica { link, offset, .. } = witness.report.replication else {
            continue;
        };
        if link != ReplicationLink::Up {
            obstacles.push(Obstacle::NoLink {
                replica: node.address,
                link,
            });
            continue;
        }
        let behind = primary_of(witness)
            .and_then(|primary| offsets.get(&primary))
            .map_or(0, |primary| primary.saturating_sub(offset));
        if ByteSize::bytes(behind) > LAG_MAX {
            obstacles.push(Obstacle::Behind {
                replica: node,
                by: ByteSize::bytes(behind),
            });
        }
    }
    obstacles
}

fn primary_of(witness: &Witness<'_>) -> Option<NodeId> {
    match witness.cluster.myself()?.role {
        PeerRole::Primary => None,
        PeerRole::Replica(primary) => primary,
    }
}

/// Whether it is a matter of nodes hearing of each other.
#[must_use]
pub const fn is_disagreement(obstacle: &Obstacle) -> bool {
    match obstacle {
        Obstacle::Unknown { .. } | Obstacle::Unlinked { .. } | Obstacle::Unheard { .. } => true,
        Obstacle::Silent { .. }
        | Obstacle::Refusing { .. }
        | Obstacle::Loading { .. }
        | Obstacle::Stranger { .. }
        | Obstacle::Unowned { .. }
        | Obstacle::OwnedTwice { .. }
        | Obstacle::NotServing { .. }
        | Obstacle::NoLink { .. }
        | Obstacle::Behind { .. } => false,
    }
}

/// Whose word would help: a node that has not heard of another is told by it at once instead of by
/// gossip some time. A link that is down is not helped by that: the servers make it anew with each
/// tick, and a word in between would only cut it again.
#[must_use]
pub fn nudges(obstacles: &[Obstacle]) -> Vec<ClusterStep> {
    obstacles
        .iter()
        .filter_map(|obstacle| match obstacle {
            Obstacle::Unknown { observer, other } => Some((*other, *observer)),
            Obstacle::Unheard { listener, speaker } => Some((*speaker, *listener)),
            Obstacle::Silent { .. }
            | Obstacle::Refusing { .. }
            | Obstacle::Loading { .. }
            | Obstacle::Unlinked { .. }
            | Obstacle::Stranger { .. }
            | Obstacle::Unowned { .. }
            | Obstacle::OwnedTwice { .. }
            | Obstacle::NotServing { .. }
            | Obstacle::NoLink { .. }
            | Obstacle::Behind { .. } => None,
        })
        .map(|(speaker, listener)| ClusterStep::EnsureHeard { speaker, listener })
        .collect()
}

/// The primaries and the slots that they say they own: what a probe asks.
#[must_use]
pub fn primaries(nodes: &[NodeAddress], view: &ClusterView) -> Vec<(Member, SlotSet)> {
    nodes
        .iter()
        .filter_map(|address| {
            let cluster = view.get(address)?.cluster()?;
            let slots = SlotSet::of(&cluster.myself()?.slots);
            let member = Member {
                id: cluster.id,
                address: *address,
            };
            (!slots.is_empty()).then_some((member, slots))
        })
        .collect()
}
