//! One process of a workload: started or found again, watched, told to end.
//!
//! A workload is a group of processes with one leader: the server, and what it forks to write its
//! data to disk. When the leader has ended the rest is ended too, because a child that is still
//! writing a dump would put old data in place of new.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use model::view::Ending;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use crate::process::files::{FilesError, open_to_append};
use crate::process::folders::WorkloadFolder;
use crate::process::kernel;
use crate::process::launch::Launch;
use crate::process::state::Identity;

/// How long the lock of a run that is over may stay taken, once all that held it was killed. The
/// kernel needs milliseconds, or as long as it takes to free some hundred GB.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// How often a lock is tried that is about to become free.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The program cannot be run.
    #[error("cannot start {}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its log cannot be written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its lock cannot be had.
    #[error("cannot take its lock: {0}")]
    Lock(io::Error),
    /// Another process of the same workload lives.
    #[error("process {0} of this workload runs already")]
    Runs(i32),
    /// Another process holds its lock.
    #[error("its lock is held, and nobody can be found who holds it")]
    Locked,
}

impl StartError {
    /// The exit code that a shell gives for it.
    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Program { .. }
            | Self::Files(_)
            | Self::Lock(_)
            | Self::Runs(_)
            | Self::Locked => 126,
        }
    }
}

/// A process that is watched.
#[derive(Debug)]
pub(super) struct Process {
    identity: Option<Identity>,
    /// The process and no other, whatever becomes of its number.
    handle: AsyncFd<OwnedFd>,
    pid: Pid,
    /// Set where it is our own child, whose end only we can take note of.
    child: Option<Child>,
}

impl Process {
    /// Starts the process of a workload.
    pub(super) async fn start(
        launch: &Launch,
        folder: &WorkloadFolder,
    ) -> Result<Self, StartError> {
        let lock = take_lock(folder).await?;
        let log = open_to_append(&folder.log())?;
        let fail = |source| StartError::Program {
            program: launch.program.clone(),
            source,
        };
        let errors = log.try_clone().map_err(fail)?;
        // The child's standard input is its lock: an empty file to read from, and held for as
        // long as the child or anything that it forks lives, whoever watches. A shell gives what
        // it runs in the background another input, so they have the lock a second time.
        let inherited = lock.try_clone().map_err(fail)?;
        fcntl_setfd(&inherited, FdFlags::empty()).map_err(|error| fail(error.into()))?;
        let child = Command::new(&launch.program)
            .args(&launch.arguments)
            .env_clear()
            .envs(&launch.environment)
            .current_dir(&launch.folder)
            .stdin(lock)
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn();
        // Ours is closed at once: from here on the lock is the child's alone.
        drop(inherited);
        let mut child = child.map_err(fail)?;
        let pid = Pid::from_child(&child);
        // It is not reaped yet, so the number is its own even if it has ended by now.
        match pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(watched)
        {
            Ok(handle) => Ok(Self {
                identity: kernel::identify(pid.as_raw_nonzero().get()),
                handle,
                pid,
                child: Some(child),
            }),
            Err(error) => {
                // What cannot be watched must not run.
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                Err(fail(error))
            }
        }
    }

    /// Finds a process again that another supervisor started; `None` where it has ended.
    pub(super) fn adopt(identity: Identity) -> Option<Self> {
        Some(Self {
            handle: watched(kernel::open(&identity)?).ok()?,
            pid: Pid::from_raw(identity.pid)?,
            identity: Some(identity),
            child: None,
        })
    }

    /// Which process it is; `None` where it ended before it could be looked at.
    pub(super) const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Its number, for people.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits until it has ended.
    pub(super) async fn over(&self) {
        if self.handle.readable().await.is_err() {
            // The runtime ends, and we with it.
            std::future::pending::<()>().await;
        }
    }

    /// Takes note of its end and ends whatever is left of its group. Only after `over`.
    pub(super) fn reap(&mut self) -> Ending {
        let Some(child) = &mut self.child else {
            return Ending::Unseen;
        };
        // Before it is reaped its number, which is the group's, cannot belong to anybody else.
        let _ = kill_process_group(self.pid, Signal::KILL);
        match child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Ending::Exit(code),
                (None, Some(signal)) => Ending::Signal(signal),
                (None, None) => Ending::Unseen,
            },
            Err(_) => Ending::Unseen,
        }
    }

    /// Asks the group to end. All of it, because the leader may be a shell that waits for the
    /// server.
    pub(super) fn terminate(&self) {
        if self.group_is_ours() {
            let _ = kill_process_group(self.pid, Signal::TERM);
        }
    }

    /// Ends the group.
    pub(super) fn kill(&self, folder: &WorkloadFolder) {
        // A process that is stopped or waits for nothing but itself is ended by this all the same.
        let _ = pidfd_send_signal(self.handle.get_ref(), Signal::KILL);
        if self.group_is_ours() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        kill_rest(folder);
    }

    /// Whether the number still stands for the group: until we reap our child it does; of another
    /// one it does while the leader lives.
    fn group_is_ours(&self) -> bool {
        self.child.is_some() || self.identity.as_ref().is_some_and(kernel::lives)
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that lie about their descriptor: no OwnedFd does"
)]
fn watched(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(process, Interest::READABLE)
}

/// Waits until no process of the workload is left. Without end: its caller has a limit.
pub(super) async fn all_gone(folder: &WorkloadFolder) {
    // A lock that cannot even be tried is no reason to wait; the next start will complain.
    while let Ok(None) = kernel::lock(&folder.lock()) {
        sleep(LOCK_INTERVAL).await;
    }
}

/// The living leader of a workload's processes, by its lock alone; for the case that its state is
/// lost or was not yet written.
pub(super) fn find_leader(folder: &WorkloadFolder) -> Option<Identity> {
    if !matches!(kernel::lock(&folder.lock()), Ok(None)) {
        return None;
    }
    let holders = kernel::holders(&folder.lock());
    holders
        .into_iter()
        .find(|holder| holder.leads)
        .map(|holder| holder.process)
}

async fn take_lock(folder: &WorkloadFolder) -> Result<std::fs::File, StartError> {
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        if let Some(lock) = kernel::lock(&folder.lock()).map_err(StartError::Lock)? {
            return Ok(lock);
        }
        if let Some(leader) = find_leader(folder) {
            return Err(StartError::Runs(leader.pid));
        }
        if Instant::now() >= deadline {
            return Err(StartError::Locked);
        }
        kill_rest(folder);
        sleep(LOCK_INTERVAL).await;
    }
}

/// Ends what a leader left behind when it ended: a child that writes a dump, most likely. A leader
/// is spared.
fn kill_rest(folder: &WorkloadFolder) {
    let rest = kernel::holders(&folder.lock());
    for holder in rest.into_iter().filter(|holder| !holder.leads) {
        if let Some(opened) = kernel::open(&holder.process) {
            let _ = pidfd_send_signal(&opened, Signal::KILL);
        }
    }
}
