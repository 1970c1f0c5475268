//! Looks who owns what before anything is moved: by the word of the source and of the target
//! themselves, because only they know what is open between them.

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::ids::NodeId;
use model::image::{ServerVersion, Software};
use model::migration::{Driver, MoveManner, SlotMove};
use model::slots::SlotSet;
use model::step::Member;
use model::view::{
    ClusterReport, ClusterView, NodeView, OpenDirection, Peer, PeerHealth, PeerRole,
};

use super::pair::Pair;
use crate::Ground;
use crate::error::StewardError;

/// What is left of each move.
pub(super) async fn pairs(
    ground: Ground<'_>,
    moves: &[SlotMove],
    manner: &MoveManner,
) -> Result<Vec<Pair>, StewardError> {
    let asked: BTreeSet<NodeAddress> = moves
        .iter()
        .flat_map(|each| [each.source.address, each.target.address])
        .collect();
    let asked: Vec<NodeAddress> = asked.into_iter().collect();
    let view = ground.nodes.observe(&asked, ground.credentials).await;
    moves.iter().map(|each| pair(each, &view, manner)).collect()
}

/// What is left of one move.
fn pair(each: &SlotMove, view: &ClusterView, manner: &MoveManner) -> Result<Pair, StewardError> {
    let target = primary(each.target, view)?;
    let owned_by_target = owned(target).intersection(&each.slots);
    let missing = each.slots.difference(&owned_by_target);
    let mut pair = Pair {
        source: each.source,
        target: each.target,
        to_move: SlotSet::empty(),
        open: SlotSet::empty(),
        to_tell: SlotSet::empty(),
        target_replicas: replicas_of(each.target, target),
        source_replicas: Vec::new(),
        driver: Driver::Migrate,
    };
    let source = match primary(each.source, view) {
        Ok(source) => source,
        // Who has given everything may go.
        Err(_) if missing.is_empty() => return Ok(pair),
        Err(error) => return Err(error),
    };
    let owned_by_source = owned(source);
    pair.to_move = missing.intersection(&owned_by_source);
    pair.to_tell = owned_by_target.intersection(&owned_by_source);
    let foreign = missing.difference(&owned_by_source);
    if !foreign.is_empty() {
        return Err(StewardError::ForeignOwner {
            slots: foreign,
            source_node: each.source,
            target: each.target,
        });
    }
    pair.open = open(each, [source, target])?.intersection(&pair.to_move);
    pair.source_replicas = replicas_of(each.source, source);
    pair.driver = driver(each, view, manner)?;
    Ok(pair)
}

fn primary(node: Member, view: &ClusterView) -> Result<&ClusterReport, StewardError> {
    let why = match view.get(&node.address) {
        Some(NodeView::Answering(report)) => match &report.cluster {
            Some(cluster) if cluster.id != node.id => "another node answers there".to_owned(),
            Some(cluster) => match cluster.myself().map(|it| it.role) {
                Some(PeerRole::Primary) => return Ok(cluster),
                Some(PeerRole::Replica(_)) | None => return Err(StewardError::NoPrimary { node }),
            },
            None => "it runs without cluster mode".to_owned(),
        },
        Some(NodeView::Silent { reason } | NodeView::Refusing { reason }) => reason.clone(),
        Some(NodeView::Loading) => "it is loading its data".to_owned(),
        None => "it was not asked".to_owned(),
    };
    Err(StewardError::NoAnswer {
        node,
        command: "CLUSTER NODES",
        why,
    })
}

/// What a node owns by its own word.
fn owned(cluster: &ClusterReport) -> SlotSet {
    cluster
        .myself()
        .map_or_else(SlotSet::empty, |myself| SlotSet::of(&myself.slots))
}

