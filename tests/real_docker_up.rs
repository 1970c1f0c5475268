//! Delivery on a real Docker daemon: from nothing to ready, hardened, exposed, and away again.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use redis::Commands;
use serde_json::Value;
use tests::{Shardyard, connect, docker, inspect, is_docker_there, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const SMALL: [&str; 2] = ["--memory", "48MiB"];

fn delivered(arguments: &[&str]) -> (Shardyard, Value) {
    let product = Shardyard::on_docker();
    let status = product.up(&[&SMALL, arguments].concat());
    assert_eq!(status["state"], "ready", "{status:#}");
    assert_eq!(status["engine"], "docker");
    (product, status)
}

#[test]
fn every_listed_version_is_delivered_serves_and_a_second_up_finds_nothing_to_do() {
    if !is_docker_there() {
        return;
    }
    for image in ["redis:7", "redis:8", "valkey/valkey:8", "valkey/valkey:9"] {
        let (product, status) = delivered(&["--set", &format!("IMAGE={image}")]);
        let version = status["shards"][0]["primary"]["version"].as_str().unwrap();
        let (software, major) = image.rsplit_once(':').unwrap();
        let software = software.rsplit('/').next().unwrap();
        assert!(
            version.starts_with(&format!("{software} {major}.")),
            "{version}"
        );
        let tried = status["tried"].as_array().unwrap();
        assert_eq!(tried.len(), 6);
        assert!(tried.iter().all(|it| it["answered"] == true), "{tried:?}");
        let mut connection = connect(&product.urls());
        for number in 0..300_u32 {
            let _: () = connection.set(format!("key:{number}"), number).unwrap();
        }
        for number in 0..300_u32 {
            let value: u32 = connection.get(format!("key:{number}")).unwrap();
            assert_eq!(value, number);
        }
        // A replica may lag behind the last write for a moment.
        wait_until("nothing to do", LIMIT, || product.steps_left() == 0);
        assert_eq!(product.up(&[])["changed"], false);
    }
}

#[test]
fn down_keeps_the_data_and_with_delete_data_nothing_of_ours_is_left() {
    if !is_docker_there() {
        return;
    }
    let (product, before) = delivered(&[]);
    let neighbour = format!("shardyard_{}_redis-1x", product.name());
    docker(&["volume", "create", &neighbour]);
    let _: () = connect(&product.urls()).set("key", "value").unwrap();
    product.ok(&["down", product.name(), "--yes"]);
    assert_eq!(product.state(), "stopped");
    let after = product.up(&[]);
    assert_eq!(after["state"], "ready");
    assert_eq!(after["endpoints"], before["endpoints"]);
    let value: String = connect(&product.urls()).get("key").unwrap();
    assert_eq!(value, "value");
    let name = product.name();
    product.ok(&["down", name, "--delete-data", "--yes", "--confirm", name]);
    assert_eq!(product.left_on_docker(), Vec::<String>::new());
    // What has a name like ours and no label is not ours.
    docker(&["volume", "rm", &neighbour]);
}

#[test]
fn real_containers_pass_the_cis_items_and_show_no_secret() {
    if !is_docker_there() {
        return;
    }
    let (product, _) = delivered(&[]);
    let password = product.password();
    product.ok(&["cli", product.name(), "set", "a", "b"]);
    for number in 1..=6 {
        let workload = format!("redis-{number}");
        let container = inspect("container", &product.container(&workload));
        is_hardened(
            &workload,
            &container,
            &format!("shardyard_{}", product.name()),
        );
        let shown = container.to_string();
        assert!(
            !shown.contains(&password),
            "redis-{number} shows the password"
        );
        // What the kernel says is what counts in the end.
        let status = docker(&[
            "exec",
            &product.container(&format!("redis-{number}")),
            "grep",
            "-E",
            "^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):",
            "/proc/1/status",
        ]);
        let words: Vec<&str> = status.split_whitespace().collect();
        for expected in ["999", "0000000000000000", "1", "2"] {
            assert!(words.contains(&expected), "{status}");
        }
    }
}

/// The items of the CIS Docker Benchmark 1.6, section 5, that a container's definition decides.
fn is_hardened(workload: &str, container: &Value, network: &str) {
    let host = &container["HostConfig"];
    let config = &container["Config"];
    let is = |item: &str, value: &Value, expected: Value| {
        assert_eq!(*value, expected, "{item} of {workload}");
    };
    is("4.1 not root", &config["User"], "999:999".into());
    is(
        "5.3 no capabilities",
        &host["CapDrop"],
        serde_json::json!(["ALL"]),
    );
    is("5.3 none added", &host["CapAdd"], Value::Null);
    is("5.4 not privileged", &host["Privileged"], false.into());
    is(
        "5.7 no privileged ports",
        &host["PortBindings"],
        serde_json::json!({}),
    );
    is("5.12 read-only root", &host["ReadonlyRootfs"], true.into());
    is("5.10 memory", &host["Memory"], (48 << 20).into());
    assert!(
        host["CpuShares"].as_i64().unwrap() > 0,
        "5.11 processor weight"
    );
    assert_eq!(host["NetworkMode"], network, "5.9");
    is(
        "5.14 no endless restart on failure",
        &host["RestartPolicy"]["Name"],
        "unless-stopped".into(),
    );
    is("5.15 own processes", &host["PidMode"], "".into());
    assert_ne!(host["IpcMode"], "host", "5.16");
    let devices = host["Devices"].as_array().map_or(0, Vec::len);
    assert_eq!(devices, 0, "5.17 no devices");
    is("5.20 own host name", &host["UTSMode"], "".into());
    let options = host["SecurityOpt"].as_array().unwrap();
    assert_eq!(
        options,
        &[Value::from("no-new-privileges")],
        "5.2, 5.21, 5.25"
    );
    assert!(host["PidsLimit"].as_i64().unwrap() > 0, "5.28");
    assert!(!config["Healthcheck"]["Test"].is_null(), "5.26");
    is("5.30 own users", &host["UsernsMode"], "".into());
    assert_eq!(host["LogConfig"]["Config"]["max-size"], "10m");
    for mount in container["Mounts"].as_array().unwrap() {
        assert_eq!(
            mount["Type"], "volume",
            "5.5, 5.31: no folder or socket of the host"
        );
        assert_ne!(mount["Propagation"], "shared", "5.19");
    }
}

/// While a client of ours waits for an answer, the daemon must not tell its password to anybody.
#[test]
fn the_password_of_a_running_client_is_in_nothing_that_docker_shows() {
    if !is_docker_there() {
        return;
    }
    let (product, _) = delivered(&["--shards", "1", "--replicas", "0"]);
    let password = product.password();
    let arguments = [
        "exec",
        product.name(),
        "redis-1",
        "--",
        "redis-cli",
        "blpop",
        "x",
        "20",
    ];
    let mut waiting = product.start(&arguments);
    let container = product.container("redis-1");
    wait_until("the client runs", LIMIT, || {
        docker(&["top", &container]).contains("blpop")
    });
    let ids = inspect("container", &container)["ExecIDs"].clone();
    let mut shown = docker(&["top", &container]);
    for id in ids.as_array().unwrap() {
        let asked = Command::new("curl")
            .args(["-s", "--unix-socket", "/var/run/docker.sock"])
            .arg(format!("http://docker/exec/{}/json", id.as_str().unwrap()))
            .output()
            .unwrap();
        shown.push_str(&String::from_utf8_lossy(&asked.stdout));
    }
    assert!(shown.contains("ProcessConfig"), "{shown}");
    assert!(shown.contains("blpop"), "{shown}");
    assert!(!shown.contains(&password), "{shown}");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[test]
fn clients_of_an_exposed_instance_are_told_the_host_and_its_ports_are_on_that_address_alone() {
    if !is_docker_there() {
        return;
    }
    let (product, status) = delivered(&["--expose", "host"]);
    let tried = status["tried"].as_array().unwrap();
    assert!(tried.iter().all(|it| it["answered"] == true), "{tried:?}");
    let endpoints: Vec<&str> = status["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let host = endpoints[0]
        .trim_start_matches("redis://")
        .split(':')
        .next()
        .unwrap();
    assert!(
        endpoints
            .iter()
            .all(|it| it.contains(&format!("//{host}:17"))),
        "{endpoints:?}"
    );
    let container = inspect("container", &product.container("redis-1"));
    let ports = container["HostConfig"]["PortBindings"].as_object().unwrap();
    for bindings in ports.values() {
        assert_eq!(bindings[0]["HostIp"], host);
    }
    // A cluster client follows the redirections to the host's address.
    let mut connection = connect(&product.urls()[..1]);
    for number in 0..100_u32 {
        let _: () = connection.set(format!("key:{number}"), number).unwrap();
    }
    // Exposed or not is decided once.
    let ran = product.run(&[
        "up",
        "--name",
        product.name(),
        "--expose",
        "network",
        "--yes",
    ]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    product.ok(&["down", product.name(), "--yes"]);
    assert_eq!(product.up(&[])["state"], "ready");
    let value: u32 = connect(&product.urls()).get("key:99").unwrap();
    assert_eq!(value, 99);
}

#[test]
fn auto_takes_docker_where_it_answers_and_processes_where_not_and_says_why() {
    if !is_docker_there() {
        return;
    }
    let plan = |host: Option<&str>| {
        let product = Shardyard::new();
        let arguments = [
            "up",
            "--name",
            product.name(),
            "--dry-run",
            "--engine",
            "auto",
            "-o",
            "json",
        ];
        let mut command = product.command(&arguments);
        if let Some(host) = host {
            command.env("DOCKER_HOST", host);
        }
        let ran = command.output().unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert!(
        plan(None).contains("docker is chosen: it answers"),
        "{}",
        plan(None)
    );
    let without = plan(Some("unix:///nowhere/docker.sock"));
    assert!(
        without.contains("process is chosen, because docker: no Docker daemon"),
        "{without}"
    );
}

#[test]
fn instances_of_both_engines_live_side_by_side_in_one_state_folder() {
    if !is_docker_there() {
        return;
    }
    let (product, _) = delivered(&["--shards", "1", "--replicas", "0"]);
    let other = format!("{}-p", product.name());
    product.ok(&[
        "up",
        "--name",
        &other,
        "--engine",
        "process",
        "--shards",
        "1",
        "--replicas",
        "0",
        "--memory",
        "48MiB",
        "--yes",
    ]);
    let list = product.ok(&["ls", "-o", "json"]).json();
    let engines: Vec<&str> = list["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["engine"].as_str().unwrap())
        .collect();
    assert_eq!(engines, ["docker", "process"]);
    for name in [product.name(), &other] {
        product.ok(&["cli", name, "set", "who", name]);
        assert_eq!(product.ok(&["cli", name, "get", "who"]).stdout.trim(), name);
        assert!(!product.ok(&["logs", name, "redis-1"]).stdout.is_empty());
        product.ok(&["down", name, "--delete-data", "--yes", "--confirm", name]);
    }
    let list = product.ok(&["ls", "-o", "json"]).json();
    assert_eq!(list["instances"], serde_json::json!([]));
}

#[test]
fn a_command_has_its_own_input_output_and_exit_code() {
    if !is_docker_there() {
        return;
    }
    let (product, _) = delivered(&["--shards", "1", "--replicas", "0"]);
    let arguments = ["exec", product.name(), "redis-1", "--", "cat"];
    let mut child = product
        .command(&arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = "line\n".repeat(10_000);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stdout), text);
    let arguments = [
        "exec",
        product.name(),
        "redis-1",
        "--",
        "sh",
        "-c",
        "echo no >&2; exit 7",
    ];
    let ran = product.run(&arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, ""));
    assert!(ran.stderr.contains("no"));
    let ran = product.run(&[
        "exec",
        product.name(),
        "redis-1",
        "--",
        "nothing-of-this-name",
    ]);
    assert_ne!(ran.code, 0);
}

#[test]
fn a_share_of_the_host_is_worked_out_and_stays_what_it_is() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let arguments = ["--shards", "1", "--replicas", "0", "--memory", "auto"];
    let status = product.up(&arguments);
    assert_eq!(status["state"], "ready");
    let container = inspect("container", &product.container("redis-1"));
    let limit = container["HostConfig"]["Memory"].as_u64().unwrap();
    let total: u64 = docker(&["info", "--format", "{{.MemTotal}}"])
        .parse()
        .unwrap();
    assert!(limit > 48 << 20 && limit <= total / 2, "{limit} of {total}");
    let max = status["shards"][0]["primary"]["memory_max_bytes"]
        .as_u64()
        .unwrap();
    assert!(max < limit && max > limit / 2, "{max} of {limit}");
    assert_eq!(product.up(&arguments)["changed"], false);
}

/// Writes the template of the talk, and an image whose entry point is a shell script.
fn write_talk(folder: &Path, image: &str) {
    let script = "#!/bin/sh\nset -e\n. /usr/local/etc/redis-trib.conf\n\
                  test \"$CLUSTER_CMD\" = create\n\
                  redis-cli --cluster create $NODES --cluster-replicas $REPLICAS --cluster-yes\n\
                  for node in $NODES; do\n\
                  until redis-cli -u redis://$node cluster info | grep -q state:ok; do sleep 0.1; done\n\
                  done\n";
    let file = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    file("trib.sh", script);
    file(
        "Dockerfile",
        "FROM redis:7\nCOPY trib.sh /usr/local/bin/redis-trib\nENTRYPOINT [\"sh\", \"/usr/local/bin/redis-trib\"]\n",
    );
    file(
        "template.yaml",
        &format!(
            "apiVersion: shardyard/v1\nkind: Template\nname: talk\ntitle: Talk\ndescription: Talk.\n\
             variables:\n  - {{name: REPLICAS_NUM, type: int, default: 1, description: Copies.}}\n\
             services:\n\
             \x20 - name: redis\n    image: redis:7\n    count: 6\n    container:\n\
             \x20     command: [redis-server, /data/redis.conf]\n      memory: 48MiB\n\
             \x20     volumes: [{{name: data, target: /data}}]\n      ports: [6379]\n\
             \x20   files: [{{template: redis.conf, target: /data/redis.conf}}]\n\
             \x20   health: {{tcp: 6379, interval: 1s, timeout: 1s, retries: 3, start_period: 30s}}\n\
             \x20   deployment: {{priority: 10}}\n\
             \x20 - name: redis-trib\n    kind: job\n    image: {image}\n    container:\n\
             \x20     environment: {{CLUSTER_CMD: create}}\n\
             \x20   files: [{{template: trib.conf, target: /usr/local/etc/redis-trib.conf}}]\n\
             \x20   deployment: {{priority: 20}}\n"
        ),
    );
    file(
        "redis.conf",
        "port 6379\ncluster-enabled yes\ncluster-config-file nodes.conf\n\
         cluster-node-timeout 5000\nappendonly yes\n",
    );
    file(
        "trib.conf",
        "REPLICAS={{.REPLICAS_NUM}}\n{{ $rs := service \"redis\" }}\n\
         NODES=\"{{range $i,$rc := $rs.Containers}} {{$rc.IPAddr}}:6379{{end}}\"\n",
    );
}

/// The template of the talk with an image of the user's own: a shell script that reads the rendered
/// file and calls redis-cli.
#[test]
fn a_job_of_the_users_own_image_makes_the_cluster_from_the_rendered_file() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let image = format!("{}-own/redis-trib:1", product.name());
    let folder = tempfile::tempdir().unwrap();
    write_talk(folder.path(), &image);
    let path = folder.path().to_str().unwrap();
    let built = Command::new("docker")
        .args(["build", "--quiet", "--tag", &image, path])
        .env("DOCKER_BUILDKIT", "0")
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let ran = product.ok(&["up", path, "--name", product.name(), "--yes"]);
    assert!(
        ran.stderr.contains("[OK] All 16384 slots covered."),
        "{}",
        ran.stderr
    );
    assert_eq!(product.state(), "ready");
    assert_eq!(product.steps_left(), 0);
    let log = product.ok(&["logs", product.name(), "redis-trib"]);
    assert!(
        log.stdout.contains("All 16384 slots covered"),
        "{}",
        log.stdout
    );
    let info = product.ok(&[
        "exec",
        product.name(),
        "redis-2",
        "--",
        "redis-cli",
        "info",
        "cluster",
    ]);
    assert!(info.stdout.contains("cluster_enabled:1"), "{}", info.stdout);
    product.ok(&[
        "down",
        product.name(),
        "--delete-data",
        "--yes",
        "--confirm",
        product.name(),
    ]);
    docker(&["rmi", &image]);
}
