//! The verbs around a delivery, on real servers: trib on servers that are not ours, watching,
//! interrupting, a terminal that closes, templates, the doctor.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tests::{Shardyard, kill, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

const YAML: &str = "apiVersion: shardyard/v1
kind: Template
name: bare
title: Servers in cluster mode
variables: []
services:
  - name: redis
    image: redis:7
    count: 6
    container:
      command: [redis-server, /data/redis.conf]
      volumes: [{name: data, target: /data}]
      ports: [6379]
    files: [{template: redis.conf, target: /data/redis.conf}]
    health: {tcp: 6379}
";

/// Six servers in cluster mode without a slot, and their addresses.
fn bare_servers() -> (Shardyard, TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("template.yaml"), YAML).unwrap();
    let config = "port 6379\ncluster-enabled yes\ncluster-config-file nodes.conf\n";
    fs::write(path.join("redis.conf"), config).unwrap();
    let product = Shardyard::new();
    let path = path.to_str().unwrap();
    // They never become a cluster by themselves, which is what `up` waits for.
    let short = ["--yes", "--wait-timeout", "1"];
    let mut up = vec!["up", path, "--name", product.name()];
    up.extend(short);
    assert_eq!(product.run(&up).code, 4);
    let addresses = (1..=6).map(|number| {
        let text = fs::read_to_string(
            product
                .workload(&format!("redis-{number}"))
                .join("launch.json"),
        );
        let launch: Value = serde_json::from_str(&text.unwrap()).unwrap();
        format!("{}:{}", launch["ip"].as_str().unwrap(), launch["port"])
    });
    let addresses = addresses.collect();
    (product, folder, addresses)
}

/// One command to one server.
fn ask(product: &Shardyard, number: usize, words: &[&str]) -> String {
    let workload = format!("redis-{number}");
    let mut all = vec!["exec", product.name(), &workload, "--", "redis-cli"];
    all.extend(words);
    product.ok(&all).stdout
}

#[test]
fn trib_makes_running_servers_a_cluster_and_tells_of_it() {
    let (product, _folder, nodes) = bare_servers();
    let mut create = vec!["trib", "create"];
    create.extend(nodes.iter().map(String::as_str));
    create.extend(["--replicas", "1", "--yes"]);
    product.ok(&create);
    let check = product
        .ok(&["trib", "check", &nodes[5], "-o", "json"])
        .json();
    assert_eq!(check["findings"].as_array().unwrap().len(), 0, "{check:#}");
    let info = product.ok(&["trib", "info", &nodes[0]]).stdout;
    for primary in &nodes[..3] {
        assert!(info.contains(primary), "{info}");
    }
    let only = ["trib", "call", &nodes[0], "--only-masters", "PING"];
    assert_eq!(product.ok(&only).stdout.matches("PONG").count(), 3);
    // What is wrong has an exit code of its own.
    ask(&product, 1, &["cluster", "delslots", "0"]);
    wait_until("the loss of a slot is found", LIMIT, || {
        product.run(&["trib", "check", &nodes[0]]).code == 3
    });
    // The same once more finishes what is missing; with other nodes it is refused.
    product.ok(&create);
    assert_eq!(product.run(&["trib", "check", &nodes[0]]).code, 0);
    let mut fewer = vec!["trib", "create", "--yes", "-o", "json"];
    fewer.extend(nodes[..3].iter().map(String::as_str));
    let ran = product.run(&fewer);
    assert_eq!(ran.code, 6, "{}", ran.stdout);
    assert_eq!(ran.json()["error"]["code"], "SY2011");
}

#[test]
fn a_server_with_keys_or_of_another_cluster_becomes_part_of_no_new_one() {
    let (product, _folder, nodes) = bare_servers();
    let create = |nodes: &[String]| {
        let mut all = vec!["trib", "create"];
        all.extend(nodes.iter().map(String::as_str));
        all.extend(["--yes", "-o", "json"]);
        product.run(&all)
    };
    let refused = |nodes: &[String], code: &str, address: &str| {
        let ran = create(nodes);
        assert_eq!(ran.code, 6, "{}", ran.stdout);
        let error = ran.json()["error"].to_string();
        assert!(error.contains(code) && error.contains(address), "{error}");
    };
    // It takes a key only while it owns the slot.
    ask(&product, 1, &["cluster", "addslotsrange", "0", "16383"]);
    wait_until("it serves", LIMIT, || {
        ask(&product, 1, &["set", "key", "value"]).contains("OK")
    });
    ask(&product, 1, &["cluster", "delslotsrange", "0", "16383"]);
    refused(&nodes, "SY2010", &nodes[0]);
    assert_eq!(ask(&product, 1, &["dbsize"]).trim(), "1");
    // They have met, and the others of that cluster are not named.
    refused(&nodes[1..4], "SY2011", &nodes[1]);
}

