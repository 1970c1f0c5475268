//! Keeps the logs of an instance from filling the disk.
//!
//! A log that is too large is copied to `log.1` and emptied under the server, which goes on
//! writing at its end. Lines that are printed between the end of the copy and the cut are lost:
//! some microseconds' worth. A server is never told to open its log anew, as few could.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::ids::WorkloadName;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::SuperviseSettings;
use super::journal::Journal;
use crate::process::files::names_in;
use crate::process::folders::InstanceFolder;

/// Looks at the logs for as long as the supervisor lives.
pub(super) async fn cut_logs(
    folder: InstanceFolder,
    settings: SuperviseSettings,
    journal: Arc<Journal>,
) {
    let mut beat = interval(settings.log_interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let (folder, size) = (folder.clone(), settings.log_bytes_max);
        let failures = spawn_blocking(move || cut_all(&folder, size)).await;
        for (log, error) in failures.unwrap_or_default() {
            journal.note(
                "supervisor",
                &format!("cannot keep {}: {error}", log.display()),
            );
        }
    }
}

fn cut_all(folder: &InstanceFolder, size: u64) -> Vec<(PathBuf, io::Error)> {
    let names = names_in(&folder.workloads()).unwrap_or_default();
    let workloads = names.iter().filter_map(|name| WorkloadName::parse(name));
    let logs = workloads.map(|name| {
        let workload = folder.workload(&name);
        (workload.log(), workload.old_log())
    });
    // Our own log grows by a line for each event, and is kept in the same way.
    let own = (folder.log(), folder.old_log());
    logs.chain([own])
        .filter(|(log, _)| fs::metadata(log).is_ok_and(|found| found.len() > size))
        .filter_map(|(log, old)| cut(&log, &old).err().map(|error| (log, error)))
        .collect()
}

/// Empties a log and keeps its text. Where the text cannot be kept, because the disk is full most
/// likely, the log is emptied all the same: the room is worth more to the data.
fn cut(log: &Path, old: &Path) -> io::Result<()> {
    let kept = keep(log, old);
    OpenOptions::new().write(true).truncate(true).open(log)?;
    kept
}

fn keep(log: &Path, old: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let new = old.with_extension("new");
    let outcome = options
        .open(&new)
        .and_then(|mut to| io::copy(&mut File::open(log)?, &mut to))
        .and_then(|_| fs::rename(&new, old));
    if outcome.is_err() {
        let _ = fs::remove_file(&new);
    }
    outcome
}
