//! `status` and `trib check` against `redis-cli --cluster check` at N = 6, 30, 100.

#![expect(clippy::print_stdout, reason = "a benchmark's figures are its output")]

use std::time::{Duration, Instant};

use benches::{Figures, Servers, Shardyard, all_ready, ratio, redis_cli};

const RUNS: usize = 15;

fn time(action: impl FnOnce()) -> Duration {
    let began = Instant::now();
    action();
    began.elapsed()
}

fn main() {
    println!("looking at a cluster, whole processes; medians");
    for nodes in [6, 30, 100] {
        let servers = Servers::start(nodes);
        let product = Shardyard::new();
        let addresses = servers.arguments();
        let mut create: Vec<&str> = vec!["trib", "create", "--replicas", "1", "--yes"];
        create.extend(addresses.iter().map(String::as_str));
        product.run(&create);
        let ready = all_ready(servers.addresses(), nodes / 2, Duration::from_secs(120));
        assert!(ready.is_some(), "not ready");
        let seed = addresses[0].as_str();
        let (mut peer, mut ours) = (Figures::default(), Figures::default());
        for _ in 0..RUNS {
            peer.take(time(|| {
                redis_cli(&["--cluster", "check", seed]);
            }));
            ours.take(time(|| {
                product.run(&["trib", "check", seed]);
            }));
        }
        println!("N={nodes:<4} redis-cli --cluster check  {}", peer.shown());
        println!(
            "       shardyard trib check       {}   {} as fast",
            ours.shown(),
            ratio(&peer, &ours)
        );
        drop(servers);
        let name = format!("bench-c{nodes}");
        let shards = (nodes / 2).to_string();
        product.run(&[
            "up", "--name", &name, "--shards", &shards, "--memory", "32MiB", "--yes",
        ]);
        let mut status = Figures::default();
        for _ in 0..RUNS {
            status.take(time(|| {
                product.run(&["status", &name]);
            }));
        }
        println!(
            "       shardyard status           {}   {} as fast\n",
            status.shown(),
            ratio(&peer, &status)
        );
        product.delete(&name);
    }
}
