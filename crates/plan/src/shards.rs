//! Reads from a view who acts for the shards of an instance, and who owns what.
//!
//! A node's own word about itself counts; of two that claim the same, the higher epoch does.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::ids::{NodeId, ShardIndex, WorkloadName};
use model::instance::{Instance, Layout, NodeSeat, Seat};
use model::slots::SlotSet;
use model::step::Member;
use model::view::{
    ClusterReport, NodeReport, NodeView, Peer, PeerRole, Replication, ReplicationLink, View,
    WorkloadPhase,
};

/// A node of a layout: its workload, its seat, its place.
pub(crate) type Node<'a> = (&'a WorkloadName, &'a Seat, NodeSeat);

pub(crate) const fn member(node: &Node<'_>) -> Member {
    Member {
        id: node.2.id,
        address: node.1.address,
    }
}

/// What a node says, where it is the one that sits there.
pub(crate) fn report_of<'v>(view: &'v View, node: &Node<'_>) -> Option<&'v NodeReport> {
    let report = view.nodes.get(&node.1.address)?.report()?;
    let is_it = report.cluster.as_ref().is_some_and(|it| it.id == node.2.id);
    is_it.then_some(report)
}

/// What a node says of the cluster, where it is the one that sits there.
pub(crate) fn cluster_of<'v>(view: &'v View, node: &Node<'_>) -> Option<&'v ClusterReport> {
    report_of(view, node)?.cluster.as_ref()
}

/// What a node says of itself.
pub(crate) fn myself_of<'v>(view: &'v View, node: &Node<'_>) -> Option<&'v Peer> {
    cluster_of(view, node)?.myself()
}

/// What the engine says: whether the workload runs.
pub(crate) fn is_running(view: &View, name: &WorkloadName) -> bool {
    let found = view.engine.workloads.get(name);
    found.is_some_and(|it| match it.phase {
        WorkloadPhase::Running { .. } | WorkloadPhase::Restarting { .. } => true,
        WorkloadPhase::Stopped | WorkloadPhase::Held { .. } | WorkloadPhase::Ended(_) => false,
    })
}

/// The node of a shard that owns slots, by the highest epoch. Where none does: a primary that holds
/// keys or is given some, then one that others copy, and else the planned one.
pub(crate) fn acting<'a>(layout: &'a Layout, view: &View, shard: ShardIndex) -> Option<Node<'a>> {
    let nodes = layout.shard(shard);
    let worth = |node: &Node<'_>| {
        let myself = myself_of(view, node).filter(|it| it.role == PeerRole::Primary)?;
        let keys = report_of(view, node).map_or(0, |it| it.keys);
        let holds = keys > 0 || !myself.open_slots.is_empty();
        let is_copied = nodes.iter().any(|other| {
            let role = myself_of(view, other).map(|it| it.role);
            role == Some(PeerRole::Replica(Some(node.2.id)))
        });
        let owns = (!myself.slots.is_empty()).then_some((myself.epoch, node.2.id));
        (owns.is_some() || holds || is_copied).then_some((owns, holds, is_copied))
    };
    let best = nodes
        .iter()
        .filter_map(|node| Some((worth(node)?, std::cmp::Reverse(node.2.role), node.2.id)))
        .max()
        .map(|(_, _, id)| id);
    match best {
        Some(id) => nodes.into_iter().find(|node| node.2.id == id),
        None => nodes.into_iter().next(),
    }
}

/// The slots that a node owns by its own word; of two that claim one, the higher epoch has it.
pub(crate) fn owners(layout: &Layout, view: &View) -> BTreeMap<NodeId, SlotSet> {
    let mut claims: Vec<(&Peer, SlotSet)> = layout
        .nodes()
        .filter_map(|node| {
            let myself = myself_of(view, &node)?;
            let owns = myself.role == PeerRole::Primary && !myself.slots.is_empty();
            owns.then(|| (myself, SlotSet::of(&myself.slots)))
        })
        .collect();
    claims.sort_by_key(|(peer, _)| std::cmp::Reverse((peer.epoch, peer.id)));
    let mut free = SlotSet::all();
    let mut owners = BTreeMap::new();
    for (peer, slots) in claims {
        let own = slots.intersection(&free);
        free = free.difference(&own);
        owners.insert(peer.id, own);
    }
    owners
}

/// The slots that each shard owns, as `owners`.
pub(crate) fn owned(layout: &Layout, view: &View) -> BTreeMap<ShardIndex, SlotSet> {
    let mut owned: BTreeMap<ShardIndex, SlotSet> = layout
        .shards()
        .into_iter()
        .map(|shard| (shard, SlotSet::empty()))
        .collect();
    let owners = owners(layout, view);
    for (_, _, node) in layout.nodes() {
        if let Some(slots) = owners.get(&node.id) {
            let all = owned.entry(node.shard).or_insert_with(SlotSet::empty);
            *all = all.union(slots);
        }
    }
    owned
}

/// Whether a node that answers believes that this one owns slots.
pub(crate) fn is_taken_for_owner(view: &View, id: NodeId) -> bool {
    view.nodes
        .values()
        .filter_map(NodeView::cluster)
        .filter_map(|cluster| cluster.peer(id))
        .any(|peer| peer.role == PeerRole::Primary && !peer.slots.is_empty())
}

/// The node at this address, as those that answer know it.
pub(crate) fn known_at(view: &View, address: NodeAddress) -> Option<NodeId> {
    let clusters = view.nodes.values().filter_map(NodeView::cluster);
    clusters
        .flat_map(|cluster| &cluster.peers)
        .find(|peer| peer.address == Some(address) && !peer.in_handshake)
        .map(|peer| peer.id)
}

/// Whether a node copies this primary, and its link is up.
pub(crate) fn copies(view: &View, node: &Node<'_>, primary: NodeId) -> bool {
    let Some(report) = report_of(view, node) else {
        return false;
    };
    let linked = match report.replication {
        Replication::Replica { link, .. } => link == ReplicationLink::Up,
        Replication::Primary { .. } => false,
    };
    let role = myself_of(view, node).map(|it| it.role);
    linked && role == Some(PeerRole::Replica(Some(primary)))
}

/// Whether seats leave or slots are on their way by intention.
#[must_use]
pub fn is_under_way(instance: &Instance) -> bool {
    let layout = &instance.layout;
    !layout.owners.is_empty()
        || layout.seats.values().any(|seat| seat.leaves)
        || instance.change.is_some()
}
