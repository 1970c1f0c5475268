//! Growing and shrinking on real servers: under a client that appends, with keys that movers choke
//! on, and with the values, the types and the times to live compared before and after.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::time::Duration;

use redis::Commands;
use serde_json::Value;
use tests::{
    Appender, Census, Shardyard, census, connect, differences, plant, plant_mayflies, servers,
    without_functions,
};

/// How much later a key may expire after a move: MIGRATE sends the time that is left, and that counts
/// anew when the other side has read it. On a busy machine that takes as long as a batch.
const DRIFT_MS_MAX: i64 = 500;

/// How long the keys live that expire while slots move.
const MAYFLY: Duration = Duration::from_secs(4);

fn scale(product: &Shardyard, shards: u32) -> Value {
    let shards = shards.to_string();
    let name = product.name();
    product
        .ok(&["scale", name, "--shards", &shards, "--yes", "-o", "json"])
        .json()
}

/// What our own client says of the run.
fn proved(changed: &Value) {
    let proof = &changed["proof"];
    // How many there are depends on how long it takes.
    assert!(proof["operations"].as_u64().unwrap() > 10, "{proof}");
    assert_eq!(proof["acknowledged_writes_lost"], 0, "{proof}");
}

/// All nodes agree on each slot, none is open, and the plan has nothing left.
fn settled(product: &Shardyard, shards: usize) {
    let status = product.status();
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_eq!(status["shards"].as_array().unwrap().len(), shards);
    let check = product.run(&["trib", "check", &product.primaries()[0]]);
    let login = product.password();
    if check.code != 0 {
        let mut command = product.command(&["trib", "check", &product.primaries()[0]]);
        let output = command.env("REDISCLI_AUTH", login).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
    }
    assert_eq!(product.steps_left(), 0);
}

fn same(image: &str, before: &Census, product: &Shardyard) {
    let found = differences(before, &census(product), DRIFT_MS_MAX);
    assert_eq!(found, Vec::<String>::new(), "{image}");
    let lacking = without_functions(product);
    assert_eq!(lacking, Vec::<String>::new(), "{image}: no functions");
}

/// From three shards to six and back, under a client that appends.
fn grows_and_shrinks(image: &str) {
    let product = Shardyard::new();
    product.up(&["--set", &format!("IMAGE={image}")]);
    plant(&product);
    let before = census(&product);
    assert!(before.len() > 150, "{}", before.len());
    plant_mayflies(&product, MAYFLY);
    let appender = Appender::start(product.urls());
    for shards in [6, 3] {
        let changed = scale(&product, shards);
        proved(&changed);
    }
    let appended = appender.stop();
    assert!(appended.count() > 1000, "{image}: {}", appended.count());
    assert_eq!(
        appended.faults(&product.urls()),
        Vec::<String>::new(),
        "{image}"
    );
    settled(&product, 3);
    same(image, &before, &product);
}

#[test]
fn three_shards_become_six_and_three_again_on_redis_7_and_nothing_is_lost() {
    grows_and_shrinks("redis:7");
}

#[test]
fn three_shards_become_six_and_three_again_on_redis_8_and_nothing_is_lost() {
    on("redis:8");
}

#[test]
fn three_shards_become_six_and_three_again_on_valkey_8_and_nothing_is_lost() {
    on("valkey/valkey:8");
}

#[test]
fn three_shards_become_six_and_three_again_on_valkey_9_and_nothing_is_lost() {
    on("valkey/valkey:9");
}

/// The same on a server that may not be there.
fn on(image: &str) {
    if servers().contains(&image) {
        grows_and_shrinks(image);
    }
}

#[test]
fn a_hot_slot_gets_a_shard_of_its_own_and_gives_it_back() {
    let product = Shardyard::new();
    product.up(&["--memory", "64MiB", "--replicas", "0"]);
    let name = product.name();
    let mut client = connect(&product.urls());
    for number in 0..1000_u32 {
        let _: () = client.set(format!("key:{number}"), number).unwrap();
    }
    let counts = |status: &Value| -> Vec<u64> {
        let shards = status["shards"].as_array().unwrap().iter();
        let mut counts: Vec<u64> = shards
            .map(|it| it["slot_count"].as_u64().unwrap())
            .collect();
        counts.sort_unstable();
        counts
    };
    let isolate = [
        "rebalance",
        name,
        "--isolate",
        "7",
        "--onto",
        "redis-3",
        "--yes",
        "-o",
        "json",
    ];
    let alone = product.ok(&isolate).json();
    proved(&alone);
    assert_eq!(counts(&alone), [1, 8191, 8192], "{alone:#}");
    let third = alone["shards"].as_array().unwrap().iter();
    let mut third = third.filter(|it| it["primary"]["workload"] == "redis-3");
    assert_eq!(third.next().unwrap()["slots"], "7");
    assert_eq!(product.steps_left(), 0);
    let even = product
        .ok(&["rebalance", name, "--yes", "-o", "json"])
        .json();
    assert_eq!(counts(&even), [5461, 5461, 5462], "{even:#}");
    let mut client = connect(&product.urls());
    for number in 0..1000_u32 {
        let value: Option<u32> = client.get(format!("key:{number}")).unwrap();
        assert_eq!(value, Some(number));
    }
}

/// The size of the largest key that is moved here, in chunks of 1 MiB.
const CHUNKS: usize = 300;

#[test]
fn a_key_of_300_mb_moves_whole_while_a_client_writes() {
    let product = Shardyard::new();
    product.up(&["--memory", "1GiB"]);
    let name = product.name();
    let mut client = connect(&product.urls());
    // In the first of three shards.
    let (key, slot) = ("foo-2", "2196");
    let found: u16 = redis::cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(key)
        .query(&mut client)
        .unwrap();
    assert_eq!(found.to_string(), slot);
    let chunk = |number: usize| -> Vec<u8> {
        let text = format!("{number:07} ");
        text.bytes().cycle().take(1 << 20).collect()
    };
    for number in 0..CHUNKS {
        let _: u64 = client.append(key, chunk(number)).unwrap();
    }
    let appender = Appender::start(product.urls());
    let isolate = [
        "rebalance",
        name,
        "--isolate",
        slot,
        "--onto",
        "redis-3",
        "--yes",
        "-o",
        "json",
    ];
    let moved = product.ok(&isolate).json();
    assert_eq!(moved["proof"]["acknowledged_writes_lost"], 0, "{moved:#}");
    let third = moved["shards"].as_array().unwrap().iter();
    let mut third = third.filter(|it| it["primary"]["workload"] == "redis-3");
    assert_eq!(third.next().unwrap()["slots"], slot, "{moved:#}");
    let appended = appender.stop();
    assert_eq!(appended.faults(&product.urls()), Vec::<String>::new());
    let mut client = connect(&product.urls());
    let length: usize = client.strlen(key).unwrap();
    assert_eq!(length, CHUNKS << 20);
    for number in [0, 1, CHUNKS / 2, CHUNKS - 1] {
        let (first, last) = (number << 20, ((number + 1) << 20) - 1);
        let part: Vec<u8> = client
            .getrange(key, first.cast_signed(), last.cast_signed())
            .unwrap();
        assert!(part == chunk(number), "chunk {number}");
    }
}
