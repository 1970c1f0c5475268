//! How a cluster begins: by which method, and with which `nodes.conf`.

use std::collections::BTreeSet;

use model::image::{ServerVersion, Software};
use model::instance::Instance;
use model::step::Step;
use plan::create::{Method, joining, method, method_of, prepared, promotions};

use crate::fixture::{hosts, instance_on, name, redis_7, redis_99, spec, version};

const SWAP: Method = Method::Prepared { swap: true };
const PLAIN: Method = Method::Prepared { swap: false };

#[test]
fn the_method_follows_from_the_version_and_the_size() {
    let (redis, valkey) = (Software::Redis, Software::Valkey);
    for (software, text, shards, replicas, expected) in [
        // Proved for 7.0, 8.0, 8.1 and 9.1 only.
        (redis, "7.0.0", 3, 1, SWAP),
        (redis, "7.0.15", 3, 1, SWAP),
        (redis, "8.0.2", 3, 1, SWAP),
        (valkey, "8.1.4", 3, 1, SWAP),
        (redis, "6.2.7", 3, 1, Method::Meet),
        (redis, "7.2.4", 3, 1, Method::Meet),
        (redis, "8.2.3", 3, 1, Method::Meet),
        (valkey, "8.0.6", 3, 1, Method::Meet),
        (valkey, "9.0.0", 3, 1, Method::Meet),
        (Software::Other, "7.0.15", 3, 1, Method::Meet),
        // No vote in the first two seconds.
        (valkey, "9.1.2", 3, 1, PLAIN),
        // Nobody to swap with.
        (redis, "7.0.15", 3, 0, PLAIN),
        // Too few voters.
        (redis, "7.0.15", 1, 1, PLAIN),
        (redis, "7.0.15", 2, 5, PLAIN),
        // Elections would take longer than the pause that they avoid.
        (redis, "7.0.15", 12, 1, SWAP),
        (redis, "7.0.15", 13, 1, PLAIN),
    ] {
        let chosen = method(Some(version(software, text)), shards, replicas);
        assert_eq!(chosen, expected, "{software} {text}, {shards} x {replicas}");
    }
    assert_eq!(method(None, 3, 1), Method::Meet);
}

fn instance(shards: u16, replicas: u16) -> Instance {
    instance_on(&hosts(1), spec(shards, replicas))
}

/// The file with which a node starts, its ids and addresses short enough to be read.
fn file(workload: &str, version: ServerVersion, method: Method) -> String {
    let text = prepared(&instance(3, 1), &name(workload), Some(version), method).unwrap();
    text.replace("0101010101010101010101010101010101010101", "A1")
        .replace("0202020202020202020202020202020202020202", "A2")
        .replace("0303030303030303030303030303030303030303", "A3")
        .replace("0404040404040404040404040404040404040404", "B1")
        .replace("0505050505050505050505050505050505050505", "B2")
        .replace("0606060606060606060606060606060606060606", "B3")
}

