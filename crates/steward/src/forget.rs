//! Has nodes forget others that are gone.
//!
//! A node that was told to forget another refuses to hear of it for a minute; whoever still knows
//! it then tells everybody of it again. So all are told at once, and asked afterwards.

use std::time::Duration;

use futures::future::join_all;
use model::command::NodeCommand;
use model::ids::NodeId;
use model::step::Member;

use crate::error::StewardError;
use crate::{Ground, talk};

/// How long it may take: half of the minute for which a node refuses to hear of one that it forgot
/// (`CLUSTER_BLACKLIST_TTL`, 60 s in Redis 7.0).
const LIMIT: Duration = Duration::from_secs(30);

/// The pause before those that still know somebody are told again.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// Sees to it that none of `by` knows any of `gone`.
pub(crate) async fn ensure_all(
    ground: Ground<'_>,
    gone: &[NodeId],
    by: &[Member],
) -> Result<(), StewardError> {
    let began = ground.clock.now();
    loop {
        let each = by.iter().map(|node| ensure(ground, *node, gone));
        let Some(error) = join_all(each).await.into_iter().find_map(Result::err) else {
            return Ok(());
        };
        if ground.clock.now().saturating_sub(began) >= LIMIT {
            return Err(error);
        }
        ground.clock.sleep(TELL_AGAIN).await;
    }
}

async fn ensure(ground: Ground<'_>, by: Member, gone: &[NodeId]) -> Result<(), StewardError> {
    const NAME: &str = "CLUSTER FORGET";
    let known: Vec<NodeId> = known(ground, by, gone).await?;
    if known.is_empty() {
        return Ok(());
    }
    let orders: Vec<NodeCommand> = known.iter().copied().map(NodeCommand::Forget).collect();
    let said = talk::all(ground, by, NAME, &orders).await?;
    let refusal = said.into_iter().find_map(Result::err);
    // What counts is whether it knows them, whatever it said.
    match self::known(ground, by, gone).await?.first() {
        None => Ok(()),
        Some(id) => Err(StewardError::NotForgotten {
            by,
            gone: id.short(),
            why: refusal.unwrap_or_else(|| "it has heard of it again".to_owned()),
        }),
    }
}

/// Whom of these a node knows.
async fn known(
    ground: Ground<'_>,
    node: Member,
    gone: &[NodeId],
) -> Result<Vec<NodeId>, StewardError> {
    let cluster = talk::cluster(ground, node).await?;
    let known = gone.iter().copied();
    Ok(known
        .filter(|id| *id != node.id && cluster.peer(*id).is_some())
        .collect())
}
