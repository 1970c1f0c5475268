//! Where programs are looked for, how a version is read, and what is said where there is none.

use std::fs;
use std::path::{Path, PathBuf};

use model::image::{ImageRef, ServerVersion, Software};
use rustix::fs::{Access, access};

use super::MissingProgram;

/// How many programs of a wrong version are named; more would bury the message.
const FOUND_SHOWN_MAX: usize = 8;

/// The folders in which servers lie, for folders that hold them in one way or another: as
/// `X/redis-server`, `X/bin/redis-server`, or side by side as `X/redis-8.0/bin/redis-server`, of
/// which the newest comes first.
pub(super) fn server_folders(given: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for folder in given {
        folders.extend([folder.clone(), folder.join("bin")]);
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut inner: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir() && !path.ends_with("bin"))
            .collect();
        inner.sort_by_key(|path| std::cmp::Reverse(numbers_in(path)));
        folders.extend(inner.into_iter().flat_map(|path| [path.join("bin"), path]));
    }
    folders
}

/// The numbers in a folder's name, so that `redis-10.0` is newer than `redis-9.1`.
fn numbers_in(path: &Path) -> Vec<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parts = name.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// Whether a path is a file that we may execute.
pub(super) fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// Reads `Redis server v=7.0.15 sha=…` or `Valkey server v=9.1.2 sha=…`.
pub(crate) fn parse_version(said: &str) -> Option<ServerVersion> {
    let line = said.lines().find(|line| line.contains(" v="))?;
    let software = match line.split_ascii_whitespace().next()? {
        "Redis" => Software::Redis,
        "Valkey" => Software::Valkey,
        _ => return None,
    };
    let (_, rest) = line.split_once(" v=")?;
    ServerVersion::parse(software, rest.split_ascii_whitespace().next()?)
}

/// The program that an image of unknown software is named after: `nginx` of `a/b/nginx:1.27`.
pub(super) fn program_name(image: &ImageRef) -> String {
    let text = image.to_string();
    let last = text.rsplit('/').next().unwrap_or(&text);
    let name = last.split(['@', ':']).next().unwrap_or(last);
    match name {
        // The project renamed itself, and its program did not.
        "twemproxy" => "nutcracker".to_owned(),
        _ => name.to_owned(),
    }
}

/// A program that is nowhere.
pub(super) fn missing_program(name: &str, folders: &[PathBuf]) -> MissingProgram {
    MissingProgram {
        reason: format!(
            "there is no program `{}` on this host; looked in {}",
            name.escape_debug(),
            list(folders)
        ),
        help: format!(
            "install `{}`, or put the folder that holds it on PATH",
            name.escape_debug()
        ),
    }
}

/// A server that is nowhere in a wanted version.
pub(super) struct MissingServer<'a> {
    pub(super) image: &'a ImageRef,
    pub(super) software: Software,
    pub(super) wanted: &'a [u32],
    /// What was found instead, in words.
    pub(super) found: &'a [String],
}

impl MissingServer<'_> {
    /// What was looked for, what was found where, and how to get it.
    pub(super) fn explain(&self, folders: &[PathBuf], system: Option<&str>) -> MissingProgram {
        let version: Vec<String> = self.wanted.iter().map(ToString::to_string).collect();
        let server = match &version[..] {
            [] => format!("{}-server", self.software),
            numbers => format!("{}-server {}", self.software, numbers.join(".")),
        };
        let found = match self.found {
            [] => format!("looked in {}", list(folders)),
            found => found[..found.len().min(FOUND_SHOWN_MAX)].join(", "),
        };
        let install = install_line(self.software, system);
        MissingProgram {
            reason: format!(
                "{} needs {server}, and this host has none: {found}",
                self.image
            ),
            help: format!("{install}; or name the folder of a {server} in SHARDYARD_SERVERS"),
        }
    }
}

