//! Finds the program of this host that an image stands for, and asks it for its version.
//!
//! The name of an image says what is wanted; what is there is believed only from its own mouth
//! (`--version`). Nothing is fetched or installed.

mod remembered;
pub(crate) mod search;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use model::fault::{Class, Code, Explain};
use model::image::{ImageRef, ServerVersion, Software};
use model::view::ImageView;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::translate::{Program, Wish};

/// How long a server may take to say its version. It needs milliseconds; on a host that swaps,
/// or from a network file system, seconds.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// The most that is read of what it says: a version is one line.
const VERSION_BYTES_MAX: u64 = 4096;

/// A program that is wanted is not on this host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct MissingProgram {
    /// What was looked for, and where.
    pub reason: String,
    /// How to get it.
    pub help: String,
}

impl Explain for MissingProgram {
    fn code(&self) -> Code {
        Code("SY3004")
    }

    fn class(&self) -> Class {
        Class::Failed
    }

    fn help(&self) -> Option<String> {
        Some(self.help.clone())
    }
}

/// A file and when it was changed: while both are the same, so is its version.
type Stamp = (u64, Option<SystemTime>);

/// What a program said of its version, or why it could not be asked.
type Said = Result<ServerVersion, String>;

/// The programs of this host.
#[derive(Debug)]
pub(crate) struct Images {
    /// Our own program.
    own: PathBuf,
    /// Folders that hold servers in one way or another.
    servers: Vec<PathBuf>,
    /// Where programs are looked for after that.
    search_path: Vec<PathBuf>,
    /// What was found out. Held while a program is asked, so that a hundred workloads of one
    /// image ask once.
    versions: Mutex<BTreeMap<PathBuf, (Stamp, Said)>>,
    /// Where versions are kept from one run to the next: asking takes longer than all else that a
    /// look at an instance does.
    remembered: PathBuf,
}

impl Images {
    /// Looks in the folders for servers first, then along the search path. What the servers said
    /// of their versions is kept in the file `remembered`.
    pub(crate) fn new(
        own: PathBuf,
        servers: Vec<PathBuf>,
        search_path: &OsStr,
        remembered: PathBuf,
    ) -> Self {
        let folders = std::env::split_paths(search_path);
        Self {
            own,
            servers,
            search_path: folders.filter(|folder| folder.is_absolute()).collect(),
            versions: Mutex::default(),
            remembered,
        }
    }

    /// Where programs are looked for, first to last. Looked up anew each time, so that a server
    /// that is installed while we run is found.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = search::server_folders(&self.servers);
        folders.extend(self.search_path.iter().cloned());
        // Debian keeps daemons such as nutcracker where only root's PATH leads.
        let daemons = PathBuf::from("/usr/sbin");
        if !folders.contains(&daemons) {
            folders.push(daemons);
        }
        folders
    }

    /// What this host makes of an image.
    pub(crate) async fn view(&self, image: &ImageRef) -> ImageView {
        match self.of_image(image).await {
            Ok(Program {
                server: Some(version),
                ..
            }) => ImageView::Server(version),
            Ok(Program { server: None, .. }) => ImageView::Program,
            Err(MissingProgram { reason, help }) => ImageView::Missing { reason, help },
        }
    }

    /// The program that a workload of this image asks for.
    pub(crate) async fn resolve(
        &self,
        image: &ImageRef,
        wish: &Wish,
    ) -> Result<Program, MissingProgram> {
        let name = match wish {
            Wish::Image => return self.of_image(image).await,
            Wish::Named(name) => name,
        };
        let beside = match image.software() {
            // The tools of a server are those that came with it.
            Software::Redis | Software::Valkey => Some(self.of_image(image).await?.path),
            Software::Shardyard | Software::Other => None,
        };
        let path = self.named(name, beside.as_deref());
        path.map(|path| Program { path, server: None })
            .ok_or_else(|| self.missing(name))
    }

    /// The program of this name: beside another first, then wherever programs are looked for. A
    /// path is taken as it is.
    pub(crate) fn named(&self, name: &str, beside: Option<&Path>) -> Option<PathBuf> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            return (path.is_absolute() && search::is_program(&path)).then_some(path);
        }
        let first = beside.and_then(Path::parent).map(Path::to_owned);
        let mut folders = first.into_iter().chain(self.folders());
        folders.find_map(|folder| {
            let path = folder.join(name);
            search::is_program(&path).then_some(path)
        })
    }

    /// What to say about a program that is nowhere.
    pub(crate) fn missing(&self, name: &str) -> MissingProgram {
        search::missing_program(name, &self.folders())
    }

    async fn of_image(&self, image: &ImageRef) -> Result<Program, MissingProgram> {
        let software = image.software();
        match software {
            Software::Redis | Software::Valkey => self.server(image, software).await,
            Software::Shardyard => Ok(Program {
                path: self.own.clone(),
                server: None,
            }),
            Software::Other => {
                let name = search::program_name(image);
                self.named(&name, None)
                    .map(|path| Program { path, server: None })
                    .ok_or_else(|| self.missing(&name))
            }
        }
    }

    async fn server(
        &self,
        image: &ImageRef,
        software: Software,
    ) -> Result<Program, MissingProgram> {
        let name = format!("{software}-server");
        let wanted = image.wanted_version();
        let folders = self.folders();
        let mut found = Vec::new();
        let paths = folders.iter().map(|folder| folder.join(&name));
        for path in paths.filter(|path| search::is_program(path)) {
            let said = self.version(&path).await;
            match said {
                Ok(version) if version.software == software && version.satisfies(&wanted) => {
                    return Ok(Program {
                        path,
                        server: Some(version),
                    });
                }
                Ok(version) => found.push(format!("{} is {version}", path.display())),
                Err(reason) => found.push(format!("{} {reason}", path.display())),
            }
        }
        let system = fs::read_to_string("/etc/os-release").ok();
        let missing = search::MissingServer {
            image,
            software,
            wanted: &wanted,
            found: &found,
        };
        Err(missing.explain(&folders, system.as_deref()))
    }

    async fn version(&self, path: &Path) -> Said {
        let stamp = fs::metadata(path).map(|file| (file.len(), file.modified().ok()));
        let stamp = stamp.map_err(|error| format!("cannot be read: {error}"))?;
        let mut versions = self.versions.lock().await;
        if let Some((known, said)) = versions.get(path)
            && *known == stamp
        {
            return said.clone();
        }
        if versions.is_empty() {
            *versions = remembered::read(&self.remembered);
            if let Some((known, said)) = versions.get(path)
                && *known == stamp
            {
                return said.clone();
            }
        }
        let said = ask_version(path).await;
        versions.insert(path.to_owned(), (stamp, said.clone()));
        remembered::write(&self.remembered, &versions);
        said
    }
}

async fn ask_version(path: &Path) -> Said {
    let asked = tokio::time::timeout(VERSION_LIMIT, first_words(path)).await;
    let said = match asked {
        Ok(Ok(said)) => said,
        Ok(Err(error)) => return Err(format!("cannot be run: {error}")),
        Err(_) => {
            return Err(format!(
                "did not say its version within {} s",
                VERSION_LIMIT.as_secs()
            ));
        }
    };
    search::parse_version(&said).ok_or_else(|| "does not say its version".to_owned())
}

async fn first_words(path: &Path) -> io::Result<String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = Vec::new();
    if let Some(output) = child.stdout.take() {
        output
            .take(VERSION_BYTES_MAX)
            .read_to_end(&mut said)
            .await?;
    }
    child.wait().await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
