//! Writes and removes files below the state folder: folders 0700, files 0600, each file whole or
//! not at all.
//!
//! It never follows a symbolic link in the last place of a path that it writes or removes, and
//! never writes over a file that belongs to a server.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::fault::{Class, Code, Explain};
use model::workload::Existing;

/// Why the state folder could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The disk, or the user's share of it, is full.
    #[error("cannot write {}: its disk is full", path.display())]
    Full {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot {doing} {}", path.display())]
    Failed {
        /// What was tried: `write`, `read`, `remove`.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FilesError {
    pub(crate) fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if matches!(
            source.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ) {
            Self::Full { path, source }
        } else {
            Self::Failed {
                doing,
                path,
                source,
            }
        }
    }
}

impl Explain for FilesError {
    fn code(&self) -> Code {
        match self {
            Self::Failed { .. } => Code("SY3001"),
            Self::Full { .. } => Code("SY3002"),
        }
    }

    fn class(&self) -> Class {
        Class::Failed
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Full { path, .. } => Some(format!(
                "make room on that disk (df -h {0}; df -i {0}), then run the same command again; \
                 nothing was half written",
                path.parent().unwrap_or(path).display()
            )),
            Self::Failed { path, .. } => Some(format!(
                "check that {} is yours and can be written, or name another state folder in \
                 SHARDYARD_HOME",
                path.parent().unwrap_or(path).display()
            )),
        }
    }
}

/// Whether a file must be on the disk before its writer goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    /// It must outlive a power cut.
    Now,
    /// The system writes it within seconds. Enough for what a power cut makes untrue anyway: which
    /// process runs.
    Soon,
}

/// A file that is to be there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NewFile {
    /// Where.
    pub(crate) path: PathBuf,
    /// Its text, which may hold passwords: this type has no `Debug`.
    pub(crate) text: Vec<u8>,
    /// What happens to one that is there already.
    pub(crate) existing: Existing,
}

/// Makes a folder and its parents, each for our own eyes only.
pub(crate) fn make_folder(path: &Path) -> Result<(), FilesError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| FilesError::new("make the folder", path, error))
}

/// Makes all of these files be there, on the disk when it returns.
///
/// The texts go to the disk before any file takes its name, and the names of all files are
/// settled at once: a file costs little more than its share of two waits for the disk.
pub(crate) fn place(top: &Path, files: &[NewFile]) -> Result<(), FilesError> {
    let mut prepared = Vec::new();
    let outcome = prepare(files, &mut prepared).and_then(|()| name(&prepared));
    if outcome.is_err() {
        for file in &prepared {
            // Of no use to anybody; where even this fails, the next try writes over it.
            let _ = fs::remove_file(preparation(&file.path));
        }
    }
    outcome?;
    let folders: BTreeSet<&Path> = prepared
        .iter()
        .flat_map(|file| file.path.ancestors().skip(1))
        .filter(|folder| folder.starts_with(top))
        .collect();
    folders.into_iter().rev().try_for_each(settle_folder)
}

fn prepare<'a>(files: &'a [NewFile], prepared: &mut Vec<&'a NewFile>) -> Result<(), FilesError> {
    let mut opened = Vec::new();
    for file in files.iter().filter(|file| !is_there(file)) {
        if let Some(parent) = file.path.parent() {
            make_folder(parent)?;
        }
        prepared.push(file);
        opened.push((file, write_new(&file.path, &file.text)?));
    }
    opened.iter().try_for_each(|(file, opened)| {
        let settled = opened.sync_all();
        settled.map_err(|error| FilesError::new("write", &file.path, error))
    })
}

/// Whether nothing is left to do for a file. An unchanged one is not written again, so that doing
/// a step twice leaves the same files, byte for byte and time for time.
fn is_there(file: &NewFile) -> bool {
    let Ok(found) = fs::symlink_metadata(&file.path) else {
        return false;
    };
    match file.existing {
        Existing::Keep => true,
        Existing::Replace => {
            use std::os::unix::fs::PermissionsExt;
            found.is_file()
                && found.permissions().mode() & 0o777 == 0o600
                && fs::read(&file.path).is_ok_and(|text| text == file.text)
        }
    }
}

fn name(prepared: &[&NewFile]) -> Result<(), FilesError> {
    for file in prepared {
        let new = preparation(&file.path);
        let outcome = match file.existing {
            Existing::Replace => fs::rename(&new, &file.path),
            Existing::Keep => name_if_free(&new, &file.path),
        };
        outcome.map_err(|error| FilesError::new("write", &file.path, error))?;
    }
    Ok(())
}

