//! Balances what slots weigh instead of how many there are.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use model::migration::SlotMove;
use model::slots::{Slot, SlotSet};

use super::{Deal, Loads, Moves, Share, give_up, weigh};

/// No giver gives more and no taker takes more than it is off by, so that nothing is moved back by
/// the next run. A slot that weighs nothing stays where it is, unless its owner gives everything.
pub(super) fn balance(shares: &[Share], loads: &Loads, threshold_percent: u32) -> Vec<SlotMove> {
    let load = |slot: Slot| loads.get(&slot).copied().unwrap_or(0);
    let sum = |share: &Share| share.slots.iter().map(load).sum();
    let scales = weigh(shares, sum, threshold_percent);
    let deal = Deal::of(&scales);
    let mut takers = Takers::of(&deal);
    let mut moves = Moves::default();
    let is_given_up = |giver: &usize| shares[*giver].weight == 0;
    let (must, may): (Vec<_>, Vec<_>) = deal.gives.iter().partition(|(it, _)| is_given_up(it));
    for (giver, _) in must {
        for slot in heavy(&shares[giver].slots, load) {
            if let Some(taker) = takers.any(load(slot)) {
                moves.add_slot(giver, taker, slot);
            }
        }
    }
    for (giver, mut left) in may {
        for slot in heavy(&shares[giver].slots, load) {
            if let Some(taker) = takers.fitting(load(slot)).filter(|_| load(slot) <= left) {
                takers.fill(taker, load(slot));
                left -= load(slot);
                moves.add_slot(giver, taker, slot);
            }
        }
    }
    let mut moves = moves.of(shares);
    let gives =
        |share: &Share| share.weight > 0 && moves.iter().any(|each| each.source == share.member);
    // Nobody gives with one hand and takes with the other.
    let others: Vec<Share> = shares.iter().filter(|it| !gives(it)).cloned().collect();
    moves.extend(weightless(&others, load));
    merged(moves)
}

/// The slots that weigh something, highest first.
fn heavy(slots: &SlotSet, load: impl Fn(Slot) -> u64) -> Vec<Slot> {
    let mut heavy: Vec<Slot> = slots.iter().filter(|slot| load(*slot) > 0).collect();
    heavy.reverse();
    heavy
}

/// What weighs nothing goes by its number, and only from those that give everything.
fn weightless(shares: &[Share], load: impl Fn(Slot) -> u64) -> Vec<SlotMove> {
    let light: Vec<Share> = shares
        .iter()
        .map(|share| {
            let mut slots = share.slots.clone();
            if share.weight == 0 {
                for slot in share.slots.iter().filter(|slot| load(*slot) > 0) {
                    slots.remove(slot);
                }
            }
            Share {
                slots,
                ..share.clone()
            }
        })
        .collect();
    give_up(&light)
}

fn merged(moves: Vec<SlotMove>) -> Vec<SlotMove> {
    let mut merged: Vec<SlotMove> = Vec::new();
    for each in moves {
        let same = merged
            .iter_mut()
            .find(|it| it.source == each.source && it.target == each.target);
        match same {
            Some(same) => same.slots = same.slots.union(&each.slots),
            None => merged.push(each),
        }
    }
    merged
}

/// Those that take, by how much they may take still. One is filled until something does not fit,
/// so that it gets slots that follow one another.
#[derive(Debug)]
struct Takers {
    open: BTreeSet<(u64, Reverse<usize>)>,
    current: Option<(u64, Reverse<usize>)>,
}

impl Takers {
    fn of(deal: &Deal) -> Self {
        Self {
            open: deal
                .takes
                .iter()
                .map(|(index, amount)| (*amount, Reverse(*index)))
                .collect(),
            current: None,
        }
    }

    /// A taker that this fits into; the last one where it does.
    fn fitting(&mut self, load: u64) -> Option<usize> {
        if self.current.is_none_or(|(left, _)| left < load) {
            let roomiest = *self.open.last().filter(|(left, _)| *left >= load)?;
            self.open.remove(&roomiest);
            self.open.extend(self.current.replace(roomiest));
        }
        self.current.map(|(_, Reverse(index))| index)
    }

    /// The taker that this fits into best, and it is filled: somebody has to take it.
    fn any(&mut self, load: u64) -> Option<usize> {
        if let Some(index) = self.fitting(load) {
            self.fill(index, load);
            return Some(index);
        }
        self.open.extend(self.current.take());
        self.current = self.open.pop_last();
        let index = self.current.map(|(_, Reverse(index))| index)?;
        self.fill(index, load);
        Some(index)
    }

    fn fill(&mut self, taker: usize, load: u64) {
        if let Some((left, Reverse(index))) = &mut self.current
            && *index == taker
        {
            *left = left.saturating_sub(load);
        }
    }
}
