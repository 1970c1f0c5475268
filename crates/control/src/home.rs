//! The state folder: where it is, and where what lies in it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::fault::{Class, Fault};
use model::ids::{InstanceName, VariableName};

/// The folder that holds all state: `SHARDYARD_HOME`, or a folder of the user's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The state folder at this path, made where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        make_private(path)?;
        // A supervisor works in another folder than we do.
        let path = path
            .canonicalize()
            .map_err(|error| cannot("open", path, &error))?;
        Ok(Self(path))
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("state.db")
    }

    /// The folder of an instance.
    #[must_use]
    pub fn instance(&self, name: &InstanceName) -> PathBuf {
        self.0.join("instances").join(name.as_str())
    }

    /// The file that its operator holds locked.
    #[must_use]
    pub fn lock(&self, name: &InstanceName) -> PathBuf {
        self.instance(name).join("operator.lock")
    }

    /// The file that holds one of its secrets.
    #[must_use]
    pub fn secret(&self, name: &InstanceName, variable: &VariableName) -> PathBuf {
        self.instance(name).join("secrets").join(variable.as_str())
    }
}

/// Makes a folder that only its owner can enter, and those above it that are missing.
pub(crate) fn make_private(path: &Path) -> Result<(), Fault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| cannot("make", path, &error))
}

/// An error about a file or folder of ours.
pub(crate) fn cannot(what: &str, path: &Path, error: &io::Error) -> Fault {
    let kind = error.kind();
    let help = if matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        "free some room on that disk, then run it again: it goes on from where it is"
    } else if kind == io::ErrorKind::PermissionDenied {
        "run it as the folder's owner, or name another folder by SHARDYARD_HOME"
    } else {
        "name another folder by SHARDYARD_HOME if this one cannot be used"
    };
    Fault::new(
        "SY4010",
        Class::Failed,
        format!("cannot {what} {}", path.display()),
    )
    .with_cause(error)
    .with_help(help)
}
