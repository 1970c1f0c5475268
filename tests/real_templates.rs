//! The templates that come along beside the cluster, as plain processes: independent servers, a
//! sharding proxy, and sentinels that fail over.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::{Shardyard, jobs_have_their_turns, kill, servers, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const SMALL: [&str; 2] = ["--memory", "48MiB"];

fn delivered(template: &str, arguments: &[&str]) -> Shardyard {
    let product = Shardyard::new();
    let status = product.up(&[&[template], &SMALL[..], arguments].concat());
    assert_eq!(status["state"], "ready", "{status:#}");
    product
}

fn addresses(product: &Shardyard, service: &str, count: usize) -> Vec<String> {
    let names = (1..=count).map(|number| format!("{service}-{number}"));
    names.map(|name| product.address(&name)).collect()
}

fn ring(product: &Shardyard) -> Vec<Value> {
    let file = "/usr/local/etc/ring/ring.json";
    let shown = product.ok(&["exec", product.name(), "redis-1", "--", "cat", file]);
    shown.json()["members"].as_array().unwrap().clone()
}

#[test]
fn a_client_finds_the_members_of_its_ring_in_a_file_and_they_keep_their_keys() {
    for image in servers() {
        let product = delivered("redis-servers", &["--set", &format!("IMAGE={image}")]);
        let members = ring(&product);
        assert_eq!(members.len(), 3);
        for member in &members {
            let name = member["name"].as_str().unwrap();
            let address = format!("{}:{}", member["host"].as_str().unwrap(), member["port"]);
            assert_eq!(address, product.address(name));
            let said = product.say(&address, &format!("set who {name}\n"));
            assert_eq!(said, ["OK"]);
        }
        assert_eq!(product.up(&[])["changed"], false);
        product.ok(&["down", product.name(), "--yes"]);
        assert_eq!(product.up(&[])["state"], "ready");
        assert_eq!(ring(&product), members, "the ring is the same");
        for member in &members {
            let name = member["name"].as_str().unwrap();
            assert_eq!(product.say(&product.address(name), "get who\n"), [name]);
        }
        // A server that is killed comes back with its keys.
        kill(product.pid("redis-2"), Signal::KILL);
        wait_until("redis-2 is back with its key", LIMIT, || {
            product.say(&product.address("redis-2"), "get who\n") == ["redis-2"]
        });
    }
}

#[test]
fn a_server_that_holds_keys_is_not_taken_out_of_a_ring() {
    let product = delivered("redis-servers", &[]);
    let third = product.address("redis-3");
    assert_eq!(product.say(&third, "set key value\n"), ["OK"]);
    let name = product.name();
    let ran = product.run(&["scale", name, "--set", "NODES=2", "--yes", "-o", "json"]);
    assert_eq!(ran.code, 6, "{}", ran.stdout);
    assert_eq!(product.say(&third, "get key\n"), ["value"]);
    assert_eq!(product.say(&third, "del key\n"), ["1"]);
    product.ok(&["scale", name, "--set", "NODES=2", "--yes"]);
    assert_eq!(
        ring(&product).len(),
        3,
        "a file changes when its server starts"
    );
    product.ok(&["down", name, "--yes"]);
    product.up(&[]);
    assert_eq!(ring(&product).len(), 2);
}

#[test]
fn clients_of_a_proxy_find_their_keys_by_any_proxy_and_after_a_restart() {
    let product = delivered("redis-twemproxy", &["--set", "PROXIES=2"]);
    let proxies = addresses(&product, "twemproxy", 2);
    let servers = addresses(&product, "redis", 3);
    let sets: String = (0..300).map(|n| format!("set key:{n} {n}\n")).collect();
    let gets: String = (0..300).map(|n| format!("get key:{n}\n")).collect();
    let values: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(product.say(&proxies[0], &sets), vec!["OK"; 300]);
    assert_eq!(product.say(&proxies[1], &gets), values);
    // Without the password nobody gets in, and each server has a part of the keys.
    let spread: Vec<usize> = servers
        .iter()
        .map(|server| product.say(server, "dbsize\n")[0].parse().unwrap())
        .collect();
    assert_eq!(spread.iter().sum::<usize>(), 300);
    assert!(spread.iter().all(|keys| *keys > 30), "{spread:?}");
    let open = std::process::Command::new("redis-cli")
        .args(["-u", &format!("redis://{}", proxies[0]), "get", "key:1"])
        .env_remove("REDISCLI_AUTH")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&open.stdout).into_owned();
    assert!(said.contains("NOAUTH"), "{said}");
    // A proxy that dies is started again; so is a server, and both proxies find it.
    kill(product.pid("twemproxy-1"), Signal::KILL);
    kill(product.pid("redis-2"), Signal::KILL);
    for proxy in &proxies {
        wait_until("every key is found again", LIMIT, || {
            product.say(proxy, &gets) == values
        });
    }
    assert_eq!(product.up(&[])["changed"], false);
}

#[test]
fn two_instances_with_proxies_live_side_by_side() {
    let first = delivered("redis-twemproxy", &["--set", "NODES=1"]);
    let second = delivered("redis-twemproxy", &["--set", "NODES=1"]);
    for product in [&first, &second] {
        let proxy = product.address("twemproxy-1");
        let name = product.name();
        assert_eq!(
            product.say(&proxy, &format!("set who {name}\nget who\n")),
            ["OK", name]
        );
    }
}

