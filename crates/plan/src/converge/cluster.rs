//! Decides what the cluster that the steward forms still lacks: slots, acquaintance, replicas.
//!
//! It never gives a slot away while a node is silent: that node may be the owner. Slots that have
//! an owner move only where a change of the instance says so (`slots`), and only then does anybody
//! leave (`leave`).

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{NodeId, ShardIndex};
use model::instance::{Instance, Layout, PlannedRole, Seat};
use model::slots::SlotSet;
use model::step::{ClusterStep, Condition, Member, Phase, Promotion, Step, StewardStep, Wait};
use model::view::{ClusterReport, EngineView, NodeView, PeerRole, View};

use super::fence::Fence;
use super::{Goal, is_new, leave, slots};
use crate::create::{self, Method, member};
use crate::policy::Policy;
use crate::shards::Node;
use crate::{handover, shards, workloads};

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
    /// Whether only the next plan can tell who is to own some of the slots.
    pub(super) goes_on: bool,
}

/// What the cluster lacks.
pub(super) fn plan(goal: Goal<'_>, view: &View, policy: Policy, fence: &Fence) -> ClusterPlan {
    let layout = &goal.instance.layout;
    let mut plan = ClusterPlan::default();
    if layout.nodes().next().is_none() {
        if shards::is_under_way(goal.instance) {
            plan.findings = leave::findings(goal.instance, view);
            plan.phases = leave::phases(goal.instance, view);
        }
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
    let members: Vec<Node<'_>> = layout
        .nodes()
        .filter(|(name, _, _)| !leave::is_dispensable(goal.instance, view, name))
        .filter(|node| !leave::has_met_nobody(view, node))
        .collect();
    let answering: Vec<(&Seat, &ClusterReport)> = members
        .iter()
        .filter_map(|(_, seat, _)| Some((*seat, cluster_at(view, seat)?)))
        .collect();
    let is_new = is_new(goal, view);
    let begins_by_meeting = is_new && method(goal, &view.engine) == Method::Meet;
    let unclaimed = unclaimed(&answering);
    plan.goes_on = !is_new && !goal.instance.delivered && !unclaimed.is_empty();
    let is_awaited = |node: &Node<'_>| is_awaited(goal.instance, view, fence, node);
    if members.iter().any(is_awaited) && !begins_by_meeting {
        // Those that are still to start may know more than we do; the next plan will see.
        return plan;
    }
    let unowned = unowned(&answering);
    let missing = if is_new {
        missing_slots(goal, view, &unclaimed)
    } else {
        Vec::new()
    };
    if !is_new && !unowned.is_empty() {
        plan.findings.push(nobody_owns(&unowned));
    }
    if !is_new {
        plan.phases.extend(settled(layout, view, policy));
    }
    let has_new_owners = !missing.is_empty();
    push(&mut plan.phases, "every slot has an owner", missing);
    plan.phases.extend(together(goal, view, policy, &members));
    if plan.goes_on {
        begin_anew(&mut plan, goal.instance, view, &unclaimed);
    }
    if has_new_owners {
        push(
            &mut plan.phases,
            "the primaries serve, and all agree",
            serving(layout, policy),
        );
    }
    if !is_new && unowned.is_empty() {
        change(&mut plan, goal.instance, view, policy);
    }
    plan
}

/// What a failover in the middle of a move has left, before anybody copies anybody.
fn settled(layout: &Layout, view: &View, policy: Policy) -> Vec<Phase> {
    let mut phases = Vec::new();
    push(
        &mut phases,
        "those that import slots know who owns them",
        slots::told_importers(layout, view),
    );
    phases.extend(slots::gathered(layout, view, policy));
    phases
}

/// Gives the slots of a shard of which nothing is left to it again. Where there is none yet, the
/// next plan may see one.
fn begin_anew(plan: &mut ClusterPlan, instance: &Instance, view: &View, unclaimed: &SlotSet) {
    let steps = begun_anew(instance, view, unclaimed);
    plan.goes_on = steps.is_empty();
    push(
        &mut plan.phases,
        "slots of which nothing is left have an owner again",
        steps,
    );
}

/// Everybody knows everybody, and replicas copy. Whoever is to take slots must also know before who
/// owns them: one that imports a slot heeds no claim on it (`clusterUpdateSlotsConfigWith`, Redis
/// 7.0).
fn together(goal: Goal<'_>, view: &View, policy: Policy, members: &[Node<'_>]) -> Vec<Phase> {
    let mut steps = meeting(members, view);
    steps.extend(replicas(goal, view));
    let agreement = (!steps.is_empty() && shards::is_under_way(goal.instance)).then(|| {
        let all = members.iter().map(|(_, seat, _)| seat.address).collect();
        agreement(all, policy)
    });
    let mut phases = Vec::new();
    push(
        &mut phases,
        "the nodes know each other, and the replicas copy",
        steps,
    );
    push(
        &mut phases,
        "all agree on who owns what",
        agreement.into_iter().collect(),
    );
    phases
}

