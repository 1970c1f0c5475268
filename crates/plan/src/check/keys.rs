//! Finds keys where no client looks for them. It needs a census: how many keys of which slot each
//! primary holds.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::finding::{Finding, Severity};
use model::ids::NodeId;
use model::slots::SlotSet;
use model::step::Member;
use model::view::{ClusterView, PeerRole};

use super::finding;
use crate::fix::Held;

/// The primaries that hold keys of slots which they neither own nor have open.
#[must_use]
pub fn in_slots_of_others(nodes: &[NodeAddress], view: &ClusterView, held: &Held) -> Vec<Finding> {
    let mut expected: BTreeMap<NodeId, (Member, SlotSet)> = BTreeMap::new();
    for address in nodes {
        let cluster = view.get(address).and_then(|node| node.cluster());
        let myself = cluster.and_then(|it| it.myself());
        // What a replica holds its primary does.
        if let Some(myself) = myself.filter(|it| it.role == PeerRole::Primary) {
            let mut slots = SlotSet::of(&myself.slots);
            for open in &myself.open_slots {
                slots.insert(open.slot);
            }
            let (id, address) = (myself.id, *address);
            expected.insert(id, (Member { id, address }, slots));
        }
    }
    let mut stray: BTreeMap<Member, (SlotSet, u64)> = BTreeMap::new();
    for ((id, slot), keys) in held.iter().filter(|(_, keys)| **keys > 0) {
        if let Some((member, slots)) = expected.get(id)
            && !slots.contains(*slot)
        {
            let found = stray.entry(*member);
            let (slots, sum) = found.or_insert_with(|| (SlotSet::empty(), 0));
            slots.insert(*slot);
            *sum = sum.saturating_add(*keys);
        }
    }
    stray
        .into_iter()
        .map(|(member, (slots, keys))| {
            let message = format!("it holds {keys} keys of slots {slots}, which it does not own");
            let help = format!("shardyard trib fix {} --dry-run", member.address);
            Finding {
                help: Some(help),
                ..finding("SY2221", Severity::Critical, member, message)
            }
        })
        .collect()
}
