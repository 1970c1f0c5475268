//! Templates by name: those that came along, and those that users saved in the state folder. A
//! saved one never takes the name of one that came along, and nothing outside its folder is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use control::command::TemplateChoice;
use control::home::Home;
use model::fault::{Class, Fault};
use model::ids::TemplateName;
use model::instance::TemplateFiles;
use template::{Document, builtin};

use crate::accounts::secret;

/// How many files a template has at most, how large each is, and how long a path is.
const FILES_MAX: usize = 200;
const FILE_SIZE_MAX: usize = 1 << 20;
const PATH_MAX: usize = 200;
const DEPTH_MAX: usize = 8;

fn folder(home: &Home) -> PathBuf {
    home.path().join("templates")
}

/// Every template's name, and whether it came along.
pub(crate) fn names(home: &Home) -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> = builtin::names().map(|it| (it.to_owned(), true)).collect();
    // Where nobody saved one, there is no folder.
    let saved = fs::read_dir(folder(home)).into_iter().flatten().flatten();
    let mut saved: Vec<String> = saved
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| TemplateName::new(name).is_ok())
        .collect();
    saved.sort();
    names.extend(saved.into_iter().map(|it| (it, false)));
    names
}

/// A template by its name.
pub(crate) fn choice(home: &Home, named: &str) -> Result<TemplateChoice, Fault> {
    let files = match builtin::files(named) {
        Some(files) => files,
        None => saved(home, named)?,
    };
    Ok(TemplateChoice {
        named: named.to_owned(),
        files,
    })
}

fn saved(home: &Home, named: &str) -> Result<TemplateFiles, Fault> {
    let unknown = || {
        let shown = named.escape_debug();
        Fault::new(
            "SY5005",
            Class::Usage,
            format!("there is no template `{shown}`"),
        )
        .with_help("GET /api/v1/templates lists them")
    };
    // A template's name has no slash and no dot, so it cannot lead elsewhere.
    let name = TemplateName::new(named).map_err(|_| unknown())?;
    let root = folder(home).join(name.as_str());
    if !root.is_dir() {
        return Err(unknown());
    }
    let mut files = BTreeMap::new();
    read(&root, &root, 0, &mut files).map_err(|error| failed("read", &error))?;
    Ok(TemplateFiles { files })
}

fn read(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEPTH_MAX {
            read(root, &entry.path(), depth + 1, files)?;
        } else if kind.is_file() && files.len() < FILES_MAX {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            files.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Saves a template that can be read.
pub(crate) fn save(home: &Home, named: &str, files: &TemplateFiles) -> Result<(), Fault> {
    let name = TemplateName::new(named)
        .map_err(|error| Fault::new("SY6009", Class::Usage, error.to_string()))?;
    if builtin::files(name.as_str()).is_some() {
        return Err(Fault::new(
            "SY6012",
            Class::Refused,
            format!("{name} came along and cannot be saved over"),
        )
        .with_help("save it under another name"));
    }
    must_be_small(files)?;
    Document::read(files)?;
    write(&folder(home), &name, files).map_err(|error| failed("saved", &error))
}

/// Files that fit their folder: few, small, and nowhere else.
pub(crate) fn must_be_small(files: &TemplateFiles) -> Result<(), Fault> {
    let is_plain = |path: &str| {
        path.len() <= PATH_MAX
            && !path.contains('\0')
            && !path.is_empty()
            && Path::new(path).components().count() <= DEPTH_MAX
            && Path::new(path)
                .components()
                .all(|it| matches!(it, Component::Normal(_)))
            && !path
                .split('/')
                .any(|it| it.is_empty() || it.starts_with('.'))
    };
    let odd = files
        .files
        .iter()
        .find(|(path, text)| !is_plain(path) || text.len() > FILE_SIZE_MAX);
    if let Some((path, _)) = odd {
        let shown = path.escape_debug();
        return Err(Fault::new(
            "SY6009",
            Class::Usage,
            format!("`{shown}` is no path within the template, or its file is too large"),
        ));
    }
    if files.files.len() > FILES_MAX {
        let message = format!("a template has {FILES_MAX} files at most");
        return Err(Fault::new("SY6009", Class::Usage, message));
    }
    Ok(())
}

/// It is written beside its place and then put there, so that nobody reads half of it.
fn write(folder: &Path, name: &TemplateName, files: &TemplateFiles) -> std::io::Result<()> {
    let mark = secret().map_err(|fault| std::io::Error::other(fault.message))?;
    let beside = folder.join(format!(".{mark}"));
    for (path, text) in &files.files {
        let path = beside.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    let place = folder.join(name.as_str());
    if place.exists() {
        let old = folder.join(format!(".{mark}-old"));
        fs::rename(&place, &old)?;
        fs::rename(&beside, &place)?;
        return fs::remove_dir_all(old);
    }
    fs::rename(&beside, &place)
}

fn failed(what: &str, error: &std::io::Error) -> Fault {
    Fault::new(
        "SY6011",
        Class::Failed,
        format!("the template cannot be {what}"),
    )
    .with_cause(error)
    .with_help("see whether the disk is full and who owns the state folder")
}
