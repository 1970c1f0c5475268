//! The `container:` of a service: from its YAML to `model::spec::Container`.

use std::collections::BTreeMap;

use model::ids::ServiceName;
use model::spec::{Container, Volume};

use crate::code;
use crate::path::check_target;
use crate::problem::Problem;
use crate::reader::Reader;
use crate::source::shown;
use crate::suggestion::did_you_mean;
use crate::yaml::{Content, Node};

const FIELDS: [&str; 10] = [
    "command",
    "environment",
    "memory",
    "cpus",
    "ulimits",
    "sysctls",
    "volumes",
    "ports",
    "user",
    "read_only_root",
];
const VOLUME_FIELDS: [&str; 3] = ["name", "target", "host_folder"];

/// The limits of a process that engines can set (getrlimit(2), in the names of containers).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// The kernel settings that belong to a container alone; all others are the host's.
const OWN_SYSCTLS: [&str; 6] = [
    "net.",
    "kernel.shm",
    "kernel.msg",
    "kernel.sem",
    "kernel.domainname",
    "fs.mqueue.",
];
/// The most thousandths of a processor: 1024 processors.
const CPU_MILLIS_MAX: u32 = 1_024_000;

/// Reads the parameters of a container.
pub(crate) fn read_container(reader: &mut Reader<'_>, node: &Node) -> Option<Container> {
    let fields = reader.fields(node, "`container`", &FIELDS)?;
    let before = reader.problems.len();
    let mut container = Container::default();
    if let Some(node) = fields.get("command") {
        container.command = read_command(reader, node, "`command`");
    }
    if let Some(node) = fields.get("environment") {
        container.environment = read_environment(reader, node);
    }
    if let Some(node) = fields.get("memory") {
        container.memory = reader.size(node, "`memory`");
    }
    if let Some(node) = fields.get("cpus") {
        container.cpu_millis = read_cpus(reader, node);
    }
    if let Some(node) = fields.get("ulimits") {
        container.ulimits = read_ulimits(reader, node);
    }
    if let Some(node) = fields.get("sysctls") {
        container.sysctls = read_sysctls(reader, node);
    }
    if let Some(node) = fields.get("volumes") {
        container.volumes = read_volumes(reader, node);
    }
    if let Some(node) = fields.get("ports") {
        container.ports = read_ports(reader, node);
    }
    if let Some(node) = fields.get("user") {
        container.user = read_user(reader, node);
    }
    if let Some(node) = fields.get("read_only_root") {
        container.read_only_root = reader.yes_no(node, "`read_only_root`").unwrap_or_default();
    }
    (reader.problems.len() == before).then_some(container)
}

