//! Decides what the cluster that the steward forms still lacks: slots, acquaintance, replicas.
//!
//! It never moves a slot that has an owner, and never gives one away while a node is silent: that
//! node may be the owner.

use std::collections::BTreeMap;

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{NodeId, ShardIndex};
use model::instance::{Instance, Layout, PlannedRole, Seat};
use model::slots::SlotSet;
use model::step::{ClusterStep, Condition, Member, Phase, Step, Wait};
use model::view::{ClusterReport, EngineView, NodeView, PeerRole, View};

use super::{Goal, is_new};
use crate::create::{self, Method, member};
use crate::policy::Policy;
use crate::workloads;

/// Nodes that are not ours where ours should be, or in a cluster with ours. They stop everything.
pub(crate) fn strangers(instance: &Instance, view: &View) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, seat, node) in instance.layout.nodes() {
        let Some(cluster) = cluster_at(view, seat) else {
            continue;
        };
        if cluster.id != node.id {
            findings.push(Finding {
                code: Code("SY2210"),
                severity: Severity::Critical,
                subject: name.to_string(),
                message: format!(
                    "the server at {} is node {}, and ours is {}",
                    seat.address,
                    cluster.id.short(),
                    node.id.short()
                ),
                help: Some("stop the server that has taken its place".to_owned()),
            });
        }
        let strangers = cluster
            .peers
            .iter()
            .filter(|peer| !peer.in_handshake && instance.layout.workload_of(peer.id).is_none());
        for stranger in strangers {
            let address = stranger
                .address
                .map_or_else(|| "an unknown address".to_owned(), |it| it.to_string());
            findings.push(Finding {
                code: Code("SY2210"),
                severity: Severity::Critical,
                subject: name.to_string(),
                message: format!(
                    "it is in a cluster with {} at {address}, which is not one of ours",
                    stranger.id.short()
                ),
                help: Some("find out whose it is; two clusters that merge lose data".to_owned()),
            });
        }
    }
    findings
}

/// What the cluster lacks, and what must not be mended by guessing.
#[derive(Debug, Default)]
pub(super) struct ClusterPlan {
    pub(super) phases: Vec<Phase>,
    pub(super) findings: Vec<Finding>,
}

/// What the cluster lacks.
pub(super) fn plan(goal: Goal<'_>, view: &View, policy: Policy) -> ClusterPlan {
    let layout = &goal.instance.layout;
    let mut plan = ClusterPlan::default();
    let total = layout.nodes().count();
    if total == 0 {
        return plan;
    }
    if let Some(elections) = first_elections(goal, view).filter(|_| policy.elect_planned) {
        // A vote that a voter cannot deliver, because its own link is not up yet, is lost.
        let linked = vec![agreed(layout, policy)];
        push(&mut plan.phases, "the nodes reach each other", linked);
        let elections = vec![elections];
        push(
            &mut plan.phases,
            "the planned primaries are elected",
            elections,
        );
        return plan;
    }
    let answering: Vec<(&Seat, &ClusterReport)> = layout
        .nodes()
        .filter_map(|(_, seat, _)| Some((seat, cluster_at(view, seat)?)))
        .collect();
    let is_new = is_new(goal, view);
    let begins_by_meeting = is_new && method(goal, &view.engine) == Method::Meet;
    if answering.len() < total && !begins_by_meeting {
        // Those that are still to start may know more than we do; the next plan will see.
        return plan;
    }
    let unowned = unowned(&answering);
    let slots = if is_new {
        missing_slots(goal, view, &unclaimed(&answering))
    } else {
        Vec::new()
    };
    if !is_new && !unowned.is_empty() {
        plan.findings.push(Finding {
            code: Code("SY2202"),
            severity: Severity::Critical,
            subject: "cluster".to_owned(),
            message: format!("nobody owns slots {unowned}"),
            help: Some("nothing is given away by guessing; find out who owned them".to_owned()),
        });
    }
    let has_new_owners = !slots.is_empty();
    push(&mut plan.phases, "every slot has an owner", slots);
    let mut together = meeting(goal, &answering);
    together.extend(replicas(goal, view));
    push(
        &mut plan.phases,
        "the nodes know each other, and the replicas copy",
        together,
    );
    if has_new_owners {
        push(
            &mut plan.phases,
            "the primaries serve, and all agree",
            serving(layout, policy),
        );
    }
    plan
}

/// New primaries serve at once, while everybody hears of the new replicas.
fn serving(layout: &Layout, policy: Policy) -> Vec<Step> {
    let mut steps: Vec<Step> = layout
        .nodes()
        .filter(|(_, _, node)| node.role == PlannedRole::Primary)
        .map(|(_, seat, node)| {
            Step::Cluster(ClusterStep::EnsureServing {
                node: member(node.id, seat.address),
            })
        })
        .collect();
    steps.push(agreed(layout, policy));
    steps
}

fn agreed(layout: &Layout, policy: Policy) -> Step {
    Step::Wait(Wait {
        until: Condition::Agreed(layout.nodes().map(|(_, seat, _)| seat.address).collect()),
        limit: policy.ready_limit,
    })
}

/// The slots that no node says it owns itself. One that was lost and made anew no longer knows
/// what others still remember of it.
fn unclaimed(answering: &[(&Seat, &ClusterReport)]) -> SlotSet {
    answering
        .iter()
        .filter_map(|(_, cluster)| cluster.myself())
        .fold(SlotSet::all(), |unclaimed, myself| {
            unclaimed.difference(&SlotSet::of(&myself.slots))
        })
}

