//! Decides how the nodes that a platform has added come to use, and how those that it takes away
//! are emptied: what a template's job does around a change of size.
//!
//! It is asked again after each plan, until nothing is left to do, and then finds what a run
//! before it that was cut off has left. A cluster in disorder is not changed.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::migration::SlotMove;
use model::slots::SlotSet;
use model::step::{ClusterStep, Member, Phase, Plan, Promotion, Step, StewardStep};
use model::view::ClusterView;

use super::{Refusal, Seen, agreed, must_be_new, phase, plan, ready, whole};
#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::handover;
use crate::moves::{self, Share};
use crate::policy::Policy;

/// How far from its share a primary may be, as redis-cli has it.
const THRESHOLD_PERCENT: u32 = 2;

/// Nodes that are to be of use.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Grow {
    /// The nodes, whether they are in the cluster already or not. A primary with slots among them
    /// only gives of what it has, as every other one.
    pub joining: Vec<NodeAddress>,
    /// The replicas that each primary is to have.
    pub replicas: u16,
}

/// Nodes that are to own nothing, and to be nobody's only replica.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Drain {
    /// The nodes. One that is not in the cluster has nothing to give.
    pub leaving: Vec<NodeAddress>,
    /// The replicas that each primary that stays is to have.
    pub replicas: u16,
}

/// What is next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// This plan.
    Plan(Plan),
    /// These moves; whoever gives everything away stays a primary.
    Moves(Vec<SlotMove>),
}

/// What is next for nodes to be of use: they join, as many as will do as primaries and the others
/// as replicas, and then each primary gets its share of the slots.
///
/// # Errors
/// Where the cluster is in disorder, or a newcomer has keys, slots or other acquaintances.
pub fn grow(
    seen: Seen<'_>,
    newcomers: &ClusterView,
    wish: &Grow,
    policy: Policy,
) -> Result<Next, Refusal> {
    seen.must_be_in_order()?;
    let mut members = seen.members();
    let owners = owners(seen);
    let mut idle = Vec::new();
    for address in &wish.joining {
        match members.iter().find(|it| it.address == *address) {
            Some(member) if seen.copies(*member).is_some() => {}
            Some(member) if owners.iter().any(|it| it.member == *member) => {}
            Some(member) => idle.push(*member),
            None => {
                let newcomer = newcomers.get(address);
                let newcomer = newcomer.ok_or(Refusal::NotAnswering(*address))?;
                let member = must_be_new(*address, newcomer)?;
                members.push(member);
                idle.push(member);
            }
        }
    }
    let wanted = primaries_of(members.len(), wish.replicas);
    let (primaries, replicas) = idle.split_at(idle.len().min(wanted.saturating_sub(owners.len())));
    if members.len() == seen.members().len() && replicas.is_empty() {
        let takers = primaries.iter().map(|member| Share {
            member: *member,
            slots: SlotSet::empty(),
            weight: 1,
        });
        let shares: Vec<Share> = owners.into_iter().chain(takers).collect();
        return Ok(Next::Moves(moves::balance(
            &shares,
            None,
            THRESHOLD_PERCENT,
        )));
    }
    let nodes: Vec<NodeAddress> = members.iter().map(|it| it.address).collect();
    let met = ClusterStep::EnsureMet { members };
    let mut phases = vec![
        phase("the nodes know each other", Step::Cluster(met)),
        agreed(nodes.clone(), policy),
    ];
    let heads = owners
        .iter()
        .map(|it| it.member)
        .chain(primaries.iter().copied());
    let mut copies = Copies::of(seen, heads.collect(), &[]);
    let steps = replicas.iter().filter_map(|it| copies.give(*it)).collect();
    phases.extend(copying("the replicas copy their primaries", steps));
    phases.push(ready(nodes, policy));
    Ok(Next::Plan(plan(seen, phases)))
}

