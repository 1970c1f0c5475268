//! Weighs keys, and finds those so big that their move blocks both servers.

use futures::future::join_all;
use model::command::{Key, NodeAnswer, NodeCommand};
use model::size::ByteSize;
use model::slots::Slot;
use model::step::Member;

use super::batch::Weighed;
use super::pair::Pair;
use crate::error::StewardError;
use crate::{Ground, talk};

/// The elements of a key that are measured; the others count as much on average. Measuring all of
/// a big key would itself block the server.
const SAMPLES: u32 = 5;

/// The keys that are weighed at once.
const AT_ONCE: usize = 4096;

/// The most keys of one slot that are looked at beforehand: `CLUSTER GETKEYSINSLOT` has no cursor,
/// and an answer of more would itself block the server.
const KEYS_MAX: u32 = 1_000_000;

/// The slots that are looked at at once.
const SLOTS_AT_ONCE: usize = 64;

/// How many big keys a refusal names.
const NAMES_MAX: usize = 10;

/// The sizes of these keys. One that is gone meanwhile is left out.
pub(super) async fn weigh<Group>(
    ground: Ground<'_>,
    node: Member,
    keys: Vec<(Group, Key)>,
) -> Result<Vec<Weighed<Group>>, StewardError> {
    let mut weighed = Vec::with_capacity(keys.len());
    let mut keys = keys.into_iter().peekable();
    while keys.peek().is_some() {
        let chunk: Vec<(Group, Key)> = keys.by_ref().take(AT_ONCE).collect();
        let questions: Vec<NodeCommand> = chunk
            .iter()
            .map(|(_, key)| NodeCommand::SizeOf {
                key: key.clone(),
                samples: SAMPLES,
            })
            .collect();
        let said = talk::all(ground, node, "MEMORY USAGE", &questions).await?;
        for ((group, key), said) in chunk.into_iter().zip(said) {
            match said {
                Ok(NodeAnswer::Number(bytes)) => weighed.push(Weighed { group, key, bytes }),
                Ok(NodeAnswer::Nothing) => {}
                Ok(_) => return Err(talk::odd(node, "MEMORY USAGE")),
                Err(words) => {
                    return Err(StewardError::Refused {
                        node,
                        command: "MEMORY USAGE",
                        words,
                    });
                }
            }
        }
    }
    Ok(weighed)
}

/// Refuses where a key of this size or more would be moved. It looks at every key, before anything
/// is done.
pub(super) async fn refuse(
    ground: Ground<'_>,
    pairs: &[Pair],
    from: ByteSize,
) -> Result<(), StewardError> {
    let looks = pairs.iter().map(|pair| look(ground, pair, from));
    for found in join_all(looks).await {
        found?;
    }
    Ok(())
}

async fn look(ground: Ground<'_>, pair: &Pair, from: ByteSize) -> Result<(), StewardError> {
    let slots: Vec<Slot> = pair.to_move.iter().collect();
    let mut big: Vec<Weighed> = Vec::new();
    for window in slots.chunks(SLOTS_AT_ONCE) {
        let keys = talk::keys_in(ground, pair.source, window, KEYS_MAX).await?;
        let keys = window.iter().copied().zip(keys);
        let keys = keys.flat_map(|(slot, keys)| keys.into_iter().map(move |key| (slot, key)));
        let weighed = weigh(ground, pair.source, keys.collect()).await?;
        big.extend(weighed.into_iter().filter(|it| it.bytes >= from.as_bytes()));
    }
    big.sort_by_key(|it| std::cmp::Reverse(it.bytes));
    let Some(biggest) = big.first() else {
        return Ok(());
    };
    Err(StewardError::BigKeys {
        source_node: pair.source,
        count: big.len() as u64,
        from,
        biggest: ByteSize::bytes(biggest.bytes),
        names: big.iter().take(NAMES_MAX).map(shown).collect(),
    })
}

fn shown(key: &Weighed) -> String {
    format!(
        "{} (slot {}, {})",
        name(&key.key),
        key.group.number(),
        ByteSize::bytes(key.bytes)
    )
}

/// A key as a person can read it.
pub(super) fn name(key: &[u8]) -> String {
    String::from_utf8_lossy(key)
        .chars()
        .take(80)
        .flat_map(char::escape_debug)
        .collect()
}
