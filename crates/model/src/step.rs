//! Plans: what would be done, as data that can be printed, stored, compared and simulated.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;
use crate::fault::Fault;
use crate::finding::Finding;
use crate::ids::{Epoch, NodeId, WorkloadName};
use crate::migration::{Import, MoveManner, SlotMove};
use crate::slots::{SlotRange, SlotSet};
use crate::workload::{Fingerprint, Workload};

/// What would be done, in phases that follow one another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The view that it was made from; one made from another view is stale.
    pub based_on: Fingerprint,
    /// The phases, first to last.
    pub phases: Vec<Phase>,
    /// What was noticed while planning, and why something is not planned.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.phases.iter().all(|phase| phase.steps.is_empty())
    }
}

/// Steps that do not depend on each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Phase {
    /// What will be true after it: "6 redis workloads run".
    pub title: String,
    /// The steps; any order is right, also all at once.
    pub steps: Vec<Step>,
}

/// One thing that will be true. Each can be applied twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Something on the platform.
    Engine(EngineStep),
    /// Something in the cluster.
    Cluster(ClusterStep),
    /// Something in the cluster that data depends on: the order of its commands is `steward`'s.
    Steward(StewardStep),
    /// Nothing is done until something is true.
    Wait(Wait),
}

/// One thing that will be true on the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EngineStep {
    /// The workload runs with this definition.
    EnsureRunning(Box<Workload>),
    /// The job with this definition has run to a good end.
    EnsureDone(Box<Workload>),
    /// The workload does not run; its volumes stay.
    EnsureStopped(WorkloadName),
    /// Nothing is left of the workload, its volumes included.
    EnsureDeleted(WorkloadName),
}

/// One thing that will be true in the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClusterStep {
    /// A node that owns nothing owns these slots, claimed with this epoch.
    EnsureSlots {
        /// The node.
        node: Member,
        /// The slots, which nobody owns.
        slots: Vec<SlotRange>,
        /// The epoch of the claim; left as it is where the node has one.
        epoch: Epoch,
    },
    /// Each of these nodes knows and reaches each other one.
    EnsureMet {
        /// The nodes.
        members: Vec<Member>,
    },
    /// Each of these nodes copies the primary, and has caught up with it.
    EnsureReplicas {
        /// The primary.
        primary: Member,
        /// Its replicas; all in one step, because the primary copies to all at once.
        replicas: Vec<Member>,
    },
    /// Each of these nodes is its shard's primary by a vote of the other primaries
    /// (`CLUSTER FAILOVER FORCE`, never `TAKEOVER`). One after the other, because two elections
    /// at once split the vote.
    EnsurePromoted {
        /// The promotions.
        promotions: Vec<Promotion>,
    },
    /// A new primary serves at once: it does not sit out the pause after which a primary that was
    /// alone for long trusts its view again.
    EnsureServing {
        /// The primary, which must be new and without keys.
        node: Member,
    },
    /// The listener knows what the speaker is and owns at present, without waiting for gossip.
    EnsureHeard {
        /// Whose state it is.
        speaker: Member,
        /// Who must know it.
        listener: Member,
    },
}

/// One thing that will be true in the cluster, and on whose order of commands data depends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StewardStep {
    /// These slots have their new owners, with all their keys. One step for all moves, because they
    /// share a budget and the pairs must not get into each other's way.
    EnsureMoved {
        /// The moves; no slot is in two of them.
        moves: Vec<SlotMove>,
        /// In which manner.
        manner: MoveManner,
    },
    /// The cluster has the keys and the functions of a server that is in none.
    EnsureImported(Import),
    /// The node has none of these slots open (`CLUSTER SETSLOT STABLE`).
    EnsureStable {
        /// The node.
        node: Member,
        /// The slots.
        slots: SlotSet,
    },
    /// The node owns these slots, by its own word and that of the others. Its keys in them are the
    /// ones that count.
    EnsureOwner {
        /// The node.
        node: Member,
        /// The slots.
        slots: SlotSet,
        /// Every other primary.
        others: Vec<Member>,
    },
    /// The primary of a shard is another of its nodes, by a handover that loses no write
    /// (`CLUSTER FAILOVER`), awaited by role and offset.
    EnsureHandedOver {
        /// The handovers, one after the other.
        promotions: Vec<Promotion>,
    },
    /// The node copies this primary, at once or after a failover.
    EnsureCopies {
        /// The replica, which owns no slot and is not the only copy of anything.
        replica: Member,
        /// The primary.
        primary: Member,
    },
    /// The functions of one node are on the others as well.
    EnsureFunctions {
        /// Who has them.
        source: Member,
        /// Who is to have them.
        targets: Vec<Member>,
    },
    /// The node owns no slot and holds no key, by its own word, asked at this moment: the last look
    /// before it goes.
    EnsureEmpty {
        /// The node.
        node: Member,
    },
    /// None of these knows the gone nodes. All are told well within the minute after which they
    /// would learn of them again (`CLUSTER FORGET`, its ban list).
    EnsureForgotten {
        /// The nodes that are gone, or go.
        gone: Vec<NodeId>,
        /// Who stays.
        by: Vec<Member>,
    },
    /// Each of these nodes runs with this setting.
    EnsureSetting {
        /// The nodes.
        nodes: Vec<Member>,
        /// The setting.
        name: String,
        /// Its value; never a secret.
        value: String,
    },
}

