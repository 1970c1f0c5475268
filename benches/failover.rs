//! kill -9 of a primary under a writing client: the time to the promotion and the longest gap
//! between two acknowledged writes, with our supervisor and without it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::{Client, Figures, Shardyard, ratio};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const RUNS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

fn main() {
    println!("kill -9 of a primary, node time-out 5000 ms, a client that writes all the time");
    let (mut with, mut without) = (Measured::default(), Measured::default());
    for _ in 0..RUNS {
        without.take(measure(false));
        with.take(measure(true));
    }
    println!("promotion   without {}", without.promotion.shown());
    println!("            with    {}", with.promotion.shown());
    println!(
        "            {} as fast",
        ratio(&without.promotion, &with.promotion)
    );
    println!("write gap   without {}", without.gap.shown());
    println!("            with    {}", with.gap.shown());
    println!("            {} shorter", ratio(&without.gap, &with.gap));
}

#[derive(Default)]
struct Measured {
    promotion: Figures,
    gap: Figures,
}

impl Measured {
    fn take(&mut self, (promotion, gap): (Duration, Duration)) {
        self.promotion.take(promotion);
        self.gap.take(gap);
    }
}

fn address(node: &Value) -> SocketAddr {
    node["address"].as_str().unwrap().parse().unwrap()
}

/// The pid in the first field called `pid` of the workload's state.
fn pid_of(product: &Shardyard, name: &str, workload: &str) -> Pid {
    let folder = product
        .home()
        .join("instances")
        .join(name)
        .join("workloads");
    let text = std::fs::read_to_string(folder.join(workload).join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    let raw = state["process"]["pid"].as_i64().unwrap();
    Pid::from_raw(i32::try_from(raw).unwrap()).unwrap()
}

fn supervisor_of(name: &str) -> Pid {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.contains("supervise") && text.contains(name)
    })
    .find_map(Pid::from_raw)
    .unwrap()
}

fn measure(supervised: bool) -> (Duration, Duration) {
    let product = Shardyard::new();
    let name = format!("bench-f{}", std::process::id());
    let status = product.json(&["up", "--name", &name, "--memory", "64MiB", "--yes"]);
    let file = status["credentials"]["password_file"].as_str().unwrap();
    let password = std::fs::read_to_string(file).unwrap();
    let shard = &status["shards"][0];
    let (victim, heir) = (address(&shard["primary"]), address(&shard["replicas"][0]));
    let workload = shard["primary"]["workload"].as_str().unwrap();
    let pid = pid_of(&product, &name, workload);
    if !supervised {
        kill_process(supervisor_of(&name), Signal::KILL).unwrap();
    }
    let stop = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let writing = scope.spawn(|| longest_gap([victim, heir], &password, &stop));
        std::thread::sleep(Duration::from_millis(500));
        let began = Instant::now();
        kill_process(pid, Signal::KILL).unwrap();
        let promotion = promoted(heir, &password, began);
        // The client goes on for a while, so that its gap is over.
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        (promotion, writing.join().unwrap())
    });
    product.delete(&name);
    found
}

fn login(address: SocketAddr, password: &str) -> std::io::Result<Client> {
    let mut client = Client::connect(address)?;
    client.ask(&["AUTH", password])?;
    Ok(client)
}

/// The time until the replica calls itself a primary.
fn promoted(heir: SocketAddr, password: &str, began: Instant) -> Duration {
    let mut client = login(heir, password).unwrap();
    loop {
        let role = format!("{:?}", client.ask(&["ROLE"]).unwrap());
        if role.contains("master") && !role.contains("slave") {
            return began.elapsed();
        }
        assert!(began.elapsed() < LIMIT, "not promoted");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes to whichever of the two takes it, and gives the longest time between two writes.
fn longest_gap(nodes: [SocketAddr; 2], password: &str, stop: &AtomicBool) -> Duration {
    // A key of the first shard: its slot is 5061 (see the specification's example).
    let words = ["SET", "foo{bar}{zap}", "x"];
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    let mut turn = 0;
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let node = nodes[turn % nodes.len()];
        let mut open = match client.take().map_or_else(|| login(node, password), Ok) {
            Ok(open) => open,
            Err(_) => {
                turn += 1;
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
        };
        match open.ask(&words) {
            Ok(reply) if reply.text() == "OK" => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                client = Some(open);
            }
            Ok(_) | Err(_) => turn += 1,
        }
    }
    longest
}
