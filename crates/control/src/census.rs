//! Counts keys by slot: what a fix and a check have to know beyond what nodes say of themselves.
//!
//! It only asks. What a node that does not answer holds is not guessed: it is not in the count.

use std::time::Duration;

use futures::future::try_join_all;
use model::address::NodeAddress;
use model::command::{CommandError, NodeAnswer, NodeCommand};
use model::fault::{Class, Fault};
use model::slots::{Slot, SlotSet};
use model::spec::Credentials;
use model::step::Member;
use model::view::{ClusterView, NodeView};
use plan::fix::{self, Held};
use plan::tend::Seen;

use crate::command::Control;

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
    let nodes = &control.hands.nodes;
    let answers = nodes.send(member.address, &questions, credentials, LIMIT);
    let mut held = Held::new();
    for (slot, answer) in slots.into_iter().zip(answers.await) {
        match answer {
            Ok(NodeAnswer::Number(0)) => {}
            Ok(NodeAnswer::Number(count)) => {
                held.insert((member.id, slot), count);
            }
            Ok(_) => {}
            Err(CommandError::Lost(fault)) => return Err(fault),
            Err(CommandError::Refused(words)) => {
                let message = format!("{member}: {words}");
                return Err(Fault::new("SY2004", Class::Failed, message));
            }
        }
    }
    Ok(held)
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
