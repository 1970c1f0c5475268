
/// How long a target may take to serve. A new primary serves after 2 s (`CLUSTER_WRITABLE_DELAY`),
/// or after 5 s where it was alone before.
const SERVES_LIMIT: Duration = Duration::from_secs(10);

/// Waits until these nodes serve, so that no client is sent to one that does not. One that never does
/// refuses keys, and says why better than we could here.
pub(super) async fn serving(ground: Ground<'_>, nodes: &[NodeAddress]) {
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