/// The slots that are open at either end.
///
/// A target that imports from a node which does not own the slot any more began with that node's
/// successor: the keys that it has are of this slot. A source that gives to another node than this
/// one is another matter: some keys are there.
fn open(each: &SlotMove, ends: [&ClusterReport; 2]) -> Result<SlotSet, StewardError> {
    let mut open = SlotSet::empty();
    let lines = ends.into_iter().filter_map(ClusterReport::myself);
    for slot in lines.flat_map(|myself| &myself.open_slots) {
        let goes_to = match slot.direction {
            OpenDirection::To(id) if each.slots.contains(slot.slot) => Some(id),
            OpenDirection::To(_) | OpenDirection::From(_) => None,
        };
        if let Some(other) = goes_to.filter(|id| !is_of_target(*id, each.target, ends)) {
            return Err(StewardError::OpenElsewhere {
                slot: slot.slot,
                node: each.source,
                other: other.short(),
            });
        }
        open.insert(slot.slot);
    }
    Ok(open)
}

/// Whether a node is the target, or was its shard's primary before it.
fn is_of_target(id: NodeId, target: Member, ends: [&ClusterReport; 2]) -> bool {
    let copies = |end: &ClusterReport| {
        let peer = end.peer(id);
        peer.is_some_and(|peer| peer.role == PeerRole::Replica(Some(target.id)))
    };
    id == target.id || ends.into_iter().any(copies)
}

/// The replicas of a primary, by its own word. One that has failed cannot acknowledge anything.
fn replicas_of(primary: Member, cluster: &ClusterReport) -> Vec<NodeAddress> {
    let copies = |peer: &&Peer| {
        peer.role == PeerRole::Replica(Some(primary.id)) && peer.health != PeerHealth::Failed
    };
    let replicas = cluster.peers.iter().filter(copies);
    replicas.filter_map(|peer| peer.address).collect()
}

/// The best driver that both servers have, or the one that was asked for.
fn driver(
    each: &SlotMove,
    view: &ClusterView,
    manner: &MoveManner,
) -> Result<Driver, StewardError> {
    let has: BTreeMap<NodeAddress, Option<Driver>> = [each.source, each.target]
        .into_iter()
        .map(|node| (node.address, atomic_driver(view, node.address)))
        .collect();
    let source = has.get(&each.source.address).copied().flatten();
    let target = has.get(&each.target.address).copied().flatten();
    match manner.driver {
        Some(Driver::Migrate) => Ok(Driver::Migrate),
        Some(wanted) if source != Some(wanted) => Err(StewardError::NoDriver {
            node: each.source,
            driver: wanted,
        }),
        Some(wanted) if target != Some(wanted) => Err(StewardError::NoDriver {
            node: each.target,
            driver: wanted,
        }),
        Some(wanted) => Ok(wanted),
        None if source == target => Ok(source.unwrap_or(Driver::Migrate)),
        None => Ok(Driver::Migrate),
    }
}

fn atomic_driver(view: &ClusterView, address: NodeAddress) -> Option<Driver> {
    of_version(view.get(&address)?.report()?.version)
}

/// The atomic migration of a version: Valkey 9.0 and Redis 8.4 brought one each.
fn of_version(version: ServerVersion) -> Option<Driver> {
    match version.software {
        Software::Valkey if version.major >= 9 => Some(Driver::MigrateSlots),
        Software::Redis if (version.major, version.minor) >= (8, 4) => {
            Some(Driver::MigrationImport)
        }
        Software::Valkey | Software::Redis | Software::Shardyard | Software::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_driver_that_it_brought() {
        let driver = |software, text| of_version(ServerVersion::parse(software, text).unwrap());
        assert_eq!(driver(Software::Redis, "7.0.15"), None);
        assert_eq!(driver(Software::Redis, "8.3.9"), None);
        assert_eq!(
            driver(Software::Redis, "8.4.0"),
            Some(Driver::MigrationImport)
        );
        assert_eq!(driver(Software::Valkey, "8.1.1"), None);
        assert_eq!(
            driver(Software::Valkey, "9.0.0"),
            Some(Driver::MigrateSlots)
        );
    }
}
