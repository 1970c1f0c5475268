//! What happens to clients and data when processes die: killed primaries, lost disks, all at once.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::time::Duration;

use redis::Commands;
use rustix::process::Signal;
use serde_json::Value;
use tests::{Shardyard, Writer, connect, kill, servers, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// The primary of the shard with this number, by the workload's name.
fn primary(product: &Shardyard, shard: usize) -> String {
    let status = product.status();
    status["shards"][shard]["primary"]["workload"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn replica(product: &Shardyard, shard: usize) -> String {
    let status = product.status();
    status["shards"][shard]["replicas"][0]["workload"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn write_keys(product: &Shardyard, count: u32) {
    let mut connection = connect(&product.urls());
    for number in 0..count {
        let _: () = connection.set(format!("key:{number}"), number).unwrap();
    }
}

fn all_keys_are_there(product: &Shardyard, count: u32) {
    let mut connection = connect(&product.urls());
    for number in 0..count {
        let value: Option<u32> = connection.get(format!("key:{number}")).unwrap();
        assert_eq!(value, Some(number));
    }
}

fn ready(product: &Shardyard) {
    wait_until("ready", LIMIT, || product.state() == "ready");
}

#[test]
fn a_killed_primary_is_followed_long_before_the_node_timeout_and_nothing_is_lost() {
    for image in servers() {
        let product = Shardyard::new();
        // With the servers' own means a failover would take longer than the node time-out.
        let timeout = Duration::from_secs(30);
        product.up(&[
            "--set",
            &format!("IMAGE={image}"),
            "--set",
            &format!("NODE_TIMEOUT={}", timeout.as_millis()),
        ]);
        let urls = product.urls();
        let writer = Writer::start(urls.clone());
        replica_follows(&product);
        let before = primary(&product, 0);
        kill(product.pid(&before), Signal::KILL);
        wait_until(
            "another primary, and the old one its replica",
            LIMIT,
            || primary(&product, 0) != before && product.state() == "ready",
        );
        let ledger = writer.stop();
        assert!(ledger.acknowledged.len() > 100, "{image}: {ledger:?}");
        assert!(
            ledger.longest_gap < timeout / 2,
            "{image}: {:?}",
            ledger.longest_gap
        );
        let missing = ledger.missing(&mut connect(&urls));
        assert_eq!(missing, Vec::<u64>::new(), "{image}");
    }
}

/// Waits until the replica of the first shard has confirmed a write of now. A replica whose first
/// copy is complete gets nothing more until its primary has heard that from it.
fn replica_follows(product: &Shardyard) {
    let address = product.status()["shards"][0]["primary"]["address"].clone();
    let urls = product.urls();
    let url = urls
        .iter()
        .find(|it| it.ends_with(address.as_str().unwrap()));
    let client = redis::Client::open(url.unwrap().as_str()).unwrap();
    let mut connection = client.get_connection_with_timeout(LIMIT).unwrap();
    // Slot 5061, of the first shard.
    let _: () = connection.set("foo{bar}{zap}", "x").unwrap();
    let wait = redis::cmd("WAIT").arg(1).arg(30_000).query(&mut connection);
    assert_eq!(wait, Ok(1));
}

/// Whoever voted for a replica of a primary does not do so again for two node time-outs. Started
/// again at once, that primary would lack what its log had not got yet, and its replica, which has
/// it, would copy that.
#[test]
fn a_primary_that_is_killed_again_and_again_waits_for_the_vote_and_nothing_is_lost() {
    for image in servers() {
        let product = Shardyard::new();
        let image_value = format!("IMAGE={image}");
        product.up(&["--set", &image_value, "--set", "NODE_TIMEOUT=2000"]);
        let urls = product.urls();
        let writer = Writer::start(urls.clone());
        for _ in 0..4 {
            replica_follows(&product);
            let before = primary(&product, 0);
            kill(product.pid(&before), Signal::KILL);
            wait_until(
                "another primary, and the old one its replica",
                LIMIT,
                || primary(&product, 0) != before && product.state() == "ready",
            );
        }
        let ledger = writer.stop();
        assert!(ledger.acknowledged.len() > 100, "{image}: {ledger:?}");
        let missing = ledger.missing(&mut connect(&urls));
        assert_eq!(missing, Vec::<u64>::new(), "{image}");
    }
}

#[test]
fn all_nodes_killed_at_once_come_back_with_their_data() {
    let product = Shardyard::new();
    product.up(&[]);
    write_keys(&product, 300);
    for number in 1..=6 {
        kill(product.pid(&format!("redis-{number}")), Signal::KILL);
    }
    ready(&product);
    all_keys_are_there(&product, 300);
    assert_eq!(product.steps_left(), 0);
}

#[test]
fn a_power_cut_is_mended_by_one_up() {
    let product = Shardyard::new();
    product.up(&[]);
    write_keys(&product, 300);
    kill(product.supervisor().unwrap(), Signal::KILL);
    for number in 1..=6 {
        kill(product.pid(&format!("redis-{number}")), Signal::KILL);
    }
    let status = product.up(&[]);
    assert_eq!(status["state"], "ready");
    all_keys_are_there(&product, 300);
}

/// Removes a workload's data set, and leaves who it is.
fn lose_data(product: &Shardyard, workload: &str) {
    fs::remove_dir_all(product.data(workload).join("appendonlydir")).unwrap();
}

#[test]
fn a_primary_that_dies_and_loses_its_disk_does_not_empty_its_replica() {
    let product = Shardyard::new();
    product.up(&[]);
    write_keys(&product, 300);
    let victim = primary(&product, 0);
    // First the data, then the process: whatever starts again finds nothing.
    lose_data(&product, &victim);
    kill(product.pid(&victim), Signal::KILL);
    wait_until("another primary", LIMIT, || {
        primary(&product, 0) != victim && product.state() == "ready"
    });
    all_keys_are_there(&product, 300);
}

#[test]
fn a_stopped_primary_that_lost_its_disk_starts_only_after_its_replica_is_promoted() {
    for whole_folder in [false, true] {
        let product = Shardyard::new();
        product.up(&[]);
        write_keys(&product, 300);
        let (victim, heir) = (primary(&product, 0), replica(&product, 0));
        product.ok(&["down", product.name(), "--yes"]);
        if whole_folder {
            fs::remove_dir_all(product.data(&victim)).unwrap();
        } else {
            lose_data(&product, &victim);
        }
        let plan = product
            .ok(&["up", "--name", product.name(), "--dry-run", "-o", "json"])
            .json();
        let steps: Vec<(&str, &str)> = plan["phases"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|phase| phase["steps"].as_array().unwrap())
            .map(|step| {
                let kind = step["kind"].as_str().unwrap();
                (kind, step["subject"].as_str().unwrap())
            })
            .collect();
        let promotion = steps.iter().position(|step| step.0 == "ensure_promoted");
        let start = steps
            .iter()
            .position(|step| *step == ("ensure_running", &victim));
        // Where nothing is left of it, the others must first tell whose primary it was: then this
        // plan does not start it at all.
        assert_eq!(promotion.is_some(), !whole_folder, "{steps:?}");
        assert_eq!(start.is_some(), !whole_folder, "{steps:?}");
        assert!(promotion <= start, "{steps:?}");
        let status = product.up(&[]);
        assert_eq!(status["state"], "ready");
        assert_eq!(primary(&product, 0), heir);
        all_keys_are_there(&product, 300);
    }
}

#[test]
fn the_loss_of_the_only_copy_is_told_and_not_papered_over() {
    let product = Shardyard::new();
    product.up(&["--replicas", "0"]);
    write_keys(&product, 300);
    product.ok(&["down", product.name(), "--yes"]);
    fs::remove_dir_all(product.data("redis-1")).unwrap();
    let ran = product.run(&["up", "--name", product.name(), "--yes", "-o", "json"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert_eq!(ran.json()["error"]["code"], "SY2217");
    let status = product.status();
    assert_eq!(status["state"], "unavailable");
    let codes: Vec<&Value> = status["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["code"])
        .collect();
    assert!(codes.iter().any(|code| **code == "SY2217"), "{codes:?}");
}

#[test]
fn a_replica_that_is_removed_by_hand_is_made_again() {
    let product = Shardyard::new();
    product.up(&[]);
    write_keys(&product, 300);
    let victim = replica(&product, 1);
    product.ok(&["down", product.name(), "--yes"]);
    fs::remove_dir_all(product.workload(&victim)).unwrap();
    let status = product.up(&[]);
    assert_eq!(status["state"], "ready", "{status:#}");
    all_keys_are_there(&product, 300);
    assert_eq!(product.steps_left(), 0);
}

#[test]
fn a_shard_without_majority_waits_for_its_primary_and_loses_nothing() {
    let product = Shardyard::new();
    product.up(&["--shards", "1", "--replicas", "1"]);
    write_keys(&product, 100);
    // While one sync to disk is under way the server holds back what comes next (`everysec`), and
    // without a vote nobody but the primary itself can bring it back.
    let log = product.data("redis-1").join("appendonlydir");
    wait_until("the last write is in the log", LIMIT, || {
        let files = fs::read_dir(&log).unwrap().flatten();
        files
            .filter_map(|file| fs::read(file.path()).ok())
            .any(|text| String::from_utf8_lossy(&text).contains("key:99"))
    });
    let pid = product.pid("redis-1");
    kill(pid, Signal::KILL);
    wait_until("the primary is back", LIMIT, || {
        product.state() == "ready" && product.pid("redis-1") != pid
    });
    assert_eq!(primary(&product, 0), "redis-1");
    all_keys_are_there(&product, 100);
}
