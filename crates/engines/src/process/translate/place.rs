//! Finds the place on this host of a path in a container.
//!
//! A volume is a folder of its own, and a file lies in the volume that its target is under, else
//! below `files`. A target that would climb out of its folder is refused; none is ever mended.

use std::path::{Path, PathBuf};

use model::workload::Workload;

use super::super::folders::WorkloadFolder;
use super::super::launch::Places;
use super::TranslateError;

/// The longest name of a volume: with the suffixes of preparation it stays far below the 255
/// bytes that a file system takes.
const VOLUME_NAME_LENGTH_MAX: usize = 64;

/// Where the volumes and files of a workload lie.
pub(crate) fn places(
    workload: &Workload,
    folder: &WorkloadFolder,
) -> Result<Places, TranslateError> {
    let mut places = Places::default();
    for volume in &workload.container.volumes {
        if !is_volume_name(&volume.name) {
            return Err(TranslateError::VolumeName {
                name: volume.name.escape_debug().to_string(),
                workload: workload.name.to_string(),
            });
        }
        check("the volume", &volume.target, workload)?;
        let path = folder.volumes().join(&volume.name);
        places.volumes.push((volume.target.clone(), path));
    }
    for file in &workload.files {
        let relative = check("the file", &file.target, workload)?;
        let path = in_volume(&places, &file.target);
        let path = path.unwrap_or_else(|| folder.files().join(relative));
        places.files.push((file.target.clone(), path));
    }
    Ok(places)
}

fn is_volume_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= VOLUME_NAME_LENGTH_MAX
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// The path without its leading slash, if it is one that stays below where it is put.
fn check<'a>(
    what: &'static str,
    target: &'a str,
    workload: &Workload,
) -> Result<&'a str, TranslateError> {
    let relative = target.strip_prefix('/').unwrap_or("");
    let plain =
        |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if relative.split('/').all(plain) {
        return Ok(relative);
    }
    Err(TranslateError::Target {
        what,
        target: target.escape_debug().to_string(),
        workload: workload.name.to_string(),
    })
}

/// The place of a path that is a volume's target or lies under one; under the nearest, where
/// volumes are nested.
fn in_volume(places: &Places, path: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = path.split('/').collect();
    if parts.contains(&"..") {
        return None;
    }
    places
        .volumes
        .iter()
        .filter_map(|(target, folder)| {
            let rest = path.strip_prefix(target.as_str())?;
            let rest = match rest.strip_prefix('/') {
                Some(rest) => rest.trim_matches('/'),
                None if rest.is_empty() => rest,
                None => return None,
            };
            let place = if rest.is_empty() {
                folder.clone()
            } else {
                folder.join(rest)
            };
            Some((target.len(), place))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, place)| place)
}

/// The place of a path that a file or a volume has; `None` for any other.
pub(crate) fn find(places: &Places, path: &str) -> Option<PathBuf> {
    let file = places.files.iter().find(|(target, _)| target == path);
    match file {
        Some((_, place)) => Some(place.clone()),
        None => in_volume(places, path),
    }
}

/// A word of a command as it is right on this host.
pub(crate) fn word(places: &Places, word: &str) -> Result<String, TranslateError> {
    match find(places, word) {
        Some(place) => text(&place),
        None => Ok(word.to_owned()),
    }
}

/// A path as text: an argument or a line of a config file can hold nothing else.
pub(crate) fn text(path: &Path) -> Result<String, TranslateError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| TranslateError::NoText(path.to_owned()))
}
