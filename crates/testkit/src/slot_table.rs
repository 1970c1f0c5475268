//! Who owns which slots, as one node has it: each slot has one owner at most.
//!
//! Sets are shared and compared as a whole, because every message carries one and most say what
//! is known already. What a list of slots looks like is worked out once for each set.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use model::ids::NodeId;
use model::slots::{Slot, SlotRange, SlotSet};

/// A set of slots that is cheap to hand on.
#[derive(Clone, Debug)]
pub(crate) struct SharedSlots(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    set: SlotSet,
    ranges: OnceLock<Vec<SlotRange>>,
}

impl SharedSlots {
    pub(crate) fn new(set: SlotSet) -> Self {
        Self(Arc::new(Contents {
            set,
            ranges: OnceLock::new(),
        }))
    }

    pub(crate) fn none() -> Self {
        static NONE: OnceLock<SharedSlots> = OnceLock::new();
        NONE.get_or_init(|| Self::new(SlotSet::empty())).clone()
    }

    pub(crate) fn set(&self) -> &SlotSet {
        &self.0.set
    }

    pub(crate) fn ranges(&self) -> &[SlotRange] {
        self.0.ranges.get_or_init(|| self.0.set.ranges())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.set.is_empty()
    }
}

impl PartialEq for SharedSlots {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.set == other.0.set
    }
}

impl Eq for SharedSlots {}

/// The owners of slots. A node that owns none is not in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SlotTable(BTreeMap<NodeId, SharedSlots>);

impl SlotTable {
    /// The slots of a node.
    pub(crate) fn of(&self, node: NodeId) -> SharedSlots {
        self.0.get(&node).cloned().unwrap_or_else(SharedSlots::none)
    }

    pub(crate) fn owns_any(&self, node: NodeId) -> bool {
        self.0.contains_key(&node)
    }

    pub(crate) fn owner(&self, slot: Slot) -> Option<NodeId> {
        let mut owners = self.0.iter();
        owners.find_map(|(node, slots)| slots.set().contains(slot).then_some(*node))
    }

    /// Every owner with its slots.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (NodeId, &SharedSlots)> {
        self.0.iter().map(|(node, slots)| (*node, slots))
    }

    /// The slots that have an owner.
    pub(crate) fn assigned(&self) -> SlotSet {
        let sets = self.0.values();
        sets.fold(SlotSet::empty(), |all, slots| all.union(slots.set()))
    }

    /// Gives slots to a node, whoever had them before.
    pub(crate) fn assign(&mut self, node: NodeId, slots: &SlotSet) {
        for (owner, owned) in &mut self.0 {
            if *owner != node && !owned.set().intersection(slots).is_empty() {
                *owned = SharedSlots::new(owned.set().difference(slots));
            }
        }
        let own = self.of(node).set().union(slots);
        self.0.insert(node, SharedSlots::new(own));
        self.0.retain(|_, owned| !owned.is_empty());
    }

    /// Takes all slots from a node.
    pub(crate) fn clear(&mut self, node: NodeId) {
        self.0.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(first: u16, last: u16) -> SlotSet {
        let slot = |number| Slot::new(number).unwrap();
        SlotSet::of(&[SlotRange::new(slot(first), slot(last)).unwrap()])
    }

    #[test]
    fn a_slot_never_has_two_owners() {
        let [a, b] = [1, 2].map(|byte| NodeId::from_bytes([byte; 20]));
        let mut table = SlotTable::default();
        table.assign(a, &set(0, 99));
        table.assign(b, &set(50, 149));
        assert_eq!(table.of(a).set(), &set(0, 49));
        assert_eq!(table.owner(Slot::new(50).unwrap()), Some(b));
        assert_eq!(table.assigned(), set(0, 149));
        table.assign(b, &set(0, 49));
        assert!(!table.owns_any(a) && table.of(a).is_empty());
        table.clear(b);
        assert_eq!(table, SlotTable::default());
    }
}
