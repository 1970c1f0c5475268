//! What happens on a real Docker daemon when containers die, are removed, or all end at once.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use redis::Commands;
use rustix::process::Signal;
use serde_json::Value;
use tests::{
    Served, Shardyard, Writer, connect, docker, inspect, is_docker_there, kill, wait_until,
};

const LIMIT: Duration = Duration::from_secs(90);

fn delivered(arguments: &[&str]) -> Shardyard {
    let product = Shardyard::on_docker();
    let timeout = ["--memory", "48MiB", "--set", "NODE_TIMEOUT=2000"];
    let status = product.up(&[&timeout, arguments].concat());
    assert_eq!(status["state"], "ready", "{status:#}");
    product
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
        assert_eq!(value, Some(number), "key:{number}");
    }
}

fn ready(product: &Shardyard) {
    wait_until("ready", LIMIT, || product.state() == "ready");
}

fn primary(product: &Shardyard) -> String {
    let status = product.status();
    status["shards"][0]["primary"]["workload"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn containers(product: &Shardyard) -> Vec<String> {
    (1..=6)
        .map(|number| product.container(&format!("redis-{number}")))
        .collect()
}

/// The process of a container, on this host.
fn pid(container: &str) -> u32 {
    let state = inspect("container", container)["State"].clone();
    u32::try_from(state["Pid"].as_u64().unwrap()).unwrap()
}

#[test]
fn containers_that_all_die_at_once_form_the_same_cluster_by_themselves() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&[]);
    write_keys(&product, 300);
    // As when the daemon or the host goes down: nobody has told them to stop.
    let pids: Vec<u32> = containers(&product).iter().map(|it| pid(it)).collect();
    for pid in pids {
        kill(pid, Signal::KILL);
    }
    ready(&product);
    all_keys_are_there(&product, 300);
    assert_eq!(product.steps_left(), 0);
}

#[test]
fn a_container_that_is_killed_under_load_is_followed_and_brought_back_without_a_lost_write() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&[]);
    let urls = product.urls();
    let writer = Writer::start(urls.clone());
    for number in [1, 4] {
        let victim = product.container(&format!("redis-{number}"));
        let before = primary(&product);
        docker(&["kill", &victim]);
        // Docker leaves alone what was killed by its own command.
        if before == "redis-1" && number == 1 {
            wait_until("a replica follows on", LIMIT, || {
                let status = product.status();
                let shards = status["shards"].as_array().unwrap();
                let whole = shards
                    .iter()
                    .map(|it| it["slot_count"].as_u64().unwrap())
                    .sum::<u64>();
                whole == 16384 && shards.iter().all(|it| it["primary"]["workload"] != before)
            });
        }
        assert_eq!(product.up(&[])["state"], "ready");
    }
    let ledger = writer.stop();
    assert!(ledger.acknowledged.len() > 100, "{ledger:?}");
    let missing = ledger.missing(&mut connect(&urls));
    assert_eq!(missing, Vec::<u64>::new());
}

#[test]
fn a_container_that_is_removed_comes_back_with_its_volume() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&["--replicas", "0"]);
    write_keys(&product, 300);
    docker(&["rm", "-f", &product.container("redis-1")]);
    let status = product.status();
    assert_eq!(status["state"], "unavailable", "{status:#}");
    let up = product.up(&[]);
    assert_eq!(up["state"], "ready");
    all_keys_are_there(&product, 300);
}

#[test]
fn the_loop_of_a_server_brings_a_removed_container_back() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&["--replicas", "0"]);
    write_keys(&product, 300);
    let served = Served::start(&product);
    docker(&["rm", "-f", &product.container("redis-1")]);
    wait_until("the loop heals it", LIMIT, || {
        let operations = served.ok("GET /api/v1/operations", None);
        let last = &operations["operations"][0];
        last["user"] == "reconcile" && last["state"] == "done" && product.state() == "ready"
    });
    all_keys_are_there(&product, 300);
}

/// Invariant 11: a primary that would come back empty while a replica has data is never let back
/// as a primary.
#[test]
fn a_primary_whose_volume_is_gone_comes_back_as_the_replica_of_the_copy_with_data() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&[]);
    write_keys(&product, 300);
    let lost = primary(&product);
    let container = product.container(&lost);
    product.ok(&["down", product.name(), "--yes"]);
    docker(&["rm", "-f", &container]);
    docker(&["volume", "rm", &format!("{container}_data")]);
    let status = product.up(&[]);
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_ne!(primary(&product), lost);
    all_keys_are_there(&product, 300);
}

#[test]
fn a_cluster_that_lost_its_network_gets_it_again_with_the_same_addresses() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&[]);
    write_keys(&product, 100);
    let endpoints = product.status()["endpoints"].clone();
    product.ok(&["down", product.name(), "--yes"]);
    let network = format!("shardyard_{}", product.name());
    docker(&["network", "rm", &network]);
    let status = product.up(&[]);
    assert_eq!(
        (&status["state"], &status["endpoints"]),
        (&Value::from("ready"), &endpoints)
    );
    all_keys_are_there(&product, 100);
}

#[test]
fn a_log_is_followed_across_a_restart_and_no_line_comes_twice() {
    if !is_docker_there() {
        return;
    }
    let product = delivered(&["--shards", "1", "--replicas", "0"]);
    let mut child = product.start(&["logs", product.name(), "redis-1", "--follow"]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let began = |seen: &[String]| {
        seen.iter()
            .filter(|it| it.contains("Ready to accept"))
            .count()
    };
    let mut seen: Vec<String> = Vec::new();
    let until = |count: usize, seen: &mut Vec<String>| {
        let start = Instant::now();
        while began(seen) < count && start.elapsed() < LIMIT {
            seen.extend(receiver.recv_timeout(Duration::from_millis(100)));
        }
        assert_eq!(began(seen), count, "{seen:#?}");
    };
    until(1, &mut seen);
    kill(pid(&product.container("redis-1")), Signal::KILL);
    until(2, &mut seen);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// kill -9 at moments that differ from run to run: the next run brings it to its goal.
#[test]
fn a_shardyard_that_is_killed_anywhere_is_followed_by_one_that_finishes() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let small = ["--memory", "48MiB", "--shards", "3", "--replicas", "1"];
    let up = [&["up", "--name", product.name(), "--yes"], &small[..]].concat();
    // Spread over the three seconds that a delivery takes.
    for moment in [150, 500, 900, 1400, 2000, 2600] {
        let mut child = product.start(&up);
        std::thread::sleep(Duration::from_millis(moment));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let status = product.up(&small);
    assert_eq!(status["state"], "ready", "{status:#}");
    write_keys(&product, 100);
    for moment in [60, 200, 400] {
        let mut child = product.start(&["down", product.name(), "--yes"]);
        std::thread::sleep(Duration::from_millis(moment));
        let _ = child.kill();
        child.wait().unwrap();
        assert_eq!(product.up(&[])["state"], "ready");
    }
    all_keys_are_there(&product, 100);
    let name = product.name();
    let delete = ["down", name, "--delete-data", "--yes", "--confirm", name];
    for moment in [100, 300] {
        let mut child = product.start(&delete);
        std::thread::sleep(Duration::from_millis(moment));
        let _ = child.kill();
        child.wait().unwrap();
    }
    // It may have got to its end already.
    let _ = product.run(&delete);
    assert_eq!(product.left_on_docker(), Vec::<String>::new());
}
