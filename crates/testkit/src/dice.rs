//! Chance that can be repeated: the same seed gives the same throws.

use std::time::Duration;

use model::ids::NodeId;

/// Throws numbers. SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators"), which needs no more state than its seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice whose throws follow from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Dice of their own, so that throws here do not shift those there.
    pub const fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` up to and with `most`.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// A time in whole milliseconds, both ends included.
    pub const fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// Yes in so many of a hundred throws.
    pub const fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    /// One of these; `None` where there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let last = u64::try_from(items.len().checked_sub(1)?).unwrap_or(u64::MAX);
        let index = usize::try_from(self.between(0, last)).unwrap_or(0);
        items.get(index)
    }

    /// An id that no other node has.
    pub fn node_id(&mut self) -> NodeId {
        let mut bytes = [0; 20];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes()[..part.len()]);
        }
        NodeId::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_throws_and_another_seed_others() {
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (
                dice.next(),
                dice.node_id(),
                dice.between(3, 7),
                dice.split(),
            )
        };
        assert_eq!(throws(1), throws(1));
        assert_ne!(throws(1), throws(2));
    }

    #[test]
    fn throws_keep_within_their_ends_and_reach_both() {
        let mut dice = Dice::new(7);
        let throws: Vec<u64> = (0..1000).map(|_| dice.between(3, 5)).collect();
        assert_eq!(throws.iter().min(), Some(&3));
        assert_eq!(throws.iter().max(), Some(&5));
        assert_eq!(dice.pick::<u8>(&[]), None);
        assert!(!(0..1000).any(|_| dice.percent(0)) && (0..1000).all(|_| dice.percent(100)));
    }
}
