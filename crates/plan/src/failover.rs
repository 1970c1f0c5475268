//! Decides, when a process is known to be dead, which replica follows on at once.
//!
//! A replica follows on only if it was in sync when the primary died. One that had lost its link
//! long before lacks what was written since, and the primary itself, started again, lacks nothing.

use std::time::Duration;

use model::address::NodeAddress;
use model::step::{Member, Promotion};
use model::view::{ClusterView, NodeView, Peer, PeerRole, Replication, ReplicationLink};

/// How long before the death a link may have gone down and yet count as in sync: whole seconds are
/// all that the server tells, and it looks once a second.
pub const DOWN_SECONDS_MAX: u64 = 1;

/// What is to be done about a dead process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Succession {
    /// It owned no slot; nothing is lost to clients.
    NotNeeded,
    /// The replica follows on.
    Promote(Promotion),
    /// Nobody can follow on.
    Nobody {
        /// Why.
        reason: String,
    },
}

/// Who follows on the node that died at this address so long ago, by the view of those that live.
#[must_use]
pub fn succession(dead: NodeAddress, dead_for: Duration, view: &ClusterView) -> Succession {
    let Some(lost) = remembered(dead, view) else {
        return Succession::NotNeeded;
    };
    if lost.role != PeerRole::Primary || lost.slots.is_empty() {
        return Succession::NotNeeded;
    }
    let candidates = view
        .iter()
        .filter(|(address, _)| **address != dead)
        .filter_map(|(address, node)| candidate(*address, node, lost, dead_for));
    let best = candidates.max_by_key(|it| (it.offset, std::cmp::Reverse(it.member)));
    match best {
        Some(best) => Succession::Promote(Promotion {
            node: best.member,
            instead_of: Member {
                id: lost.id,
                address: dead,
            },
        }),
        None => Succession::Nobody {
            reason: "no replica was in sync with it".to_owned(),
        },
    }
}

/// The dead node as the living remember it: by the one that knows the highest epoch of its claim.
fn remembered(dead: NodeAddress, view: &ClusterView) -> Option<&Peer> {
    view.iter()
        .filter(|(address, _)| **address != dead)
        .filter_map(|(_, node)| node.cluster())
        .flat_map(|cluster| &cluster.peers)
        .filter(|peer| peer.address == Some(dead) && !peer.in_handshake)
        .max_by_key(|peer| peer.epoch)
}

struct Candidate {
    member: Member,
    offset: u64,
}

fn candidate(
    address: NodeAddress,
    node: &NodeView,
    lost: &Peer,
    dead_for: Duration,
) -> Option<Candidate> {
    let report = node.report()?;
    let cluster = report.cluster.as_ref()?;
    if cluster.myself()?.role != PeerRole::Replica(Some(lost.id)) {
        return None;
    }
    let Replication::Replica { link, offset, .. } = report.replication else {
        return None;
    };
    let in_sync = match link {
        ReplicationLink::Up => true,
        ReplicationLink::Down { seconds } => seconds <= dead_for.as_secs() + DOWN_SECONDS_MAX,
        ReplicationLink::Copying => false,
    };
    in_sync.then_some(Candidate {
        member: Member {
            id: cluster.id,
            address,
        },
        offset,
    })
}

/// Whether a majority of the primaries answers. An election that is lost all the same was refused:
/// who has voted for a replica of a primary does not vote for one of its replicas again for two
/// node time-outs (`clusterSendFailoverAuthIfNeeded`, cluster.c).
#[must_use]
pub fn has_voters(view: &ClusterView) -> bool {
    let votes = |peer: &&Peer| peer.role == PeerRole::Primary && !peer.slots.is_empty();
    let clusters = || view.values().filter_map(NodeView::cluster);
    let known = clusters().map(|it| it.peers.iter().filter(votes).count());
    let answering = clusters().filter_map(|it| it.myself()).filter(votes);
    answering.count() > known.max().unwrap_or(0) / 2
}

/// Whether the replicas of a dead primary have read all that it sent: their links are down, so
/// that what the kernel still held has been delivered. A promotion before would throw it away.
#[must_use]
pub fn has_drained(dead: NodeAddress, view: &ClusterView) -> bool {
    let Some(lost) = remembered(dead, view) else {
        return true;
    };
    let (id, dead) = (lost.id, dead.to_string());
    view.values().filter_map(NodeView::report).all(|report| {
        let copies = report
            .cluster
            .as_ref()
            .and_then(|it| it.myself())
            .is_some_and(|it| it.role == PeerRole::Replica(Some(id)));
        match &report.replication {
            Replication::Replica { of, link, .. } if copies && *of == dead => {
                *link != ReplicationLink::Up
            }
            Replication::Replica { .. } | Replication::Primary { .. } => true,
        }
    })
}
