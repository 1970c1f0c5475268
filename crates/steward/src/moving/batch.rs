//! Cuts keys into batches, by bytes first. Pure.
//!
//! A `MIGRATE` blocks both servers for as long as its keys take, and that is a matter of bytes
//! and elements, not of how many keys there are.

use model::command::Key;
use model::slots::Slot;

/// Keys that go with one `MIGRATE`. A node of a cluster gives keys of one slot only; a server
/// outside of one gives any that have the same target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Batch<Group = Slot> {
    pub(super) group: Group,
    pub(super) keys: Vec<Key>,
    pub(super) bytes: u64,
    /// Whether it is one key that counts as big.
    pub(super) is_big: bool,
}

/// A key and the memory that it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Weighed<Group = Slot> {
    pub(super) group: Group,
    pub(super) key: Key,
    pub(super) bytes: u64,
}

/// How batches are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cut {
    /// A batch ends before it has more bytes than this, but for one key.
    pub(super) bytes_max: u64,
    /// A batch has no more keys than this.
    pub(super) keys_max: usize,
    /// From this size on a key goes alone.
    pub(super) big_from: u64,
}

/// The batches, in the order of the keys; big keys come last.
pub(super) fn batches<Group: Copy + Eq>(keys: Vec<Weighed<Group>>, cut: Cut) -> Vec<Batch<Group>> {
    let mut batches: Vec<Batch<Group>> = Vec::new();
    let mut big = Vec::new();
    for Weighed { group, key, bytes } in keys {
        let is_big = bytes >= cut.big_from;
        let alone = Batch {
            group,
            keys: vec![key],
            bytes,
            is_big,
        };
        if is_big {
            big.push(alone);
            continue;
        }
        match batches.last_mut() {
            Some(last)
                if last.group == group
                    && last.keys.len() < cut.keys_max
                    && last.bytes.saturating_add(bytes) <= cut.bytes_max =>
            {
                last.keys.extend(alone.keys);
                last.bytes += bytes;
            }
            Some(_) | None => batches.push(alone),
        }
    }
    batches.extend(big);
    batches
}

/// Cuts off the first batches that have no more than these bytes together; at least one. A big one
/// goes alone.
pub(super) fn round<Group>(batches: &mut Vec<Batch<Group>>, bytes_max: u64) -> Vec<Batch<Group>> {
    let mut sum = 0_u64;
    let mut count = 0;
    for batch in batches.iter() {
        sum = sum.saturating_add(batch.bytes);
        if count > 0 && (sum > bytes_max || batch.is_big) {
            break;
        }
        count += 1;
        if batch.is_big {
            break;
        }
    }
    batches.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(slot: u16, key: &str, bytes: u64) -> Weighed {
        Weighed {
            group: Slot::new(slot).unwrap(),
            key: key.as_bytes().to_vec(),
            bytes,
        }
    }

    const CUT: Cut = Cut {
        bytes_max: 100,
        keys_max: 3,
        big_from: 1000,
    };

    fn shown(batches: &[Batch]) -> Vec<String> {
        let shown = batches.iter().map(|batch| {
            let keys: Vec<_> = batch
                .keys
                .iter()
                .map(|it| String::from_utf8_lossy(it))
                .collect();
            format!("{}:{}:{}", batch.group.number(), keys.join(""), batch.bytes)
        });
        shown.collect()
    }

    #[test]
    fn a_batch_ends_with_its_slot_its_bytes_and_its_keys() {
        let keys = vec![
            weighed(1, "a", 60),
            weighed(1, "b", 40),
            weighed(1, "c", 1),
            weighed(1, "d", 1),
            weighed(1, "e", 1),
            weighed(1, "f", 1),
            weighed(2, "g", 1),
        ];
        assert_eq!(
            shown(&batches(keys, CUT)),
            ["1:ab:100", "1:cde:3", "1:f:1", "2:g:1"]
        );
    }

    #[test]
    fn a_big_key_goes_alone_and_last() {
        let keys = vec![
            weighed(1, "a", 1),
            weighed(1, "B", 5000),
            weighed(1, "c", 1),
            weighed(1, "d", 999),
        ];
        let mut cut = batches(keys, CUT);
        assert_eq!(shown(&cut), ["1:ac:2", "1:d:999", "1:B:5000"]);
        assert_eq!(shown(&round(&mut cut, u64::MAX)), ["1:ac:2", "1:d:999"]);
        assert_eq!(shown(&round(&mut cut, 1)), ["1:B:5000"]);
        assert!(cut.is_empty());
    }

    #[test]
    fn a_round_has_at_least_one_batch() {
        let mut cut = batches(vec![weighed(1, "a", 90), weighed(2, "b", 90)], CUT);
        assert_eq!(shown(&round(&mut cut, 1)), ["1:a:90"]);
        assert_eq!(shown(&round(&mut cut, 1000)), ["2:b:90"]);
        assert!(round(&mut cut, 1000).is_empty());
    }
}