/// Servers with sentinels that are quick to notice, and the addresses of both.
fn watched(image: &str) -> (Shardyard, Vec<String>, Vec<String>) {
    let image = format!("IMAGE={image}");
    let product = delivered("redis-sentinel", &["--set", &image]);
    let servers = addresses(&product, "redis", 3);
    let sentinels = addresses(&product, "sentinel", 3);
    wait_until(
        "the sentinels know each other and the replicas",
        LIMIT,
        || {
            sentinels.iter().all(|sentinel| {
                let master = product.say(sentinel, "sentinel master primary\n");
                let value = |name: &str| master.iter().skip_while(|it| *it != name).nth(1);
                value("num-other-sentinels").is_some_and(|it| it == "2")
                    && value("num-slaves").is_some_and(|it| it == "2")
            })
        },
    );
    (product, servers, sentinels)
}

/// The whole host has a bad time: the primary and who would start it again are gone. A replica is
/// elected, and what comes back later is its replica, not a second primary.
#[test]
fn a_killed_primary_is_replaced_and_comes_back_as_a_replica_with_every_write() {
    for image in servers() {
        let (product, servers, sentinels) = watched(image);
        assert_eq!(product.told_primary(&sentinels).as_ref(), Some(&servers[0]));
        let sets: String = (0..100).map(|n| format!("set key:{n} {n}\n")).collect();
        assert_eq!(product.say(&servers[0], &sets), vec!["OK"; 100]);
        assert_eq!(product.say(&servers[0], "wait 2 10000\n"), ["2"]);

        kill(product.supervisor().unwrap(), Signal::KILL);
        kill(product.pid("redis-1"), Signal::KILL);
        wait_until("another one is the primary", LIMIT, || {
            let told = product.told_primary(&sentinels);
            told.is_some_and(|it| it != servers[0] && product.role(&it) == "master")
        });
        let primary = product.told_primary(&sentinels).unwrap();
        wait_until(
            "it takes writes, because the other replica follows it",
            LIMIT,
            || product.say(&primary, "set after 1\n") == ["OK"],
        );

        let status = product.up(&[]);
        assert_eq!(status["state"], "ready", "{status:#}");
        // Nothing that was written to the one that came back alone would be kept, so it takes none.
        let refused = product.say(&servers[0], "set lost 1\n").join(" ");
        assert!(
            refused.starts_with("NOREPLICAS") || refused.starts_with("READONLY"),
            "{refused}"
        );
        let follows = format!("slave of {primary}, connected");
        for server in servers.iter().filter(|it| **it != primary) {
            wait_until("all follow the new primary", LIMIT, || {
                product.role(server) == follows
            });
        }
        let gets: String = (0..100).map(|n| format!("get key:{n}\n")).collect();
        let values: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        for server in &servers {
            assert_eq!(product.say(server, &gets), values);
            assert_eq!(product.say(server, "get after\nget lost\n"), ["1", ""]);
        }

        // All at once, by our own hand: who was the primary last is it again.
        product.ok(&["down", product.name(), "--yes"]);
        assert_eq!(product.up(&[])["state"], "ready");
        wait_until("the same one is the primary", LIMIT, || {
            product.told_primary(&sentinels).as_ref() == Some(&primary)
                && product.role(&primary) == "master"
        });
        for server in servers.iter().filter(|it| **it != primary) {
            wait_until("all follow it still", LIMIT, || {
                product.role(server) == follows
            });
        }
        assert_eq!(product.say(&primary, "get after\n"), ["1"]);
    }
}

/// An empty primary whose replicas copied it would be the loss of everything.
#[test]
fn a_primary_that_lost_its_volume_comes_back_as_nobody_and_its_replicas_keep_everything() {
    let (product, servers, sentinels) = watched("redis:7");
    let sets: String = (0..100).map(|n| format!("set key:{n} {n}\n")).collect();
    assert_eq!(product.say(&servers[0], &sets), vec!["OK"; 100]);
    assert_eq!(product.say(&servers[0], "wait 2 10000\n"), ["2"]);
    product.ok(&["down", product.name(), "--yes"]);
    std::fs::remove_dir_all(product.data("redis-1")).unwrap();
    // The sentinels know redis-1 as the primary still, and so do its replicas.
    let status = product.up(&[]);
    assert_eq!(status["state"], "ready", "{status:#}");
    wait_until("one that has the data is the primary", LIMIT, || {
        let told = product.told_primary(&sentinels);
        told.is_some_and(|it| it != servers[0] && product.role(&it) == "master")
    });
    let primary = product.told_primary(&sentinels).unwrap();
    let follows = format!("slave of {primary}, connected");
    for server in servers.iter().filter(|it| **it != primary) {
        wait_until("all follow it", LIMIT, || product.role(server) == follows);
    }
    for server in &servers {
        assert_eq!(product.say(server, "dbsize\n"), ["100"]);
    }
}

#[test]
fn a_new_replica_follows_whoever_is_the_primary_by_now() {
    let (product, servers, sentinels) = watched("redis:7");
    kill(product.supervisor().unwrap(), Signal::KILL);
    kill(product.pid("redis-1"), Signal::KILL);
    wait_until("another one is the primary", LIMIT, || {
        let told = product.told_primary(&sentinels);
        told.is_some_and(|it| it != servers[0] && product.role(&it) == "master")
    });
    product.up(&[]);
    let primary = product.told_primary(&sentinels).unwrap();
    product.ok(&["scale", product.name(), "--set", "REPLICAS_NUM=3", "--yes"]);
    let fourth = product.address("redis-4");
    assert_eq!(
        product.role(&fourth),
        format!("slave of {primary}, connected")
    );
}

#[test]
fn the_jobs_of_hooks_have_their_turns_in_a_change_of_size() {
    jobs_have_their_turns(&Shardyard::new());
}
