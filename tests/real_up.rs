//! Delivery on real servers: from nothing to ready, again, down and back, in every listed version.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::BTreeSet;
use std::time::Duration;

use redis::Commands;
use rustix::process::Signal;
use serde_json::Value;
use tests::{Shardyard, connect, kill, servers, the_job_reshards_and_drains, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn nodes(status: &Value) -> Vec<&Value> {
    let shards = status["shards"].as_array().unwrap();
    shards
        .iter()
        .flat_map(|shard| {
            let replicas = shard["replicas"].as_array().unwrap();
            std::iter::once(&shard["primary"]).chain(replicas)
        })
        .collect()
}

/// Delivers with these variables, and holds what came of it against what was asked for.
fn check(arguments: &[&str], shards: usize, replicas: usize) -> (Shardyard, Value) {
    let product = Shardyard::new();
    let status = product.up(arguments);
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_eq!(status["created"], true);
    let found = status["shards"].as_array().unwrap();
    assert_eq!(found.len(), shards);
    let counts: Vec<u64> = found
        .iter()
        .map(|shard| shard["slot_count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 16384);
    let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
    assert!(spread <= 1, "{counts:?}");
    for shard in found {
        assert_eq!(shard["replicas"].as_array().unwrap().len(), replicas);
    }
    assert!(nodes(&status).iter().all(|node| node["linked"] == true));
    assert_eq!(product.steps_left(), 0);
    (product, status)
}

#[test]
fn a_fresh_home_gets_a_ready_cluster_and_a_second_up_finds_nothing_to_do() {
    let (product, first) = check(&["redis-cluster"], 3, 1);
    // On a busy host an election can be lost, and the roles are as good the other way round.
    for (number, shard) in first["shards"].as_array().unwrap().iter().enumerate() {
        let primary = shard["primary"]["workload"].as_str().unwrap();
        let either = [
            format!("redis-{}", number + 1),
            format!("redis-{}", number + 4),
        ];
        assert!(either.iter().any(|it| it == primary), "{first:#}");
    }
    let second = product.up(&[]);
    assert_eq!(second["changed"], false);
    assert_eq!(second["created"], false);
    let list = product.ok(&["ls", "-o", "json"]).json();
    assert_eq!(list["instances"][0]["state"], "ready");
    assert_eq!(list["apiVersion"], "shardyard/v1");
}

#[test]
fn a_stock_cluster_client_writes_and_reads_ten_thousand_keys() {
    let (product, _) = check(&[], 3, 1);
    let mut connection = connect(&product.urls());
    for number in 0..10_000_u32 {
        let _: () = connection.set(format!("key:{number}"), number).unwrap();
    }
    for number in 0..10_000_u32 {
        let value: u32 = connection.get(format!("key:{number}")).unwrap();
        assert_eq!(value, number);
    }
    let status = product.status();
    let keys: u64 = status["shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| shard["primary"]["keys"].as_u64().unwrap())
        .sum();
    assert_eq!(keys, 10_000);
}

#[test]
fn every_listed_version_is_delivered_and_serves() {
    for image in servers() {
        let (product, status) = check(&["--set", &format!("IMAGE={image}")], 3, 1);
        let version = status["shards"][0]["primary"]["version"].as_str().unwrap();
        let (software, major) = image.rsplit_once(':').unwrap();
        let software = software.rsplit('/').next().unwrap();
        assert!(
            version.starts_with(&format!("{software} {major}.")),
            "{version}"
        );
        let mut connection = connect(&product.urls());
        let _: () = connection.set("key", image).unwrap();
        let value: String = connection.get("key").unwrap();
        assert_eq!(value, image);
        // Each claim has an epoch of its own: two equal ones would mean an unordered takeover.
        let address = status["shards"][0]["primary"]["address"].as_str().unwrap();
        let info = product.ok(&[
            "exec",
            product.name(),
            "redis-1",
            "--",
            "redis-cli",
            "cluster",
            "nodes",
        ]);
        let epochs: Vec<&str> = info
            .stdout
            .lines()
            .filter(|line| line.contains("master"))
            .map(|line| line.split(' ').nth(6).unwrap())
            .collect();
        let distinct: BTreeSet<&&str> = epochs.iter().collect();
        assert_eq!(distinct.len(), 3, "{address}: {epochs:?}");
    }
}

#[test]
fn odd_shapes_are_delivered() {
    check(&["--shards", "1", "--replicas", "0"], 1, 0);
    check(&["--shards", "2", "--replicas", "1"], 2, 1);
    check(
        &["--shards", "5", "--replicas", "0", "--memory", "64MiB"],
        5,
        0,
    );
    check(
        &["--shards", "3", "--replicas", "3", "--memory", "64MiB"],
        3,
        3,
    );
}

#[test]
fn thirty_one_nodes_of_uneven_shards_are_delivered() {
    check(
        &["--shards", "31", "--replicas", "0", "--memory", "32MiB"],
        31,
        0,
    );
}

#[test]
fn the_talks_template_makes_its_cluster_by_its_job() {
    let product = Shardyard::new();
    let ran = product.ok(&["up", "redis-sharding", "--name", product.name(), "--yes"]);
    assert!(
        ran.stderr.contains(">>> Creating cluster"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("[OK] All 16384 slots covered."),
        "{}",
        ran.stderr
    );
    assert_eq!(product.state(), "ready");
    assert_eq!(product.steps_left(), 0);
    let log = product.ok(&["logs", product.name(), "redis-trib"]);
    assert!(
        log.stdout.contains("[OK] All nodes agree"),
        "{}",
        log.stdout
    );
    let info = product.ok(&[
        "exec",
        product.name(),
        "redis-2",
        "--",
        "redis-cli",
        "info",
        "cluster",
    ]);
    assert!(info.stdout.contains("cluster_enabled:1"), "{}", info.stdout);
    the_job_reshards_and_drains(&product);
}

#[test]
fn down_keeps_the_data_and_up_brings_the_same_cluster_back() {
    let (product, before) = check(&[], 3, 1);
    let mut connection = connect(&product.urls());
    for number in 0..500_u32 {
        let _: () = connection.set(format!("key:{number}"), number).unwrap();
    }
    drop(connection);
    product.ok(&["down", product.name(), "--yes"]);
    assert_eq!(product.state(), "stopped");
    assert!(product.processes().is_empty(), "{:?}", product.processes());
    let after = product.up(&[]);
    assert_eq!(after["state"], "ready");
    let ids = |status: &Value| -> BTreeSet<String> {
        let nodes = nodes(status);
        nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&before), ids(&after));
    let mut connection = connect(&product.urls());
    for number in 0..500_u32 {
        let value: u32 = connection.get(format!("key:{number}")).unwrap();
        assert_eq!(value, number);
    }
}

#[test]
fn deleting_leaves_no_process_and_no_file_behind() {
    let (product, _) = check(&["--replicas", "0"], 3, 0);
    product.ok(&[
        "down",
        product.name(),
        "--delete-data",
        "--yes",
        "--confirm",
        product.name(),
    ]);
    assert!(product.processes().is_empty());
    let left: Vec<_> = std::fs::read_dir(product.home().join("instances"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let list = product.ok(&["ls", "-o", "json"]).json();
    assert_eq!(list["instances"].as_array().unwrap().len(), 0);
}

#[test]
fn up_that_is_killed_at_any_moment_is_finished_by_the_next_one() {
    // From before the first process runs to after the elections.
    for pause_ms in [5, 15, 30, 60, 90, 130, 180, 250, 350, 500] {
        let product = Shardyard::new();
        let mut first = product.start(&["up", "--name", product.name(), "--yes"]);
        std::thread::sleep(Duration::from_millis(pause_ms));
        first.kill().unwrap();
        first.wait().unwrap();
        let status = product.up(&["redis-cluster"]);
        assert_eq!(status["state"], "ready", "killed after {pause_ms} ms");
        assert_eq!(product.steps_left(), 0, "killed after {pause_ms} ms");
    }
}

#[test]
fn a_killed_supervisor_is_followed_by_one_that_adopts_the_running_servers() {
    let (product, _) = check(&[], 3, 1);
    let before: Vec<u32> = (1..=6)
        .map(|n| product.pid(&format!("redis-{n}")))
        .collect();
    let supervisor = product.supervisor().unwrap();
    kill(supervisor, Signal::KILL);
    wait_until("the supervisor ends", LIMIT, || {
        product.supervisor() != Some(supervisor)
    });
    let after = product.up(&[]);
    assert_eq!(after["state"], "ready");
    let pids: Vec<u32> = (1..=6)
        .map(|n| product.pid(&format!("redis-{n}")))
        .collect();
    assert_eq!(before, pids);
    // The new one minds what it has adopted: a server that dies comes back.
    kill(pids[5], Signal::KILL);
    wait_until("redis-6 is back", LIMIT, || {
        product.state() == "ready" && product.pid("redis-6") != pids[5]
    });
}

#[test]
fn several_instances_live_side_by_side_in_one_home() {
    let (product, _) = check(&["--replicas", "0"], 3, 0);
    let other = format!("{}-b", product.name());
    let ran = product.ok(&[
        "up",
        "--name",
        &other,
        "--replicas",
        "0",
        "--yes",
        "-o",
        "json",
    ]);
    assert_eq!(ran.json()["state"], "ready");
    let list = product.ok(&["ls", "-o", "json"]).json();
    let states: Vec<&str> = list["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["ready", "ready"]);
    product.ok(&[
        "down",
        &other,
        "--delete-data",
        "--yes",
        "--confirm",
        &other,
    ]);
    assert_eq!(product.state(), "ready");
}
