//! A growth that is killed in the moment in which it writes to the disk or to a server, again and
//! again, each time at another one; and one plain run after it.
//!
//! strace kills: a signal comes with the K-th call of a kind of whichever thread gets that far
//! first. A run has some two thousand of these; `SHARDYARD_KILL_POINTS=n` plays so many of each
//! kind, evenly spread, and `all` plays every K.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "in a test a panic is the message, and what was played is told"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use redis::Commands;
use rustix::process::Signal;
use tests::{Appender, Shardyard, connect, wait_until};

/// How many points of each kind are played unless it is told otherwise.
const POINTS: usize = 6;

const KEYS: u32 = 500;

/// How long a cluster may take to agree that all is well.
const LIMIT: Duration = Duration::from_secs(20);

/// Grows to four shards under strace, with these further arguments for it. Gives what it wrote.
fn grow_traced(product: &Shardyard, call: &str, inject: Option<usize>) -> (ExitStatus, String) {
    let log = product.home().join("trace");
    let ours = product.command(&["scale", product.name(), "--shards", "4", "--yes"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", &format!("trace={call}"), "-o"]);
    traced.arg(&log);
    if let Some(number) = inject {
        let which = format!("inject={call}:signal=SIGKILL:when={number}");
        traced.args(["-e", &which]);
    }
    traced.arg(ours.get_program()).args(ours.get_args());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    // strace counts the calls of each thread, so that the fewer there are, the more a number says.
    traced.env("TOKIO_WORKER_THREADS", "1");
    let ended = traced
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    (ended, fs::read_to_string(log).unwrap())
}

/// How many calls the thread made that made most.
fn calls_of_busiest(trace: &str) -> usize {
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for line in trace.lines().filter(|line| line.contains('(')) {
        *calls.entry(line.split(' ').next().unwrap()).or_default() += 1;
    }
    calls.into_values().max().unwrap_or(0)
}

/// Whether there is a strace; where real parts are asked for there must be.
fn is_strace_there() -> bool {
    let is_there = Command::new("strace").arg("-V").output().is_ok();
    let is_asked_for = std::env::var_os("SHARDYARD_REQUIRE_REAL").is_some();
    assert!(is_there || !is_asked_for, "strace is missing");
    is_there
}

fn points(last: usize) -> Vec<usize> {
    let count = match std::env::var("SHARDYARD_KILL_POINTS") {
        Err(_) => POINTS,
        Ok(text) if text == "all" => last,
        Ok(text) => text.parse().unwrap(),
    };
    let count = count.clamp(1, last);
    (0..count).map(|number| 1 + number * last / count).collect()
}

fn scale(product: &Shardyard, shards: &str) {
    let wish = [
        "scale",
        product.name(),
        "--shards",
        shards,
        "--yes",
        "-o",
        "json",
    ];
    let changed = product.ok(&wish).json();
    // A node that was slow to answer another one is suspected for a moment.
    wait_until("it is ready", LIMIT, || product.state() == "ready");
    let there = changed["shards"].as_array().unwrap().len();
    assert_eq!(there.to_string(), shards, "{changed:#}");
    let processes = product.processes();
    let is_server = |words: &[String]| words.iter().any(|it| it.contains("redis-server"));
    let run = processes
        .iter()
        .filter(|(_, words)| is_server(words))
        .count();
    assert_eq!(run.to_string(), shards, "{processes:?}");
    assert_eq!(product.steps_left(), 0);
}

/// Kills a growth at points of a call, and has a plain run finish it each time.
fn killed_at(call: &str) {
    if !is_strace_there() {
        return;
    }
    let product = Shardyard::new();
    product.up(&["--memory", "48MiB", "--replicas", "0"]);
    let mut client = connect(&product.urls());
    for number in 0..KEYS {
        let _: () = client.set(format!("key:{number}"), number).unwrap();
    }
    let appender = Appender::start(product.urls());
    let (ended, trace) = grow_traced(&product, call, None);
    assert!(ended.success(), "{ended}");
    scale(&product, "3");
    let last = calls_of_busiest(&trace);
    let points = points(last);
    let mut killed = 0;
    for point in &points {
        let (ended, _) = grow_traced(&product, call, Some(*point));
        // strace ends as what it traces does.
        let is_killed = ended.signal() == Some(Signal::KILL.as_raw());
        assert!(is_killed || ended.success(), "{call} {point}: {ended}");
        killed += usize::from(is_killed);
        eprintln!("{call} {point} of {last}: {ended}");
        scale(&product, "4");
        scale(&product, "3");
    }
    // A run makes a few calls more or less than the one before it.
    assert!(
        killed * 10 >= points.len() * 8,
        "{killed} of {}",
        points.len()
    );
    let appended = appender.stop();
    assert!(appended.count() > 1000, "{}", appended.count());
    assert_eq!(appended.faults(&product.urls()), Vec::<String>::new());
    let mut client = connect(&product.urls());
    for number in 0..KEYS {
        let value: Option<u32> = client.get(format!("key:{number}")).unwrap();
        assert_eq!(value, Some(number), "key:{number}");
    }
}

#[test]
fn a_growth_that_is_killed_at_a_write_to_the_disk_is_finished_by_the_next_run() {
    killed_at("fsync");
}

#[test]
fn a_growth_that_is_killed_at_a_word_to_a_server_is_finished_by_the_next_run() {
    killed_at("writev");
}
