//! The observed state, holes included: what did not answer is in it as such.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::address::NodeAddress;
use crate::ids::{Epoch, HostName, NodeId, WorkloadName};
use crate::image::{ImageRef, ServerVersion};
use crate::size::ByteSize;
use crate::slots::{SlotRange, SlotSet};
use crate::workload::{Fingerprint, Fnv};

/// What was seen of an instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// What its engine shows.
    pub engine: EngineView,
    /// What its servers say. Jobs and servers that are no Redis or Valkey are absent.
    pub nodes: ClusterView,
}

/// What each of some servers says, by the address at which it was asked.
pub type ClusterView = BTreeMap<NodeAddress, NodeView>;

/// What an engine shows of an instance.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EngineView {
    /// The machines on which workloads may run.
    pub hosts: Vec<HostView>,
    /// What the engine makes of each image that was asked about.
    pub images: BTreeMap<ImageRef, ImageView>,
    /// The workloads that it has, or has something left of.
    pub workloads: BTreeMap<WorkloadName, WorkloadView>,
    /// Whether something runs that nobody minds, so that it would not be started again.
    pub unattended: bool,
}

/// A machine on which workloads may run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostView {
    /// Its name.
    pub name: HostName,
    /// All its memory.
    pub memory_total: ByteSize,
    /// The memory that new workloads could have now.
    pub memory_available: ByteSize,
}

/// What an engine makes of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageView {
    /// A server of this version.
    Server(ServerVersion),
    /// A program whose version is of no concern.
    Program,
    /// The engine does not have it and cannot get it.
    Missing {
        /// What was looked for, and where.
        reason: String,
        /// How to get it.
        help: String,
    },
}

/// What an engine shows of one workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkloadView {
    /// What it does at present.
    pub phase: WorkloadPhase,
    /// The definition that it was started with.
    pub fingerprint: Option<Fingerprint>,
    /// How often it was started again since it was made.
    pub restarts: u32,
    /// The memory that it uses.
    pub memory: Option<ByteSize>,
    /// What its volumes hold.
    pub storage: Storage,
}

/// What a workload does at present.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WorkloadPhase {
    /// It is made but does not run, by our wish.
    Stopped,
    /// It runs.
    Running {
        /// Whether its health check passes; `true` where it has none.
        healthy: bool,
    },
    /// It ended and is started again after a pause.
    Restarting {
        /// How its last run ended.
        last: Ending,
        /// The rest of the pause.
        pause: Duration,
    },
    /// It ended and is kept from starting, because that could lose data.
    Held {
        /// Why.
        reason: String,
    },
    /// It ran to its end.
    Ended(Ending),
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ending {
    /// With an exit code; 0 is good.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// Nobody was there to see it.
    Unseen,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(out, "exit code {code}"),
            Self::Signal(number) => write!(out, "signal {number}"),
            Self::Unseen => out.write_str("unseen end"),
        }
    }
}

/// What a workload's volumes hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Storage {
    /// Whether there is a data set: a dump file or append-only files with something in them.
    pub has_dataset: bool,
    /// The node that the stored cluster configuration says it is.
    pub identity: Option<StoredIdentity>,
    /// The size of everything in them.
    pub size: ByteSize,
}

/// Who a stopped node was, as its own `nodes.conf` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredIdentity {
    /// Its id.
    pub id: NodeId,
    /// Whether it owned slots.
    pub owns_slots: bool,
    /// The epoch of its claim on slots, or its primary's.
    pub epoch: Epoch,
}

/// What a server says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeView {
    /// It does not answer.
    Silent {
        /// What was tried and what came of it.
        reason: String,
    },
    /// It answers, but not to us: a password is wrong or missing.
    Refusing {
        /// Its answer.
        reason: String,
    },
    /// It is reading its data from disk, or from its primary.
    Loading,
    /// It answers.
    Answering(Box<NodeReport>),
}

impl NodeView {
    /// The report of a node that answers.
    #[must_use]
    pub fn report(&self) -> Option<&NodeReport> {
        match self {
            Self::Answering(report) => Some(report),
            Self::Silent { .. } | Self::Refusing { .. } | Self::Loading => None,
        }
    }

    /// What a node that answers knows of its cluster, where it is in one.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterReport> {
        self.report()?.cluster.as_ref()
    }
}

/// What a server says of itself (INFO, CLUSTER INFO, CLUSTER NODES).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeReport {
    /// Its version.
    pub version: ServerVersion,
    /// The number of keys in all its databases.
    pub keys: u64,
    /// The memory that its data takes (`used_memory`).
    pub memory_used: ByteSize,
    /// The most memory that its data may take; 0 is no limit.
    pub memory_max: ByteSize,
    /// What it copies, or who copies it.
    pub replication: Replication,
    /// What it knows of its cluster; `None` where it is in none.
    pub cluster: Option<ClusterReport>,
}

