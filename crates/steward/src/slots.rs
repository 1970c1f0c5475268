//! Closes open slots, and settles who owns a slot.

use model::command::NodeCommand;
use model::ids::NodeId;
use model::slots::{Slot, SlotRange, SlotSet};
use model::step::Member;
use model::view::{ClusterReport, Peer, PeerRole};

use crate::error::StewardError;
use crate::{Ground, talk};

/// The slots that a server is told about at once.
const AT_ONCE: usize = 512;

/// Sees to it that none of these slots is open at this node. Who owns them stays as it is.
pub(crate) async fn ensure_stable(
    ground: Ground<'_>,
    node: Member,
    slots: &SlotSet,
) -> Result<(), StewardError> {
    let cluster = talk::cluster(ground, node).await?;
    let mut open = SlotSet::empty();
    for slot in cluster.myself().iter().flat_map(|it| &it.open_slots) {
        open.insert(slot.slot);
    }
    let open = open.intersection(slots);
    let commands = open.iter().map(NodeCommand::SetStable);
    order(ground, node, commands.collect()).await
}

/// Sees to it that the node owns these slots, by its own word and that of all others.
///
/// It claims with a new epoch, the highest there is, so that its claim is heard. A node that
/// believes otherwise and holds keys of the slot refuses; its keys are not lost, and the error says
/// where they are.
pub(crate) async fn ensure_owner(
    ground: Ground<'_>,
    node: Member,
    slots: &SlotSet,
    others: &[Member],
) -> Result<(), StewardError> {
    let cluster = talk::cluster(ground, node).await?;
    if cluster
        .myself()
        .is_none_or(|it| it.role != PeerRole::Primary)
    {
        return Err(StewardError::NoPrimary { node });
    }
    let owned = owned(&cluster);
    let missing: Vec<Slot> = slots.difference(&owned).iter().collect();
    let owner = node.id;
    let mut commands = Vec::new();
    for slot in &missing {
        // A claim on a slot that one imports takes a new epoch (`clusterSetSlot...NODE`).
        match foreign_owner(&cluster, *slot) {
            Some(from) => {
                commands.push(NodeCommand::SetImporting { slot: *slot, from });
                commands.push(NodeCommand::SetOwner { slot: *slot, owner });
            }
            None => {
                let range = single(*slot);
                commands.push(NodeCommand::AddSlots(range));
            }
        }
    }
    order(ground, node, commands).await?;
    if !missing.is_empty() || has_same_epoch(&cluster) {
        order(ground, node, vec![NodeCommand::BumpEpoch]).await?;
    }
    for other in others {
        let believes = owned_by(&talk::cluster(ground, *other).await?, owner);
        let unheard = slots.difference(&believes);
        let commands = unheard
            .iter()
            .map(|slot| NodeCommand::SetOwner { slot, owner });
        order(ground, *other, commands.collect()).await?;
    }
    Ok(())
}

fn owned(cluster: &ClusterReport) -> SlotSet {
    owned_by(cluster, cluster.id)
}

fn single(slot: Slot) -> Vec<SlotRange> {
    SlotRange::new(slot, slot).into_iter().collect()
}

/// What a node believes that another owns.
fn owned_by(cluster: &ClusterReport, owner: NodeId) -> SlotSet {
    cluster
        .peer(owner)
        .map_or_else(SlotSet::empty, |peer| SlotSet::of(&peer.slots))
}

/// Whether another primary claims with this node's epoch: of two such claims on a slot others
/// believe the one that they heard first. Where it is the highest epoch of all, the servers settle
/// it themselves (`clusterHandleConfigEpochCollision`, Redis 7.0).
fn has_same_epoch(cluster: &ClusterReport) -> bool {
    let Some(myself) = cluster.myself() else {
        return false;
    };
    let claims = |peer: &&Peer| peer.role == PeerRole::Primary && !peer.slots.is_empty();
    let mut claimants = cluster.peers.iter().filter(claims);
    claimants.any(|peer| peer.id != cluster.id && peer.epoch == myself.epoch)
}

/// Who owns a slot, as this node believes.
fn foreign_owner(cluster: &ClusterReport, slot: Slot) -> Option<NodeId> {
    let owns = |ranges: &[SlotRange]| SlotSet::of(ranges).contains(slot);
    let mut peers = cluster.peers.iter();
    peers
        .find(|peer| peer.id != cluster.id && owns(&peer.slots))
        .map(|peer| peer.id)
}

async fn order(
    ground: Ground<'_>,
    node: Member,
    commands: Vec<NodeCommand>,
) -> Result<(), StewardError> {
    const NAME: &str = "CLUSTER SETSLOT";
    for chunk in commands.chunks(AT_ONCE) {
        let said = talk::all(ground, node, NAME, chunk).await?;
        if let Some(words) = said.into_iter().find_map(Result::err) {
            return Err(StewardError::Refused {
                node,
                command: NAME,
                words,
            });
        }
    }
    Ok(())
}
