//! What it costs to be looked at: the server with one instance of 100 nodes, and with 50 small
//! ones. How long the API takes to answer four who ask at once, how much CPU the server takes while
//! nobody asks, and how much it tells a console. The peer of a look at an instance is `redis-cli
//! --cluster check`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use benches::{Figures, Shardyard, ratio, redis_cli};
use serde_json::{Value, json};

/// How many ask at once, and how often each.
const CLIENTS: usize = 4;
const QUESTIONS: usize = 100;

/// How long the server is watched while nobody asks.
const REST: Duration = Duration::from_secs(30);

fn main() {
    println!("the server, {CLIENTS} who ask at once, {QUESTIONS} questions each");
    one_large();
    many_small();
}

fn one_large() {
    let product = Shardyard::new();
    deliver(&product, "large", "50", "1");
    let served = Served::start(&product);
    println!("one instance of 100 nodes");
    let mut peer = Figures::default();
    let status = product.json(&["status", "large"]);
    let seed = status["endpoints"][0].as_str().unwrap();
    let seed = seed.trim_start_matches("redis://");
    let secret = product.home().join("instances/large/secrets/PASSWORD");
    let secret = std::fs::read_to_string(secret).unwrap();
    for _ in 0..5 {
        let began = Instant::now();
        redis_cli(&[
            "--no-auth-warning",
            "-a",
            secret.trim(),
            "--cluster",
            "check",
            seed,
        ]);
        peer.take(began.elapsed());
    }
    println!("  redis-cli --cluster check          {}", peer.shown());
    let look = served.asked("/api/v1/instances/large");
    println!("  {} as fast", ratio(&peer, &look));
    served.asked("/api/v1/instances/large/slots");
    served.asked("/api/v1/instances");
    served.at_rest(100);
    drop(served);
    product.delete("large");
}

fn many_small() {
    let product = Shardyard::new();
    for number in 1..=50 {
        deliver(&product, &format!("small-{number}"), "1", "0");
    }
    let served = Served::start(&product);
    println!("50 instances of 1 node");
    served.asked("/api/v1/instances");
    served.asked("/api/v1/instances/small-25");
    served.at_rest(50);
    drop(served);
    for number in 1..=50 {
        product.delete(&format!("small-{number}"));
    }
}

fn deliver(product: &Shardyard, name: &str, shards: &str, replicas: &str) {
    product.run(&[
        "up",
        "--name",
        name,
        "--shards",
        shards,
        "--replicas",
        replicas,
        "--memory",
        "32MiB",
        "--yes",
    ]);
}

/// A server, and the session of its admin.
struct Served {
    child: Child,
    address: String,
    cookie: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    fn start(product: &Shardyard) -> Self {
        let mut command = product.command(&["serve", "--listen", "127.0.0.1:0", "-o", "json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["url"].as_str().unwrap();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let mut served = Self {
            child,
            address: address.to_owned(),
            cookie: String::new(),
        };
        let token = json!({ "token": said["token"] }).to_string();
        let heard = served.ask("POST /api/v1/login", &token);
        let cookie = heard.split("set-cookie: ").nth(1).unwrap();
        cookie
            .split(';')
            .next()
            .unwrap()
            .clone_into(&mut served.cookie);
        served
    }

    fn send(&self, line: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            self.cookie,
            body.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn ask(&self, line: &str, body: &str) -> String {
        let mut text = String::new();
        self.send(line, body).read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{line}: {text}");
        text
    }

    /// Has several ask the same at once, and prints how long each answer took.
    fn asked(&self, path: &str) -> Figures {
        let line = format!("GET {path}");
        let answers = |_| {
            thread::scope(|scope| {
                let one = || {
                    let mut times = Vec::new();
                    for _ in 0..QUESTIONS {
                        let began = Instant::now();
                        self.ask(&line, "");
                        times.push(began.elapsed());
                    }
                    times
                };
                let all: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
                all.into_iter().flat_map(|it| it.join().unwrap()).collect()
            })
        };
        let mut times: Vec<Duration> = answers(());
        times.sort();
        let milliseconds = |share: usize| {
            let index = (times.len() * share / 100).min(times.len() - 1);
            times[index].as_secs_f64() * 1000.0
        };
        println!(
            "  {path:<34} p50 {:>6.1} ms   p99 {:>6.1} ms",
            milliseconds(50),
            milliseconds(99)
        );
        let mut figures = Figures::default();
        for time in times {
            figures.take(time);
        }
        figures
    }

    /// Watches the server while one console listens and nobody asks.
    fn at_rest(&self, nodes: u32) {
        let mut events = self.send("GET /api/v1/events", "");
        let (cpu, began) = (self.cpu(), Instant::now());
        let told = read_for(&mut events, REST);
        let took = began.elapsed().as_secs_f64();
        let share = (self.cpu() - cpu).as_secs_f64() / took * 100.0;
        println!(
            "  at rest: {share:.1} % of one CPU, {:.3} % for each node; {:.1} KiB/s of events\n",
            share / f64::from(nodes),
            told as f64 / 1024.0 / took
        );
    }

    /// The CPU time that the server has taken so far (`proc(5)`, `stat`: utime and stime, in
    /// hundredths of a second).
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }
}

/// How many bytes come within a time.
fn read_for(stream: &mut TcpStream, time: Duration) -> usize {
    let (began, mut told) = (Instant::now(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            return told;
        }
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => return told,
            Ok(count) => told += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}
