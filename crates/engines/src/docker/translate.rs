//! Translates a workload, as the core knows it, into a container: what it is created with, which
//! volumes it has, and which files are put into them before it starts.
//!
//! Pure: the same workload gives the same container. It is hardened unless the template says
//! otherwise, and a secret is in a file of a volume only, never in an argument or an environment.

mod hardening;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, Mount, MountType,
    NetworkingConfig, PortBinding,
};
use model::address::BUS_PORT_OFFSET;
use model::fault::{Class, Code, Explain};
use model::image::Software;
use model::instance::Expose;
use model::spec::{HealthCheck, Probe, RestartPolicy, ServiceKind};
use model::workload::{Existing, Workload};

use super::names::{self, Owner, Part};
pub(crate) use settings::{Persistence, ServerSettings};

/// The user of the official images, which is not root. Any number does where no user is needed.
const USER: &str = "999:999";

/// How often Docker itself checks a server that it can reach by the server's own client. Each check
/// starts a process in the container, some 0.1 s of a processor: at the 2 s of a template, a host
/// with a hundred containers would do little else. What `up` and `status` need sooner they ask the
/// servers themselves.
const CHECK_INTERVAL_SECONDS_MIN: i64 = 30;

/// How long such a process may take on a busy host.
const CHECK_TIMEOUT_SECONDS_MIN: i64 = 5;

/// Why a workload cannot be a container.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TranslateError {
    /// A file has no folder that a volume could be.
    #[error("the file `{target}` of {workload} lies in no folder of its own")]
    NoFolder {
        /// The file.
        target: String,
        /// The workload.
        workload: String,
    },
    /// Its user has no numbers.
    #[error("`{user}` of {workload} is no user of the form uid:gid")]
    User {
        /// The user.
        user: String,
        /// The workload.
        workload: String,
    },
    /// A port of the host has no room for the port of the cluster bus.
    #[error("the port {port} of {workload} leaves no port for the cluster bus")]
    NoBusPort {
        /// The port.
        port: u16,
        /// The workload.
        workload: String,
    },
}

impl Explain for TranslateError {
    fn code(&self) -> Code {
        Code("SY3211")
    }

    fn class(&self) -> Class {
        Class::Usage
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoFolder { .. } => {
                "write its target in the template as /etc/redis/redis.conf".to_owned()
            }
            Self::User { .. } => "write it in the template as \"999:999\"".to_owned(),
            Self::NoBusPort { .. } => "use a port below 55536".to_owned(),
        })
    }
}

/// A container that is to be made.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Blueprint {
    pub(crate) name: String,
    pub(crate) body: ContainerCreateBody,
    pub(crate) volumes: Vec<Storage>,
}

/// A volume of it, and what is put into it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Storage {
    pub(crate) name: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) target: String,
    /// Who owns it.
    pub(crate) owner: (u32, u32),
    pub(crate) files: Vec<StoredFile>,
}

/// A file of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredFile {
    /// Its path within the volume.
    pub(crate) path: String,
    pub(crate) text: model::secret::Secret,
    pub(crate) existing: Existing,
}

/// What of the daemon's host a container depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ground {
    pub(crate) processors: u32,
    pub(crate) limits_swap: bool,
    /// Whether limits of open files and the like are asked for. A daemon without the right to
    /// raise them fails at the start of a container that asks for more than its own.
    pub(crate) with_ulimits: bool,
}

