//! Decides which slots go from whom to whom: arithmetic on what each primary has and should have.
//!
//! As little is moved as will do, in as few pieces as will do, and the same input always gives the
//! same moves. It knows nothing of hosts, of nodes that do not answer, or of whether slots may be
//! moved at all.

mod by_load;
mod pieces;

use std::collections::BTreeMap;

use model::migration::SlotMove;
use model::slots::{Slot, SlotSet};
use model::step::Member;

use self::pieces::Pieces;

/// A primary, what it owns, and how much it should own next to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// The primary.
    pub member: Member,
    /// The slots that it owns.
    pub slots: SlotSet,
    /// Twice the weight is to have twice the slots, keys, bytes or operations. With 0 it gives
    /// everything away.
    pub weight: u32,
}

/// What each slot weighs: keys, bytes, or operations a second. A slot that is absent weighs 0.
pub type Loads = BTreeMap<Slot, u64>;

/// The fewest moves after which each share has what its weight says: of slots, or where `loads` are
/// given, of what the slots weigh.
///
/// A share that is off by no more than `threshold_percent` of what it has is left alone, unless
/// others need it to give or to take. One of weight 0 never is. Where nothing weighs anything,
/// slots are counted. Empty where all weights are 0: there is nobody to take anything.
#[must_use]
pub fn balance(shares: &[Share], loads: Option<&Loads>, threshold_percent: u32) -> Vec<SlotMove> {
    if shares.iter().all(|share| share.weight == 0) {
        return Vec::new();
    }
    match loads.filter(|loads| loads.values().any(|load| *load > 0)) {
        None => by_count(shares, threshold_percent),
        Some(loads) => by_load::balance(shares, loads, threshold_percent),
    }
}

fn by_count(shares: &[Share], threshold_percent: u32) -> Vec<SlotMove> {
    let scales = weigh(shares, |share| share.slots.len() as u64, threshold_percent);
    Deal::of(&scales).in_pieces(shares)
}

/// Those of weight 0 give all that they have, to those that have the least for their weight; nobody
/// else gives anything.
#[must_use]
pub(crate) fn give_up(shares: &[Share]) -> Vec<SlotMove> {
    let mut scales = weigh(shares, |share| share.slots.len() as u64, 0);
    for (scale, share) in scales.iter_mut().zip(shares) {
        scale.is_off = share.weight == 0 && scale.has > 0;
    }
    Deal::of(&scales).in_pieces(shares)
}

/// As many slots as asked for, or as there are, from the sources to the target: from each in
/// proportion to what it owns.
#[must_use]
pub fn reshard(sources: &[Share], target: Member, count: u16) -> Vec<SlotMove> {
    let sources: Vec<&Share> = sources
        .iter()
        .filter(|source| source.member != target)
        .collect();
    let owned: Vec<u64> = sources
        .iter()
        .map(|source| source.slots.len() as u64)
        .collect();
    let total: u64 = owned.iter().sum();
    let parts = quotas(u64::from(count).min(total), &owned, &owned);
    let moves = sources.iter().zip(parts).filter(|(_, part)| *part > 0);
    moves
        .map(|(source, part)| SlotMove {
            source: source.member,
            target,
            slots: Pieces::of(&source.slots).take(part),
        })
        .collect()
}

/// One slot gets a shard of its own: `onto` takes it from its owner, and gives everything else that
/// it has to those that have the least for their weight.
///
/// The slot comes first, so that `onto` is never without any: a primary that gives its last slot
/// away becomes a replica of whoever got it.
#[must_use]
pub fn isolate(shares: &[Share], slot: Slot, onto: Member) -> Vec<SlotMove> {
    let mut only = SlotSet::empty();
    only.insert(slot);
    let owner = shares.iter().find(|share| share.slots.contains(slot));
    let mut moves: Vec<SlotMove> = owner
        .filter(|owner| owner.member != onto)
        .map(|owner| SlotMove {
            source: owner.member,
            target: onto,
            slots: only.clone(),
        })
        .into_iter()
        .collect();
    let rest: Vec<Share> = shares
        .iter()
        .map(|share| Share {
            member: share.member,
            slots: share.slots.difference(&only),
            weight: if share.member == onto {
                0
            } else {
                share.weight
            },
        })
        .collect();
    if rest.iter().any(|share| share.weight > 0) {
        moves.extend(give_up(&rest));
    }
    moves
}

/// What a share has and should have.
#[derive(Clone, Copy, Debug)]
struct Scale {
    has: u64,
    wants: u64,
    /// Whether it is off by so much that something has to be done.
    is_off: bool,
}

