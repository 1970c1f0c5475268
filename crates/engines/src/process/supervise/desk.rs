//! The desk: takes requests from the socket, hands them to the minders, and brings the answers.
//!
//! It knows which workloads there are and nothing else of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::ids::WorkloadName;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, interval_at, timeout};

use super::minder::{Minder, Order, Standing};
use super::office::Office;
use crate::process::files::names_in;
use crate::process::launch::Print;
use crate::process::lines::Lines;
use crate::process::wire::{Answer, Envelope, PROTOCOL, Request, Version};

/// How many conversations are held at once; further ones wait. Each costs two or three KB.
const CONVERSATIONS_MAX: usize = 256;

/// How long a supervisor that nobody speaks to waits before it starts again what died when nobody
/// watched. Whoever starts a supervisor speaks to it at once, and may want those stopped.
const RESUME_WAIT: Duration = Duration::from_secs(1);

/// The same after something was stopped: an instance is stopped workload by workload, and each
/// may take some seconds.
const RESUME_WAIT_AFTER_STOP: Duration = Duration::from_secs(10);

/// How long the other end may think between two requests: it writes files meanwhile.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// How often we say that we are still at it. Who asks gives us up after several times this.
const WAIT_INTERVAL: Duration = Duration::from_secs(2);

/// How many orders may wait for one minder; more hold up who sends them. One or two at once is
/// usual: the instance's lock lets one operator at a time work on it.
const ORDERS_MAX: usize = 16;

/// A minder, as the desk knows it.
struct Entry {
    orders: mpsc::Sender<Order>,
    busy: Arc<AtomicBool>,
}

/// The desk of an instance.
pub(super) struct Desk {
    office: Arc<Office>,
    minders: Mutex<BTreeMap<WorkloadName, Entry>>,
    conversations: Arc<Semaphore>,
    /// How many of them have nothing more to ask than that the supervisor ends.
    leaving: AtomicUsize,
    /// When to start again what died when nobody watched, unless somebody wants it sooner.
    resume_at: std::sync::Mutex<Instant>,
    resumed: AtomicBool,
    /// Whether a conversation was begun since the last look for idleness.
    visited: AtomicBool,
    closed: Notify,
}

impl Desk {
    /// Opens the desk with a minder for each workload on disk.
    pub(super) async fn open(office: Office) -> Self {
        let desk = Self {
            office: Arc::new(office),
            minders: Mutex::default(),
            conversations: Arc::new(Semaphore::new(CONVERSATIONS_MAX)),
            leaving: AtomicUsize::new(0),
            resume_at: std::sync::Mutex::new(Instant::now() + RESUME_WAIT),
            resumed: AtomicBool::new(false),
            visited: AtomicBool::new(false),
            closed: Notify::new(),
        };
        match names_in(&desk.office.folder.workloads()) {
            Ok(names) => {
                for name in names.iter().filter_map(|name| WorkloadName::parse(name)) {
                    desk.minder(&name).await;
                }
            }
            Err(error) => desk.office.journal.note("supervisor", &error.to_string()),
        }
        desk
    }

