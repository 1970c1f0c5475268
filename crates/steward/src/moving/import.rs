//! Brings the keys of a server that is in no cluster into one, with `MIGRATE`: a page of `SCAN` at
//! a time, cut into batches by target and by bytes, several of which are under way at once.
//!
//! A key leaves its source only once its target has acknowledged it. A key that both have is
//! overwritten only where that was asked for: nothing is begun where there is one with another
//! value, and one with the same value is what somebody who was cut off has left.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{join_all, join3};
use model::command::{CommandError, Key, KeyQuestion, NodeAnswer, NodeCommand, TargetLogin};
use model::ids::NodeId;
use model::migration::{Import, ImportTarget};
use model::slots::{SLOT_COUNT, Slot};
use model::step::Member;

use super::batch::{self, Batch, Cut, Weighed};
use super::compare::{self, Match, Place};
use super::governor::Governor;
use super::tally::Tally;
use super::window::{self, Meaning};
use super::{Work, big, fence, governor};
use crate::error::StewardError;
use crate::{Ground, functions, talk};

/// About how many keys a page has: a server looks through them in some milliseconds.
const PAGE_KEYS: u32 = 4096;

/// How many keys are asked for at once whether a target has them.
const ASKED_AT_ONCE: usize = 4096;

/// How long a page may go without a key that moves.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause after a round in which nothing moved.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// How many keys a refusal names.
const NAMES_MAX: usize = 10;

/// The number of a target in the list of all.
type Target = usize;

/// Sees to it that the cluster has the keys and the functions of the server.
pub(crate) async fn ensure(ground: Ground<'_>, import: &Import) -> Result<(), StewardError> {
    let mut source = Source::new(ground, import);
    let members: Vec<Member> = import.targets.iter().map(|it| it.member).collect();
    let from = (source.ground, source.stand_in);
    functions::bring(from.0, from.1, (ground, &members))
        .await
        .map_err(|error| source.named(error))?;
    if !import.manner.replace {
        for target in &import.targets {
            source.taken.push(count(ground, target.member).await? > 0);
        }
        refuse_others(&source).await?;
    }
    let tally = Tally::new(ground.clock.now(), 0, keys_of(&source).await?);
    let governor = Governor::new(&import.manner);
    let work = Work {
        ground,
        manner: &import.manner,
        governor: &governor,
        tally: &tally,
    };
    governor::watched(work, &members, all(work, &source)).await
}

/// The server whose keys come in.
struct Source<'a> {
    import: &'a Import,
    /// Speaks to the cluster.
    cluster: Ground<'a>,
    /// Speaks to the server.
    ground: Ground<'a>,
    /// A server in no cluster has no id. This one stands for it, and no message shows it.
    stand_in: Member,
    /// Which target owns a slot, by its number.
    owners: Vec<Option<Target>>,
    /// Whether a target had keys before; not asked for where they are overwritten.
    taken: Vec<bool>,
}

impl<'a> Source<'a> {
    fn new(cluster: Ground<'a>, import: &'a Import) -> Self {
        let owner = |slot: u16| {
            let slot = Slot::new(slot)?;
            let mut targets = import.targets.iter();
            targets.position(|it| it.slots.contains(slot))
        };
        Self {
            import,
            cluster,
            ground: Ground {
                credentials: cluster.source_credentials,
                ..cluster
            },
            stand_in: Member {
                id: NodeId::from_bytes([0; 20]),
                address: import.source,
            },
            owners: (0..SLOT_COUNT).map(owner).collect(),
            taken: Vec::new(),
        }
    }

    fn target(&self, key: &[u8]) -> Result<Target, StewardError> {
        let slot = Slot::of_key(key);
        let owner = self.owners.get(usize::from(slot.number()));
        // A plan has an owner for each slot.
        owner
            .copied()
            .flatten()
            .ok_or_else(|| StewardError::TooLate {
                what: format!("nobody owns slot {}", slot.number()),
                seconds: 0,
            })
    }

