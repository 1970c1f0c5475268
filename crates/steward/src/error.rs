//! What keeps the steward from making a step true.

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::migration::Driver;
use model::size::ByteSize;
use model::slots::{Slot, SlotSet};
use model::step::Member;
use thiserror::Error;

/// Why a step is not true.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StewardError {
    /// A server gave no answer, and not on a second try.
    #[error("{node} gave no answer to {command}: {why}")]
    NoAnswer {
        /// The server.
        node: Member,
        /// What it was asked.
        command: &'static str,
        /// What came instead.
        why: String,
    },
    /// A server refused what it was told.
    #[error("{node} refused {command}: {words}")]
    Refused {
        /// The server.
        node: Member,
        /// What it was told.
        command: &'static str,
        /// Its words.
        words: String,
    },
    /// A node that should be a primary is none.
    #[error("{node} is no primary any more; slots can only be moved between primaries")]
    NoPrimary {
        /// The node.
        node: Member,
    },
    /// The slots have another owner than the plan was made for.
    #[error("slots {slots} belong neither to {source_node} nor to {target}")]
    ForeignOwner {
        /// The slots.
        slots: SlotSet,
        /// Who was to give them.
        source_node: Member,
        /// Who was to get them.
        target: Member,
    },
    /// The slot is on its way to another node, which has some of its keys.
    #[error("slot {} of {node} is on its way to {other} already", slot.number())]
    OpenElsewhere {
        /// The slot.
        slot: Slot,
        /// Its owner.
        node: Member,
        /// The first digits of the other node's id.
        other: String,
    },
    /// The slots are open no more at one end: it was a replica meanwhile.
    #[error("slots {slots} are not on their way from {source_node} to {target} any more")]
    ClosedMeanwhile {
        /// The slots.
        slots: SlotSet,
        /// Who was to give them.
        source_node: Member,
        /// Who was to get them.
        target: Member,
    },
    /// A key is on both sides, and nothing says which copy counts.
    #[error("slot {} has a key that {target} holds already: {words}", slot.number())]
    KeyOnBoth {
        /// The key's slot.
        slot: Slot,
        /// Who holds it too.
        target: Member,
        /// The server's words.
        words: String,
    },
    /// Keys of the server whose keys come in are in the cluster already, with other values.
    #[error("{count} keys of {source_node} are in the cluster already, with other values")]
    InBoth {
        /// The server.
        source_node: NodeAddress,
        /// How many were found.
        count: u64,
        /// How many keys have been brought in before.
        moved: u64,
        /// The first of them, as text.
        names: Vec<String>,
    },
    /// A node cannot read what a server of another version writes.
    #[error("{target} cannot read the values of {source_node}: {words}")]
    OtherVersion {
        /// Who wrote them.
        source_node: NodeAddress,
        /// Who was to read them.
        target: Member,
        /// The server's words.
        words: String,
    },
    /// The server whose keys come in gave no answer, or refused.
    #[error("{source_node} did not do {command}: {words}")]
    AtSource {
        /// The server.
        source_node: NodeAddress,
        /// What it was told.
        command: &'static str,
        /// Its words, or what came instead of an answer.
        words: String,
        /// Whether no answer came.
        is_silent: bool,
    },
    /// There are keys so big that their move would block both servers.
    #[error(
        "{count} keys of {from} and more are to be moved from {source_node}, the biggest has {biggest}"
    )]
    BigKeys {
        /// Who holds them.
        source_node: Member,
        /// How many.
        count: u64,
        /// From this size on a key counts as big.
        from: ByteSize,
        /// The size of the biggest.
        biggest: ByteSize,
        /// The first of them, as text.
        names: Vec<String>,
    },
    /// No replica of a primary has what the primary has.
    #[error("after {seconds} s no replica of {node} has caught up with it")]
    NotCopied {
        /// The primary.
        node: Member,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The target has no memory for more.
    #[error("{target} has no memory for more keys: {words}")]
    Full {
        /// The target.
        target: Member,
        /// The server's words.
        words: String,
    },
    /// A slot does not become empty.
    #[error("slot {} on {node} still has {keys} keys after {rounds} rounds", slot.number())]
    NotEmptied {
        /// The slot.
        slot: Slot,
        /// Its owner.
        node: Member,
        /// The keys that are left.
        keys: u64,
        /// How often they were asked for.
        rounds: u32,
    },
    /// The servers gave an atomic migration up.
    #[error("{driver} of slots {slots} from {source_node} to {target} failed: {words}")]
    AtomicFailed {
        /// The command.
        driver: Driver,
        /// The slots.
        slots: SlotSet,
        /// Who was to give them.
        source_node: Member,
        /// Who was to get them.
        target: Member,
        /// The servers' words.
        words: String,
    },
    /// A driver was asked for that a server does not have.
    #[error("{node} has no {driver}")]
    NoDriver {
        /// The server.
        node: Member,
        /// The command.
        driver: Driver,
    },
    /// A node is not what it should be for a handover.
    #[error("{node} cannot take over from {before}: {why}")]
    NotHandedOver {
        /// The replica.
        node: Member,
        /// Its primary.
        before: Member,
        /// Why.
        why: String,
    },
    /// A node that is to leave still has something.
    #[error("{node} must not leave: {why}")]
    NotEmpty {
        /// The node.
        node: Member,
        /// What it has.
        why: String,
    },
    /// Some nodes still know a node that is gone.
    #[error("{by} still knows {gone}: {why}")]
    NotForgotten {
        /// Who knows it.
        by: Member,
        /// The first digits of its id.
        gone: String,
        /// Why.
        why: String,
    },
    /// Something did not become true in time.
    #[error("after {seconds} s {what}")]
    TooLate {
        /// What is not true.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The user ended it; no slot is open.
    #[error("the move was ended by the user; what had begun is finished, and no slot is open")]
    Stopped,
}

impl Explain for StewardError {
    fn code(&self) -> Code {
        Code(match self {
            Self::NoAnswer { .. } => "SY3301",
            Self::Refused { .. } => "SY3302",
            Self::NoPrimary { .. } | Self::ForeignOwner { .. } | Self::ClosedMeanwhile { .. } => {
                "SY3303"
            }
            Self::OpenElsewhere { .. } => "SY3316",
            Self::KeyOnBoth { .. } => "SY3304",
            Self::BigKeys { .. } => "SY3305",
            Self::NotCopied { .. } => "SY3306",
            Self::Full { .. } => "SY3307",
            Self::NotEmptied { .. } => "SY3308",
            Self::AtomicFailed { .. } => "SY3309",
            Self::NoDriver { .. } => "SY3310",
            Self::NotHandedOver { .. } => "SY3311",
            Self::NotEmpty { .. } => "SY3312",
            Self::NotForgotten { .. } => "SY3313",
            Self::TooLate { .. } => "SY3314",
            Self::Stopped => "SY3315",
            Self::InBoth { .. } => "SY3317",
            Self::OtherVersion { .. } => "SY3318",
            Self::AtSource { .. } => "SY3319",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::NoAnswer { .. }
            | Self::AtSource {
                is_silent: true, ..
            } => Class::Unreachable,
            Self::Refused { .. }
            | Self::AtSource {
                is_silent: false, ..
            } => Class::Failed,
            Self::NoPrimary { .. }
            | Self::ForeignOwner { .. }
            | Self::ClosedMeanwhile { .. }
            | Self::NotCopied { .. }
            | Self::NotEmptied { .. }
            | Self::AtomicFailed { .. }
            | Self::NotHandedOver { .. }
            | Self::NotForgotten { .. }
            | Self::TooLate { .. } => Class::NotConverged,
            Self::OpenElsewhere { .. }
            | Self::KeyOnBoth { .. }
            | Self::InBoth { .. }
            | Self::OtherVersion { .. }
            | Self::BigKeys { .. }
            | Self::Full { .. }
            | Self::NoDriver { .. }
            | Self::NotEmpty { .. } => Class::Refused,
            Self::Stopped => Class::Interrupted,
        }
    }

    fn help(&self) -> Option<String> {
        let again = "run it again: it looks at what is, and goes on from there";
        let text = match self {
            Self::NoAnswer { node, .. } => format!(
                "open slots stay served; once {} answers, or a replica has followed on, run it \
                 again",
                node.address
            ),
            Self::NoPrimary { .. }
            | Self::ForeignOwner { .. }
            | Self::ClosedMeanwhile { .. }
            | Self::NotEmptied { .. }
            | Self::AtomicFailed { .. }
            | Self::NotForgotten { .. }
            | Self::TooLate { .. }
            | Self::Stopped => again.to_owned(),
            Self::NotHandedOver { node, .. } => {
                format!(
                    "shardyard trib check {}   shows what keeps it",
                    node.address
                )
            }
            Self::OpenElsewhere { node, .. } => {
                format!(
                    "shardyard trib fix {}   finishes that move first",
                    node.address
                )
            }
            Self::KeyOnBoth { .. } => {
                "look at both copies; --replace keeps that of the slot's owner".to_owned()
            }
            Self::InBoth { .. } => {
                "look at both values and delete one, or --replace to have those of the source count"
                    .to_owned()
            }
            Self::OtherVersion { .. } => {
                "the cluster's servers must be of the source's version or later: upgrade them first"
                    .to_owned()
            }
            Self::AtSource { .. } => {
                "no key was lost: each is where it was or in the cluster; run it again to go on"
                    .to_owned()
            }
            Self::BigKeys { .. } => {
                "each blocks both servers while it moves; leave the refusal out to move them one \
                 by one, at a quiet time"
                    .to_owned()
            }
            Self::NotCopied { node, .. } => format!(
                "slots stay with their owners until a replica of {} is linked and has caught up",
                node.address
            ),
            Self::Full { .. } => "give it more memory, or move fewer slots".to_owned(),
            Self::NoDriver { .. } => "leave the driver out: the best there is is taken".to_owned(),
            Self::NotEmpty { .. } => "nothing was stopped; run it again to drain it".to_owned(),
            Self::Refused { .. } => return None,
        };
        Some(text)
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::BigKeys { names, .. } => names.clone(),
            Self::InBoth { moved, names, .. } => {
                let before = format!("{moved} keys had been brought in before; those that differ:");
                [before].into_iter().chain(names.iter().cloned()).collect()
            }
            Self::NoAnswer { .. }
            | Self::Refused { .. }
            | Self::NoPrimary { .. }
            | Self::ForeignOwner { .. }
            | Self::OpenElsewhere { .. }
            | Self::ClosedMeanwhile { .. }
            | Self::KeyOnBoth { .. }
            | Self::OtherVersion { .. }
            | Self::AtSource { .. }
            | Self::NotCopied { .. }
            | Self::Full { .. }
            | Self::NotEmptied { .. }
            | Self::AtomicFailed { .. }
            | Self::NoDriver { .. }
            | Self::NotHandedOver { .. }
            | Self::NotEmpty { .. }
            | Self::NotForgotten { .. }
            | Self::TooLate { .. }
            | Self::Stopped => Vec::new(),
        }
    }
}