    /// When to start again what died when nobody watched.
    pub(super) fn resume_at(&self) -> Instant {
        let at = self.resume_at.lock();
        *at.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether that was done.
    pub(super) fn has_resumed(&self) -> bool {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Does it if the time has come and was not put off meanwhile.
    pub(super) async fn resume_if_due(&self) {
        if Instant::now() >= self.resume_at() {
            self.resume().await;
        }
    }

    /// Who stops something may be about to stop the rest: that is not started again meanwhile.
    fn put_off_resuming(&self) {
        let at = self.resume_at.lock();
        *at.unwrap_or_else(PoisonError::into_inner) = Instant::now() + RESUME_WAIT_AFTER_STOP;
    }

    /// Waits until the supervisor was told to end.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Whether nobody came since the last time this was asked, nobody is here, and nothing runs or
    /// is to run.
    pub(super) async fn is_idle(&self) -> bool {
        let visited = self.visited.swap(false, Ordering::Relaxed);
        let alone = self.conversations.available_permits() == CONVERSATIONS_MAX;
        !visited && alone && self.running().await.is_empty()
    }

    /// Has everything started again that was to run and died when nobody watched.
    pub(super) async fn resume(&self) {
        if self.resumed.swap(true, Ordering::Relaxed) {
            return;
        }
        for minder in self.minders.lock().await.values() {
            // A minder ends with the supervisor only.
            let _ = minder.orders.send(Order::Resume).await;
        }
    }

    /// Holds a conversation, beside all others.
    pub(super) fn serve(self: &Arc<Self>, stream: UnixStream) {
        self.visited.store(true, Ordering::Relaxed);
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_place) = desk.conversations.acquire().await else {
                return;
            };
            // An error is the other end's: it went away or spoke nonsense, and nothing was begun
            // that would not be finished.
            let mut is_leaving = false;
            let _ = desk.converse(Lines::new(stream), &mut is_leaving).await;
            desk.leaving
                .fetch_sub(usize::from(is_leaving), Ordering::Relaxed);
        });
    }

    async fn converse(&self, mut lines: Lines, is_leaving: &mut bool) -> io::Result<()> {
        while let Some(line) = next_line(&mut lines).await? {
            let request = match read_request(&line) {
                Ok(request) => request,
                Err(answer) => return lines.send(&answer).await,
            };
            let leaves = request == Request::Shutdown;
            if leaves && !std::mem::replace(is_leaving, true) {
                self.leaving.fetch_add(1, Ordering::Relaxed);
            }
            self.answer(request, &mut lines).await?;
        }
        Ok(())
    }

    async fn answer(&self, request: Request, lines: &mut Lines) -> io::Result<()> {
        match request {
            Request::Status => {
                let pid = std::process::id();
                lines.send(&Answer::Status { pid }).await
            }
            Request::Start => lines.send(&failed("nothing waits for a start")).await,
            Request::Ensure {
                workload,
                fingerprint,
            } => {
                self.resume().await;
                self.ensure(&workload, fingerprint, lines).await
            }
            Request::Stop { workload } => self.stop(&workload, false, lines).await,
            Request::Delete { workload } => self.stop(&workload, true, lines).await,
            Request::Shutdown => self.shutdown(lines).await,
        }
    }

    async fn ensure(
        &self,
        workload: &str,
        fingerprint: Print,
        lines: &mut Lines,
    ) -> io::Result<()> {
        let Some(name) = WorkloadName::parse(workload) else {
            return lines.send(&failed("this is no name of a workload")).await;
        };
        let (reply, standing) = oneshot::channel();
        let order = Order::Ensure { fingerprint, reply };
        let _ = self.minder(&name).await.send(order).await;
        match patiently(lines, standing).await? {
            None => lines.send(&failed("the supervisor ends")).await,
            Some(Standing::Final(answer)) => lines.send(&answer).await,
            Some(Standing::Later(answer)) => bring(lines, answer).await,
            Some(Standing::Clear(ticket)) => {
                lines.send(&Answer::Clear).await?;
                // Whatever else comes, or nothing, drops the ticket.
                let line = next_line(lines).await?.unwrap_or_default();
                let Ok(Request::Start) = read_request(&line) else {
                    return lines.send(&failed("a start was expected")).await;
                };
                let (waiter, answer) = oneshot::channel();
                if ticket.send(waiter).is_err() {
                    return lines
                        .send(&failed("its files took too long to write"))
                        .await;
                }
                bring(lines, answer).await
            }
        }
    }

    async fn stop(&self, workload: &str, delete: bool, lines: &mut Lines) -> io::Result<()> {
        self.put_off_resuming();
        let Some(name) = WorkloadName::parse(workload) else {
            return lines.send(&failed("this is no name of a workload")).await;
        };
        let (reply, answer) = oneshot::channel();
        let order = Order::Stop { delete, reply };
        let _ = self.minder(&name).await.send(order).await;
        bring(lines, answer).await
    }

    async fn shutdown(&self, lines: &mut Lines) -> io::Result<()> {
        self.put_off_resuming();
        let running = self.running().await;
        // Whoever is still to ask something would find nobody to answer.
        let present = CONVERSATIONS_MAX - self.conversations.available_permits();
        let others = present.saturating_sub(self.leaving.load(Ordering::Relaxed));
        if !running.is_empty() || others > 0 {
            return lines.send(&Answer::Busy { running }).await;
        }
        // Said first: the runtime ends with everything that is still on its way.
        let sent = lines.send(&Answer::Bye).await;
        self.closed.notify_one();
        sent
    }

    /// The workloads that run, are to run, or are just being seen to.
    async fn running(&self) -> Vec<String> {
        let minders = self.minders.lock().await;
        let busy = minders
            .iter()
            .filter(|(_, minder)| minder.busy.load(Ordering::Relaxed));
        busy.map(|(name, _)| name.to_string()).collect()
    }

    /// The minder of a workload, which begins its work here if there is none yet.
    async fn minder(&self, name: &WorkloadName) -> mpsc::Sender<Order> {
        let mut minders = self.minders.lock().await;
        if let Some(minder) = minders.get(name) {
            return minder.orders.clone();
        }
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let busy = Arc::new(AtomicBool::new(true));
        let office = Arc::clone(&self.office);
        let minder = Minder::open(name.clone(), office, orders, Arc::clone(&busy));
        tokio::spawn(minder.run());
        let orders = sender.clone();
        minders.insert(name.clone(), Entry { orders, busy });
        sender
    }
}

