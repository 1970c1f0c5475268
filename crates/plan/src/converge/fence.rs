//! Keeps a primary that lost its data from coming back as one.
//!
//! An empty primary would have its replicas copy the emptiness. Where a primary has no data set
//! but another copy of its shard has one, that copy is promoted first, and the empty node starts
//! only then: it finds a primary with a higher epoch and becomes its replica. Where all are stopped
//! and nothing is left of a node, not even who it copied, the others start first and tell.

use std::collections::BTreeMap;

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{Epoch, NodeId, ShardIndex, WorkloadName};
use model::instance::{Instance, NodeSeat, Seat};
use model::slots::SlotSet;
use model::step::{ClusterStep, EngineStep, Member, Phase, Promotion, Step};
use model::view::{ClusterReport, NodeView, PeerRole, View, WorkloadPhase};

use super::{Goal, healthy};
use crate::create::member;
use crate::policy::Policy;
use crate::shards;
use crate::workloads::is_new;

/// Which nodes must not start yet.
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

    /// Why the workload must not start yet, and which promotion would allow it.
    pub(super) fn held(&self, workload: &WorkloadName) -> Option<(String, Option<Promotion>)> {
        let promotion = *self.held.get(workload)?;
        let subject = workload.to_string();
        let finding = self.findings.iter().find(|it| it.subject == subject);
        Some((finding.map(|it| it.message.clone())?, promotion))
    }

    /// Whether it holds workloads of which only the next plan can tell what becomes of them.
    pub(super) fn is_undecided(&self) -> bool {
        self.held.values().any(Option::is_none)
    }

    fn hold(&mut self, name: &WorkloadName, promotion: Option<Promotion>, finding: Finding) {
        self.held.insert(name.clone(), promotion);
        self.findings.push(finding);
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

/// Finds the nodes that would come back empty, and could have others copy their emptiness.
pub(super) fn fence(instance: &Instance, view: &View) -> Fence {
    let mut fence = Fence::default();
    let has_begun = !is_new(instance, view);
    for shard in instance.layout.shards() {
        let nodes = instance.layout.shard(shard);
        let is_left = |name: &WorkloadName| is_up(view, name) || was_made(view, name);
        let gone: Vec<&WorkloadName> = nodes
            .iter()
            .map(|(name, _, _)| *name)
            .filter(|name| has_begun && !is_left(name))
            .collect();
        let beginning = beginning(instance, view, &nodes);
        if beginning == Beginning::Right {
            continue;
        }
        if gone.len() == nodes.len() && !instance.delivered && beginning == Beginning::Wrong {
            // It was never ready. Some nodes may never have been started, because whoever began
            // was cut off; nobody can put back what there never was.
            let findings = gone.into_iter().map(|name| begins_anew(name, shard));
            fence.findings.extend(findings);
            continue;
        }
        if gone.len() == nodes.len() {
            for name in gone {
                let finding = match beginning {
                    Beginning::Undecided => unknown(name, shard),
                    Beginning::Right | Beginning::Wrong => lost(name, shard),
                };
                fence.hold(name, None, finding);
            }
            continue;
        }
        let said = claims(view).filter(|(_, id)| is_among(&nodes, *id)).max();
        if said.is_none() {
            // Stopped nodes may remember one of these as their primary, and would copy it.
            for name in &gone {
                fence.hold(name, None, unknown(name, shard));
            }
        }
        let owner = said.max(stored_claim(&nodes, view));
        let owner = owner.and_then(|(_, id)| nodes.iter().find(|(_, _, node)| node.id == id));
        if let Some((name, seat, node)) = owner
            && !is_up(view, name)
            && !keeps_data(view, name, seat)
        {
            // One that has forgotten its slots needs an heir even where there are no keys.
            let heirs = nodes.iter().filter(|heir| {
                let (other, seat, _) = heir;
                let is_left = gone.contains(name) && is_left(other);
                other != name
                    && (keeps_data(view, other, seat)
                        || (is_left && may_know_slots(view, heir, node.id)))
            });
            let best = heirs.max_by_key(|(name, seat, node)| worth(view, (name, seat, *node)));
            if let Some((_, heirs_seat, heir)) = best {
                let promotion = Promotion {
                    node: member(heir.id, heirs_seat.address),
                    instead_of: member(node.id, seat.address),
                };
                fence.hold(
                    name,
                    Some(promotion),
                    inherited(name, shard, promotion.node),
                );
            }
        }
    }
    fence
}

type Nodes<'a> = [(&'a WorkloadName, &'a Seat, NodeSeat)];

/// Whether a shard may begin empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beginning {
    /// Others own every slot: it is a newcomer, or has given all away.
    Right,
    /// It may be a newcomer, and nobody is there to tell.
    Undecided,
    /// Slots are gone with it.
    Wrong,
}

