//! Decides how slots that are in disorder are settled, by one exhaustive table (`fix::table`).
//!
//! It never picks an owner by chance, never counts a silent node as an empty one, and gives nothing
//! away whose data may be on a node that does not answer, unless the user agreed to a loss that a
//! finding names. Where it cannot be known which of two copies of a key counts, it says so and does
//! nothing.

mod facts;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{Epoch, NodeId};
use model::migration::{MoveManner, SlotMove};
use model::slots::{Slot, SlotSet};
use model::step::{Member, Phase, Plan, Step, StewardStep};
use model::view::{ClusterView, View};

use self::facts::Cluster;
use self::table::{Reason, Verdict};
use crate::ready;

/// What the user has agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consent {
    /// Slots whose owner does not answer may be given away. What only that owner has of them is
    /// lost when it comes back.
    pub unreachable: bool,
    /// How keys are brought together. With `replace` the key that a slot's owner has counts, and
    /// another node's copy of it is overwritten.
    pub manner: MoveManner,
}

/// How many keys of a slot a primary holds. A pair that is absent: none.
pub type Held = BTreeMap<(NodeId, Slot), u64>;

/// The slots that a fix, or a check, has to know the number of keys of at each primary: those that
/// are open anywhere, have no owner or several. Keys in slots of others are seen only where all
/// slots are counted.
#[must_use]
pub fn slots_in_question(nodes: &[NodeAddress], view: &ClusterView) -> SlotSet {
    Cluster::of(nodes, view, &Held::new()).in_question()
}

/// The plan that settles every slot. Empty where none is in disorder, or where only findings are
/// left, each of which says what a person has to decide.
#[must_use]
pub fn fix(nodes: &[NodeAddress], view: &ClusterView, held: &Held, consent: Consent) -> Plan {
    let cluster = Cluster::of(nodes, view, held);
    let mut verdicts: BTreeMap<Verdict, SlotSet> = BTreeMap::new();
    let mut rest = cluster.suspects();
    // Each turn settles one slot at least, so there are no more turns than slots.
    while let Some(slot) = first(&rest) {
        let alike = cluster.alike(slot, &rest);
        rest = rest.difference(&alike);
        let verdict = table::judge(&cluster.facts(slot), consent);
        if verdict != Verdict::Fine {
            let slots = verdicts.entry(verdict).or_insert_with(SlotSet::empty);
            *slots = slots.union(&alike);
        }
    }
    let mut phases = Vec::new();
    push(
        &mut phases,
        "no slot is open without a reason",
        stable(&verdicts),
    );
    push(
        &mut phases,
        "every slot has one owner",
        owners(&cluster, &verdicts),
    );
    for (turn, moves) in (1..).zip(gatherings(&verdicts)) {
        let title = match turn {
            1 => "the keys of each slot are at one node".to_owned(),
            _ => format!("the keys of each slot are at one node, turn {turn}"),
        };
        let step = StewardStep::EnsureMoved {
            moves,
            manner: consent.manner,
        };
        push(&mut phases, &title, vec![Step::Steward(step)]);
    }
    push(
        &mut phases,
        "no two claims have the same epoch",
        epochs(&cluster),
    );
    let nudges = ready::nudges(&ready::obstacles(nodes, view));
    push(
        &mut phases,
        "everybody has heard who owns what",
        nudges.into_iter().map(Step::Cluster).collect(),
    );
    let whole = View {
        nodes: view.clone(),
        ..View::default()
    };
    Plan {
        based_on: whole.fingerprint(),
        phases,
        findings: findings(&cluster, &verdicts),
    }
}

fn first(slots: &SlotSet) -> Option<Slot> {
    slots.iter().next()
}

fn push(phases: &mut Vec<Phase>, title: &str, steps: Vec<Step>) {
    if !steps.is_empty() {
        phases.push(Phase {
            title: title.to_owned(),
            steps,
        });
    }
}

fn stable(verdicts: &BTreeMap<Verdict, SlotSet>) -> Vec<Step> {
    let mut by_node: BTreeMap<Member, SlotSet> = BTreeMap::new();
    for (verdict, slots) in verdicts {
        for node in verdict.closes() {
            let all = by_node.entry(*node).or_insert_with(SlotSet::empty);
            *all = all.union(slots);
        }
    }
    by_node
        .into_iter()
        .map(|(node, slots)| Step::Steward(StewardStep::EnsureStable { node, slots }))
        .collect()
}

/// Who gets the slots that have no owner, or several.
fn owners(cluster: &Cluster, verdicts: &BTreeMap<Verdict, SlotSet>) -> Vec<Step> {
    let mut by_node: BTreeMap<Member, SlotSet> = BTreeMap::new();
    for (verdict, slots) in verdicts {
        match verdict {
            Verdict::Own { node, .. } => {
                let all = by_node.entry(*node).or_insert_with(SlotSet::empty);
                *all = all.union(slots);
            }
            Verdict::Cover { .. } => {
                for (node, part) in cluster.share_out(slots) {
                    let all = by_node.entry(node).or_insert_with(SlotSet::empty);
                    *all = all.union(&part);
                }
            }
            Verdict::Fine | Verdict::Close { .. } | Verdict::Gather { .. } | Verdict::Refuse(_) => {
            }
        }
    }
    by_node
        .into_iter()
        .map(|(node, slots)| own(cluster, node, slots))
        .collect()
}

fn own(cluster: &Cluster, node: Member, slots: SlotSet) -> Step {
    Step::Steward(StewardStep::EnsureOwner {
        node,
        slots,
        others: cluster.primaries().filter(|other| *other != node).collect(),
    })
}

