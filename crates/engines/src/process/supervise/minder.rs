//! Minds one workload: the state machine from its start to its end and back again.
//!
//! Each minder is a task of its own and takes its orders one after the other, so that two orders
//! for one workload never cross. It alone writes the workload's state.json. It never starts a
//! server that ended unplanned without the guardian's word.

mod life;
mod obey;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::ids::WorkloadName;
use model::view::Ending;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use self::life::{Event, Force, Life, Run, Stop, Then, first_moments};
use super::child::{Process, StartError, find_leader};
use super::guardian::Verdict;
use super::office::Office;
use super::pace::{Pace, starts_again};
use crate::process::files::{Settled, open_to_append};
use crate::process::folders::WorkloadFolder;
use crate::process::launch::{Kind, Launch, Print, milliseconds};
use crate::process::record::{self, Record};
use crate::process::state::{Course, End, Identity, State};
use crate::process::wire::Answer;

/// How long a guardian may think. It has a replica promoted, which takes a tenth of a second, or
/// as long as an election of the servers' own; after this it is asked anew.
const GUARDIAN_LIMIT: Duration = Duration::from_secs(60);

/// The shortest and the longest time after which a guardian that said `Hold` is asked again: it
/// must neither be asked without pause nor be forgotten.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(300));

/// When to ask again where not the guardian, but something on this host keeps a server from
/// starting.
const HINDRANCE_PAUSE: Duration = Duration::from_secs(5);

/// How long a process that was killed may take to be gone before we say that it is not. The
/// kernel frees its memory first, at some GB a second.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How long a server that has said no stop timeout may take to stop: Docker's own default is 10 s,
/// Kubernetes' 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked of a minder.
#[derive(Debug)]
pub(super) enum Order {
    /// The workload is to run with this definition.
    Ensure {
        /// The definition.
        fingerprint: Print,
        /// Who asks.
        reply: oneshot::Sender<Standing>,
    },
    /// The workload is not to run.
    Stop {
        /// Whether its folder is to be moved away then.
        delete: bool,
        /// Who asks.
        reply: oneshot::Sender<Answer>,
    },
    /// What died when nobody watched is to be started again.
    Resume,
}

/// Who waits for an answer.
pub(super) type Waiter = oneshot::Sender<Answer>;

/// How a workload stands to a definition with which it is to run.
#[derive(Debug)]
pub(super) enum Standing {
    /// There is nothing to do, or nothing that can be done.
    Final(Answer),
    /// The answer comes later.
    Later(oneshot::Receiver<Answer>),
    /// It does not run. It stays as it is until this is used, which starts it, or dropped.
    Clear(oneshot::Sender<Waiter>),
}

/// The minder of one workload.
pub(super) struct Minder {
    name: WorkloadName,
    folder: WorkloadFolder,
    office: Arc<Office>,
    orders: mpsc::Receiver<Order>,
    /// Whether the workload runs, is to run, or is just being seen to.
    busy: Arc<AtomicBool>,
    launch: Option<Launch>,
    state: State,
    life: Life,
    /// How the last run ended, where that was unplanned and the guardian has not yet agreed to
    /// another one.
    unsettled: Option<Ending>,
    pace: Pace,
    /// Who waits for a start to succeed, or for a job to end.
    waiters: Vec<Waiter>,
    /// Where in the log the last run begins.
    log_from: u64,
}

impl Minder {
    /// Takes up a workload where its records say that it stands, and finds its process again.
    pub(super) fn open(
        name: WorkloadName,
        office: Arc<Office>,
        orders: mpsc::Receiver<Order>,
        busy: Arc<AtomicBool>,
    ) -> Self {
        let folder = office.folder.workload(&name);
        let launch = record::read(&folder.launch()).present();
        let state = record::read::<State>(&folder.state());
        let damaged = matches!(state, Record::Unreadable(_));
        let mut minder = Self {
            name,
            folder,
            office,
            orders,
            busy,
            launch,
            state: state.present().unwrap_or_default(),
            life: Life::Resting,
            unsettled: None,
            pace: Pace::default(),
            waiters: Vec::new(),
            log_from: 0,
        };
        if damaged {
            // Whether it was to run is lost. The driver knows, and what runs is found all the same.
            minder.note("its state.json is damaged; a process is looked for by its lock");
        }
        minder.find_process();
        minder.tell_busy();
        minder
    }

