//! The id of a state folder, by which what it made on a daemon is told from what others made there.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The length of an id in bytes: two of 2^64 never meet by chance.
const BYTES: usize = 8;

/// The id of a state folder, made when it is first needed.
pub(crate) fn of(folder: &Path) -> io::Result<String> {
    let path = folder.join("id");
    if let Some(id) = read(&path)? {
        return Ok(id);
    }
    fs::create_dir_all(folder)?;
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = folder.join(format!("id.{id}"));
    let mut file = fs::File::create(&new)?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    // A link fails where the name is taken: of two that begin at once, the first one counts.
    let linked = fs::hard_link(&new, &path);
    fs::remove_file(&new)?;
    match linked {
        Ok(()) => Ok(id),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path)?.ok_or_else(|| io::Error::other("the id of the state folder is empty"))
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_keeps_its_id_and_two_have_different_ones() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = one.path().join("docker");
        let id = of(&folder).unwrap();
        assert_eq!(id.len(), 2 * BYTES);
        assert_eq!(of(&folder).unwrap(), id);
        assert_ne!(of(other.path()).unwrap(), id);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
