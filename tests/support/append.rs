//! A client that appends growing numbers to lists while they move, and remembers of each whether it
//! was acknowledged, refused, or has an outcome that nobody knows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;

/// How many lists there are: enough that some lie in each shard's moving slots.
const LISTS: usize = 256;

/// The pause after a failure, as a client's that tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// What the names of the lists begin with.
pub(crate) const APPENDED: &str = "append:";

/// What was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// By list, the numbers that were acknowledged, in order.
    pub acknowledged: Vec<Vec<u64>>,
    /// By list, the numbers whose outcome nobody knows.
    pub unknown: Vec<BTreeSet<u64>>,
    /// How many appends failed.
    pub failed: u64,
    /// What the first failures said.
    pub failures: Vec<String>,
    /// The longest time between two acknowledged appends.
    pub longest_gap: Duration,
}

impl Appended {
    /// How many were acknowledged.
    #[must_use]
    pub fn count(&self) -> usize {
        self.acknowledged.iter().map(Vec::len).sum()
    }

    /// What is wrong with the lists now: a number that was acknowledged and is not there, one that
    /// is there twice, one that is there and was refused, or another order.
    ///
    /// # Panics
    /// Where the cluster cannot be read.
    #[must_use]
    pub fn faults(&self, urls: &[String]) -> Vec<String> {
        let mut client = Client::new(urls);
        let mut faults = Vec::new();
        for (list, acknowledged) in self.acknowledged.iter().enumerate() {
            let name = name(list);
            let mut range = redis::cmd("LRANGE");
            range.arg(&name).arg(0).arg(-1);
            let there: Vec<u64> = client.ask(name.as_bytes(), &range).unwrap();
            let unknown = &self.unknown[list];
            let known: Vec<u64> = there
                .iter()
                .copied()
                .filter(|number| !unknown.contains(number))
                .collect();
            let distinct: BTreeSet<u64> = there.iter().copied().collect();
            if known != *acknowledged || distinct.len() != there.len() {
                faults.push(fault(&name, acknowledged, &there));
            }
        }
        faults
    }
}

fn fault(name: &str, acknowledged: &[u64], there: &[u64]) -> String {
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|it| !there.contains(it))
        .collect();
    format!(
        "{name}: {} acknowledged, {} there, lost {lost:?}",
        acknowledged.len(),
        there.len()
    )
}

fn name(list: usize) -> String {
    format!("{APPENDED}{list}")
}

/// A client that appends in a thread of its own until it is stopped.
#[derive(Debug)]
pub struct Appender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Appended>,
}

impl Appender {
    /// Begins to append.
    #[must_use]
    pub fn start(urls: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        Self {
            stop,
            thread: std::thread::spawn(move || append(&urls, &told)),
        }
    }

    /// Stops, and says what came of it.
    ///
    /// # Panics
    /// Where the thread has panicked.
    #[must_use]
    pub fn stop(self) -> Appended {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn append(urls: &[String], stop: &AtomicBool) -> Appended {
    let mut client = Client::new(urls);
    let mut appended = Appended {
        acknowledged: vec![Vec::new(); LISTS],
        unknown: vec![BTreeSet::new(); LISTS],
        failed: 0,
        failures: Vec::new(),
        longest_gap: Duration::ZERO,
    };
    let mut last = Instant::now();
    for (number, list) in (1_u64..).zip((0..LISTS).cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = name(list);
        let mut push = redis::cmd("RPUSH");
        push.arg(&name).arg(number);
        match client.ask::<u64>(name.as_bytes(), &push) {
            Ok(_) => {
                appended.longest_gap = appended.longest_gap.max(last.elapsed());
                last = Instant::now();
                appended.acknowledged[list].push(number);
            }
            Err(error) => {
                // A refusal was not done; of anything else nobody knows.
                if error.code().is_none() {
                    appended.unknown[list].insert(number);
                }
                if appended.failures.len() < 5 {
                    appended.failures.push(error.to_string());
                }
                appended.failed += 1;
                std::thread::sleep(RETRY_PAUSE);
            }
        }
    }
    appended
}
