//! Decides changes to a cluster of which only the nodes are known: slots that move, nodes that join
//! or go. It is what `redis-cli --cluster reshard | rebalance | add-node | del-node` decide, on a
//! view of *every* node.
//!
//! A cluster in disorder is not changed: it is settled first (`fix`). Nothing here takes a slot
//! from a node that does not answer.

mod name;
mod refusal;
mod resize;

use std::collections::BTreeSet;

use model::address::NodeAddress;
use model::finding::Severity;
use model::ids::NodeId;
use model::migration::{MoveManner, SlotMove};
use model::slots::SlotSet;
use model::step::{ClusterStep, Condition, Member, Phase, Plan, Step, StewardStep, Wait};
use model::view::{ClusterView, NodeView, PeerRole, View};

pub use self::name::Named;
pub use self::refusal::Refusal;
pub use self::resize::{Drain, Grow, Next, drain, grow};
#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::check;
use crate::moves::{self, Loads, Share};
use crate::policy::Policy;

/// A cluster as all its nodes were seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its nodes.
    pub nodes: &'a [NodeAddress],
    /// What each says.
    pub view: &'a ClusterView,
}

/// So many slots to one primary.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Reshard {
    /// Who gives; every other primary where nobody is named.
    pub from: Vec<Named>,
    /// Who takes.
    pub to: Named,
    /// How many slots.
    pub slots: u16,
}

/// Each primary gets its share.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Rebalance {
    /// The weight of a primary against the others; 1 where nothing is said, 0 empties it.
    pub weights: Vec<(Named, u32)>,
    /// Whether primaries without a slot get their share, too.
    pub use_empty: bool,
    /// How far from its share a primary may be.
    pub threshold_percent: u32,
}

/// A node that joins.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Join {
    /// The node, which is empty and alone.
    pub node: NodeAddress,
    /// Whether it becomes a replica.
    pub as_replica: bool,
    /// Of whom; of the primary with the fewest replicas where nobody is named.
    pub primary: Option<Named>,
}

impl Seen<'_> {
    /// The primaries, those without a slot as well, each with this weight.
    #[must_use]
    pub fn shares(&self) -> Vec<Share> {
        let share = |address: &NodeAddress| {
            let cluster = self.view.get(address)?.cluster()?;
            let myself = cluster.myself()?;
            (myself.role == PeerRole::Primary).then(|| Share {
                member: Member {
                    id: cluster.id,
                    address: *address,
                },
                slots: SlotSet::of(&myself.slots),
                weight: 1,
            })
        };
        self.nodes.iter().filter_map(share).collect()
    }

    /// The nodes that answer.
    fn members(&self) -> Vec<Member> {
        let member = |address: &NodeAddress| {
            let cluster = self.view.get(address)?.cluster()?;
            Some(Member {
                id: cluster.id,
                address: *address,
            })
        };
        self.nodes.iter().filter_map(member).collect()
    }

    /// Whom a node copies, by its own word.
    fn copies(&self, member: Member) -> Option<NodeId> {
        let cluster = self.view.get(&member.address)?.cluster()?;
        match cluster.myself()?.role {
            PeerRole::Primary => None,
            PeerRole::Replica(primary) => primary,
        }
    }

    pub(crate) fn replicas_of(&self, primary: NodeId) -> Vec<Member> {
        let mut members = self.members();
        members.retain(|it| self.copies(*it) == Some(primary));
        members
    }

    /// The primary with slots that has the fewest replicas; of equal ones the first.
    fn poorest(&self, but: Option<NodeId>) -> Option<Member> {
        let shares = self.shares().into_iter();
        let owners = shares.filter(|it| !it.slots.is_empty() && Some(it.member.id) != but);
        owners
            .map(|it| it.member)
            .min_by_key(|it| (self.replicas_of(it.id).len(), *it))
    }

    /// What is critical about the cluster: nothing is changed before it is settled.
    pub(crate) fn must_be_in_order(&self) -> Result<(), Refusal> {
        let mut findings = check::check(self.nodes, self.view, None);
        findings.retain(|it| it.severity == Severity::Critical || it.code.0 == "SY2208");
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Disorder(findings))
        }
    }

    fn primary(&self, named: &Named) -> Result<Share, Refusal> {
        let member = named.among(&self.members())?;
        let mut shares = self.shares().into_iter();
        let found = shares.find(|it| it.member == member);
        found.ok_or(Refusal::NoPrimary(member))
    }
}