    fn by_target(&self, keys: Vec<Key>) -> Result<Vec<Vec<Key>>, StewardError> {
        let mut parts = vec![Vec::new(); self.import.targets.len()];
        for key in keys {
            parts[self.target(&key)?].push(key);
        }
        Ok(parts)
    }

    fn place(&self) -> Place<'a> {
        Place {
            address: self.import.source,
            credentials: self.ground.credentials,
        }
    }

    fn place_of(&self, target: &ImportTarget) -> Place<'a> {
        Place {
            address: target.member.address,
            credentials: self.cluster.credentials,
        }
    }

    /// An error about the server, by its address.
    fn named(&self, error: StewardError) -> StewardError {
        let at_source = |command, words, is_silent| StewardError::AtSource {
            source_node: self.import.source,
            command,
            words,
            is_silent,
        };
        if let StewardError::NoAnswer { node, command, why } = &error
            && *node == self.stand_in
        {
            return at_source(command, why.clone(), true);
        }
        if let StewardError::Refused {
            node,
            command,
            words,
        } = &error
        {
            if *node == self.stand_in {
                return at_source(command, words.clone(), false);
            }
            if is_other_version(words) {
                return self.other_version(*node, words.clone());
            }
        }
        error
    }

    fn other_version(&self, target: Member, words: String) -> StewardError {
        StewardError::OtherVersion {
            source_node: self.import.source,
            target,
            words,
        }
    }

    /// One that gave no answer to a comparison.
    fn unknown(&self, error: compare::NoAnswer) -> StewardError {
        let compare::NoAnswer { address, why } = error;
        let mut members = self.import.targets.iter().map(|it| it.member);
        let node = members.find(|it| it.address == address);
        self.named(StewardError::NoAnswer {
            node: node.unwrap_or(self.stand_in),
            command: "DUMP",
            why,
        })
    }
}

/// What `RESTORE` says of a dump of a later version (`verifyDumpPayload`, cluster.c of Redis 7.0).
fn is_other_version(words: &str) -> bool {
    words.contains("payload version") || words.contains("Bad data format")
}

async fn keys_of(source: &Source<'_>) -> Result<u64, StewardError> {
    count(source.ground, source.stand_in)
        .await
        .map_err(|error| source.named(error))
}

/// The keys of a server.
async fn count(ground: Ground<'_>, node: Member) -> Result<u64, StewardError> {
    const NAME: &str = "INFO keyspace";
    let answer = talk::one(ground, node, NAME, NodeCommand::Databases).await?;
    let NodeAnswer::Databases(databases) = answer else {
        return Err(talk::odd(node, NAME));
    };
    Ok(databases.values().sum())
}

/// A page of keys, none of them twice, and where to go on.
async fn page(source: &Source<'_>, cursor: u64) -> Result<(u64, Vec<Key>), StewardError> {
    const NAME: &str = "SCAN";
    let count = PAGE_KEYS;
    let scan = NodeCommand::Scan { cursor, count };
    let said = talk::one(source.ground, source.stand_in, NAME, scan).await;
    let NodeAnswer::Page(next, mut keys) = said.map_err(|error| source.named(error))? else {
        return Err(source.named(talk::odd(source.stand_in, NAME)));
    };
    keys.sort_unstable();
    keys.dedup();
    Ok((next, keys))
}

/// Refuses where the cluster has a key of the server's with another value, before anything is done.
async fn refuse_others(source: &Source<'_>) -> Result<(), StewardError> {
    if !source.taken.contains(&true) {
        return Ok(());
    }
    let mut others = Others::default();
    let mut cursor = 0;
    // It ends: a server has been through its keys once when it gives the cursor 0.
    loop {
        let (next, keys) = page(source, cursor).await?;
        for (target, keys) in source.by_target(keys)?.into_iter().enumerate() {
            let (there, _) = split(source, target, keys).await?;
            for (key, found) in compared(source, target, &there).await? {
                if found == Match::Differs {
                    others.add(&key);
                }
            }
        }
        if next == 0 {
            return others.refusal(source, 0);
        }
        cursor = next;
    }
}

