//! A client that writes all the time and remembers what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Commands, RedisResult};

/// How long one operation may take before the client gives it up.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// What a writer came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// The numbers whose write was acknowledged.
    pub acknowledged: Vec<u64>,
    /// How many writes failed.
    pub failed: u64,
    /// The longest time between two acknowledged writes.
    pub longest_gap: Duration,
}

impl Ledger {
    /// The acknowledged numbers that are not there.
    ///
    /// # Panics
    /// Where the cluster cannot be read.
    #[must_use]
    pub fn missing(&self, connection: &mut ClusterConnection) -> Vec<u64> {
        self.acknowledged
            .iter()
            .copied()
            .filter(|number| {
                let value: Option<u64> = connection.get(key(*number)).unwrap();
                value != Some(*number)
            })
            .collect()
    }
}

fn key(number: u64) -> String {
    format!("ledger:{number}")
}

/// A connection to a cluster.
///
/// # Panics
/// Where there is none to be had.
#[must_use]
pub fn connect(urls: &[String]) -> ClusterConnection {
    try_connect(urls).unwrap()
}

fn try_connect(urls: &[String]) -> RedisResult<ClusterConnection> {
    ClusterClient::builder(urls.to_vec())
        .connection_timeout(ANSWER_LIMIT)
        .response_timeout(ANSWER_LIMIT)
        .retries(0)
        .build()?
        .get_connection()
}

/// A client that writes in a thread of its own until it is stopped.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Ledger>,
}

impl Writer {
    /// Begins to write.
    #[must_use]
    pub fn start(urls: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        Self {
            stop,
            thread: std::thread::spawn(move || write(&urls, &told)),
        }
    }

    /// Stops, and says what came of it.
    ///
    /// # Panics
    /// Where the thread has panicked.
    #[must_use]
    pub fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn write(urls: &[String], stop: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut connection = connect(urls);
    let mut last = Instant::now();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let written: RedisResult<()> = connection.set(key(number), number);
        match written {
            Ok(()) => {
                ledger.longest_gap = ledger.longest_gap.max(last.elapsed());
                last = Instant::now();
                ledger.acknowledged.push(number);
            }
            Err(_) => {
                ledger.failed += 1;
                // As a stock client does that is told to try again: with a fresh map of the slots.
                if let Ok(fresh) = try_connect(urls) {
                    connection = fresh;
                }
            }
        }
    }
    ledger
}
