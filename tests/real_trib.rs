//! `trib` on running clusters that are not ours: slots move, nodes join and go, disorder is settled,
//! and nothing that was acknowledged is lost. And `failover` on one that is ours.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::PathBuf;
use std::time::Duration;

use redis::Commands;
use serde_json::Value;
use tests::{BareServers, Ran, Shardyard, Writer, connect, servers, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// The servers that are tried: one that moves keys by MIGRATE, one that moves slots as a whole.
fn programs() -> Vec<String> {
    let mut programs = vec!["redis-server".to_owned()];
    if servers().contains(&"valkey/valkey:9") {
        let root = std::env::var_os("SHARDYARD_SERVERS").map(PathBuf::from);
        let program = root.unwrap().join("valkey-9.1/bin/valkey-server");
        programs.push(program.to_str().unwrap().to_owned());
    }
    programs
}

/// Three primaries, each with a replica, of the first six servers.
fn cluster(product: &Shardyard, bare: &BareServers) {
    let mut create = vec!["trib", "create", "--replicas", "1", "--yes"];
    create.extend(bare.addresses(6));
    product.ok(&create);
}

fn urls(bare: &BareServers) -> Vec<String> {
    let first = bare.addresses(3).into_iter();
    first.map(|it| format!("redis://{it}")).collect()
}

fn node(body: &Value, address: &str) -> Value {
    let nodes = body["nodes"].as_array().unwrap();
    let node = nodes.iter().find(|it| it["address"] == address);
    node.cloned().unwrap_or(Value::Null)
}

/// `trib … -o json --yes` to a good end.
fn trib(product: &Shardyard, words: &[&str]) -> Value {
    let all = [&["trib"], words, &["--yes", "-o", "json"]].concat();
    let body = product.ok(&all).json();
    if let Some(lost) = body["proof"]["acknowledged_writes_lost"].as_u64() {
        assert_eq!(lost, 0, "{body:#}");
    }
    body
}

fn refused(ran: &Ran, code: &str, exit: i32) {
    assert_eq!(ran.code, exit, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["error"]["code"], code, "{}", ran.stdout);
}

#[test]
fn a_cluster_grows_and_shrinks_under_load_by_the_words_of_redis_trib() {
    for program in programs() {
        let product = Shardyard::new();
        let bare = BareServers::start(&program, 8);
        cluster(&product, &bare);
        let (seed, seventh, eighth) = (bare.address(1), bare.address(7), bare.address(8));
        let writer = Writer::start(urls(&bare));

        trib(&product, &["add-node", seventh, seed]);
        let master = bare.ask::<String>(7, &["CLUSTER", "MYID"]);
        let slave = ["--cluster-slave", "--cluster-master-id", &master];
        let added = trib(
            &product,
            &[&["add-node", eighth, seed], &slave[..]].concat(),
        );
        assert_eq!(node(&added, eighth)["copies"], master.as_str(), "{added:#}");

        let to = ["--cluster-to", seventh, "--cluster-slots", "100"];
        let body = trib(&product, &[&["reshard", seed], &to[..]].concat());
        assert_eq!(node(&body, seventh)["slot_count"], 100, "{body:#}");
        let body = trib(&product, &["rebalance", seed]);
        for number in [1, 2, 3, 7] {
            let has = &node(&body, bare.address(number))["slot_count"];
            let has = has.as_u64().unwrap();
            assert!((4015..=4177).contains(&has), "{number}: {has}");
        }
        assert_eq!(trib(&product, &["rebalance", seed])["changed"], false);

        // A node with slots does not go.
        let del = ["trib", "del-node", seed, seventh, "--yes", "-o", "json"];
        refused(&product.run(&del), "SY2436", 6);
        let weight = format!("{}=0", &master[..8]);
        let body = trib(&product, &["rebalance", seed, "--cluster-weight", &weight]);
        assert_eq!(node(&body, seventh)["slot_count"], 0, "{body:#}");
        assert_eq!(node(&body, seventh)["role"], "primary", "{body:#}");
        trib(&product, &["del-node", seed, &master]);
        trib(&product, &["del-node", seed, eighth]);
        let known = bare.ask::<String>(7, &["CLUSTER", "NODES"]);
        assert_eq!(known.lines().count(), 1, "{known}");

        let ledger = writer.stop();
        assert!(ledger.acknowledged.len() > 200, "{ledger:?}");
        assert_eq!(
            ledger.missing(&mut connect(&urls(&bare))),
            Vec::<u64>::new()
        );
        // The views of all need a moment to be one.
        wait_until("all nodes agree on the six", LIMIT, || {
            let ran = product.run(&["trib", "check", seed, "-o", "json"]);
            ran.code == 0 && ran.json()["nodes"].as_array().unwrap().len() == 6
        });
    }
}

#[test]
fn disorder_is_settled_and_what_could_lose_data_takes_its_name() {
    let product = Shardyard::new();
    let mut bare = BareServers::start("redis-server", 6);
    cluster(&product, &bare);
    let seed = bare.address(1).to_owned();
    let mut connection = connect(&urls(&bare));
    for number in 0..500 {
        let _: () = connection.set(format!("key:{number}"), number).unwrap();
    }
    drop(connection);
    let [first, second] = [1, 2].map(|it| bare.ask::<String>(it, &["CLUSTER", "MYID"]));

    // A move that was cut off, one end that is open for nothing, and a slot that nobody owns.
    for (number, words) in [
        (2, ["100", "IMPORTING", &first]),
        (1, ["100", "MIGRATING", &second]),
        (2, ["200", "IMPORTING", &first]),
    ] {
        bare.ask::<()>(number, &[&["CLUSTER", "SETSLOT"], &words[..]].concat());
    }
    let reshard = ["trib", "reshard", &seed, "--to", &second, "--slots", "1"];
    refused(
        &product.run(&[&reshard[..], &["--yes", "-o", "json"]].concat()),
        "SY2431",
        6,
    );
    let plan = product.ok(&["trib", "fix", &seed, "--dry-run", "-o", "json"]);
    assert!(plan.stdout.contains("ensure_stable"), "{}", plan.stdout);
    assert_eq!(trib(&product, &["fix", &seed])["changed"], true);
    assert_eq!(trib(&product, &["fix", &seed])["changed"], false);

    // The shard of the first server dies whole.
    bare.kill(1);
    bare.kill(4);
    let seed = bare.address(2).to_owned();
    wait_until("the shard counts as dead", LIMIT, || {
        bare.ask::<String>(2, &["CLUSTER", "INFO"])
            .contains("cluster_slots_fail:546")
    });
    let fix = ["trib", "fix", &seed, "--yes", "-o", "json"];
    let ran = product.run(&fix);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert_eq!(ran.json()["changed"], false);
    assert!(ran.stdout.contains("SY2502"), "{}", ran.stdout);
    let give_up = [&fix[..], &["--cluster-fix-with-unreachable-masters"]].concat();
    refused(&product.run(&give_up), "SY5002", 2);

    // It comes back with all its keys: nothing was given away.
    bare.restart(1);
    bare.restart(4);
    wait_until("whole again", LIMIT, || {
        product.run(&["trib", "check", &seed]).code == 0
    });
    let mut connection = connect(&urls(&bare));
    for number in 0..500 {
        let value: Option<i32> = connection.get(format!("key:{number}")).unwrap();
        assert_eq!(value, Some(number));
    }

    // Once more, and now the loss is named.
    bare.kill(1);
    bare.kill(4);
    wait_until("the shard counts as dead", LIMIT, || {
        bare.ask::<String>(2, &["CLUSTER", "INFO"])
            .contains("cluster_slots_fail:546")
    });
    let ran = product.run(&[&give_up[..], &["--confirm", &seed]].concat());
    let body = ran.json();
    assert_eq!(body["changed"], true, "{body:#}");
    let owned = [2, 3].map(|it| {
        node(&body, bare.address(it))["slot_count"]
            .as_u64()
            .unwrap()
    });
    assert_eq!(owned.iter().sum::<u64>(), 16384, "{body:#}");
}

#[test]
fn a_newcomer_with_keys_is_left_alone_and_a_timeout_is_set_everywhere() {
    let product = Shardyard::new();
    let bare = BareServers::start("redis-server", 7);
    cluster(&product, &bare);
    let (seed, seventh) = (bare.address(1), bare.address(7));
    bare.ask::<()>(7, &["CLUSTER", "ADDSLOTS", "0"]);
    bare.ask::<()>(7, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    let add = ["trib", "add-node", seventh, seed, "--yes", "-o", "json"];
    refused(&product.run(&add), "SY2435", 6);
    let known = bare.ask::<String>(1, &["CLUSTER", "NODES"]);
    assert_eq!(known.lines().count(), 6, "{known}");

    let body = trib(&product, &["set-timeout", seed, "4000"]);
    assert_eq!(body["changed"], true);
    for number in 1..=6 {
        let has = bare.ask::<Vec<String>>(number, &["CONFIG", "GET", "cluster-node-timeout"]);
        assert_eq!(has[1], "4000");
    }
    for (words, code) in [
        (
            ["reshard", seed, "--to", "abcd1234", "--slots", "1"],
            "SY2432",
        ),
        (
            ["reshard", seed, "--to", "nonsense", "--slots", "1"],
            "SY5001",
        ),
    ] {
        let all = [&["trib"], &words[..], &["--yes", "-o", "json"]].concat();
        refused(&product.run(&all), code, 2);
    }
}

#[test]
fn a_failover_loses_no_write_and_spreading_puts_the_primaries_back() {
    let product = Shardyard::new();
    product.up(&["--set", "NODE_TIMEOUT=1000"]);
    let name = product.name();
    // On a busy machine a second of silence is an election.
    product.ok(&["failover", name, "--spread", "--yes"]);
    let status = product.status();
    assert_eq!(status["shards"][0]["primary"]["workload"], "redis-1");
    let plan = product.ok(&["failover", name, "redis-4", "--dry-run", "-o", "json"]);
    assert!(
        plan.stdout.contains("ensure_handed_over"),
        "{}",
        plan.stdout
    );
    let writer = Writer::start(product.urls());
    let over = |words: &[&str]| {
        let all = [&["failover", name], words, &["--yes", "-o", "json"]].concat();
        let body = product.ok(&all).json();
        assert_eq!(body["proof"]["acknowledged_writes_lost"], 0, "{body:#}");
        body["shards"][0]["primary"]["workload"].clone()
    };
    assert_eq!(over(&["redis-4"]), "redis-4");
    // A primary that is named gives way.
    assert_eq!(over(&["redis-4"]), "redis-1");
    assert_eq!(over(&["redis-4"]), "redis-4");
    assert_eq!(over(&["--spread"]), "redis-1");
    let again = ["failover", name, "--spread", "--yes", "-o", "json"];
    assert_eq!(product.ok(&again).json()["changed"], false);
    let ledger = writer.stop();
    assert!(ledger.acknowledged.len() > 100, "{ledger:?}");
    assert_eq!(
        ledger.missing(&mut connect(&product.urls())),
        Vec::<u64>::new()
    );
    // Which nodes an instance has is not trib's to change.
    let seed = status["shards"][0]["primary"]["address"].as_str().unwrap();
    for words in [["add-node", "127.0.0.1:1", seed], ["del-node", seed, seed]] {
        let ran = product.run(&[&["trib"], &words[..], &["--yes", "-o", "json"]].concat());
        refused(&ran, "SY4051", 6);
    }
    let unknown = ["failover", name, "redis-9", "--yes", "-o", "json"];
    refused(&product.run(&unknown), "SY4006", 2);
}

/// A hundred keys of 20 kB, all in the slots of the first primary.
fn heavy(bare: &BareServers) {
    let names = (0..).map(|number| format!("heavy:{number}"));
    let of_first = names.filter(|name| bare.ask::<u16>(1, &["CLUSTER", "KEYSLOT", name]) < 5000);
    for key in of_first.take(100) {
        bare.ask::<()>(1, &["SET", &key, &"v".repeat(20_000)]);
    }
}

#[test]
fn slots_are_balanced_by_what_their_keys_weigh_and_what_they_cost() {
    for program in programs() {
        let product = Shardyard::new();
        let bare = BareServers::start(&program, 3);
        let mut create = vec!["trib", "create", "--yes"];
        create.extend(bare.addresses(3));
        product.ok(&create);
        let seed = bare.address(1);
        heavy(&bare);
        // As many slots each, and all of the weight with one.
        assert_eq!(trib(&product, &["rebalance", seed])["changed"], false);
        let by_load = [
            "trib",
            "rebalance",
            seed,
            "--by",
            "load",
            "--yes",
            "-o",
            "json",
        ];
        refused(&product.run(&by_load), "SY4061", 6);
        let body = trib(&product, &["rebalance", seed, "--by", "memory"]);
        assert_eq!(body["proof"]["acknowledged_writes_lost"], 0, "{body:#}");
        for number in 1..=3 {
            let has = node(&body, bare.address(number))["keys"].as_u64().unwrap();
            assert!(
                (30..=37).contains(&has),
                "{program}: {number} has {has} of 100"
            );
        }
        if !program.contains("valkey") {
            continue;
        }
        for number in 1..=3 {
            bare.ask::<()>(
                number,
                &["CONFIG", "SET", "cluster-slot-stats-enabled", "yes"],
            );
        }
        // One of the three has all of the work.
        let mut client = connect(&urls(&bare));
        let busy: Vec<String> = bare.ask(1, &["KEYS", "*"]);
        for _ in 0..50 {
            for key in &busy {
                let _: String = client.get(key).unwrap();
            }
        }
        let body = trib(&product, &["rebalance", seed, "--by", "load"]);
        let has = node(&body, seed)["keys"].as_u64().unwrap();
        assert!(has < busy.len() as u64, "{has} of {}: {body:#}", busy.len());
    }
}