/// The moves that give a primary more slots.
///
/// # Errors
/// Where the cluster is in disorder, or a node that is named is no primary of it.
pub fn reshard(seen: Seen<'_>, wish: &Reshard) -> Result<Vec<SlotMove>, Refusal> {
    seen.must_be_in_order()?;
    let target = seen.primary(&wish.to)?.member;
    let sources: Vec<Share> = if wish.from.is_empty() {
        seen.shares()
    } else {
        let named: Result<Vec<Share>, Refusal> =
            wish.from.iter().map(|it| seen.primary(it)).collect();
        named?
    };
    if sources.iter().any(|it| it.member == target) && !wish.from.is_empty() {
        return Err(Refusal::SourceIsTarget(target));
    }
    let has: usize = sources
        .iter()
        .filter(|it| it.member != target)
        .map(|it| it.slots.len())
        .sum();
    if usize::from(wish.slots) > has {
        return Err(Refusal::TooFewSlots {
            wanted: wish.slots,
            has,
        });
    }
    Ok(moves::reshard(&sources, target, wish.slots))
}

/// The moves that give each primary its share.
///
/// # Errors
/// Where the cluster is in disorder, or a node that is named is no primary of it.
pub fn rebalance(
    seen: Seen<'_>,
    wish: &Rebalance,
    loads: Option<&Loads>,
) -> Result<Vec<SlotMove>, Refusal> {
    seen.must_be_in_order()?;
    let mut shares = seen.shares();
    if !wish.use_empty {
        shares.retain(|it| !it.slots.is_empty());
    }
    for (named, weight) in &wish.weights {
        let member = seen.primary(named)?.member;
        let share = shares.iter_mut().find(|it| it.member == member);
        // As redis-cli has it: whoever has no slot takes part only where that is said.
        share.ok_or(Refusal::EmptyAndWeighed(member))?.weight = *weight;
    }
    if shares.iter().all(|it| it.weight == 0) {
        return Err(Refusal::NobodyTakes);
    }
    Ok(moves::balance(&shares, loads, wish.threshold_percent))
}

/// The primaries that give everything away, and whom their servers would then turn into replicas of
/// whoever took the last slot.
#[must_use]
pub fn drained(seen: Seen<'_>, moves: &[SlotMove]) -> Vec<Member> {
    let shares = seen.shares().into_iter();
    let is_drained = |share: &Share| {
        let given = moves.iter().filter(|it| it.source == share.member);
        let given = given.fold(SlotSet::empty(), |all, it| all.union(&it.slots));
        !share.slots.is_empty() && share.slots.difference(&given).is_empty()
    };
    shares.filter(is_drained).map(|it| it.member).collect()
}

/// The plan for moves. `stay` are primaries that give everything and stay primaries: their setting
/// is put back afterwards.
#[must_use]
pub fn moved(seen: Seen<'_>, moves: Vec<SlotMove>, stay: &[Member], policy: Policy) -> Plan {
    let setting = |value: &str| {
        Step::Steward(StewardStep::EnsureSetting {
            nodes: stay.to_vec(),
            name: REPLICA_MIGRATION.to_owned(),
            value: value.to_owned(),
        })
    };
    let mut phases = Vec::new();
    let slots: usize = moves.iter().map(|it| it.slots.len()).sum();
    if slots == 0 {
        return plan(seen, phases);
    }
    if !stay.is_empty() {
        phases.push(phase(
            "those that give everything stay primaries",
            setting("no"),
        ));
    }
    phases.extend(functions(seen, &moves));
    phases.push(moving(slots, moves, policy.manner));
    if !stay.is_empty() {
        phases.push(phase("their setting is as it was", setting("yes")));
    }
    phases.push(ready(seen.nodes.to_vec(), policy));
    plan(seen, phases)
}

/// The setting by which an emptied primary becomes a replica (Redis 7.0, Valkey 7.2).
pub const REPLICA_MIGRATION: &str = "cluster-allow-replica-migration";

