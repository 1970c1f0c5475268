//! Slots: the 16384 pieces into which a cluster cuts its keys, and sets of them.
//!
//! Which shard owns a slot is decided elsewhere; here is only what a slot is and how a key maps to
//! one (Redis Cluster specification, "Key distribution model").

use std::fmt;

/// The number of slots of every Redis or Valkey cluster (Redis Cluster specification).
pub const SLOT_COUNT: u16 = 16384;

/// One of the 16384 slots, 0 to 16383.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// The slot of this number, or `None` from 16384 on.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key where it has none.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOT_COUNT)
    }

    /// The number, 0 to 16383.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What is hashed of a key: the text between its first `{` and the next `}`, unless that is empty.
fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let after = &key[open + 1..];
    match after.iter().position(|&byte| byte == b'}') {
        Some(length) if length > 0 => &after[..length],
        Some(_) | None => key,
    }
}

/// CRC16 with polynomial 0x1021 and start value 0 (Redis Cluster specification, appendix A).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

/// Slots that follow one another, both ends included. Never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotRange {
    first: Slot,
    last: Slot,
}

impl SlotRange {
    /// The slots from `first` to `last`, or `None` where `last` comes before `first`.
    #[must_use]
    pub fn new(first: Slot, last: Slot) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest slot.
    #[must_use]
    pub const fn first(self) -> Slot {
        self.first
    }

    /// The highest slot.
    #[must_use]
    pub const fn last(self) -> Slot {
        self.last
    }

    /// How many slots these are, 1 to 16384.
    #[must_use]
    pub const fn len(self) -> u16 {
        self.last.0 - self.first.0 + 1
    }

    /// Never: a range holds at least one slot.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }
}

impl SlotRange {
    /// Reads what `Display` writes; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let slot = |text: &str| Slot::new(text.parse().ok()?);
        match text.split_once('-') {
            Some((first, last)) => Self::new(slot(first)?, slot(last)?),
            None => slot(text).and_then(|it| Self::new(it, it)),
        }
    }
}

/// Written as the servers write it: `5461-10922`, or `5461` for one slot.
impl fmt::Display for SlotRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(out, "{}", self.first.0)
        } else {
            write!(out, "{}-{}", self.first.0, self.last.0)
        }
    }
}

const WORDS: usize = SLOT_COUNT as usize / 64;

/// Any set of slots. Two KiB whatever it holds, so that a set of a thousand nodes costs two MiB.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotSet(Box<[u64; WORDS]>);

impl SlotSet {
    /// No slot.
    #[must_use]
    pub fn empty() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Reads ranges with commas between them, or `-` for none, as `Display` writes them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "-" {
            return Some(Self::empty());
        }
        let ranges: Option<Vec<SlotRange>> = text.split(',').map(SlotRange::parse).collect();
        ranges.map(|ranges| Self::of(&ranges))
    }

    /// All 16384 slots.
    #[must_use]
    pub fn all() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    /// The slots of these ranges.
    #[must_use]
    pub fn of(ranges: &[SlotRange]) -> Self {
        let mut set = Self::empty();
        for range in ranges {
            set.insert_range(*range);
        }
        set
    }

    /// Adds one slot.
    pub fn insert(&mut self, slot: Slot) {
        self.0[usize::from(slot.0 / 64)] |= 1 << (slot.0 % 64);
    }

    /// Adds the slots of a range.
    pub fn insert_range(&mut self, range: SlotRange) {
        let (first, last) = (range.first.0, range.last.0);
        for index in first / 64..=last / 64 {
            let lowest = first.max(index * 64) % 64;
            let highest = last.min(index * 64 + 63) % 64;
            let bits = (u64::MAX << lowest) & (u64::MAX >> (63 - highest));
            self.0[usize::from(index)] |= bits;
        }
    }

    /// Takes out one slot.
    pub fn remove(&mut self, slot: Slot) {
        self.0[usize::from(slot.0 / 64)] &= !(1 << (slot.0 % 64));
    }

    /// Whether the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[usize::from(slot.0 / 64)] & (1 << (slot.0 % 64)) != 0
    }

    /// How many slots are in the set, 0 to 16384.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no slot is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// The slots of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, |left, right| left | right)
    }

    /// The slots of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |left, right| left & right)
    }

    /// Whether the two have no slot in common.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        let mut words = self.0.iter().zip(other.0.iter());
        words.all(|(left, right)| left & right == 0)
    }

    /// The slots of this set that the other lacks.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |left, right| left & !right)
    }

    fn combine(&self, other: &Self, word: impl Fn(u64, u64) -> u64) -> Self {
        let mut set = Self::empty();
        for (index, out) in set.0.iter_mut().enumerate() {
            *out = word(self.0[index], other.0[index]);
        }
        set
    }

    /// The slots, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let lowest_taken_out = |word: &u64| Some(word & (word - 1)).filter(|rest| *rest != 0);
        (0..).zip(self.0.iter()).flat_map(move |(index, word)| {
            let rests = std::iter::successors(Some(*word).filter(|it| *it != 0), lowest_taken_out);
            rests.map(move |rest| {
                // Below 64, so it fits.
                let bit = u16::try_from(rest.trailing_zeros()).unwrap_or(0);
                Slot(index * 64 + bit)
            })
        })
    }

    /// The fewest ranges that hold these slots, lowest first.
    #[must_use]
    pub fn ranges(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for (index, word) in (0..).zip(self.0.iter()) {
            let mut word = *word;
            while word != 0 {
                let lowest = word.trailing_zeros();
                let count = (word >> lowest).trailing_ones();
                // Both are 64 at most, so they fit.
                let first = index * 64 + u16::try_from(lowest).unwrap_or(0);
                let last = first + u16::try_from(count - 1).unwrap_or(0);
                match ranges.last_mut() {
                    Some(range) if range.last.0 + 1 == first => range.last = Slot(last),
                    Some(_) | None => ranges.push(SlotRange {
                        first: Slot(first),
                        last: Slot(last),
                    }),
                }
                word &= !((u64::MAX >> (64 - count)) << lowest);
            }
        }
        ranges
    }
}

