//! Sees to it that a claim wins: who takes a slot must claim it with a later epoch than whoever
//! gives it.
//!
//! The new owner takes an epoch one higher than the highest that it has heard of, without asking
//! anybody. Where it has not heard of its source's yet, because that one has just taken slots
//! itself, the two claim with the same epoch: no other node believes the new owner, all tell it
//! that the slot is its source's, and it deletes the keys.

use std::time::Duration;

use model::view::ClusterReport;

use super::Work;
use super::pair::Pair;
use crate::error::StewardError;
use crate::talk;

/// How long the target may take to hear of its source's epoch. Whoever takes an epoch tells
/// everybody at once; gossip takes a second or two.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until the target knows its source's epoch, and has another one.
pub(super) async fn await_word(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    let ground = work.ground;
    let began = ground.clock.now();
    loop {
        let source = talk::cluster(ground, pair.source).await?;
        let target = talk::cluster(ground, pair.target).await?;
        if knows(&target, &source) {
            return Ok(());
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

/// Whether the next epoch that the target takes is later than that of the source.
fn knows(target: &ClusterReport, source: &ClusterReport) -> bool {
    let own = |report: &ClusterReport| report.myself().map(|it| it.epoch);
    let seen = target.peer(source.id).map(|it| it.epoch);
    let (takes, gives) = (own(target), own(source));
    seen >= gives && takes != gives && Some(target.current_epoch) >= gives
}
