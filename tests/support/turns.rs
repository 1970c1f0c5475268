//! A template whose jobs record that they had their turn, and what they were told: the record is a
//! list in the first server.

use std::fs;
use std::path::Path;

const YAML: &str = "apiVersion: shardyard/v1
kind: Template
name: turns
title: Servers, and jobs that record their turns
variables:
  - {name: NODES, type: int, default: 2}
services:
  - name: redis
    image: redis:7
    count: \"{{ .NODES }}\"
    container:
      command: [redis-server, /data/redis.conf]
      memory: 48MiB
      volumes: [{name: data, target: /data}]
      ports: [6379]
    files: [{template: redis.conf, target: /data/redis.conf}]
    health: {tcp: 6379, interval: 1s, timeout: 1s, retries: 3, start_period: 30s}
  - name: joined
    kind: job
    image: redis:7
    container: {command: [sh, /etc/turns/run]}
    files: [{template: run, target: /etc/turns/run}]
  - name: leaving
    kind: job
    image: redis:7
    container: {command: [sh, /etc/turns/run]}
    files: [{template: run, target: /etc/turns/run}]
hooks:
  after_scale_out: joined
  before_scale_in: leaving
";

/// Each server that joins or leaves has to answer while its job runs. A key `fail` makes the job
/// fail, and whoever leaves is emptied.
const RUN: &str = "set -eu
first={{ (index (service \"redis\").Containers 0).IPAddr }}
ask() { address=$1; shift; redis-cli -h \"${address%:*}\" \"$@\"; }
[ \"$(ask $first get fail)\" != yes ] || { echo 'told to fail'; exit 3; }
for server in $SHARDYARD_JOINED $SHARDYARD_LEAVING; do
  [ \"$(ask $server ping)\" = PONG ]
done
for server in $SHARDYARD_LEAVING; do ask $server flushall; done
ask $first rpush record \"$SHARDYARD_HOOK joined=$SHARDYARD_JOINED leaving=$SHARDYARD_LEAVING\"
";

/// Writes the template into a folder.
fn write_turns(folder: &Path) {
    fs::write(folder.join("template.yaml"), YAML).unwrap();
    fs::write(folder.join("run"), RUN).unwrap();
    let config = "port 6379\nappendonly yes\nsave \"\"\nprotected-mode no\n";
    fs::write(folder.join("redis.conf"), config).unwrap();
}

/// Grows and shrinks an instance of that template, and looks at what its jobs recorded.
///
/// # Panics
/// Where anything is not as it should be.
pub fn jobs_have_their_turns(product: &crate::Shardyard) {
    let folder = tempfile::tempdir().unwrap();
    write_turns(folder.path());
    let name = product.name().to_owned();
    product.up(&[folder.path().to_str().unwrap()]);
    let first = product.address("redis-1");
    let record = || product.say(&first, "lrange record 0 -1\n").join("\n");
    let scale = |nodes: u32| {
        let nodes = format!("NODES={nodes}");
        product.run(&["scale", &name, "--set", &nodes, "--yes", "-o", "json"])
    };
    assert_eq!(record(), "", "an instance that comes to be does not grow");

    assert_eq!(scale(3).code, 0);
    let third = product.address("redis-3");
    let grown = format!("after_scale_out joined={third} leaving=");
    assert_eq!(record(), grown);
    assert_eq!(scale(3).json()["changed"], false);
    assert_eq!(product.up(&[])["changed"], false);
    assert_eq!(record(), grown, "it had its turn");

    // A job that fails: nothing leaves, and nothing is lost.
    assert_eq!(product.say(&third, "set key value\n"), ["OK"]);
    assert_eq!(product.say(&first, "set fail yes\n"), ["OK"]);
    let ran = scale(2);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert_eq!(product.say(&third, "get key\n"), ["value"]);
    assert_eq!(record(), grown);
    // Whoever mends it goes on; the plan says what it will do.
    assert_eq!(product.say(&first, "del fail\n"), ["1"]);
    let plan = product.ok(&["up", "--name", &name, "--dry-run", "-o", "json"]);
    assert!(plan.stdout.contains("SY4040"), "{}", plan.stdout);
    product.up(&[]);
    let shrunk = format!("{grown}\nbefore_scale_in joined= leaving={third}");
    assert_eq!(record(), shrunk);
    let status = product.status();
    let workloads = status["workloads"].as_array().unwrap();
    let left = workloads.iter().find(|it| it["name"] == "redis-3").unwrap();
    assert_eq!(left["phase"], "stopped");
    assert_eq!(product.up(&[])["changed"], false);
    assert_eq!(record(), shrunk);

    // The next change has turns of its own, for whoever joins then.
    let ran = scale(3);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let status = product.status();
    let workloads = status["workloads"].as_array().unwrap();
    let newest = workloads
        .iter()
        .filter(|it| it["phase"] == "running")
        .filter_map(|it| it["address"].as_str())
        .next_back()
        .unwrap();
    let again = format!("{shrunk}\nafter_scale_out joined={newest} leaving=");
    assert_eq!(record(), again);
}
