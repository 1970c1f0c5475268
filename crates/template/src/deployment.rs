//! The `health:` and `deployment:` of a service: from YAML to the model's types.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use model::ids::ServiceName;
use model::spec::{Deployment, HealthCheck, Probe, Resource, RestartPolicy, ServiceKind, Strategy};

use crate::code;
use crate::container::read_command;
use crate::problem::Problem;
use crate::reader::{Fields, Reader};
use crate::source::shown;
use crate::yaml::Node;

const HEALTH_FIELDS: [&str; 6] = [
    "tcp",
    "exec",
    "interval",
    "timeout",
    "retries",
    "start_period",
];
const DEPLOYMENT_FIELDS: [&str; 7] = [
    "strategy",
    "by",
    "host_labels",
    "priority",
    "start_after",
    "restart",
    "stop_timeout",
];

/// How often a workload is looked at when nobody says: a server that is down is seen within
/// seconds, and a hundred of them cost next to nothing.
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
const RETRIES: u32 = 3;
/// A server with gigabytes to load needs longer; its template says so.
const START_PERIOD: Duration = Duration::from_secs(30);
/// A server saves its data when it is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
const PATIENCE_MAX: Duration = Duration::from_secs(24 * 3_600);
const RETRIES_MAX: u32 = 100;
const PRIORITY_MAX: u32 = 1_000;

/// Reads a health check.
pub(crate) fn read_health(reader: &mut Reader<'_>, node: &Node) -> Option<HealthCheck> {
    let fields = reader.fields(node, "`health`", &HEALTH_FIELDS)?;
    let before = reader.problems.len();
    let probe = read_probe(reader, node, &fields);
    let interval = read_time(reader, &fields, "interval", PAUSE_MIN..=PAUSE_MAX);
    let timeout = read_time(reader, &fields, "timeout", PAUSE_MIN..=PAUSE_MAX);
    let start_period = read_time(
        reader,
        &fields,
        "start_period",
        Duration::ZERO..=PATIENCE_MAX,
    );
    let retries = fields
        .get("retries")
        .and_then(|node| reader.whole(node, "`retries`", 1..=RETRIES_MAX));
    if reader.problems.len() != before {
        return None;
    }
    Some(HealthCheck {
        probe: probe?,
        interval: interval.unwrap_or(INTERVAL),
        timeout: timeout.unwrap_or(TIMEOUT),
        retries: retries.unwrap_or(RETRIES),
        start_period: start_period.unwrap_or(START_PERIOD),
    })
}

fn read_probe(reader: &mut Reader<'_>, node: &Node, fields: &Fields<'_>) -> Option<Probe> {
    match (fields.get("tcp"), fields.get("exec")) {
        (Some(tcp), None) => reader.whole(tcp, "`tcp`", 1..=u16::MAX).map(Probe::Tcp),
        (None, Some(exec)) => {
            let before = reader.problems.len();
            let command = read_command(reader, exec, "`exec`");
            if command.is_empty() && reader.problems.len() == before {
                return reader.refuse(exec, code::CONTRADICTION, "`exec` runs nothing");
            }
            Some(Probe::Exec(command))
        }
        (Some(_), Some(exec)) => {
            let message = "`health` has both `tcp` and `exec`, and one of them decides";
            reader.refuse(exec, code::CONTRADICTION, message)
        }
        (None, None) => {
            let message = "`health` needs `tcp: PORT` or `exec: [COMMAND]`";
            reader.refuse(node, code::MISSING_FIELD, message)
        }
    }
}

fn read_time(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: &str,
    bounds: RangeInclusive<Duration>,
) -> Option<Duration> {
    let node = fields.get(name)?;
    reader.duration(node, &format!("`{name}`"), bounds)
}

/// A service's place in the start order, before it is compared with that of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// Lower starts first; without one the service is ordered by `after` alone.
    pub(crate) priority: Option<(u32, Range<usize>)>,
    /// The services that it starts after, with the places where they are named.
    pub(crate) after: Vec<(ServiceName, Range<usize>)>,
}