/// A primary without a slot does not have the functions of the cluster yet.
fn functions(seen: Seen<'_>, moves: &[SlotMove]) -> Option<Phase> {
    let source = moves.iter().map(|it| it.source).min()?;
    let empty: BTreeSet<Member> = seen
        .shares()
        .into_iter()
        .filter(|it| it.slots.is_empty() && moves.iter().any(|each| each.target == it.member))
        .map(|it| it.member)
        .collect();
    (!empty.is_empty()).then(|| {
        let step = StewardStep::EnsureFunctions {
            source,
            targets: empty.into_iter().collect(),
        };
        phase("the functions are where slots go", Step::Steward(step))
    })
}

fn moving(slots: usize, moves: Vec<SlotMove>, manner: MoveManner) -> Phase {
    let title = format!(
        "{} where they belong",
        crate::converge::counted(slots, "slot")
    );
    phase(
        &title,
        Step::Steward(StewardStep::EnsureMoved { moves, manner }),
    )
}

/// The plan by which a node joins.
///
/// # Errors
/// Where the cluster is in disorder, or the node has keys, slots or other acquaintances.
pub fn join(
    seen: Seen<'_>,
    newcomer: &NodeView,
    wish: &Join,
    policy: Policy,
) -> Result<Plan, Refusal> {
    seen.must_be_in_order()?;
    let node = must_be_new(wish.node, newcomer)?;
    let mut members = seen.members();
    if members.iter().any(|it| it.id == node.id) {
        return Err(Refusal::IsIn(node));
    }
    let primary = match &wish.primary {
        Some(named) => Some(seen.primary(named)?.member),
        None if wish.as_replica => Some(seen.poorest(None).ok_or(Refusal::NobodyToCopy)?),
        None => None,
    };
    members.push(node);
    let nodes: Vec<NodeAddress> = members.iter().map(|it| it.address).collect();
    let met = Step::Cluster(ClusterStep::EnsureMet { members });
    let mut phases = vec![phase("the nodes know each other", met)];
    phases.push(agreed(nodes.clone(), policy));
    match primary {
        Some(primary) => {
            let step = StewardStep::EnsureCopies {
                replica: node,
                primary,
            };
            phases.push(phase("the replica copies its primary", Step::Steward(step)));
        }
        None => phases.extend(functions_for(seen, node)),
    }
    // A new primary does not serve at once, and whoever comes next needs a cluster in order.
    phases.push(ready(nodes, policy));
    Ok(plan(seen, phases))
}

fn functions_for(seen: Seen<'_>, node: Member) -> Option<Phase> {
    let shares = seen.shares().into_iter();
    let source = shares.filter(|it| !it.slots.is_empty()).map(|it| it.member);
    let step = StewardStep::EnsureFunctions {
        source: source.min()?,
        targets: vec![node],
    };
    Some(phase(
        "it has the functions of the cluster",
        Step::Steward(step),
    ))
}

fn must_be_new(address: NodeAddress, seen: &NodeView) -> Result<Member, Refusal> {
    let report = seen.report().ok_or(Refusal::NotAnswering(address))?;
    let cluster = report
        .cluster
        .as_ref()
        .ok_or(Refusal::NoClusterMode(address))?;
    let myself = cluster.myself();
    let is_alone = cluster.peers.iter().all(|it| it.id == cluster.id);
    let owns = myself.is_some_and(|it| !it.slots.is_empty());
    if report.keys > 0 || owns || !is_alone {
        return Err(Refusal::NotNew {
            node: address,
            keys: report.keys,
        });
    }
    Ok(Member {
        id: cluster.id,
        address,
    })
}

