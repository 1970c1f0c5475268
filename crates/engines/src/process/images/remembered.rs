//! What servers said of their versions, kept from one run to the next.
//!
//! It is a memory, never a truth: a line that cannot be read is left out, a file that cannot be
//! written is not written, and a program whose size or date differs is asked again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use model::image::{ServerVersion, Software};

use super::{Said, Stamp};

/// The most that is read of it: a line for each server of a host has a hundred bytes.
const BYTES_MAX: u64 = 1 << 20;

/// What is remembered, by program.
pub(super) fn read(file: &Path) -> BTreeMap<PathBuf, (Stamp, Said)> {
    let is_small = fs::metadata(file).is_ok_and(|it| it.len() <= BYTES_MAX);
    let text = if is_small {
        fs::read_to_string(file).ok()
    } else {
        None
    };
    let text = text.unwrap_or_default();
    text.lines().filter_map(line).collect()
}

/// Remembers what programs said. Those that said nothing of use are asked again.
pub(super) fn write(file: &Path, versions: &BTreeMap<PathBuf, (Stamp, Said)>) {
    let mut text = String::new();
    for (path, ((bytes, changed), said)) in versions {
        let changed = changed.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        if let (Some(path), Some(changed), Ok(version)) = (path.to_str(), changed, said)
            && !path.contains('\n')
        {
            let _ = writeln!(text, "{bytes} {} {version} {path}", changed.as_nanos());
        }
    }
    // Whoever reads sees the one or the other, never a half.
    let new = file.with_extension(format!("new-{}", std::process::id()));
    if fs::write(&new, text).is_err() || fs::rename(&new, file).is_err() {
        let _ = fs::remove_file(&new);
    }
}

/// Reads `1234 1700000000000000000 redis 7.0.15 /usr/bin/redis-server`.
fn line(line: &str) -> Option<(PathBuf, (Stamp, Said))> {
    let mut words = line.splitn(5, ' ');
    let bytes = words.next()?.parse().ok()?;
    let changed = Duration::from_nanos(words.next()?.parse().ok()?);
    let software = match words.next()? {
        "redis" => Software::Redis,
        "valkey" => Software::Valkey,
        _ => return None,
    };
    let version = ServerVersion::parse(software, words.next()?)?;
    let path = PathBuf::from(words.next()?);
    Some((path, ((bytes, Some(UNIX_EPOCH + changed)), Ok(version))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_remembered_and_what_is_broken_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("programs");
        assert_eq!(read(&file), BTreeMap::new());
        let changed = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let version = ServerVersion::parse(Software::Valkey, "9.1.2").unwrap();
        let said: (Stamp, Said) = ((77, Some(changed)), Ok(version));
        let silent: (Stamp, Said) = ((78, Some(changed)), Err("cannot be run".to_owned()));
        let known = PathBuf::from("/opt/my servers/valkey-server");
        let versions = BTreeMap::from([
            (known.clone(), said.clone()),
            (PathBuf::from("/opt/broken"), silent),
        ]);
        write(&file, &versions);
        assert_eq!(read(&file), BTreeMap::from([(known.clone(), said.clone())]));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("77 x redis 7 /a\n\n{text}12 13 redis")).unwrap();
        assert_eq!(read(&file), BTreeMap::from([(known, said)]));
    }
}
