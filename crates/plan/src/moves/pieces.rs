//! Cuts slots out of a set so that few pieces come about, here and there.

use model::slots::{SlotRange, SlotSet};

/// The ranges of a set, the shortest last.
#[derive(Clone, Debug)]
pub(super) struct Pieces(Vec<SlotRange>);

impl Pieces {
    pub(super) fn of(slots: &SlotSet) -> Self {
        let mut ranges = slots.ranges();
        ranges.sort_by_key(|range| (std::cmp::Reverse(range.len()), range.first()));
        Self(ranges)
    }

    /// Takes so many slots, or all that are left: whole ranges while they fit, shortest first, and
    /// the rest from the end of the next one.
    pub(super) fn take(&mut self, count: u64) -> SlotSet {
        let mut taken = SlotSet::empty();
        let mut left = count;
        while left > 0
            && let Some(range) = self.0.pop()
        {
            match cut(range, left) {
                Some((kept, end)) => {
                    taken.insert_range(end);
                    self.0.push(kept);
                    left = 0;
                }
                None => {
                    taken.insert_range(range);
                    left -= u64::from(range.len());
                }
            }
        }
        taken
    }
}

/// Cuts so many slots from the end of a range; `None` where nothing would be left of it.
fn cut(range: SlotRange, count: u64) -> Option<(SlotRange, SlotRange)> {
    let kept = u64::from(range.len()).checked_sub(count)?;
    let last = u64::from(range.first().number()) + kept.checked_sub(1)?;
    let last = model::slots::Slot::new(u16::try_from(last).ok()?)?;
    let next = model::slots::Slot::new(last.number() + 1)?;
    Some((
        SlotRange::new(range.first(), last)?,
        SlotRange::new(next, range.last())?,
    ))
}
