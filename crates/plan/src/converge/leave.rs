//! Decides how those that leave are let go: looked at once more, stopped, forgotten.
//!
//! A node goes only when it owns no slot and its data is elsewhere (invariant 1 of
//! ARCHITECTURE.md). One that does not answer goes only when those that do own every slot among
//! them, and none of them takes it for an owner.

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{NodeId, WorkloadName};
use model::instance::{Instance, Layout, Seat};
use model::slots::SlotSet;
use model::step::{EngineStep, Member, Phase, Step, StewardStep};
use model::view::{ClusterReport, NodeView, Peer, PeerRole, View, WorkloadPhase};

use super::counted;
use crate::scale::leaves;
use crate::shards::{
    Node, acting, cluster_of, is_taken_for_owner, known_at, member, myself_of, owned, report_of,
};

/// Whether a workload that leaves need not be started, nor waited for: nothing is missed without
/// it.
pub(super) fn is_dispensable(instance: &Instance, view: &View, name: &WorkloadName) -> bool {
    let layout = &instance.layout;
    let Some(seat) = layout.seats.get(name).filter(|seat| seat.leaves) else {
        return false;
    };
    match seat.node {
        Some(node) => {
            cluster_of(view, &(name, seat, node)).is_none()
                && !is_taken_for_owner(view, node.id)
                && all_slots_are_owned(layout, view)
        }
        // It was looked at before it was marked; once it has stopped nobody wants it back.
        None => view
            .nodes
            .get(&seat.address)
            .and_then(NodeView::report)
            .is_none(),
    }
}

fn all_slots_are_owned(layout: &Layout, view: &View) -> bool {
    let owned = owned(layout, view);
    let rest = owned
        .values()
        .fold(SlotSet::all(), |rest, slots| rest.difference(slots));
    rest.is_empty()
}

/// Whether a node knows nothing that others would have to wait for: it does not answer, nothing is
/// kept of it, and nobody takes it for an owner. So is a newcomer before its first start.
pub(super) fn is_blank(view: &View, node: &Node<'_>) -> bool {
    let found = view.engine.workloads.get(node.0);
    let keeps = found.is_some_and(|it| {
        let owns = it.storage.identity.is_some_and(|it| it.owns_slots);
        it.storage.has_dataset || owns
    });
    !keeps && report_of(view, node).is_none() && !is_taken_for_owner(view, node.2.id)
}

/// Whether the others have never heard of a node: it is a newcomer, and not one that was lost.
pub(super) fn is_unheard_of(view: &View, node: &Node<'_>) -> bool {
    let mut clusters = view.nodes.values().filter_map(NodeView::cluster).peekable();
    clusters.peek().is_some() && clusters.all(|cluster| cluster.peer(node.2.id).is_none())
}

/// Whether a node that leaves and the others have never heard of each other: a newcomer that is no
/// longer wanted. Introduced to them it would only have to be forgotten.
pub(super) fn has_met_nobody(view: &View, node: &Node<'_>) -> bool {
    let id = node.2.id;
    // Of the others it must know none, and of them none may know it.
    let are_apart = |cluster: &ClusterReport| {
        let is_across = |peer: &Peer| (peer.id == id) != (cluster.id == id);
        !cluster.peers.iter().any(is_across)
    };
    let mut clusters = view.nodes.values().filter_map(NodeView::cluster);
    node.1.leaves && clusters.all(are_apart)
}

/// The last look, the stop, the forgetting; of those that have left already only what is left to do
/// of it.
pub(super) fn phases(instance: &Instance, view: &View) -> Vec<Phase> {
    let layout = &instance.layout;
    let going: Vec<(&WorkloadName, &Seat)> = layout
        .seats
        .iter()
        .filter(|(name, seat)| seat.leaves && may_go(instance, view, name))
        .collect();
    let looks: Vec<Step> = going
        .iter()
        .filter_map(|(name, seat)| last_look(layout, view, name, seat))
        .map(Step::Steward)
        .collect();
    let stops: Vec<Step> = going
        .iter()
        .filter(|(name, _)| must_stop(view, name))
        .map(|(name, _)| Step::Engine(EngineStep::EnsureStopped((*name).clone())))
        .collect();
    let mut phases = Vec::new();
    if !looks.is_empty() {
        phases.push(Phase {
            title: "those that leave hold nothing that is not elsewhere".to_owned(),
            steps: looks,
        });
    }
    if !stops.is_empty() {
        phases.push(Phase {
            title: format!("{} stopped, data kept", counted(stops.len(), "workload")),
            steps: stops,
        });
    }
    if let Some(step) = forgetting(layout, view, &going) {
        phases.push(Phase {
            title: "the others have forgotten them".to_owned(),
            steps: vec![Step::Steward(step)],
        });
    }
    phases
}

/// Whether what is planned before leaves the node without anything of its own.
fn may_go(instance: &Instance, view: &View, name: &WorkloadName) -> bool {
    let layout = &instance.layout;
    let Some(seat) = layout.seats.get(name) else {
        return false;
    };
    let Some(node) = seat.node else {
        return is_bare(view, seat);
    };
    let node = (name, seat, node);
    let Some(myself) = myself_of(view, &node) else {
        return is_dispensable(instance, view, name);
    };
    match myself.role {
        PeerRole::Replica(_) => true,
        // In a shard that leaves its slots go first; in one that stays, a replica takes over first.
        PeerRole::Primary if leaves(layout, node.2.shard) => true,
        PeerRole::Primary => has_heir(layout, view, &node),
    }
}

