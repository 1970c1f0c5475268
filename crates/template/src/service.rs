//! One entry of `services:`, from its YAML to `model::spec::Service`, and what a service that is a
//! cluster needs beyond that.

use std::ops::Range;

use model::address::BUS_PORT_OFFSET;
use model::ids::ServiceName;
use model::image::ImageRef;
use model::instance::TemplateFiles;
use model::spec::{ClusterPart, Container, FileTemplate, Service, ServiceKind};

use crate::code;
use crate::container::{read_container, read_target};
use crate::deployment::{Turn, default_deployment, read_deployment, read_health};
use crate::path::check_template_path;
use crate::problem::Problem;
use crate::reader::{Fields, Reader};
use crate::yaml::Node;

const FIELDS: [&str; 9] = [
    "name",
    "kind",
    "image",
    "count",
    "cluster",
    "container",
    "files",
    "health",
    "deployment",
];
const CLUSTER_FIELDS: [&str; 2] = ["shards", "replicas"];
const FILE_FIELDS: [&str; 3] = ["template", "target", "keep"];

/// The most workloads of one service: the largest cluster that Redis Cluster is made for is a
/// thousand nodes, and a template may ask for some more, so that a check can say what is wrong.
const WORKLOADS_MAX: u32 = 10_000;
/// The most shards: each needs a slot.
const SHARDS_MAX: u16 = 16_384;
/// The most replicas of a shard. Each doubles what a primary writes; nobody runs more than a few.
const REPLICAS_MAX: u16 = 100;

/// A service as read, before it is compared with the others.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) service: Service,
    pub(crate) turn: Turn,
    /// Where its name stands.
    pub(crate) name_range: Range<usize>,
}

/// Reads a service or a job.
pub(crate) fn read_service(
    reader: &mut Reader<'_>,
    node: &Node,
    files: &TemplateFiles,
) -> Option<Draft> {
    let fields = reader.fields(node, "a service", &FIELDS)?;
    let before = reader.problems.len();
    let name_node = reader.required(&fields, "name");
    let name = name_node.and_then(|node| reader.name(node, "service name", ServiceName::new));
    let kind = read_kind(reader, &fields);
    let image = reader
        .required(&fields, "image")
        .and_then(|node| read_image(reader, node));
    let (count, cluster) = read_count(reader, &fields);
    let container = match fields.get("container") {
        Some(node) => read_container(reader, node),
        None => Some(Container::default()),
    };
    let config_files = fields
        .get("files")
        .map(|node| read_files(reader, node, files))
        .unwrap_or_default();
    let health = fields
        .get("health")
        .and_then(|node| read_health(reader, node));
    let placed = match fields.get("deployment") {
        Some(node) => read_deployment(reader, node, kind),
        None => Some((default_deployment(kind), Turn::default())),
    };
    check_kind(reader, &fields, kind);
    if let Some(container) = &container {
        check_cluster(reader, &fields, container);
    }
    if reader.problems.len() != before {
        return None;
    }
    let (deployment, turn) = placed?;
    let service = Service {
        name: name?,
        kind,
        image: image?,
        count: count?,
        container: container?,
        files: config_files,
        health,
        deployment,
        cluster,
    };
    let name_range = name_node?.range.clone();
    Some(Draft {
        service,
        turn,
        name_range,
    })
}

fn read_kind(reader: &mut Reader<'_>, fields: &Fields<'_>) -> ServiceKind {
    let choices = [("service", ServiceKind::Server), ("job", ServiceKind::Job)];
    fields
        .get("kind")
        .and_then(|node| reader.choice(node, "`kind`", &choices))
        .unwrap_or(ServiceKind::Server)
}

fn read_image(reader: &mut Reader<'_>, node: &Node) -> Option<ImageRef> {
    let text = reader.text(node, "`image`")?;
    match ImageRef::parse(&text) {
        Ok(image) => Some(image),
        Err(error) => reader.refuse(node, code::WRONG_TYPE, error.to_string()),
    }
}

