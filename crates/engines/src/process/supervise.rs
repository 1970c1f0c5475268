//! The supervisor: one small process per instance that starts what should run, starts again what
//! dies, and stops what should not run.
//!
//! All that it knows is on disk, so it may be killed at any moment: servers live on, and the next
//! supervisor finds them again. It starts nothing that it was not told to start, and never a
//! second copy: each process of a workload holds that workload's lock, and without the lock
//! nothing is started. It does not know what a cluster is; that is the guardian's part.

mod child;
mod desk;
mod guardian;
mod journal;
mod minder;
mod office;
mod pace;
mod upkeep;

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::fault::{Class, Code, Explain};
use model::ids::InstanceName;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid, umask};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval_at, sleep, sleep_until};

use self::desk::Desk;
pub use self::guardian::{Guardian, Verdict};
use self::journal::Journal;
use self::office::Office;
use super::files::{self, FilesError, make_folder};
use super::folders::{InstanceFolder, SOCKET_NAME};
use super::kernel;

/// What a supervisor says on its standard output once it can be spoken to.
pub(crate) const READY: &str = "ready\n";

/// Threads for waiting on the disk. Two keep a slow disk from holding up more than it must, and
/// an idle one ends by itself, so that a quiet supervisor has a single thread.
const DISK_THREADS_MAX: usize = 2;

/// How often a supervisor looks whether it is of any use. One that nobody spoke to since the last
/// look, and that has nothing to mind, ends by itself; the next command starts another.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);

/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a write that is under way may hold up the end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How a supervisor works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuperviseSettings {
    /// The state folder.
    pub home: PathBuf,
    /// A log that is larger is cut, and its text kept as the one old log. 16 MiB hold some weeks
    /// of a server's usual talk, and a thousand workloads then take 32 GiB at the very worst.
    pub log_bytes_max: u64,
    /// How often the logs are looked at. A program that prints 100 MB/s, about the most that a
    /// pipe of text does, is past the size by a second's worth for each second of this.
    pub log_interval: Duration,
}

impl SuperviseSettings {
    /// The usual settings for this state folder.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        Self {
            home,
            log_bytes_max: 16 << 20,
            log_interval: Duration::from_secs(5),
        }
    }
}

/// Why a supervisor could not work.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The state folder is of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its lock, its socket, its signals or its thread could not be had.
    #[error("the supervisor of {instance} cannot have its {what}")]
    Part {
        /// Whose supervisor.
        instance: InstanceName,
        /// What it lacks.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl Explain for SuperviseError {
    fn code(&self) -> Code {
        match self {
            Self::Files(error) => error.code(),
            Self::Part { .. } => Code("SY3018"),
        }
    }

    fn class(&self) -> Class {
        Class::Failed
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.help(),
            Self::Part { .. } => Some(
                "the state folder must be on a file system with locks and sockets: name one in \
                 SHARDYARD_HOME"
                    .to_owned(),
            ),
        }
    }
}

/// Supervises an instance until it is told to end. Where another supervisor does so already, it
/// returns at once.
///
/// It builds a runtime of its own, so it must not be called within one.
///
/// # Errors
/// Where the state folder, its lock or its socket cannot be had. Once it supervises, it goes on
/// through every error and writes it down in the instance's supervisor.log.
pub fn supervise(
    settings: &SuperviseSettings,
    name: &InstanceName,
    guardian: Arc<dyn Guardian>,
) -> Result<(), SuperviseError> {
    let part = |what| {
        let instance = name.clone();
        move |source| SuperviseError::Part {
            instance,
            what,
            source,
        }
    };
    leave_terminal();
    let folder = InstanceFolder::of(&settings.home, name);
    make_folder(&folder.workloads())?;
    let Some(lock) = kernel::lock(&folder.lock()).map_err(part("lock"))? else {
        return Ok(());
    };
    sign(&lock);
    let journal = Journal::new(files::open_to_append(&folder.log())?);
    let office = Office {
        folder,
        guardian,
        journal: Arc::new(journal),
        starting: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS_MAX)
        .build()
        .map_err(part("thread"))?;
    let outcome = runtime.block_on(attend(settings, office, &lock));
    runtime.shutdown_timeout(END_LIMIT);
    outcome.map_err(part("socket or signals"))
}

/// Makes it a process that outlives its terminal and whose files are its own.
fn leave_terminal() {
    // Fails only where it leads a group already: started by hand from a shell.
    let _ = setsid();
    umask(Mode::RWXG | Mode::RWXO);
    // A server asks for one file for each client; what is allowed at most is what it inherits.
    let files = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    // Where it fails, the servers have to do with what there was.
    let _ = setrlimit(Resource::Nofile, all);
}

/// Writes down who holds the lock, for people and for messages; nothing is decided by it.
fn sign(mut lock: &File) {
    let _ = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
}

/// The signals that a supervisor hears.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Heard so that it does not kill: the end of a terminal is no reason to leave.
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until it is to end.
    async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {}
            }
        }
    }
}

async fn attend(settings: &SuperviseSettings, office: Office, lock: &File) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let journal = Arc::clone(&office.journal);
    let folder = office.folder.clone();
    let desk = Arc::new(Desk::open(office).await);
    let listener = listen(&folder)?;
    tokio::spawn(upkeep::cut_logs(
        folder.clone(),
        settings.clone(),
        Arc::clone(&journal),
    ));
    tell_ready();
    journal.note("supervisor", "begins");
    let mut idle = interval_at(Instant::now() + IDLE_INTERVAL, IDLE_INTERVAL);
    loop {
        let resume_at = desk.resume_at();
        tokio::select! {
            () = signals.end() => break,
            () = desk.closed() => break,
            () = sleep_until(resume_at), if !desk.has_resumed() => desk.resume_if_due().await,
            _ = idle.tick() => {
                if desk.is_idle().await {
                    break;
                }
                if !kernel::is_named(lock, &folder.lock()) {
                    // Somebody removed the instance by hand. Another supervisor may be at work in
                    // the same place, and its socket is not ours to remove.
                    return Ok(());
                }
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => desk.serve(stream),
                // Out of files, most likely: the next connection may find one free.
                Err(error) => {
                    journal.note("supervisor", &format!("cannot accept: {error}"));
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Gone before the lock is: who finds no socket starts another supervisor, and that one waits
    // for nothing but the lock.
    let _ = std::fs::remove_file(folder.socket());
    journal.note("supervisor", "ends; what runs goes on");
    Ok(())
}

/// Listens at the socket in the instance's folder, by way of the opened folder.
fn listen(folder: &InstanceFolder) -> io::Result<UnixListener> {
    // What a supervisor that was killed left behind; the lock says that none lives.
    match std::fs::remove_file(folder.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let opened = File::open(folder.path())?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", opened.as_raw_fd());
    // The mask of `leave_terminal` keeps others out from the first moment on.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(folder.socket(), Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Tells who started us that we can be spoken to, and then says no more on that way.
fn tell_ready() {
    let mut output = io::stdout().lock();
    // Whoever started us may be gone by now; the instance is supervised all the same.
    let _ = output
        .write_all(READY.as_bytes())
        .and_then(|()| output.flush());
    let _ = rustix::stdio::dup2_stdout(rustix::stdio::stderr());
}