/// The moves that bring keys together: each holder in turn takes over what those before it had.
fn gatherings(verdicts: &BTreeMap<Verdict, SlotSet>) -> Vec<Vec<SlotMove>> {
    let mut turns: Vec<BTreeMap<(Member, Member), SlotSet>> = Vec::new();
    for (verdict, slots) in verdicts {
        for (turn, pair) in verdict.chain().windows(2).enumerate() {
            let [source, target] = pair else { continue };
            if turns.len() <= turn {
                turns.push(BTreeMap::new());
            }
            let all = turns[turn]
                .entry((*source, *target))
                .or_insert_with(SlotSet::empty);
            *all = all.union(slots);
        }
    }
    turns
        .into_iter()
        .map(|moves| {
            moves
                .into_iter()
                .map(|((source, target), slots)| SlotMove {
                    source,
                    target,
                    slots,
                })
                .collect()
        })
        .collect()
}

/// Of primaries that claim with the same epoch all but the one with the highest id take a new one:
/// as the servers themselves settle it (`clusterHandleConfigEpochCollision`, Redis 7.0).
fn epochs(cluster: &Cluster) -> Vec<Step> {
    let mut by_epoch: BTreeMap<Epoch, BTreeSet<Member>> = BTreeMap::new();
    for (member, epoch, _) in cluster.claims() {
        by_epoch.entry(epoch).or_default().insert(member);
    }
    let colliding = by_epoch.into_values().flat_map(|mut members| {
        members.pop_last();
        members
    });
    colliding
        .map(|node| own(cluster, node, cluster.slots_of(node.id)))
        .collect()
}

/// What each verdict could lose, and what is left to a person.
fn findings(cluster: &Cluster, verdicts: &BTreeMap<Verdict, SlotSet>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (verdict, slots) in verdicts {
        let found = match verdict {
            Verdict::Fine | Verdict::Close { gives_up: None, .. } => None,
            Verdict::Own {
                gives_up: None,
                chain,
                ..
            } if chain.is_empty() => None,
            Verdict::Close {
                gives_up: Some(lost),
                ..
            }
            | Verdict::Own {
                gives_up: Some(lost),
                ..
            }
            | Verdict::Gather {
                gives_up: Some(lost),
                ..
            }
            | Verdict::Cover {
                gives_up: Some(lost),
            } => Some((
                "SY2501",
                Severity::Critical,
                format!(
                    "slots {slots} are given up at {}, which does not answer: what only it has of \
                     them is deleted when it comes back",
                    lost.words()
                ),
                Some("bring it back instead, if there is any way".to_owned()),
            )),
            Verdict::Cover { gives_up: None } => Some((
                "SY2505",
                Severity::Notice,
                format!("nobody owns slots {slots} and no node holds a key of them"),
                None,
            )),
            Verdict::Own { chain, .. } | Verdict::Gather { chain, .. } => Some((
                "SY2504",
                Severity::Notice,
                format!(
                    "keys of slots {slots} are at {}; they are brought together, and a key that is at \
                     two of them stops it",
                    names(chain)
                ),
                None,
            )),
            Verdict::Refuse(reason) => Some(refused(reason, slots)),
        };
        findings.extend(found.map(|(code, severity, message, help)| Finding {
            code: Code(code),
            severity,
            subject: "cluster".to_owned(),
            message,
            help,
        }));
    }
    findings.extend(cluster.silent().map(|(node, reason)| Finding {
        code: Code("SY2203"),
        severity: Severity::Critical,
        subject: node.to_string(),
        message: reason.to_owned(),
        help: None,
    }));
    findings.sort_by_key(|it| (std::cmp::Reverse(it.severity), it.code));
    findings
}

fn refused(reason: &Reason, slots: &SlotSet) -> (&'static str, Severity, String, Option<String>) {
    let (code, message, help) = match reason {
        Reason::Unreachable(lost) => (
            "SY2502",
            format!(
                "slots {slots} may have keys at {}, which does not answer; nothing is given away",
                lost.words()
            ),
            "bring it back; --fix-with-unreachable-masters gives up what only it has".to_owned(),
        ),
        Reason::ReplicaHasIt { owner, replica } => (
            "SY2502",
            format!(
                "slots {slots} belong to {}, which does not answer, and {replica} is its replica \
                 and has their keys; nothing is given away",
                owner.short()
            ),
            format!(
                "have it elected: redis-cli -h {} -p {} CLUSTER FAILOVER FORCE",
                replica.address.ip, replica.address.port
            ),
        ),
        Reason::SeveralOwners(owners) => (
            "SY2503",
            format!(
                "slots {slots} have several owners with keys: {}; the claim with the higher epoch \
                 wins, and the other node deletes its keys then",
                names(owners)
            ),
            "stop writing, and save the keys of both: redis-cli -h HOST -p PORT --rdb copy.rdb"
                .to_owned(),
        ),
        Reason::Stray(chain) => (
            "SY2506",
            format!(
                "keys of slots {slots} are at {}, of which only the first owns them; whether they \
                 are newer or were deleted long ago cannot be known",
                names(chain)
            ),
            "with --replace they are brought together, and what the owner has counts".to_owned(),
        ),
        Reason::OutvotedClaim { owner, by } => (
            "SY2507",
            format!(
                "slots {slots} are claimed by {owner}, and others know a later claim of {}, which \
                 does not answer",
                by.short()
            ),
            "bring the other node back, so that both can be asked".to_owned(),
        ),
    };
    (code, Severity::Critical, message, Some(help))
}

fn names(members: &[Member]) -> String {
    let names: Vec<String> = members.iter().map(ToString::to_string).collect();
    names.join(", ")
}