    /// Finds the process of the last run, or settles that it is over.
    fn find_process(&mut self) {
        let recorded = self.state.process.take();
        let found = match recorded.clone().and_then(Process::adopt) {
            Some(process) => Some(process),
            None => find_leader(&self.folder).and_then(Process::adopt),
        };
        match found {
            Some(process) => self.take_over(process, recorded),
            None => self.settle_unseen(recorded.is_some()),
        }
    }

    fn take_over(&mut self, process: Process, recorded: Option<Identity>) {
        self.note(&format!("found again, pid {}", process.pid()));
        self.state.process = process.identity().cloned();
        if self.state.process != recorded {
            // It was started, and the supervisor died before it wrote that down. The launch
            // definition cannot have changed since: that needs a workload which does not run.
            self.state.fingerprint = self.launch.as_ref().map(|launch| launch.fingerprint);
            self.state.course = Course::Running;
        }
        if self.state.course == Course::Stopped {
            process.terminate();
            self.life = Life::Stopping(self.stopping(process));
            return;
        }
        self.state.course = Course::Running;
        self.life = Life::Running(Run::adopted(process));
    }

    /// Nothing runs. What was to run ended when nobody watched.
    fn settle_unseen(&mut self, ran: bool) {
        if ran {
            self.state.last = Some(End::Unseen);
        }
        match (self.kind(), self.state.course.is_wanted()) {
            (Kind::Job, true) => {
                self.state.last = Some(End::Unseen);
                self.state.course = Course::Over;
            }
            (Kind::Server, true) => {
                self.unsettled = Some(self.state.last.unwrap_or(End::Unseen).into());
            }
            (Kind::Job | Kind::Server, false) => {}
        }
    }

    /// Minds the workload until the supervisor ends.
    pub(super) async fn run(mut self) {
        self.save(Settled::Soon).await;
        loop {
            let event = tokio::select! {
                event = self.life.next(&self.folder) => event,
                order = self.orders.recv(), if self.life.takes_orders() => match order {
                    Some(order) => Event::Ordered(order),
                    None => return,
                },
            };
            self.handle(event).await;
            self.tell_busy();
        }
    }

