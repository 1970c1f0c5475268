//! 4096 of 16384 slots to a new fourth primary, with their keys, while a client asks for keys all
//! the time: ours against `redis-cli --cluster rebalance` at its default pipeline and at its best,
//! and on Valkey 9 against valkey-cli. New servers with the same keys for each run; runs alternate.
//!
//! SHARDYARD_BENCH_LOADS names fewer loads, with commas between them: small, medium, big, empty.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::{Client, Figures, Reply, Servers, Shardyard, peer, ratio};
use model::slots::Slot;

const RUNS: usize = 3;

/// What the client does each second: as much as does not slow down the servers by itself.
const ASKED_A_SECOND: u32 = 2000;

/// How long the client is listened to before anything moves.
const QUIET: Duration = Duration::from_secs(2);

/// Bytes that are sent at once while servers are filled.
const FLOOD: usize = 4 << 20;

/// The keys of a run.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    keys: usize,
    bytes: usize,
    /// Hashes of a quarter of a million fields, beside the keys. A quarter of them moves.
    hashes: usize,
}

const LOADS: [Load; 4] = [
    Load {
        name: "small",
        keys: 1_000_000,
        bytes: 100,
        hashes: 0,
    },
    Load {
        name: "medium",
        keys: 200_000,
        bytes: 4096,
        hashes: 0,
    },
    Load {
        name: "big",
        keys: 50_000,
        bytes: 100,
        hashes: 16,
    },
    Load {
        name: "empty",
        keys: 0,
        bytes: 0,
        hashes: 0,
    },
];

/// Who moves.
struct Mover<'a> {
    name: &'static str,
    act: Box<dyn Fn(&Servers) + 'a>,
}

/// What one mover has shown.
#[derive(Default)]
struct Shown {
    time: Figures,
    quiet: Vec<Duration>,
    meanwhile: Vec<Duration>,
}

fn main() {
    let asked = std::env::var("SHARDYARD_BENCH_LOADS").unwrap_or_default();
    let loads = LOADS
        .into_iter()
        .filter(|it| asked.is_empty() || asked.contains(it.name));
    let loads: Vec<Load> = loads.collect();
    let product = Shardyard::new();
    let redis = PathBuf::from("redis-server");
    let by_cli = |pipeline: &'static str| {
        let cli = PathBuf::from("redis-cli");
        move |servers: &Servers| rebalance(&cli, servers, &["--cluster-pipeline", pipeline])
    };
    let movers = || {
        vec![
            Mover {
                name: "redis-cli",
                act: Box::new(by_cli("10")),
            },
            Mover {
                name: "redis-cli, pipeline 1000",
                act: Box::new(by_cli("1000")),
            },
            Mover {
                name: "shardyard",
                act: Box::new(|servers| ours(&product, servers, &[])),
            },
            Mover {
                name: "shardyard, latency 5 ms",
                act: Box::new(|servers| ours(&product, servers, &["--max-latency", "5ms"])),
            },
        ]
    };
    for load in &loads {
        measure("redis 7", &redis, *load, movers());
    }
    let Some(folder) = std::env::var_os("SHARDYARD_SERVERS") else {
        println!("valkey 9: SHARDYARD_SERVERS names no folder");
        return;
    };
    let bin = Path::new(&folder).join("valkey-9.1/bin");
    let cli = bin.join("valkey-cli");
    for load in &loads {
        let movers = vec![
            Mover {
                name: "valkey-cli",
                act: Box::new(|servers| rebalance(&cli, servers, &[])),
            },
            Mover {
                name: "one by one",
                act: Box::new(one_by_one),
            },
            Mover {
                name: "shardyard",
                act: Box::new(|servers| ours(&product, servers, &[])),
            },
        ];
        measure("valkey 9", &bin.join("valkey-server"), *load, movers);
    }
}