/// How many workloads there are, and the cluster that they are.
fn read_count(reader: &mut Reader<'_>, fields: &Fields<'_>) -> (Option<u32>, Option<ClusterPart>) {
    let Some(node) = fields.get("cluster") else {
        let count = match fields.get("count") {
            Some(node) => reader.whole(node, "`count`", 1..=WORKLOADS_MAX),
            None => Some(1),
        };
        return (count, None);
    };
    if let Some(range) = fields.key_range("count") {
        let message = "`count` stands beside `cluster`, which says how many workloads there are";
        reader.note(&range, Problem::new(code::CONTRADICTION, message));
    }
    let Some(part) = read_cluster(reader, node) else {
        return (None, None);
    };
    let count = u32::from(part.shards) * (1 + u32::from(part.replicas));
    if count > WORKLOADS_MAX {
        let (shards, replicas) = (part.shards, part.replicas);
        let message = format!(
            "{shards} × (1 + {replicas}) are {count} workloads, and {WORKLOADS_MAX} are the most"
        );
        reader.note(&node.range, Problem::new(code::OUT_OF_RANGE, message));
    }
    (Some(count), Some(part))
}

fn read_cluster(reader: &mut Reader<'_>, node: &Node) -> Option<ClusterPart> {
    let fields = reader.fields(node, "`cluster`", &CLUSTER_FIELDS)?;
    let shards = reader
        .required(&fields, "shards")
        .and_then(|node| reader.whole(node, "`shards`", 1..=SHARDS_MAX));
    let replicas = reader
        .required(&fields, "replicas")
        .and_then(|node| reader.whole(node, "`replicas`", 0..=REPLICAS_MAX));
    Some(ClusterPart {
        shards: shards?,
        replicas: replicas?,
    })
}

fn read_files(reader: &mut Reader<'_>, node: &Node, files: &TemplateFiles) -> Vec<FileTemplate> {
    let mut read: Vec<FileTemplate> = Vec::new();
    for item in reader.list(node, "`files`") {
        let Some(file) = read_file(reader, item, files) else {
            continue;
        };
        if read.iter().any(|other| other.target == file.target) {
            let message = format!("two files go to {}", file.target);
            reader.note(&item.range, Problem::new(code::DUPLICATE_NAME, message));
        }
        read.push(file);
    }
    read
}

fn read_file(reader: &mut Reader<'_>, node: &Node, files: &TemplateFiles) -> Option<FileTemplate> {
    let fields = reader.fields(node, "a file", &FILE_FIELDS)?;
    let source = reader.required(&fields, "template").and_then(|node| {
        let path = reader.text(node, "`template`")?;
        match check_template_path(&path, files) {
            Ok(()) => Some(path),
            Err(problem) => {
                reader.note(&node.range, problem);
                None
            }
        }
    });
    let target = reader
        .required(&fields, "target")
        .and_then(|node| read_target(reader, node));
    let keep = match fields.get("keep") {
        Some(node) => reader.yes_no(node, "`keep`"),
        None => Some(false),
    };
    let source = source?;
    let text = files.files.get(&source)?.clone();
    Some(FileTemplate {
        source,
        text,
        target: target?,
        keep: keep?,
    })
}

/// Refuses the parts of a service that mean nothing for a job.
fn check_kind(reader: &mut Reader<'_>, fields: &Fields<'_>, kind: ServiceKind) {
    if kind == ServiceKind::Server {
        return;
    }
    for (part, reason) in [
        ("cluster", "its nodes must stay, and a job ends"),
        ("health", "a job is well when it ends with exit code 0"),
    ] {
        if let Some(range) = fields.key_range(part) {
            let message = format!("a job has no `{part}`: {reason}");
            reader.note(&range, Problem::new(code::UNFIT_JOB, message));
        }
    }
}

/// What the steward needs of the nodes that it forms into a cluster.
fn check_cluster(reader: &mut Reader<'_>, fields: &Fields<'_>, container: &Container) {
    let Some(range) = fields.key_range("cluster") else {
        return;
    };
    if container.volumes.is_empty() {
        let message = "a cluster's service needs a volume: nodes.conf lives in the first one";
        reader.note(
            &range,
            Problem::new(code::UNFIT_CLUSTER, message)
                .with_help("add to container: volumes: [{name: data, target: /data}]"),
        );
    }
    match container.ports.first() {
        None => reader.note(
            &range,
            Problem::new(code::UNFIT_CLUSTER, "a cluster's service needs a port")
                .with_help("add to container: ports: [6379]"),
        ),
        Some(port) if port.checked_add(BUS_PORT_OFFSET).is_none() => {
            let bus_port = u32::from(*port) + u32::from(BUS_PORT_OFFSET);
            let most = u16::MAX - BUS_PORT_OFFSET;
            let message = format!(
                "the port {port} needs the cluster bus port {bus_port}, and 65535 is the last one"
            );
            reader.note(
                &range,
                Problem::new(code::UNFIT_CLUSTER, message)
                    .with_help(format!("take a port up to {most}")),
            );
        }
        Some(_) => {}
    }
}