#[test]
fn what_is_watched_is_shown_again_and_again_until_it_is_interrupted() {
    let product = Shardyard::new();
    product.up(&["--shards", "1", "--replicas", "0"]);
    let arguments = ["status", product.name(), "--watch", "-o", "json"];
    let mut child = product.start(&arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        let status: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(status["state"], "ready");
    }
    kill(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupted_up_is_finished_by_the_next_one() {
    let product = Shardyard::new();
    let name = product.name();
    let arguments = [
        "up", "--name", name, "--shards", "12", "--memory", "32MiB", "--yes",
    ];
    let mut first = product.start(&arguments);
    wait_until("it has begun", LIMIT, || {
        product.workload("redis-1").is_dir()
    });
    kill(first.id(), Signal::INT);
    assert_eq!(first.wait().unwrap().code(), Some(130));
    let status = product.up(&[]);
    assert_eq!(status["state"], "ready");
    assert_eq!(status["shards"].as_array().unwrap().len(), 12);
    assert_eq!(product.steps_left(), 0);
}

#[test]
fn an_instance_outlives_the_terminal_that_delivered_it() {
    let product = Shardyard::new();
    // `script` runs it at a terminal of its own, and takes that away as soon as it is done.
    let up = product.command(&["up", "--name", product.name(), "--replicas", "0", "--yes"]);
    let words = std::iter::once(up.get_program()).chain(up.get_args());
    let line: Vec<String> = words.map(|it| it.to_string_lossy().into_owned()).collect();
    let mut script = std::process::Command::new("script");
    script.args([
        "--quiet",
        "--return",
        "--command",
        &line.join(" "),
        "/dev/null",
    ]);
    for (name, value) in up.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let ended = script.stdin(Stdio::null()).stdout(Stdio::null()).status();
    assert!(ended.unwrap().success());
    assert_eq!(product.state(), "ready");
    // And it still has a supervisor that minds it.
    let pid = product.pid("redis-1");
    kill(pid, Signal::KILL);
    wait_until("redis-1 is back", LIMIT, || {
        product.state() == "ready" && product.pid("redis-1") != pid
    });
}

#[test]
fn five_replicas_and_two_shards_are_delivered_and_what_two_shards_lack_is_said() {
    let product = Shardyard::new();
    let size = ["--shards", "2", "--replicas", "5", "--memory", "32MiB"];
    let mut dry = vec!["up", "--name", product.name(), "--dry-run", "-o", "json"];
    dry.extend(size);
    let plan = product.ok(&dry).json();
    let findings = plan["findings"].to_string();
    assert!(findings.contains("SY2101"), "{findings}");
    let status = product.up(&size);
    assert_eq!(status["state"], "ready");
    for shard in status["shards"].as_array().unwrap() {
        assert_eq!(shard["replicas"].as_array().unwrap().len(), 5);
    }
}

#[test]
fn a_new_template_is_without_fault_and_can_be_rendered() {
    let product = Shardyard::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop");
    let path = path.to_str().unwrap();
    product.ok(&["template", "new", path]);
    product.ok(&["template", "lint", path]);
    let shown = product.ok(&["template", "show", path]).stdout;
    assert!(shown.contains("SHARDS"), "{shown}");
    let rendered = product
        .ok(&["template", "render", path, "--set", "SHARDS=5"])
        .stdout;
    assert!(rendered.contains("redis-10"), "{rendered}");
    let list = product.ok(&["template", "ls"]).stdout;
    assert!(
        list.contains("redis-cluster") && list.contains("redis-sharding"),
        "{list}"
    );
}

#[test]
fn the_doctor_says_what_is_amiss_and_how_to_mend_it() {
    let product = Shardyard::new();
    let host = product.run(&["doctor", "-o", "json"]);
    let kernel = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
    let is_strict = kernel.trim() != "1";
    assert_eq!(host.stdout.contains("SY3101"), is_strict, "{}", host.stdout);
    let mut command = product.command(&["doctor", "-o", "json"]);
    let none = command
        .env("PATH", "/nowhere")
        .env_remove("SHARDYARD_SERVERS");
    let output = none.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &answer["findings"][0];
    assert_eq!(first["code"], "SY3107", "{answer:#}");
    assert!(
        first["help"].as_str().unwrap().contains("install"),
        "{answer:#}"
    );
}

#[test]
fn each_shell_gets_its_completions() {
    let product = Shardyard::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = product.ok(&["completions", shell]).stdout;
        assert!(script.contains("dry-run"), "{shell}");
    }
}

#[test]
fn a_client_of_what_is_stopped_is_told_how_it_comes_back() {
    let product = Shardyard::new();
    product.up(&["--shards", "1", "--replicas", "0"]);
    product.ok(&["down", product.name(), "--yes"]);
    let ran = product.run(&["cli", product.name(), "get", "key"]);
    assert_eq!(ran.code, 5, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("shardyard up --name"), "{}", ran.stderr);
}
