//! Ends the pause after which a new primary serves, as `admin::serving` does.

use std::time::Duration;

use model::fault::{Class, Fault};
use model::step::Member;
use tokio::time::sleep;

use super::{SimNodes, setting};

/// The node time-out for that moment.
const SHORT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the moment may last.
const DIP_LIMIT: Duration = Duration::from_secs(1);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(super) async fn ensure(nodes: &SimNodes, node: Member) -> Result<(), Fault> {
    let address = node.address;
    if serves(nodes, node).await? {
        return Ok(());
    }
    let keys = nodes.ask(address, |server, _| server.keys.len()).await?;
    if keys > 0 {
        let message = format!("{node} holds {keys} keys and is no new primary");
        return Err(Fault::new("SY2010", Class::Refused, message));
    }
    let changed = setting::change(nodes, address, |settings| {
        settings.node_timeout = SHORT_TIMEOUT;
    });
    let changed = changed.await?;
    let watched = watch(nodes, node).await;
    if let Some(before) = changed {
        setting::restore(nodes, address, before).await?;
    }
    watched
}

async fn watch(nodes: &SimNodes, node: Member) -> Result<(), Fault> {
    let began = nodes.world.now();
    while !serves(nodes, node).await? && nodes.world.now().saturating_sub(began) < DIP_LIMIT {
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn serves(nodes: &SimNodes, node: Member) -> Result<bool, Fault> {
    nodes.ask(node.address, |server, _| server.serves()).await
}