/// The slots that no node knows an owner of.
fn unowned(answering: &[(&Seat, &ClusterReport)]) -> SlotSet {
    answering
        .iter()
        .fold(SlotSet::all(), |unowned, (_, cluster)| {
            unowned.difference(&cluster.slots_assigned())
        })
}

fn push(phases: &mut Vec<Phase>, title: &str, steps: Vec<Step>) {
    if !steps.is_empty() {
        phases.push(Phase {
            title: title.to_owned(),
            steps,
        });
    }
}

fn cluster_at<'v>(view: &'v View, seat: &Seat) -> Option<&'v ClusterReport> {
    view.nodes.get(&seat.address).and_then(NodeView::cluster)
}

/// How a cluster that is new begins.
fn method(goal: Goal<'_>, engine: &EngineView) -> Method {
    let version = goal
        .instance
        .layout
        .nodes()
        .find_map(|(name, _, _)| workloads::version_of(engine, goal.instance, name));
    create::method_of(goal.instance, version)
}

/// The elections after a start with exchanged roles, until the planned primaries have won them.
fn first_elections(goal: Goal<'_>, view: &View) -> Option<Step> {
    let swapped = method(goal, &view.engine) == Method::Prepared { swap: true };
    if !swapped || !is_new(goal, view) {
        return None;
    }
    let elected = |node: NodeId, seat: &Seat| {
        cluster_at(view, seat)
            .and_then(ClusterReport::myself)
            .is_some_and(|it| it.id == node && it.role == PeerRole::Primary && !it.slots.is_empty())
    };
    let all_elected = goal
        .instance
        .layout
        .nodes()
        .filter(|(_, _, node)| node.role == PlannedRole::Primary)
        .all(|(_, seat, node)| elected(node.id, seat));
    if all_elected {
        return None;
    }
    create::promotions(&goal.instance.layout)
}

/// In a new cluster the slots that nobody owns go to the shard that the layout gives them to.
fn missing_slots(goal: Goal<'_>, view: &View, unclaimed: &SlotSet) -> Vec<Step> {
    let layout = &goal.instance.layout;
    let mut steps = Vec::new();
    for shard in layout.shards() {
        let Some(first) = layout.first_slots(shard) else {
            continue;
        };
        let missing = SlotSet::of(&[first]).intersection(unclaimed);
        if missing.is_empty() {
            continue;
        }
        if let Some(node) = acting_primary(layout, view, shard) {
            steps.push(Step::Cluster(ClusterStep::EnsureSlots {
                node,
                slots: missing.ranges(),
                epoch: Layout::first_epoch(shard),
            }));
        }
    }
    steps
}

/// The node of a shard that owns slots; where none does, the planned primary.
fn acting_primary(layout: &Layout, view: &View, shard: ShardIndex) -> Option<Member> {
    let nodes = layout.shard(shard);
    let owns = |seat: &Seat| {
        cluster_at(view, seat)
            .and_then(ClusterReport::myself)
            .filter(|it| it.role == PeerRole::Primary && !it.slots.is_empty())
            .map(|it| it.epoch)
    };
    let owner = nodes
        .iter()
        .filter_map(|(_, seat, node)| Some((owns(seat)?, node.id, seat.address)))
        .max();
    let (id, address) = match owner {
        Some((_, id, address)) => (id, address),
        None => nodes
            .first()
            .map(|(_, seat, node)| (node.id, seat.address))?,
    };
    Some(member(id, address))
}

/// All nodes meet where one of them does not know another.
fn meeting(goal: Goal<'_>, answering: &[(&Seat, &ClusterReport)]) -> Vec<Step> {
    let members: Vec<Member> = goal
        .instance
        .layout
        .nodes()
        .map(|(_, seat, node)| member(node.id, seat.address))
        .collect();
    let knows_all = |cluster: &ClusterReport| {
        members
            .iter()
            .all(|it| cluster.peer(it.id).is_some_and(|peer| !peer.in_handshake))
    };
    let complete =
        answering.len() == members.len() && answering.iter().all(|(_, cluster)| knows_all(cluster));
    if complete {
        return Vec::new();
    }
    vec![Step::Cluster(ClusterStep::EnsureMet { members })]
}

/// Nodes that should copy their shard's primary and do not.
fn replicas(goal: Goal<'_>, view: &View) -> Vec<Step> {
    let layout = &goal.instance.layout;
    let mut wanted: BTreeMap<Member, Vec<Member>> = BTreeMap::new();
    for shard in layout.shards() {
        let Some(primary) = acting_primary(layout, view, shard) else {
            continue;
        };
        for (_, seat, node) in layout.shard(shard) {
            let copies = cluster_at(view, seat)
                .and_then(ClusterReport::myself)
                .is_some_and(|it| it.role == PeerRole::Replica(Some(primary.id)));
            if node.id != primary.id && !copies {
                let replicas = wanted.entry(primary).or_default();
                replicas.push(member(node.id, seat.address));
            }
        }
    }
    wanted
        .into_iter()
        .map(|(primary, replicas)| Step::Cluster(ClusterStep::EnsureReplicas { primary, replicas }))
        .collect()
}