/// What is next for nodes to own nothing: replicas that stay take over from primaries that leave,
/// as far as there are to be so many primaries; what the others own is moved; and the replicas that
/// stay copy primaries that stay.
///
/// # Errors
/// Where the cluster is in disorder, or nobody would stay.
pub fn drain(seen: Seen<'_>, wish: &Drain, policy: Policy) -> Result<Next, Refusal> {
    seen.must_be_in_order()?;
    let leaves = |it: &Member| wish.leaving.contains(&it.address);
    let staying: Vec<Member> = seen
        .members()
        .into_iter()
        .filter(|it| !leaves(it))
        .collect();
    if staying.is_empty() {
        return Err(Refusal::NobodyTakes);
    }
    let wanted = primaries_of(staying.len(), wish.replicas);
    let (leaving_owners, mut stay): (Vec<Share>, Vec<Share>) =
        owners(seen).into_iter().partition(|it| leaves(&it.member));
    let promotions: Vec<Promotion> = leaving_owners
        .iter()
        .filter_map(|it| handover::best_replica(it.member, seen.view, &wish.leaving).ok())
        .take(wanted.saturating_sub(stay.len()))
        .collect();
    let nodes = seen.members().iter().map(|it| it.address).collect();
    if !promotions.is_empty() {
        let view = whole(seen);
        return Ok(Next::Plan(handover::plan(promotions, nodes, &view, policy)));
    }
    // Those with the fewest replicas go first, because they have the least to rearrange.
    let replicas_staying = |it: &Share| {
        let replicas = seen.replicas_of(it.member.id).into_iter();
        replicas.filter(|replica| !leaves(replica)).count()
    };
    stay.sort_by_key(|it| std::cmp::Reverse((replicas_staying(it), it.slots.len(), it.member)));
    let surplus = if stay.len() > wanted {
        stay.split_off(wanted)
    } else {
        Vec::new()
    };
    if stay.is_empty() {
        return Err(Refusal::NobodyTakes);
    }
    let heads: Vec<Member> = stay.iter().map(|it| it.member).collect();
    let givers = leaving_owners
        .into_iter()
        .chain(surplus)
        .map(|it| Share { weight: 0, ..it });
    let shares: Vec<Share> = stay.into_iter().chain(givers).collect();
    if shares.iter().any(|it| it.weight == 0) {
        return Ok(Next::Moves(moves::give_up(&shares)));
    }
    let mut copies = Copies::of(seen, heads.clone(), &wish.leaving);
    let orphans = staying.iter().filter(|it| match seen.copies(**it) {
        Some(primary) => !heads.iter().any(|head| head.id == primary),
        None => !heads.contains(it),
    });
    let mut steps: Vec<Step> = orphans.filter_map(|it| copies.give(*it)).collect();
    steps.extend(copies.evened());
    let mut phases: Vec<Phase> = copying("the replicas that stay copy primaries that stay", steps)
        .into_iter()
        .collect();
    if !phases.is_empty() {
        phases.push(ready(nodes, policy));
    }
    Ok(Next::Plan(plan(seen, phases)))
}

/// How many primaries so many nodes make.
fn primaries_of(nodes: usize, replicas: u16) -> usize {
    (nodes / (1 + usize::from(replicas))).max(1)
}

/// The primaries with slots.
fn owners(seen: Seen<'_>) -> Vec<Share> {
    let mut shares = seen.shares();
    shares.retain(|it| !it.slots.is_empty());
    shares
}

fn copying(title: &str, steps: Vec<Step>) -> Option<Phase> {
    (!steps.is_empty()).then(|| Phase {
        title: title.to_owned(),
        steps,
    })
}

/// Who copies whom, while it is decided.
struct Copies {
    replicas: BTreeMap<Member, Vec<Member>>,
}

impl Copies {
    /// The replicas of these primaries, but for those that leave.
    fn of(seen: Seen<'_>, primaries: Vec<Member>, leaving: &[NodeAddress]) -> Self {
        let replicas = primaries.into_iter().map(|primary| {
            let mut replicas = seen.replicas_of(primary.id);
            replicas.retain(|it| !leaving.contains(&it.address));
            (primary, replicas)
        });
        Self {
            replicas: replicas.collect(),
        }
    }

    /// A node copies the primary with the fewest replicas; of equal ones the first.
    fn give(&mut self, replica: Member) -> Option<Step> {
        let poorest = self.replicas.iter_mut().min_by_key(|(_, has)| has.len());
        let (primary, has) = poorest?;
        has.push(replica);
        Some(Step::Steward(StewardStep::EnsureCopies {
            replica,
            primary: *primary,
        }))
    }

    /// Replicas go from whoever has more to whoever has fewer, until no two differ by two.
    fn evened(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let counts = || {
                self.replicas
                    .iter()
                    .map(|(primary, has)| (has.len(), *primary))
            };
            let (Some((most, rich)), Some((fewest, _))) = (counts().max(), counts().min()) else {
                return steps;
            };
            if most < fewest + 2 {
                return steps;
            }
            let replica = self.replicas.get_mut(&rich).and_then(Vec::pop);
            let Some(replica) = replica else {
                return steps;
            };
            steps.extend(self.give(replica));
        }
    }
}
