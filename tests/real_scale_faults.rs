//! What happens to data when something ends in the middle of a move: ourselves, a server, a role, an
//! operator who is not alone. Each ends with one plain command, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;
use tests::{Appended, Appender, Client, Shardyard, kill, servers, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// A cluster with keys in each slot's neighbourhood, and a client that appends.
fn filled() -> (Shardyard, Appender) {
    let image = std::env::var("SHARDYARD_FAULTS_ON");
    filled_on(image.as_deref().unwrap_or("redis:7"))
}

fn filled_on(image: &str) -> (Shardyard, Appender) {
    let product = Shardyard::new();
    let image = format!("IMAGE={image}");
    let timeout = "NODE_TIMEOUT=2000";
    product.up(&["--memory", "64MiB", "--set", timeout, "--set", &image]);
    let mut client = Client::new(&product.urls());
    for number in 0..3000 {
        let key = format!("key:{number}").into_bytes();
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(number);
        let _: String = client.ask(&key, &set).unwrap();
    }
    let appender = Appender::start(product.urls());
    (product, appender)
}

/// Nothing is lost, each key has its value, all slots are served, and nothing is left to do.
fn whole(product: &Shardyard, appended: &Appended, shards: usize) {
    let urls = product.urls();
    assert_eq!(appended.faults(&urls), Vec::<String>::new());
    let mut client = Client::new(&urls);
    for number in 0..3000 {
        let key = format!("key:{number}").into_bytes();
        let mut get = redis::cmd("GET");
        get.arg(&key);
        let value: Option<u32> = client.ask(&key, &get).unwrap();
        assert_eq!(value, Some(number));
    }
    let status = product.status();
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_eq!(status["shards"].as_array().unwrap().len(), shards);
    assert_eq!(product.steps_left(), 0);
}

/// Begins to grow to four shards, slowly enough that something can happen meanwhile.
fn growing(product: &Shardyard) -> Child {
    let words = [
        "scale",
        product.name(),
        "--shards",
        "4",
        "--max-rate",
        "200",
        "--yes",
    ];
    product.start(&words)
}

/// Waits until slots move: some node has an open one.
fn slots_move(product: &Shardyard) {
    wait_until("slots move", LIMIT, || any_open(product));
}

fn any_open(product: &Shardyard) -> bool {
    let mut client = Client::new(&product.urls());
    let mut nodes = redis::cmd("CLUSTER");
    nodes.arg("NODES");
    product.primaries().iter().any(|address| {
        let said: Result<String, _> = client.ask_node(address, &nodes);
        said.is_ok_and(|text| text.contains("->-"))
    })
}

#[test]
fn a_second_operator_is_told_who_is_at_work_and_changes_nothing() {
    let (product, appender) = filled();
    let mut first = growing(&product);
    slots_move(&product);
    let name = product.name();
    let second = product.run(&["scale", name, "--shards", "5", "--yes", "-o", "json"]);
    assert_eq!(second.code, 7, "{}{}", second.stdout, second.stderr);
    let message = second.json()["error"]["message"].to_string();
    assert!(
        message.contains(&format!("pid {}", first.id())),
        "{message}"
    );
    assert!(message.contains("scale"), "{message}");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    whole(&product, &appender.stop(), 4);
}

#[test]
fn an_interrupted_growth_is_finished_by_the_next_up() {
    let (product, appender) = filled();
    let mut first = growing(&product);
    slots_move(&product);
    kill(first.id(), Signal::INT);
    assert_eq!(first.wait().unwrap().code(), Some(130));
    product.up(&[]);
    whole(&product, &appender.stop(), 4);
}

/// Moments after the first slot is open, in milliseconds. SHARDYARD_SCALE_KILLS asks for more.
fn moments() -> Vec<u64> {
    let asked = std::env::var("SHARDYARD_SCALE_KILLS").ok();
    let count: u64 = asked.and_then(|text| text.parse().ok()).unwrap_or(2);
    (0..count).map(|number| number * 4000 / count).collect()
}

#[test]
fn whoever_is_killed_while_slots_move_is_followed_by_one_up_and_nothing_is_lost() {
    for moment in moments() {
        let (product, appender) = filled();
        let mut first = growing(&product);
        slots_move(&product);
        std::thread::sleep(Duration::from_millis(moment));
        kill(first.id(), Signal::KILL);
        first.wait().unwrap();
        product.up(&[]);
        whole(&product, &appender.stop(), 4);
    }
}

/// Kills the server of a workload while slots move, and lets the growth end as it can; then one
/// plain `up`.
fn killed_while_slots_move(workload: impl FnOnce(&Shardyard) -> String) {
    killed_in(filled(), workload);
}

fn killed_in(
    (product, appender): (Shardyard, Appender),
    workload: impl FnOnce(&Shardyard) -> String,
) {
    let mut first = growing(&product);
    slots_move(&product);
    kill(product.pid(&workload(&product)), Signal::KILL);
    let code = first.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 1 | 3 | 4 | 5)), "{code:?}");
    product.up(&[]);
    whole(&product, &appender.stop(), 4);
}

