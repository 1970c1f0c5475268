//! Who owns which slots, as one node has it: each slot has one owner at most.
//!
//! Sets are shared and compared as a whole, because every message carries one and most say what
//! is known already. What a list of slots looks like is worked out once for each set.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use model::ids::NodeId;
use model::slots::{SLOT_COUNT, Slot, SlotRange, SlotSet};

/// A set of slots that is cheap to hand on.
#[derive(Clone, Debug)]
pub(crate) struct SharedSlots(Arc<Contents>);

#[derive(Clone, Debug)]
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

    /// Changes the set; whoever shares it keeps it as it was.
    fn change(&mut self, change: impl FnOnce(&mut SlotSet)) {
        let contents = Arc::make_mut(&mut self.0);
        contents.ranges = OnceLock::new();
        change(&mut contents.set);
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
#[derive(Clone, Debug)]
pub(crate) struct SlotTable {
    owners: BTreeMap<NodeId, SharedSlots>,
    /// The slots that have an owner.
    assigned: SlotSet,
    /// Of these the ones that their owner does not claim any more, as was heard from it: whoever
    /// else claims one gets it, by whatever epoch (`owner_not_claiming_slot`).
    unclaimed: SlotSet,
    /// How many these are.
    count: usize,
}

impl Default for SlotTable {
    fn default() -> Self {
        Self {
            owners: BTreeMap::new(),
            assigned: SlotSet::empty(),
            unclaimed: SlotSet::empty(),
            count: 0,
        }
    }
}

/// Two nodes agree where each slot has the same owner.
impl PartialEq for SlotTable {
    fn eq(&self, other: &Self) -> bool {
        self.owners == other.owners
    }
}

impl Eq for SlotTable {}

impl SlotTable {
    /// The slots of a node.
    pub(crate) fn of(&self, node: NodeId) -> SharedSlots {
        self.owners
            .get(&node)
            .cloned()
            .unwrap_or_else(SharedSlots::none)
    }

    /// Whether a node owns just these. From then on both share one set, so that the next comparison
    /// costs nothing.
    pub(crate) fn owns_just(&mut self, node: NodeId, slots: &SharedSlots) -> bool {
        match self.owners.get_mut(&node) {
            Some(owned) if owned == slots => {
                owned.clone_from(slots);
                true
            }
            Some(_) => false,
            None => slots.is_empty(),
        }
    }

    /// Whether a node owns any.
    pub(crate) fn owns_any(&self, node: NodeId) -> bool {
        self.owners.contains_key(&node)
    }

    /// The owner of a slot.
    pub(crate) fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.owners
            .iter()
            .find_map(|(node, slots)| slots.set().contains(slot).then_some(*node))
    }

    /// Every owner with its slots.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (NodeId, &SharedSlots)> {
        self.owners.iter().map(|(node, slots)| (*node, slots))
    }

    /// The slots that have an owner.
    pub(crate) const fn assigned(&self) -> &SlotSet {
        &self.assigned
    }

    /// The slots that their owner does not claim any more.
    pub(crate) const fn unclaimed(&self) -> &SlotSet {
        &self.unclaimed
    }

    /// An owner says what it claims; what it has beside that, it gives to whoever wants it.
    pub(crate) fn note_claim(&mut self, owner: NodeId, claimed: &SlotSet) {
        let owned = self.of(owner);
        let given_up = owned.set().difference(claimed);
        if !given_up.is_empty() || !self.unclaimed.is_empty() {
            self.unclaimed = self.unclaimed.difference(owned.set()).union(&given_up);
        }
    }

    /// Whether each slot has one.
    pub(crate) const fn is_full(&self) -> bool {
        self.count == SLOT_COUNT as usize
    }

    /// Gives slots to a node, whoever had them before.
    pub(crate) fn assign(&mut self, node: NodeId, slots: &SlotSet) {
        for (owner, owned) in &mut self.owners {
            if *owner != node && !owned.set().is_disjoint(slots) {
                *owned = SharedSlots::new(owned.set().difference(slots));
            }
        }
        let own = self.of(node).set().union(slots);
        self.owners.insert(node, SharedSlots::new(own));
        self.owners.retain(|_, owned| !owned.is_empty());
        self.unclaimed = self.unclaimed.difference(slots);
        self.assigned = self.assigned.union(slots);
        self.count = self.assigned.len();
    }

    /// Gives one slot to a node, whoever had it before.
    pub(crate) fn assign_one(&mut self, node: NodeId, slot: Slot) {
        let before = self.owner(slot);
        if before == Some(node) {
            return;
        }
        if let Some(owned) = before.and_then(|owner| self.owners.get_mut(&owner)) {
            owned.change(|set| set.remove(slot));
        }
        let own = self.owners.entry(node).or_insert_with(SharedSlots::none);
        own.change(|set| set.insert(slot));
        if let Some(before) = before
            && self.owners.get(&before).is_some_and(SharedSlots::is_empty)
        {
            self.owners.remove(&before);
        }
        self.unclaimed.remove(slot);
        if before.is_none() {
            self.assigned.insert(slot);
            self.count += 1;
        }
    }

    /// Takes all slots from a node.
    pub(crate) fn clear(&mut self, node: NodeId) {
        if let Some(slots) = self.owners.remove(&node) {
            self.assigned = self.assigned.difference(slots.set());
            self.unclaimed = self.unclaimed.difference(slots.set());
            self.count = self.assigned.len();
        }
    }

    /// Takes slots from whoever has them.
    pub(crate) fn unassign(&mut self, slots: &SlotSet) {
        for owned in self.owners.values_mut() {
            if !owned.set().is_disjoint(slots) {
                *owned = SharedSlots::new(owned.set().difference(slots));
            }
        }
        self.owners.retain(|_, owned| !owned.is_empty());
        self.assigned = self.assigned.difference(slots);
        self.unclaimed = self.unclaimed.difference(slots);
        self.count = self.assigned.len();
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
        assert_eq!(table.assigned(), &set(0, 149));
        table.assign(b, &set(0, 49));
        assert!(!table.owns_any(a) && table.of(a).is_empty());
        let last = Slot::new(149).unwrap();
        table.assign_one(a, last);
        assert_eq!((table.owner(last), table.of(a).set().len()), (Some(a), 1));
        table.unassign(&set(149, 149));
        assert!(!table.owns_any(a) && table.assigned() == &set(0, 148));
        table.clear(b);
        assert_eq!(table, SlotTable::default());
    }

    /// A replica that was told of a claim too late went on believing the owner before for ever.
    #[test]
    fn a_slot_that_its_owner_claims_no_more_is_free_for_whoever_does() {
        let [a, b] = [1, 2].map(|byte| NodeId::from_bytes([byte; 20]));
        let mut table = SlotTable::default();
        table.assign(a, &set(0, 99));
        table.note_claim(a, &set(0, 49));
        assert_eq!(table.unclaimed(), &set(50, 99));
        assert_eq!(table.owner(Slot::new(50).unwrap()), Some(a));
        // Another word of the owner takes it back, and a new owner settles it.
        table.note_claim(a, &set(0, 59));
        assert_eq!(table.unclaimed(), &set(60, 99));
        table.assign(b, &set(60, 89));
        assert_eq!(table.unclaimed(), &set(90, 99));
        table.clear(a);
        assert!(table.unclaimed().is_empty());
    }
}
