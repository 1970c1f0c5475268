//! Sees to it that a claim wins: who takes a slot must claim it with a later epoch than whoever
//! gives it.
//!
//! The new owner takes an epoch one higher than the highest that it has heard of, without asking
//! anybody. Where it has not heard of its source's yet, because that one has just taken slots
//! itself, the two claim with the same epoch: no other node believes the new owner, all tell it
//! that the slot is its source's, and it deletes the keys.

use std::time::Duration;

use model::slots::{Slot, SlotSet};
use model::view::{ClusterReport, OpenDirection, PeerRole};

use super::Work;
use super::pair::Pair;
use crate::error::StewardError;
use crate::talk;

/// How long the target may take to hear of its source's epoch. Whoever takes an epoch tells
/// everybody at once; gossip takes a second or two.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What both ends said last.
pub(super) struct Ends {
    source: ClusterReport,
    target: ClusterReport,
}

/// Waits until the target knows its source's epoch, and has another one. The source must be a
/// primary still: its replica may have taken over meanwhile, and the claim that was waited for
/// would take the slots, with everything that was written to them since, from that one.
pub(super) async fn await_word(work: Work<'_>, pair: &Pair) -> Result<Ends, StewardError> {
    let ground = work.ground;
    let began = ground.clock.now();
    loop {
        let target = talk::cluster(ground, pair.target).await?;
        let source = talk::cluster(ground, pair.source).await?;
        for (node, report) in [(pair.source, &source), (pair.target, &target)] {
            if role(report) != Some(PeerRole::Primary) {
                return Err(StewardError::NoPrimary { node });
            }
        }
        if knows(&target, &source) {
            return Ok(Ends { source, target });
        }
        if ground.clock.now().saturating_sub(began) >= LIMIT {
            return Err(StewardError::TooLate {
                what: format!("{} has not heard the epoch of {}", pair.target, pair.source),
                seconds: LIMIT.as_secs(),
            });
        }
        ground.clock.sleep(LOOK_AGAIN).await;
    }
}

/// Both ends must have these slots open towards each other still. Who was a replica for a moment
/// has not, and what was written in that moment is somewhere else.
pub(super) fn must_be_open(ends: &Ends, pair: &Pair, slots: &[Slot]) -> Result<(), StewardError> {
    let is_open = |report: &ClusterReport, slot: Slot, direction: OpenDirection| {
        let mut open = report.myself().into_iter().flat_map(|it| &it.open_slots);
        open.any(|it| it.slot == slot && it.direction == direction)
    };
    let mut closed = SlotSet::empty();
    for slot in slots {
        let gives = is_open(&ends.source, *slot, OpenDirection::To(pair.target.id));
        let takes = is_open(&ends.target, *slot, OpenDirection::From(pair.source.id));
        if !(gives && takes) {
            closed.insert(*slot);
        }
    }
    if closed.is_empty() {
        return Ok(());
    }
    Err(StewardError::ClosedMeanwhile {
        slots: closed,
        source_node: pair.source,
        target: pair.target,
    })
}

fn role(report: &ClusterReport) -> Option<PeerRole> {
    report.myself().map(|it| it.role)
}

/// Whether the next epoch that the target takes is later than that of the source.
fn knows(target: &ClusterReport, source: &ClusterReport) -> bool {
    let own = |report: &ClusterReport| report.myself().map(|it| it.epoch);
    let seen = target.peer(source.id).map(|it| it.epoch);
    let (takes, gives) = (own(target), own(source));
    seen >= gives && takes != gives && Some(target.current_epoch) >= gives
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use model::address::NodeAddress;
    use model::ids::{Epoch, NodeId};
    use model::migration::Driver;
    use model::step::Member;
    use model::view::{OpenSlot, Peer, PeerHealth};

    use super::*;

    fn member(number: u8) -> Member {
        Member {
            id: NodeId::from_bytes([number; 20]),
            address: NodeAddress::new(Ipv4Addr::new(10, 0, 0, number).into(), 6379),
        }
    }

    fn report(node: Member, open: Option<(u16, OpenDirection)>) -> ClusterReport {
        let open = open.map(|(slot, direction)| OpenSlot {
            slot: Slot::new(slot).unwrap(),
            direction,
        });
        ClusterReport {
            id: node.id,
            serves: true,
            current_epoch: Epoch(1),
            peers: vec![Peer {
                id: node.id,
                address: Some(node.address),
                role: PeerRole::Primary,
                health: PeerHealth::Reached,
                in_handshake: false,
                epoch: Epoch(1),
                linked: true,
                slots: Vec::new(),
                open_slots: open.into_iter().collect(),
            }],
        }
    }

    /// The source was a replica for a moment. Its heir took writes, which the new owner's claim
    /// would have had it delete.
    #[test]
    fn a_slot_that_a_failover_has_closed_meanwhile_is_not_handed_over() {
        let (source, target) = (member(1), member(2));
        let pair = Pair {
            source,
            target,
            to_move: SlotSet::empty(),
            open: SlotSet::empty(),
            to_tell: SlotSet::empty(),
            source_replicas: Vec::new(),
            target_replicas: Vec::new(),
            driver: Driver::Migrate,
        };
        let gives = Some((7, OpenDirection::To(target.id)));
        let takes = Some((7, OpenDirection::From(source.id)));
        let slots = [Slot::new(7).unwrap()];
        let ends = |gives, takes| Ends {
            source: report(source, gives),
            target: report(target, takes),
        };
        assert_eq!(must_be_open(&ends(gives, takes), &pair, &slots), Ok(()));
        let elsewhere = Some((7, OpenDirection::To(member(3).id)));
        for ends in [ends(None, takes), ends(gives, None), ends(elsewhere, takes)] {
            let refused = must_be_open(&ends, &pair, &slots);
            assert!(matches!(refused, Err(StewardError::ClosedMeanwhile { .. })));
        }
    }
}
