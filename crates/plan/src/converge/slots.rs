//! Decides which slots move to whom, so that each shard owns what it is to own, and what becomes of
//! slots that are found half-way.
//!
//! A half-moved slot goes on to where it was going, whoever began it: keys may be at either end,
//! and only a move brings them together. From there it goes to where it belongs.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{NodeId, ShardIndex};
use model::instance::Layout;
use model::migration::{MoveManner, SlotMove};
use model::slots::{Slot, SlotSet};
use model::step::{Member, Phase, Step, StewardStep};
use model::view::{OpenDirection, OpenSlot, Peer, PeerRole, View};

use super::counted;
use crate::handover::of_those_that_leave;
use crate::policy::Policy;
use crate::shards::{acting, cluster_of, member, myself_of, owners, report_of};

/// Who acts for each shard once those that leave have handed over.
pub(super) fn primaries(layout: &Layout, view: &View) -> BTreeMap<ShardIndex, Member> {
    let promotions = of_those_that_leave(layout, view);
    let after = |primary: Member| {
        let heir = promotions.iter().find(|it| it.instead_of == primary);
        heir.map_or(primary, |it| it.node)
    };
    layout
        .shards()
        .into_iter()
        .filter_map(|shard| Some((shard, after(member(&acting(layout, view, shard)?)))))
        .collect()
}

/// Tells those that import slots who owns these. They heed no claim on them
/// (`clusterUpdateSlotsConfigWith`, Redis 7.0): where the owner is another than when they began,
/// because its replica has taken over, they know none at all, and say that the cluster is down.
pub(super) fn told_importers(layout: &Layout, view: &View) -> Vec<Step> {
    let owners = owners(layout, view);
    let nodes = layout.nodes();
    nodes
        .filter_map(|node| Some((node, cluster_of(view, &node)?)))
        .flat_map(|(node, cluster)| {
            let imported = cluster.myself().map_or_else(SlotSet::empty, imported);
            let unheard = layout.nodes().filter_map(|owner| {
                let owned = owners.get(&owner.2.id)?.intersection(&imported);
                let believed = cluster.peer(owner.2.id).map(|it| SlotSet::of(&it.slots));
                let slots = owned.difference(&believed.unwrap_or_else(SlotSet::empty));
                (!slots.is_empty()).then(|| StewardStep::EnsureOwner {
                    node: member(&owner),
                    slots,
                    others: vec![member(&node)],
                })
            });
            unheard.map(Step::Steward).collect::<Vec<Step>>()
        })
        .collect()
}

/// Whether a slot is on its way to a node that is no primary any more. Its owner must know who has
/// taken over before it can go on.
pub(super) fn goes_to_former(layout: &Layout, view: &View) -> bool {
    let acting: BTreeSet<NodeId> = primaries(layout, view).values().map(|it| it.id).collect();
    let mut open = layout
        .nodes()
        .filter_map(|node| myself_of(view, &node))
        .flat_map(|myself| &myself.open_slots);
    open.any(|it| match it.direction {
        OpenDirection::To(other) => !acting.contains(&other),
        OpenDirection::From(_) => false,
    })
}

