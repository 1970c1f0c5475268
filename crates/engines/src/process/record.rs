//! Records: small JSON files, each written whole and read whole.
//!
//! A reader sees the old text or the new one, never a mixture. What cannot be read is reported as
//! such and never taken for absent.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files::{FilesError, Settled, replace};

/// The longest record that is read. The largest, a launch definition, is bounded by the system's
/// own limit for arguments and environment (a few MiB); a larger file is not ours.
const RECORD_BYTES_MAX: u64 = 8 << 20;

/// What a record holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Record<T> {
    /// There is none.
    Absent,
    /// It is there, but cut short, damaged, or of a later version.
    Unreadable(String),
    /// It says this.
    Present(T),
}

impl<T> Record<T> {
    /// What it says, where it can be read.
    pub(crate) fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

/// Reads a record.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Record<T> {
    let mut text = String::new();
    let opened = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Record::Absent,
        Err(error) => return Record::Unreadable(error.to_string()),
    };
    match opened.take(RECORD_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) => return Record::Unreadable(error.to_string()),
    }
    match serde_json::from_str(&text) {
        Ok(value) => Record::Present(value),
        Err(error) => Record::Unreadable(error.to_string()),
    }
}

/// Writes a record in place of the one that is there.
pub(crate) fn write<T: Serialize>(
    path: &Path,
    value: &T,
    settled: Settled,
) -> Result<(), FilesError> {
    replace(path, &text(path, value)?, settled)
}

/// The text of a record.
pub(crate) fn text<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, FilesError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| FilesError::new("write", path, error.into()))?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_damaged_one_is_not_taken_for_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(read::<Vec<u32>>(&path), Record::Absent);
        write(&path, &vec![1_u32, 2], Settled::Now).unwrap();
        assert_eq!(read(&path), Record::Present(vec![1_u32, 2]));
        for half in ["", "[1,", "{}", "[1,2]x"] {
            fs::write(&path, half).unwrap();
            let found = read::<Vec<u32>>(&path);
            assert!(
                matches!(found, Record::Unreadable(_)),
                "{half:?}: {found:?}"
            );
        }
    }
}
