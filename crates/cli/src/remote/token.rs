//! The token by which a server knows us: from the environment, or from a file that nobody else can
//! read. Never from the arguments, which every user of a host can see.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::fault::{Class, Fault};
use model::secret::Secret;

use super::url::Url;
use crate::settings::Settings;

/// The variable of the environment.
const VARIABLE: &str = "SHARDYARD_TOKEN";

/// Looks for the token: in the environment, in the file that was named, in what a login has kept.
pub(super) fn find(
    url: &Url,
    named: Option<&Path>,
    settings: &Settings,
) -> Result<Option<Secret>, Fault> {
    if let Some(token) = std::env::var(VARIABLE).ok().filter(|it| !it.is_empty()) {
        return fitting(&token).map(Some);
    }
    if let Some(file) = named {
        return read(file).map(Some);
    }
    let kept = file(url, settings)?;
    if kept.exists() {
        return read(&kept).map(Some);
    }
    Ok(None)
}

/// Keeps a token for later. Gives its file.
pub(super) fn keep(url: &Url, token: &Secret, settings: &Settings) -> Result<String, Fault> {
    let file = file(url, settings)?;
    let written = file
        .parent()
        .map_or(Ok(()), make_folder)
        .and_then(|()| write(&file, token));
    written.map_err(|error| {
        let message = format!("the token cannot be kept in {}", file.display());
        Fault::new("SY5015", Class::Failed, message).with_cause(error)
    })?;
    Ok(file.display().to_string())
}

fn file(url: &Url, settings: &Settings) -> Result<PathBuf, Fault> {
    Ok(settings.home()?.path().join("logins").join(url.file_name()))
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Beside it first, so that a file which is there keeps its old token or has the new one.
fn write(file: &Path, token: &Secret) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let mut out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    out.set_permissions(fs::Permissions::from_mode(0o600))?;
    writeln!(out, "{}", token.expose())?;
    fs::rename(&beside, file)
}

fn read(file: &Path) -> Result<Secret, Fault> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| {
        let message = format!("the token in {shown} cannot be read");
        Fault::new("SY5015", Class::Usage, message).with_cause(error)
    };
    let mode = fs::metadata(file).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let message = format!("other users can read {shown}, and it holds a token");
        return Err(Fault::new("SY5015", Class::Refused, message)
            .with_help(format!("chmod 600 {shown}, and have another token made")));
    }
    let text = fs::read_to_string(file).map_err(unreadable)?;
    fitting(text.lines().next().unwrap_or_default())
}

/// What can stand in the head of a request.
fn fitting(text: &str) -> Result<Secret, Fault> {
    let text = text.trim();
    if !text.is_empty() && text.chars().all(|it| it.is_ascii_graphic()) {
        return Ok(Secret::new(text));
    }
    Err(Fault::new("SY5015", Class::Usage, "the token is none")
        .with_help("a token is one word; have one made: shardyard login"))
}
