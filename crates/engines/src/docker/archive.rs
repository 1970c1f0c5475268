//! Writes the archives by which files get into a volume, and reads those by which a volume is
//! looked into. Bytes in, bytes out: it touches no file.
//!
//! The owner and the mode stand in the archive itself, so that no root of the container is needed.

use std::io::{self, Read};

use super::translate::StoredFile;
use crate::process::observe::dataset::{HEAD_BYTES, Loads, holds_data};

/// A file may be read by the workload's user alone: it can hold passwords.
const FILE_MODE: u32 = 0o600;

/// A folder may be entered by the workload's user alone.
const FOLDER_MODE: u32 = 0o700;

/// How deep a server's own files may lie: its `dir` may be a folder of the volume, and its
/// append-only files are in one more.
const DEPTH_MAX: usize = 3;

/// The longest `nodes.conf` that is read: 16384 nodes with a line of 200 bytes each are 3 MiB.
const NODES_CONF_BYTES_MAX: u64 = 8 << 20;

/// Files of a volume, and where the archive has them.
#[derive(Clone, Debug)]
pub(crate) struct Pack<'a> {
    /// The folder of the archive that stands for the volume's own, which is given its owner, too;
    /// `None` where the archive is unpacked in the volume itself. Docker leaves the owner of the
    /// folder in which it unpacks as it is.
    pub(crate) folder: Option<String>,
    pub(crate) owner: (u32, u32),
    pub(crate) files: Vec<&'a StoredFile>,
}

/// An archive of these files, each with its owner.
pub(crate) fn write(packs: &[Pack<'_>]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for pack in packs {
        let place = |path: &str| match &pack.folder {
            Some(folder) => format!("{folder}/{path}"),
            None => path.to_owned(),
        };
        let mut folders: Vec<String> = pack.folder.iter().cloned().collect();
        for folder in pack.files.iter().flat_map(|file| above(&file.path)) {
            let folder = place(&folder);
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        for folder in folders {
            let mut header = header(tar::EntryType::Directory, pack.owner, FOLDER_MODE);
            archive.append_data(&mut header, format!("{folder}/"), io::empty())?;
        }
        for file in &pack.files {
            let text = file.text.expose().as_bytes();
            let mut header = header(tar::EntryType::Regular, pack.owner, FILE_MODE);
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, place(&file.path), text)?;
        }
    }
    archive.into_inner()
}

fn header(kind: tar::EntryType, (user, group): (u32, u32), mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_uid(user.into());
    header.set_gid(group.into());
    header.set_mode(mode);
    header.set_size(0);
    // A fixed time: the same files make the same archive.
    header.set_mtime(0);
    header
}

/// The folders above a file: `a` and `a/b` for `a/b/c`.
fn above(path: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.map(|at| path[..at].to_owned()).collect()
}

/// What a volume holds, as far as its archive was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Content {
    pub(crate) has_dataset: bool,
    /// The text of `nodes.conf`.
    pub(crate) nodes_conf: Option<String>,
    /// The size of all files that were seen.
    pub(crate) size: u64,
}

/// Reads an archive that may be cut off: what was seen before the cut counts.
pub(crate) fn read(bytes: &[u8], loads: Loads) -> Content {
    let mut content = Content::default();
    let mut archive = tar::Archive::new(bytes);
    let Ok(entries) = archive.entries() else {
        return content;
    };
    // It ends with the archive, or where that is cut off.
    for entry in entries {
        let Ok(mut entry) = entry else { break };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Some(path) = entry
            .path()
            .ok()
            .map(|it| it.to_string_lossy().into_owned())
        else {
            continue;
        };
        let size = entry.size();
        content.size = content.size.saturating_add(size);
        let parts: Vec<&str> = path.split('/').filter(|part| *part != ".").collect();
        let name = parts.last().copied().unwrap_or("");
        // The first part is the folder that was asked for.
        if parts.len() > DEPTH_MAX + 1 {
            continue;
        }
        if name == "nodes.conf" && content.nodes_conf.is_none() {
            let mut text = Vec::new();
            let whole = (&mut entry)
                .take(NODES_CONF_BYTES_MAX)
                .read_to_end(&mut text);
            content.nodes_conf = whole
                .ok()
                .map(|_| String::from_utf8_lossy(&text).into_owned());
        } else if loads.takes(name, parts.len() > 2) {
            let mut head = vec![0; HEAD_BYTES];
            let length = fill(&mut entry, &mut head);
            content.has_dataset |= holds_data(&head[..length], size);
        }
    }
    content
}

