//! How a workload is started, with nothing left to decide: what launch.json holds.
//!
//! This is the engine's own format on disk, apart from the shared nouns, so that neither changes
//! with the other. It holds no secret: those stand in files of mode 0600 only.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::spec;
use model::workload::Fingerprint;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How a workload is started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Stands for the definition that this was made from.
    pub(crate) fingerprint: Print,
    /// Whether it stays or runs to its end.
    pub(crate) kind: Kind,
    /// The program, by its full path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// All of its environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// The address at which it answers.
    pub(crate) ip: IpAddr,
    /// The port at which it answers; 0 for none.
    pub(crate) port: u16,
    /// Where a path of the container lies on this host.
    pub(crate) places: Places,
    /// How to tell that it is up.
    pub(crate) health: Option<Health>,
    /// What happens when it ends.
    pub(crate) restart: Restart,
    /// How long it may take to stop before it is killed.
    pub(crate) stop_timeout_ms: u64,
    /// The memory that it may use, for whoever adds up what a host has promised; it is a server's
    /// own `maxmemory` that keeps to it. Absent in records of before it was kept.
    #[serde(default)]
    pub(crate) memory_bytes: Option<u64>,
}

impl Launch {
    /// How long it may take to stop before it is killed.
    pub(crate) const fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.stop_timeout_ms)
    }

    /// Where it answers; `None` where it answers nowhere.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        (self.port != 0).then_some(SocketAddr::new(self.ip, self.port))
    }
}

/// Where a container's paths lie on this host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Places {
    /// The volumes: target and folder.
    pub(crate) volumes: Vec<(String, PathBuf)>,
    /// The files: target and path.
    pub(crate) files: Vec<(String, PathBuf)>,
}

/// Whether a workload stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// It runs until it is told to stop.
    Server,
    /// It runs to its end.
    Job,
}

impl From<spec::ServiceKind> for Kind {
    fn from(kind: spec::ServiceKind) -> Self {
        match kind {
            spec::ServiceKind::Server => Self::Server,
            spec::ServiceKind::Job => Self::Job,
        }
    }
}

/// What happens when a workload ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Restart {
    /// It is started again.
    Always,
    /// It is started again unless it ended well.
    OnFailure,
    /// It stays as it is.
    Never,
}

impl From<spec::RestartPolicy> for Restart {
    fn from(policy: spec::RestartPolicy) -> Self {
        match policy {
            spec::RestartPolicy::Always => Self::Always,
            spec::RestartPolicy::OnFailure => Self::OnFailure,
            spec::RestartPolicy::Never => Self::Never,
        }
    }
}

/// How to tell that a workload is up. The interval and the number of tries are left out: this
/// engine tries once for each observation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Health {
    /// What is tried.
    pub(crate) probe: Probe,
    /// How long a try may take.
    pub(crate) timeout_ms: u64,
}

/// What a health check tries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Probe {
    /// A connection to this port.
    Tcp(u16),
    /// A command that ends with exit code 0.
    Exec(Vec<String>),
}

impl From<&spec::HealthCheck> for Health {
    fn from(check: &spec::HealthCheck) -> Self {
        Self {
            probe: match &check.probe {
                spec::Probe::Tcp(port) => Probe::Tcp(*port),
                spec::Probe::Exec(command) => Probe::Exec(command.clone()),
            },
            timeout_ms: milliseconds(check.timeout),
        }
    }
}

/// A time in whole milliseconds; what does not fit is the longest time there is.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A fingerprint as it stands in a record: as text, because JSON readers lose digits of numbers
/// beyond 2^53.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Print(pub(crate) Fingerprint);

impl Serialize for Print {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Print {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let print = Fingerprint::parse(&text).map(Self);
        print.ok_or_else(|| de::Error::custom("a fingerprint has 16 hexadecimal digits"))
    }
}
