//! The intended state: what a template says once its variables are filled in.
//!
//! A `Spec` has no addresses. Where its workloads sit is decided once, as the instance's layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::ids::{ServiceName, TemplateName};
use crate::image::{ImageRef, Software};
use crate::secret::Secret;
use crate::size::ByteSize;

/// The value of a template's variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// An amount of memory.
    Size(ByteSize),
    /// Yes or no.
    Bool(bool),
    /// A line of text without control characters.
    Text(String),
    /// A text that must not be seen.
    Secret(Secret),
}

/// Shown to people; a secret is not.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(out, "{number}"),
            Self::Size(size) => write!(out, "{size}"),
            Self::Bool(true) => out.write_str("yes"),
            Self::Bool(false) => out.write_str("no"),
            Self::Text(text) => out.write_str(text),
            Self::Secret(_) => out.write_str("(secret)"),
        }
    }
}

/// What an instance is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// The template it was made from.
    pub template: TemplateName,
    /// Its services and jobs, in the order in which they start.
    pub services: Vec<Service>,
    /// With which user applications log in; `None` where the servers ask for no password.
    pub application: Option<Credentials>,
    /// With which user Shardyard logs in; `None` where the servers ask for no password.
    pub operator: Option<Credentials>,
    /// Jobs that run at a turn of the instance's life rather than in start order.
    pub hooks: Hooks,
    /// The service that clients speak to, where it is not the one that holds the keys.
    pub clients: Option<ServiceName>,
}

impl Spec {
    /// The services whose workloads have no cluster bus: all but servers that hold keys.
    #[must_use]
    pub fn without_bus(&self) -> BTreeSet<ServiceName> {
        let services = self.services.iter().filter(|it| !it.holds_keys());
        services.map(|it| it.name.clone()).collect()
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| service.name == *name)
    }
}

/// A user and its password.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Credentials {
    /// The ACL user (Redis 6 and later); `default` is the one that needs no name.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// The jobs that a turn of the instance's life runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hooks {
    /// Run once everything is delivered for the first time.
    pub after_create: Option<ServiceName>,
    /// Run after workloads were added.
    pub after_scale_out: Option<ServiceName>,
    /// Run before workloads leave.
    pub before_scale_in: Option<ServiceName>,
    /// Run before the instance and its data are deleted.
    pub before_delete: Option<ServiceName>,
}

impl Hooks {
    /// Whether a turn runs this job, which then has no place in the start order.
    #[must_use]
    pub fn run(&self, job: &ServiceName) -> bool {
        [
            &self.after_create,
            &self.after_scale_out,
            &self.before_scale_in,
            &self.before_delete,
        ]
        .into_iter()
        .flatten()
        .any(|name| name == job)
    }
}

/// A group of equal workloads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its name within the template.
    pub name: ServiceName,
    /// Whether its workloads stay or run to their end.
    pub kind: ServiceKind,
    /// What its workloads are made from.
    pub image: ImageRef,
    /// How many workloads it has; a cluster's is shards × (1 + replicas).
    pub count: u32,
    /// The container's parameters.
    pub container: Container,
    /// The config files that each workload gets.
    pub files: Vec<FileTemplate>,
    /// How to tell that a workload is up.
    pub health: Option<HealthCheck>,
    /// Where and in which order its workloads start, and what happens when one ends.
    pub deployment: Deployment,
    /// Set where the built-in steward forms these workloads into a cluster and manages it.
    pub cluster: Option<ClusterPart>,
}

impl Service {
    /// Whether its workloads are servers of Redis or Valkey that hold keys. A sentinel is made from
    /// the same image, answers the same protocol, and holds none.
    #[must_use]
    pub fn holds_keys(&self) -> bool {
        self.kind == ServiceKind::Server
            && matches!(self.image.software(), Software::Redis | Software::Valkey)
            && !self.container.runs_sentinel()
    }
}

/// Whether a workload stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceKind {
    /// It runs until it is told to stop.
    Server,
    /// It runs to its end, which is good with exit code 0 only.
    Job,
}