/// A replica that follows on its primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Promotion {
    /// The node, a replica before.
    pub node: Member,
    /// The primary before.
    pub instead_of: Member,
}

/// A node of a cluster, with what is needed to speak to it and of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its address.
    pub address: NodeAddress,
}

impl fmt::Display for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.id.short(), self.address)
    }
}

/// Something that is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What must be true.
    pub until: Condition,
    /// How long it may take.
    pub limit: Duration,
}

/// What can be waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// The health check of each of these workloads passes, and each server among them answers.
    Healthy(Vec<WorkloadName>),
    /// Each of these nodes has heard what each other one is and owns.
    Agreed(Vec<NodeAddress>),
    /// The cluster of these servers is ready: each slot is served, each replica is linked and has
    /// caught up, and every node says so (invariant 8 of ARCHITECTURE.md). Servers that are in no
    /// cluster only have to answer.
    Ready(Vec<NodeAddress>),
}

/// What became of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Each step was applied.
    Done,
    /// A step failed; the phases after it were not begun.
    Failed(Fault),
    /// The user ended it; what was begun is finished or can be done again.
    Interrupted,
}

impl Step {
    /// The kind of step, for JSON and the journal: `ensure_running`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Engine(EngineStep::EnsureRunning(_)) => "ensure_running",
            Self::Engine(EngineStep::EnsureDone(_)) => "ensure_done",
            Self::Engine(EngineStep::EnsureStopped(_)) => "ensure_stopped",
            Self::Engine(EngineStep::EnsureDeleted(_)) => "ensure_deleted",
            Self::Cluster(ClusterStep::EnsureSlots { .. }) => "ensure_slots",
            Self::Cluster(ClusterStep::EnsureMet { .. }) => "ensure_met",
            Self::Cluster(ClusterStep::EnsureReplicas { .. }) => "ensure_replicas",
            Self::Cluster(ClusterStep::EnsurePromoted { .. }) => "ensure_promoted",
            Self::Cluster(ClusterStep::EnsureServing { .. }) => "ensure_serving",
            Self::Cluster(ClusterStep::EnsureHeard { .. }) => "ensure_heard",
            Self::Steward(step) => step.kind(),
            Self::Wait(wait) => match wait.until {
                Condition::Healthy(_) => "wait_healthy",
                Condition::Agreed(_) => "wait_agreed",
                Condition::Ready(_) => "wait_ready",
            },
        }
    }

    /// What the step is about: a workload or a node.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Engine(
                EngineStep::EnsureRunning(workload) | EngineStep::EnsureDone(workload),
            ) => workload.name.to_string(),
            Self::Engine(EngineStep::EnsureStopped(name) | EngineStep::EnsureDeleted(name)) => {
                name.to_string()
            }
            Self::Cluster(
                ClusterStep::EnsureSlots { node, .. } | ClusterStep::EnsureServing { node },
            ) => node.to_string(),
            Self::Cluster(ClusterStep::EnsureReplicas { replicas, .. }) => list(replicas),
            Self::Cluster(ClusterStep::EnsurePromoted { promotions }) => {
                let nodes: Vec<Member> = promotions.iter().map(|each| each.node).collect();
                list(&nodes)
            }
            Self::Cluster(ClusterStep::EnsureHeard { listener, .. }) => listener.to_string(),
            Self::Cluster(ClusterStep::EnsureMet { members }) => count(members.len(), "node"),
            Self::Steward(step) => step.subject(),
            Self::Wait(wait) => match &wait.until {
                Condition::Healthy(workloads) => count(workloads.len(), "workload"),
                Condition::Agreed(nodes) | Condition::Ready(nodes) => count(nodes.len(), "node"),
            },
        }
    }

    /// What will be true, in words. Never a secret.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Engine(EngineStep::EnsureRunning(workload)) => {
                let memory = workload
                    .memory()
                    .map_or_else(String::new, |memory| format!(", {memory}"));
                format!("runs {} at {}{memory}", workload.image, workload.address)
            }
            Self::Engine(EngineStep::EnsureDone(workload)) => {
                format!("runs {} to its end", workload.image)
            }
            Self::Engine(EngineStep::EnsureStopped(_)) => "stops, data kept".to_owned(),
            Self::Engine(EngineStep::EnsureDeleted(_)) => "is deleted with its data".to_owned(),
            Self::Cluster(ClusterStep::EnsureSlots { slots, epoch, .. }) => {
                let ranges: Vec<String> = slots.iter().map(ToString::to_string).collect();
                format!("owns slots {} (epoch {epoch})", ranges.join(","))
            }
            Self::Cluster(ClusterStep::EnsureMet { .. }) => "know each other".to_owned(),
            Self::Cluster(ClusterStep::EnsureReplicas { primary, .. }) => {
                format!("copy {primary}")
            }
            Self::Cluster(ClusterStep::EnsurePromoted { promotions }) => {
                let before: Vec<Member> = promotions.iter().map(|each| each.instead_of).collect();
                format!("become primary by vote, instead of {}", list(&before))
            }
            Self::Cluster(ClusterStep::EnsureServing { .. }) => {
                "serves without waiting for the rejoin delay".to_owned()
            }
            Self::Cluster(ClusterStep::EnsureHeard { speaker, .. }) => {
                format!("knows what {speaker} is and owns")
            }
            Self::Steward(step) => step.detail(),
            Self::Wait(wait) => {
                let what = match wait.until {
                    Condition::Healthy(_) => "healthy",
                    Condition::Agreed(_) => "agreed on who is what and owns what",
                    Condition::Ready(_) => {
                        "ready: all slots served, all replicas linked and caught up"
                    }
                };
                format!("{what}, within {} s", wait.limit.as_secs())
            }
        }
    }
}

