//! Decides whether the keys of a server that is in no cluster may come into one, and which go
//! where: what `redis-cli --cluster import` begins without looking.

use std::collections::BTreeMap;
use std::fmt;

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::migration::{Import, ImportTarget, MoveManner};
use model::size::ByteSize;
use model::slots::SLOT_COUNT;
use model::step::{Phase, Plan, Step, StewardStep};
use model::view::{NodeReport, NodeView, Replication, View};

use crate::tend::{self, Seen};

/// The memory of a server without keys; what it has beyond that counts as its keys'.
const EMPTY_SERVER: ByteSize = ByteSize::mib(1);

/// The server whose keys are to come in, as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its address.
    pub address: NodeAddress,
    /// What it says.
    pub view: &'a NodeView,
    /// The keys of each of its databases; empty where it did not say.
    pub databases: &'a BTreeMap<u32, u64>,
}

/// In which manner keys come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Whether they stay at their source as well.
    pub copies: bool,
    /// How they move.
    pub manner: MoveManner,
}

/// Why no key is brought in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The cluster is not in order.
    Cluster(tend::Refusal),
    /// The source does not answer, or not to us.
    NotAnswering {
        /// The source.
        source_node: NodeAddress,
        /// What came instead.
        reason: String,
    },
    /// The source runs in cluster mode.
    InCluster(NodeAddress),
    /// The source is a replica, and takes no write.
    Replica {
        /// The source.
        source_node: NodeAddress,
        /// Whom it copies.
        of: String,
    },
    /// A cluster has database 0 only.
    OtherDatabases {
        /// The source.
        source_node: NodeAddress,
        /// The databases with their keys, but for 0.
        databases: Vec<(u32, u64)>,
    },
    /// Primaries would be full.
    TooLittleMemory(Vec<Lack>),
}

/// A primary that would be full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lack {
    /// The primary.
    pub node: NodeAddress,
    /// What it may use (`maxmemory`).
    pub max: ByteSize,
    /// What it has left.
    pub free: ByteSize,
    /// What it would get.
    pub gets: ByteSize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(refusal) => refusal.fmt(out),
            Self::NotAnswering {
                source_node,
                reason,
            } => write!(out, "{source_node} does not answer: {reason}"),
            Self::InCluster(node) => write!(out, "{node} is itself a node of a cluster"),
            Self::Replica { source_node, of } => write!(out, "{source_node} is a replica of {of}"),
            Self::OtherDatabases {
                source_node,
                databases,
            } => write!(
                out,
                "{source_node} has keys in other databases than 0: {}",
                shown(databases)
            ),
            Self::TooLittleMemory(lacks) => {
                let lacks: Vec<String> = lacks.iter().map(Lack::to_string).collect();
                write!(out, "there is too little memory: {}", lacks.join("; "))
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Lack {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} has {} left of {} and gets about {}",
            self.node, self.free, self.max, self.gets
        )
    }
}

fn shown(databases: &[(u32, u64)]) -> String {
    let each = databases.iter();
    let each = each.map(|(number, keys)| format!("{keys} in {number}"));
    each.collect::<Vec<String>>().join(", ")
}

impl Explain for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Cluster(refusal) => refusal.code(),
            Self::NotAnswering { .. } => Code("SY2441"),
            Self::InCluster(_) | Self::Replica { .. } => Code("SY2442"),
            Self::OtherDatabases { .. } => Code("SY2443"),
            Self::TooLittleMemory(_) => Code("SY2444"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Cluster(refusal) => refusal.class(),
            Self::NotAnswering { .. } => Class::Unreachable,
            Self::InCluster(_)
            | Self::Replica { .. }
            | Self::OtherDatabases { .. }
            | Self::TooLittleMemory(_) => Class::Refused,
        }
    }

    fn help(&self) -> Option<String> {
        let text = match self {
            Self::Cluster(refusal) => return refusal.help(),
            Self::NotAnswering { .. } => {
                "see that a server listens there; --from-user and --from-password-file log in to it"
            }
            Self::InCluster(_) => {
                "its clients would be sent astray: start a server without cluster mode on a copy of \
                 its data (redis-cli --rdb), and import from that one"
            }
            Self::Replica { .. } => {
                "import from its primary, or have it take writes: redis-cli replicaof no one"
            }
            Self::OtherDatabases { .. } => {
                "a cluster has database 0 only: move these keys into it first (SWAPDB, MOVE), or \
                 delete them"
            }
            Self::TooLittleMemory(_) => {
                "raise maxmemory there, add primaries (shardyard trib add-node, rebalance), or \
                 import less"
            }
        };
        Some(text.to_owned())
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::Cluster(refusal) => refusal.detail(),
            Self::NotAnswering { .. }
            | Self::InCluster(_)
            | Self::Replica { .. }
            | Self::OtherDatabases { .. }
            | Self::TooLittleMemory(_) => Vec::new(),
        }
    }
}

