//! The table: what is done about a slot, by who owns it, where it is open, and where its keys are.
//!
//! | owners | open | keys | then |
//! |---|---|---|---|
//! | one | nowhere | at it, or nowhere | fine |
//! | one | nowhere | elsewhere too | refused; gathered with `replace` |
//! | one | somewhere | at it, or nowhere | closed |
//! | one | somewhere | at nodes that import it too | gathered there, one after the other |
//! | one | towards a silent node | any | refused; closed with `unreachable` |
//! | any, and a later claim of a silent node | any | any | refused |
//! | none, a silent one by hearsay | any | any | refused; with `unreachable` who has keys |
//! | none, a silent one whose replica answers | any | any | refused: that has its keys |
//! | none | any | at one | owned by it |
//! | none | any | at several | owned by the one with the most, then gathered |
//! | none | any | nowhere | owned by the primary with the fewest slots |
//! | several | any | at one of them, or at none | owned by it, or by the latest claim |
//! | several | any | at several of them | refused |

use model::ids::NodeId;
use model::step::Member;

use super::Consent;
use super::facts::{Facts, Lost, SilentOwner};

/// What is done about a slot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// It is closed at these nodes.
    Close {
        /// Where.
        nodes: Vec<Member>,
        /// Whose keys are given up.
        gives_up: Option<Lost>,
    },
    /// Its keys are brought together, from each node of the chain to the next; the last one owns
    /// it.
    Gather {
        /// Where it is closed first.
        closes: Vec<Member>,
        /// The owner first.
        chain: Vec<Member>,
        /// Whose keys are given up.
        gives_up: Option<Lost>,
    },
    /// It gets this owner; then keys are brought together.
    Own {
        /// The owner.
        node: Member,
        /// Where it is closed first.
        closes: Vec<Member>,
        /// Empty where all keys are at the owner.
        chain: Vec<Member>,
        /// Whose keys are given up.
        gives_up: Option<Lost>,
    },
    /// It gets the primary with the fewest slots for its owner.
    Cover {
        /// Whose keys are given up.
        gives_up: Option<Lost>,
    },
    /// Nothing, and a person has to know why.
    Refuse(Reason),
}

/// Why nothing is done.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Reason {
    /// Keys may be at a node that does not answer.
    Unreachable(Lost),
    /// Keys are at a replica whose primary does not answer.
    ReplicaHasIt {
        /// The primary.
        owner: NodeId,
        /// The replica.
        replica: Member,
    },
    /// Several owners have keys.
    SeveralOwners(Vec<Member>),
    /// Nodes that do not own it have keys, and it is not open there. The owner comes first.
    Stray(Vec<Member>),
    /// The owner's claim is older than that of a node that does not answer.
    OutvotedClaim {
        /// The owner by its own word.
        owner: Member,
        /// Who is said to have a later claim.
        by: NodeId,
    },
}

impl Verdict {
    /// Where the slot is closed.
    pub(super) fn closes(&self) -> &[Member] {
        match self {
            Self::Close { nodes, .. } => nodes,
            Self::Gather { closes, .. } | Self::Own { closes, .. } => closes,
            Self::Fine | Self::Cover { .. } | Self::Refuse(_) => &[],
        }
    }

    /// From whom to whom its keys go, one after the other.
    pub(super) fn chain(&self) -> &[Member] {
        match self {
            Self::Gather { chain, .. } | Self::Own { chain, .. } => chain,
            Self::Fine | Self::Close { .. } | Self::Cover { .. } | Self::Refuse(_) => &[],
        }
    }
}

/// What is done about a slot of which this is known.
pub(super) fn judge(facts: &Facts, consent: Consent) -> Verdict {
    match (facts.owners.as_slice(), facts.silent_owner) {
        ([], _) => unowned(facts, consent),
        (
            [latest, ..],
            Some(SilentOwner {
                id,
                is_latest: true,
                ..
            }),
        ) => Verdict::Refuse(Reason::OutvotedClaim {
            owner: *latest,
            by: id,
        }),
        (
            [owner],
            Some(SilentOwner {
                is_latest: false, ..
            })
            | None,
        ) => owned(*owner, facts, consent),
        (
            [latest, ..],
            Some(SilentOwner {
                is_latest: false, ..
            })
            | None,
        ) => owned_twice(*latest, facts),
    }
}

