//! One operator at a time: who changes an instance holds its lock, and a second one is told who
//! works on it since when. The kernel lets go of it when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use model::fault::{Class, Fault};
use model::ids::InstanceName;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::home::{Home, cannot, make_private};

/// Who works on an instance, doing what, since when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operator {
    /// The user's name.
    pub user: String,
    /// The process.
    pub pid: u32,
    /// What it does: `up`, `down`.
    pub verb: String,
    /// Since when, as RFC 3339.
    pub since: String,
}

impl Operator {
    /// Ourselves, doing this from now on.
    #[must_use]
    pub fn me(verb: &str) -> Self {
        let user = std::env::var("USER")
            .or_else(|_| std::env::var("LOGNAME"))
            .unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
        Self {
            user,
            pid: std::process::id(),
            verb: verb.to_owned(),
            since: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        }
    }
}

/// The right to change an instance, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The most that is read of a lock file; it holds one line.
const LOCK_FILE_MAX: u64 = 4096;

/// Takes an instance's lock.
///
/// # Errors
/// Where another operator holds it, with who that is.
pub fn take(home: &Home, name: &InstanceName, verb: &str) -> Result<Lock, Fault> {
    make_private(&home.instance(name))?;
    let path = home.lock(name);
    let mut file = open(&path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(busy(name, read(&mut file).as_ref()));
    }
    let line = serde_json::to_string(&Operator::me(verb)).unwrap_or_default();
    let written = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(line.as_bytes()));
    written.map_err(|error| cannot("write", &path, &error))?;
    Ok(Lock { _file: file })
}

/// Who works on an instance now; nobody where its lock is free.
#[must_use]
pub fn holder(home: &Home, name: &InstanceName) -> Option<Operator> {
    let mut file = File::open(home.lock(name)).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => read(&mut file),
    }
}

fn open(path: &Path) -> Result<File, Fault> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot("open", path, &error))
}

fn read(file: &mut File) -> Option<Operator> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(LOCK_FILE_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn busy(name: &InstanceName, operator: Option<&Operator>) -> Fault {
    let who = operator.map_or_else(
        || "another operator".to_owned(),
        |it| {
            format!(
                "{} (pid {}) has been doing `{}` since {}",
                it.user, it.pid, it.verb, it.since
            )
        },
    );
    Fault::new(
        "SY4004",
        Class::Busy,
        format!("{who} on instance {name}, and one at a time may"),
    )
    .with_help(format!("watch it: shardyard status {name} --watch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_operator_is_told_who_the_first_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let name = InstanceName::new("orders").unwrap();
        assert_eq!(holder(&home, &name), None);
        let lock = take(&home, &name, "up").unwrap();
        let error = take(&home, &name, "down").unwrap_err();
        assert_eq!(error.class, Class::Busy);
        let me = format!("(pid {}) has been doing `up`", std::process::id());
        assert!(error.message.contains(&me), "{error}");
        assert_eq!(holder(&home, &name).unwrap().verb, "up");
        drop(lock);
        assert_eq!(holder(&home, &name), None);
        take(&home, &name, "down").unwrap();
    }
}
