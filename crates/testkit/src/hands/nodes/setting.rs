//! A server's setting that is changed for a moment and put back, as `admin::setting` does.

use std::time::Duration;

use model::address::NodeAddress;
use model::fault::Fault;
use tokio::time::sleep;

use super::SimNodes;
use crate::server_config::Settings;

/// How often putting back is tried.
const RESTORE_TRIES: u32 = 3;

/// The pause between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Changes settings and gives what they were; `None` where they had these values already.
pub(super) async fn change(
    nodes: &SimNodes,
    address: NodeAddress,
    change: impl FnOnce(&mut Settings),
) -> Result<Option<Settings>, Fault> {
    let before = nodes.ask(address, |server, _| server.settings).await?;
    let mut after = before;
    change(&mut after);
    if after == before {
        return Ok(None);
    }
    set(nodes, address, after).await?;
    Ok(Some(before))
}

/// Puts settings back.
pub(super) async fn restore(
    nodes: &SimNodes,
    address: NodeAddress,
    before: Settings,
) -> Result<(), Fault> {
    let mut tries = 1;
    while let Err(fault) = set(nodes, address, before).await {
        if tries == RESTORE_TRIES {
            return Err(fault);
        }
        tries += 1;
        sleep(TRY_AGAIN).await;
    }
    Ok(())
}

async fn set(nodes: &SimNodes, address: NodeAddress, to: Settings) -> Result<(), Fault> {
    let order = nodes.order(address, |server, _, _| {
        server.settings = to;
        Ok(())
    });
    order.await.map(drop)
}
