//! Moves slots key by key with `MIGRATE`, a window of slots at a time.
//!
//! A window is opened at the target, then at the source; emptied; fenced; and closed at the target,
//! then at the source. From then on the source sends clients that ask for a key which it does not
//! have to the target, so that each key is served all the time. The keys of the next window are
//! asked for while those of this one move.
//!
//! Nothing is concluded from an answer that did not come: the source is asked again what it still
//! has. A key that is still there counts in its owner's version, so that what a lost `MIGRATE` may
//! have left at the target is overwritten.

use std::time::Duration;

use futures::future::join;
use model::command::{CommandError, NodeAnswer, NodeCommand, TargetLogin};
use model::migration::Brake;
use model::slots::{Slot, SlotSet};

use super::batch::{self, Batch, Cut, Weighed};
use super::pair::Pair;
use super::{Work, big, epochs, fence, governor};
use crate::error::StewardError;
use crate::talk;

/// The slots of a window. Each hand-over makes every node store its configuration; a window of this
/// many makes that few times, and yet is moved within a second.
const SLOTS: usize = 64;

/// The keys of a slot that are asked for at once.
const KEYS_AT_ONCE: u32 = 1000;

/// How long a window may go without a key that moves.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a target may take to hear who owns the slots that it is to get: gossip takes a second.
const WORD_LIMIT: Duration = Duration::from_secs(30);

/// The pause after a round in which nothing moved.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What a big key may take for each MiB beyond the usual time-out.
const TIMEOUT_PER_MIB: Duration = Duration::from_millis(250);

/// Moves all slots of a pair. Ends between two windows where the user wants to stop.
pub(super) async fn move_all(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    tell_source(work, pair).await?;
    await_known(work, pair).await?;
    // Those that are open already come first: they cost clients a redirect.
    let open = pair.open.iter();
    let slots: Vec<Slot> = open
        .chain(pair.to_move.difference(&pair.open).iter())
        .collect();
    let mut windows = slots.chunks(SLOTS);
    let Some(mut current) = windows.next() else {
        return Ok(());
    };
    let mut keys = fetch(work, pair, current).await?;
    loop {
        governor::go_on(work).await;
        if work.must_end() {
            return Err(StewardError::Stopped);
        }
        let next = windows.next();
        let ahead = async {
            match next {
                Some(slots) => fetch(work, pair, slots).await,
                None => Ok(Vec::new()),
            }
        };
        let (moved, fetched) = join(move_window(work, pair, current, keys), ahead).await;
        moved?;
        match next {
            None => return Ok(()),
            Some(slots) => current = slots,
        }
        keys = fetched?;
    }
}

/// Waits until the target has heard who owns the slots that it is to get. One that imports a slot
/// heeds no claim on it (`clusterUpdateSlotsConfigWith`): a newcomer that does so too early never
/// hears of an owner, says that the cluster is down, and takes no key.
async fn await_known(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    let ground = work.ground;
    let began = ground.clock.now();
    loop {
        let cluster = talk::cluster(ground, pair.target).await?;
        let unknown = pair.to_move.difference(&cluster.slots_assigned());
        if unknown.is_empty() {
            return Ok(());
        }
        if ground.clock.now().saturating_sub(began) >= WORD_LIMIT {
            return Err(StewardError::TooLate {
                what: format!("{} does not know who owns slots {unknown}", pair.target),
                seconds: WORD_LIMIT.as_secs(),
            });
        }
        let mut open = SlotSet::empty();
        for slot in cluster.myself().iter().flat_map(|it| &it.open_slots) {
            open.insert(slot.slot);
        }
        let deaf: Vec<Slot> = open.intersection(&unknown).iter().collect();
        // Told so, it goes on importing: what it has of a slot stays in reach.
        let owner = pair.source.id;
        order(work, pair, End::Target, &deaf, |slot| {
            NodeCommand::SetOwner { slot, owner }
        })
        .await?;
        ground.clock.sleep(TRY_AGAIN).await;
    }
}

/// The source hears of slots that the target owns already: somebody was cut off in between.
async fn tell_source(work: Work<'_>, pair: &Pair) -> Result<(), StewardError> {
    let slots: Vec<Slot> = pair.to_tell.iter().collect();
    for window in slots.chunks(SLOTS) {
        order(work, pair, End::Source, window, |slot| {
            NodeCommand::SetOwner {
                slot,
                owner: pair.target.id,
            }
        })
        .await?;
    }
    Ok(())
}

/// The keys of a window and their sizes.
async fn fetch(work: Work<'_>, pair: &Pair, slots: &[Slot]) -> Result<Vec<Weighed>, StewardError> {
    let ground = work.ground;
    let keys = talk::keys_in(ground, pair.source, slots, KEYS_AT_ONCE).await?;
    let keys = slots.iter().copied().zip(keys);
    let keys: Vec<_> = keys
        .flat_map(|(slot, keys)| keys.into_iter().map(move |key| (slot, key)))
        .collect();
    big::weigh(ground, pair.source, keys).await
}

