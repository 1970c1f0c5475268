//! Has the servers move slots by themselves: Valkey's `CLUSTER MIGRATESLOTS` and Redis's
//! `CLUSTER MIGRATION IMPORT`.
//!
//! Both move a snapshot and then what is written meanwhile, and hand all slots of a job over at
//! once; a job that fails leaves everything with its source. Whether one came to its end is told by
//! who owns the slots, never by the list of jobs alone, which a restart empties.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use model::command::{AtomicMigration, AtomicState, NodeAnswer, NodeCommand};
use model::ids::NodeId;
use model::migration::Driver;
use model::slots::SlotSet;
use model::step::Member;
use model::view::PeerRole;

use super::pair::Pair;
use super::{Work, epochs, fence, first_error, governor};
use crate::error::StewardError;
use crate::talk::{self, Said};

/// How often a job of one pair is begun anew. The servers give up for reasons that pass: a fork
/// that was under way, a link that broke.
const TRIES: u32 = 5;

/// The pause between two looks at the jobs, first and later. They move on in steps of 100 ms.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LAST: Duration = Duration::from_millis(200);

/// The pause before a job that failed is begun anew.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How long a job may stand still in one state before it counts as hung.
const STANDSTILL: Duration = Duration::from_secs(600);

/// How long it may take until a job that was called off has ended.
const CANCEL_LIMIT: Duration = Duration::from_secs(30);

/// Valkey: one job for each pair, all at once. A source queues its jobs by itself.
pub(super) async fn migrate_slots(work: Work<'_>, pairs: &[Pair]) -> Result<(), StewardError> {
    governor::go_on(work).await;
    let jobs = pairs.iter().map(|pair| run(work, pair));
    first_error(join_all(jobs).await)
}

/// Redis: a node takes part in one task at a time, so that the pairs go in rounds of which no two
/// share a node.
pub(super) async fn import(work: Work<'_>, pairs: &[Pair]) -> Result<(), StewardError> {
    let mut left: Vec<&Pair> = pairs.iter().collect();
    while !left.is_empty() {
        governor::go_on(work).await;
        let mut busy: BTreeSet<NodeId> = BTreeSet::new();
        let (round, later): (Vec<&Pair>, Vec<&Pair>) = left.into_iter().partition(|pair| {
            let is_free = !busy.contains(&pair.source.id) && !busy.contains(&pair.target.id);
            if is_free {
                busy.extend([pair.source.id, pair.target.id]);
            }
            is_free
        });
        let tasks = round.into_iter().map(|pair| run(work, pair));
        first_error(join_all(tasks).await)?;
        left = later;
    }
    Ok(())
}

/// Brings one pair to its end: begins a job, waits for it, and begins it anew where it failed.
async fn run(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    let ground = work.ground;
    let mut words = String::new();
    for _ in 0..TRIES {
        let left = still_owned(work, pair).await?;
        if left.is_empty() {
            fence::copied(work, pair).await?;
            work.tally.slots(pair.to_move.len());
            return Ok(());
        }
        if work.must_stop() {
            return Err(StewardError::Stopped);
        }
        let before = jobs(work, pair).await?;
        if !before
            .iter()
            .any(|job| is_of(job, &left) && is_running(job))
        {
            epochs::await_word(work, pair).await?;
            match begin(work, pair, &left).await? {
                Ok(_) => {}
                Err(refusal) => {
                    words = refusal;
                    ground.clock.sleep(TRY_AGAIN).await;
                    continue;
                }
            }
        }
        let known: BTreeSet<String> = before
            .into_iter()
            .filter(|job| !is_running(job))
            .map(|job| job.id)
            .collect();
        match wait(work, pair, &left, &known).await? {
            None => {}
            Some(failure) => {
                words = failure;
                ground.clock.sleep(TRY_AGAIN).await;
            }
        }
    }
    let left = still_owned(work, pair).await?;
    if left.is_empty() {
        work.tally.slots(pair.to_move.len());
        return fence::copied(work, pair).await;
    }
    Err(StewardError::AtomicFailed {
        driver: pair.driver,
        slots: left,
        source_node: pair.source,
        target: pair.target,
        words,
    })
}

/// The slots of the pair that the target does not own yet, by its own word.
async fn still_owned(work: Work<'_>, pair: &Pair) -> Result<SlotSet, StewardError> {
    let cluster = talk::cluster(work.ground, pair.target).await?;
    let Some(myself) = cluster.myself().filter(|it| it.role == PeerRole::Primary) else {
        return Err(StewardError::NoPrimary { node: pair.target });
    };
    Ok(pair.to_move.difference(&SlotSet::of(&myself.slots)))
}

/// Who is told to begin, and whose list shows the job.
const fn leader(pair: &Pair) -> Member {
    match pair.driver {
        Driver::MigrationImport => pair.target,
        Driver::MigrateSlots | Driver::Migrate => pair.source,
    }
}

