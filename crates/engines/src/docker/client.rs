//! The connection to a daemon: opened once, its version checked, its refusals in words of ours.
//!
//! bollard sends URLs without a version, so that every daemon answers in its own newest form; what
//! a daemon can do is decided here by the version that it gives. Nothing starts the `docker`
//! program; ssh runs it on the far side, because that is where the daemon's socket is.

use std::io;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use model::fault::{Class, Code, Explain};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::endpoint::{DockerSettings, Endpoint, EndpointError};

/// The oldest API that is spoken: that of Docker 20.10.
const API_MIN: ApiVersion = ApiVersion {
    major: 1,
    minor: 41,
};

/// How many seconds one answer may take. A start is the slowest: 100 at once took 23 s each on two
/// cores; a stop waits as long as its workload may take, and is asked for again.
const ANSWER_SECONDS: u64 = 120;

/// How long the first answer of a daemon may take.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// How long a daemon that has gone away may take to come back before a step fails. A restart of
/// dockerd with a hundred containers takes some ten seconds.
pub(crate) const RETURN_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks whether it is back.
const RETURN_PAUSE: Duration = Duration::from_millis(250);

/// A version of the Engine API.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ApiVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

/// Why a daemon does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It cannot be said where it is.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nobody answers.
    #[error("no Docker daemon answers at {endpoint}")]
    Absent {
        /// Where.
        endpoint: String,
        /// What happened.
        source: Box<Error>,
    },
    /// Its socket is not for us.
    #[error("the Docker socket {socket} is not open to this user")]
    NoPermission {
        /// The socket.
        socket: String,
        /// The group that may use it.
        group: Option<String>,
    },
    /// It does not answer in time.
    #[error("the Docker daemon at {endpoint} does not answer")]
    Mute {
        /// Where.
        endpoint: String,
    },
    /// It is older than what is needed.
    #[error(
        "the Docker daemon at {endpoint} speaks API {version}, and 1.41 (Docker 20.10) is needed"
    )]
    TooOld {
        /// Where.
        endpoint: String,
        /// What it says of itself.
        version: String,
    },
    /// Its disk is full.
    #[error("the disk of the Docker daemon is full")]
    DiskFull {
        /// What it says.
        message: String,
    },
    /// It refuses something.
    #[error("Docker cannot {what}: {message}")]
    Refused {
        /// What it was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// It answers in a way that cannot be understood.
    #[error("Docker's answer cannot be understood when it is asked to {what}")]
    Odd {
        /// What it was asked for.
        what: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
}

impl DaemonError {
    /// The HTTP status of a refusal.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Endpoint(_)
            | Self::Absent { .. }
            | Self::NoPermission { .. }
            | Self::Mute { .. }
            | Self::TooOld { .. }
            | Self::DiskFull { .. }
            | Self::Odd { .. } => None,
        }
    }

    /// Whether what was asked about is not there.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self.status(), Some(404))
    }

    /// What it said, where it refused.
    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Refused { message, .. } | Self::DiskFull { message } => message,
            Self::Endpoint(_)
            | Self::Absent { .. }
            | Self::NoPermission { .. }
            | Self::Mute { .. }
            | Self::TooOld { .. }
            | Self::Odd { .. } => "",
        }
    }

    /// Whether the daemon went away, so that the same can be asked again once it is back.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Absent { .. } | Self::Mute { .. } => true,
            // What dockerd answers while it goes down, and containerd's end as it shows.
            Self::Refused { message, .. } => [
                "shutting down",
                "transport is closing",
                "connection refused",
                "containerd.sock",
                "context canceled",
                "ttrpc: closed",
            ]
            .iter()
            .any(|it| message.contains(it)),
            Self::Endpoint(_)
            | Self::NoPermission { .. }
            | Self::TooOld { .. }
            | Self::DiskFull { .. }
            | Self::Odd { .. } => false,
        }
    }
}