/// What `deployment:` says when it is left out. A job that ended is done.
pub(crate) fn default_deployment(kind: ServiceKind) -> Deployment {
    Deployment {
        strategy: Strategy::Spread,
        by: Resource::Memory,
        host_labels: BTreeMap::new(),
        start_level: 0,
        restart: match kind {
            ServiceKind::Server => RestartPolicy::Always,
            ServiceKind::Job => RestartPolicy::Never,
        },
        stop_timeout: STOP_TIMEOUT,
    }
}

/// Reads a deployment policy. Its start level is 0 until the start order is known.
pub(crate) fn read_deployment(
    reader: &mut Reader<'_>,
    node: &Node,
    kind: ServiceKind,
) -> Option<(Deployment, Turn)> {
    let fields = reader.fields(node, "`deployment`", &DEPLOYMENT_FIELDS)?;
    let before = reader.problems.len();
    let mut deployment = default_deployment(kind);
    if let Some(node) = fields.get("strategy") {
        let choices = [("spread", Strategy::Spread), ("pack", Strategy::Pack)];
        let read = reader.choice(node, "`strategy`", &choices);
        deployment.strategy = read.unwrap_or(deployment.strategy);
    }
    if let Some(node) = fields.get("by") {
        let choices = [
            ("memory", Resource::Memory),
            ("cpu", Resource::Cpu),
            ("io", Resource::Io),
        ];
        let read = reader.choice(node, "`by`", &choices);
        deployment.by = read.unwrap_or(deployment.by);
    }
    if let Some(node) = fields.get("host_labels") {
        deployment.host_labels = read_labels(reader, node);
    }
    if let Some(node) = fields.get("restart") {
        let read = read_restart(reader, node, kind);
        deployment.restart = read.unwrap_or(deployment.restart);
    }
    let stop_timeout = read_time(
        reader,
        &fields,
        "stop_timeout",
        Duration::ZERO..=PATIENCE_MAX,
    );
    deployment.stop_timeout = stop_timeout.unwrap_or(deployment.stop_timeout);
    let turn = read_turn(reader, &fields);
    (reader.problems.len() == before).then_some((deployment, turn))
}

fn read_labels(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for entry in reader.entries(node, "`host_labels`") {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if entry.key.is_empty() || !entry.key.chars().all(plain) {
            let message = format!("`{}` is no name of a label", shown(&entry.key));
            reader.note(&entry.key_range, Problem::new(code::BAD_NAME, message));
        }
        if let Some(value) = reader.line(&entry.value, "a label") {
            labels.insert(entry.key.clone(), value);
        }
    }
    labels
}

fn read_restart(reader: &mut Reader<'_>, node: &Node, kind: ServiceKind) -> Option<RestartPolicy> {
    let choices = [
        ("always", RestartPolicy::Always),
        ("on-failure", RestartPolicy::OnFailure),
        ("never", RestartPolicy::Never),
    ];
    let restart = reader.choice(node, "`restart`", &choices)?;
    if (kind, restart) == (ServiceKind::Job, RestartPolicy::Always) {
        let message = "a job that is always started again never ends";
        reader.note(
            &node.range,
            Problem::new(code::UNFIT_JOB, message).with_help("write never or on-failure"),
        );
        return None;
    }
    Some(restart)
}

fn read_turn(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Turn {
    let mut turn = Turn::default();
    if let Some(node) = fields.get("priority") {
        turn.priority = reader
            .whole(node, "`priority`", 0..=PRIORITY_MAX)
            .map(|priority| (priority, node.range.clone()));
    }
    if let Some(node) = fields.get("start_after") {
        for item in reader.list(node, "`start_after`") {
            if let Some(name) = reader.name(item, "service name", ServiceName::new) {
                turn.after.push((name, item.range.clone()));
            }
        }
    }
    turn
}
