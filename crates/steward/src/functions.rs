//! Sees to it that the functions of one node are on others as well: `MIGRATE` moves keys, and who
//! gets keys needs the functions that clients call on them.

use futures::future::join_all;
use model::command::{NodeAnswer, NodeCommand};
use model::step::Member;

use crate::error::StewardError;
use crate::{Ground, talk};

/// Gives the targets what they lack. Libraries that they have already stay as they are.
pub(crate) async fn ensure(
    ground: Ground<'_>,
    source: Member,
    targets: &[Member],
) -> Result<(), StewardError> {
    let Some(payload) = dump(ground, source).await? else {
        return Ok(());
    };
    if payload.len() <= EMPTY_LENGTH {
        return Ok(());
    }
    let each = targets.iter().map(|target| give(ground, *target, &payload));
    join_all(each).await.into_iter().collect()
}

/// Gives the targets the functions of a server that is in no cluster. It is also asked of one that
/// has none: a dump of nothing carries the version of the server that wrote it, and a target that
/// cannot read that one could read no key either.
pub(crate) async fn bring(
    from: Ground<'_>,
    source: Member,
    (ground, targets): (Ground<'_>, &[Member]),
) -> Result<(), StewardError> {
    let Some(payload) = dump(from, source).await? else {
        return Ok(());
    };
    let each = targets.iter().map(|target| give(ground, *target, &payload));
    join_all(each).await.into_iter().collect()
}

/// The functions of a node; `None` where it is of a version that knows none.
async fn dump(ground: Ground<'_>, node: Member) -> Result<Option<Vec<u8>>, StewardError> {
    let question = [NodeCommand::DumpFunctions];
    let said = talk::all(ground, node, "FUNCTION DUMP", &question).await?;
    match said.into_iter().next() {
        Some(Ok(NodeAnswer::Bytes(payload))) => Ok(Some(payload)),
        Some(Ok(_)) | None => Ok(None),
        // Redis 6 and earlier: an unknown command.
        Some(Err(_)) => Ok(None),
    }
}

/// The length of a dump without a library: its version and its checksum.
const EMPTY_LENGTH: usize = 10;

async fn give(ground: Ground<'_>, target: Member, payload: &[u8]) -> Result<(), StewardError> {
    const NAME: &str = "FUNCTION RESTORE";
    if dump(ground, target).await?.as_deref() == Some(payload) {
        return Ok(());
    }
    let order = [NodeCommand::RestoreFunctions(payload.to_vec())];
    match talk::all(ground, target, NAME, &order).await?.pop() {
        Some(Err(words)) if !words.contains("already exists") => Err(StewardError::Refused {
            node: target,
            command: NAME,
            words,
        }),
        Some(Ok(_) | Err(_)) | None => Ok(()),
    }
}