impl Explain for DaemonError {
    fn code(&self) -> Code {
        match self {
            Self::Endpoint(error) => error.code(),
            Self::Absent { .. } | Self::Mute { .. } => Code("SY3201"),
            Self::NoPermission { .. } => Code("SY3202"),
            Self::TooOld { .. } => Code("SY3203"),
            Self::DiskFull { .. } => Code("SY3209"),
            Self::Refused { .. } | Self::Odd { .. } => Code("SY3205"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Endpoint(error) => error.class(),
            Self::Absent { .. }
            | Self::Mute { .. }
            | Self::NoPermission { .. }
            | Self::TooOld { .. } => Class::Unreachable,
            Self::DiskFull { .. } | Self::Refused { .. } | Self::Odd { .. } => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Endpoint(error) => error.help(),
            Self::Absent { .. } | Self::Mute { .. } => Some(
                "start it (systemctl start docker), name another one by DOCKER_HOST, or do without \
                 one: --engine process"
                    .to_owned(),
            ),
            Self::NoPermission { group, .. } => Some(match group {
                Some(group) => format!(
                    "its users are the group {group}: sudo usermod -aG {group} \"$USER\", then log \
                     in anew; whoever is in that group can become root on this host"
                ),
                None => "it is for root alone: run this as root, or name another daemon by \
                         DOCKER_HOST"
                    .to_owned(),
            }),
            Self::TooOld { .. } => {
                Some("bring Docker up to date, or do without: --engine process".to_owned())
            }
            Self::DiskFull { .. } => Some(
                "free some room (docker system df shows what takes it), then run this again: it \
                 goes on from where it is"
                    .to_owned(),
            ),
            Self::Refused { .. } => None,
            Self::Odd { .. } => Some("see whether it is Docker that answers there".to_owned()),
        }
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::DiskFull { message } => vec![message.clone()],
            Self::Endpoint(_)
            | Self::Absent { .. }
            | Self::NoPermission { .. }
            | Self::Mute { .. }
            | Self::TooOld { .. }
            | Self::Refused { .. }
            | Self::Odd { .. } => Vec::new(),
        }
    }
}

/// What is known of a daemon once it has answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    pub(crate) api: ApiVersion,
    /// Its host's name.
    pub(crate) host: String,
    /// Its host's processors.
    pub(crate) processors: u32,
    /// Its host's memory, in bytes.
    pub(crate) memory: u64,
    /// In the words of images: `amd64`.
    pub(crate) architecture: String,
    /// Its host's kernel.
    pub(crate) kernel: String,
    /// What it complains of.
    pub(crate) warnings: Vec<String>,
    /// Whether it limits swap; where it does not, it complains about a limit on it.
    pub(crate) limits_swap: bool,
}

/// A daemon that has answered.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) docker: Docker,
    pub(crate) endpoint: Endpoint,
    pub(crate) facts: Facts,
}

/// Reaches the daemon when it is first needed.
#[derive(Debug)]
pub(crate) struct Client {
    settings: DockerSettings,
    daemon: OnceCell<Daemon>,
}

impl Client {
    pub(crate) const fn new(settings: DockerSettings) -> Self {
        Self {
            settings,
            daemon: OnceCell::const_new(),
        }
    }

    /// The daemon, which answered at least once.
    pub(crate) async fn daemon(&self) -> Result<&Daemon, DaemonError> {
        self.daemon
            .get_or_try_init(|| async {
                let endpoint = Endpoint::find(&self.settings)?;
                connect(endpoint).await
            })
            .await
    }
}

async fn connect(endpoint: Endpoint) -> Result<Daemon, DaemonError> {
    let fail = |error| failure(&endpoint, "connect", error);
    let docker = open(&endpoint).map_err(fail)?;
    let hello = timeout(HELLO_LIMIT, docker.version()).await;
    let mute = || DaemonError::Mute {
        endpoint: endpoint.to_string(),
    };
    let version = hello.map_err(|_| mute())?.map_err(fail)?;
    let text = version.api_version.unwrap_or_default();
    let api = ApiVersion::parse(&text)
        .filter(|api| *api >= API_MIN)
        .ok_or_else(|| DaemonError::TooOld {
            endpoint: endpoint.to_string(),
            version: if text.is_empty() {
                "?".to_owned()
            } else {
                text.clone()
            },
        })?;
    let info = timeout(HELLO_LIMIT, docker.info()).await;
    let info = info.map_err(|_| mute())?.map_err(fail)?;
    let facts = Facts {
        api,
        host: info.name.unwrap_or_else(|| "docker".to_owned()),
        processors: info
            .ncpu
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(1)
            .max(1),
        memory: info
            .mem_total
            .and_then(|it| u64::try_from(it).ok())
            .unwrap_or(0),
        architecture: architecture(&info.architecture.unwrap_or_default()).to_owned(),
        kernel: info.kernel_version.unwrap_or_default(),
        warnings: info.warnings.unwrap_or_default(),
        limits_swap: info.swap_limit.unwrap_or(false),
    };
    Ok(Daemon {
        docker,
        endpoint,
        facts,
    })
}

