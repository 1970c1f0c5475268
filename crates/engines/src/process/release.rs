//! Removes what an instance itself has on this host: its supervisor, socket, lock and log.
//!
//! A workload that is still there keeps its folder, and one that runs keeps everything.

use std::io;
use std::path::Path;
use std::time::Duration;

use model::fault::{Class, Code, Explain};
use model::ids::InstanceName;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::client::{Client, SupervisorError};
use super::files::{FilesError, remove_if_empty, remove_tree};
use super::folders::InstanceFolder;
use super::kernel;
use super::look;

/// How long the lock of a supervisor that has ended may stay taken.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// How often it is tried meanwhile.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// Why an instance could not be released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Its folder is of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its supervisor does not answer.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// Something runs.
    #[error("{instance} cannot be released: {} still to run", running.join(", "))]
    Runs {
        /// The instance.
        instance: InstanceName,
        /// What runs, or is to run.
        running: Vec<String>,
    },
    /// Another supervisor has begun meanwhile, or the lock cannot be had.
    #[error("{instance} cannot be released: another command has begun to work on it")]
    Taken {
        /// The instance.
        instance: InstanceName,
        /// What the system says, where it is no other command.
        source: Option<io::Error>,
    },
}

impl Explain for ReleaseError {
    fn code(&self) -> Code {
        match self {
            Self::Files(error) => error.code(),
            Self::Supervisor(error) => error.code(),
            Self::Runs { .. } | Self::Taken { .. } => Code("SY3020"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Files(error) => error.class(),
            Self::Supervisor(error) => error.class(),
            Self::Runs { .. } => Class::Refused,
            Self::Taken { .. } => Class::Busy,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.help(),
            Self::Supervisor(error) => error.help(),
            Self::Runs { instance, .. } => Some(format!("stop it first: down {instance}")),
            Self::Taken { .. } => Some("wait for the other command to end".to_owned()),
        }
    }
}

/// How often a supervisor is asked to end while others speak to it, and the pause between: who
/// looks at an instance speaks to it for some milliseconds.
const DISMISSALS_MAX: u32 = 100;
const DISMISSAL_PAUSE: Duration = Duration::from_millis(10);

/// Removes what an instance itself has.
pub(super) async fn release(
    home: &Path,
    client: &Client,
    instance: &InstanceName,
) -> Result<(), ReleaseError> {
    let folder = InstanceFolder::of(home, instance);
    if !folder.path().exists() {
        return Ok(());
    }
    for _ in 0..DISMISSALS_MAX {
        let Some(talk) = client.find(instance).await? else {
            break;
        };
        let running = talk.dismiss().await?;
        if !running.is_empty() {
            return Err(ReleaseError::Runs {
                instance: instance.clone(),
                running,
            });
        }
        // Gone, or somebody else is speaking to it for a moment.
        sleep(DISMISSAL_PAUSE).await;
    }
    let taken = |source| ReleaseError::Taken {
        instance: instance.clone(),
        source,
    };
    let lock = wait_for_lock(&folder)
        .await
        .map_err(|error| taken(Some(error)))?;
    let _lock = lock.ok_or_else(|| taken(None))?;
    // With the lock in hand no supervisor can begin, so nothing starts from here on.
    let running = running(&folder).await;
    if !running.is_empty() {
        return Err(ReleaseError::Runs {
            instance: instance.clone(),
            running,
        });
    }
    let removed = spawn_blocking(move || remove(&folder)).await;
    Ok(removed.unwrap_or(Ok(()))?)
}

async fn wait_for_lock(folder: &InstanceFolder) -> io::Result<Option<std::fs::File>> {
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        let lock = kernel::lock(&folder.lock())?;
        if lock.is_some() || Instant::now() >= deadline {
            return Ok(lock);
        }
        sleep(LOCK_INTERVAL).await;
    }
}

async fn running(folder: &InstanceFolder) -> Vec<String> {
    let folder = folder.clone();
    let found = spawn_blocking(move || look::workloads(&folder)).await;
    let found = found.unwrap_or_default();
    let alive = found.iter().filter(|workload| workload.is_alive());
    alive.map(|workload| workload.name.to_string()).collect()
}

fn remove(folder: &InstanceFolder) -> Result<(), FilesError> {
    remove_tree(&folder.socket())?;
    remove_tree(&folder.deleted())?;
    remove_if_empty(&folder.workloads())?;
    if !folder.workloads().exists() {
        // Nothing is left to tell about.
        remove_tree(&folder.log())?;
        remove_tree(&folder.old_log())?;
    }
    remove_tree(&folder.lock())?;
    remove_if_empty(folder.path())
}