impl StewardStep {
    /// The kind of step.
    const fn kind(&self) -> &'static str {
        match self {
            Self::EnsureMoved { .. } => "ensure_moved",
            Self::EnsureImported(_) => "ensure_imported",
            Self::EnsureStable { .. } => "ensure_stable",
            Self::EnsureOwner { .. } => "ensure_owner",
            Self::EnsureHandedOver { .. } => "ensure_handed_over",
            Self::EnsureCopies { .. } => "ensure_copies",
            Self::EnsureFunctions { .. } => "ensure_functions",
            Self::EnsureEmpty { .. } => "ensure_empty",
            Self::EnsureForgotten { .. } => "ensure_forgotten",
            Self::EnsureSetting { .. } => "ensure_setting",
        }
    }

    /// What it is about.
    fn subject(&self) -> String {
        match self {
            Self::EnsureMoved { moves, .. } => {
                let slots = moves.iter().map(|each| each.slots.len()).sum();
                count(slots, "slot")
            }
            Self::EnsureImported(import) => import.source.to_string(),
            Self::EnsureStable { node, .. }
            | Self::EnsureOwner { node, .. }
            | Self::EnsureEmpty { node } => node.to_string(),
            Self::EnsureHandedOver { promotions } => {
                let nodes: Vec<Member> = promotions.iter().map(|each| each.node).collect();
                list(&nodes)
            }
            Self::EnsureCopies { replica, .. } => replica.to_string(),
            Self::EnsureFunctions { targets, .. } => list(targets),
            Self::EnsureForgotten { gone, .. } => {
                let names: Vec<String> = gone.iter().map(NodeId::short).collect();
                names.join(", ")
            }
            Self::EnsureSetting { nodes, .. } => count(nodes.len(), "node"),
        }
    }

    /// What will be true, in words.
    fn detail(&self) -> String {
        match self {
            Self::EnsureMoved { moves, .. } => {
                let each = moves.iter().map(|it| {
                    let (source, target) = (it.source.address, it.target.address);
                    format!(
                        "{} slots {source} → {target} ({})",
                        it.slots.len(),
                        it.slots
                    )
                });
                each.collect::<Vec<String>>().join("; ")
            }
            Self::EnsureImported(import) => {
                let verb = if import.copies { "copied" } else { "moved" };
                let targets: Vec<Member> = import.targets.iter().map(|it| it.member).collect();
                format!("its keys are {verb} to {}, by slot", list(&targets))
            }
            Self::EnsureStable { slots, .. } => format!("has slots {slots} closed"),
            Self::EnsureOwner { slots, .. } => format!("owns slots {slots}, by everybody's word"),
            Self::EnsureHandedOver { promotions } => {
                let before: Vec<Member> = promotions.iter().map(|each| each.instead_of).collect();
                let verb = match before.len() {
                    1 => "takes",
                    _ => "take",
                };
                format!("{verb} over from {}, no write lost", list(&before))
            }
            Self::EnsureCopies { primary, .. } => format!("copies {primary}"),
            Self::EnsureFunctions { source, .. } => format!("have the functions of {source}"),
            Self::EnsureEmpty { .. } => "owns no slot and holds no key".to_owned(),
            Self::EnsureForgotten { by, .. } => {
                format!("is forgotten by {}", count(by.len(), "node"))
            }
            Self::EnsureSetting { name, value, .. } => format!("run with {name} {value}"),
        }
    }
}

fn list(members: &[Member]) -> String {
    let names: Vec<String> = members.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// "1 node", "6 nodes".
fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