/// The plan by which the keys come in; nothing to do where the source has none.
///
/// # Errors
/// With everything that keeps them out; never an empty list.
pub fn import(seen: Seen<'_>, source: Source<'_>, wish: Wish) -> Result<Plan, Vec<Refusal>> {
    let mut refusals = Vec::new();
    if let Err(refusal) = seen.must_be_in_order() {
        refusals.push(Refusal::Cluster(refusal));
    }
    let report = match judged(source) {
        Ok(report) => report,
        Err(refusal) => {
            refusals.push(refusal);
            return Err(refusals);
        }
    };
    let others = source.databases.iter().filter(|(number, _)| **number != 0);
    let databases: Vec<(u32, u64)> = others.map(|(number, keys)| (*number, *keys)).collect();
    if !databases.is_empty() {
        refusals.push(Refusal::OtherDatabases {
            source_node: source.address,
            databases,
        });
    }
    let targets = targets(seen);
    let lacks = lacks(seen, &targets, report.memory_used);
    if !lacks.is_empty() && report.keys > 0 {
        refusals.push(Refusal::TooLittleMemory(lacks));
    }
    if refusals.is_empty() {
        Ok(plan(seen, source.address, (report.keys, targets), wish))
    } else {
        Err(refusals)
    }
}

/// Whether the source is one that keys can be taken from.
fn judged(source: Source<'_>) -> Result<&NodeReport, Refusal> {
    let source_node = source.address;
    let reason = match source.view {
        NodeView::Answering(report) => {
            if report.cluster.is_some() {
                return Err(Refusal::InCluster(source_node));
            }
            if let Replication::Replica { of, .. } = &report.replication {
                let of = of.clone();
                return Err(Refusal::Replica { source_node, of });
            }
            return Ok(report);
        }
        NodeView::Silent { reason } | NodeView::Refusing { reason } => reason.clone(),
        NodeView::Loading => "it is still loading its data".to_owned(),
    };
    Err(Refusal::NotAnswering {
        source_node,
        reason,
    })
}

fn targets(seen: Seen<'_>) -> Vec<ImportTarget> {
    let shares = seen.shares().into_iter();
    let owners = shares.filter(|it| !it.slots.is_empty());
    owners
        .map(|share| ImportTarget {
            member: share.member,
            replicas: seen
                .replicas_of(share.member.id)
                .into_iter()
                .map(|it| it.address)
                .collect(),
            slots: share.slots,
        })
        .collect()
}

/// The primaries that cannot take their share of so much.
fn lacks(seen: Seen<'_>, targets: &[ImportTarget], used: ByteSize) -> Vec<Lack> {
    let all = used.as_bytes().saturating_sub(EMPTY_SERVER.as_bytes());
    let lack = |target: &ImportTarget| {
        let node = target.member.address;
        let report = seen.view.get(&node)?.report()?;
        let max = report.memory_max;
        let free = max.as_bytes().saturating_sub(report.memory_used.as_bytes());
        let slots = u128::try_from(target.slots.len()).unwrap_or_default();
        let gets = u128::from(all) * slots / u128::from(SLOT_COUNT);
        let gets = u64::try_from(gets).unwrap_or(u64::MAX);
        (max.as_bytes() > 0 && gets > free).then_some(Lack {
            node,
            max,
            free: ByteSize::bytes(free),
            gets: ByteSize::bytes(gets),
        })
    };
    targets.iter().filter_map(lack).collect()
}

fn plan(
    seen: Seen<'_>,
    source: NodeAddress,
    (keys, targets): (u64, Vec<ImportTarget>),
    wish: Wish,
) -> Plan {
    let whole = View {
        nodes: seen.view.clone(),
        ..View::default()
    };
    let mut phases = Vec::new();
    if keys > 0 {
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        phases.push(Phase {
            title: format!("{} in the cluster", crate::converge::counted(keys, "key")),
            steps: vec![Step::Steward(StewardStep::EnsureImported(Import {
                source,
                targets,
                copies: wish.copies,
                manner: wish.manner,
            }))],
        });
    }
    Plan {
        based_on: whole.fingerprint(),
        phases,
        findings: Vec::new(),
    }
}
