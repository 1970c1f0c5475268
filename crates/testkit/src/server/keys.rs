//! The keys of the simulation: numbers here, and bytes for whoever speaks to a server.
//!
//! They lie in a few slots only, several in each, so that a schedule needs no thousands of keys to
//! have slots with more than one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use model::command::Key;
use model::slots::{Slot, SlotSet};

use super::Server;

/// The keys of a server; the value is the number of the write that wrote it.
pub(crate) type Keys = BTreeMap<u32, u64>;

/// How many slots have keys. Keys whose numbers differ by this lie in the same one.
pub(crate) const KEY_SLOTS: u32 = 64;

/// What MEMORY USAGE says of a key of the usual size.
const KEY_BYTES: u64 = 100;

/// What it says of one key in `BIG_ONE_OF`.
const BIG_KEY_BYTES: u64 = 96 << 20;

/// Of so many keys one is big.
const BIG_ONE_OF: u32 = 61;

/// The slot of a key.
pub(crate) fn slot_of(key: u32) -> Slot {
    static SLOTS: OnceLock<Vec<Slot>> = OnceLock::new();
    let slots = SLOTS.get_or_init(|| (0..KEY_SLOTS).map(|tag| Slot::of_key(&name(tag))).collect());
    slots[(key % KEY_SLOTS) as usize]
}

/// The slots that have keys.
pub(crate) fn slots_with_keys() -> &'static SlotSet {
    static SET: OnceLock<SlotSet> = OnceLock::new();
    SET.get_or_init(|| {
        let mut set = SlotSet::empty();
        (0..KEY_SLOTS).for_each(|key| set.insert(slot_of(key)));
        set
    })
}

/// A key as a server knows it: its hash tag decides on its slot.
pub(crate) fn name(key: u32) -> Key {
    format!("{{key:{}}}{}", key % KEY_SLOTS, key / KEY_SLOTS).into_bytes()
}

/// The number of a key; `None` for one that is not of the simulation.
pub(crate) fn number(name: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(name).ok()?;
    let (tag, turn) = text.strip_prefix("{key:")?.split_once('}')?;
    let (tag, turn): (u32, u32) = (tag.parse().ok()?, turn.parse().ok()?);
    (tag < KEY_SLOTS).then_some(turn * KEY_SLOTS + tag)
}

impl Server {
    /// Its keys in a slot, lowest first.
    pub(crate) fn keys_in(&self, slot: Slot) -> impl Iterator<Item = u32> + '_ {
        let has_any = slots_with_keys().contains(slot);
        let keys = self.keys.keys().copied().filter(move |_| has_any);
        keys.filter(move |key| slot_of(*key) == slot)
    }

    /// CLUSTER COUNTKEYSINSLOT.
    pub(crate) fn count_keys(&self, slot: Slot) -> u64 {
        self.keys_in(slot).count() as u64
    }

    /// MEMORY USAGE.
    pub(crate) fn size_of(&self, key: u32) -> Option<u64> {
        let is_big = key % BIG_ONE_OF == BIG_ONE_OF - 1;
        let bytes = if is_big { BIG_KEY_BYTES } else { KEY_BYTES };
        self.keys.contains_key(&key).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_name_and_one_slot_and_several_share_it() {
        for key in [0, 5, 63, 64, 69, 1000] {
            assert_eq!(number(&name(key)), Some(key));
            assert_eq!(slot_of(key), Slot::of_key(&name(key)));
            assert!(slots_with_keys().contains(slot_of(key)));
        }
        assert_eq!(slot_of(5), slot_of(69));
        assert_eq!(slots_with_keys().len(), KEY_SLOTS as usize);
        assert_eq!(number(b"shardyard:probe:{x}"), None);
    }
}
