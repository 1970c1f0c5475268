//! Why a cluster is left as it is.

use std::fmt;

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::finding::Finding;
use model::ids::NodeId;
use model::step::Member;

use super::Named;

/// Why a cluster is left as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// These must be settled first; never empty.
    Disorder(Vec<Finding>),
    /// No node of the cluster has this name.
    Unknown(Named),
    /// Two nodes have it.
    Ambiguous(Named, NodeId, NodeId),
    /// It is a replica.
    NoPrimary(Member),
    /// A node cannot give slots to itself.
    SourceIsTarget(Member),
    /// The sources do not have so many slots.
    TooFewSlots {
        /// How many were asked for.
        wanted: u16,
        /// How many there are.
        has: usize,
    },
    /// It owns no slot, and those take part only where that is said.
    EmptyAndWeighed(Member),
    /// All weights are 0.
    NobodyTakes,
    /// It does not answer.
    NotAnswering(NodeAddress),
    /// It runs without cluster mode.
    NoClusterMode(NodeAddress),
    /// It has keys, slots or acquaintances.
    NotNew {
        /// The node.
        node: NodeAddress,
        /// Its keys.
        keys: u64,
    },
    /// It is in the cluster already.
    IsIn(Member),
    /// No primary owns a slot.
    NobodyToCopy,
    /// It owns slots.
    OwnsSlots {
        /// The node.
        node: NodeId,
        /// How many.
        slots: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disorder(findings) => match findings.first() {
                Some(first) => write!(out, "{}: {}", first.subject, first.message),
                None => out.write_str("the cluster is in disorder"),
            },
            Self::Unknown(named) => write!(out, "no node of the cluster is {named}"),
            Self::Ambiguous(named, one, other) => {
                write!(out, "{named} begins the ids of {one} and {other}")
            }
            Self::NoPrimary(node) => write!(out, "{node} is no primary"),
            Self::SourceIsTarget(node) => write!(out, "{node} is to give slots to itself"),
            Self::TooFewSlots { wanted, has } => {
                write!(
                    out,
                    "{wanted} slots are asked for, and the sources own {has}"
                )
            }
            Self::EmptyAndWeighed(node) => write!(out, "{node} has a weight and owns no slot"),
            Self::NobodyTakes => out.write_str("all weights are 0, and somebody has to own slots"),
            Self::NotAnswering(node) => write!(out, "{node} does not answer"),
            Self::NoClusterMode(node) => {
                write!(out, "{node} runs without cluster mode (cluster-enabled no)")
            }
            Self::NotNew { node, keys: 0 } => {
                write!(out, "{node} owns slots or knows other nodes")
            }
            Self::NotNew { node, keys } => write!(out, "{node} holds {keys} keys"),
            Self::IsIn(node) => write!(out, "{node} is in the cluster already"),
            Self::NobodyToCopy => out.write_str("no primary owns a slot that could be copied"),
            Self::OwnsSlots { node, slots } => {
                write!(out, "{} owns {slots} slots", node.short())
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Explain for Refusal {
    fn code(&self) -> Code {
        Code(match self {
            Self::Disorder(_) => "SY2431",
            Self::Unknown(_) | Self::Ambiguous(..) | Self::NoPrimary(_) => "SY2432",
            Self::SourceIsTarget(_)
            | Self::TooFewSlots { .. }
            | Self::EmptyAndWeighed(_)
            | Self::NobodyTakes
            | Self::NobodyToCopy => "SY2433",
            Self::NotAnswering(_) => "SY2434",
            Self::NoClusterMode(_) | Self::NotNew { .. } | Self::IsIn(_) => "SY2435",
            Self::OwnsSlots { .. } => "SY2436",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Disorder(_)
            | Self::NoClusterMode(_)
            | Self::NotNew { .. }
            | Self::IsIn(_)
            | Self::OwnsSlots { .. } => Class::Refused,
            Self::Unknown(_)
            | Self::Ambiguous(..)
            | Self::NoPrimary(_)
            | Self::SourceIsTarget(_)
            | Self::TooFewSlots { .. }
            | Self::EmptyAndWeighed(_)
            | Self::NobodyTakes
            | Self::NobodyToCopy => Class::Usage,
            Self::NotAnswering(_) => Class::Unreachable,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Disorder(_) => "settle it first: shardyard trib fix HOST:PORT --dry-run",
            Self::Unknown(_) | Self::Ambiguous(..) | Self::NoPrimary(_) => {
                "shardyard trib check HOST:PORT   shows the nodes with their ids and roles"
            }
            Self::SourceIsTarget(_) => "name others under --from, or none for all others",
            Self::TooFewSlots { .. } => "ask for fewer, or name more sources",
            Self::EmptyAndWeighed(_) => "--use-empty-masters has those without a slot take part",
            Self::NobodyTakes => "give one of them a weight",
            Self::NobodyToCopy => "give a primary slots first",
            Self::NotAnswering(_) => "see that a server listens there",
            Self::NoClusterMode(_) => "set cluster-enabled yes and start it again",
            Self::NotNew { .. } => {
                "nothing of it is deleted here: take an empty server, or empty this one yourself"
            }
            Self::IsIn(_) => "nothing is to be done",
            Self::OwnsSlots { .. } => {
                "move them away first: shardyard trib rebalance HOST:PORT --weight NODE=0"
            }
        };
        Some(text.to_owned())
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::Disorder(findings) => findings
                .iter()
                .skip(1)
                .map(|it| format!("{}: {}", it.subject, it.message))
                .collect(),
            Self::Unknown(_)
            | Self::Ambiguous(..)
            | Self::NoPrimary(_)
            | Self::SourceIsTarget(_)
            | Self::TooFewSlots { .. }
            | Self::EmptyAndWeighed(_)
            | Self::NobodyTakes
            | Self::NotAnswering(_)
            | Self::NoClusterMode(_)
            | Self::NotNew { .. }
            | Self::IsIn(_)
            | Self::NobodyToCopy
            | Self::OwnsSlots { .. } => Vec::new(),
        }
    }
}
