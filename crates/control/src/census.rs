//! Counts keys by slot, or weighs them: what a fix, a check and a rebalance have to know beyond
//! what nodes say of themselves.
//!
//! It only asks. What a node that does not answer holds is not guessed: it is not in the count.

use std::time::Duration;

use futures::future::try_join_all;
use model::address::NodeAddress;
use model::command::{CommandError, NodeAnswer, NodeCommand, SlotStat};
use model::fault::{Class, Fault};
use model::slots::{Slot, SlotSet};
use model::spec::Credentials;
use model::step::Member;
use model::view::{ClusterView, NodeView};
use plan::fix::{self, Held};
use plan::moves::Loads;
use plan::tend::Seen;

use crate::command::{Control, Measure};

/// Counting is a look at one number for each slot.
const LIMIT: Duration = Duration::from_secs(10);

/// The keys that one primary holds of each of these slots; a slot without any is not in it.
pub(crate) async fn of_slots(
    control: &Control,
    credentials: Option<&Credentials>,
    member: Member,
    slots: &SlotSet,
) -> Result<Held, Fault> {
    let slots: Vec<Slot> = slots.iter().collect();
    let questions: Vec<NodeCommand> = slots.iter().map(|it| NodeCommand::CountKeys(*it)).collect();
    let answers = asked(control, credentials, member, questions).await?;
    let mut held = Held::new();
    for (slot, answer) in slots.into_iter().zip(answers) {
        if let NodeAnswer::Number(count @ 1..) = answer {
            held.insert((member.id, slot), count);
        }
    }
    Ok(held)
}

/// What each slot of these primaries weighs; `None` where each counts as much.
pub(crate) async fn weighed(
    control: &Control,
    credentials: Option<&Credentials>,
    primaries: &[(Member, SlotSet)],
    by: Measure,
) -> Result<Option<Loads>, Fault> {
    let asked = primaries.iter().map(|(member, slots)| async move {
        let each = (*member, slots);
        match by {
            Measure::Slots => Ok(Loads::new()),
            Measure::Keys => by_keys(control, credentials, each).await,
            Measure::Memory => by_memory(control, credentials, each).await,
            Measure::Load => {
                let stats = stats(control, credentials, each).await?;
                let costs = stats.iter().map(|it| Some((it.slot, it.cpu_usec?)));
                let costs: Option<Loads> = costs.collect();
                costs.ok_or_else(|| not_counted(*member))
            }
        }
    });
    let loads = try_join_all(asked).await?.into_iter().flatten().collect();
    Ok((by != Measure::Slots).then_some(loads))
}

async fn by_keys(
    control: &Control,
    credentials: Option<&Credentials>,
    (member, slots): (Member, &SlotSet),
) -> Result<Loads, Fault> {
    let held = of_slots(control, credentials, member, slots).await?;
    let counts = held.into_iter().map(|((_, slot), keys)| (slot, keys));
    Ok(counts.collect())
}

/// By the server's own count where it has one; else each slot's keys weigh what a few of them do.
async fn by_memory(
    control: &Control,
    credentials: Option<&Credentials>,
    (member, slots): (Member, &SlotSet),
) -> Result<Loads, Fault> {
    if let Ok(stats) = stats(control, credentials, (member, slots)).await {
        let counted: Option<Loads> = stats
            .iter()
            .map(|it| Some((it.slot, it.memory_bytes?)))
            .collect();
        if let Some(counted) = counted.filter(|it| !it.is_empty()) {
            return Ok(counted);
        }
    }
    let counts = by_keys(control, credentials, (member, slots)).await?;
    let counts: Vec<(Slot, u64)> = counts.into_iter().collect();
    let mut loads = Loads::new();
    for part in counts.chunks(SAMPLED_AT_ONCE) {
        loads.extend(sampled(control, credentials, member, part).await?);
    }
    Ok(loads)
}