/// Gives a file its name unless something else has it by now: a link fails where a rename would
/// write over the server's own file.
fn name_if_free(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    fs::remove_file(new)
}

/// Replaces one file.
pub(crate) fn replace(path: &Path, text: &[u8], settled: Settled) -> Result<(), FilesError> {
    let fail = |error| FilesError::new("write", path, error);
    let file = write_new(path, text)?;
    if settled == Settled::Now {
        file.sync_all().map_err(fail)?;
    }
    fs::rename(preparation(path), path).map_err(fail)?;
    match (settled, path.parent()) {
        (Settled::Now, Some(folder)) => settle_folder(folder),
        (Settled::Now | Settled::Soon, _) => Ok(()),
    }
}

fn write_new(path: &Path, text: &[u8]) -> Result<File, FilesError> {
    let fail = |error| FilesError::new("write", path, error);
    let new = preparation(path);
    // What a run that was cut off left here; a link that was put here is removed, not followed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(fail)?;
    file.write_all(text).map_err(fail)?;
    Ok(file)
}

/// The path beside another at which a new version is prepared.
fn preparation(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn settle_folder(folder: &Path) -> Result<(), FilesError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| FilesError::new("write", folder, error))
}

/// The names in a folder; none where there is no such folder.
pub(crate) fn names_in(path: &Path) -> Result<Vec<String>, FilesError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FilesError::new("read", path, error)),
    };
    let names = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name());
    // A name of ours is plain text; any other is not ours.
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Opens a file of ours for writing at its end, and makes it where it is absent.
pub(crate) fn open_to_append(path: &Path) -> Result<File, FilesError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| FilesError::new("write", path, error))
}

/// Removes a file or a folder with all that is in it; a symbolic link is removed, not followed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), FilesError> {
    let outcome = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(FilesError::new("remove", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a folder if nothing is in it.
pub(crate) fn remove_if_empty(path: &Path) -> Result<(), FilesError> {
    match fs::remove_dir(path) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(FilesError::new("remove", path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn file(path: PathBuf, text: &str, existing: Existing) -> NewFile {
        NewFile {
            path,
            text: text.as_bytes().to_vec(),
            existing,
        }
    }

    #[test]
    fn a_file_is_replaced_or_kept_as_it_says() {
        let top = tempfile::tempdir().unwrap();
        let (ours, theirs) = (
            top.path().join("a/redis.conf"),
            top.path().join("b/nodes.conf"),
        );
        let versions = [("one", "one", "one"), ("two", "two", "one")];
        for (text, in_ours, in_theirs) in versions {
            let files = [
                file(ours.clone(), text, Existing::Replace),
                file(theirs.clone(), text, Existing::Keep),
            ];
            place(top.path(), &files).unwrap();
            assert_eq!(fs::read_to_string(&ours).unwrap(), in_ours);
            assert_eq!(fs::read_to_string(&theirs).unwrap(), in_theirs);
        }
        assert_eq!(fs::metadata(&ours).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(top.path().join("a")).unwrap().mode() & 0o777,
            0o700
        );
        let left: Vec<_> = fs::read_dir(top.path().join("a")).unwrap().collect();
        assert_eq!(left.len(), 1, "a preparation was left behind");
    }

    #[test]
    fn an_unchanged_file_is_left_alone() {
        let top = tempfile::tempdir().unwrap();
        let files = [file(top.path().join("x"), "text", Existing::Replace)];
        place(top.path(), &files).unwrap();
        let before = fs::metadata(&files[0].path).unwrap().ino();
        place(top.path(), &files).unwrap();
        assert_eq!(fs::metadata(&files[0].path).unwrap().ino(), before);
    }

    #[test]
    fn a_link_is_replaced_or_removed_and_never_followed() {
        let top = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let ours = top.path().join("ours/conf");
        make_folder(ours.parent().unwrap()).unwrap();
        symlink(&victim, &ours).unwrap();
        symlink(&victim, preparation(&ours)).unwrap();
        place(top.path(), &[file(ours.clone(), "new", Existing::Replace)]).unwrap();
        assert!(fs::symlink_metadata(&ours).unwrap().is_file());
        symlink(outside.path(), top.path().join("ours/data")).unwrap();
        remove_tree(&top.path().join("ours")).unwrap();
        remove_tree(&top.path().join("ours")).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