/// Ranges with a comma between them, `-` where there is none.
impl fmt::Display for SlotSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.ranges().iter().map(ToString::to_string).collect();
        if ranges.is_empty() {
            out.write_str("-")
        } else {
            out.write_str(&ranges.join(","))
        }
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SlotSet({self})")
    }
}

/// Cuts all slots into `shards` ranges that differ by one slot at most, lowest first, at the same
/// places as `redis-cli --cluster create`: 0-5460, 5461-10922, 10923-16383 for three.
///
/// Empty for 0 shards and for more shards than there are slots: neither can be served.
#[must_use]
pub fn even_split(shards: u16) -> Vec<SlotRange> {
    if shards == 0 || shards > SLOT_COUNT {
        return Vec::new();
    }
    let cut = |index: u16| {
        // Rounded to the nearest. At most 2 × 16384 × 16384, which needs 29 bits; the quotient is a
        // slot number again.
        let (shards, slots) = (u32::from(shards), u32::from(SLOT_COUNT));
        let nearest = (2 * u32::from(index) * slots + shards) / (2 * shards);
        u16::try_from(nearest).unwrap_or(SLOT_COUNT)
    };
    (0..shards)
        .map(|index| SlotRange {
            first: Slot(cut(index)),
            last: Slot(cut(index + 1) - 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_map_to_the_slots_that_the_servers_give() {
        // Answers of CLUSTER KEYSLOT, redis 7.0.15.
        let known: [(&[u8], u16); 8] = [
            (b"", 0),
            (b"123456789", 12739),
            (b"foo", 12182),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
        ];
        for (key, slot) in known {
            assert_eq!(Slot::of_key(key).number(), slot, "{key:?}");
        }
    }

    #[test]
    fn a_slot_beyond_the_last_cannot_be_made() {
        assert_eq!(Slot::new(16383).map(Slot::number), Some(16383));
        assert_eq!(Slot::new(16384), None);
    }

    #[test]
    fn a_set_is_written_as_its_ranges() {
        let mut set = SlotSet::of(&even_split(3)[..1]);
        assert_eq!(set.to_string(), "0-5460");
        set.remove(Slot(7));
        set.insert(Slot(9000));
        assert_eq!(set.to_string(), "0-6,8-5460,9000");
        assert_eq!(SlotSet::empty().to_string(), "-");
        assert_eq!(SlotSet::all().to_string(), "0-16383");
        for text in ["0-6,8-5460,9000", "-", "0-16383"] {
            let read = SlotSet::parse(text).map(|it| it.to_string());
            assert_eq!(read.as_deref(), Some(text));
        }
        for text in ["", "7-3", "16384", "1,,2", "x"] {
            assert_eq!(SlotSet::parse(text), None, "{text}");
        }
    }

    #[test]
    fn three_shards_get_the_ranges_that_people_know() {
        let ranges: Vec<String> = even_split(3).iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["0-5460", "5461-10922", "10923-16383"]);
    }

    #[test]
    fn no_shards_and_too_many_shards_get_no_slots() {
        assert!(even_split(0).is_empty());
        assert!(even_split(16385).is_empty());
        assert_eq!(even_split(16384).len(), 16384);
    }

    proptest! {
        #[test]
        fn an_even_split_serves_each_slot_once_and_differs_by_one(shards in 1_u16..=16384) {
            let ranges = even_split(shards);
            prop_assert_eq!(ranges.len(), usize::from(shards));
            let mut next = 0;
            for range in &ranges {
                prop_assert_eq!(range.first().number(), next);
                next = range.last().number() + 1;
            }
            prop_assert_eq!(next, SLOT_COUNT);
            let sizes = ranges.iter().map(|range| range.len());
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }

        #[test]
        fn a_set_is_the_sum_of_its_ranges(
            numbers in proptest::collection::btree_set(0_u16..16384, 0..300)
        ) {
            let mut set = SlotSet::empty();
            for number in &numbers {
                set.insert(Slot(*number));
            }
            prop_assert_eq!(set.len(), numbers.len());
            prop_assert_eq!(&SlotSet::of(&set.ranges()), &set);
            prop_assert_eq!(SlotSet::all().difference(&set).len(), 16384 - numbers.len());
        }
    }
}
