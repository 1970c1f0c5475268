//! Judges a cluster: everything that a check notices, gathered, with the worst first.
//!
//! It asks nothing and mends nothing. What keeps a cluster from being ready comes from `ready`;
//! here it gets a code, a severity and a way out, and joins what is not an obstacle but a danger.

mod keys;
mod placement;

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{Epoch, NodeId};
use model::slots::SlotSet;
use model::step::Member;
use model::view::{ClusterReport, ClusterView, NodeView, OpenDirection, PeerRole};

pub use self::keys::in_slots_of_others;
pub use self::placement::placement;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::ready::{Obstacle, obstacles};

/// The state of an instance, in the words of the JSON contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum State {
    /// A client is served, and every copy is there.
    Ready,
    /// An operator is at work.
    Converging,
    /// A client is served, but a copy is missing or behind.
    Degraded,
    /// Some slots are not served.
    Unavailable,
    /// Nothing runs, by the user's wish.
    Stopped,
}

impl State {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Converging => "converging",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::Stopped => "stopped",
        }
    }
}

/// The state that these obstacles leave a cluster in.
#[must_use]
pub fn state(obstacles: &[Obstacle]) -> State {
    let serves = |obstacle: &Obstacle| match obstacle {
        Obstacle::Unowned { .. } | Obstacle::OwnedTwice { .. } | Obstacle::NotServing { .. } => {
            false
        }
        Obstacle::Silent { .. }
        | Obstacle::Refusing { .. }
        | Obstacle::Loading { .. }
        | Obstacle::Unknown { .. }
        | Obstacle::Unlinked { .. }
        | Obstacle::Unheard { .. }
        | Obstacle::Stranger { .. }
        | Obstacle::NoLink { .. }
        | Obstacle::Behind { .. } => true,
    };
    if obstacles.is_empty() {
        State::Ready
    } else if obstacles.iter().all(serves) {
        State::Degraded
    } else {
        State::Unavailable
    }
}

/// Everything that is to be said of the cluster of these nodes. `replicas` is the number that each
/// shard should have, where that is known.
#[must_use]
pub fn check(nodes: &[NodeAddress], view: &ClusterView, replicas: Option<u16>) -> Vec<Finding> {
    let mut findings = from_obstacles(&obstacles(nodes, view));
    let clusters: Vec<(Member, &ClusterReport)> = nodes
        .iter()
        .filter_map(|address| {
            let cluster = view.get(address)?.cluster()?;
            let member = Member {
                id: cluster.id,
                address: *address,
            };
            Some((member, cluster))
        })
        .collect();
    findings.extend(outside_a_cluster(nodes, view));
    findings.extend(open_slots(&clusters));
    findings.extend(equal_epochs(&clusters));
    findings.extend(missing_replicas(&clusters, replicas));
    findings.extend(mixed_versions(view));
    worst_first(findings)
}

/// The worst first; those as bad by code and subject.
#[must_use]
pub fn worst_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|left, right| {
        (right.severity, left.code, &left.subject).cmp(&(left.severity, right.code, &right.subject))
    });
    findings
}

fn finding(
    code: &'static str,
    severity: Severity,
    subject: impl ToString,
    message: impl Into<String>,
) -> Finding {
    Finding {
        code: Code(code),
        severity,
        subject: subject.to_string(),
        message: message.into(),
        help: None,
    }
}

/// One finding for each thing, not one for each pair of nodes: a node that ninety-nine others miss
/// is one finding.
fn from_obstacles(obstacles: &[Obstacle]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missed: BTreeMap<Member, BTreeSet<Member>> = BTreeMap::new();
    let mut unheard: BTreeMap<Member, BTreeSet<Member>> = BTreeMap::new();
    let mut unserving: BTreeSet<Member> = BTreeSet::new();
    let mut strangers: BTreeMap<NodeId, BTreeSet<Member>> = BTreeMap::new();
    for obstacle in obstacles {
        match obstacle {
            Obstacle::Unknown { observer, other } | Obstacle::Unlinked { observer, other } => {
                missed.entry(*other).or_default().insert(*observer);
            }
            Obstacle::Unheard { listener, speaker } => {
                unheard.entry(*speaker).or_default().insert(*listener);
            }
            Obstacle::Stranger { observer, stranger } => {
                strangers.entry(*stranger).or_default().insert(*observer);
            }
            Obstacle::NotServing { node } => {
                unserving.insert(*node);
            }
            Obstacle::Silent { .. }
            | Obstacle::Refusing { .. }
            | Obstacle::Loading { .. }
            | Obstacle::Unowned { .. }
            | Obstacle::OwnedTwice { .. }
            | Obstacle::NoLink { .. }
            | Obstacle::Behind { .. } => findings.extend(single(obstacle)),
        }
    }
    for (other, observers) in missed {
        let message = format!("{} do not reach it", names(&observers));
        findings.push(finding("SY2207", Severity::Warning, other, message));
    }
    for (speaker, listeners) in unheard {
        let message = format!("{} have not heard what it is and owns", names(&listeners));
        findings.push(finding("SY2219", Severity::Warning, speaker, message));
    }
    for (stranger, observers) in strangers {
        let message = format!("{} know it, and it was not asked", names(&observers));
        let subject = format!("node {}", stranger.short());
        findings.push(finding("SY2210", Severity::Warning, subject, message));
    }
    if !unserving.is_empty() {
        let message = format!("{} say that it does not serve", names(&unserving));
        findings.push(finding("SY2201", Severity::Critical, "cluster", message));
    }
    findings
}

