//! Keeps a primary that lost its data from coming back as one.
//!
//! An empty primary would have its replicas copy the emptiness. Where a primary has no data set
//! but another copy of its shard has one, that copy is promoted first, and the empty node starts
//! only then: it finds a primary with a higher epoch and becomes its replica.

use std::collections::BTreeMap;

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{Epoch, NodeId, ShardIndex, WorkloadName};
use model::instance::{Instance, NodeSeat, Seat};
use model::step::{ClusterStep, EngineStep, Member, Phase, Promotion, Step};
use model::view::{NodeView, PeerRole, View, WorkloadPhase};

use super::{Goal, healthy};
use crate::create::member;
use crate::policy::Policy;

/// Which nodes must not start before another is promoted.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence {
    held: BTreeMap<WorkloadName, Option<Promotion>>,
    pub(super) findings: Vec<Finding>,
}

impl Fence {
    /// Whether the workload must not start yet.
    pub(super) fn holds(&self, workload: &WorkloadName) -> bool {
        self.held.contains_key(workload)
    }

    /// Promotes the copies with data, then starts the empty nodes.
    pub(super) fn phases(&self, goal: Goal<'_>, policy: Policy) -> Vec<Phase> {
        let promotions: Vec<Promotion> = self.held.values().flatten().copied().collect();
        if promotions.is_empty() {
            return Vec::new();
        }
        let empty: Vec<&WorkloadName> = self
            .held
            .iter()
            .filter(|(_, promotion)| promotion.is_some())
            .map(|(name, _)| name)
            .collect();
        let start = empty
            .iter()
            .filter_map(|name| goal.workloads.get(*name))
            .map(|it| Step::Engine(EngineStep::EnsureRunning(Box::new(it.clone()))));
        vec![
            Phase {
                title: "the copies with data are primaries".to_owned(),
                steps: vec![Step::Cluster(ClusterStep::EnsurePromoted { promotions })],
            },
            Phase {
                title: "the nodes without data running, as replicas".to_owned(),
                steps: start.collect(),
            },
            healthy(empty.into_iter().cloned().collect(), policy),
        ]
    }
}

/// Finds the primaries without data.
pub(super) fn fence(instance: &Instance, view: &View) -> Fence {
    let mut fence = Fence::default();
    for shard in instance.layout.shards() {
        let nodes = instance.layout.shard(shard);
        let Some(owner) = owner(instance, view, shard) else {
            continue;
        };
        let Some((name, seat, node)) = nodes.iter().find(|(_, _, node)| node.id == owner) else {
            continue;
        };
        if is_up(view, name) || keeps_data(view, name, seat) {
            continue;
        }
        let best = nodes
            .iter()
            .filter(|(_, _, other)| other.id != owner)
            .filter(|(name, seat, _)| keeps_data(view, name, seat))
            .max_by_key(|(name, seat, node)| worth(view, (name, seat, *node)));
        match best {
            Some((_, best_seat, best)) => {
                let promotion = Promotion {
                    node: member(best.id, best_seat.address),
                    instead_of: member(node.id, seat.address),
                };
                fence.findings.push(lost(name, shard, Some(promotion.node)));
                fence.held.insert((*name).clone(), Some(promotion));
            }
            // Nobody has data. That is how a shard without keys looks, unless nothing at all is
            // left of its only copy.
            None if instance.delivered && !nodes.iter().any(|it| was_made(view, it.0)) => {
                fence.findings.push(lost(name, shard, None));
                fence.held.insert((*name).clone(), None);
            }
            None => {}
        }
    }
    fence
}

fn lost(name: &WorkloadName, shard: ShardIndex, heir: Option<Member>) -> Finding {
    let (severity, message, help) = match heir {
        Some(heir) => (
            Severity::Warning,
            format!(
                "the primary of {shard} has lost its data; {heir} is promoted before it starts"
            ),
            None,
        ),
        None => (
            Severity::Critical,
            format!(
                "the primary of {shard} has lost its data, and no other copy is in reach; \
                 it is not started, because it would begin empty"
            ),
            Some("put its data folder back, or start the hosts of its replicas".to_owned()),
        ),
    };
    Finding {
        code: Code("SY2217"),
        severity,
        subject: name.to_string(),
        message,
        help,
    }
}

/// Who owns a shard's slots: by the word of the nodes that answer, or else by what the stopped
/// ones have stored. The highest epoch counts.
fn owner(instance: &Instance, view: &View, shard: ShardIndex) -> Option<NodeId> {
    let ids: Vec<NodeId> = instance
        .layout
        .shard(shard)
        .iter()
        .map(|(_, _, node)| node.id)
        .collect();
    let claims = view
        .nodes
        .values()
        .filter_map(NodeView::cluster)
        .flat_map(|cluster| &cluster.peers)
        .filter(|peer| ids.contains(&peer.id))
        .filter(|peer| peer.role == PeerRole::Primary && !peer.slots.is_empty())
        .map(|peer| (peer.epoch, peer.id));
    let stored = instance
        .layout
        .shard(shard)
        .into_iter()
        .filter_map(|(name, _, _)| view.engine.workloads.get(name)?.storage.identity)
        .filter(|identity| identity.owns_slots)
        .map(|identity| (identity.epoch, identity.id))
        .filter(|(_, id)| ids.contains(id));
    let highest: Option<(Epoch, NodeId)> = claims.chain(stored).max();
    highest.map(|(_, id)| id)
}

fn is_up(view: &View, name: &WorkloadName) -> bool {
    let workload = view.engine.workloads.get(name);
    workload.is_some_and(|it| matches!(it.phase, WorkloadPhase::Running { .. }))
}

/// Whether something is left of the workload at all.
fn was_made(view: &View, name: &WorkloadName) -> bool {
    let workload = view.engine.workloads.get(name);
    workload.is_some_and(|it| it.storage.identity.is_some())
}

fn keeps_data(view: &View, name: &WorkloadName, seat: &Seat) -> bool {
    let stored = view.engine.workloads.get(name);
    let keys = view.nodes.get(&seat.address).and_then(NodeView::report);
    stored.is_some_and(|it| it.storage.has_dataset) || keys.is_some_and(|it| it.keys > 0)
}

/// The copy with the most data is worth the most; among stopped ones the one that knows the
/// latest epoch, and then the largest.
fn worth(view: &View, node: (&WorkloadName, &Seat, NodeSeat)) -> (u64, Epoch, u64) {
    let (name, seat, _) = node;
    let report = view.nodes.get(&seat.address).and_then(NodeView::report);
    let stored = view.engine.workloads.get(name).map(|it| it.storage);
    let identity = stored.and_then(|it| it.identity);
    (
        report.map_or(0, |it| it.replication.offset()),
        identity.map_or(Epoch(0), |it| it.epoch),
        stored.map_or(0, |it| it.size.as_bytes()),
    )
}
