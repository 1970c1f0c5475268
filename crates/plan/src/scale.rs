//! Decides what an instance is to be after it was scaled or rebalanced: who joins, who leaves,
//! where the newcomers sit, and which shard is to own which slots.
//!
//! Everything is decided here and nothing is done: `converge` brings the new instance about, and
//! may be cut off anywhere. What cannot end well is refused before anything is stored.

mod cancel;
mod memory;
mod refusal;
mod shape;
mod weights;

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::ids::{NodeId, ShardIndex, WorkloadName};
use model::instance::{Instance, Layout, NodeSeat, PlannedRole, Seat};
use model::slots::SlotSet;
use model::spec::{Service, Spec};
use model::view::{HostView, View};

pub use self::cancel::cancelled;
pub use self::refusal::Refusal;
pub use self::weights::{Balance, isolate, rebalance};
pub use crate::shards::is_under_way;
pub use crate::turn::with_turns;

use self::shape::{Joiner, Shape};
use crate::layout::{host, turn_of};
use crate::moves::{Share, balance};
use crate::shards::{self, acting, member};

/// The fewest primaries that can lose one: the others are a majority still.
const PRIMARIES_MIN: u16 = 3;

/// What a new instance is made from, beside the old one and the spec.
#[derive(Clone, Copy, Debug)]
pub struct ScaleSite<'a> {
    /// The machines.
    pub hosts: &'a [HostView],
    /// An address for each newcomer (`newcomers`).
    pub addresses: &'a BTreeMap<WorkloadName, NodeAddress>,
    /// A fresh node id for each newcomer that joins a cluster; more do no harm.
    pub ids: &'a [NodeId],
}

/// The workloads that would join, each with the port on which it answers (0 where it has none).
/// Their numbers were never used before, not even by workloads of which only a volume is left.
#[must_use]
pub fn newcomers(instance: &Instance, spec: &Spec, view: &View) -> Vec<(WorkloadName, u16)> {
    if is_under_way(instance) {
        return Vec::new();
    }
    let mut newcomers = Vec::new();
    for service in &spec.services {
        let port = service.container.ports.first().copied().unwrap_or(0);
        let shape = Shape::of(instance, service, view);
        newcomers.extend(shape.joins.into_iter().map(|joiner| (joiner.name, port)));
    }
    newcomers
}

