//! Translates a workload, as the core knows it, into a process of this host: which program, which
//! arguments, which files where.
//!
//! Pure: the same workload gives the same launch. Which programs there are is an argument, found
//! out by `images`; nothing is looked up or written here.

pub(crate) mod place;
mod server_config;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use model::fault::{Class, Code, Explain};
use model::image::{ServerVersion, Software};
use model::size::ByteSize;
use model::workload::Workload;

use super::files::NewFile;
use super::folders::WorkloadFolder;
use super::launch::{Health, Kind, Launch, Print, milliseconds};

/// Why a workload cannot be a process of this host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TranslateError {
    /// A path of the container is not one.
    #[error("{what} `{target}` of {workload} is no absolute path without `..`")]
    Target {
        /// Whose: `the file`, `the volume`.
        what: &'static str,
        /// The path.
        target: String,
        /// The workload.
        workload: String,
    },
    /// A volume's name cannot be that of a folder.
    #[error("`{name}` of {workload} is no name of a volume")]
    VolumeName {
        /// The name.
        name: String,
        /// The workload.
        workload: String,
    },
    /// A path of this host cannot be passed on.
    #[error("the path {} holds characters that are no text", .0.display())]
    NoText(PathBuf),
}

impl Explain for TranslateError {
    fn code(&self) -> Code {
        Code("SY3003")
    }

    fn class(&self) -> Class {
        Class::Usage
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Target { .. } => {
                "write it in the template as /etc/redis/redis.conf or /data".to_owned()
            }
            Self::VolumeName { .. } => {
                "a volume's name has 1 to 64 letters, digits, `_`, `-` and `.`, and begins with a \
                 letter or a digit"
                    .to_owned()
            }
            Self::NoText(_) => "name a state folder of plain text in SHARDYARD_HOME".to_owned(),
        })
    }
}

/// The program that a workload's command asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// The one that its image stands for.
    Image,
    /// One of this name or path.
    Named(String),
}

/// The program that a workload's command asks for.
pub(crate) fn wish(workload: &Workload, folder: &WorkloadFolder) -> Result<Wish, TranslateError> {
    let places = place::places(workload, folder)?;
    let (named, _) = entry(workload);
    Ok(match named {
        None => Wish::Image,
        Some(name) => Wish::Named(place::word(&places, name)?),
    })
}

/// The program that a command names, `None` for that of its image, and what is left of the command
/// as arguments: the rules of the official images' entry points.
fn entry(workload: &Workload) -> (Option<&str>, &[String]) {
    let command = &workload.container.command[..];
    let Some((first, rest)) = command.split_first() else {
        return (None, command);
    };
    if first.starts_with('-') {
        return (None, command);
    }
    let name = first.rsplit('/').next().unwrap_or(first);
    match workload.image.software() {
        Software::Redis | Software::Valkey => match name {
            // Valkey's image knows its server by both names.
            "redis-server" | "valkey-server" => (None, rest),
            _ if first.ends_with(".conf") => (None, command),
            _ => (Some(first), rest),
        },
        Software::Shardyard => match name {
            "shardyard" => (None, rest),
            _ => (None, command),
        },
        Software::Other => (Some(first), rest),
    }
}

/// A program of this host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Program {
    /// Its full path.
    pub(crate) path: PathBuf,
    /// Its version where it is a server of Redis or Valkey.
    pub(crate) server: Option<ServerVersion>,
}

