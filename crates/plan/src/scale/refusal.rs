//! Says why an instance cannot be scaled: whatever could not end well is refused before anything is
//! stored or done.

use std::fmt;

use model::fault::{Class, Code, Explain};
use model::ids::{InstanceName, ServiceName, ShardIndex, WorkloadName};
use model::instance::Instance;
use model::size::ByteSize;
use model::slots::{Slot, SlotSet};
use model::spec::{Service, Spec};
use model::view::{NodeView, OpenDirection, PeerRole, View};

use super::shape::{Shape, may_be_silent};
use super::{PRIMARIES_MIN, leaves};
use crate::shards::{self, acting, copies, myself_of, report_of};

/// Why an instance cannot be scaled or rebalanced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It was never ready.
    NotDelivered(InstanceName),
    /// A different change is under way.
    UnderWay(InstanceName),
    /// The specs differ in more than numbers.
    OtherServices(ServiceName),
    /// It has no cluster that the steward forms.
    NoCluster(InstanceName),
    /// A workload does not answer.
    NotAnswering {
        /// The workload.
        workload: WorkloadName,
        /// The instance.
        instance: InstanceName,
        /// Why.
        reason: String,
    },
    /// A node is not the one that sits there, or knows one that is not ours.
    Stranger(String),
    /// Nobody owns these slots.
    Uncovered(SlotSet),
    /// Somebody else moves slots.
    OpenTowardsStranger {
        /// The workload.
        workload: WorkloadName,
        /// The slot.
        slot: Slot,
        /// The other end.
        other: String,
    },
    /// Too few primaries would be left to elect a new one.
    NoMajority {
        /// How many shards there would be.
        shards: u16,
    },
    /// No copy of the shard would be left that is linked to its primary or is it.
    NoCopy(ShardIndex),
    /// Who stays has not the memory for what it would take over.
    Memory {
        /// A workload or a host.
        subject: String,
        /// What it would take over, half as much again.
        needs: ByteSize,
        /// What it has free.
        free: ByteSize,
    },
    /// A server that would leave is no cluster node of ours, and holds something.
    HoldsData {
        /// The workload.
        workload: WorkloadName,
        /// What.
        what: String,
    },
    /// There is no host, no address or no id for it.
    NoSeat(WorkloadName),
    /// There is no such shard.
    NoSuchShard(ShardIndex),
    /// All weights are 0.
    NoWeight,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDelivered(name) => write!(out, "{name} has never been ready yet"),
            Self::UnderWay(name) => write!(out, "a different change of {name} is under way"),
            Self::OtherServices(name) => {
                write!(out, "service {name} is in one of the two specs only")
            }
            Self::NoCluster(name) => {
                write!(out, "{name} has no cluster that is managed here")
            }
            Self::NotAnswering {
                workload, reason, ..
            } => write!(out, "{workload} does not answer: {reason}"),
            Self::Stranger(words) => out.write_str(words),
            Self::Uncovered(slots) => write!(out, "nobody owns slots {slots}"),
            Self::OpenTowardsStranger {
                workload,
                slot,
                other,
            } => write!(
                out,
                "slot {} is on its way between {workload} and {other}, which is not one of ours",
                slot.number()
            ),
            Self::NoMajority { shards } => write!(
                out,
                "{shards} primaries are no majority without one of them, so that no replica could be \
                 elected any more"
            ),
            Self::NoCopy(shard) => write!(out, "no copy of {shard} would be left that is in sync"),
            Self::Memory {
                subject,
                needs,
                free,
            } => write!(
                out,
                "{subject} has {free} free, and needs {needs}: half as much again as it takes over"
            ),
            Self::HoldsData { workload, what } => write!(out, "{workload} cannot leave: {what}"),
            Self::NoSeat(name) => {
                write!(out, "there is no host, no address or no id for {name}")
            }
            Self::NoSuchShard(shard) => write!(out, "there is no {shard}"),
            Self::NoWeight => out.write_str("all weights are 0, so that nobody could own a slot"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Explain for Refusal {
    fn code(&self) -> Code {
        Code(match self {
            Self::NotDelivered(_) => "SY2401",
            Self::UnderWay(_) => "SY2402",
            Self::OtherServices(_) => "SY2403",
            Self::NotAnswering { .. } => "SY2404",
            Self::Stranger(_) => "SY2210",
            Self::Uncovered(_) => "SY2405",
            Self::OpenTowardsStranger { .. } => "SY2406",
            Self::NoMajority { .. } => "SY2407",
            Self::NoCopy(_) => "SY2408",
            Self::Memory { .. } => "SY2409",
            Self::HoldsData { .. } => "SY2410",
            Self::NoSeat(_) => "SY2411",
            Self::NoSuchShard(_) | Self::NoWeight => "SY2412",
            Self::NoCluster(_) => "SY2413",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::NotDelivered(_)
            | Self::UnderWay(_)
            | Self::Stranger(_)
            | Self::Uncovered(_)
            | Self::OpenTowardsStranger { .. }
            | Self::NoMajority { .. }
            | Self::NoCopy(_)
            | Self::Memory { .. }
            | Self::HoldsData { .. } => Class::Refused,
            Self::OtherServices(_) | Self::NoSuchShard(_) | Self::NoWeight | Self::NoCluster(_) => {
                Class::Usage
            }
            Self::NotAnswering { .. } => Class::Unreachable,
            Self::NoSeat(_) => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NotDelivered(name) => Some(format!("shardyard up --name {name}   first")),
            Self::UnderWay(name) => Some(format!(
                "shardyard up --name {name}   finishes it; shardyard cancel {name}   ends it where it is"
            )),
            Self::OtherServices(_) => Some("only numbers can be changed by scaling".to_owned()),
            Self::NoCluster(_) => Some("shardyard trib rebalance HOST:PORT".to_owned()),
            Self::NotAnswering { instance, .. } => Some(format!(
                "shardyard up --name {instance}   brings it back; then scale"
            )),
            Self::Stranger(_) => {
                Some("find out whose it is; two clusters that merge lose data".to_owned())
            }
            Self::Uncovered(_) | Self::OpenTowardsStranger { .. } => Some(
                "shardyard trib fix HOST:PORT --dry-run   shows what would settle it".to_owned(),
            ),
            Self::NoMajority { .. } => Some(format!("keep {PRIMARIES_MIN} shards at least")),
            Self::NoCopy(_) => Some("wait until its replicas have caught up".to_owned()),
            Self::Memory { .. } => {
                Some("keep more shards, or give each more memory: --memory".to_owned())
            }
            Self::HoldsData { .. } => Some(
                "move its slots away first: shardyard trib reshard, then trib del-node".to_owned(),
            ),
            Self::NoSeat(_) => None,
            Self::NoSuchShard(_) => Some("shardyard status   shows the shards".to_owned()),
            Self::NoWeight => Some("give one shard at least a weight above 0".to_owned()),
        }
    }
}

/// What forbids a change whatever it is.
pub(super) fn beforehand(instance: &Instance, spec: &Spec) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if !instance.delivered {
        refusals.push(Refusal::NotDelivered(instance.name.clone()));
    }
    let differs = |one: &Spec, other: &Spec| -> Vec<Refusal> {
        let services = one.services.iter();
        services
            .filter(|it| {
                let same = other.service(&it.name);
                same.is_none_or(|same| same.cluster.is_some() != it.cluster.is_some())
            })
            .map(|it| Refusal::OtherServices(it.name.clone()))
            .collect()
    };
    refusals.extend(differs(&instance.spec, spec));
    if refusals.is_empty() {
        refusals.extend(differs(spec, &instance.spec));
    }
    refusals
}

/// What forbids that these join and leave.
pub(super) fn of_shape(
    instance: &Instance,
    view: &View,
    service: &Service,
    shape: &Shape,
) -> Vec<Refusal> {
    match service.cluster {
        None => of_group(instance, view, service, shape),
        Some(part) => {
            let mut refusals = of_cluster(instance, view, shape);
            let had = instance.layout.shards().len();
            let shrinks = usize::from(part.shards) < had;
            if shrinks && part.shards < PRIMARIES_MIN {
                refusals.push(Refusal::NoMajority {
                    shards: part.shards,
                });
            }
            refusals
        }
    }
}

/// What forbids any change of the cluster, with these nodes leaving.
pub(super) fn of_cluster(instance: &Instance, view: &View, shape: &Shape) -> Vec<Refusal> {
    let layout = &instance.layout;
    let mut refusals: Vec<Refusal> = crate::converge::strangers(instance, view)
        .into_iter()
        .map(|finding| Refusal::Stranger(format!("{}: {}", finding.subject, finding.message)))
        .collect();
    for node in layout.nodes() {
        let leaves = shape.leaves.contains(node.0);
        if report_of(view, &node).is_none() && !(leaves && may_be_silent(view, &node)) {
            refusals.push(Refusal::NotAnswering {
                workload: node.0.clone(),
                instance: instance.name.clone(),
                reason: why_silent(view.nodes.get(&node.1.address)),
            });
        }
        refusals.extend(open_towards_strangers(instance, view, node.0));
    }
    if !refusals.is_empty() {
        return refusals;
    }
    let owned = shards::owned(layout, view);
    let uncovered = owned
        .values()
        .fold(SlotSet::all(), |rest, slots| rest.difference(slots));
    if !uncovered.is_empty() {
        refusals.push(Refusal::Uncovered(uncovered));
    }
    for shard in layout.shards() {
        let Some(primary) = acting(layout, view, shard) else {
            continue;
        };
        let stays = |name: &WorkloadName| !shape.leaves.contains(name);
        let is_copy_left = layout
            .shard(shard)
            .iter()
            .filter(|node| stays(node.0))
            .any(|node| node.2.id == primary.2.id || copies(view, node, primary.2.id));
        if !shape.gone_shards.contains(&shard) && !leaves(layout, shard) && !is_copy_left {
            refusals.push(Refusal::NoCopy(shard));
        }
    }
    refusals
}

fn why_silent(node: Option<&NodeView>) -> String {
    match node {
        Some(NodeView::Silent { reason } | NodeView::Refusing { reason }) => reason.clone(),
        Some(NodeView::Loading) => "it is loading its data".to_owned(),
        Some(NodeView::Answering(_)) => "it is in no cluster".to_owned(),
        None => "it does not run".to_owned(),
    }
}

fn open_towards_strangers(
    instance: &Instance,
    view: &View,
    workload: &WorkloadName,
) -> Vec<Refusal> {
    let layout = &instance.layout;
    let Some(node) = layout.nodes().find(|(name, _, _)| *name == workload) else {
        return Vec::new();
    };
    let open = myself_of(view, &node).map_or(&[][..], |it| it.open_slots.as_slice());
    open.iter()
        .filter_map(|it| {
            let (OpenDirection::To(other) | OpenDirection::From(other)) = it.direction;
            layout
                .workload_of(other)
                .is_none()
                .then(|| Refusal::OpenTowardsStranger {
                    workload: workload.clone(),
                    slot: it.slot,
                    other: other.short(),
                })
        })
        .collect()
}

/// Servers that the steward does not manage leave only where nothing is lost with them.
fn of_group(instance: &Instance, view: &View, service: &Service, shape: &Shape) -> Vec<Refusal> {
    if !service.holds_keys() {
        return Vec::new();
    }
    let judge = |name: &WorkloadName| {
        let address = instance.layout.seats.get(name)?.address;
        let seen = view.nodes.get(&address);
        let Some(report) = seen.and_then(NodeView::report) else {
            return Some(Refusal::NotAnswering {
                workload: name.clone(),
                instance: instance.name.clone(),
                reason: why_silent(seen),
            });
        };
        let myself = report.cluster.as_ref().and_then(|it| it.myself());
        let what = match myself {
            Some(it) if !it.slots.is_empty() => "it owns slots".to_owned(),
            // What a replica holds, its primary does.
            Some(it) if matches!(it.role, PeerRole::Replica(Some(_))) => return None,
            Some(_) | None if report.keys > 0 => format!("it holds {} keys", report.keys),
            Some(_) | None => return None,
        };
        // It is emptied by the job first, and leaves only then.
        if instance.spec.hooks.before_scale_in.is_some() {
            return None;
        }
        Some(Refusal::HoldsData {
            workload: name.clone(),
            what,
        })
    };
    shape.leaves.iter().filter_map(judge).collect()
}
