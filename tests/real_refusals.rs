//! Bad input and bad surroundings: each is told with its code and a way out, and nothing is lost or
//! half done.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::{Shardyard, wait_until};

/// Runs, and holds the refusal against the code, the exit code and a word of the message or help.
/// Nothing may have been started or stored.
fn check(arguments: &[&str], (code, exit): (&str, i32), words: &[&str]) {
    let product = Shardyard::new();
    let all: Vec<&str> = arguments
        .iter()
        .map(|word| {
            if *word == "NAME" {
                product.name()
            } else {
                word
            }
        })
        .chain(["--yes", "-o", "json"])
        .collect();
    let ran = product.run(&all);
    refused(&ran.json(), ran.code, (code, exit), words);
    assert!(product.processes().is_empty(), "{arguments:?}");
    let list = product.ok(&["ls", "-o", "json"]).json();
    assert_eq!(list["instances"].as_array().unwrap().len(), 0);
}

fn refused(answer: &Value, ended: i32, (code, exit): (&str, i32), words: &[&str]) {
    let error = &answer["error"];
    assert_eq!(error["code"], code, "{answer:#}");
    assert_eq!(ended, exit, "{answer:#}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

fn up_with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["up", "--name", "NAME"]
        .into_iter()
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn unknown_names_are_told_with_those_that_there_are() {
    check(
        &["up", "redis-clustre", "--name", "NAME"],
        ("SY5005", 2),
        &["redis-cluster", "redis-sharding"],
    );
    check(&up_with(&["--set", "SHARD=3"]), ("SY1021", 2), &["SHARDS"]);
    check(
        &up_with(&["--engine", "podman"]),
        ("SY5001", 2),
        &["process"],
    );
    check(&["status", "nobody"], ("SY4005", 2), &["nobody"]);
    check(&["down", "nobody"], ("SY4005", 2), &["nobody"]);
}

#[test]
fn numbers_out_of_bounds_are_told_with_the_bound() {
    check(
        &up_with(&["--shards", "0"]),
        ("SY1023", 2),
        &["SHARDS", "0"],
    );
    check(
        &up_with(&["--shards", "16385"]),
        ("SY1023", 2),
        &["SHARDS", "1000"],
    );
    check(&up_with(&["--shards", "-1"]), ("SY1023", 2), &["SHARDS"]);
    check(
        &up_with(&["--shards", "three"]),
        ("SY1022", 2),
        &["SHARDS", "three"],
    );
    check(
        &up_with(&["--replicas", "6"]),
        ("SY1023", 2),
        &["REPLICAS_NUM", "5"],
    );
    check(
        &up_with(&["--memory", "5"]),
        ("SY1023", 2),
        &["MEMORY", "32 MiB"],
    );
    check(&up_with(&["--memory", "much"]), ("SY1022", 2), &["MEMORY"]);
    check(
        &up_with(&["--memory", "4096GiB"]),
        ("SY2104", 6),
        &["the host has"],
    );
    check(&up_with(&["--set", "PORT=65000"]), ("SY1023", 2), &["PORT"]);
}

#[test]
fn names_that_climb_out_or_confuse_are_refused() {
    for name in ["a/b", "a b", "..", "-rf", "A", "a\nb", ""] {
        let argument = format!("--name={name}");
        check(&["up", &argument], ("SY5001", 2), &["instance name"]);
    }
    let long = format!("--name={}", "x".repeat(200));
    check(&["up", &long], ("SY5001", 2), &["200 characters"]);
}

#[test]
fn a_value_cannot_add_a_line_or_an_action() {
    for secret in ["a\\nrename-command CONFIG x", "a\\u2028b", "a\\0b"] {
        let product = Shardyard::new();
        let ran = product.up_with_values(&format!("PASSWORD: \"{secret}\"\n"));
        refused(&ran.json(), ran.code, ("SY1024", 2), &["PASSWORD"]);
        assert!(!ran.stdout.contains("rename-command"), "a secret was shown");
    }
    // What looks like an action is a value like any other.
    let secret = "}}{{ .SHARDS }} \"quoted\" #not a comment";
    let product = Shardyard::new();
    let ran = product.up_with_values(&format!("PASSWORD: '{secret}'\n"));
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(product.password(), secret);
    assert_eq!(product.state(), "ready");
}

#[test]
fn a_secret_among_the_arguments_is_refused() {
    check(
        &up_with(&["--set", "PASSWORD=0123456789abcdef"]),
        ("SY4015", 2),
        &["PASSWORD", "-f"],
    );
}

fn write_template(folder: &Path, yaml: &str, config: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("template.yaml"), yaml).unwrap();
    fs::write(folder.join("redis.conf"), config).unwrap();
}

const YAML: &str = "apiVersion: shardyard/v1
kind: Template
name: own
title: Own
variables: []
services:
  - name: redis
    image: redis:7
    container:
      command: [redis-server, /data/redis.conf]
      volumes: [{name: data, target: /data}]
      ports: [6379]
    files: [{template: redis.conf, target: /data/redis.conf}]
    health: {tcp: 6379}
";

/// A template with this text, and the refusal of delivering it.
fn check_template(yaml: &str, config: &str, expected: (&str, i32), words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own");
    write_template(&path, yaml, config);
    check(
        &["up", path.to_str().unwrap(), "--name", "NAME"],
        expected,
        words,
    );
}

#[test]
fn faults_of_a_template_are_told_with_their_place() {
    let config = "port 6379\n";
    check_template(
        YAML,
        "port 6379\n{{ range (service \"redsi\").Containers }}{{ end }}\n",
        ("SY1032", 2),
        &["redis.conf:2", "redis"],
    );
    check_template(
        YAML,
        "port {{ .PROT }}\n",
        ("SY1032", 2),
        &["redis.conf:1", "PROT"],
    );
    check_template(
        &YAML.replace("template: redis.conf", "template: ../redis.conf"),
        config,
        ("SY1041", 2),
        &["template.yaml"],
    );
    check_template(
        &YAML.replace("title: Own", "title: Own\ntitle: Again"),
        config,
        ("SY1003", 2),
        &["title"],
    );
    check_template(
        &YAML.replace("    image", "\timage"),
        config,
        ("SY1001", 2),
        &["template.yaml:8"],
    );
    let bomb = format!(
        "{YAML}a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
         c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
         e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    );
    check_template(&bomb, config, ("SY1002", 2), &[]);
    check_template(
        &YAML.replace("health: {tcp: 6379}", "deployment: {start_after: [redis]}"),
        config,
        ("SY1044", 2),
        &["redis"],
    );
}

#[test]
fn a_server_that_dies_at_once_shows_the_last_lines_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own");
    write_template(&path, YAML, "port 6379\nno-such-directive yes\n");
    let product = Shardyard::new();
    let ran = product.run(&[
        "up",
        path.to_str().unwrap(),
        "--name",
        product.name(),
        "--yes",
        "-o",
        "json",
    ]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("no-such-directive"), "{}", ran.stdout);
}

