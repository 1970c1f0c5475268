//! `up` from nothing to ready: 3×2, 15×2 and 50×2 processes, and what share of it is waiting for
//! the servers themselves.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::time::{Duration, Instant};

use benches::{Figures, Shardyard};

fn main() {
    println!("up from nothing to ready, redis 7 as plain processes");
    for (shards, memory, runs) in [(3, "64MiB", 7), (15, "32MiB", 5), (50, "32MiB", 3)] {
        let (mut whole, mut waiting) = (Figures::default(), Figures::default());
        for run in 0..runs {
            let product = Shardyard::new();
            let name = format!("bench-{shards}-{run}");
            let count = shards.to_string();
            let began = Instant::now();
            let output = product.run(&[
                "up", "--name", &name, "--shards", &count, "--memory", memory, "--yes",
            ]);
            whole.take(began.elapsed());
            waiting.take(waited(&String::from_utf8_lossy(&output.stderr)));
            product.delete(&name);
        }
        let share = waiting.median().as_secs_f64() / whole.median().as_secs_f64() * 100.0;
        println!(
            "{shards:>3}×2  {}   waiting for servers: {share:.0} %",
            whole.shown()
        );
    }
}

/// The time of the phases in which nothing is done but wait for the servers: their elections and
/// their readiness. `3/5 the nodes reach each other      0.09 s`
fn waited(progress: &str) -> Duration {
    let seconds: f64 = progress
        .lines()
        // The plan, which is written before, names a phase's limit: only what is numbered took
        // place.
        .filter(|line| {
            line.split_once(' ')
                .is_some_and(|(number, _)| number.contains('/'))
        })
        .filter(|line| {
            ["healthy", "reach each other", "elected", "is ready"]
                .iter()
                .any(|word| line.contains(word))
        })
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