/// The instance that this one becomes with another spec: seats for those that join, a mark at those
/// that leave, and the slots that each shard is to own, where shards come or go.
///
/// While the last change is under way the same wish gives the same instance, so that it goes on,
/// and a different one is refused.
///
/// # Errors
/// Every reason against it, not only the first.
pub fn rescale(
    instance: &Instance,
    spec: Spec,
    view: &View,
    site: ScaleSite<'_>,
) -> Result<Instance, Vec<Refusal>> {
    if is_under_way(instance) {
        return if shape::is_same_wish(&instance.spec, &spec) {
            let mut same = instance.clone();
            same.spec = spec;
            Ok(same)
        } else {
            Err(vec![Refusal::UnderWay(instance.name.clone())])
        };
    }
    let mut refusals = refusal::beforehand(instance, &spec);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let shapes: Vec<(&Service, Shape)> = spec
        .services
        .iter()
        .map(|service| (service, Shape::of(instance, service, view)))
        .collect();
    let changes = shapes.iter().any(|(_, it)| !it.is_empty());
    if changes {
        for (service, shape) in &shapes {
            refusals.extend(refusal::of_shape(instance, view, service, shape));
        }
    }
    let mut layout = instance.layout.clone();
    let mut ids = site.ids.iter().copied();
    for (service, shape) in &shapes {
        refusals.extend(seat(&mut layout, service, shape, site, &mut ids));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    for (_, shape) in &shapes {
        shape::assign_roles(&mut layout, view, shape, site.hosts);
    }
    if shapes.iter().any(|(_, shape)| shape.moves_slots()) {
        layout.owners = intended(&layout, view);
        refusals.extend(memory::short(
            &instance.spec,
            &spec,
            &layout,
            view,
            site.hosts,
        ));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    Ok(Instance {
        spec,
        layout,
        ..instance.clone()
    })
}

/// Seats the newcomers of a service, and marks those that leave.
fn seat(
    layout: &mut Layout,
    service: &Service,
    shape: &Shape,
    site: ScaleSite<'_>,
    ids: &mut impl Iterator<Item = NodeId>,
) -> Vec<Refusal> {
    for name in &shape.leaves {
        if let Some(seat) = layout.seats.get_mut(name) {
            seat.leaves = true;
        }
    }
    let mut refusals = Vec::new();
    for joiner in &shape.joins {
        match seat_of(layout, service, joiner, site, ids) {
            Some(seat) => {
                layout.seats.insert(joiner.name.clone(), seat);
            }
            None => refusals.push(Refusal::NoSeat(joiner.name.clone())),
        }
    }
    refusals
}

fn seat_of(
    layout: &Layout,
    service: &Service,
    joiner: &Joiner,
    site: ScaleSite<'_>,
    ids: &mut impl Iterator<Item = NodeId>,
) -> Option<Seat> {
    let address = *site.addresses.get(&joiner.name)?;
    let (host, node) = match joiner.place {
        Some((shard, role)) => {
            let id = ids.next()?;
            let host = shape::best_host(layout, site.hosts, shard, role)?;
            (host, Some(NodeSeat { id, shard, role }))
        }
        None => {
            let turn = turn_of(service, joiner.name.number().saturating_sub(1));
            (host(site.hosts, turn)?, None)
        }
    };
    Some(Seat {
        host,
        address,
        node,
        leaves: false,
    })
}

/// The slots that each shard is to own by the fewest moves. A shard that leaves is not in it.
fn intended(layout: &Layout, view: &View) -> BTreeMap<ShardIndex, SlotSet> {
    let shares = shares(layout, view, |_| 1);
    let moves = balance(&shares.values().cloned().collect::<Vec<_>>(), None, 0);
    after(layout, &shares, &moves)
}

/// What each shard owns and should own next to others. One that leaves should own nothing.
fn shares(
    layout: &Layout,
    view: &View,
    weight: impl Fn(ShardIndex) -> u32,
) -> BTreeMap<ShardIndex, Share> {
    let owned = shards::owned(layout, view);
    let share = |(shard, slots): (ShardIndex, SlotSet)| {
        let primary = acting(layout, view, shard)?;
        let share = Share {
            member: member(&primary),
            slots,
            weight: if leaves(layout, shard) {
                0
            } else {
                weight(shard)
            },
        };
        Some((shard, share))
    };
    owned.into_iter().filter_map(share).collect()
}

/// Who owns what after these moves: all 16384 slots, by the shards that stay.
fn after(
    layout: &Layout,
    shares: &BTreeMap<ShardIndex, Share>,
    moves: &[model::migration::SlotMove],
) -> BTreeMap<ShardIndex, SlotSet> {
    let mut owners: BTreeMap<ShardIndex, SlotSet> = shares
        .iter()
        .map(|(shard, share)| (*shard, share.slots.clone()))
        .collect();
    let shard_of: BTreeMap<NodeId, ShardIndex> = shares
        .iter()
        .map(|(shard, share)| (share.member.id, *shard))
        .collect();
    for each in moves {
        if let Some(slots) = shard_of
            .get(&each.source.id)
            .and_then(|it| owners.get_mut(it))
        {
            *slots = slots.difference(&each.slots);
        }
        if let Some(slots) = shard_of
            .get(&each.target.id)
            .and_then(|it| owners.get_mut(it))
        {
            *slots = slots.union(&each.slots);
        }
    }
    owners.retain(|shard, _| !leaves(layout, *shard));
    owners
}

/// Whether every node of a shard leaves.
pub(crate) fn leaves(layout: &Layout, shard: ShardIndex) -> bool {
    let nodes = layout.shard(shard);
    nodes.iter().all(|(_, seat, _)| seat.leaves)
}

/// The instance once a change has come about: those that left have no seat any more, and whoever
/// owns a slot owns it rightly. `None` where there is nothing to tidy away.
///
/// A seat goes only when its workload does not run and no node that answers knows it.
#[must_use]
pub fn settled(instance: &Instance, view: &View) -> Option<Instance> {
    if !is_under_way(instance) {
        return None;
    }
    let mut settled = instance.clone();
    let layout = &instance.layout;
    settled
        .layout
        .seats
        .retain(|name, seat| !(seat.leaves && is_gone(view, name, seat)));
    let owned = shards::owned(layout, view);
    let is_reached = |(shard, slots): (&ShardIndex, &SlotSet)| owned.get(shard) == Some(slots);
    if layout.owners.iter().all(is_reached) {
        settled.layout.owners.clear();
    }
    // Whoever asks has found nothing left to do, the jobs of hooks included.
    if settled.layout.seats.values().all(|seat| !seat.leaves) {
        settled.change = None;
    }
    (settled != *instance).then_some(settled)
}

fn is_gone(view: &View, name: &WorkloadName, seat: &Seat) -> bool {
    let is_known = match seat.node {
        Some(node) => {
            let mut clusters = view.nodes.values().filter_map(|node| node.cluster());
            clusters.any(|cluster| cluster.peer(node.id).is_some())
        }
        None => shards::known_at(view, seat.address).is_some(),
    };
    !shards::is_running(view, name) && !is_known
}

/// The role with which a node of this copy begins.
const fn role(is_first: bool) -> PlannedRole {
    if is_first {
        PlannedRole::Primary
    } else {
        PlannedRole::Replica
    }
}
