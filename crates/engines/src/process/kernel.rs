//! Asks the kernel which processes there are: `/proc`, pidfds and locks.
//!
//! A process is ours by its number, its start time and the start of the machine together, or by
//! the lock that every process of a workload holds. It is never taken for ours by its number
//! alone: the system gives that to another process after a while. Nothing is signalled here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::size::ByteSize;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::state::Identity;

/// How often a lock's file may be replaced under us before we give up. It is replaced when an
/// instance is released, which two commands at once can do a few times at most.
const LOCK_TRIES_MAX: usize = 8;

/// The part of `/proc/PID/stat` that is of use here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stat {
    /// `Z` and `X` are processes that have ended.
    state: char,
    group: i32,
    started: u64,
}

/// Reads `/proc/PID/stat`. The second field is the program's name in brackets, and it may hold
/// brackets and spaces itself: what counts begins after the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc(5) counts from 1 and begins with the number and the name, so that `state`, its third
    // field, is our first: pgrp is its fifth, starttime its 22nd.
    Some(Stat {
        state: fields.first()?.chars().next()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn stat_of(pid: i32) -> Option<Stat> {
    let stat = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(stat)
}

fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// Which process has this number now; `None` where none has, or it has ended.
pub(crate) fn identify(pid: i32) -> Option<Identity> {
    Some(Identity {
        pid,
        started: stat_of(pid)?.started,
        boot: boot()?,
    })
}

/// Whether this very process lives.
pub(crate) fn lives(process: &Identity) -> bool {
    identify(process.pid).as_ref() == Some(process)
}

/// Opens this very process, so that whatever is done by the descriptor reaches no other.
pub(crate) fn open(process: &Identity) -> Option<OwnedFd> {
    let opened = pidfd_open(Pid::from_raw(process.pid)?, PidfdFlags::empty()).ok()?;
    // Looked at after it was opened: if the number had a new owner by then, its start time says so.
    lives(process).then_some(opened)
}

/// The memory that a process uses at present.
pub(crate) fn resident(pid: i32) -> Option<ByteSize> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(ByteSize::bytes(pages.saturating_mul(page)))
}

/// Takes a lock for as long as the file is open in any process; `None` where another has it.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    for _ in 0..LOCK_TRIES_MAX {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The file may have been removed between opening and locking; then others lock a new one.
        if is_named(&file, path) {
            return Ok(Some(file));
        }
    }
    Err(io::Error::other("the lock is replaced again and again"))
}

/// Whether an open file is still the one of this name.
pub(crate) fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (named.dev(), named.ino()) == (held.dev(), held.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}

/// A process that holds a workload's lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    /// Which process.
    pub(crate) process: Identity,
    /// Whether it is the one that was started, and no child of it.
    pub(crate) leads: bool,
}

/// The processes that hold this lock: each of a workload was started with it, and what a server
/// forks inherits it. It looks at every file of every process, so it is for rare occasions.
pub(crate) fn holders(lock: &Path) -> Vec<Holder> {
    let Ok(lock) = fs::metadata(lock) else {
        return Vec::new();
    };
    let is_lock = |path: PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == (lock.dev(), lock.ino()))
    };
    let holds = |pid: &i32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        files.flatten().any(|file| is_lock(file.path()))
    };
    // We have it open ourselves at times, while we try it.
    let others = processes().filter(|pid| u32::try_from(*pid) != Ok(std::process::id()));
    others
        .filter(holds)
        .filter_map(|pid| {
            Some(Holder {
                leads: stat_of(pid)?.group == pid,
                process: identify(pid)?,
            })
        })
        .collect()
}

/// The numbers of all processes.
pub(crate) fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let rest = "S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        for name in ["redis-server", "a) R 9 9 9 (b", "x y"] {
            let stat = parse_stat(&format!("4242 ({name}) {rest}")).unwrap();
            let expected = Stat {
                state: 'S',
                group: 4242,
                started: 777,
            };
            assert_eq!(stat, expected, "{name}");
        }
        assert_eq!(parse_stat("4242 (short) S 1"), None);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_ours() {
        let myself = identify(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(lives(&myself));
        for other in [
            Identity {
                started: myself.started + 1,
                ..myself.clone()
            },
            Identity {
                boot: "another".to_owned(),
                ..myself.clone()
            },
        ] {
            assert!(!lives(&other));
            assert!(open(&other).is_none());
        }
    }

    #[test]
    fn a_lock_is_had_once_and_a_removed_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap().unwrap();
        assert!(lock(&path).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        assert!(lock(&path).unwrap().is_some());
        drop(held);
    }
}
