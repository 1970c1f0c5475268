//! The templates that come along beside the cluster, on a real Docker daemon.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::time::Duration;

use serde_json::Value;
use tests::{
    Shardyard, docker, inspect, is_docker_there, jobs_have_their_turns,
    the_job_reshards_and_drains, wait_until,
};

const LIMIT: Duration = Duration::from_secs(90);
const SMALL: [&str; 2] = ["--memory", "48MiB"];

fn delivered(template: &str, arguments: &[&str]) -> Shardyard {
    let product = Shardyard::on_docker();
    let status = product.up(&[&[template], &SMALL[..], arguments].concat());
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_eq!(status["engine"], "docker");
    product
}

fn addresses(product: &Shardyard, service: &str, count: usize) -> Vec<String> {
    let names = (1..=count).map(|number| format!("{service}-{number}"));
    names.map(|name| product.address(&name)).collect()
}

#[test]
fn a_client_finds_the_members_of_its_ring_in_a_file_and_they_keep_their_keys() {
    if !is_docker_there() {
        return;
    }
    for image in ["redis:7", "valkey/valkey:9"] {
        let product = delivered("redis-servers", &["--set", &format!("IMAGE={image}")]);
        let file = "/usr/local/etc/ring/ring.json";
        let shown = product.ok(&["exec", product.name(), "redis-2", "--", "cat", file]);
        let members: Vec<Value> = shown.json()["members"].as_array().unwrap().clone();
        assert_eq!(members.len(), 3);
        for member in &members {
            let name = member["name"].as_str().unwrap();
            let address = format!("{}:{}", member["host"].as_str().unwrap(), member["port"]);
            assert_eq!(product.say(&address, &format!("set who {name}\n")), ["OK"]);
        }
        assert_eq!(product.up(&[])["changed"], false);
        product.ok(&["down", product.name(), "--yes"]);
        assert_eq!(product.up(&[])["state"], "ready");
        for member in &members {
            let name = member["name"].as_str().unwrap();
            assert_eq!(product.say(&product.address(name), "get who\n"), [name]);
        }
    }
}

