//! The talk's template grows and shrinks by its own job.

use serde_json::Value;

use crate::{Shardyard, Writer, connect};

/// Grows a delivered `redis-sharding` from six servers to nine and shrinks it to six again, under a
/// client that writes, and looks at who owns what.
///
/// # Panics
/// Where anything is not as it should be.
pub fn the_job_reshards_and_drains(product: &Shardyard) {
    let name = product.name();
    let writer = Writer::start(product.urls());
    let scale = |nodes: u32| {
        let nodes = format!("NODES={nodes}");
        product.ok(&["scale", name, "--set", &nodes, "--yes", "-o", "json"])
    };
    // Two of three newcomers make a shard, the third is one more copy.
    let status = scale(9).json();
    assert_eq!(
        shape(&status),
        [(4096, 1), (4096, 1), (4096, 1), (4096, 2)],
        "{status:#}"
    );
    let log = product.ok(&["logs", name, "redis-trib-reshard"]).stdout;
    assert!(log.contains("[OK] All 16384 slots covered."), "{log}");

    let status = scale(6).json();
    assert_eq!(
        shape(&status),
        [(5461, 1), (5461, 1), (5462, 1)],
        "{status:#}"
    );
    assert_eq!(status["state"], "ready");
    let log = product.ok(&["logs", name, "redis-trib-drain"]).stdout;
    assert!(log.contains("0 acknowledged writes lost"), "{log}");
    assert_eq!(product.up(&[])["changed"], false);

    let ledger = writer.stop();
    assert!(ledger.acknowledged.len() > 100, "{ledger:?}");
    assert_eq!(
        ledger.missing(&mut connect(&product.urls())),
        Vec::<u64>::new()
    );
}

/// The slots and the replicas of each shard, the fewest first.
fn shape(status: &Value) -> Vec<(u64, usize)> {
    let shards = status["shards"].as_array().unwrap().iter();
    let mut shape: Vec<(u64, usize)> = shards
        .map(|it| {
            let replicas = it["replicas"].as_array().unwrap().len();
            (it["slot_count"].as_u64().unwrap(), replicas)
        })
        .collect();
    shape.sort_unstable();
    shape
}