fn measure(servers: &str, program: &Path, load: Load, movers: Vec<Mover<'_>>) {
    println!(
        "\n{servers}, {}: {} keys of {} bytes, {} hashes of 250 k fields; 4096 slots",
        load.name, load.keys, load.bytes, load.hashes
    );
    let mut shown: Vec<Shown> = movers.iter().map(|_| Shown::default()).collect();
    for _ in 0..RUNS {
        for (mover, shown) in movers.iter().zip(&mut shown) {
            run(program, load, mover, shown);
        }
    }
    let ours = shown
        .iter()
        .zip(&movers)
        .find(|it| it.1.name == "shardyard")
        .unwrap()
        .0;
    for (mover, shown) in movers.iter().zip(&shown) {
        let rate = load.keys as f64 / 4.0 / shown.time.median().as_secs_f64();
        println!(
            "  {:<25} {}  {:.0} keys/s; client quiet {}, meanwhile {}",
            mover.name,
            shown.time.shown(),
            rate,
            latency(&shown.quiet),
            latency(&shown.meanwhile),
        );
        if !mover.name.starts_with("shardyard") {
            println!(
                "  {:<25} {} as fast",
                "shardyard",
                ratio(&shown.time, &ours.time)
            );
        }
    }
}

/// p50, p99 and the longest, in milliseconds.
fn latency(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    let at = |percent: usize| {
        let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |it| it.as_secs_f64() * 1000.0)
    };
    format!("p50 {:.2} p99 {:.2} max {:.1} ms", at(50), at(99), at(100))
}

fn run(program: &Path, load: Load, mover: &Mover<'_>, shown: &mut Shown) {
    let servers = Servers::start_of(program, 4);
    let product = Shardyard::new();
    let addresses = servers.arguments();
    let mut create = vec!["trib", "create", "--yes"];
    create.extend(addresses[..3].iter().map(String::as_str));
    product.run(&create);
    fill(&servers, load);
    product.run(&["trib", "add-node", &addresses[3], &addresses[0], "--yes"]);
    let count = keys(&servers);

    let moving = AtomicBool::new(false);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| listen(&servers, load, &moving, &stop));
        std::thread::sleep(QUIET);
        moving.store(true, Ordering::Relaxed);
        let began = Instant::now();
        (mover.act)(&servers);
        shown.time.take(began.elapsed());
        stop.store(true, Ordering::Relaxed);
        let (quiet, meanwhile) = client.join().unwrap();
        shown.quiet.extend(quiet);
        shown.meanwhile.extend(meanwhile);
    });
    assert_eq!(keys(&servers), count, "{} lost keys", mover.name);
    let moved = slots_of_fourth(&servers);
    assert!(
        (4000..=4200).contains(&moved),
        "{}: {moved} slots",
        mover.name
    );
}

fn ours(product: &Shardyard, servers: &Servers, more: &[&str]) {
    let seed = servers.arguments().swap_remove(0);
    let rebalance = ["trib", "rebalance", &seed, "--use-empty-masters", "--yes"];
    product.run(&[&rebalance[..], more].concat());
}

fn rebalance(cli: &Path, servers: &Servers, more: &[&str]) {
    let seed = servers.arguments().swap_remove(0);
    let rebalance = [
        "--cluster",
        "rebalance",
        &seed,
        "--cluster-use-empty-masters",
    ];
    peer(cli, &[&rebalance[..], more].concat());
}

/// The server's own migration, one for each source, each when the one before has ended.
fn one_by_one(servers: &Servers) {
    let target = node_id(servers.addresses()[3]);
    for address in &servers.addresses()[..3] {
        let mut client = Client::connect(*address).unwrap();
        let line = myself(&mut client);
        let range = line.rsplit(' ').next().unwrap().to_owned();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (u32, u32) = (first.parse().unwrap(), last.parse().unwrap());
        let from = (last + 1 - (last + 1 - first) / 4).to_string();
        let words = [
            "CLUSTER",
            "MIGRATESLOTS",
            "SLOTSRANGE",
            &from,
            &last.to_string(),
        ];
        let words = [&words[..], &["NODE", &target]].concat();
        assert_eq!(client.ask(&words).unwrap().text(), "OK");
        while myself(&mut client).ends_with(&format!("-{last}")) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn myself(client: &mut Client) -> String {
    let said = client.ask(&["CLUSTER", "NODES"]).unwrap();
    let line = said.text().lines().find(|it| it.contains("myself"));
    line.unwrap().to_owned()
}

fn node_id(address: SocketAddr) -> String {
    let mut client = Client::connect(address).unwrap();
    client.ask(&["CLUSTER", "MYID"]).unwrap().text().to_owned()
}

fn slots_of_fourth(servers: &Servers) -> u32 {
    let line = myself(&mut Client::connect(servers.addresses()[3]).unwrap());
    let ranges = line.split(' ').skip(8).filter(|it| !it.starts_with('['));
    ranges
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            last.parse::<u32>().unwrap() + 1 - first.parse::<u32>().unwrap()
        })
        .sum()
}

