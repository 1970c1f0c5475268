//! Moves slots between primaries, with all their keys, and without losing one.
//!
//! - `survey`: who owns what now, so that a run that was cut off is gone on with.
//! - `window`: `MIGRATE`, some slots at a time. `batch` (pure) cuts keys by bytes.
//! - `atomic`: the servers' own migrations.
//! - `import`: the keys of a server that is in no cluster. `compare`: whether two values are one.
//! - `epochs`: the claim of a new owner wins.
//! - `fence`: nothing is handed over before a replica of its new owner has it.
//! - `governor`: as fast as the latency budget allows. `tally`: how far it is.
//!
//! The order of what is done to a slot is the same everywhere: its target is told first, then its
//! source, at the beginning and at the end. Killed in between, both still agree on who serves it.

mod atomic;
mod batch;
mod big;
mod compare;
mod epochs;
mod fence;
mod governor;
pub(crate) mod import;
mod pair;
mod serving;
mod survey;
mod tally;
mod window;

use std::collections::BTreeSet;

use futures::future::join_all;
use model::address::NodeAddress;
use model::fault::{Class, Explain};
use model::migration::{BigKeys, Driver, MoveManner, SlotMove, Wish};
use model::step::Member;

use self::governor::Governor;
use self::pair::Pair;
use self::tally::Tally;
use crate::error::StewardError;
use crate::{Ground, talk};

/// What everybody who moves something works with.
#[derive(Clone, Copy, Debug)]
struct Work<'a> {
    ground: Ground<'a>,
    manner: &'a MoveManner,
    governor: &'a Governor,
    tally: &'a Tally,
}

impl Work<'_> {
    /// Whether whoever oversees the move wants it to end.
    fn must_stop(&self) -> bool {
        self.ground.overseer.wish() == Wish::Stop
    }

    /// Whether no further slots are to be begun with.
    fn must_end(&self) -> bool {
        self.must_stop() || self.tally.is_ending()
    }
}

/// Sees to it that the slots have their new owners.
pub(crate) async fn ensure(
    ground: Ground<'_>,
    moves: &[SlotMove],
    manner: &MoveManner,
) -> Result<(), StewardError> {
    let pairs = survey::pairs(ground, moves, manner).await?;
    if pairs.iter().all(Pair::is_done) {
        return Ok(());
    }
    let targets: BTreeSet<NodeAddress> = pairs.iter().map(|pair| pair.target.address).collect();
    let targets: Vec<NodeAddress> = targets.into_iter().collect();
    serving::await_all(ground, &targets).await;
    let counts = count(ground, &pairs).await?;
    if let BigKeys::Refuse { from } = manner.big_keys {
        big::refuse(ground, &pairs, from).await?;
    }
    let tally = Tally::new(ground.clock.now(), slots(&pairs), counts);
    let governor = Governor::new(manner);
    let work = Work {
        ground,
        manner,
        governor: &governor,
        tally: &tally,
    };
    let nodes = nodes(&pairs);
    governor::watched(work, &nodes, all(work, &pairs)).await
}

/// Slots that begin open are finished first, key by key, because the servers' own migrations refuse
/// a node that has any.
async fn all(work: Work<'_>, pairs: &[Pair]) -> Result<(), StewardError> {
    let by_key = pairs.iter().filter_map(Pair::by_key);
    for round in rounds(by_key.collect()) {
        first_error(join_all(round.iter().map(|pair| by_windows(work, pair))).await)?;
    }
    let of = |driver: Driver| -> Vec<Pair> {
        let atomic = pairs.iter().filter(|pair| pair.driver == driver);
        atomic.filter_map(Pair::atomically).collect()
    };
    for round in rounds(of(Driver::MigrateSlots)) {
        atomic::migrate_slots(work, &round).await?;
    }
    atomic::import(work, &of(Driver::MigrationImport)).await
}

/// Moves one pair's slots by windows. Where one end is not what it was the view is no longer true,
/// and the other pairs end at their next window too: a new plan can do in a second what this one
/// would wait for.
async fn by_windows(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    let moved = window::move_all(work, pair).await;
    if let Err(error) = &moved
        && matches!(error.class(), Class::NotConverged | Class::Unreachable)
    {
        work.tally.end();
    }
    moved
}

/// The pairs in rounds in which no node both gives and takes.
///
/// Whoever takes a slot claims everything that it has with a new epoch, the highest there is. A
/// node that gives a slot at the same time would claim that one with it, too, and win it back from
/// its new owner, whose keys are then deleted; told to give it up it gives it to nobody.
fn rounds(pairs: Vec<Pair>) -> Vec<Vec<Pair>> {
    let mut rounds = Vec::new();
    let mut left = pairs;
    while !left.is_empty() {
        let (mut givers, mut takers) = (BTreeSet::new(), BTreeSet::new());
        let (round, later) = left.into_iter().partition(|pair: &Pair| {
            let fits = !takers.contains(&pair.source.id) && !givers.contains(&pair.target.id);
            if fits {
                givers.insert(pair.source.id);
                takers.insert(pair.target.id);
            }
            fits
        });
        rounds.push(round);
        left = later;
    }
    rounds
}

/// All have come to their end; the first error tells why not all are done. An error that is not
/// the user's wish to stop goes first.
fn first_error(ends: Vec<Result<(), StewardError>>) -> Result<(), StewardError> {
    let errors: Vec<StewardError> = ends.into_iter().filter_map(Result::err).collect();
    let is_wish = |error: &&StewardError| matches!(error, StewardError::Stopped);
    let first = errors.iter().find(|error| !is_wish(error));
    match first.or_else(|| errors.first()) {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

fn slots(pairs: &[Pair]) -> u32 {
    let count: usize = pairs.iter().map(|pair| pair.to_move.len()).sum();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The keys that are to be moved, as they are counted now.
async fn count(ground: Ground<'_>, pairs: &[Pair]) -> Result<u64, StewardError> {
    let counts = pairs.iter().map(|pair| async move {
        let slots: Vec<_> = pair.to_move.iter().collect();
        talk::key_counts(ground, pair.source, &slots).await
    });
    let mut sum = 0_u64;
    for counted in join_all(counts).await {
        sum = counted?.into_iter().fold(sum, u64::saturating_add);
    }
    Ok(sum)
}

/// The nodes whose clients a move can slow down.
fn nodes(pairs: &[Pair]) -> Vec<Member> {
    let mut seen: BTreeSet<NodeAddress> = BTreeSet::new();
    pairs
        .iter()
        .filter(|pair| !pair.is_done())
        .flat_map(|pair| [pair.source, pair.target])
        .filter(|node| seen.insert(node.address))
        .collect()
}