fn beginning(instance: &Instance, view: &View, nodes: &Nodes<'_>) -> Beginning {
    if !shards::is_under_way(instance) {
        return Beginning::Wrong;
    }
    let own_words = view
        .nodes
        .values()
        .filter_map(NodeView::cluster)
        .filter(|cluster| !is_among(nodes, cluster.id))
        .filter_map(ClusterReport::myself);
    let owned = own_words.fold(SlotSet::empty(), |owned, myself| {
        owned.union(&SlotSet::of(&myself.slots))
    });
    let is_named = claims(view).any(|(_, id)| is_among(nodes, id));
    if is_named {
        Beginning::Wrong
    } else if owned == SlotSet::all() {
        Beginning::Right
    } else {
        Beginning::Undecided
    }
}

fn is_among(nodes: &Nodes<'_>, id: NodeId) -> bool {
    nodes.iter().any(|(_, _, node)| node.id == id)
}

fn lost(name: &WorkloadName, shard: ShardIndex) -> Finding {
    finding(
        name,
        Severity::Critical,
        format!(
            "nothing is left of it, nor of any other copy of {shard}; it is not started, because \
             it would begin empty"
        ),
        Some("put a data folder of the shard back".to_owned()),
    )
}

fn begins_anew(name: &WorkloadName, shard: ShardIndex) -> Finding {
    let message = format!(
        "nothing is left of it, nor of any other copy of {shard}; the instance was never ready, \
         and the shard begins anew"
    );
    finding(name, Severity::Warning, message, None)
}

fn unknown(name: &WorkloadName, shard: ShardIndex) -> Finding {
    let message = format!(
        "nothing is left of it; it starts once the other nodes say who is the primary of {shard}"
    );
    finding(name, Severity::Warning, message, None)
}

fn inherited(name: &WorkloadName, shard: ShardIndex, heir: Member) -> Finding {
    let message =
        format!("the primary of {shard} has lost its data; {heir} is promoted before it starts");
    finding(name, Severity::Warning, message, None)
}

fn finding(
    name: &WorkloadName,
    severity: Severity,
    message: String,
    help: Option<String>,
) -> Finding {
    Finding {
        code: Code("SY2217"),
        severity,
        subject: name.to_string(),
        message,
        help,
    }
}

/// Who owns slots by the word of the nodes that answer. The highest epoch counts.
fn claims(view: &View) -> impl Iterator<Item = (Epoch, NodeId)> {
    view.nodes
        .values()
        .filter_map(NodeView::cluster)
        .flat_map(|cluster| &cluster.peers)
        .filter(|peer| peer.role == PeerRole::Primary && !peer.slots.is_empty())
        .map(|peer| (peer.epoch, peer.id))
}

/// Who owns the shard's slots by what its nodes have stored.
fn stored_claim(nodes: &Nodes<'_>, view: &View) -> Option<(Epoch, NodeId)> {
    nodes
        .iter()
        .filter_map(|(name, _, _)| view.engine.workloads.get(*name)?.storage.identity)
        .filter(|identity| identity.owns_slots && is_among(nodes, identity.id))
        .map(|identity| (identity.epoch, identity.id))
        .max()
}

fn is_up(view: &View, name: &WorkloadName) -> bool {
    let workload = view.engine.workloads.get(name);
    workload.is_some_and(|it| matches!(it.phase, WorkloadPhase::Running { .. }))
}

/// Whether a node may have heard that this one owns slots. One that has not is elected by nobody
/// (`clusterHandleSlaveFailover`, Redis 7.0).
fn may_know_slots(view: &View, node: &shards::Node<'_>, owner: NodeId) -> bool {
    let Some(cluster) = shards::cluster_of(view, node) else {
        return true;
    };
    cluster.peer(owner).is_some_and(|it| !it.slots.is_empty())
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

/// A copy with data is worth more than one without, and the one with the most is worth the most;
/// among stopped ones the one that knows the latest epoch, and then the largest.
fn worth(view: &View, node: (&WorkloadName, &Seat, NodeSeat)) -> (bool, u64, Epoch, u64) {
    let (name, seat, _) = node;
    let report = view.nodes.get(&seat.address).and_then(NodeView::report);
    let stored = view.engine.workloads.get(name).map(|it| it.storage);
    let identity = stored.and_then(|it| it.identity);
    (
        keeps_data(view, name, seat),
        report.map_or(0, |it| it.replication.offset()),
        identity.map_or(Epoch(0), |it| it.epoch),
        stored.map_or(0, |it| it.size.as_bytes()),
    )
}
