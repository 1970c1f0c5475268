//! An instance: one delivered template, with all that was decided about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;
use crate::ids::{Epoch, HostName, InstanceName, NodeId, ShardIndex, VariableName, WorkloadName};
use crate::slots::{SlotRange, SlotSet, even_split};
use crate::spec::{Spec, Value};

/// The platform that runs an instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum EngineKind {
    /// Plain processes on this host.
    Process,
    /// Containers of one Docker Engine.
    Docker,
}

impl EngineKind {
    /// Every kind there is.
    pub const ALL: [Self; 2] = [Self::Process, Self::Docker];

    /// The engine of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Its name, as the user writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Which addresses clients are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Expose {
    /// Those that workloads have in their own network: clients are in it, or on its Linux host.
    #[default]
    Network,
    /// This address of the host, with a port for each workload: clients are anywhere.
    Host(IpAddr),
}

/// A template's files by their path in its folder. They are kept with the instance, so that what
/// was delivered does not change when the folder or a newer Shardyard does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct TemplateFiles {
    /// Path (with `/`, relative to the folder) and text.
    pub files: BTreeMap<String, String>,
}

/// One delivered template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// Its name, unique among the instances of one state folder.
    pub name: InstanceName,
    /// The platform that runs it.
    pub engine: EngineKind,
    /// Which addresses its clients are told.
    pub expose: Expose,
    /// The template's files at the time of delivery.
    pub files: TemplateFiles,
    /// The variables, generated secrets included.
    pub values: BTreeMap<VariableName, Value>,
    /// What it is to be: the files with the variables filled in.
    pub spec: Spec,
    /// Where its workloads sit.
    pub layout: Layout,
    /// Whether it was ready once. From then on a node without data is a loss, not a beginning.
    pub delivered: bool,
    /// The change of its size that a job of a hook has part in, while it is under way.
    pub change: Option<Change>,
}

/// A change of an instance's size in which the job of a hook has its turn. Who leaves is marked in
/// the layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What tells it from every other one, so that its jobs run anew and, once done, not again.
    pub number: u64,
    /// The workloads that have joined.
    pub joined: BTreeSet<WorkloadName>,
}

/// Where the workloads of an instance sit. It is decided once, before anything is made, so that
/// doing leaves no choice and can be done twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// The seats, by workload.
    pub seats: BTreeMap<WorkloadName, Seat>,
    /// Which slots each shard is to own, while slots are being moved: all 16384 of them, or
    /// nothing where none are. Between two moves whoever owns a slot owns it rightly.
    pub owners: BTreeMap<ShardIndex, SlotSet>,
}

/// Where one workload sits, and which node of a cluster it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The machine that runs it.
    pub host: HostName,
    /// The address at which it answers.
    pub address: NodeAddress,
    /// Its place in the cluster that the steward forms; `None` for other workloads.
    pub node: Option<NodeSeat>,
    /// Whether it is to leave: it is drained, forgotten and stopped, and then has no seat.
    pub leaves: bool,
}

/// The place of a node in a cluster that the steward forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeSeat {
    /// Its id for life.
    pub id: NodeId,
    /// The shard that it belongs to.
    pub shard: ShardIndex,
    /// The role with which it begins. A failover changes roles, and that is no fault.
    pub role: PlannedRole,
}

/// The role with which a node begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PlannedRole {
    /// It owns the shard's slots.
    Primary,
    /// It copies the shard's primary.
    Replica,
}

impl Layout {
    /// The seats that are nodes of the cluster which the steward forms.
    pub fn nodes(&self) -> impl Iterator<Item = (&WorkloadName, &Seat, NodeSeat)> {
        self.seats
            .iter()
            .filter_map(|(workload, seat)| seat.node.map(|node| (workload, seat, node)))
    }

    /// The nodes of one shard, its planned primary first.
    #[must_use]
    pub fn shard(&self, shard: ShardIndex) -> Vec<(&WorkloadName, &Seat, NodeSeat)> {
        let mut nodes: Vec<_> = self
            .nodes()
            .filter(|(_, _, node)| node.shard == shard)
            .collect();
        nodes.sort_by_key(|(_, _, node)| node.role);
        nodes
    }

    /// The shards, lowest first.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<ShardIndex> {
        self.nodes().map(|(_, _, node)| node.shard).collect()
    }

    /// The slots with which a shard begins.
    #[must_use]
    pub fn first_slots(&self, shard: ShardIndex) -> Option<SlotRange> {
        let count = u16::try_from(self.shards().len()).ok()?;
        even_split(count).get(usize::from(shard.0)).copied()
    }

    /// The epoch with which a shard's claim begins: 1 for the first shard, and so on, so that no
    /// two primaries ever claim with the same one.
    #[must_use]
    pub fn first_epoch(shard: ShardIndex) -> Epoch {
        Epoch(u64::from(shard.0) + 1)
    }

    /// The workload with this node id.
    #[must_use]
    pub fn workload_of(&self, id: NodeId) -> Option<&WorkloadName> {
        self.nodes()
            .find(|(_, _, node)| node.id == id)
            .map(|(workload, _, _)| workload)
    }

    /// The workload at this address.
    #[must_use]
    pub fn workload_at(&self, address: NodeAddress) -> Option<&WorkloadName> {
        self.seats
            .iter()
            .find(|(_, seat)| seat.address == address)
            .map(|(workload, _)| workload)
    }
}