async fn jobs(work: Work<'_>, pair: &Pair) -> Result<Vec<AtomicMigration>, StewardError> {
    let (name, question) = match pair.driver {
        Driver::MigrationImport => ("CLUSTER MIGRATION", NodeCommand::ImportStatus),
        Driver::MigrateSlots | Driver::Migrate => {
            ("CLUSTER GETSLOTMIGRATIONS", NodeCommand::SlotMigrations)
        }
    };
    let answer = talk::one(work.ground, leader(pair), name, question).await?;
    let NodeAnswer::Migrations(jobs) = answer else {
        return Err(talk::odd(leader(pair), name));
    };
    Ok(jobs)
}

async fn begin(work: Work<'_>, pair: &Pair, slots: &SlotSet) -> Result<Said, StewardError> {
    let command = match pair.driver {
        Driver::MigrationImport => NodeCommand::ImportSlots(slots.ranges()),
        Driver::MigrateSlots | Driver::Migrate => NodeCommand::MigrateSlots {
            ranges: slots.ranges(),
            to: pair.target.id,
        },
    };
    let name = pair.driver.as_str();
    let said = talk::all(work.ground, leader(pair), name, &[command]).await?;
    said.into_iter()
        .next()
        .ok_or_else(|| talk::odd(leader(pair), name))
}

/// Waits until the job for these slots has ended. Gives the servers' words where it failed; `known`
/// are those that had ended before.
async fn wait(
    work: Work<'_>,
    pair: &Pair,
    slots: &SlotSet,
    known: &BTreeSet<String>,
) -> Result<Option<String>, StewardError> {
    let ground = work.ground;
    let mut pause = LOOK_FIRST;
    let mut since = ground.clock.now();
    let mut shown = String::new();
    loop {
        ground.clock.sleep(pause).await;
        pause = (pause * 2).min(LOOK_LAST);
        let jobs = jobs(work, pair).await?;
        let mine: Vec<&AtomicMigration> = jobs
            .iter()
            .filter(|job| is_of(job, slots) && !known.contains(&job.id))
            .collect();
        if work.must_stop() && mine.iter().any(|job| is_running(job)) {
            cancel(work, pair, &mine).await?;
        }
        if !mine.iter().any(|job| is_running(job)) {
            return Ok(ended(&mine));
        }
        let now = ground.clock.now();
        let state = format!("{mine:?}");
        if state != shown {
            (shown, since) = (state, now);
        } else if now.saturating_sub(since) >= STANDSTILL {
            return Err(StewardError::TooLate {
                what: format!("{} of {} goes no further", pair.driver, pair.source),
                seconds: STANDSTILL.as_secs(),
            });
        }
    }
}

/// How the jobs ended: well, or in whose words not.
fn ended(jobs: &[&AtomicMigration]) -> Option<String> {
    let failed = jobs.iter().rev().find(|job| match job.state {
        AtomicState::Failed | AtomicState::Cancelled => true,
        AtomicState::Running | AtomicState::Succeeded => false,
    });
    let succeeded = jobs.iter().any(|job| job.state == AtomicState::Succeeded);
    match failed {
        _ if succeeded => None,
        Some(job) => Some(job.message.clone()),
        None => Some("the servers do not know the job any more".to_owned()),
    }
}

/// Calls the jobs off and waits until they have ended: then every slot is with its source.
async fn cancel(
    work: Work<'_>,
    pair: &Pair,
    mine: &[&AtomicMigration],
) -> Result<(), StewardError> {
    let ground = work.ground;
    let commands: Vec<NodeCommand> = match pair.driver {
        Driver::MigrationImport => mine
            .iter()
            .map(|job| NodeCommand::CancelImport(job.id.clone()))
            .collect(),
        Driver::MigrateSlots | Driver::Migrate => vec![NodeCommand::CancelSlotMigrations],
    };
    // A refusal means that they have ended by themselves.
    talk::all(ground, leader(pair), "CANCEL", &commands).await?;
    let began = ground.clock.now();
    while ground.clock.now().saturating_sub(began) < CANCEL_LIMIT {
        if !jobs(work, pair).await?.iter().any(is_running) {
            return Ok(());
        }
        ground.clock.sleep(LOOK_LAST).await;
    }
    Err(StewardError::TooLate {
        what: format!("{} has not ended, though it was called off", pair.driver),
        seconds: CANCEL_LIMIT.as_secs(),
    })
}

/// Whether a job moves some of these slots.
fn is_of(job: &AtomicMigration, slots: &SlotSet) -> bool {
    !SlotSet::of(&job.ranges).intersection(slots).is_empty()
}

const fn is_running(job: &AtomicMigration) -> bool {
    matches!(job.state, AtomicState::Running)
}