/// How a workload is started.
pub(crate) fn launch(
    workload: &Workload,
    folder: &WorkloadFolder,
    program: &Program,
    environment: &BTreeMap<String, String>,
) -> Result<Launch, TranslateError> {
    let places = place::places(workload, folder)?;
    let cwd = places
        .volumes
        .first()
        .map_or_else(|| folder.work(), |(_, path)| path.clone());
    let (_, words) = entry(workload);
    let mut arguments = words
        .iter()
        .map(|word| place::word(&places, word))
        .collect::<Result<Vec<String>, TranslateError>>()?;
    if let Some(version) = program.server {
        arguments.extend(own_address(workload.address.ip, version));
    }
    if is_nutcracker(workload) {
        arguments.extend(own_statistics(workload.address.ip));
    }
    let mut all = environment.clone();
    // A home of its own, so that no program reads or writes the user's.
    all.insert("HOME".to_owned(), place::text(&cwd)?);
    all.extend(workload.environment().clone());
    Ok(Launch {
        fingerprint: Print(workload.fingerprint()),
        kind: Kind::from(workload.kind),
        program: program.path.clone(),
        arguments,
        environment: all,
        folder: cwd,
        ip: workload.address.ip,
        port: workload.address.port,
        places,
        health: workload.health.as_ref().map(Health::from),
        restart: workload.restart.into(),
        stop_timeout_ms: milliseconds(workload.stop_timeout),
        memory_bytes: workload.memory().map(ByteSize::as_bytes),
    })
}

/// What tells a server its own address, on a host where each server has one of its own.
///
/// `bind` alone is not enough: connections to other nodes come from 127.0.0.1 then, and
/// `redis-cli --cluster create` waits for ever (seen with Redis 7.0 and 8.0, Valkey 8.1 and 9.1).
/// With `cluster-announce-ip` alone a primary names its replicas 127.0.0.1. `bind-source-addr`
/// settles both; it exists since Redis 7.0, and before that the first `bind` address did the same
/// (anet.c, `NET_FIRST_BIND_ADDR`). The announced address keeps a node right when its nodes.conf
/// comes from another address. `daemonize` in a config file would take the server out of sight.
///
/// Protected mode before Redis 7.2 takes no other address than 127.0.0.1 for a local one, and
/// refuses the replicas. A server at an address of 127.0.0.0/8 is out of reach from elsewhere
/// without it; the entry points of the official images switch it off too.
fn own_address(ip: IpAddr, version: ServerVersion) -> Vec<String> {
    let address = ip.to_string();
    let mut arguments = vec!["--bind", &address, "--cluster-announce-ip", &address];
    if version.major >= 7 {
        arguments.extend(["--bind-source-addr", &address]);
    }
    if ip.is_loopback() {
        arguments.extend(["--protected-mode", "no"]);
    }
    arguments.extend(["--daemonize", "no"]);
    arguments.into_iter().map(str::to_owned).collect()
}

/// Whether a workload is a proxy of that name. Unlike a server it takes the address at which it
/// listens from its file alone: all of a container's are its own, and here only one is.
fn is_nutcracker(workload: &Workload) -> bool {
    let first = workload.container.command.first();
    first.is_some_and(|word| word.rsplit('/').next() == Some("nutcracker"))
}

/// Where nutcracker (0.5.0) tells its statistics: at port 22222 of every address unless it is told
/// otherwise, which a second one on this host could not have, too.
fn own_statistics(ip: IpAddr) -> [String; 2] {
    ["--stats-addr".to_owned(), ip.to_string()]
}

/// The files of a workload, each where the workload finds it on this host.
pub(crate) fn files(
    workload: &Workload,
    folder: &WorkloadFolder,
) -> Result<Vec<NewFile>, TranslateError> {
    let places = place::places(workload, folder)?;
    let is_server = match workload.image.software() {
        Software::Redis | Software::Valkey => true,
        Software::Shardyard | Software::Other => false,
    };
    workload
        .files
        .iter()
        .zip(&places.files)
        .map(|(file, (_, path))| {
            // A `nodes.conf` has no setting that takes a path, and stays as it is.
            let text = if is_server {
                server_config::with_own_paths(file.text.expose(), &places)?
            } else if is_nutcracker(workload) {
                let listen = format!("listen: {}:", workload.address.ip);
                file.text.expose().replace("listen: 0.0.0.0:", &listen)
            } else {
                file.text.expose().to_owned()
            };
            Ok(NewFile {
                path: path.clone(),
                text: text.into_bytes(),
                existing: file.existing,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