/// What the keys of these slots weigh, by a few keys of each.
async fn sampled(
    control: &Control,
    credentials: Option<&Credentials>,
    member: Member,
    counts: &[(Slot, u64)],
) -> Result<Loads, Fault> {
    let questions = counts.iter().map(|(slot, _)| NodeCommand::KeysIn {
        slot: *slot,
        count: SAMPLE,
    });
    let answers = asked(control, credentials, member, questions.collect()).await?;
    let mut sample: Vec<(usize, Vec<u8>)> = Vec::new();
    for (index, answer) in answers.into_iter().enumerate() {
        if let NodeAnswer::Keys(keys) = answer {
            sample.extend(keys.into_iter().map(|key| (index, key)));
        }
    }
    let questions = sample.iter().map(|(_, key)| NodeCommand::SizeOf {
        key: key.clone(),
        samples: SAMPLE,
    });
    let sizes = asked(control, credentials, member, questions.collect()).await?;
    let mut sums = vec![(0_u64, 0_u64); counts.len()];
    for ((index, _), size) in sample.iter().zip(sizes) {
        // A key may be gone by now.
        if let (NodeAnswer::Number(size), Some((bytes, of))) = (size, sums.get_mut(*index)) {
            *bytes = bytes.saturating_add(size);
            *of += 1;
        }
    }
    let weighed = counts.iter().zip(sums);
    let weighed =
        weighed.map(|((slot, keys), (bytes, of))| (*slot, bytes.saturating_mul(*keys) / of.max(1)));
    Ok(weighed.collect())
}

/// How many keys of a slot are weighed, and how many elements of each.
const SAMPLE: u32 = 5;

/// Of how many slots keys are weighed at once.
const SAMPLED_AT_ONCE: usize = 256;

/// What a server counts of its slots.
async fn stats(
    control: &Control,
    credentials: Option<&Credentials>,
    (member, slots): (Member, &SlotSet),
) -> Result<Vec<SlotStat>, Fault> {
    let nodes = &control.hands.nodes;
    let question = [NodeCommand::SlotStats];
    let sent = nodes.send(member.address, &question, credentials, LIMIT);
    match sent.await.pop() {
        Some(Ok(NodeAnswer::SlotStats(mut stats))) => {
            stats.retain(|it| slots.contains(it.slot));
            Ok(stats)
        }
        Some(Err(CommandError::Lost(fault))) => Err(fault),
        Some(Err(CommandError::Refused(_)) | Ok(_)) | None => Err(not_counted(member)),
    }
}

fn not_counted(member: Member) -> Fault {
    let message = format!("{member} does not count what each slot costs");
    Fault::new("SY4061", Class::Refused, message).with_help(
        "servers from Valkey 8.0 and Redis 8.2 on do, with cluster-slot-stats-enabled yes; any \
         server can be balanced --by keys or memory",
    )
}

/// The answers to questions that no server refuses.
async fn asked(
    control: &Control,
    credentials: Option<&Credentials>,
    member: Member,
    questions: Vec<NodeCommand>,
) -> Result<Vec<NodeAnswer>, Fault> {
    let nodes = &control.hands.nodes;
    let answers = nodes.send(member.address, &questions, credentials, LIMIT);
    let answers = answers.await.into_iter();
    answers
        .map(|answer| match answer {
            Ok(answer) => Ok(answer),
            Err(CommandError::Lost(fault)) => Err(fault),
            Err(CommandError::Refused(words)) => {
                let message = format!("{member}: {words}");
                Err(Fault::new("SY2004", Class::Failed, message))
            }
        })
        .collect()
}

/// What each primary holds of the slots that are in disorder, and of slots that are others'.
pub(crate) async fn of_disorder(
    control: &Control,
    credentials: Option<&Credentials>,
    nodes: &[NodeAddress],
    view: &ClusterView,
) -> Result<Held, Fault> {
    let in_question = fix::slots_in_question(nodes, view);
    let seen = Seen { nodes, view };
    let counts = seen.shares().into_iter().map(|share| {
        let in_question = in_question.clone();
        async move {
            let mut held = of_slots(control, credentials, share.member, &in_question).await?;
            held.extend(strays(control, credentials, view, share.member, &share.slots).await?);
            Ok::<Held, Fault>(held)
        }
    });
    Ok(try_join_all(counts).await?.into_iter().flatten().collect())
}

/// The keys of slots that a primary does not own. Its own slots are counted first: only where they
/// hold fewer keys than it has are all others asked for, one number for each.
async fn strays(
    control: &Control,
    credentials: Option<&Credentials>,
    view: &ClusterView,
    member: Member,
    own: &SlotSet,
) -> Result<Held, Fault> {
    let keys = view
        .get(&member.address)
        .and_then(NodeView::report)
        .map_or(0, |it| it.keys);
    if keys == 0 {
        return Ok(Held::new());
    }
    let counted = of_slots(control, credentials, member, own).await?;
    if counted.values().sum::<u64>() >= keys {
        return Ok(Held::new());
    }
    let others = SlotSet::all().difference(own);
    of_slots(control, credentials, member, &others).await
}
