//! Holds the tree to its own rules: who may use whom, how long a file and a line may be, what each
//! file begins with, that every file is compiled, and that every error code has its page.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom (ARCHITECTURE.md). `tests` and `benches` are users of the product and may use
/// everything.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("model", &[]),
    ("template", &["model"]),
    ("plan", &["model"]),
    ("admin", &["model"]),
    ("engines", &["model"]),
    ("steward", &["model"]),
    (
        "control",
        &["admin", "engines", "model", "plan", "steward", "template"],
    ),
    ("testkit", &["model"]),
    ("server", &["control", "model", "template"]),
    (
        "cli",
        &[
            "admin", "control", "engines", "model", "plan", "server", "template",
        ],
    ),
];

/// What pure crates must not even be able to name.
const IMPURE: [&str; 6] = ["tokio", "redis", "rusqlite", "rustix", "getrandom", "jiff"];
const PURE: [&str; 3] = ["model", "template", "plan"];

const FILE_LINES_MAX: usize = 800;
const LINE_CHARACTERS_MAX: usize = 100;

/// Words that stand for something unfinished, and traces of the machine that it was made on.
const BANNED: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("/ro", "ot/"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The files below a folder with this ending, but for what was built.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ["target", "node_modules", "dist"].contains(&name.as_str()) || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn nothing_wrong(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// The names below `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if section == "dependencies"
            && let Some((name, _)) = line.split_once(['.', ' ', '='])
            && !name.is_empty()
            && !name.starts_with('#')
        {
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn a_crate_uses_only_what_the_architecture_allows() {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    let mut faults = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let Some(allowed) = table.get(name.as_str()) else {
            faults.push(format!("{name} is not in the table"));
            continue;
        };
        for used in dependencies(&folder.join("Cargo.toml")) {
            if table.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                faults.push(format!("{name} must not use {used}"));
            }
            if PURE.contains(&name.as_str()) && IMPURE.contains(&used.as_str()) {
                faults.push(format!("{name} is pure and must not use {used}"));
            }
        }
    }
    nothing_wrong("who may use whom", &faults);
}

#[test]
fn the_architecture_page_tells_the_same_table() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut faults = Vec::new();
    for (name, allowed) in MAY_USE {
        let row = page
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&format!("| `{name}` |")));
        let told: BTreeSet<&str> = match row.and_then(|row| row.rsplit('|').nth(1)) {
            None => {
                faults.push(format!("{name} has no row"));
                continue;
            }
            Some(cell) if cell.trim() == "everything" => continue,
            Some(cell) => cell.split_whitespace().filter(|it| *it != "–").collect(),
        };
        if told != allowed.iter().copied().collect() {
            faults.push(format!(
                "{name}: the page says {told:?}, the table {allowed:?}"
            ));
        }
    }
    nothing_wrong("ARCHITECTURE.md", &faults);
}

#[test]
fn files_and_lines_have_their_length_and_files_say_what_they_are_for() {
    let mut faults = Vec::new();
    for path in files(&root(), ".rs") {
        let text = fs::read_to_string(&path).unwrap();
        let name = shown(&path);
        let count = text.lines().count();
        if count > FILE_LINES_MAX {
            faults.push(format!("{name} has {count} lines"));
        }
        if !text.starts_with("//! ") {
            faults.push(format!("{name} does not begin with what it is for"));
        }
        for (index, line) in text.lines().enumerate() {
            // A text that a test compares with must stand as it is.
            let is_data = line.contains('"') || !name.contains("/src/");
            if line.chars().count() > LINE_CHARACTERS_MAX && !is_data {
                faults.push(format!("{name}:{} is too long", index + 1));
            }
        }
    }
    nothing_wrong("length and heads", &faults);
}

#[test]
fn nothing_is_left_unfinished_and_no_machine_is_named() {
    let mut faults = Vec::new();
    for ending in [".rs", ".md", ".toml", ".yaml", ".conf"] {
        for path in files(&root(), ending) {
            let text = fs::read_to_string(&path).unwrap();
            for (index, line) in text.lines().enumerate() {
                if let Some(word) = BANNED.iter().find(|word| line.contains(**word)) {
                    faults.push(format!("{}:{}: {word}", shown(&path), index + 1));
                }
            }
        }
    }
    nothing_wrong("unfinished, or of this machine", &faults);
}

/// A file that no `mod` names is not compiled, and nobody notices.
#[test]
fn every_source_file_is_compiled() {
    let mut faults = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let source = entry.unwrap().path().join("src");
        for path in files(&source, ".rs") {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let parent = path.parent().unwrap();
            if ["lib", "main"].contains(&stem.as_str()) && parent == source {
                continue;
            }
            let (module, folder) = if stem == "mod" {
                let name = parent.file_name().unwrap().to_string_lossy().into_owned();
                (name, parent.parent().unwrap())
            } else {
                (stem, parent)
            };
            let owners = [
                folder.join("lib.rs"),
                folder.join("main.rs"),
                folder.join("mod.rs"),
                folder.with_extension("rs"),
            ];
            let named = owners.iter().any(|owner| {
                let text = fs::read_to_string(owner).unwrap_or_default();
                text.contains(&format!("mod {module};"))
            });
            if !named {
                faults.push(shown(&path));
            }
        }
    }
    nothing_wrong("files that no `mod` names", &faults);
}

/// The error codes in a text: `SY` and four digits.
fn codes(text: &str) -> BTreeSet<String> {
    text.match_indices("SY")
        .filter_map(|(at, _)| text.get(at..at + 6))
        .filter(|code| code[2..].bytes().all(|byte| byte.is_ascii_digit()))
        // The simulation's own, which no user sees.
        .filter(|code| !code.starts_with("SY9"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_error_code_has_a_page_and_each_page_a_code() {
    let mut used = BTreeSet::new();
    for path in files(&root().join("crates"), ".rs") {
        used.extend(codes(&fs::read_to_string(&path).unwrap()));
    }
    let mut faults = Vec::new();
    let mut pages = BTreeSet::new();
    for path in files(&root().join("docs/errors"), ".md") {
        let code = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with(&format!("# {code}: ")) {
            faults.push(format!("the page of {code} does not begin with it"));
        }
        pages.insert(code);
    }
    faults.extend(
        used.difference(&pages)
            .map(|it| format!("{it} has no page")),
    );
    faults.extend(
        pages
            .difference(&used)
            .map(|it| format!("{it} is used nowhere")),
    );
    nothing_wrong("error codes", &faults);
}

#[test]
fn scripts_can_be_run_and_stop_at_the_first_error() {
    use std::os::unix::fs::PermissionsExt;
    let mut faults = Vec::new();
    for name in [
        ".ci/run",
        "tools/install",
        "tools/test",
        "tests/fetch-servers",
        "tests/make-images",
    ] {
        let path = root().join(name);
        let text = fs::read_to_string(&path).unwrap();
        if fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0 {
            faults.push(format!("{name} cannot be run"));
        }
        if !text.contains("set -euo pipefail") {
            faults.push(format!("{name} goes on after an error"));
        }
    }
    nothing_wrong("scripts", &faults);
}