/// Brings the slots of a shard to one of its nodes, the acting one, where two are primaries:
/// a slot came to a primary in the moment in which its replica took over, and only what it had
/// before is its successor's. Nobody knows but it what it has since; it becomes a replica only once
/// it has nothing of its own.
pub(super) fn gathered(layout: &Layout, view: &View, policy: Policy) -> Vec<Phase> {
    let owners = owners(layout, view);
    let none = SlotSet::empty();
    let (mut arrivals, mut gatherings) = (Vec::new(), Vec::new());
    for stray in layout.nodes() {
        let Some(home) = acting(layout, view, stray.2.shard).map(|node| member(&node)) else {
            continue;
        };
        let is_primary = |it: &&Peer| it.role == PeerRole::Primary;
        let myself = myself_of(view, &stray).filter(is_primary);
        let Some(myself) = myself.filter(|_| home.id != stray.2.id) else {
            continue;
        };
        let mut gathered = owners.get(&stray.2.id).unwrap_or(&none).clone();
        let imported = imported(myself);
        for owner in layout.nodes().filter(|it| it.2.shard != stray.2.shard) {
            let slots = owners.get(&owner.2.id).unwrap_or(&none);
            let slots = slots.intersection(&imported);
            if !slots.is_empty() {
                gathered = gathered.union(&slots);
                let (source, target) = (member(&owner), member(&stray));
                arrivals.push(SlotMove {
                    source,
                    target,
                    slots,
                });
            }
        }
        if !gathered.is_empty() {
            gatherings.push(SlotMove {
                source: member(&stray),
                target: home,
                slots: gathered,
            });
        }
    }
    let mut manner = policy.manner;
    manner.replace = true;
    [
        (
            "what was on its way to a primary before has arrived",
            arrivals,
        ),
        ("the slots of each shard are at one node", gatherings),
    ]
    .into_iter()
    .filter(|(_, moves)| !moves.is_empty())
    .map(|(title, moves)| moving(title, moves, manner))
    .collect()
}

/// The slots that a node imports.
fn imported(myself: &Peer) -> SlotSet {
    let mut imported = SlotSet::empty();
    for it in &myself.open_slots {
        if let OpenDirection::From(_) = it.direction {
            imported.insert(it.slot);
        }
    }
    imported
}

/// The phases that bring each slot to where it belongs.
pub(super) fn phases(layout: &Layout, view: &View, policy: Policy) -> Vec<Phase> {
    let primaries = primaries(layout, view);
    let half = HalfMoved::of(layout, view, &primaries);
    let mut phases = Vec::new();
    if !half.closed.is_empty() {
        phases.push(Phase {
            title: "no slot is open that is not on its way".to_owned(),
            steps: half.closed.iter().map(stable).collect(),
        });
    }
    let Split { onward, moves, .. } = half.split(layout, view, &primaries);
    let all: Vec<&SlotMove> = onward.iter().chain(&moves).collect();
    let drained = drained(layout, &all, view);
    if !drained.is_empty() {
        phases.push(Phase {
            title: "those that give everything stay primaries".to_owned(),
            steps: vec![Step::Steward(StewardStep::EnsureSetting {
                nodes: drained,
                name: "cluster-allow-replica-migration".to_owned(),
                value: "no".to_owned(),
            })],
        });
    }
    phases.extend(functions(layout, view, &all));
    if !onward.is_empty() {
        // The owner's version of a key counts, also where the far end was a primary before the
        // target and nothing is open there any more.
        let mut manner = policy.manner;
        manner.replace = true;
        phases.push(moving("what was half-way has arrived", onward, manner));
    }
    let (first, then) = in_turn(layout, view, &primaries, moves);
    for moves in [first, then] {
        if !moves.is_empty() {
            let slots = moves.iter().map(|each| each.slots.len()).sum();
            let title = format!("{} where they belong", counted(slots, "slot"));
            phases.push(moving(&title, moves, policy.manner));
        }
    }
    phases
}

/// Whether slots first go where somebody was moving them, and from there with the next plan. Until
/// then nobody can say that a node which leaves is left without any.
pub(super) fn is_detour(layout: &Layout, view: &View) -> bool {
    let primaries = primaries(layout, view);
    let half = HalfMoved::of(layout, view, &primaries);
    half.split(layout, view, &primaries).is_detour
}

fn moving(title: &str, moves: Vec<SlotMove>, manner: MoveManner) -> Phase {
    Phase {
        title: title.to_owned(),
        steps: vec![Step::Steward(StewardStep::EnsureMoved { moves, manner })],
    }
}

fn stable((node, slots): (&Member, &SlotSet)) -> Step {
    Step::Steward(StewardStep::EnsureStable {
        node: *node,
        slots: slots.clone(),
    })
}