/// A server's part in replication (INFO replication).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replication {
    /// It takes writes.
    Primary {
        /// The bytes of its replication stream so far.
        offset: u64,
        /// The replicas that are connected to it.
        replicas: Vec<ReplicaLink>,
    },
    /// It copies another.
    Replica {
        /// The server that it copies: `10.0.0.4:6379`, or a name in place of the IP address.
        of: String,
        /// The link to it.
        link: ReplicationLink,
        /// The bytes of the replication stream that it has applied.
        offset: u64,
    },
}

/// A replica's link to its primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReplicationLink {
    /// It is up, and the first copy is complete.
    Up,
    /// The first copy is on its way, and what the replica had before is of no use.
    Copying,
    /// It is down.
    Down {
        /// For how long, in whole seconds.
        seconds: u64,
    },
}

impl Replication {
    /// The bytes of the replication stream that it has written or applied.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Primary { offset, .. } | Self::Replica { offset, .. } => *offset,
        }
    }
}

/// A replica as its primary sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaLink {
    /// The replica's address, as it announced it.
    pub address: Option<NodeAddress>,
    /// Whether the first copy is complete.
    pub online: bool,
    /// The bytes that it has acknowledged.
    pub offset: u64,
}

/// What a node knows of its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterReport {
    /// Its id.
    pub id: NodeId,
    /// Whether it serves (`cluster_state:ok`).
    pub serves: bool,
    /// The highest epoch that it has seen.
    pub current_epoch: Epoch,
    /// Every node that it knows, itself included.
    pub peers: Vec<Peer>,
}

impl ClusterReport {
    /// What it says of itself.
    #[must_use]
    pub fn myself(&self) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == self.id)
    }

    /// What it says of another node.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    /// The slots that it knows an owner of.
    #[must_use]
    pub fn slots_assigned(&self) -> SlotSet {
        let ranges: Vec<SlotRange> = self
            .peers
            .iter()
            .flat_map(|peer| peer.slots.iter().copied())
            .collect();
        SlotSet::of(&ranges)
    }

    /// Whether it knows no other node.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.peers.iter().all(|peer| peer.id == self.id)
    }
}

/// A node as another one sees it: a line of CLUSTER NODES.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its id; made up by the observer while a handshake lasts.
    pub id: NodeId,
    /// Its address; `None` where the observer has lost it.
    pub address: Option<NodeAddress>,
    /// Its role.
    pub role: PeerRole,
    /// Whether the observer reaches it.
    pub health: PeerHealth,
    /// Whether the two have yet to agree that they know each other.
    pub in_handshake: bool,
    /// The epoch of its claim on slots.
    pub epoch: Epoch,
    /// Whether the observer's link to it is up.
    pub linked: bool,
    /// The slots that it owns.
    pub slots: Vec<SlotRange>,
    /// Slots on their way to or from another node; only a node's own line has them.
    pub open_slots: Vec<OpenSlot>,
}

/// The role of a node, as another one sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerRole {
    /// It may own slots.
    Primary,
    /// It copies this node; `None` where the observer does not know which.
    Replica(Option<NodeId>),
}

/// Whether an observer reaches a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerHealth {
    /// It does.
    Reached,
    /// It does not, for longer than the node time-out (PFAIL).
    Suspected,
    /// A majority of the primaries does not (FAIL).
    Failed,
}

/// A slot on its way between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpenSlot {
    /// The slot.
    pub slot: crate::slots::Slot,
    /// Where it goes or comes from.
    pub direction: OpenDirection,
}

/// Which way a slot is on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OpenDirection {
    /// Away to this node (MIGRATING).
    To(NodeId),
    /// Here from this node (IMPORTING).
    From(NodeId),
}

impl View {
    /// A number that changes with whatever a plan is made from, and not with what moves all the
    /// time: amounts of memory, offsets, numbers of keys.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Fnv::new();
        for (name, workload) in &self.engine.workloads {
            name.hash(&mut hash);
            phase_number(&workload.phase).hash(&mut hash);
            workload.fingerprint.hash(&mut hash);
            workload.storage.has_dataset.hash(&mut hash);
        }
        for (address, node) in &self.nodes {
            address.hash(&mut hash);
            match node {
                NodeView::Silent { .. } => 0_u8.hash(&mut hash),
                NodeView::Refusing { .. } => 1_u8.hash(&mut hash),
                NodeView::Loading => 2_u8.hash(&mut hash),
                NodeView::Answering(report) => hash_report(report, &mut hash),
            }
        }
        Fingerprint(hash.finish())
    }
}

const fn phase_number(phase: &WorkloadPhase) -> u8 {
    match phase {
        WorkloadPhase::Stopped => 0,
        WorkloadPhase::Running { .. } => 1,
        WorkloadPhase::Restarting { .. } => 2,
        WorkloadPhase::Held { .. } => 3,
        WorkloadPhase::Ended(_) => 4,
    }
}

fn hash_report(report: &NodeReport, hash: &mut Fnv) {
    (3_u8, report.version, report.keys > 0).hash(hash);
    if let Some(cluster) = &report.cluster {
        cluster.id.hash(hash);
        for peer in &cluster.peers {
            (peer.id, peer.role, &peer.slots, &peer.open_slots).hash(hash);
        }
    }
}