async fn next_line(lines: &mut Lines) -> io::Result<Option<Vec<u8>>> {
    timeout(REQUEST_LIMIT, lines.next()).await?
}

/// What a line asks for, or what to say to a line that cannot be understood.
fn read_request(line: &[u8]) -> Result<Request, Answer> {
    let version: Version = serde_json::from_slice(line).map_err(|error| nonsense(&error))?;
    if version.protocol != PROTOCOL {
        return Err(Answer::OtherProtocol {
            protocol: PROTOCOL,
            pid: std::process::id(),
        });
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(|error| nonsense(&error))?;
    Ok(envelope.request)
}

fn nonsense(error: &serde_json::Error) -> Answer {
    failed(&format!("this cannot be understood: {error}"))
}

fn failed(message: &str) -> Answer {
    Answer::Failed {
        message: message.to_owned(),
    }
}

/// Brings an answer when there is one.
async fn bring(lines: &mut Lines, answer: oneshot::Receiver<Answer>) -> io::Result<()> {
    let answer = patiently(lines, answer).await?;
    let answer = answer.unwrap_or_else(|| failed("the supervisor ends"));
    lines.send(&answer).await
}

/// Waits for something as long as it takes, and says now and then that it does. `None` where
/// nothing will come; an error where nobody waits any more.
async fn patiently<T>(
    lines: &mut Lines,
    mut coming: oneshot::Receiver<T>,
) -> io::Result<Option<T>> {
    let mut beat = interval_at(Instant::now() + WAIT_INTERVAL, WAIT_INTERVAL);
    loop {
        tokio::select! {
            came = &mut coming => return Ok(came.ok()),
            _ = beat.tick() => lines.send(&Answer::Wait).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_another_protocol_is_answered_and_nonsense_is_refused() {
        let line = br#"{"protocol":1,"request":"status"}"#;
        assert_eq!(read_request(line), Ok(Request::Status));
        let line = br#"{"protocol":2,"request":{"fly":"high"}}"#;
        assert!(matches!(
            read_request(line),
            Err(Answer::OtherProtocol { protocol: 1, .. })
        ));
        for line in [
            &b""[..],
            b"{",
            b"{}",
            br#"{"protocol":1,"request":"fly"}"#,
            b"\xff",
        ] {
            let answer = read_request(line);
            assert!(matches!(answer, Err(Answer::Failed { .. })), "{answer:?}");
        }
    }
}
