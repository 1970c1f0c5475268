//! What a minder waits for at each point of a workload's life.
//!
//! It only waits and says what happened; what follows from it is decided by the minder.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Order, Waiter, no_verdict};
use crate::process::folders::WorkloadFolder;
use crate::process::supervise::child::{Process, all_gone};
use crate::process::supervise::guardian::Verdict;
use crate::process::supervise::office::StartCount;

/// How long a server is watched after its start for an early end, unless it answers before. Those
/// that dislike their config file end within 10 ms.
const FIRST_MOMENTS: Duration = Duration::from_millis(50);

/// What is added for each workload that starts at the same time: about the processor time that the
/// start of a server takes, for which it has to wait.
const FIRST_MOMENTS_EACH: Duration = Duration::from_millis(10);

/// The pauses between two tries to reach a server that starts: short at first, because a server
/// listens some 15 ms after its start, and longer then, because a hundred may be starting.
const KNOCK_PAUSE: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(32));

/// The pause before a server is asked again to end. A replica that has just been copied to refuses
/// while it writes its first append-only file, and forgets that it was asked ("Writing initial AOF,
/// can't exit", Redis 7.0); asked again it goes on with what it does. Jobs are asked once, because a
/// second signal may mean haste to them.
const ASK_AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody wants something.
    Ordered(Order),
    /// The process is up, or has lived for long enough to say so.
    FirstMomentsOver,
    /// The process that was meant to run has ended.
    Over,
    /// The process that was to stop has ended, with all that it started.
    AllGone,
    /// The time to stop is over.
    StopDue,
    /// The guardian has decided.
    Decided(Verdict),
    /// A pause is over.
    Due(Then),
}

/// What follows a pause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// The guardian is asked.
    Ask,
    /// The server is started.
    Start,
}

/// What a workload does, with what it takes to wait for its next turn.
pub(super) enum Life {
    /// Nothing; it waits for orders.
    Resting,
    /// It runs.
    Running(Run),
    /// It is to end.
    Stopping(Stop),
    /// It ended, and the guardian thinks about it.
    Asking(JoinHandle<Verdict>),
    /// It waits until then.
    Waiting(Instant, Then),
}

impl Life {
    /// Waits for what happens next.
    pub(super) async fn next(&mut self, folder: &WorkloadFolder) -> Event {
        match self {
            Self::Resting => pending().await,
            Self::Running(run) => run.next().await,
            Self::Stopping(stop) => stop.next(folder).await,
            Self::Asking(verdict) => {
                let verdict = verdict.await;
                Event::Decided(verdict.unwrap_or_else(|_| no_verdict("it failed")))
            }
            Self::Waiting(until, then) => {
                sleep_until(*until).await;
                Event::Due(*then)
            }
        }
    }

    /// Whether orders are taken now. They wait for a moment while a process starts, because
    /// whether it runs is not known yet, and while it ends, unless it cannot be ended.
    pub(super) const fn takes_orders(&self) -> bool {
        match self {
            Self::Running(run) => run.first.is_none(),
            Self::Stopping(stop) => matches!(stop.force, Force::Stuck),
            Self::Resting | Self::Asking(_) | Self::Waiting(..) => true,
        }
    }
}

/// A process that runs.
pub(super) struct Run {
    pub(super) process: Process,
    pub(super) since: Instant,
    /// Ends when the process counts as started; gone after that.
    first: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Run {
    /// A process that was just started.
    pub(super) fn started(
        process: Process,
        first: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Self {
        Self {
            process,
            since: Instant::now(),
            first: Some(first),
        }
    }

    /// A process that ran before we did.
    pub(super) fn adopted(process: Process) -> Self {
        Self {
            process,
            since: Instant::now(),
            first: None,
        }
    }

    async fn next(&mut self) -> Event {
        let first = async {
            match &mut self.first {
                Some(first) => first.await,
                None => pending().await,
            }
        };
        tokio::select! {
            // An end counts for more than an answer at the address, which another may have given.
            biased;
            () = self.process.over() => Event::Over,
            () = first => {
                self.first = None;
                Event::FirstMomentsOver
            }
        }
    }
}

/// A process that is to end.
pub(super) struct Stop {
    pub(super) process: Process,
    /// What was done to it so far.
    pub(super) force: Force,
    /// When to do more.
    pub(super) due: Instant,
    /// When to ask again; `None` for that once is enough.
    ask_at: Option<Instant>,
    /// Who waits for it, and whether the workload is to be deleted then.
    pub(super) replies: Vec<(bool, Waiter)>,
}

/// What was done to end a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Force {
    /// It was asked to end.
    Asked,
    /// It was killed.
    Killed,
    /// It was killed long ago and is still there.
    Stuck,
}

impl Stop {
    /// A process that was just asked to end.
    pub(super) fn new(process: Process, timeout: Duration) -> Self {
        Self {
            process,
            force: Force::Asked,
            due: Instant::now() + timeout,
            ask_at: None,
            replies: Vec::new(),
        }
    }

    /// Has it asked again and again while it does not end.
    pub(super) fn asking_again(mut self) -> Self {
        self.ask_at = Some(Instant::now() + ASK_AGAIN_PAUSE);
        self
    }

    async fn next(&mut self, folder: &WorkloadFolder) -> Event {
        loop {
            let gone = async {
                self.process.over().await;
                all_gone(folder).await;
            };
            let ask_at = self.ask_at.filter(|_| self.force == Force::Asked);
            let to_ask = async {
                match ask_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = gone => return Event::AllGone,
                () = sleep_until(self.due) => return Event::StopDue,
                () = to_ask => {}
            }
            self.process.terminate();
            self.ask_at = Some(Instant::now() + ASK_AGAIN_PAUSE);
        }
    }
}

/// Waits until a server answers, or for as long as an early end is to be waited for.
pub(super) async fn first_moments(socket: Option<SocketAddr>, starting: StartCount) {
    let limit = FIRST_MOMENTS + FIRST_MOMENTS_EACH.saturating_mul(starting.now());
    let answers = async {
        match socket {
            Some(socket) => knock_until_open(socket).await,
            None => pending().await,
        }
    };
    // Time being up is an answer too: it has not ended.
    let _ = timeout(limit, answers).await;
}

async fn knock_until_open(socket: SocketAddr) {
    let (mut pause, longest) = KNOCK_PAUSE;
    while TcpStream::connect(socket).await.is_err() {
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