#[test]
fn servers_that_nobody_forms_into_a_cluster_are_told_so_long_before_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own");
    write_template(&path, YAML, "port 6379\ncluster-enabled yes\n");
    let product = Shardyard::new();
    let up = ["up", path.to_str().unwrap(), "--name", product.name()];
    let ran = product.run(&[&up[..], &["--yes", "-o", "json"]].concat());
    let words = ["cluster:", "redis-sharding", "trib create"];
    refused(&ran.json(), ran.code, ("SY4026", 3), &words);
    // They run all the same.
    assert_eq!(product.run(&["status", product.name()]).code, 3);
}

#[test]
fn a_missing_server_is_told_with_the_command_that_installs_it() {
    check(
        &up_with(&["--set", "IMAGE=redis:6"]),
        ("SY2106", 6),
        &["redis-server", "apt install"],
    );
}

#[test]
fn a_port_that_is_taken_is_told_with_its_holder() {
    // A listener on all addresses blocks the port on each of them.
    let holder = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    // Its bus port must not lie among those that the kernel hands out.
    let Some(port) = Some(port).filter(|port| *port < 22_000) else {
        let holder = (21_000..22_000).find_map(|port| TcpListener::bind(("0.0.0.0", port)).ok());
        return taken(&holder.unwrap());
    };
    assert!(port > 0);
    taken(&holder);
}