fn open(endpoint: &Endpoint) -> Result<Docker, Error> {
    let version = bollard::API_DEFAULT_VERSION;
    match endpoint {
        Endpoint::Socket(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), ANSWER_SECONDS, version)
        }
        Endpoint::Tcp {
            address,
            certificates: None,
        } => Docker::connect_with_http(address, ANSWER_SECONDS, version),
        Endpoint::Tcp {
            address,
            certificates: Some(files),
        } => Docker::connect_with_ssl(
            address,
            &files.key,
            &files.certificate,
            &files.authority,
            ANSWER_SECONDS,
            version,
        ),
        Endpoint::Ssh(url) => Docker::connect_with_ssh(url, ANSWER_SECONDS, version, None),
    }
}

/// A machine's architecture in the words of images.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        "i686" | "i386" => "386",
        other => other,
    }
}

/// An error of the client in words of ours.
fn failure(endpoint: &Endpoint, what: &str, error: Error) -> DaemonError {
    if let Error::DockerResponseServerError {
        status_code,
        message,
    } = error
    {
        if message.contains("no space left on device") {
            return DaemonError::DiskFull { message };
        }
        return DaemonError::Refused {
            what: what.to_owned(),
            status: status_code,
            message: message.trim().to_owned(),
        };
    }
    if matches!(error, Error::RequestTimeoutError) {
        return DaemonError::Mute {
            endpoint: endpoint.to_string(),
        };
    }
    let kind = io_kind(&error);
    if let (Some(io::ErrorKind::PermissionDenied), Endpoint::Socket(path)) = (kind, endpoint) {
        return DaemonError::NoPermission {
            socket: path.display().to_string(),
            group: group_of(path),
        };
    }
    let lost = kind.is_some()
        || matches!(
            error,
            Error::SocketNotFoundError(_)
                | Error::HyperLegacyError { .. }
                | Error::HyperResponseError { .. }
                | Error::IOError { .. }
        );
    let source = Box::new(error);
    if lost {
        return DaemonError::Absent {
            endpoint: endpoint.to_string(),
            source,
        };
    }
    DaemonError::Odd {
        what: what.to_owned(),
        source,
    }
}

/// The system's error at the end of a chain.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    // A chain is as long as the libraries are deep.
    for _ in 0..16 {
        let error = next?;
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = error.source();
    }
    None
}

/// The group that may use a socket, by its name where it has one; `None` where only root may.
fn group_of(socket: &std::path::Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(socket).ok()?;
    if metadata.mode() & 0o020 == 0 || metadata.gid() == 0 {
        return None;
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(metadata.gid())).then(|| name.to_owned())
    });
    Some(name.unwrap_or_else(|| metadata.gid().to_string()))
}

impl Daemon {
    /// The answer to a question, or why there is none.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, DaemonError> {
        question.await.map_err(|error| self.failure(what, error))
    }

    /// The same where what is asked about may be missing.
    pub(crate) async fn ask_for<T>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, DaemonError> {
        match self.ask(what, question).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An error of the client in words of ours.
    pub(crate) fn failure(&self, what: &str, error: Error) -> DaemonError {
        failure(&self.endpoint, what, error)
    }

    /// Waits until a daemon that went away answers again; says whether it does.
    pub(crate) async fn is_back(&self) -> bool {
        let back = async {
            // The limit around it ends it.
            while self.docker.ping().await.is_err() {
                sleep(RETURN_PAUSE).await;
            }
        };
        timeout(RETURN_LIMIT, back).await.is_ok()
    }

    /// Whether its host is this one, so that what this kernel says holds for its containers.
    pub(crate) fn is_local(&self) -> bool {
        let uname = rustix::system::uname();
        matches!(self.endpoint, Endpoint::Socket(_))
            && uname.release().to_string_lossy() == self.facts.kernel
            && uname.nodename().to_string_lossy() == self.facts.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> DaemonError {
        let error = Error::DockerResponseServerError {
            status_code: 500,
            message: message.to_owned(),
        };
        failure(&Endpoint::Socket("/s".into()), "start x", error)
    }

    #[test]
    fn a_full_disk_a_going_daemon_and_a_plain_no_are_told_apart() {
        let full = refused("write /var/lib/docker/x: no space left on device");
        assert_eq!(full.code(), Code("SY3209"));
        assert!(refused("server is shutting down").is_passing());
        let plain = refused("No such image: redis:7");
        assert!(!plain.is_passing());
        assert_eq!(
            plain.to_string(),
            "Docker cannot start x: No such image: redis:7"
        );
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let parse = |text| ApiVersion::parse(text);
        assert!(parse("1.41").unwrap() >= API_MIN);
        assert!(parse("1.100").unwrap() >= API_MIN);
        assert!(parse("1.9").unwrap() < API_MIN);
        assert_eq!(parse("new"), None);
    }
}