/// Keys that both sides have with different values.
#[derive(Default)]
struct Others {
    count: u64,
    names: Vec<String>,
}

impl Others {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        if self.names.len() < NAMES_MAX {
            self.names.push(big::name(key));
        }
    }

    fn refusal(self, source: &Source<'_>, moved: u64) -> Result<(), StewardError> {
        if self.count == 0 {
            return Ok(());
        }
        Err(StewardError::InBoth {
            source_node: source.import.source,
            count: self.count,
            moved,
            names: self.names,
        })
    }
}

/// The keys that a target has as well, and those that it has not.
async fn split(
    source: &Source<'_>,
    target: Target,
    keys: Vec<Key>,
) -> Result<(Vec<Key>, Vec<Key>), StewardError> {
    if source.taken.get(target) != Some(&true) {
        return Ok((Vec::new(), keys));
    }
    let place = source.place_of(&source.import.targets[target]);
    let mut said = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(ASKED_AT_ONCE) {
        let answers = compare::ask(source.cluster, place, chunk, &[KeyQuestion::Exists]).await;
        said.extend(answers.map_err(|error| source.unknown(error))?);
    }
    let (there, not): (Vec<_>, Vec<_>) = keys
        .into_iter()
        .zip(said)
        .partition(|(_, answer)| *answer != NodeAnswer::Number(0));
    let keys = |part: Vec<(Key, NodeAnswer)>| part.into_iter().map(|(key, _)| key).collect();
    Ok((keys(there), keys(not)))
}

/// What the server and a target have of each key.
async fn compared(
    source: &Source<'_>,
    target: Target,
    keys: &[Key],
) -> Result<Vec<(Key, Match)>, StewardError> {
    let places = (
        source.place(),
        source.place_of(&source.import.targets[target]),
    );
    let mut all = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(compare::AT_ONCE) {
        let found = compare::all(source.cluster, places, chunk).await;
        let found = found.map_err(|error| source.unknown(error))?;
        all.extend(chunk.iter().cloned().zip(found));
    }
    Ok(all)
}

/// Moves page after page. While one moves, the next is asked for, and replicas catch up with what
/// has moved before.
async fn all(work: Work<'_>, source: &Source<'_>) -> Result<(), StewardError> {
    let (mut cursor, mut keys) = fetch(source, 0).await?;
    loop {
        if work.must_stop() {
            return Err(StewardError::Stopped);
        }
        let ahead = async {
            match cursor {
                0 => Ok((0, Vec::new())),
                cursor => fetch(source, cursor).await,
            }
        };
        let under_way: BTreeSet<Key> = keys.iter().map(|it| it.key.clone()).collect();
        let moving = move_page(work, source, keys);
        let (moved, fetched, fenced) = join3(moving, ahead, copied(work, source)).await;
        moved?;
        fenced?;
        if cursor == 0 {
            return copied(work, source).await;
        }
        (cursor, keys) = fetched?;
        // A server that shrinks its table names keys twice; those have moved by now.
        keys.retain(|it| !under_way.contains(&it.key));
    }
}

/// A page of keys that are to be moved, with their sizes, and where to go on.
async fn fetch(
    source: &Source<'_>,
    cursor: u64,
) -> Result<(u64, Vec<Weighed<Target>>), StewardError> {
    let (next, keys) = page(source, cursor).await?;
    let keys = without_copied(source, keys).await?;
    Ok((next, weigh(source, keys).await?))
}

async fn weigh(source: &Source<'_>, keys: Vec<Key>) -> Result<Vec<Weighed<Target>>, StewardError> {
    let mut grouped = Vec::with_capacity(keys.len());
    for (target, keys) in source.by_target(keys)?.into_iter().enumerate() {
        grouped.extend(keys.into_iter().map(|key| (target, key)));
    }
    let weighed = big::weigh(source.ground, source.stand_in, grouped).await;
    weighed.map_err(|error| source.named(error))
}

