//! Where everything of an instance lies below the state folder.
//!
//! Only names are made here; nothing is opened, made or removed.
//!
//! ```text
//! HOME/instances/NAME/    supervisor.lock  supervisor.sock  supervisor.log
//!     deleted/            what is on its way out, no workload any more
//!     workloads/redis-1/  launch.json  state.json  lock  log  log.1
//!         files/etc/redis/redis.conf  a file by its target
//!         volumes/data/   a volume by its name
//!         work/           its folder without a volume
//! ```

use std::path::{Path, PathBuf};

use model::ids::{InstanceName, WorkloadName};

/// The name of the supervisor's socket in its instance's folder. It is reached through the opened
/// folder, because the address of a socket has at most 108 bytes and a state folder may be deep.
pub(crate) const SOCKET_NAME: &str = "supervisor.sock";

/// The folder of an instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InstanceFolder {
    path: PathBuf,
}

impl InstanceFolder {
    /// The folder of this instance below the state folder.
    pub(crate) fn of(home: &Path, instance: &InstanceName) -> Self {
        Self {
            path: home.join("instances").join(instance.as_str()),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Held by the one supervisor for as long as it lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("supervisor.lock")
    }

    /// The supervisor's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET_NAME)
    }

    /// What the supervisor did and why.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// The part of that before it was cut last.
    pub(crate) fn old_log(&self) -> PathBuf {
        self.path.join("supervisor.log.1")
    }

    /// What is on its way out. A workload moves here in one step, so that one which is half
    /// deleted never looks like one that lost its data.
    pub(crate) fn deleted(&self) -> PathBuf {
        self.path.join("deleted")
    }

    /// The parent of the workloads' folders.
    pub(crate) fn workloads(&self) -> PathBuf {
        self.path.join("workloads")
    }

    /// The folder of a workload.
    pub(crate) fn workload(&self, name: &WorkloadName) -> WorkloadFolder {
        WorkloadFolder {
            path: self.workloads().join(name.to_string()),
        }
    }
}

/// The folder of a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WorkloadFolder {
    path: PathBuf,
}

impl WorkloadFolder {
    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Files that lie in no volume, by their target.
    pub(crate) fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// The parent of the volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// Where a workload without a volume runs. It is not the workload's folder, so that no program
    /// can write over our own files.
    pub(crate) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// What the workload prints.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The part of the log before it was cut last.
    pub(crate) fn old_log(&self) -> PathBuf {
        self.path.join("log.1")
    }

    /// How the workload is started.
    pub(crate) fn launch(&self) -> PathBuf {
        self.path.join("launch.json")
    }

    /// What the workload does.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// Held by every process of the workload for as long as it lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }
}
