//! Asks every slot for a write, as a client would, without leaving a trace.
//!
//! `SETRANGE key 0 ""` is a write to the server, refused like any other one (not the owner, cluster
//! down, too few replicas, disk full, memory full), and yet changes nothing: neither a key that is
//! there nor one that is not (`setrangeCommand`, t_string.c).

use std::fmt;
use std::sync::OnceLock;

use futures::future::join_all;
use model::fault::{Class, Code, Explain, Fault};
use model::slots::{SLOT_COUNT, Slot, SlotSet};
use model::step::Member;

use crate::Session;
use crate::connection::{NodeError, NodeErrorKind};

/// How many slots one round trip asks for: small enough that a busy server's other clients do not
/// notice (a thousand of these take it under 2 ms).
const SLOTS_AT_ONCE: usize = 1024;

/// A slot that takes no write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unserved {
    slot: u16,
    node: Member,
    answer: String,
}

impl fmt::Display for Unserved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "slot {} takes no write at {}: {}",
            self.slot, self.node, self.answer
        )
    }
}

impl std::error::Error for Unserved {}

impl Explain for Unserved {
    fn code(&self) -> Code {
        Code("SY2017")
    }

    fn class(&self) -> Class {
        Class::NotConverged
    }

    fn help(&self) -> Option<String> {
        Some(format!(
            "shardyard trib check {}   shows the state of the cluster",
            self.node.address
        ))
    }
}

/// Asks each slot of each primary.
pub(crate) async fn all(
    session: Session<'_>,
    primaries: &[(Member, SlotSet)],
) -> Result<(), Fault> {
    let probes = primaries
        .iter()
        .map(|(node, slots)| one(session, *node, slots));
    join_all(probes).await.into_iter().collect()
}

async fn one(session: Session<'_>, node: Member, slots: &SlotSet) -> Result<(), Fault> {
    let mut connection = session.to(node.address).await?;
    let slots: Vec<Slot> = slots.iter().collect();
    for part in slots.chunks(SLOTS_AT_ONCE) {
        let mut pipeline = redis::Pipeline::with_capacity(part.len());
        for slot in part {
            let mut command = redis::cmd("SETRANGE");
            command.arg(&key_of(*slot)[..]).arg(0).arg("");
            pipeline.add_command(command);
        }
        let replies = connection.ask_pipeline(&pipeline, "SETRANGE").await?;
        for (slot, reply) in part.iter().zip(replies) {
            if let Some(answer) = reply.err().and_then(refusal) {
                return Err(Unserved {
                    slot: slot.number(),
                    node,
                    answer,
                }
                .into());
            }
        }
    }
    Ok(())
}

/// What a refusal says; `None` where somebody keeps a list or a hash under the key, which proves
/// that the slot is served all the same.
fn refusal(error: NodeError) -> Option<String> {
    match error.kind {
        NodeErrorKind::Answered { error, .. } if error.starts_with("WRONGTYPE") => None,
        NodeErrorKind::Answered { error, .. } => Some(error),
        NodeErrorKind::Unreachable(_)
        | NodeErrorKind::TimedOut
        | NodeErrorKind::NotAllowed(_)
        | NodeErrorKind::Loading
        | NodeErrorKind::Unexpected { .. } => Some(error.to_string()),
    }
}

/// A key of two bytes in this slot.
fn key_of(slot: Slot) -> [u8; 2] {
    static KEYS: OnceLock<Vec<[u8; 2]>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        // CRC16 maps the keys of two bytes one to one to 16 bits, so that each slot has four of
        // them, and a hash tag needs three bytes.
        let mut keys = vec![[0; 2]; usize::from(SLOT_COUNT)];
        for number in 0..=u16::MAX {
            let key = number.to_be_bytes();
            keys[usize::from(Slot::of_key(&key).number())] = key;
        }
        keys
    });
    keys[usize::from(slot.number())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_a_key_of_its_own() {
        for slot in SlotSet::all().iter() {
            assert_eq!(Slot::of_key(&key_of(slot)), slot);
        }
    }
}
