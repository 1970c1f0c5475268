//! The folder of a backup: files that others cannot read, that are whole or called `*.partial`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::fault::{Class, Fault};
use model::size::ByteSize;

/// What a file is called until it is whole.
const PARTIAL: &str = ".partial";

/// A folder that nobody else has files in.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// An empty folder, made where it is not there.
    pub(super) fn new(path: &Path) -> Result<Self, Fault> {
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    let message = format!("{} is not empty", path.display());
                    return Err(Fault::new("SY4053", Class::Refused, message)
                        .with_help("name an empty folder, or one that is to be made"));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = DirBuilder::new().mode(0o700).create(path);
                made.map_err(|error| failed(path, "made", &error))?;
            }
            Err(error) => return Err(failed(path, "read", &error)),
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Refuses where there is less room than this.
    pub(super) fn must_have_room(&self, wanted: ByteSize) -> Result<(), Fault> {
        // A file system that does not say has to be tried.
        let Ok(about) = rustix::fs::statvfs(&self.path) else {
            return Ok(());
        };
        let free = ByteSize::bytes(about.f_bavail.saturating_mul(about.f_frsize));
        if free >= wanted {
            return Ok(());
        }
        let message = format!(
            "{} has {free} left, and the servers hold {wanted} in memory",
            self.path.display()
        );
        Err(Fault::new("SY4054", Class::Refused, message)
            .with_help("name a folder on a disk with more room"))
    }

    /// A file that is written.
    pub(super) fn begin(&self, name: &str) -> Result<Writing, Fault> {
        let path = self.path.join(format!("{name}{PARTIAL}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(|error| failed(&path, "written", &error))?;
        Ok(Writing { path, file })
    }

    /// Gives a file its name.
    pub(super) fn finish(&self, name: &str) -> Result<(), Fault> {
        let to = self.path.join(name);
        let from = self.path.join(format!("{name}{PARTIAL}"));
        fs::rename(from, &to).map_err(|error| failed(&to, "written", &error))
    }

    /// The names are on the disk.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        let synced = File::open(&self.path).and_then(|it| it.sync_all());
        synced.map_err(|error| failed(&self.path, "written", &error))
    }

    /// The files that are not whole.
    pub(super) fn partial(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let paths = entries.map(|it| it.path().display().to_string());
        let mut partial: Vec<String> = paths.filter(|it| it.ends_with(PARTIAL)).collect();
        partial.sort();
        partial
    }
}

/// A file that is not whole yet.
#[derive(Debug)]
pub(super) struct Writing {
    path: PathBuf,
    file: File,
}

impl Writing {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failed(&self.path, "written", &error))
    }

    /// Its bytes are on the disk.
    pub(super) fn sync(self) -> Result<(), Fault> {
        let synced = self.file.sync_all();
        synced.map_err(|error| failed(&self.path, "written", &error))
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Fault {
    let message = format!("{} cannot be {what}", path.display());
    Fault::new("SY4055", Class::Failed, message).with_cause(error)
}