fn primary(product: &Shardyard, shard: usize) -> String {
    let status = product.status();
    let workload = &status["shards"][shard]["primary"]["workload"];
    workload.as_str().unwrap().to_owned()
}

#[test]
fn a_source_that_is_killed_while_slots_move_loses_nothing() {
    killed_while_slots_move(|product| primary(product, 0));
}

/// Its replicas know which slots are open, and show them.
#[test]
fn a_source_of_valkey_8_that_is_killed_while_slots_move_loses_nothing() {
    let image = "valkey/valkey:8";
    if servers().contains(&image) {
        killed_in(filled_on(image), |product| primary(product, 0));
    }
}

#[test]
fn a_target_that_is_killed_while_slots_move_loses_nothing() {
    // The first newcomer is the new shard's primary.
    killed_while_slots_move(|_| "redis-7".to_owned());
}

#[test]
fn a_failover_by_hand_while_slots_move_loses_nothing() {
    let (product, appender) = filled();
    let mut first = growing(&product);
    slots_move(&product);
    let status = product.status();
    let replica = status["shards"][0]["replicas"][0]["workload"]
        .as_str()
        .unwrap();
    let words = [
        "exec",
        product.name(),
        replica,
        "--",
        "redis-cli",
        "CLUSTER",
        "FAILOVER",
    ];
    product.ok(&words);
    let code = first.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 1 | 3 | 4)), "{code:?}");
    product.up(&[]);
    whole(&product, &appender.stop(), 4);
}

#[test]
fn a_slot_that_somebody_left_open_is_settled_and_loses_nothing() {
    let (product, appender) = filled();
    let status = product.status();
    let node = |shard: usize| {
        let primary = &status["shards"][shard]["primary"];
        let part = |name: &str| primary[name].as_str().unwrap().to_owned();
        (part("id"), part("workload"))
    };
    let ((source_id, source), (target_id, target)) = (node(0), node(1));
    for (workload, state, other) in [
        (&target, "IMPORTING", &source_id),
        (&source, "MIGRATING", &target_id),
    ] {
        let name = product.name();
        product.ok(&[
            "exec",
            name,
            workload,
            "--",
            "redis-cli",
            "CLUSTER",
            "SETSLOT",
            "0",
            state,
            other,
        ]);
    }
    let grown = product.run(&["scale", product.name(), "--shards", "4", "--yes"]);
    assert_eq!(grown.code, 0, "{}{}", grown.stdout, grown.stderr);
    whole(&product, &appender.stop(), 4);
}

/// A key of slot 0.
const OF_SLOT_0: &str = "06S";

/// Half-way through the move of a slot its primary dies. Its replica knows nothing of the move, and
/// must not take the key that has gone on for one that never was.
#[test]
fn a_key_that_has_gone_on_is_found_when_its_source_dies() {
    let product = Shardyard::new();
    product.up(&["--memory", "64MiB"]);
    let status = product.status();
    let part = |shard: usize, name: &str| {
        let primary = &status["shards"][shard]["primary"];
        primary[name].as_str().unwrap().to_owned()
    };
    let mut client = Client::new(&product.urls());
    let mut push = |number: u32| -> bool {
        let mut push = redis::cmd("RPUSH");
        push.arg(OF_SLOT_0).arg(number);
        let key = OF_SLOT_0.as_bytes();
        client.ask::<u64>(key, &push).is_ok()
    };
    assert!(push(1));
    let ask = |workload: &str, words: &[&str]| {
        let cli = ["exec", product.name(), workload, "--", "redis-cli"];
        product.ok(&[&cli[..], words].concat())
    };
    let (source, target) = (part(0, "workload"), part(1, "workload"));
    let open = ["CLUSTER", "SETSLOT", "0"];
    ask(
        &target,
        &[&open[..], &["IMPORTING", &part(0, "id")]].concat(),
    );
    ask(
        &source,
        &[&open[..], &["MIGRATING", &part(1, "id")]].concat(),
    );
    let to = part(1, "address");
    let (host, port) = to.rsplit_once(':').unwrap();
    let file = status["credentials"]["password_file"].as_str().unwrap();
    let operator = Path::new(file).with_file_name("OPERATOR_PASSWORD");
    let password = std::fs::read_to_string(operator).unwrap();
    let login = ["AUTH2", "shardyard", &password];
    let migrate = ["MIGRATE", host, port, OF_SLOT_0, "0", "5000"];
    let moved = ask(&source, &[&migrate[..], &login].concat());
    assert_eq!(moved.stdout.trim(), "OK");
    assert!(push(2), "whoever asks is sent on to the target");

    kill(product.pid(&source), Signal::KILL);
    wait_until("somebody took the third", LIMIT, || push(3));
    product.up(&[]);
    let mut range = redis::cmd("LRANGE");
    range.arg(OF_SLOT_0).arg(0).arg(-1);
    let list: Vec<u32> = client.ask(OF_SLOT_0.as_bytes(), &range).unwrap();
    assert_eq!(list, [1, 2, 3]);
    assert_eq!(product.steps_left(), 0);
}