/// Moves these keys; those of which nobody knows whether they moved are looked at and tried again.
async fn move_page(
    work: Work<'_>,
    source: &Source<'_>,
    mut keys: Vec<Weighed<Target>>,
) -> Result<(), StewardError> {
    let clock = work.ground.clock;
    let mut moved_at = clock.now();
    while !keys.is_empty() {
        let before = keys.len();
        let sent = send_all(work, source, keys).await?;
        let left = settle(work, source, sent.unsettled).await?;
        if left.len() < before {
            moved_at = clock.now();
        }
        if let Some(why) = sent.why {
            if clock.now().saturating_sub(moved_at) >= PATIENCE {
                return Err(why);
            }
            clock.sleep(TRY_AGAIN).await;
        }
        keys = weigh(source, left).await?;
    }
    Ok(())
}

/// Leaves out what the cluster has, where keys are copied: it has been found to be the same before,
/// and what is copied now can be counted. What moves leaves its source, and is seldom on both
/// sides: nobody has to be asked.
async fn without_copied(source: &Source<'_>, keys: Vec<Key>) -> Result<Vec<Key>, StewardError> {
    if !source.import.copies {
        return Ok(keys);
    }
    let mut left = Vec::new();
    for (target, keys) in source.by_target(keys)?.into_iter().enumerate() {
        left.extend(split(source, target, keys).await?.1);
    }
    Ok(left)
}

/// What came of some rounds.
#[derive(Default)]
struct Sent {
    /// Keys that may be here, there, or on both sides.
    unsettled: Vec<(Target, Vec<Key>)>,
    /// Why something did not move, where that may pass.
    why: Option<StewardError>,
}

async fn send_all(
    work: Work<'_>,
    source: &Source<'_>,
    keys: Vec<Weighed<Target>>,
) -> Result<Sent, StewardError> {
    let manner = work.manner;
    let cut = Cut {
        bytes_max: work.governor.batch_bytes(),
        keys_max: usize::try_from(manner.batch_keys_max)
            .unwrap_or(usize::MAX)
            .max(1),
        big_from: manner.big_keys.from().as_bytes(),
    };
    let mut batches = batch::batches(keys, cut);
    let mut sent = Sent::default();
    while !batches.is_empty() {
        let round = batch::round(&mut batches, work.governor.round_bytes());
        if sent.why.is_some() {
            // Something is amiss: these are looked at, and wait for the next time.
            let left = round.into_iter().map(|it| (it.group, it.keys));
            sent.unsettled.extend(left);
            continue;
        }
        governor::admit(work, round.iter().map(|it| it.keys.len()).sum()).await;
        send_round(work, source, round, &mut sent).await?;
    }
    Ok(sent)
}

async fn send_round(
    work: Work<'_>,
    source: &Source<'_>,
    round: Vec<Batch<Target>>,
    sent: &mut Sent,
) -> Result<(), StewardError> {
    let import = source.import;
    let timeout = window::timeout(work, round.iter().map(|it| it.bytes).sum());
    let login = source.cluster.credentials.cloned();
    let commands: Vec<NodeCommand> = round
        .iter()
        .map(|batch| NodeCommand::Migrate {
            to: import.targets[batch.group].member.address,
            keys: batch.keys.clone(),
            timeout,
            replace: work.manner.replace,
            copies: import.copies,
            login: TargetLogin::Other(login.clone()),
        })
        .collect();
    // A server gives up by itself before we do.
    let limit = timeout * 2 + talk::ANSWER_LIMIT;
    let place = source.place();
    let nodes = work.ground.nodes;
    let answers = nodes.send(place.address, &commands, place.credentials, limit);
    for (batch, answer) in round.into_iter().zip(answers.await) {
        match answer {
            Ok(NodeAnswer::NoKey) => {}
            Ok(_) => work.tally.keys(batch.keys.len(), batch.bytes),
            Err(error) => {
                let target = import.targets[batch.group].member;
                sent.why = not_moved(source, target, error)?.or(sent.why.take());
                sent.unsettled.push((batch.group, batch.keys));
            }
        }
    }
    Ok(())
}

