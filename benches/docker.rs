//! `up` and `down` on Docker against the floor, which is the same containers by the raw API and
//! nothing else, and against what people do today: those containers and `redis-cli --cluster
//! create`. SHARDYARD_BENCH_NODES names other sizes than 6, 30 and 100.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::time::{Duration, Instant};

use benches::{Engine, Figures, Shardyard, all_ready, ratio, redis_cli, seconds};

const LIMIT: Duration = Duration::from_secs(300);

fn main() {
    println!("up and down on Docker, redis 7, one replica each");
    let sizes = std::env::var("SHARDYARD_BENCH_NODES").unwrap_or_else(|_| "6,30,100".to_owned());
    for nodes in sizes.split(',').map(|it| it.trim().parse().unwrap()) {
        measure(nodes, if nodes > 30 { 1 } else { 3 });
    }
}

#[derive(Default)]
struct Taken {
    floor: Figures,
    peer: Figures,
    ours: Figures,
    own: Figures,
    floor_down: Figures,
    ours_down: Figures,
}

fn measure(nodes: usize, runs: usize) {
    let mut taken = Taken::default();
    for _ in 0..runs {
        by_hand(nodes, &mut taken);
        by_us(nodes, &mut taken);
    }
    println!(
        "N={nodes:<4} up    containers alone     {}",
        taken.floor.shown()
    );
    println!("            with redis-cli create {}", taken.peer.shown());
    println!("            shardyard             {}", taken.ours.shown());
    println!(
        "            {} as fast as by redis-cli; {} of the floor; our own share {}",
        ratio(&taken.peer, &taken.ours),
        ratio(&taken.ours, &taken.floor),
        seconds(taken.own.median()),
    );
    println!(
        "       down  containers alone     {}",
        taken.floor_down.shown()
    );
    println!(
        "            shardyard             {}",
        taken.ours_down.shown()
    );
    println!(
        "            {} of the floor\n",
        ratio(&taken.ours_down, &taken.floor_down)
    );
}

fn by_hand(nodes: usize, taken: &mut Taken) {
    let engine = Engine::new(nodes);
    let began = Instant::now();
    engine.start();
    taken.floor.take(began.elapsed());
    let addresses = engine.addresses();
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut arguments = vec!["--cluster", "create"];
    arguments.extend(texts.iter().map(String::as_str));
    arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    redis_cli(&arguments);
    all_ready(&addresses, nodes / 2, LIMIT).unwrap();
    taken.peer.take(began.elapsed());
    let began = Instant::now();
    engine.remove();
    taken.floor_down.take(began.elapsed());
}

fn by_us(nodes: usize, taken: &mut Taken) {
    let product = Shardyard::new();
    let name = format!("bench-{nodes}");
    let shards = (nodes / 2).to_string();
    let began = Instant::now();
    let output = product.run(&[
        "up", "--name", &name, "--engine", "docker", "--shards", &shards, "--memory", "64MiB",
        "--yes",
    ]);
    let whole = began.elapsed();
    taken.ours.take(whole);
    let making = making(&String::from_utf8_lossy(&output.stderr));
    taken.own.take(whole.saturating_sub(making));
    let began = Instant::now();
    product.delete(&name);
    taken.ours_down.take(began.elapsed());
}

/// The time of the phase in which containers are made and started; all else is ours: looking,
/// planning, waiting for servers, forming. `1/5 6 workloads running      2.50 s`
fn making(progress: &str) -> Duration {
    let seconds: f64 = progress
        .lines()
        .filter(|line| line.contains("workloads running") || line.contains("workload running"))
        .filter_map(|line| {
            line.strip_suffix(" s")?
                .rsplit(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .sum();
    Duration::try_from_secs_f64(seconds).unwrap()
}