/// How many of the 16384 slots the new shard owns.
fn arrived(product: &Shardyard) -> u64 {
    let status = product.status();
    let shards = status["shards"].as_array().unwrap().iter();
    let newest = shards.filter(|it| it["primary"]["workload"] == "redis-7");
    newest.filter_map(|it| it["slot_count"].as_u64()).sum()
}

#[test]
fn a_growth_stands_still_goes_on_and_ends_where_it_is_as_it_is_told() {
    let (product, appender) = filled();
    let name = product.name();
    let quiet = product.run(&["pause", name, "-o", "json"]);
    assert_eq!(
        (quiet.code, quiet.json()["error"]["code"].as_str()),
        (6, Some("SY4058"))
    );

    let mut first = growing(&product);
    slots_move(&product);
    assert_eq!(
        product.ok(&["pause", name, "-o", "json"]).json()["pid"],
        first.id()
    );
    // Once what is open has arrived, nothing moves any more.
    let mut before = u64::MAX;
    wait_until("the move stands still", LIMIT, || {
        let now = arrived(&product);
        let still = now == before && !any_open(&product);
        before = now;
        std::thread::sleep(Duration::from_millis(500));
        still
    });
    assert!((1..4096).contains(&before), "{before}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(arrived(&product), before);

    product.ok(&["resume", name]);
    wait_until("it goes on", LIMIT, || arrived(&product) > before);
    let ended = product.ok(&["cancel", name, "--yes", "-o", "json"]).json();
    assert_eq!(first.wait().unwrap().code(), Some(130));
    assert_eq!(ended["state"], "ready", "{ended:#}");
    let has = arrived(&product);
    assert!((before + 1..4096).contains(&has), "{has}");
    assert_eq!(product.up(&[])["changed"], false);
    // What it has come to is what is wanted now: growing on is another change.
    let grown = product
        .ok(&["rebalance", name, "--yes", "-o", "json"])
        .json();
    assert_eq!(grown["proof"]["acknowledged_writes_lost"], 0);
    assert!((4000..=4200).contains(&arrived(&product)));
    whole(&product, &appender.stop(), 4);
}

#[test]
fn a_growth_that_is_cancelled_before_a_slot_has_arrived_leaves_nothing_behind() {
    let (product, appender) = filled();
    let name = product.name();
    let mut first = growing(&product);
    wait_until("the newcomer is there", LIMIT, || {
        let workloads = product.status()["workloads"].clone();
        workloads.as_array().unwrap().len() == 8
    });
    kill(first.id(), Signal::KILL);
    first.wait().unwrap();
    if arrived(&product) == 0 {
        product.ok(&["cancel", name, "--yes"]);
        whole(&product, &appender.stop(), 3);
        let again = product.run(&["cancel", name, "--yes", "-o", "json"]);
        assert_eq!(again.json()["error"]["code"], "SY4058");
    } else {
        product.ok(&["cancel", name, "--yes"]);
        whole(&product, &appender.stop(), 4);
    }
}

/// A slot is handed over once a replica of its new shard has what came; while none can have it, no
/// slot is.
#[test]
fn no_slot_is_handed_over_while_the_new_shards_replica_hears_nothing() {
    let product = Shardyard::new();
    // Longer than the replica is stopped, so that nobody takes it for dead.
    product.up(&["--memory", "64MiB", "--set", "NODE_TIMEOUT=30000"]);
    let mut client = Client::new(&product.urls());
    for number in 0..3000 {
        let key = format!("key:{number}").into_bytes();
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(number);
        let _: String = client.ask(&key, &set).unwrap();
    }
    let appender = Appender::start(product.urls());
    let mut growth = growing(&product);
    slots_move(&product);
    kill(product.pid("redis-8"), Signal::STOP);
    // Those whose keys it had already are handed over yet.
    let (mut before, mut looks_alike) = (u64::MAX, 0);
    wait_until("no slot is handed over any more", LIMIT, || {
        let now = arrived(&product);
        looks_alike = if now == before { looks_alike + 1 } else { 0 };
        before = now;
        std::thread::sleep(Duration::from_millis(500));
        looks_alike == 8
    });
    kill(product.pid("redis-8"), Signal::CONT);
    assert!(before < 4096, "all were handed over without a copy");
    assert_eq!(growth.wait().unwrap().code(), Some(0));
    assert!((4000..=4200).contains(&arrived(&product)));
    whole(&product, &appender.stop(), 4);
}