fn owned(owner: Member, facts: &Facts, consent: Consent) -> Verdict {
    let gives_up = facts.silent_ends.first().map(|end| Lost::OtherEnd(*end));
    if let Some(lost) = gives_up.filter(|_| !consent.unreachable) {
        return Verdict::Refuse(Reason::Unreachable(lost));
    }
    let goes_to = |it: &Member| {
        let mut ways = facts.migrating.iter();
        ways.any(|(from, to)| *from == owner && *to == it.id)
    };
    let mut others: Vec<Member> = facts.holders.clone();
    others.retain(|holder| *holder != owner);
    others.sort_by_key(|it| (!goes_to(it), *it));
    let open = open_at(facts);
    if others.is_empty() {
        return if open.is_empty() {
            Verdict::Fine
        } else {
            Verdict::Close {
                nodes: open,
                gives_up,
            }
        };
    }
    let is_expected = |it: &Member| facts.importing.contains(it) || goes_to(it);
    let is_expected = others.iter().all(is_expected);
    let mut chain = vec![owner];
    chain.extend(others);
    if !is_expected && !consent.manner.replace {
        return Verdict::Refuse(Reason::Stray(chain));
    }
    Verdict::Gather {
        closes: in_the_way(facts, &chain),
        chain,
        gives_up,
    }
}

/// Where a slot is open that keeps its keys from going down the chain: at an owner that gives it to
/// another node, and at nodes that are not concerned.
fn in_the_way(facts: &Facts, chain: &[Member]) -> Vec<Member> {
    let is_next = |to: &NodeId| chain.get(1).is_some_and(|next| next.id == *to);
    let misdirected = facts.migrating.iter().filter(|(_, to)| !is_next(to));
    let takers = chain.get(1..).unwrap_or(&[]);
    let unconcerned = facts.importing.iter().filter(|it| !takers.contains(it));
    let mut closes: Vec<Member> = misdirected
        .map(|(from, _)| *from)
        .chain(unconcerned.copied())
        .collect();
    closes.sort();
    closes.dedup();
    closes
}

fn open_at(facts: &Facts) -> Vec<Member> {
    let migrating = facts.migrating.iter().map(|(member, _)| *member);
    let mut open: Vec<Member> = migrating.chain(facts.importing.iter().copied()).collect();
    open.sort();
    open.dedup();
    open
}

fn unowned(facts: &Facts, consent: Consent) -> Verdict {
    let gives_up = match (facts.silent_owner, facts.silent) {
        (
            Some(SilentOwner {
                id,
                replica: Some(replica),
                ..
            }),
            _,
        ) => {
            return Verdict::Refuse(Reason::ReplicaHasIt { owner: id, replica });
        }
        (
            Some(SilentOwner {
                id, replica: None, ..
            }),
            _,
        ) => Some(Lost::Owner(id)),
        (None, 0) => None,
        (None, silent) => Some(Lost::Anybody(silent)),
    };
    if let Some(lost) = gives_up.filter(|_| !consent.unreachable) {
        return Verdict::Refuse(Reason::Unreachable(lost));
    }
    let mut holders = facts.holders.clone();
    holders.sort_by_key(|it| (std::cmp::Reverse(facts.keys.get(&it.id).copied()), *it));
    let Some(node) = holders.first().copied() else {
        return Verdict::Cover { gives_up };
    };
    let closes = in_the_way(facts, &holders);
    if holders.len() == 1 {
        holders.clear();
    }
    Verdict::Own {
        node,
        closes,
        chain: holders,
        gives_up,
    }
}

fn owned_twice(latest: Member, facts: &Facts) -> Verdict {
    let with_keys: Vec<Member> = facts
        .owners
        .iter()
        .copied()
        .filter(|owner| facts.keys.contains_key(&owner.id))
        .collect();
    match with_keys.as_slice() {
        [] => own(latest, facts),
        [only] => own(*only, facts),
        [_, _, ..] => Verdict::Refuse(Reason::SeveralOwners(with_keys)),
    }
}

fn own(node: Member, facts: &Facts) -> Verdict {
    Verdict::Own {
        node,
        closes: in_the_way(facts, &[node]),
        chain: Vec::new(),
        gives_up: None,
    }
}