async fn move_window(
    work: Work<'_>,
    pair: &Pair,
    slots: &[Slot],
    keys: Vec<Weighed>,
) -> Result<(), StewardError> {
    let (source, target) = (pair.source.id, pair.target.id);
    order(work, pair, End::Target, slots, |slot| {
        NodeCommand::SetImporting { slot, from: source }
    })
    .await?;
    order(work, pair, End::Source, slots, |slot| {
        NodeCommand::SetMigrating { slot, to: target }
    })
    .await?;
    empty(work, pair, slots, keys).await?;
    // The keys may have come in a run before this one: the fence is for them too.
    fence::copied(work, pair).await?;
    let ends = epochs::await_word(work, pair).await?;
    epochs::must_be_open(&ends, pair, slots)?;
    let owner = target;
    for end in [End::Target, End::Source] {
        order(work, pair, end, slots, |slot| NodeCommand::SetOwner {
            slot,
            owner,
        })
        .await?;
    }
    work.tally.slots(slots.len());
    Ok(())
}

/// Which end of a pair.
#[derive(Clone, Copy)]
enum End {
    Source,
    Target,
}

/// Tells one end something about each slot. It can be told twice.
async fn order(
    work: Work<'_>,
    pair: &Pair,
    end: End,
    slots: &[Slot],
    command: impl Fn(Slot) -> NodeCommand,
) -> Result<(), StewardError> {
    const NAME: &str = "CLUSTER SETSLOT";
    let node = match end {
        End::Source => pair.source,
        End::Target => pair.target,
    };
    let commands: Vec<NodeCommand> = slots.iter().copied().map(command).collect();
    let said = talk::all(work.ground, node, NAME, &commands).await?;
    match said.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(words) => Err(StewardError::Refused {
            node,
            command: NAME,
            words,
        }),
    }
}

/// Moves keys until the source has none in these slots.
async fn empty(
    work: Work<'_>,
    pair: &Pair,
    slots: &[Slot],
    mut keys: Vec<Weighed>,
) -> Result<(), StewardError> {
    let clock = work.ground.clock;
    let mut replace = work.manner.replace || slots.iter().any(|it| pair.open.contains(*it));
    let mut moved_at = clock.now();
    let mut rounds = 0;
    loop {
        let moved = send_all(work, pair, keys, replace).await?;
        replace |= moved.is_uncertain;
        rounds += 1;
        if moved.keys > 0 {
            moved_at = clock.now();
        }
        let counts = talk::key_counts(work.ground, pair.source, slots).await?;
        let left: Vec<(Slot, u64)> = slots
            .iter()
            .copied()
            .zip(counts)
            .filter(|it| it.1 > 0)
            .collect();
        let Some((slot, count)) = left.first().copied() else {
            return Ok(());
        };
        if clock.now().saturating_sub(moved_at) >= PATIENCE {
            return Err(moved.why.unwrap_or(StewardError::NotEmptied {
                slot,
                node: pair.source,
                keys: count,
                rounds,
            }));
        }
        if moved.keys == 0 {
            if work.tally.is_ending() {
                return Err(StewardError::Stopped);
            }
            clock.sleep(TRY_AGAIN).await;
        }
        let slots: Vec<Slot> = left.into_iter().map(|(slot, _)| slot).collect();
        keys = fetch(work, pair, &slots).await?;
    }
}

/// What came of some rounds.
#[derive(Debug, Default)]
struct Moved {
    keys: usize,
    /// Whether an answer was lost, so that a key may be on both sides.
    is_uncertain: bool,
    /// Why something did not move, where that may pass.
    why: Option<StewardError>,
}

/// Sends all these keys, round after round, each fenced.
async fn send_all(
    work: Work<'_>,
    pair: &Pair,
    keys: Vec<Weighed>,
    replace: bool,
) -> Result<Moved, StewardError> {
    let mut batches = batch::batches(
        keys,
        Cut {
            bytes_max: work.governor.batch_bytes(),
            keys_max: usize::try_from(work.manner.batch_keys_max)
                .unwrap_or(usize::MAX)
                .max(1),
            big_from: work.manner.big_keys.from().as_bytes(),
        },
    );
    let mut moved = Moved::default();
    while !batches.is_empty() && moved.why.is_none() {
        let round = batch::round(&mut batches, work.governor.round_bytes());
        let count = round.iter().map(|batch| batch.keys.len()).sum();
        governor::admit(work, count).await;
        send_round(work, pair, round, replace || moved.is_uncertain, &mut moved).await?;
        fence::copied(work, pair).await?;
    }
    Ok(moved)
}