#[test]
fn a_prepared_file_for_redis_7_0_names_all_nodes_slots_and_epochs() {
    insta::assert_snapshot!(file("redis-1", redis_7(), PLAIN), @"
    A1 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5460
    A2 10.0.0.2:6379@16379 master - 0 0 2 connected 5461-10922
    A3 10.0.0.3:6379@16379 master - 0 0 3 connected 10923-16383
    B1 10.0.0.4:6379@16379 slave A1 0 0 1 connected
    B2 10.0.0.5:6379@16379 slave A2 0 0 2 connected
    B3 10.0.0.6:6379@16379 slave A3 0 0 3 connected
    vars currentEpoch 3 lastVoteEpoch 0
    ");
}

#[test]
fn a_swapped_file_gives_the_slots_to_the_first_replicas() {
    insta::assert_snapshot!(file("redis-1", redis_7(), SWAP), @"
    A1 10.0.0.1:6379@16379 myself,slave B1 0 0 1 connected
    A2 10.0.0.2:6379@16379 slave B2 0 0 2 connected
    A3 10.0.0.3:6379@16379 slave B3 0 0 3 connected
    B1 10.0.0.4:6379@16379 master - 0 0 1 connected 0-5460
    B2 10.0.0.5:6379@16379 master - 0 0 2 connected 5461-10922
    B3 10.0.0.6:6379@16379 master - 0 0 3 connected 10923-16383
    vars currentEpoch 3 lastVoteEpoch 0
    ");
}

#[test]
fn a_prepared_file_for_later_versions_has_one_id_for_each_shard() {
    let valkey = version(Software::Valkey, "9.1.2");
    insta::assert_snapshot!(file("redis-5", valkey, PLAIN), @"
    A1 10.0.0.1:6379@16379,,tls-port=0,shard-id=fc21fc52fcae14cc62204ff506f874d997ace699 master - 0 0 1 connected 0-5460
    A2 10.0.0.2:6379@16379,,tls-port=0,shard-id=663663c432f03fa8587bad49687f3335e2e12bac master - 0 0 2 connected 5461-10922
    A3 10.0.0.3:6379@16379,,tls-port=0,shard-id=2966c65d4caa0b2c8f6519ff56f46b39692b8621 master - 0 0 3 connected 10923-16383
    B1 10.0.0.4:6379@16379,,tls-port=0,shard-id=fc21fc52fcae14cc62204ff506f874d997ace699 slave A1 0 0 1 connected
    B2 10.0.0.5:6379@16379,,tls-port=0,shard-id=663663c432f03fa8587bad49687f3335e2e12bac myself,slave A2 0 0 2 connected
    B3 10.0.0.6:6379@16379,,tls-port=0,shard-id=2966c65d4caa0b2c8f6519ff56f46b39692b8621 slave A3 0 0 3 connected
    vars currentEpoch 3 lastVoteEpoch 0
    ");
}

#[test]
fn the_files_of_all_nodes_differ_in_who_is_myself_only() {
    let without_myself = |number: u32| {
        let text = file(&format!("redis-{number}"), redis_7(), SWAP);
        assert_eq!(text.matches("myself,").count(), 1);
        text.replace("myself,", "")
    };
    let texts: BTreeSet<String> = (1..=6).map(without_myself).collect();
    assert_eq!(texts.len(), 1);
}

#[test]
fn each_shard_has_an_id_of_its_own_that_all_its_copies_name() {
    let valkey = version(Software::Valkey, "8.1.4");
    let text = prepared(&instance(5, 2), &name("redis-1"), Some(valkey), PLAIN).unwrap();
    let words: Vec<&str> = text
        .split("shard-id=")
        .skip(1)
        .map(|rest| &rest[..40])
        .collect();
    assert_eq!(words.len(), 15);
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), 5);
    assert_eq!(words[..5], words[5..10]);
}

#[test]
fn a_node_that_meets_has_no_prepared_file() {
    let instance = instance(3, 1);
    let redis_1 = name("redis-1");
    assert_eq!(
        prepared(&instance, &redis_1, Some(redis_7()), Method::Meet),
        None
    );
    assert_eq!(prepared(&instance, &redis_1, Some(redis_99()), PLAIN), None);
    assert_eq!(prepared(&instance, &redis_1, None, PLAIN), None);
    assert_eq!(method_of(&instance, Some(redis_99())), Method::Meet);
    assert_eq!(method_of(&instance, Some(redis_7())), SWAP);
}

#[test]
fn a_node_that_joins_knows_itself_only() {
    let layout = instance(3, 1).layout;
    insta::assert_snapshot!(joining(&layout, &name("redis-2")).unwrap(), @"
    0202020202020202020202020202020202020202 10.0.0.2:6379@16379 myself,master - 0 0 0 connected
    vars currentEpoch 0 lastVoteEpoch 0
    ");
    assert_eq!(joining(&layout, &name("redis-7")), None);
}

#[test]
fn each_planned_primary_is_elected_instead_of_its_shards_first_replica() {
    let steps = promotions(&instance(3, 2).layout);
    let text = steps
        .as_ref()
        .map(|step| format!("{}: {}", step.subject(), step.detail()));
    insta::assert_snapshot!(text.unwrap(), @"01010101 (10.0.0.1:6379), 02020202 (10.0.0.2:6379), 03030303 (10.0.0.3:6379): become primary by vote, instead of 04040404 (10.0.0.4:6379), 05050505 (10.0.0.5:6379), 06060606 (10.0.0.6:6379)");
    assert_eq!(steps.as_ref().map(Step::kind), Some("ensure_promoted"));
    // Without a replica nobody stood in.
    assert_eq!(promotions(&instance(3, 0).layout), None);
}