/// Slots that are open somewhere.
#[derive(Debug, Default)]
struct HalfMoved {
    /// From whom to whom each of them was going.
    onward: BTreeMap<(ShardIndex, ShardIndex), SlotSet>,
    /// Slots that are open at a node for which that means nothing: it owns what it imports, or
    /// gives what it does not own.
    closed: BTreeMap<Member, SlotSet>,
}

impl HalfMoved {
    fn of(layout: &Layout, view: &View, primaries: &BTreeMap<ShardIndex, Member>) -> Self {
        let owners = owners(layout, view);
        let shards: BTreeMap<NodeId, ShardIndex> = layout
            .nodes()
            .map(|(_, _, node)| (node.id, node.shard))
            .collect();
        let owner_of = |slot: Slot| {
            let mut all = owners.iter();
            all.find(|(_, slots)| slots.contains(slot))
                .map(|(id, _)| *id)
        };
        let mut half = Self::default();
        let mut taken = SlotSet::empty();
        // Where somebody began twice, the way that the owner sends clients is the one that counts.
        let is_given = |it: &OpenSlot| matches!(it.direction, OpenDirection::To(_));
        for (node, gives) in [true, false]
            .into_iter()
            .flat_map(|gives| layout.nodes().map(move |node| (node, gives)))
        {
            let open = myself_of(view, &node).map_or(&[][..], |it| it.open_slots.as_slice());
            for it in open.iter().filter(|it| is_given(it) == gives) {
                let owner = owner_of(it.slot);
                let here = node.2.shard;
                let way = match it.direction {
                    OpenDirection::To(other) => shards
                        .get(&other)
                        .filter(|there| owner == Some(node.2.id) && **there != here)
                        .map(|there| (here, *there)),
                    OpenDirection::From(_) => owner
                        .and_then(|owner| shards.get(&owner).copied())
                        .filter(|owner| *owner != here)
                        .map(|owner| (owner, here)),
                };
                let is_acting = primaries.get(&here).is_some_and(|it| it.id == node.2.id);
                match way.filter(|_| is_acting || node.1.leaves) {
                    // Of two ways the first is gone to its end; the next plan sees the other.
                    Some(way) if !taken.contains(it.slot) => {
                        taken.insert(it.slot);
                        let slots = half.onward.entry(way).or_insert_with(SlotSet::empty);
                        slots.insert(it.slot);
                    }
                    Some(_) => {}
                    None => {
                        let slots = half.closed.entry(member(&node));
                        slots.or_insert_with(SlotSet::empty).insert(it.slot);
                    }
                }
            }
        }
        half
    }

    /// What has to arrive somewhere first, and all other moves.
    fn split(
        self,
        layout: &Layout,
        view: &View,
        primaries: &BTreeMap<ShardIndex, Member>,
    ) -> Split {
        let mut by_pair = wanted(layout, view);
        let mut onward = Vec::new();
        let mut is_detour = false;
        for ((from, to), slots) in self.onward {
            let intended = layout.owners.get(&to);
            is_detour |= intended.is_none_or(|owned| !slots.difference(owned).is_empty());
            for moved in by_pair.values_mut() {
                // From the far end it goes on with the next plan, which knows what came of this
                // one.
                *moved = moved.difference(&slots);
            }
            onward.extend(slot_move(primaries, from, to, slots));
        }
        let moves = by_pair
            .into_iter()
            .filter(|(_, slots)| !slots.is_empty())
            .filter_map(|((from, to), slots)| slot_move(primaries, from, to, slots))
            .collect();
        Split {
            onward,
            moves,
            is_detour,
        }
    }
}

/// The moves of a plan.
struct Split {
    /// What was on its way goes on to where it was going.
    onward: Vec<SlotMove>,
    /// Everything else goes where it belongs.
    moves: Vec<SlotMove>,
    /// Whether something that was on its way does not belong where it was going.
    is_detour: bool,
}

