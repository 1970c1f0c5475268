//! Speaks to one server: a question or an order, tried again where no answer came.
//!
//! What is tried again can be applied twice. A refusal is never tried again here: it is the
//! server's word, and what it means is for who asked.

use std::time::Duration;

use model::address::NodeAddress;
use model::command::{CommandError, Key, NodeAnswer, NodeCommand};
use model::slots::Slot;
use model::step::Member;
use model::view::{ClusterReport, Replication};

use crate::Ground;
use crate::error::StewardError;

/// How long an answer to a question or an order may take. A server that runs a slow command is
/// silent for seconds and yet well.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How often a question or an order is sent. The second time finds a connection that was not lost;
/// after the third the server is.
const TRIES: u32 = 3;

/// The pause before the next try.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The answer to one of several commands: what the server said, or its refusal in its own words.
pub(crate) type Said = Result<NodeAnswer, String>;

/// Sends commands until each has an answer or a refusal.
pub(crate) async fn all(
    ground: Ground<'_>,
    node: Member,
    name: &'static str,
    commands: &[NodeCommand],
) -> Result<Vec<Said>, StewardError> {
    let mut tries = 0;
    loop {
        let sent = ground
            .nodes
            .send(node.address, commands, ground.credentials, ANSWER_LIMIT);
        match settled(sent.await, commands.len()) {
            Ok(said) => return Ok(said),
            Err(why) => {
                tries += 1;
                if tries == TRIES {
                    let command = name;
                    return Err(StewardError::NoAnswer { node, command, why });
                }
            }
        }
        ground.clock.sleep(TRY_AGAIN).await;
    }
}

/// The answers, or why one of them is lost.
fn settled(
    answers: Vec<Result<NodeAnswer, CommandError>>,
    expected: usize,
) -> Result<Vec<Said>, String> {
    if answers.len() != expected {
        return Err("answers are missing".to_owned());
    }
    answers
        .into_iter()
        .map(|answer| match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(CommandError::Refused(words)) => Ok(Err(words)),
            Err(CommandError::Lost(fault)) => Err(fault.message),
        })
        .collect()
}

/// Sends one command; a refusal is an error.
pub(crate) async fn one(
    ground: Ground<'_>,
    node: Member,
    name: &'static str,
    command: NodeCommand,
) -> Result<NodeAnswer, StewardError> {
    let said = all(ground, node, name, &[command]).await?.pop();
    let command = name;
    match said {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(words)) => Err(StewardError::Refused {
            node,
            command,
            words,
        }),
        None => Err(odd(node, command)),
    }
}

/// The error of an answer of another kind than the command has; a bug of a port.
pub(crate) fn odd(node: Member, command: &'static str) -> StewardError {
    StewardError::NoAnswer {
        node,
        command,
        why: "an answer of another kind came".to_owned(),
    }
}

/// What a node knows of its cluster.
pub(crate) async fn cluster(
    ground: Ground<'_>,
    node: Member,
) -> Result<ClusterReport, StewardError> {
    const NAME: &str = "CLUSTER NODES";
    let NodeAnswer::Cluster(report) = one(ground, node, NAME, NodeCommand::Cluster).await? else {
        return Err(odd(node, NAME));
    };
    Ok(*report)
}

/// A node's part in replication.
pub(crate) async fn replication(
    ground: Ground<'_>,
    node: Member,
) -> Result<Replication, StewardError> {
    const NAME: &str = "INFO replication";
    let answer = one(ground, node, NAME, NodeCommand::Replication).await?;
    let NodeAnswer::Replication(replication) = answer else {
        return Err(odd(node, NAME));
    };
    Ok(replication)
}

/// The same for a server of which only the address is known, asked once: `None` where it gives no
/// answer.
pub(crate) async fn replication_at(
    ground: Ground<'_>,
    address: NodeAddress,
) -> Option<Replication> {
    let question = [NodeCommand::Replication];
    let sent = ground
        .nodes
        .send(address, &question, ground.credentials, ANSWER_LIMIT);
    match sent.await.pop()? {
        Ok(NodeAnswer::Replication(replication)) => Some(replication),
        Ok(_) | Err(_) => None,
    }
}

/// The number of keys in each of these slots.
pub(crate) async fn key_counts(
    ground: Ground<'_>,
    node: Member,
    slots: &[Slot],
) -> Result<Vec<u64>, StewardError> {
    const NAME: &str = "CLUSTER COUNTKEYSINSLOT";
    let questions: Vec<NodeCommand> = slots.iter().map(|it| NodeCommand::CountKeys(*it)).collect();
    let said = all(ground, node, NAME, &questions).await?;
    said.into_iter()
        .map(|said| match said {
            Ok(NodeAnswer::Number(count)) => Ok(count),
            Ok(_) => Err(odd(node, NAME)),
            Err(words) => Err(StewardError::Refused {
                node,
                command: NAME,
                words,
            }),
        })
        .collect()
}

/// Up to `count` keys of each of these slots.
pub(crate) async fn keys_in(
    ground: Ground<'_>,
    node: Member,
    slots: &[Slot],
    count: u32,
) -> Result<Vec<Vec<Key>>, StewardError> {
    const NAME: &str = "CLUSTER GETKEYSINSLOT";
    let questions: Vec<NodeCommand> = slots
        .iter()
        .map(|slot| NodeCommand::KeysIn { slot: *slot, count })
        .collect();
    let said = all(ground, node, NAME, &questions).await?;
    said.into_iter()
        .map(|said| match said {
            Ok(NodeAnswer::Keys(keys)) => Ok(keys),
            Ok(_) => Err(odd(node, NAME)),
            Err(words) => Err(StewardError::Refused {
                node,
                command: NAME,
                words,
            }),
        })
        .collect()
}