/// Waits until a replica of each target has what it has now: what has left its source must outlive
/// its new owner. What is copied need not.
async fn copied(work: Work<'_>, source: &Source<'_>) -> Result<(), StewardError> {
    if source.import.copies || !work.manner.fence {
        return Ok(());
    }
    let targets = source.import.targets.iter();
    let each = targets.map(|it| fence::by_one(work, it.member, &it.replicas));
    join_all(each).await.into_iter().collect()
}

/// What it means that a batch did not move: an end, something that may pass, or `None` where keys
/// were on both sides and the others of the batch have moved.
fn not_moved(
    source: &Source<'_>,
    target: Member,
    error: CommandError,
) -> Result<Option<StewardError>, StewardError> {
    const NAME: &str = "MIGRATE";
    let (words, is_silent) = match error {
        CommandError::Refused(words) => (words, false),
        CommandError::Lost(fault) => (fault.message, true),
    };
    let at_source = |words| StewardError::AtSource {
        source_node: source.import.source,
        command: NAME,
        words,
        is_silent,
    };
    if is_silent {
        return Ok(Some(at_source(words)));
    }
    if is_other_version(&words) {
        return Err(source.other_version(target, words));
    }
    match window::judge(&words) {
        Meaning::OnBoth => Ok(None),
        Meaning::Uncertain | Meaning::Passes => Ok(Some(at_source(words))),
        Meaning::Full => Err(StewardError::Full { target, words }),
        Meaning::Changed => Err(StewardError::NoPrimary { node: target }),
        Meaning::Final => Err(at_source(words)),
    }
}

/// Looks where these keys are. One that both sides have with the same value has arrived, and leaves
/// its source; those that only the source has are given back, to be tried again.
async fn settle(
    work: Work<'_>,
    source: &Source<'_>,
    unsettled: Vec<(Target, Vec<Key>)>,
) -> Result<Vec<Key>, StewardError> {
    let mut left = Vec::new();
    let mut others = Others::default();
    for (target, keys) in unsettled {
        if work.manner.replace {
            left.extend(keys);
            continue;
        }
        let mut arrived = Vec::new();
        for (key, found) in compared(source, target, &keys).await? {
            match found {
                Match::Gone if source.import.copies => {}
                Match::Gone => work.tally.keys(1, 0),
                Match::Alone => left.push(key),
                Match::Same => arrived.push(key),
                Match::Differs => others.add(&key),
            }
        }
        copied(work, source).await?;
        leave(work, source, arrived).await?;
    }
    let moved = work.tally.progress(work.ground.clock.now()).keys_done;
    others.refusal(source, moved)?;
    Ok(left)
}

/// Has keys that have arrived leave their source; those that are copied stay.
async fn leave(work: Work<'_>, source: &Source<'_>, arrived: Vec<Key>) -> Result<(), StewardError> {
    const NAME: &str = "DEL";
    if source.import.copies || arrived.is_empty() {
        return Ok(());
    }
    let count = arrived.len();
    let orders: Vec<NodeCommand> = arrived
        .into_iter()
        .map(|key| NodeCommand::Del { key })
        .collect();
    let said = talk::all(source.ground, source.stand_in, NAME, &orders).await;
    let said = said.map_err(|error| source.named(error))?;
    if let Some(words) = said.into_iter().find_map(Result::err) {
        return Err(source.named(StewardError::Refused {
            node: source.stand_in,
            command: NAME,
            words,
        }));
    }
    work.tally.keys(count, 0);
    Ok(())
}