async fn send_round(
    work: Work<'_>,
    pair: &Pair,
    round: Vec<Batch>,
    replace: bool,
    moved: &mut Moved,
) -> Result<(), StewardError> {
    let bytes: u64 = round.iter().map(|batch| batch.bytes).sum();
    let timeout = timeout(work, bytes);
    let numbers: Vec<(Slot, usize, u64)> = round
        .iter()
        .map(|batch| (batch.group, batch.keys.len(), batch.bytes))
        .collect();
    let commands: Vec<NodeCommand> = round
        .into_iter()
        .map(|batch| NodeCommand::Migrate {
            to: pair.target.address,
            keys: batch.keys,
            timeout,
            replace,
            copies: false,
            login: TargetLogin::AsHere,
        })
        .collect();
    let ground = work.ground;
    // A server gives up by itself before we do.
    let limit = timeout * 2 + talk::ANSWER_LIMIT;
    let answers = ground
        .nodes
        .send(pair.source.address, &commands, ground.credentials, limit)
        .await;
    for ((slot, keys, bytes), answer) in numbers.into_iter().zip(answers) {
        match answer {
            Ok(NodeAnswer::NoKey) => {}
            Ok(_) => {
                moved.keys += keys;
                work.tally.keys(keys, bytes);
            }
            Err(CommandError::Lost(fault)) => {
                moved.is_uncertain = true;
                moved.why = Some(StewardError::NoAnswer {
                    node: pair.source,
                    command: "MIGRATE",
                    why: fault.message,
                });
            }
            Err(CommandError::Refused(words)) => refused(work, pair, slot, words, moved)?,
        }
    }
    Ok(())
}

/// How long one `MIGRATE` may take: the target builds a big key from its parts.
pub(super) fn timeout(work: Work<'_>, bytes: u64) -> Duration {
    let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    work.manner.migrate_timeout + TIMEOUT_PER_MIB.saturating_mul(mib)
}

/// What a refusal means: something that passes, or an end.
fn refused(
    work: Work<'_>,
    pair: &Pair,
    slot: Slot,
    words: String,
    moved: &mut Moved,
) -> Result<(), StewardError> {
    match judge(&words) {
        Meaning::Uncertain => {
            moved.is_uncertain = true;
            moved.why = Some(at_source(pair, words));
            Ok(())
        }
        Meaning::Passes => {
            work.tally.brake(Brake::Fence);
            moved.why = Some(at_source(pair, words));
            Ok(())
        }
        Meaning::OnBoth => Err(StewardError::KeyOnBoth {
            slot,
            target: pair.target,
            words,
        }),
        Meaning::Full => Err(StewardError::Full {
            target: pair.target,
            words,
        }),
        Meaning::Changed => Err(StewardError::NoPrimary { node: pair.target }),
        Meaning::Final => Err(at_source(pair, words)),
    }
}

fn at_source(pair: &Pair, words: String) -> StewardError {
    StewardError::Refused {
        node: pair.source,
        command: "MIGRATE",
        words,
    }
}

/// What the words of a server mean that refused `MIGRATE`. Those of the target stand behind
/// `Target instance replied with error:` (migrateCommand, cluster.c of Redis 7.0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// The link between the two broke: the target may have some of the keys.
    Uncertain,
    /// It may be otherwise in a moment.
    Passes,
    /// The target has the key already.
    OnBoth,
    /// The target has no memory left.
    Full,
    /// The target is not what it was.
    Changed,
    /// It will not be otherwise.
    Final,
}

pub(super) fn judge(words: &str) -> Meaning {
    let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if says(&["IOERR"]) {
        Meaning::Uncertain
    } else if says(&["BUSYKEY"]) {
        Meaning::OnBoth
    } else if says(&["OOM "]) {
        Meaning::Full
    } else if says(&["READONLY", "MOVED ", "ASK "]) {
        Meaning::Changed
    } else if says(&[
        "NOREPLICAS",
        "TRYAGAIN",
        "LOADING",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "BUSY ",
    ]) {
        Meaning::Passes
    } else {
        Meaning::Final
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_servers_are_understood() {
        let target = "ERR Target instance replied with error: ";
        for (words, meaning) in [
            (
                "IOERR error or timeout writing to target instance".to_owned(),
                Meaning::Uncertain,
            ),
            (
                format!("{target}BUSYKEY Target key name already exists."),
                Meaning::OnBoth,
            ),
            (
                format!("{target}OOM command not allowed when used memory > 'maxmemory'."),
                Meaning::Full,
            ),
            (
                format!("{target}READONLY You can't write against a read only replica."),
                Meaning::Changed,
            ),
            (format!("{target}MOVED 7 10.0.0.1:6379"), Meaning::Changed),
            (
                format!("{target}NOREPLICAS Not enough good replicas to write."),
                Meaning::Passes,
            ),
            ("LOADING".to_owned(), Meaning::Passes),
            (
                format!("{target}NOAUTH Authentication required."),
                Meaning::Final,
            ),
        ] {
            assert_eq!(judge(&words), meaning, "{words}");
        }
    }
}