    /// Tells the desk whether there is anything to mind.
    fn tell_busy(&self) {
        let busy = !matches!(self.life, Life::Resting) || self.state.course.is_wanted();
        self.busy.store(busy, Ordering::Relaxed);
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Ordered(order) => self.obey(order).await,
            Event::FirstMomentsOver => {
                // A job's waiters wait for its end.
                if self.kind() == Kind::Server {
                    self.tell(&Answer::Running);
                }
            }
            Event::Over => self.over().await,
            Event::AllGone => self.stopped().await,
            Event::StopDue => self.stop_harder(),
            Event::Decided(verdict) => self.decided(verdict).await,
            Event::Due(Then::Ask) => self.ask().await,
            Event::Due(Then::Start) => self.start(true).await,
        }
    }

    /// Starts the process. `again` says whether this follows an unplanned end.
    async fn start(&mut self, again: bool) {
        let Some(launch) = self.launch.clone() else {
            let reason = "its launch.json cannot be read; deliver the instance once more";
            return self.hold(reason.to_owned(), HINDRANCE_PAUSE).await;
        };
        self.log_from = std::fs::metadata(self.folder.log()).map_or(0, |log| log.len());
        self.state.fingerprint = Some(launch.fingerprint);
        self.state.restarts += u32::from(again);
        match Process::start(&launch, &self.folder).await {
            Ok(process) => {
                self.note(&format!("started, pid {}", process.pid()));
                self.state.course = Course::Running;
                self.state.process = process.identity().cloned();
                let counted = self.office.count_start();
                let moments = first_moments(launch.socket(), counted);
                self.life = Life::Running(Run::started(process, Box::pin(moments)));
                self.save(Settled::Soon).await;
            }
            Err(error @ (StartError::Runs(_) | StartError::Locked)) => {
                self.hold(error.to_string(), HINDRANCE_PAUSE).await;
            }
            Err(error) => self.not_started(&error).await,
        }
    }

    /// A program that cannot be run counts as one that ended at once, with a shell's exit code.
    async fn not_started(&mut self, error: &StartError) {
        let cause =
            std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        let line = format!("{error}{cause}");
        self.note(&line);
        let log = open_to_append(&self.folder.log());
        if let Ok(mut log) = log {
            // For whoever reads the workload's log, and the error that shows its end.
            let _ = std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes());
        }
        self.ended(Ending::Exit(error.exit_code()), Duration::ZERO)
            .await;
    }

    /// The process that was meant to run is over.
    async fn over(&mut self) {
        if let Life::Running(run) = &mut self.life {
            let (ending, ran) = (run.process.reap(), run.since.elapsed());
            self.ended(ending, ran).await;
        }
    }

    async fn ended(&mut self, ending: Ending, ran: Duration) {
        self.state.process = None;
        self.state.last = Some(ending.into());
        match self.kind() {
            Kind::Job => {
                self.life = Life::Resting;
                self.state.course = Course::Over;
                self.note(&format!("ended: {ending}"));
                // On the disk, because a job that is done must not run again.
                self.save(Settled::Now).await;
                self.tell_ended(ending.into());
            }
            Kind::Server => {
                self.unsettled = Some(ending);
                self.pace.ended_after(ran);
                self.life = self.question(ending);
                // The guardian comes first: each millisecond here is one without a primary.
                tokio::task::yield_now().await;
                let seconds = ran.as_secs_f64();
                self.note(&format!(
                    "ended after {seconds:.3} s: {ending}; the guardian is asked"
                ));
                self.tell_ended(ending.into());
                self.state.course = Course::Asking;
                self.save(Settled::Soon).await;
            }
        }
    }

    /// Asks the guardian about the end that it has not yet settled.
    async fn ask(&mut self) {
        let ending = self.unsettled.unwrap_or(Ending::Unseen);
        self.life = self.question(ending);
        // What is held stays so until the guardian says otherwise.
        if !matches!(self.state.course, Course::Held { .. }) {
            self.state.course = Course::Asking;
            self.save(Settled::Soon).await;
        }
    }

    fn question(&self, ending: Ending) -> Life {
        let (guardian, name) = (Arc::clone(&self.office.guardian), self.name.clone());
        Life::Asking(tokio::spawn(async move {
            let answer = timeout(GUARDIAN_LIMIT, guardian.ended(&name, ending)).await;
            answer.unwrap_or_else(|_| no_verdict("it has not decided in a minute"))
        }))
    }

    async fn decided(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Hold {
                reason,
                ask_again_after,
            } => self.hold(reason, ask_again_after).await,
            Verdict::StartAgain => {
                self.unsettled = None;
                self.start_when_due().await;
            }
        }
    }

    async fn start_when_due(&mut self) {
        let restart = self.launch.as_ref().map(|launch| launch.restart);
        let ends = restart.zip(self.state.last);
        if !self.waiters.is_empty() {
            // Somebody wants it now, whatever came before.
            return self.start(true).await;
        }
        if ends.is_some_and(|(restart, end)| !starts_again(restart, end)) {
            self.life = Life::Resting;
            self.state.course = Course::Over;
            self.note("stays ended, as its restart policy says");
            return self.save(Settled::Soon).await;
        }
        let pause = self.pace.pause();
        if pause.is_zero() {
            return self.start(true).await;
        }
        self.note(&format!("starts again in {:.1} s", pause.as_secs_f64()));
        self.life = Life::Waiting(Instant::now() + pause, Then::Start);
        self.state.course = Course::Pausing {
            until_ms: now_ms().saturating_add(milliseconds(pause)),
        };
        self.save(Settled::Soon).await;
    }

    async fn hold(&mut self, reason: String, ask_again_after: Duration) {
        let (shortest, longest) = ASK_AGAIN;
        let pause = ask_again_after.clamp(shortest, longest);
        // Asked again before it may start, also where it was no guardian that held it.
        self.unsettled = self.unsettled.or(Some(Ending::Unseen));
        self.life = Life::Waiting(Instant::now() + pause, Then::Ask);
        let course = Course::Held {
            reason: reason.clone(),
        };
        let is_new = self.state.course != course;
        if is_new {
            self.note(&format!("held: {reason}"));
            self.state.course = course;
        }
        self.tell(&Answer::Held { reason });
        if is_new {
            self.save(Settled::Soon).await;
        }
    }

    /// The process that was to stop is gone, and so is all that it started.
    async fn stopped(&mut self) {
        let life = std::mem::replace(&mut self.life, Life::Resting);
        let Life::Stopping(mut stop) = life else {
            return;
        };
        let ending = stop.process.reap();
        self.note(&format!("stopped: {ending}"));
        self.state.process = None;
        self.state.last = Some(ending.into());
        self.save(Settled::Soon).await;
        for (delete, reply) in stop.replies {
            self.finish_stop(delete, reply).await;
        }
    }

    /// The time to stop is over: it is killed; and if even that does not help, that is said.
    fn stop_harder(&mut self) {
        let Life::Stopping(stop) = &mut self.life else {
            return;
        };
        let (pid, force) = (stop.process.pid(), stop.force);
        stop.due = Instant::now() + KILL_LIMIT;
        stop.process.kill(&self.folder);
        if force == Force::Asked {
            stop.force = Force::Killed;
            return self.note("does not stop in time and is killed");
        }
        stop.force = Force::Stuck;
        let message = format!(
            "process {pid} of {} does not end, even by SIGKILL: it waits for a disk or a driver",
            self.name
        );
        for (_, reply) in stop.replies.drain(..) {
            let _ = reply.send(failed(&message));
        }
        self.note(&message);
    }

    /// Servers and jobs are minded differently. What is unknown is taken for a server, so that no
    /// end of one goes by without the guardian.
    fn kind(&self) -> Kind {
        self.launch
            .as_ref()
            .map_or(Kind::Server, |launch| launch.kind)
    }

    /// A process that was just asked to end.
    fn stopping(&self, process: Process) -> Stop {
        let stop = Stop::new(process, self.stop_timeout());
        match self.kind() {
            Kind::Server => stop.asking_again(),
            Kind::Job => stop,
        }
    }

    fn stop_timeout(&self) -> Duration {
        self.launch
            .as_ref()
            .map_or(STOP_TIMEOUT, Launch::stop_timeout)
    }

    fn tell_ended(&mut self, end: End) {
        let log_from = self.log_from;
        self.tell(&Answer::Ended { end, log_from });
    }

    fn tell(&mut self, answer: &Answer) {
        for waiter in self.waiters.drain(..) {
            // Who has gone away meanwhile does not wait any more.
            let _ = waiter.send(answer.clone());
        }
    }

    fn note(&self, what: &str) {
        self.office.journal.note(&self.name.to_string(), what);
    }

    /// Writes down where the workload stands, without holding up the other minders.
    async fn save(&mut self, settled: Settled) {
        let (path, state) = (self.folder.state(), self.state.clone());
        if !self.folder.path().is_dir() {
            // Nothing was ever made of it.
            return;
        }
        let written =
            tokio::task::spawn_blocking(move || record::write(&path, &state, settled)).await;
        // It goes on from memory. Whoever comes after us finds the process by its lock.
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.note(&format!("{error}")),
            Err(error) => self.note(&format!("cannot write its state: {error}")),
        }
    }
}

fn failed(message: &str) -> Answer {
    Answer::Failed {
        message: message.to_owned(),
    }
}

/// What counts where the guardian says nothing: a server that does not start loses nothing.
fn no_verdict(why: &str) -> Verdict {
    Verdict::Hold {
        reason: format!("the guardian has no verdict: {why}"),
        ask_again_after: HINDRANCE_PAUSE,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(since.unwrap_or_default())
}