#[test]
fn clients_of_a_proxy_find_their_keys_by_any_proxy_and_after_a_restart() {
    if !is_docker_there() {
        return;
    }
    let product = delivered("redis-twemproxy", &["--set", "PROXIES=2"]);
    let proxies = addresses(&product, "twemproxy", 2);
    let sets: String = (0..300).map(|n| format!("set key:{n} {n}\n")).collect();
    let gets: String = (0..300).map(|n| format!("get key:{n}\n")).collect();
    let values: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(product.say(&proxies[0], &sets), vec!["OK"; 300]);
    assert_eq!(product.say(&proxies[1], &gets), values);
    docker(&["restart", "--time", "10", &product.container("redis-2")]);
    docker(&["restart", "--time", "1", &product.container("twemproxy-1")]);
    for proxy in &proxies {
        wait_until("every key is found again", LIMIT, || {
            product.say(proxy, &gets) == values
        });
    }
    assert_eq!(product.up(&[])["changed"], false);
    let proxy = inspect("container", &product.container("twemproxy-1"));
    assert_eq!(proxy["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(proxy["Config"]["User"], "999:999");
    assert!(!proxy.to_string().contains(&product.password()));
}

/// Servers with sentinels, and the addresses of both.
fn watched(arguments: &[&str]) -> (Shardyard, Vec<String>, Vec<String>) {
    let product = delivered("redis-sentinel", arguments);
    let servers = addresses(&product, "redis", 3);
    let sentinels = addresses(&product, "sentinel", 3);
    wait_until("the sentinels know each other", LIMIT, || {
        sentinels.iter().all(|sentinel| {
            let master = product.say(sentinel, "sentinel master primary\n");
            let value = |name: &str| master.iter().skip_while(|it| *it != name).nth(1);
            value("num-other-sentinels").is_some_and(|it| it == "2")
                && value("num-slaves").is_some_and(|it| it == "2")
        })
    });
    (product, servers, sentinels)
}

fn another_primary(product: &Shardyard, servers: &[String], sentinels: &[String]) -> String {
    wait_until("another one is the primary", LIMIT, || {
        let told = product.told_primary(sentinels);
        told.is_some_and(|it| it != servers[0] && product.role(&it) == "master")
    });
    product.told_primary(sentinels).unwrap()
}

fn all_follow(product: &Shardyard, servers: &[String], primary: &str) {
    let follows = format!("slave of {primary}, connected");
    for server in servers.iter().filter(|it| *it != primary) {
        wait_until("all follow it", LIMIT, || product.role(server) == follows);
    }
}

/// `docker kill` is by the user's own hand, so that Docker does not start it again.
#[test]
fn a_killed_primary_is_replaced_and_comes_back_as_a_replica_with_every_write() {
    if !is_docker_there() {
        return;
    }
    for image in ["redis:7", "valkey/valkey:9"] {
        let (product, servers, sentinels) = watched(&["--set", &format!("IMAGE={image}")]);
        let sets: String = (0..100).map(|n| format!("set key:{n} {n}\n")).collect();
        assert_eq!(product.say(&servers[0], &sets), vec!["OK"; 100]);
        assert_eq!(product.say(&servers[0], "wait 2 10000\n"), ["2"]);
        docker(&["kill", &product.container("redis-1")]);
        let primary = another_primary(&product, &servers, &sentinels);
        wait_until("it takes writes", LIMIT, || {
            product.say(&primary, "set after 1\n") == ["OK"]
        });
        assert_eq!(product.up(&[])["state"], "ready");
        all_follow(&product, &servers, &primary);
        for server in &servers {
            assert_eq!(product.say(server, "get key:99\nget after\n"), ["99", "1"]);
        }
        // The container made anew finds in its volume what it is by now.
        docker(&["rm", "--force", &product.container("redis-1")]);
        assert_eq!(product.up(&[])["state"], "ready");
        all_follow(&product, &servers, &primary);
        assert_eq!(product.told_primary(&sentinels), Some(primary));
    }
}

/// An empty primary whose replicas copied it would be the loss of everything.
#[test]
fn a_primary_that_lost_its_volume_comes_back_as_nobody_and_its_replicas_keep_everything() {
    if !is_docker_there() {
        return;
    }
    let (product, servers, sentinels) = watched(&[]);
    let sets: String = (0..100).map(|n| format!("set key:{n} {n}\n")).collect();
    assert_eq!(product.say(&servers[0], &sets), vec!["OK"; 100]);
    assert_eq!(product.say(&servers[0], "wait 2 10000\n"), ["2"]);
    docker(&["rm", "--force", "--volumes", &product.container("redis-1")]);
    let volumes = product.left_on_docker();
    let data = volumes
        .iter()
        .find(|it| it.contains("redis-1") && it.contains("data"))
        .unwrap();
    docker(&["volume", "rm", data]);
    // It is back sooner than the sentinels give it up.
    assert_eq!(product.up(&[])["state"], "ready");
    let primary = another_primary(&product, &servers, &sentinels);
    all_follow(&product, &servers, &primary);
    for server in &servers {
        assert_eq!(product.say(server, "dbsize\n"), ["100"]);
    }
}

/// The talk's template as it comes along, with our own image for its job.
#[test]
fn the_job_of_our_own_image_makes_the_cluster_from_the_rendered_file() {
    if !is_docker_there() {
        return;
    }
    let images = docker(&["images", "--quiet", "shardyard"]);
    if images.is_empty() {
        let required = std::env::var_os("SHARDYARD_REQUIRE_REAL").is_some();
        assert!(!required, "no image shardyard: make images");
        eprintln!("skipped: there is no image shardyard; make images builds it");
        return;
    }
    let product = Shardyard::on_docker();
    let status = product.up(&["redis-sharding"]);
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_eq!(status["shards"].as_array().unwrap().len(), 3);
    let log = product.ok(&["logs", product.name(), "redis-trib"]).stdout;
    assert!(log.contains("[OK] All 16384 slots covered."), "{log}");
    let words = ["exec", product.name(), "redis-2", "--", "redis-cli", "info"];
    let info = product.ok(&words).stdout;
    assert!(info.contains("cluster_enabled:1"), "{info}");
    the_job_reshards_and_drains(&product);
    // The image has nothing but the binary, and nothing of a job is left behind.
    let job = inspect("container", &product.container("redis-trib-1"));
    assert_eq!(job["Config"]["User"], "999:999");
    let name = product.name();
    product.ok(&["down", name, "--delete-data", "--yes", "--confirm", name]);
    let volumes = docker(&["volume", "ls", "--quiet"]);
    for mount in job["Mounts"].as_array().unwrap() {
        let volume = mount["Name"].as_str().unwrap();
        assert!(!volumes.contains(volume), "{mount} is left behind");
    }
}

#[test]
fn the_jobs_of_hooks_have_their_turns_in_a_change_of_size() {
    if is_docker_there() {
        jobs_have_their_turns(&Shardyard::on_docker());
    }
}