/// Whether a workload that is no node of ours has nothing of its own. One that is no server, or
/// does not run, is not in the view.
fn is_bare(view: &View, seat: &Seat) -> bool {
    let report = match view.nodes.get(&seat.address) {
        None => return true,
        Some(NodeView::Answering(report)) => report,
        Some(NodeView::Silent { .. } | NodeView::Refusing { .. } | NodeView::Loading) => {
            return false;
        }
    };
    let myself = report.cluster.as_ref().and_then(|it| it.myself());
    match myself.map(|it| it.role) {
        Some(PeerRole::Replica(Some(_))) => true,
        Some(PeerRole::Primary | PeerRole::Replica(None)) | None => {
            report.keys == 0 && myself.is_none_or(|it| it.slots.is_empty())
        }
    }
}

/// Whether its shard has, or will have by then, another primary.
fn has_heir(layout: &Layout, view: &View, node: &Node<'_>) -> bool {
    let Some(primary) = acting(layout, view, node.2.shard) else {
        return false;
    };
    let hands_over = || {
        let mut promotions = crate::handover::of_those_that_leave(layout, view).into_iter();
        promotions.any(|it| it.instead_of.id == node.2.id)
    };
    primary.2.id != node.2.id || hands_over()
}

/// A replica that leaves a shard must still be one, with its link up; anything else must be empty.
fn last_look(
    layout: &Layout,
    view: &View,
    name: &WorkloadName,
    seat: &Seat,
) -> Option<StewardStep> {
    let Some(place) = seat.node else {
        let cluster = view.nodes.get(&seat.address).and_then(NodeView::cluster)?;
        return Some(StewardStep::EnsureEmpty {
            node: Member {
                id: cluster.id,
                address: seat.address,
            },
        });
    };
    let node = (name, seat, place);
    myself_of(view, &node)?;
    if leaves(layout, place.shard) {
        return Some(StewardStep::EnsureEmpty {
            node: member(&node),
        });
    }
    let primary = primary_to_be(layout, view, &node)?;
    Some(StewardStep::EnsureCopies {
        replica: member(&node),
        primary,
    })
}

/// Who is the primary of a shard once those that leave have handed over.
pub(super) fn primary_to_be(layout: &Layout, view: &View, node: &Node<'_>) -> Option<Member> {
    let primary = member(&acting(layout, view, node.2.shard)?);
    let promotions = crate::handover::of_those_that_leave(layout, view);
    let heir = promotions.iter().find(|it| it.instead_of == primary);
    Some(heir.map_or(primary, |it| it.node))
}

fn must_stop(view: &View, name: &WorkloadName) -> bool {
    let found = view.engine.workloads.get(name);
    found.is_some_and(|it| match it.phase {
        WorkloadPhase::Running { .. }
        | WorkloadPhase::Restarting { .. }
        | WorkloadPhase::Held { .. } => true,
        WorkloadPhase::Stopped | WorkloadPhase::Ended(_) => false,
    })
}

/// All that are still there forget all that go, in one step, because a node that one of them still
/// knows comes back by gossip. Newcomers are among them: by then they have met those that go. So
/// are those that leave later. Whoever runs until this plan stops it may be heard of at any moment
/// before.
fn forgetting(
    layout: &Layout,
    view: &View,
    going: &[(&WorkloadName, &Seat)],
) -> Option<StewardStep> {
    let seen = |seat: &Seat| view.nodes.get(&seat.address).and_then(NodeView::cluster);
    let id_of = |seat: &Seat| {
        let node = seat.node.map(|it| it.id);
        node.or_else(|| seen(seat).map(|it| it.id))
            .or_else(|| known_at(view, seat.address))
    };
    let goes = |name: &WorkloadName| going.iter().any(|(it, _)| *it == name);
    let seats = layout.seats.iter().filter(|(name, _)| !goes(name));
    let there = seats.map(|(_, seat)| seat);
    let staying = there.filter(|seat| !seat.leaves || seen(seat).is_some());
    let is_known = |id: &NodeId| {
        let mut others = staying.clone().filter_map(seen);
        others.any(|cluster| cluster.peer(*id).is_some())
    };
    let gone: Vec<NodeId> = going
        .iter()
        .filter_map(|(name, seat)| Some((*name, id_of(seat)?)))
        .filter(|(name, id)| is_known(id) || must_stop(view, name))
        .map(|(_, id)| id)
        .collect();
    let by = staying.clone().filter_map(|seat| {
        Some(Member {
            id: id_of(seat)?,
            address: seat.address,
        })
    });
    (!gone.is_empty()).then(|| StewardStep::EnsureForgotten {
        gone,
        by: by.collect(),
    })
}

/// Those that cannot go yet, and why.
pub(super) fn findings(instance: &Instance, view: &View) -> Vec<Finding> {
    let leaving = instance.layout.seats.iter().filter(|(_, seat)| seat.leaves);
    leaving
        .filter(|(name, seat)| {
            let answers = view.nodes.contains_key(&seat.address);
            answers && !may_go(instance, view, name)
        })
        .filter_map(|(name, seat)| {
            let message = match seat.node {
                // What does not answer is waited for.
                Some(node) if report_of(view, &(name, seat, node)).is_none() => return None,
                Some(_) => {
                    "it is to leave and is the primary of a shard that stays; no replica of it that \
                     stays is linked and has caught up"
                }
                None => "it is to leave, and it holds something or does not say",
            };
            Some(Finding {
                code: Code("SY2414"),
                severity: Severity::Critical,
                subject: name.to_string(),
                message: message.to_owned(),
                help: Some(format!("shardyard status {}", instance.name)),
            })
        })
        .collect()
}
