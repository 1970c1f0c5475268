//! Ends a change where it is: what has come about stays, and what has not is no longer wanted.

use std::collections::BTreeMap;

use model::ids::{ShardIndex, WorkloadName};
use model::instance::{Instance, Layout, Seat};
use model::view::View;

use super::is_gone;
use crate::shards::{is_under_way, owned};

/// The instance without the rest of its change. A shard that owns slots stays with all its nodes
/// that are still there, a newcomer that owns none leaves, and whoever owns a slot owns it rightly.
/// A slot that is half-way goes on to where it was going.
///
/// The numbers of the spec are those of what stays. Who calls this has to bring the variables, from
/// which the next spec is made, into line with them.
#[must_use]
pub fn cancelled(instance: &Instance, view: &View) -> Instance {
    let mut kept = instance.clone();
    if !is_under_way(instance) {
        return kept;
    }
    kept.layout.owners.clear();
    kept.change = None;
    let owned = owned(&instance.layout, view);
    let owns = |shard: ShardIndex| owned.get(&shard).is_some_and(|slots| !slots.is_empty());
    for (name, seat) in &mut kept.layout.seats {
        let is_empty = seat.node.is_some_and(|node| !owns(node.shard));
        seat.leaves = is_empty || (seat.leaves && is_gone(view, name, seat));
    }
    for service in &mut kept.spec.services {
        let staying = kept
            .layout
            .seats
            .iter()
            .filter(|(name, seat)| *name.service() == service.name && !seat.leaves);
        let staying: Vec<(&WorkloadName, &Seat)> = staying.collect();
        service.count = u32::try_from(staying.len()).unwrap_or(u32::MAX);
        if let Some(part) = &mut service.cluster {
            let copies = copies(&staying);
            part.shards = u16::try_from(copies.len()).unwrap_or(u16::MAX);
            let most = copies.values().max().map_or(0, |most| most - 1);
            part.replicas = u16::try_from(most).unwrap_or(u16::MAX);
        }
    }
    headed(&mut kept.layout);
    kept
}

fn copies(staying: &[(&WorkloadName, &Seat)]) -> BTreeMap<ShardIndex, usize> {
    let mut copies: BTreeMap<ShardIndex, usize> = BTreeMap::new();
    for node in staying.iter().filter_map(|(_, seat)| seat.node) {
        *copies.entry(node.shard).or_default() += 1;
    }
    copies
}

/// Each shard that stays has one planned primary, where it has one that stays.
fn headed(layout: &mut Layout) {
    for shard in layout.shards() {
        let heir = layout
            .shard(shard)
            .iter()
            .find(|(_, seat, _)| !seat.leaves)
            .map(|(name, _, _)| (*name).clone());
        if let Some(heir) = heir {
            super::shape::make_primary(layout, shard, &heir);
        }
    }
}