/// How to get a server, by the text of `/etc/os-release`; a system without one is a Mac.
fn install_line(software: Software, system: Option<&str>) -> String {
    let Some(system) = system else {
        return format!("brew install {software}");
    };
    let fields = system.lines().filter_map(|line| line.split_once('='));
    let names: Vec<&str> = fields
        .filter(|(name, _)| ["ID", "ID_LIKE"].contains(name))
        .flat_map(|(_, value)| value.trim_matches('"').split(' '))
        .collect();
    let is = |name: &str| names.contains(&name);
    if is("debian") || is("ubuntu") {
        format!("sudo apt install {software}-server")
    } else if is("alpine") {
        format!("sudo apk add {software}")
    } else if is("fedora") || is("rhel") {
        format!("sudo dnf install {software}")
    } else if is("arch") {
        format!("sudo pacman -S {software}")
    } else if is("suse") {
        format!("sudo zypper install {software}")
    } else {
        format!("install the package {software} of your system")
    }
}

fn list(folders: &[PathBuf]) -> String {
    let names: Vec<String> = folders
        .iter()
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.display().to_string())
        .collect();
    match &names[..] {
        [] => "no folder: PATH is empty".to_owned(),
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_servers_say_them() {
        for (said, expected) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
                Some("redis 7.0.15"),
            ),
            (
                "Valkey server v=9.1.2 sha=00000000:0\n",
                Some("valkey 9.1.2"),
            ),
            ("warning\nValkey server v=8.1.1 sha=0", Some("valkey 8.1.1")),
            ("redis-cli 7.0.15", None),
            ("KeyDB server v=6.3.4 sha=0", None),
            ("", None),
        ] {
            let version = parse_version(said).map(|version| version.to_string());
            assert_eq!(version.as_deref(), expected, "{said}");
        }
    }

    #[test]
    fn the_newest_of_several_servers_side_by_side_comes_first() {
        let top = tempfile::tempdir().unwrap();
        for name in ["redis-9.1/bin", "redis-10.0/bin", "redis-9.0"] {
            fs::create_dir_all(top.path().join(name)).unwrap();
        }
        let folders = server_folders(&[top.path().to_owned()]);
        let inner = ["redis-10.0", "redis-9.1", "redis-9.0"];
        let mut expected = vec![top.path().to_owned(), top.path().join("bin")];
        for name in inner {
            expected.extend([top.path().join(name).join("bin"), top.path().join(name)]);
        }
        assert_eq!(folders, expected);
    }

    #[test]
    fn who_lacks_a_server_is_told_how_to_get_it() {
        let image = ImageRef::parse("redis:8.2").unwrap();
        let missing = MissingServer {
            image: &image,
            software: Software::Redis,
            wanted: &[8, 2],
            found: &["/usr/bin/redis-server is redis 7.0.15".to_owned()],
        };
        let missing = missing.explain(&[], Some("ID=ubuntu\nID_LIKE=debian\n"));
        assert_eq!(
            missing.reason,
            "redis:8.2 needs redis-server 8.2, and this host has none: /usr/bin/redis-server is \
             redis 7.0.15"
        );
        assert_eq!(
            missing.help,
            "sudo apt install redis-server; or name the folder of a redis-server 8.2 in \
             SHARDYARD_SERVERS"
        );
        for (system, line) in [
            (Some("ID=alpine"), "sudo apk add valkey"),
            (
                Some("ID=\"rocky\"\nID_LIKE=\"rhel centos\""),
                "sudo dnf install valkey",
            ),
            (Some("ID=arch"), "sudo pacman -S valkey"),
            (
                Some("ID=plan9"),
                "install the package valkey of your system",
            ),
            (None, "brew install valkey"),
        ] {
            assert_eq!(install_line(Software::Valkey, system), line);
        }
    }

    #[test]
    fn an_unknown_image_is_named_after_its_program() {
        for (image, name) in [
            ("nginx:1.27", "nginx"),
            ("h:5000/a/tool", "tool"),
            ("sh", "sh"),
        ] {
            assert_eq!(program_name(&ImageRef::parse(image).unwrap()), name);
        }
    }
}