/// Whether a node does not answer that may know more than we do. A newcomer knows nothing.
fn is_awaited(instance: &Instance, view: &View, fence: &Fence, node: &Node<'_>) -> bool {
    let is_newcomer = instance.delivered && leave::is_unheard_of(view, node);
    let comes = (shards::is_under_way(instance) || is_newcomer)
        && leave::is_blank(view, node)
        && !fence.holds(node.0);
    cluster_at(view, node.1).is_none() && !comes
}

fn nobody_owns(slots: &SlotSet) -> Finding {
    Finding {
        code: Code("SY2202"),
        severity: Severity::Critical,
        subject: "cluster".to_owned(),
        message: format!("nobody owns slots {slots}"),
        help: Some("nothing is given away by guessing; find out who owned them".to_owned()),
    }
}

/// What a change of the instance asks for beyond what every cluster has: primaries that leave hand
/// over, slots move, and whoever leaves goes. Slots that were left half-way are settled in any
/// case.
fn change(plan: &mut ClusterPlan, instance: &Instance, view: &View, policy: Policy) {
    let layout = &instance.layout;
    let handed_over_first = handed_over(handover::of_those_that_leave(layout, view));
    let moves = slots::phases(layout, view, policy);
    let has_heirs = !handed_over_first.is_empty() || slots::goes_to_former(layout, view);
    let must_agree = has_heirs && !moves.is_empty();
    push(
        &mut plan.phases,
        "those that leave are no primaries of shards that stay",
        handed_over_first,
    );
    if must_agree {
        // Of a slot that is on its way to the primary before, its owner must know the heir.
        push(
            &mut plan.phases,
            "all agree on who the primaries are",
            vec![agreed(layout, policy)],
        );
    }
    plan.phases.extend(moves);
    if !shards::is_under_way(instance) {
        return;
    }
    plan.findings.extend(leave::findings(instance, view));
    if slots::is_detour(layout, view) {
        return;
    }
    plan.phases.extend(leave::phases(instance, view));
    push(
        &mut plan.phases,
        "no host holds a majority of the primaries",
        handed_over(handover::relief(instance, view)),
    );
}

fn handed_over(promotions: Vec<Promotion>) -> Vec<Step> {
    if promotions.is_empty() {
        return Vec::new();
    }
    vec![Step::Steward(StewardStep::EnsureHandedOver { promotions })]
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
    let all = layout.nodes().map(|(_, seat, _)| seat.address).collect();
    agreement(all, policy)
}

const fn agreement(nodes: Vec<NodeAddress>, policy: Policy) -> Step {
    Step::Wait(Wait {
        until: Condition::Agreed(nodes),
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

/// In an instance that was never ready a shard of which nothing is left begins anew: all its nodes
/// answer, none has a key, and no node owns its slots by its own word.
fn begun_anew(instance: &Instance, view: &View, unclaimed: &SlotSet) -> Vec<Step> {
    let layout = &instance.layout;
    let is_empty = |node: &Node<'_>| shards::report_of(view, node).is_some_and(|it| it.keys == 0);
    let primaries = || {
        let shards = layout.shards().into_iter();
        shards.filter_map(|shard| Some((shard, acting_primary(layout, view, shard)?)))
    };
    primaries()
        .filter_map(|(shard, node)| {
            let first = SlotSet::of(&[layout.first_slots(shard)?]);
            let slots = first.intersection(unclaimed);
            let is_lost = !slots.is_empty() && layout.shard(shard).iter().all(is_empty);
            is_lost.then(|| StewardStep::EnsureOwner {
                node,
                slots,
                others: primaries()
                    .map(|(_, other)| other)
                    .filter(|other| *other != node)
                    .collect(),
            })
        })
        .map(Step::Steward)
        .collect()
}

/// Who acts as a shard's primary, as a member.
fn acting_primary(layout: &Layout, view: &View, shard: ShardIndex) -> Option<Member> {
    shards::acting(layout, view, shard).map(|node| shards::member(&node))
}

/// All nodes meet where one of them does not know another.
fn meeting(members: &[Node<'_>], view: &View) -> Vec<Step> {
    let knows_all = |node: &Node<'_>| {
        cluster_at(view, node.1).is_some_and(|cluster| {
            members
                .iter()
                .all(|it| cluster.peer(it.2.id).is_some_and(|peer| !peer.in_handshake))
        })
    };
    if members.iter().all(knows_all) {
        return Vec::new();
    }
    vec![Step::Cluster(ClusterStep::EnsureMet {
        members: members.iter().map(shards::member).collect(),
    })]
}

/// Nodes that should copy their shard's primary and do not. Those that leave need not begin to.
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
            if node.id != primary.id && !copies && !seat.leaves {
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