/// Reads a command: a list, because a text would need a shell to take it apart.
pub(crate) fn read_command(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<String> {
    if matches!(node.content, Content::Scalar { .. }) {
        let message = format!("{what} is a list of the program and its arguments");
        reader.note(
            &node.range,
            Problem::new(code::WRONG_TYPE, message)
                .with_help("no shell stands between: write [redis-server, /etc/redis.conf]"),
        );
        return Vec::new();
    }
    let items = reader.list(node, what);
    items
        .iter()
        .filter_map(|item| reader.text(item, "an argument"))
        .collect()
}

fn read_environment(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for entry in reader.entries(node, "`environment`") {
        if !is_variable_name(&entry.key) {
            let message = format!(
                "`{}` is no name of an environment variable",
                shown(&entry.key)
            );
            reader.note(&entry.key_range, Problem::new(code::BAD_NAME, message));
        }
        if let Some(value) = reader.line(&entry.value, &format!("`{}`", shown(&entry.key))) {
            environment.insert(entry.key.clone(), value);
        }
    }
    environment
}

fn is_variable_name(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Processors with up to three decimals, as thousandths.
fn read_cpus(reader: &mut Reader<'_>, node: &Node) -> Option<u32> {
    let text = reader.text(node, "`cpus`")?;
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let millis = if digits(whole) && digits(decimals) && decimals.len() <= 3 {
        format!("{whole}{decimals:0<3}").parse().ok()
    } else {
        None
    };
    match millis {
        Some(millis) if (1..=CPU_MILLIS_MAX).contains(&millis) => Some(millis),
        Some(_) => {
            let message = format!("`cpus` is {text}, and 0.001 to 1024 are possible");
            reader.refuse(node, code::OUT_OF_RANGE, message)
        }
        None => {
            let message = format!(
                "`cpus` is a number with up to three decimals, and `{}` is given",
                shown(&text)
            );
            reader.refuse(node, code::WRONG_TYPE, message)
        }
    }
}

fn read_ulimits(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, u64> {
    let mut ulimits = BTreeMap::new();
    for entry in reader.entries(node, "`ulimits`") {
        if !ULIMITS.contains(&entry.key.as_str()) {
            let message = format!("there is no limit `{}`", shown(&entry.key));
            let problem = Problem::new(code::UNKNOWN_FIELD, message);
            let help = did_you_mean(&entry.key, ULIMITS);
            reader.note(&entry.key_range, problem.with_help_if(help));
        }
        let what = format!("`{}`", shown(&entry.key));
        if let Some(limit) = reader.whole(&entry.value, &what, 0..=u64::MAX) {
            ulimits.insert(entry.key.clone(), limit);
        }
    }
    ulimits
}

fn read_sysctls(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    for entry in reader.entries(node, "`sysctls`") {
        let key = entry.key.as_str();
        let plain = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !plain || !OWN_SYSCTLS.iter().any(|own| key.starts_with(own)) {
            let message = format!(
                "`{}` is a setting of the host, not of a workload",
                shown(key)
            );
            reader.note(
                &entry.key_range,
                Problem::new(code::HOST_ACCESS, message)
                    .with_help("leave it out; shardyard doctor tells which settings a host needs"),
            );
        }
        if let Some(value) = reader.line(&entry.value, &format!("`{}`", shown(key))) {
            sysctls.insert(key.to_owned(), value);
        }
    }
    sysctls
}

fn read_volumes(reader: &mut Reader<'_>, node: &Node) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for item in reader.list(node, "`volumes`") {
        let Some(volume) = read_volume(reader, item) else {
            continue;
        };
        let twice = volumes
            .iter()
            .find(|other| other.name == volume.name || other.target == volume.target);
        if let Some(other) = twice {
            let same = if other.name == volume.name {
                &volume.name
            } else {
                &volume.target
            };
            let message = format!("two volumes have `{}`", shown(same));
            reader.note(&item.range, Problem::new(code::DUPLICATE_NAME, message));
        }
        volumes.push(volume);
    }
    volumes
}

fn read_volume(reader: &mut Reader<'_>, node: &Node) -> Option<Volume> {
    if let Content::Scalar { text, .. } = &node.content {
        let code = if text.contains('/') {
            code::HOST_ACCESS
        } else {
            code::WRONG_TYPE
        };
        let message = format!("`{}` is no volume", shown(text));
        reader.note(
            &node.range,
            Problem::new(code, message).with_help(
                "write {name: data, target: /data}; a folder of the host needs `host_folder` \
                 beside them, and --allow-host-access at delivery",
            ),
        );
        return None;
    }
    let fields = reader.fields(node, "a volume", &VOLUME_FIELDS)?;
    // The rule for a volume's name is that for a service's.
    let name = reader
        .required(&fields, "name")
        .and_then(|node| reader.name(node, "volume name", ServiceName::new));
    let target = reader
        .required(&fields, "target")
        .and_then(|node| read_target(reader, node));
    let host_folder = match fields.get("host_folder") {
        None => None,
        Some(node) => Some(read_host_folder(reader, node)?),
    };
    Some(Volume {
        name: name?.as_str().to_owned(),
        target: target?,
        host_folder,
    })
}

/// Reads a folder of the host. That it may be used at all is for the user to say, at delivery.
fn read_host_folder(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let folder = reader.text(node, "`host_folder`")?;
    if let Err(problem) = check_target(&folder) {
        reader.note(&node.range, problem);
        return None;
    }
    Some(folder)
}

/// Reads a place in the workload.
pub(crate) fn read_target(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let target = reader.text(node, "`target`")?;
    match check_target(&target) {
        Ok(()) => Some(target),
        Err(problem) => {
            reader.note(&node.range, problem);
            None
        }
    }
}

fn read_ports(reader: &mut Reader<'_>, node: &Node) -> Vec<u16> {
    let mut ports = Vec::new();
    for item in reader.list(node, "`ports`") {
        let Some(port) = reader.whole(item, "a port", 1..=u16::MAX) else {
            continue;
        };
        if ports.contains(&port) {
            let message = format!("the port {port} stands twice");
            reader.note(&item.range, Problem::new(code::DUPLICATE_NAME, message));
        }
        ports.push(port);
    }
    ports
}

fn read_user(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "`user`")?;
    let is_id = |id: &str| {
        id.parse::<u32>()
            .is_ok_and(|number| number.to_string() == id)
    };
    let is_pair = text
        .split_once(':')
        .is_some_and(|(user, group)| is_id(user) && is_id(group));
    if is_pair {
        return Some(text);
    }
    let message = format!(
        "`{}` is no user: write uid:gid, as in \"999:999\"",
        shown(&text)
    );
    reader.refuse(node, code::WRONG_TYPE, message)
}
