//! Decides what a backup of a cluster consists of: one part for each primary that owns slots, and
//! from which of its nodes it is taken.
//!
//! A backup that would lack slots is none unless that was agreed to, and one that is taken while
//! slots move could have a key twice or not at all.

use std::fmt;

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::ids::Epoch;
use model::image::ServerVersion;
use model::size::ByteSize;
use model::slots::SlotSet;
use model::step::Member;
use model::view::{NodeReport, NodeView, Replication, ReplicationLink};

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::tend::Seen;

/// How far a replica may be behind to be waited for; one that is further has other troubles.
const LAG_MAX: ByteSize = ByteSize::mib(16);

/// A primary's share of the data.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Part {
    /// The primary.
    pub primary: Member,
    /// Its slots.
    pub slots: SlotSet,
    /// The epoch of its claim on them.
    pub epoch: Epoch,
    /// Its version.
    pub version: ServerVersion,
    /// The replica from which the data is taken, so that the primary need not fork; `None` where
    /// there is none that is in sync.
    pub replica: Option<Member>,
    /// What its data takes in memory.
    pub memory: ByteSize,
}

/// What a backup consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// The parts, by their first slot.
    pub parts: Vec<Part>,
    /// The slots that are in none.
    pub missing: SlotSet,
}

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Wish {
    /// Whether the data is taken from primaries.
    pub from_primaries: bool,
    /// Whether slots may be missing.
    pub allow_missing: bool,
}

/// Why there is no backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Slots are on their way.
    Moving {
        /// Who has one that is.
        node: NodeAddress,
        /// How many it has.
        slots: usize,
    },
    /// Nobody who answers owns these slots.
    Missing(SlotSet),
    /// Nobody who answers owns any slot.
    Nothing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moving { node, slots } => write!(
                out,
                "{slots} slots of {node} are on their way, and their keys could be in both parts \
                 or in none"
            ),
            Self::Missing(slots) => write!(
                out,
                "the backup would lack slots {slots}: no primary that answers owns them"
            ),
            Self::Nothing => out.write_str("no primary that answers owns a slot"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Explain for Refusal {
    fn code(&self) -> Code {
        Code(match self {
            Self::Moving { .. } => "SY2451",
            Self::Missing(_) | Self::Nothing => "SY2452",
        })
    }

    fn class(&self) -> Class {
        Class::Refused
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Moving { .. } => {
                "wait for the move to end, or finish one that was cut off: shardyard trib fix \
                 HOST:PORT"
            }
            Self::Missing(_) => {
                "shardyard trib check HOST:PORT   shows what is amiss; --allow-missing takes what \
                 there is"
            }
            Self::Nothing => "shardyard trib check HOST:PORT   shows what is amiss",
        };
        Some(text.to_owned())
    }
}

/// The parts of a backup.
///
/// # Errors
/// Where it would not be one.
pub fn parts(seen: Seen<'_>, wish: Wish) -> Result<Parts, Refusal> {
    if let Some(refusal) = moving(seen) {
        return Err(refusal);
    }
    let shares = seen.shares().into_iter();
    let mut parts: Vec<Part> = shares
        .filter(|share| !share.slots.is_empty())
        .filter_map(|share| {
            let report = seen.view.get(&share.member.address)?.report()?;
            let myself = report.cluster.as_ref()?.myself()?;
            let replica = replica(seen, share.member, report).filter(|_| !wish.from_primaries);
            Some(Part {
                primary: share.member,
                epoch: myself.epoch,
                version: report.version,
                memory: report.memory_used,
                slots: share.slots,
                replica,
            })
        })
        .collect();
    parts.sort_by_key(|it| it.slots.iter().next());
    let owned = parts.iter();
    let owned = owned.fold(SlotSet::empty(), |all, it| all.union(&it.slots));
    let missing = SlotSet::all().difference(&owned);
    if parts.is_empty() {
        return Err(Refusal::Nothing);
    }
    if !missing.is_empty() && !wish.allow_missing {
        return Err(Refusal::Missing(missing));
    }
    Ok(Parts { parts, missing })
}

/// A node with slots that are on their way.
fn moving(seen: Seen<'_>) -> Option<Refusal> {
    seen.nodes.iter().find_map(|node| {
        let cluster = seen.view.get(node)?.cluster()?;
        let slots = cluster.myself()?.open_slots.len();
        (slots > 0).then_some(Refusal::Moving { node: *node, slots })
    })
}

/// The replica that is least behind.
fn replica(seen: Seen<'_>, primary: Member, report: &NodeReport) -> Option<Member> {
    let written = report.replication.offset();
    let behind = |replica: &Member| {
        let report = seen.view.get(&replica.address).and_then(NodeView::report)?;
        match report.replication {
            Replication::Replica {
                link: ReplicationLink::Up,
                offset,
                ..
            } => Some(written.saturating_sub(offset)),
            Replication::Replica { .. } | Replication::Primary { .. } => None,
        }
    };
    let replicas = seen.replicas_of(primary.id).into_iter();
    let lags = replicas.filter_map(|it| Some((behind(&it)?, it)));
    let fit = lags.filter(|(lag, _)| *lag <= LAG_MAX.as_bytes());
    fit.min().map(|(_, replica)| replica)
}
