//! What the supervisor did and why, line by line with the time, in the instance's supervisor.log.
//!
//! It tells people about the past. Nothing reads it back, and nothing waits for it.

use std::fs::File;
use std::io::Write;

use jiff::Timestamp;

/// The supervisor's own log.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Writes to this file, which must be open for writing at its end.
    pub(super) const fn new(file: File) -> Self {
        Self { file }
    }

    /// Writes a line.
    pub(super) fn note(&self, subject: &str, what: &str) {
        let now = Timestamp::now();
        let line = format!("{now:.3} {subject}: {}\n", what.escape_debug());
        // On a full disk the instance is more important than its diary.
        let _ = (&self.file).write_all(line.as_bytes());
    }
}