/// A cluster that the steward forms and manages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClusterPart {
    /// The number of shards, 1 to 16384.
    pub shards: u16,
    /// The number of replicas of each shard.
    pub replicas: u16,
}

/// The parameters of a workload's container. An engine without containers applies those that
/// its `Capabilities` name and says which it leaves out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Container {
    /// The command and its arguments; empty for the image's own.
    pub command: Vec<String>,
    /// Environment variables. Never a secret: an environment can be read by others.
    pub environment: BTreeMap<String, String>,
    /// The most memory that the workload may use.
    pub memory: Option<ByteSize>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u32>,
    /// Limits such as `nofile`, the same for soft and hard.
    pub ulimits: BTreeMap<String, u64>,
    /// Kernel settings of the container's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Storage that outlives the workload.
    pub volumes: Vec<Volume>,
    /// The ports on which it answers; the first is its `.Port` in a config file.
    pub ports: Vec<u16>,
    /// `uid:gid` of its processes.
    pub user: Option<String>,
    /// Whether everything but its volumes is read-only.
    pub read_only_root: bool,
}

impl Container {
    /// Whether its command starts a sentinel: the same program as a server, in another mode.
    #[must_use]
    pub fn runs_sentinel(&self) -> bool {
        self.command.iter().any(|word| {
            let name = word.rsplit('/').next().unwrap_or(word);
            ["--sentinel", "redis-sentinel", "valkey-sentinel"].contains(&name)
        })
    }
}

/// Storage of one workload that outlives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its name within the workload.
    pub name: String,
    /// Where the workload sees it: an absolute path.
    pub target: String,
    /// The folder of the host that it is, where it is none of the instance's own. Only taken where
    /// the user allows it by name.
    pub host_folder: Option<String>,
}

/// A config file of a workload before it is rendered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileTemplate {
    /// The template's file that it comes from, for messages.
    pub source: String,
    /// The text, in the language of Go's text/template.
    pub text: String,
    /// Where the workload sees it: an absolute path.
    pub target: String,
    /// Whether it is the workload's own from its first start on: a server that notes its role in
    /// its config file must find there what it wrote, and not what was true when it was made.
    pub keep: bool,
}

/// How to tell that a workload is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// The pause between two tries.
    pub interval: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// How many tries in a row must fail before a workload that was up counts as down.
    pub retries: u32,
    /// How long a workload may take to come up before a failed try counts.
    pub start_period: Duration,
}

/// What a health check tries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// A connection to this port.
    Tcp(u16),
    /// A command in the workload that ends with exit code 0.
    Exec(Vec<String>),
}

/// Where and in which order workloads start, and what happens when one ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deployment {
    /// How workloads are put on hosts.
    pub strategy: Strategy,
    /// Which resource decides between hosts that the strategy holds for equal.
    pub by: Resource,
    /// Labels that a host must carry.
    pub host_labels: BTreeMap<String, String>,
    /// Lower starts first; equal ones start together. It follows from the template's priorities
    /// and from what a service must start after.
    pub start_level: u32,
    /// What happens when a workload ends.
    pub restart: RestartPolicy,
    /// How long a workload may take to stop before it is killed.
    pub stop_timeout: Duration,
}

/// How workloads are put on hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// On as many hosts as there are.
    Spread,
    /// On as few hosts as will do.
    Pack,
}

/// A resource of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Free memory.
    Memory,
    /// Free processors.
    Cpu,
    /// Little input and output.
    Io,
}

/// What happens when a workload ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestartPolicy {
    /// It is started again, with a pause that grows.
    Always,
    /// It is started again unless it ended with exit code 0.
    OnFailure,
    /// It stays as it is.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_value_is_not_shown() {
        let value = Value::Secret(Secret::new("hunter2"));
        assert_eq!(value.to_string(), "(secret)");
        assert!(!format!("{value:?}").contains("hunter2"));
    }
}