fn slot_move(
    primaries: &BTreeMap<ShardIndex, Member>,
    from: ShardIndex,
    to: ShardIndex,
    slots: SlotSet,
) -> Option<SlotMove> {
    Some(SlotMove {
        source: *primaries.get(&from)?,
        target: *primaries.get(&to)?,
        slots,
    })
}

/// The slots that are not where the layout wants them, by the shards that have and want them.
fn wanted(layout: &Layout, view: &View) -> BTreeMap<(ShardIndex, ShardIndex), SlotSet> {
    let owned = crate::shards::owned(layout, view);
    let mut wanted = BTreeMap::new();
    for (to, intended) in &layout.owners {
        for (from, slots) in owned.iter().filter(|(from, _)| *from != to) {
            let moved = slots.intersection(intended);
            if !moved.is_empty() {
                wanted.insert((*from, *to), moved);
            }
        }
    }
    wanted
}

/// The nodes of shards that give away all that they have. With replica migration allowed, a primary
/// that gives its last slot away, and its replicas with it, turn into replicas of whoever got it
/// (`clusterUpdateSlotsConfigWith`, Redis 7.0), and one of them may empty that shard later.
///
/// It is not put back. Those that leave are stopped; one that stays without a slot must go on being
/// a primary, and where its replicas belong is decided here and not by the servers.
fn drained(layout: &Layout, moves: &[&SlotMove], view: &View) -> Vec<Member> {
    let sources: BTreeSet<NodeId> = moves.iter().map(|each| each.source.id).collect();
    let gives_all = |shard: ShardIndex| {
        let intended = layout.owners.get(&shard);
        let keeps_none = intended.is_none_or(SlotSet::is_empty) && !layout.owners.is_empty();
        let nodes = layout.shard(shard);
        keeps_none && nodes.iter().any(|node| sources.contains(&node.2.id))
    };
    layout
        .nodes()
        .filter(|node| gives_all(node.2.shard) && report_of(view, node).is_some())
        .map(|node| member(&node))
        .collect()
}

/// A primary that never owned a slot has no functions yet; a client would find them missing.
fn functions(layout: &Layout, view: &View, moves: &[&SlotMove]) -> Option<Phase> {
    let owners = owners(layout, view);
    let targets: BTreeSet<Member> = moves
        .iter()
        .map(|each| each.target)
        .filter(|target| owners.get(&target.id).is_none_or(SlotSet::is_empty))
        .filter(|target| !is_heir(layout, view, *target))
        .collect();
    let source = moves.iter().map(|each| each.source).min()?;
    (!targets.is_empty()).then(|| Phase {
        title: "the functions are where slots go".to_owned(),
        steps: vec![Step::Steward(StewardStep::EnsureFunctions {
            source,
            targets: targets.into_iter().collect(),
        })],
    })
}

/// Whether it takes over from a primary that has them, and has them as its replica.
fn is_heir(layout: &Layout, view: &View, member: Member) -> bool {
    let mut promotions = of_those_that_leave(layout, view).into_iter();
    promotions.any(|it| it.node == member)
}

/// A shard that stays must never be without any slot: where it gives all that it has, what it gets
/// comes first.
fn in_turn(
    layout: &Layout,
    view: &View,
    primaries: &BTreeMap<ShardIndex, Member>,
    moves: Vec<SlotMove>,
) -> (Vec<SlotMove>, Vec<SlotMove>) {
    let owned = crate::shards::owned(layout, view);
    let emptied: BTreeSet<Member> = layout
        .owners
        .iter()
        .filter(|(shard, intended)| {
            let has = owned
                .get(shard)
                .is_some_and(|slots| !slots.is_empty() && slots.intersection(intended).is_empty());
            has && !intended.is_empty()
        })
        .filter_map(|(shard, _)| primaries.get(shard).copied())
        .collect();
    if emptied.is_empty() {
        return (moves, Vec::new());
    }
    moves
        .into_iter()
        .partition(|each| emptied.contains(&each.target))
}
