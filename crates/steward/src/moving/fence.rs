//! The fence: what was moved counts as moved only once a replica of its new owner has it.
//!
//! `MIGRATE` deletes a key at its source as soon as the target has it in memory. Where the target's
//! replicas are cut off and it then dies, such a key is gone, although whoever wrote it had waited
//! for a replica: 106 of 106 keys, measured with Redis 7.0. The replicas are asked themselves how
//! far they are, because a primary hears of it once a second only.

use std::time::Duration;

use futures::future::{join, join_all};
use model::address::NodeAddress;
use model::migration::Brake;
use model::step::Member;
use model::view::{Replication, ReplicationLink};

use super::Work;
use super::pair::Pair;
use crate::error::StewardError;
use crate::talk;

/// How long a replica may be behind. One that copies anew after a failover needs some seconds for
/// each gigabyte.
const LIMIT: Duration = Duration::from_secs(60);

/// The first pause between two looks, and the longest.
const PAUSE_MIN: Duration = Duration::from_micros(300);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// Waits until a replica of the target has everything that the target has now, and a replica of the
/// source has heard what is gone from there: a source's successor that still had what has moved on
/// would bring back what was before.
pub(super) async fn copied(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    if !work.manner.fence {
        return Ok(());
    }
    let target = by_one(work, pair.target, &pair.target_replicas);
    let source = by_one(work, pair.source, &pair.source_replicas);
    let (target, source) = join(target, source).await;
    work.tally.release(Brake::Fence);
    target.and(source)
}

/// Waits until one of these replicas has everything that its primary has now. Where there is none
/// there is nothing to wait for.
pub(super) async fn by_one(
    work: Work<'_>,
    primary: Member,
    replicas: &[NodeAddress],
) -> Result<(), StewardError> {
    if replicas.is_empty() {
        return Ok(());
    }
    let ground = work.ground;
    let offset = match talk::replication(ground, primary).await? {
        Replication::Primary { offset, .. } => offset,
        Replication::Replica { .. } => return Err(StewardError::NoPrimary { node: primary }),
    };
    let began = ground.clock.now();
    let mut pause = PAUSE_MIN;
    loop {
        let asked = replicas.iter();
        let answers = join_all(asked.map(|it| talk::replication_at(ground, *it))).await;
        if answers.iter().flatten().any(|answer| has(answer, offset)) {
            return Ok(());
        }
        // It has followed on: what the primary of before has counts no more.
        let is_primary = |answer: &Replication| matches!(answer, Replication::Primary { .. });
        if answers.iter().flatten().any(is_primary) {
            return Err(StewardError::NoPrimary { node: primary });
        }
        let waited = ground.clock.now().saturating_sub(began);
        if waited >= LIMIT {
            return Err(StewardError::NotCopied {
                node: primary,
                seconds: LIMIT.as_secs(),
            });
        }
        if pause == PAUSE_MAX {
            work.tally.brake(Brake::Fence);
        }
        ground.clock.sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether a replica has applied this much. A link that is down says nothing: what the replica has
/// may be of another history.
const fn has(replication: &Replication, wanted: u64) -> bool {
    match replication {
        Replication::Replica {
            link: ReplicationLink::Up,
            offset,
            ..
        } => *offset >= wanted,
        Replication::Replica {
            link: ReplicationLink::Copying | ReplicationLink::Down { .. },
            ..
        }
        | Replication::Primary { .. } => false,
    }
}
