//! Sees to it that a target serves before a client is sent to it.

use std::time::Duration;

use model::address::NodeAddress;
use model::view::NodeView;

use crate::Ground;

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a target may take to serve. A new primary serves after 2 s (`CLUSTER_WRITABLE_DELAY`),
/// or after 5 s where it was alone before.
const SERVES_LIMIT: Duration = Duration::from_secs(10);

/// Waits until these nodes serve, so that no client is sent to one that does not. One that never
/// does refuses keys, and says why better than we could here.
pub(super) async fn await_all(ground: Ground<'_>, nodes: &[NodeAddress]) {
    let began = ground.clock.now();
    loop {
        let view = ground.nodes.observe(nodes, ground.credentials).await;
        let mut clusters = view.values().filter_map(NodeView::cluster);
        let waited = ground.clock.now().saturating_sub(began);
        if clusters.all(|cluster| cluster.serves) || waited >= SERVES_LIMIT {
            return;
        }
        ground.clock.sleep(LOOK_AGAIN).await;
    }
}
