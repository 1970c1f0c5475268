//! Sees to it that a node copies another primary than before.

use std::time::Duration;

use model::command::NodeCommand;
use model::step::Member;
use model::view::{PeerRole, Replication, ReplicationLink};

use crate::error::StewardError;
use crate::{Ground, talk};

/// How long it may take until the node knows its primary, and until its link is up. A first copy of
/// some gigabytes takes its time.
const LIMIT: Duration = Duration::from_secs(300);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Sees to it that `replica` copies `primary`, and has its link up.
pub(crate) async fn ensure(
    ground: Ground<'_>,
    replica: Member,
    primary: Member,
) -> Result<(), StewardError> {
    let began = ground.clock.now();
    loop {
        if copies(ground, replica, primary).await? {
            return Ok(());
        }
        if ground.clock.now().saturating_sub(began) >= LIMIT {
            return Err(StewardError::TooLate {
                what: format!("{replica} does not copy {primary}"),
                seconds: LIMIT.as_secs(),
            });
        }
        ground.clock.sleep(LOOK_AGAIN).await;
    }
}

/// Whether it copies the primary; it is told to where it does not.
async fn copies(
    ground: Ground<'_>,
    replica: Member,
    primary: Member,
) -> Result<bool, StewardError> {
    const NAME: &str = "CLUSTER REPLICATE";
    let cluster = talk::cluster(ground, replica).await?;
    let role = cluster.myself().map(|it| it.role);
    if role == Some(PeerRole::Replica(Some(primary.id))) {
        let link_is_up = match talk::replication(ground, replica).await? {
            Replication::Replica { link, .. } => link == ReplicationLink::Up,
            Replication::Primary { .. } => false,
        };
        return Ok(link_is_up);
    }
    let owns = cluster.myself().is_some_and(|it| !it.slots.is_empty());
    if owns {
        return Err(StewardError::NotEmpty {
            node: replica,
            why: "it owns slots".to_owned(),
        });
    }
    let order = [NodeCommand::Replicate(primary.id)];
    match talk::all(ground, replica, NAME, &order).await?.pop() {
        // It has yet to hear of its primary.
        Some(Err(words)) if words.contains("Unknown node") => Ok(false),
        Some(Err(words)) => Err(StewardError::Refused {
            node: replica,
            command: NAME,
            words,
        }),
        Some(Ok(_)) | None => Ok(false),
    }
}