fn single(obstacle: &Obstacle) -> Option<Finding> {
    let message = obstacle.to_string();
    let (code, severity, subject) = match obstacle {
        Obstacle::Silent { node, .. } => ("SY2203", Severity::Critical, node.to_string()),
        Obstacle::Refusing { node, .. } => ("SY2211", Severity::Critical, node.to_string()),
        Obstacle::Loading { node } => ("SY2212", Severity::Warning, node.to_string()),
        Obstacle::Unowned { .. } => ("SY2202", Severity::Critical, "cluster".to_owned()),
        Obstacle::OwnedTwice { .. } => ("SY2041", Severity::Critical, "cluster".to_owned()),
        Obstacle::NoLink { replica, .. } => ("SY2204", Severity::Warning, replica.to_string()),
        Obstacle::Behind { replica, .. } => ("SY2205", Severity::Warning, replica.to_string()),
        Obstacle::Unknown { .. }
        | Obstacle::Unlinked { .. }
        | Obstacle::Unheard { .. }
        | Obstacle::Stranger { .. }
        | Obstacle::NotServing { .. } => return None,
    };
    Some(finding(code, severity, subject, message))
}

/// Up to three names, and how many more there are.
fn names(members: &BTreeSet<Member>) -> String {
    let shown: Vec<String> = members
        .iter()
        .take(3)
        .map(|it| it.address.to_string())
        .collect();
    match members.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn outside_a_cluster(nodes: &[NodeAddress], view: &ClusterView) -> Vec<Finding> {
    let alone = |address: &&NodeAddress| {
        let report = view.get(address).and_then(NodeView::report);
        report.is_some_and(|it| it.cluster.is_none())
    };
    let some_in_one = view.values().any(|node| node.cluster().is_some());
    nodes
        .iter()
        .filter(alone)
        .filter(|_| some_in_one)
        .map(|address| {
            let message = "it runs without cluster mode (cluster-enabled no)";
            finding("SY2220", Severity::Critical, address, message)
        })
        .collect()
}

fn open_slots(clusters: &[(Member, &ClusterReport)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, cluster) in clusters {
        let Some(myself) = cluster.myself() else {
            continue;
        };
        let mut by_way: BTreeMap<OpenDirection, SlotSet> = BTreeMap::new();
        for open in &myself.open_slots {
            let slots = by_way.entry(open.direction).or_insert_with(SlotSet::empty);
            slots.insert(open.slot);
        }
        for (way, slots) in by_way {
            let message = match way {
                OpenDirection::To(id) => {
                    format!("slots {slots} are on their way to {}", id.short())
                }
                OpenDirection::From(id) => {
                    format!("slots {slots} are on their way from {}", id.short())
                }
            };
            findings.push(finding("SY2208", Severity::Warning, member, message));
        }
    }
    findings
}

fn equal_epochs(clusters: &[(Member, &ClusterReport)]) -> Vec<Finding> {
    let mut by_epoch: BTreeMap<Epoch, BTreeSet<Member>> = BTreeMap::new();
    for (member, cluster) in clusters {
        if let Some(myself) = cluster.myself().filter(|it| !it.slots.is_empty()) {
            by_epoch.entry(myself.epoch).or_default().insert(*member);
        }
    }
    by_epoch
        .into_iter()
        .filter(|(_, members)| members.len() > 1)
        .map(|(epoch, members)| {
            let message = format!("{} claim their slots with epoch {epoch}", names(&members));
            finding("SY2209", Severity::Warning, "cluster", message)
        })
        .collect()
}

/// Shards with fewer linked replicas than they should have; where nobody knows how many that is,
/// than the shard with the most.
fn missing_replicas(clusters: &[(Member, &ClusterReport)], wanted: Option<u16>) -> Vec<Finding> {
    let mut copies: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (_, cluster) in clusters {
        if let Some(PeerRole::Replica(Some(primary))) = cluster.myself().map(|it| it.role) {
            *copies.entry(primary).or_default() += 1;
        }
    }
    let most = copies.values().max().copied().unwrap_or(0);
    let wanted = wanted.map_or(most, usize::from);
    let mut findings = Vec::new();
    for (member, cluster) in clusters {
        let owns = cluster
            .myself()
            .is_some_and(|it| it.role == PeerRole::Primary && !it.slots.is_empty());
        let has = copies.get(&member.id).copied().unwrap_or(0);
        if owns && has < wanted {
            let message = format!("it has {has} of {wanted} replicas");
            findings.push(finding("SY2206", Severity::Warning, member, message));
        }
    }
    findings
}

fn mixed_versions(view: &ClusterView) -> Option<Finding> {
    let versions: BTreeSet<String> = view
        .values()
        .filter_map(|node| Some(node.report()?.version.to_string()))
        .collect();
    (versions.len() > 1).then(|| {
        let names: Vec<String> = versions.into_iter().collect();
        let message = format!("its nodes are of different versions: {}", names.join(", "));
        finding("SY2218", Severity::Notice, "cluster", message)
    })
}