/// Reads as much as there is; a cut-off file gives what came before the cut.
fn fill(from: &mut impl Read, head: &mut [u8]) -> usize {
    let mut length = 0;
    // Each turn reads at least a byte, so it ends with the head.
    while length < head.len() {
        match from.read(&mut head[length..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use model::secret::Secret;
    use model::workload::Existing;

    use super::*;

    fn file(path: &str, text: &str) -> StoredFile {
        StoredFile {
            path: path.to_owned(),
            text: Secret::new(text),
            existing: Existing::Replace,
        }
    }

    #[test]
    fn owner_and_mode_stand_in_the_archive() {
        let (own, other) = (file("a/b.conf", "secret"), file("c", "x"));
        let packs = [(Some("1"), &own), (None, &other)].map(|(folder, file)| Pack {
            folder: folder.map(str::to_owned),
            owner: (999, 1000),
            files: vec![file],
        });
        let bytes = write(&packs).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let found: Vec<(String, u64, u64, u32, u64)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (
                    entry.path().unwrap().to_string_lossy().into_owned(),
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    header.mode().unwrap(),
                    entry.size(),
                )
            })
            .collect();
        let folder = |name: &str| (name.to_owned(), 999, 1000, 0o700, 0);
        let written = |name: &str, size| (name.to_owned(), 999, 1000, 0o600, size);
        let expected = [
            folder("1/"),
            folder("1/a/"),
            written("1/a/b.conf", 6),
            written("c", 1),
        ];
        assert_eq!(found, expected);
    }

    fn volume(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            archive.append_data(&mut header, path, *bytes).unwrap();
        }
        archive.into_inner().unwrap()
    }

    const EMPTY_DUMP: &[u8] = b"REDIS0011\xfa\x40\x03abc\xc1\x01\x02\xff12345678";

    #[test]
    fn an_empty_server_has_no_dataset_and_a_log_with_a_command_is_one() {
        let base = ("data/appendonlydir/appendonly.aof.1.base.rdb", EMPTY_DUMP);
        let empty = ("data/appendonlydir/appendonly.aof.1.incr.aof", &b""[..]);
        let written = (
            "data/appendonlydir/appendonly.aof.1.incr.aof",
            &b"*1\r\n"[..],
        );
        let nodes = ("data/nodes.conf", &b"vars"[..]);
        let found = read(&volume(&[base, empty, nodes]), Loads::AppendOnlyFiles);
        assert!(!found.has_dataset);
        assert_eq!(found.nodes_conf.as_deref(), Some("vars"));
        assert_eq!(found.size, EMPTY_DUMP.len() as u64 + 4);
        assert!(read(&volume(&[base, written]), Loads::AppendOnlyFiles).has_dataset);
        assert!(!read(&volume(&[base, written]), Loads::Dump).has_dataset);
    }

    #[test]
    fn an_archive_that_is_cut_off_tells_what_came_before() {
        let large = vec![b'x'; 100_000];
        let log = ("data/appendonlydir/appendonly.aof.1.incr.aof", &large[..]);
        let whole = volume(&[log, ("data/nodes.conf", b"vars")]);
        let found = read(&whole[..20_000], Loads::AppendOnlyFiles);
        assert!(found.has_dataset);
        assert_eq!((found.nodes_conf, found.size), (None, 100_000));
        assert_eq!(read(b"garbage", Loads::Either), Content::default());
    }
}
