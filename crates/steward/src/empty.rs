//! The last look before a node goes: it owns nothing and holds nothing.

use model::slots::{SLOT_COUNT, Slot};
use model::step::Member;
use model::view::PeerRole;

use crate::error::StewardError;
use crate::{Ground, talk};

/// The slots that are asked about at once.
const AT_ONCE: usize = 2048;

/// Sees to it that the node may go. A replica may: its keys are its primary's.
pub(crate) async fn ensure(ground: Ground<'_>, node: Member) -> Result<(), StewardError> {
    let cluster = talk::cluster(ground, node).await?;
    let Some(myself) = cluster.myself() else {
        return Err(talk::odd(node, "CLUSTER NODES"));
    };
    let not_empty = |why: String| Err(StewardError::NotEmpty { node, why });
    match myself.role {
        PeerRole::Replica(Some(_)) => return Ok(()),
        PeerRole::Replica(None) => {
            return not_empty("it does not know whose replica it is".to_owned());
        }
        PeerRole::Primary => {}
    }
    if !myself.slots.is_empty() {
        let slots: u32 = myself
            .slots
            .iter()
            .map(|range| u32::from(range.len()))
            .sum();
        return not_empty(format!("it owns {slots} slots"));
    }
    if !myself.open_slots.is_empty() {
        return not_empty("it has open slots".to_owned());
    }
    let slots: Vec<Slot> = (0..SLOT_COUNT).filter_map(Slot::new).collect();
    let mut keys = 0_u64;
    for chunk in slots.chunks(AT_ONCE) {
        let counts = talk::key_counts(ground, node, chunk).await?;
        keys = counts.into_iter().fold(keys, u64::saturating_add);
    }
    if keys > 0 {
        return not_empty(format!("it holds {keys} keys"));
    }
    Ok(())
}