fn taken(holder: &TcpListener) {
    let port = holder.local_addr().unwrap().port();
    let me = format!("pid {}", std::process::id());
    let product = Shardyard::new();
    let ran = product.run(&[
        "up",
        "--name",
        product.name(),
        "--set",
        &format!("PORT={port}"),
        "--yes",
        "-o",
        "json",
    ]);
    assert_ne!(ran.code, 0);
    assert!(ran.stdout.contains(&me), "{}", ran.stdout);
    assert!(
        ran.stdout.contains(&format!("0.0.0.0:{port}")),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_question_without_a_terminal_ends_with_exit_code_2_and_does_nothing() {
    let product = Shardyard::new();
    let ran = product.run(&["up", "--name", product.name(), "-o", "json"]);
    refused(&ran.json(), ran.code, ("SY5002", 2), &["--yes"]);
    assert!(product.processes().is_empty());
    product.up(&["--replicas", "0"]);
    let ran = product.run(&[
        "down",
        product.name(),
        "--delete-data",
        "--yes",
        "-o",
        "json",
    ]);
    refused(&ran.json(), ran.code, ("SY5002", 2), &["--confirm"]);
    let ran = product.run(&[
        "down",
        product.name(),
        "--delete-data",
        "--yes",
        "--confirm",
        "other",
        "-o",
        "json",
    ]);
    refused(&ran.json(), ran.code, ("SY5003", 6), &["other"]);
    assert_eq!(product.state(), "ready");
}

#[test]
fn what_was_asked_for_is_not_changed_in_passing() {
    let product = Shardyard::new();
    product.up(&["--replicas", "0"]);
    let up = |more: &[&str]| {
        let mut all = vec!["up", "--name", product.name(), "--yes", "-o", "json"];
        all.extend(more);
        product.run(&all)
    };
    let ran = up(&["--shards", "5"]);
    refused(&ran.json(), ran.code, ("SY4009", 2), &["SHARDS=3"]);
    let ran = up(&["redis-sharding"]);
    refused(&ran.json(), ran.code, ("SY4009", 2), &["redis-cluster"]);
    let ran = product.up_with_values("PASSWORD: 0123456789abcdef\n");
    refused(&ran.json(), ran.code, ("SY4009", 2), &["PASSWORD"]);
    assert!(
        !ran.stdout.contains("0123456789abcdef"),
        "a secret was shown"
    );
    assert_eq!(product.state(), "ready");
}

#[test]
fn a_second_operator_is_told_who_the_first_one_is() {
    let product = Shardyard::new();
    let mut first = product.start(&[
        "up",
        "--name",
        product.name(),
        "--shards",
        "20",
        "--memory",
        "32MiB",
        "--yes",
    ]);
    let lock = product
        .home()
        .join("instances")
        .join(product.name())
        .join("operator.lock");
    wait_until("the first one works", Duration::from_secs(20), || {
        fs::read_to_string(&lock).is_ok_and(|text| text.contains("\"up\""))
    });
    let ran = product.run(&["up", "--name", product.name(), "--yes", "-o", "json"]);
    let busy = ran.code == 7;
    if busy {
        let pid = format!("pid {}", first.id());
        refused(&ran.json(), ran.code, ("SY4004", 7), &[&pid, "up"]);
    }
    assert!(first.wait().unwrap().success() && busy, "{}", ran.stdout);
}

#[test]
fn a_state_of_a_later_version_is_left_alone() {
    let product = Shardyard::new();
    product.ok(&["ls"]);
    let file = product.home().join("state.db");
    // The schema's version stands in the header of an SQLite file, at byte 60.
    let mut bytes = fs::read(&file).unwrap();
    bytes[63] = 99;
    fs::write(&file, &bytes).unwrap();
    for verb in [&["ls"][..], &["up"], &["status", "x"]] {
        let mut all = verb.to_vec();
        all.extend(["--yes", "-o", "json"]);
        let ran = product.run(&all);
        refused(&ran.json(), ran.code, ("SY4011", 6), &["version 99"]);
    }
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn a_full_disk_is_told_and_the_next_up_goes_on_once_there_is_room() {
    let mount = tempfile::tempdir().unwrap();
    let tool = |program: &str, arguments: &[&str]| {
        let ended = std::process::Command::new(program).args(arguments).status();
        ended.is_ok_and(|status| status.success())
    };
    let path = mount.path().to_str().unwrap();
    if !tool("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", path]) {
        assert!(
            std::env::var_os("SHARDYARD_REQUIRE_REAL").is_none(),
            "a disk of its own needs root"
        );
        return;
    }
    let product = Shardyard::in_folder(mount.path());
    product.ok(&["ls"]);
    let filler = mount.path().join("filler");
    let _ = fs::write(&filler, vec![0_u8; 2 << 20]);
    let ran = product.run(&["up", "--name", product.name(), "--yes", "-o", "json"]);
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stdout.contains("room"), "{}", ran.stdout);
    fs::remove_file(&filler).unwrap();
    assert!(tool("mount", &["-o", "remount,size=64m", path]));
    assert_eq!(product.up(&["redis-cluster"])["state"], "ready");
    drop(product);
    wait_until("the disk is free", Duration::from_secs(20), || {
        tool("umount", &[path])
    });
}

/// No secret may be where others can see it: arguments, environments of others, logs, the state,
/// answers, files that others can read.
#[test]
fn secrets_are_seen_by_nobody() {
    let product = Shardyard::new();
    let canaries = ["canary-app-5f1d0c", "canary-op-77ab21", "canary-rep-90cd3e"];
    let pairs = [
        format!("PASSWORD={}", canaries[0]),
        format!("OPERATOR_PASSWORD={}", canaries[1]),
        format!("REPLICATION_PASSWORD={}", canaries[2]),
    ];
    let text: String = pairs
        .iter()
        .map(|pair| pair.replacen('=', ": ", 1) + "\n")
        .collect();
    let ran = product.up_with_values(&text);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(product.password(), canaries[0]);
    let has = |text: &str| canaries.iter().any(|canary| text.contains(canary));
    for (pid, arguments) in product.processes() {
        assert!(!has(&arguments.join(" ")), "{arguments:?}");
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(
            !has(&String::from_utf8_lossy(&environment)),
            "{arguments:?}"
        );
    }
    for arguments in [
        &["status", product.name(), "-o", "json"][..],
        &["ls"],
        &["logs", product.name()],
        &["up", "--name", product.name(), "--dry-run"],
        &["template", "render", "redis-cluster", "--set", &pairs[0]],
        &["up", "--name", product.name(), "--yes", "--set", &pairs[0]],
        &["up", "--name", product.name(), "--yes", "--set", "NOPE=1"],
    ] {
        let ran = product.run(arguments);
        assert!(!has(&ran.stdout) && !has(&ran.stderr), "{arguments:?}");
    }
    files_are_private(product.home(), &has);
}

fn files_are_private(folder: &Path, has: &dyn Fn(&str) -> bool) {
    use std::os::unix::fs::PermissionsExt;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            files_are_private(&path, has);
        } else if data.is_file() {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            let private = data.permissions().mode() & 0o077 == 0;
            assert!(
                private || !has(&text),
                "{} can be read by others",
                path.display()
            );
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let may_hold = path.to_string_lossy().contains("/secrets/")
                || name.ends_with(".conf")
                || name.ends_with(".acl");
            assert!(may_hold || !has(&text), "{} holds a secret", path.display());
        }
    }
}