/// The container of a workload.
pub(crate) fn blueprint(
    owner: &Owner,
    workload: &Workload,
    ground: Ground,
) -> Result<Blueprint, TranslateError> {
    let ids = user(workload)?;
    let volumes = volumes(owner, workload, ids)?;
    let role = Role::of(workload);
    let ports = ports(workload, &role)?;
    let mut host = hardening::host_config(workload, &role, ground);
    host.network_mode = Some(owner.network());
    host.mounts = Some(mounts(workload, &volumes));
    host.port_bindings = Some(bindings(&ports));
    let body = ContainerCreateBody {
        hostname: Some(workload.name.to_string()),
        user: Some(format!("{}:{}", ids.0, ids.1)),
        env: Some(environment(workload)),
        cmd: Some(command(workload, &role)).filter(|it| !it.is_empty()),
        image: Some(workload.image.to_string()),
        working_dir: working_folder(workload, &role),
        labels: Some(labels(owner, workload, &role)),
        stop_timeout: i64::try_from(workload.stop_timeout.as_secs()).ok(),
        healthcheck: workload
            .health
            .as_ref()
            .and_then(|health| health_check(health, &role)),
        exposed_ports: Some(ports.iter().map(|it| it.inside()).collect()),
        networking_config: Some(networking(owner, workload)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    Ok(Blueprint {
        name: owner.container(&workload.name),
        body,
        volumes,
    })
}

/// What runs in a workload, as far as its container depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// A Redis or Valkey server with these settings.
    Server {
        software: Software,
        settings: ServerSettings,
    },
    /// Anything else.
    Other,
}

impl Role {
    pub(crate) fn of(workload: &Workload) -> Self {
        let software = workload.image.software();
        let is_database = matches!(software, Software::Redis | Software::Valkey);
        if !(is_database && workload.kind == ServiceKind::Server && runs_server(workload)) {
            return Self::Other;
        }
        let files: Vec<&str> = workload.files.iter().map(|it| it.text.expose()).collect();
        let settings = ServerSettings::of(&files, &workload.container.command);
        Self::Server { software, settings }
    }

    const fn server(&self) -> Option<&ServerSettings> {
        match self {
            Self::Server { settings, .. } => Some(settings),
            Self::Other => None,
        }
    }
}

/// Whether a command starts the server itself, by the rules of the official images' entry points.
fn runs_server(workload: &Workload) -> bool {
    let words = &workload.container.command;
    let Some(first) = words.first() else {
        return true;
    };
    let name = first.rsplit('/').next().unwrap_or(first);
    let is_server = ["redis-server", "valkey-server"].contains(&name)
        || first.starts_with('-')
        || first.ends_with(".conf");
    is_server && !workload.container.runs_sentinel()
}

/// The command, and what a server is told beyond it: its own address, so that it never guesses.
fn command(workload: &Workload, role: &Role) -> Vec<String> {
    let mut words = workload.container.command.clone();
    let Role::Server { software, settings } = role else {
        return words;
    };
    if words.is_empty() {
        words.push(program(*software, "server"));
    }
    let mut say = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    // As in the official images: the network is the instance's own, and a template that wants
    // protected mode says so.
    if !settings.names_protected_mode {
        say("protected-mode", "no".to_owned());
    }
    let (ip, port) = (workload.address.ip, workload.address.port);
    if settings.in_cluster {
        say("cluster-announce-ip", ip.to_string());
    }
    if let Expose::Host(_) = workload.expose {
        if settings.in_cluster {
            say("cluster-announce-port", port.to_string());
            let bus = port.saturating_add(BUS_PORT_OFFSET);
            say("cluster-announce-bus-port", bus.to_string());
        }
        say("replica-announce-ip", ip.to_string());
        say("replica-announce-port", port.to_string());
    }
    words
}

/// `redis-server`, `valkey-cli`.
fn program(software: Software, tool: &str) -> String {
    let product = match software {
        Software::Valkey => "valkey",
        Software::Redis | Software::Shardyard | Software::Other => "redis",
    };
    format!("{product}-{tool}")
}

fn environment(workload: &Workload) -> Vec<String> {
    let own = workload.environment().iter();
    own.map(|(name, value)| format!("{name}={value}")).collect()
}

/// A server writes what it keeps beside where it starts, unless its file says otherwise.
fn working_folder(workload: &Workload, role: &Role) -> Option<String> {
    role.server()?;
    let volume = workload.container.volumes.first()?;
    Some(volume.target.clone())
}

fn user(workload: &Workload) -> Result<(u32, u32), TranslateError> {
    let user = workload.container.user.as_deref().unwrap_or(USER);
    let ids = user
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.ok_or_else(|| TranslateError::User {
        user: user.to_owned(),
        workload: workload.name.to_string(),
    })
}

/// The template's volumes, and one for each further folder in which files lie.
fn volumes(
    owner: &Owner,
    workload: &Workload,
    ids: (u32, u32),
) -> Result<Vec<Storage>, TranslateError> {
    let own = workload.container.volumes.iter();
    let mut volumes: Vec<Storage> = own
        .filter(|volume| volume.host_folder.is_none())
        .map(|volume| Storage {
            name: owner.volume(&workload.name, &volume.name),
            labels: volume_labels(owner, workload, (Part::Data, trimmed(&volume.target))),
            target: trimmed(&volume.target).to_owned(),
            owner: ids,
            files: Vec::new(),
        })
        .collect();
    let mut files = 0;
    for file in &workload.files {
        let stored = |path: &str| StoredFile {
            path: path.to_owned(),
            text: file.text.clone(),
            existing: file.existing,
        };
        // The nearest of nested volumes has it.
        let nearest = volumes
            .iter_mut()
            .filter_map(|volume| {
                let path = below(&file.target, &volume.target)?.to_owned();
                Some((volume, path))
            })
            .max_by_key(|(volume, _)| volume.target.len());
        if let Some((volume, path)) = nearest {
            volume.files.push(stored(&path));
            continue;
        }
        let folder = file.target.rsplit_once('/');
        let Some((folder, name)) = folder.filter(|(folder, name)| {
            folder.starts_with('/') && folder.len() > 1 && !name.is_empty()
        }) else {
            return Err(TranslateError::NoFolder {
                target: file.target.clone(),
                workload: workload.name.to_string(),
            });
        };
        files += 1;
        volumes.push(Storage {
            name: owner.files(&workload.name, files),
            labels: volume_labels(owner, workload, (Part::Files, folder)),
            target: folder.to_owned(),
            owner: ids,
            files: vec![stored(name)],
        });
    }
    Ok(volumes)
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// The rest of a path below a folder.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

fn mounts(workload: &Workload, volumes: &[Storage]) -> Vec<Mount> {
    let named = volumes.iter().map(|volume| Mount {
        target: Some(volume.target.clone()),
        source: Some(volume.name.clone()),
        typ: Some(MountType::VOLUME),
        ..Mount::default()
    });
    let of_host = workload.container.volumes.iter().filter_map(|volume| {
        Some(Mount {
            target: Some(volume.target.clone()),
            source: Some(volume.host_folder.clone()?),
            typ: Some(MountType::BIND),
            ..Mount::default()
        })
    });
    named.chain(of_host).collect()
}

/// A port that is published on an address of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Published {
    inside: u16,
    outside: u16,
    at: IpAddr,
}

impl Published {
    fn inside(&self) -> String {
        format!("{}/tcp", self.inside)
    }
}

fn ports(workload: &Workload, role: &Role) -> Result<Vec<Published>, TranslateError> {
    let Expose::Host(at) = workload.expose else {
        return Ok(Vec::new());
    };
    let outside = workload.address.port;
    let Some(inside) = workload.container.ports.first().copied() else {
        return Ok(Vec::new());
    };
    let mut ports = vec![Published {
        inside,
        outside,
        at,
    }];
    if role.server().is_some_and(|it| it.in_cluster) {
        let bus = |port: u16| {
            port.checked_add(BUS_PORT_OFFSET)
                .ok_or_else(|| TranslateError::NoBusPort {
                    port,
                    workload: workload.name.to_string(),
                })
        };
        ports.push(Published {
            inside: bus(inside)?,
            outside: bus(outside)?,
            at,
        });
    }
    Ok(ports)
}

fn bindings(ports: &[Published]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let binding = |port: &Published| PortBinding {
        host_ip: Some(port.at.to_string()),
        host_port: Some(port.outside.to_string()),
    };
    ports
        .iter()
        .map(|port| (port.inside(), Some(vec![binding(port)])))
        .collect()
}

/// The network with the fixed address; one that is exposed by the host needs no fixed one.
fn networking(owner: &Owner, workload: &Workload) -> NetworkingConfig {
    let address = match workload.expose {
        Expose::Network => Some(EndpointIpamConfig {
            ipv4_address: Some(workload.address.ip.to_string()),
            ..EndpointIpamConfig::default()
        }),
        Expose::Host(_) => None,
    };
    let endpoint = EndpointSettings {
        ipam_config: address,
        aliases: Some(vec![workload.name.to_string()]),
        ..EndpointSettings::default()
    };
    NetworkingConfig {
        endpoints_config: Some(HashMap::from([(owner.network(), endpoint)])),
    }
}

fn labels(owner: &Owner, workload: &Workload, role: &Role) -> HashMap<String, String> {
    let mut labels = owner.workload_labels(Part::Workload, &workload.name);
    let kind = match workload.kind {
        ServiceKind::Server => "server",
        ServiceKind::Job => "job",
    };
    let mut say = |name: &str, value: String| {
        labels.insert(name.to_owned(), value);
    };
    say(names::KIND, kind.to_owned());
    say(names::FINGERPRINT, workload.fingerprint().to_string());
    say(names::ADDRESS, workload.address.to_string());
    if let Some(port) = workload.container.ports.first() {
        say(names::PORT, port.to_string());
    }
    if let Some(memory) = workload.memory() {
        say(names::MEMORY, memory.as_bytes().to_string());
    }
    if let Some(Probe::Tcp(_)) = workload.health.as_ref().map(|it| &it.probe) {
        say(names::PROBE, workload.address.to_string());
    }
    if let Some(settings) = role.server() {
        say(names::LOADS, loads(settings).to_owned());
    }
    labels
}

/// The check that Docker itself does. It has none for a port: a server is asked by its own client,
/// and what else listens on a port is tried by us alone.
fn health_check(health: &HealthCheck, role: &Role) -> Option<HealthConfig> {
    let nanoseconds =
        |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let seconds = |count: i64| count * 1_000_000_000;
    let (interval, timeout) = (nanoseconds(health.interval), nanoseconds(health.timeout));
    let (words, interval, timeout) = match (&health.probe, role) {
        (Probe::Exec(words), _) => (words.clone(), interval, timeout),
        (Probe::Tcp(port), Role::Server { software, .. }) => (
            vec![
                program(*software, "cli"),
                "-p".to_owned(),
                port.to_string(),
                "ping".to_owned(),
            ],
            interval.max(seconds(CHECK_INTERVAL_SECONDS_MIN)),
            timeout.max(seconds(CHECK_TIMEOUT_SECONDS_MIN)),
        ),
        (Probe::Tcp(_), Role::Other) => return None,
    };
    let test = std::iter::once("CMD".to_owned()).chain(words).collect();
    Some(HealthConfig {
        test: Some(test),
        interval: Some(interval),
        timeout: Some(timeout),
        retries: Some(i64::from(health.retries)),
        start_period: Some(nanoseconds(health.start_period)),
        start_interval: None,
    })
}

/// Whether Docker may start a container again by itself.
///
/// A node of a cluster that only saves from time to time comes back with what it saved last, sooner
/// than its replica is elected, and has the replica copy that: it stays down, so that the replica
/// takes over, and `up` starts it as a replica.
pub(crate) fn restarts(workload: &Workload, role: &Role) -> RestartPolicy {
    let stale = role
        .server()
        .is_some_and(|it| it.in_cluster && it.persistence != Persistence::Log);
    if stale {
        RestartPolicy::Never
    } else {
        workload.restart
    }
}

/// The labels of a volume: all that it takes to look into it once its container is gone.
fn volume_labels(
    owner: &Owner,
    workload: &Workload,
    (part, target): (Part, &str),
) -> HashMap<String, String> {
    let mut labels = owner.workload_labels(part, &workload.name);
    let mut say = |name: &str, value: &str| {
        labels.insert(name.to_owned(), value.to_owned());
    };
    say(names::TARGET, target);
    say(names::IMAGE, &workload.image.to_string());
    if let Some(settings) = Role::of(workload).server() {
        say(names::LOADS, loads(settings));
    }
    labels
}

const fn loads(settings: &ServerSettings) -> &'static str {
    match settings.persistence {
        Persistence::Log => "log",
        Persistence::Snapshots | Persistence::Off => "dump",
    }
}

/// A container's host configuration, for the tests of what it holds.
#[cfg(test)]
pub(crate) fn host_of(blueprint: &Blueprint) -> &bollard::models::HostConfig {
    blueprint.body.host_config.as_ref().unwrap()
}