fn weigh(shares: &[Share], amount: impl Fn(&Share) -> u64, threshold_percent: u32) -> Vec<Scale> {
    let has: Vec<u64> = shares.iter().map(amount).collect();
    let weights: Vec<u64> = shares.iter().map(|share| u64::from(share.weight)).collect();
    let wants = quotas(has.iter().sum(), &weights, &has);
    let scales = has.into_iter().zip(wants).zip(&weights);
    scales
        .map(|((has, wants), weight)| {
            let off = u128::from(has.abs_diff(wants)) * 100;
            // As redis-cli has it: in percent of what it has. One that has nothing is off by any
            // percentage, which makes a newcomer count.
            let allowed = u128::from(threshold_percent) * u128::from(has);
            Scale {
                has,
                wants,
                is_off: off > allowed || (*weight == 0 && has > 0),
            }
        })
        .collect()
}

/// Cuts `total` in proportion to the weights, without a rest. What is left after rounding down goes
/// to those that have more than their part already, because it need not be moved then.
fn quotas(total: u64, weights: &[u64], has: &[u64]) -> Vec<u64> {
    let all: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if all == 0 {
        return vec![0; weights.len()];
    }
    let exact: Vec<u128> = weights
        .iter()
        .map(|weight| u128::from(total) * u128::from(*weight))
        .collect();
    let mut parts: Vec<u64> = exact
        .iter()
        .map(|part| u64::try_from(part / all).unwrap_or(u64::MAX))
        .collect();
    let dealt: u64 = parts.iter().sum();
    let left = usize::try_from(total - dealt).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..parts.len())
        .filter(|it| !exact[*it].is_multiple_of(all))
        .collect();
    order.sort_by_key(|it| {
        let keeps = has[*it] > parts[*it];
        (!keeps, std::cmp::Reverse(exact[*it] % all), *it)
    });
    for index in order.into_iter().take(left) {
        parts[index] += 1;
    }
    parts
}

/// Who gives and who takes how much.
#[derive(Debug)]
struct Deal {
    gives: Vec<(usize, u64)>,
    takes: Vec<(usize, u64)>,
}

impl Deal {
    /// Those that are off give or take all that they are off by. Where that does not come out even,
    /// the others make up for it, furthest off first.
    fn of(scales: &[Scale]) -> Self {
        let side = |off_by: fn(&Scale) -> u64| {
            let mut side: Vec<(usize, u64)> = (0..)
                .zip(scales)
                .map(|(index, scale)| (index, off_by(scale)))
                .filter(|(_, amount)| *amount > 0)
                .collect();
            side.sort_by_key(|(index, amount)| {
                (!scales[*index].is_off, std::cmp::Reverse(*amount), *index)
            });
            side
        };
        let needed = |side: &[(usize, u64)]| -> u64 {
            let off = side.iter().filter(|(index, _)| scales[*index].is_off);
            off.map(|(_, amount)| *amount).sum()
        };
        let gives = side(|scale| scale.has.saturating_sub(scale.wants));
        let takes = side(|scale| scale.wants.saturating_sub(scale.has));
        let amount = needed(&gives).max(needed(&takes));
        Self {
            gives: up_to(gives, amount),
            takes: up_to(takes, amount),
        }
    }

    /// Slots by their number alone, in as few pieces as will do.
    fn in_pieces(self, shares: &[Share]) -> Vec<SlotMove> {
        let mut moves = Moves::default();
        let mut takes = self.takes.into_iter();
        let mut taker = takes.next();
        for (giver, mut left) in self.gives {
            let mut pieces = Pieces::of(&shares[giver].slots);
            while let Some((index, open)) = taker.filter(|_| left > 0) {
                let part = left.min(open);
                moves.add(giver, index, &pieces.take(part));
                left -= part;
                taker = if part < open {
                    Some((index, open - part))
                } else {
                    takes.next()
                };
            }
        }
        moves.of(shares)
    }
}

/// The first of these, together no more than `amount`.
fn up_to(side: Vec<(usize, u64)>, amount: u64) -> Vec<(usize, u64)> {
    let mut left = amount;
    side.into_iter()
        .map(|(index, part)| {
            let part = part.min(left);
            left -= part;
            (index, part)
        })
        .take_while(|(_, part)| *part > 0)
        .collect()
}

/// The moves so far, by the numbers of giver and taker.
#[derive(Debug, Default)]
struct Moves(BTreeMap<(usize, usize), SlotSet>);

impl Moves {
    fn add(&mut self, giver: usize, taker: usize, slots: &SlotSet) {
        let moved = self.0.entry((giver, taker)).or_insert_with(SlotSet::empty);
        *moved = moved.union(slots);
    }

    fn add_slot(&mut self, giver: usize, taker: usize, slot: Slot) {
        let moved = self.0.entry((giver, taker));
        moved.or_insert_with(SlotSet::empty).insert(slot);
    }

    fn of(self, shares: &[Share]) -> Vec<SlotMove> {
        let moves = self.0.into_iter().filter(|(_, slots)| !slots.is_empty());
        moves
            .map(|((giver, taker), slots)| SlotMove {
                source: shares[giver].member,
                target: shares[taker].member,
                slots,
            })
            .collect()
    }
}