/// The plan by which a node goes: its replicas copy others, nobody knows it, and it knows nobody.
/// The server itself runs on.
///
/// # Errors
/// Where the cluster is in disorder for another reason than this node, or the node owns slots.
pub fn leave(seen: Seen<'_>, named: &Named, policy: Policy) -> Result<Plan, Refusal> {
    let members = seen.members();
    let id = match (named, named.among(&members)) {
        // An address may have had another node before.
        (Named::Address(_), Ok(member)) => member.id,
        (Named::Address(_) | Named::Id(_), _) => known(seen, named)?,
    };
    let member = members.iter().copied().find(|it| it.id == id);
    let slots = owned(seen, id);
    if !slots.is_empty() {
        return Err(Refusal::OwnsSlots {
            node: id,
            slots: slots.len(),
        });
    }
    if member.is_some() {
        seen.must_be_in_order()?;
    }
    let stay: Vec<Member> = members.iter().copied().filter(|it| it.id != id).collect();
    let mut phases = Vec::new();
    let orphans: Vec<Step> = seen
        .replicas_of(id)
        .into_iter()
        .filter_map(|replica| {
            let primary = seen.poorest(Some(id))?;
            Some(Step::Steward(StewardStep::EnsureCopies {
                replica,
                primary,
            }))
        })
        .collect();
    if !orphans.is_empty() {
        phases.push(Phase {
            title: "its replicas copy others".to_owned(),
            steps: orphans,
        });
    }
    let is_primary = member.is_some_and(|it| seen.copies(it).is_none());
    if let Some(node) = member.filter(|_| is_primary) {
        let step = StewardStep::EnsureEmpty { node };
        phases.push(phase("it has no slot and no key", Step::Steward(step)));
    }
    let forgotten = StewardStep::EnsureForgotten {
        gone: vec![id],
        by: stay.clone(),
    };
    phases.push(phase("nobody knows it", Step::Steward(forgotten)));
    if let Some(node) = member.filter(|_| is_primary) {
        let alone = StewardStep::EnsureForgotten {
            gone: stay.iter().map(|it| it.id).collect(),
            by: vec![node],
        };
        phases.push(phase("it knows nobody", Step::Steward(alone)));
    }
    if member.is_some() {
        phases.push(ready(stay.iter().map(|it| it.address).collect(), policy));
    }
    Ok(plan(seen, phases))
}

/// The one node of this name, also of those that do not answer, by the word of those that do.
fn known(seen: Seen<'_>, named: &Named) -> Result<NodeId, Refusal> {
    let clusters = seen.view.values().filter_map(NodeView::cluster);
    let peers = clusters.flat_map(|cluster| &cluster.peers);
    let found = peers.filter(|peer| named.is(peer.id, peer.address));
    // Each of the others has a word on it.
    let ids: BTreeSet<NodeId> = found.map(|peer| peer.id).collect();
    named.only(ids.into_iter(), |id| id)
}

/// What a node owns by its own word or by that of anybody.
fn owned(seen: Seen<'_>, id: NodeId) -> SlotSet {
    let clusters = seen.view.values().filter_map(NodeView::cluster);
    let peers = clusters.filter_map(|cluster| cluster.peer(id));
    peers.fold(SlotSet::empty(), |all, peer| {
        all.union(&SlotSet::of(&peer.slots))
    })
}

/// The plan that gives each node that answers a setting.
#[must_use]
pub fn set(seen: Seen<'_>, name: &str, value: &str) -> Plan {
    let step = StewardStep::EnsureSetting {
        nodes: seen.members(),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let title = format!("{name} is {value}");
    plan(seen, vec![phase(&title, Step::Steward(step))])
}

/// The plan of `fix`, and then the wait until all have heard of it; where a node does not answer
/// that cannot be waited for.
#[must_use]
pub fn settled(seen: Seen<'_>, mut fix: Plan, policy: Policy) -> Plan {
    let answers = |node: &NodeAddress| seen.view.get(node).and_then(NodeView::report).is_some();
    if !fix.is_empty() && seen.nodes.iter().all(answers) {
        fix.phases.push(agreed(seen.nodes.to_vec(), policy));
    }
    fix
}

fn agreed(nodes: Vec<NodeAddress>, policy: Policy) -> Phase {
    let wait = Wait {
        until: Condition::Agreed(nodes),
        limit: policy.ready_limit,
    };
    phase("all nodes agree", Step::Wait(wait))
}

fn ready(nodes: Vec<NodeAddress>, policy: Policy) -> Phase {
    let wait = Wait {
        until: Condition::Ready(nodes),
        limit: policy.ready_limit,
    };
    phase("the cluster is ready", Step::Wait(wait))
}

fn phase(title: &str, step: Step) -> Phase {
    Phase {
        title: title.to_owned(),
        steps: vec![step],
    }
}

fn whole(seen: Seen<'_>) -> View {
    View {
        nodes: seen.view.clone(),
        ..View::default()
    }
}

fn plan(seen: Seen<'_>, phases: Vec<Phase>) -> Plan {
    Plan {
        based_on: whole(seen).fingerprint(),
        phases,
        findings: Vec::new(),
    }
}
