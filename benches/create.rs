//! From "N empty servers are up" to "every node says ok, 16384 slots, all replicas linked": ours
//! against `redis-cli --cluster create`. Runs alternate; the servers are new for each.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::time::{Duration, Instant};

use benches::{Figures, Servers, Shardyard, all_ready, ratio, redis_cli};

const LIMIT: Duration = Duration::from_secs(180);

fn main() {
    println!("create on running servers, one replica each; ready as every node says it");
    for (nodes, runs) in [(6, 5), (30, 3), (100, 3)] {
        let (mut peer, mut ours, mut told) =
            (Figures::default(), Figures::default(), Figures::default());
        for _ in 0..runs {
            peer.take(
                measure(nodes, |arguments| {
                    let mut all = vec!["--cluster", "create"];
                    all.extend(arguments);
                    all.extend(["--cluster-replicas", "1", "--cluster-yes"]);
                    redis_cli(&all);
                })
                .0,
            );
            let product = Shardyard::new();
            let (ready, said) = measure(nodes, |arguments| {
                let mut all = vec!["trib", "create"];
                all.extend(arguments);
                all.extend(["--replicas", "1", "--yes"]);
                product.run(&all);
            });
            ours.take(ready);
            told.take(said);
        }
        println!("N={nodes:<4} redis-cli {}", peer.shown());
        println!(
            "       shardyard {}   says so itself after {}",
            ours.shown(),
            told.shown()
        );
        println!("       {} as fast\n", ratio(&peer, &ours));
    }
}

/// Runs a creation beside a client that looks for readiness: when all was ready, and when the
/// command ended.
fn measure(nodes: usize, create: impl FnOnce(&[&str]) + Send) -> (Duration, Duration) {
    let servers = Servers::start(nodes);
    let arguments = servers.arguments();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| all_ready(servers.addresses(), nodes / 2, LIMIT));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        create(&arguments);
        let said = began.elapsed();
        (looking.join().unwrap().unwrap(), said)
    })
}