fn keys(servers: &Servers) -> u64 {
    let count = |address: &SocketAddr| {
        let said = Client::connect(*address).unwrap().ask(&["DBSIZE"]).unwrap();
        said.text().parse::<u64>().unwrap()
    };
    servers.addresses().iter().map(count).sum()
}

fn key(number: usize) -> String {
    format!("key:{number:08}")
}

/// Which of the three has a key: slots are split evenly.
fn owner(key: &str) -> usize {
    let slot = usize::from(Slot::of_key(key.as_bytes()).number());
    // 5461, 5462 and 5461 slots.
    usize::from(slot >= 5461) + usize::from(slot >= 10923)
}

fn fill(servers: &Servers, load: Load) {
    let mut nodes: Vec<Filler> = servers.addresses()[..3].iter().map(Filler::of).collect();
    let value = "v".repeat(load.bytes);
    for number in 0..load.keys {
        let key = key(number);
        nodes[owner(&key)].send(&["SET", &key, &value]);
    }
    for hash in 0..load.hashes {
        let key = format!("hash:{hash}");
        for field in 0..250_000 {
            nodes[owner(&key)].send(&["HSET", &key, &format!("field:{field}"), "value"]);
        }
    }
    nodes.iter_mut().for_each(Filler::flush);
}

/// Fills one server.
struct Filler {
    client: Client,
    waiting: Vec<u8>,
    count: usize,
}

impl Filler {
    fn of(address: &SocketAddr) -> Self {
        Self {
            client: Client::connect(*address).unwrap(),
            waiting: Vec::new(),
            count: 0,
        }
    }

    fn send(&mut self, words: &[&str]) {
        write!(self.waiting, "*{}\r\n", words.len()).unwrap();
        for word in words {
            write!(self.waiting, "${}\r\n{word}\r\n", word.len()).unwrap();
        }
        self.count += 1;
        if self.waiting.len() >= FLOOD {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let errors = self.client.flood(&self.waiting, self.count).unwrap();
        assert_eq!(errors, 0);
        self.waiting.clear();
        self.count = 0;
    }
}

/// Asks for keys, at a steady rate, and follows redirects: how long each took before and while
/// slots move.
fn listen(
    servers: &Servers,
    load: Load,
    moving: &AtomicBool,
    stop: &AtomicBool,
) -> (Vec<Duration>, Vec<Duration>) {
    let mut clients: BTreeMap<SocketAddr, Client> = servers
        .addresses()
        .iter()
        .map(|it| (*it, Client::connect(*it).unwrap()))
        .collect();
    let pause = Duration::from_secs(1) / ASKED_A_SECOND;
    let (mut quiet, mut meanwhile) = (Vec::new(), Vec::new());
    let mut number = 0_usize;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += pause;
        // Every key has its turn; the step has no divisor in common with their number.
        number = (number + 611_953) % load.keys.max(1);
        let key = key(number);
        let at = servers.addresses()[owner(&key)];
        let began = Instant::now();
        ask(&mut clients, at, &key);
        let took = began.elapsed();
        if moving.load(Ordering::Relaxed) {
            meanwhile.push(took);
        } else {
            quiet.push(took);
        }
    }
    (quiet, meanwhile)
}

fn ask(clients: &mut BTreeMap<SocketAddr, Client>, at: SocketAddr, key: &str) {
    let mut address = at;
    let mut is_for_once = false;
    for _ in 0..8 {
        let client = clients.get_mut(&address).unwrap();
        if is_for_once {
            client.ask(&["ASKING"]).unwrap();
        }
        match client.ask(&["GET", key]).unwrap() {
            Reply::Error(words) if words.starts_with("MOVED") || words.starts_with("ASK") => {
                is_for_once = words.starts_with("ASK");
                address = words.rsplit(' ').next().unwrap().parse().unwrap();
            }
            Reply::Error(words) if words.starts_with("TRYAGAIN") => {}
            Reply::Error(words) => panic!("{words}"),
            Reply::Text(_) | Reply::Nil | Reply::List(_) => return,
        }
    }
}
