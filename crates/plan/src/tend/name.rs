//! How a person names a node: by its id, by the beginning of it, or by its address.

use std::fmt;

use model::address::NodeAddress;
use model::ids::NodeId;
use model::step::Member;
#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use super::Refusal;

/// The fewest letters of an id that name a node.
const PREFIX_MIN: usize = 4;

/// The name of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Named {
    /// By its address.
    Address(NodeAddress),
    /// By its id, or the beginning of it: small hexadecimal digits.
    Id(String),
}

impl Named {
    /// Reads the id, or the beginning of one.
    #[must_use]
    pub fn id(text: &str) -> Option<Self> {
        let is_id = (PREFIX_MIN..=40).contains(&text.len())
            && text
                .bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self::Id(text.to_owned()))
    }

    /// Whether a node has this name.
    #[must_use]
    pub fn is(&self, id: NodeId, address: Option<NodeAddress>) -> bool {
        match self {
            Self::Address(named) => Some(*named) == address,
            Self::Id(beginning) => id.to_string().starts_with(beginning.as_str()),
        }
    }

    /// The one node of this name.
    pub(super) fn among(&self, members: &[Member]) -> Result<Member, Refusal> {
        let found = members.iter().filter(|it| self.is(it.id, Some(it.address)));
        self.only(found.copied(), |it| it.id)
    }

    /// The one that was found under this name.
    pub(super) fn only<T>(
        &self,
        mut found: impl Iterator<Item = T>,
        id: impl Fn(T) -> NodeId,
    ) -> Result<T, Refusal> {
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(Refusal::Unknown(self.clone())),
            (Some(one), Some(other)) => Err(Refusal::Ambiguous(self.clone(), id(one), id(other))),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Id(id) => out.write_str(id),
        }
    }
}
