//! Commands to servers, as data, for what must be done in a certain order: the order is decided on
//! this side of the port, so that it is the same for real servers and for simulated ones.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::NodeAddress;
use crate::fault::Fault;
use crate::ids::NodeId;
use crate::slots::{Slot, SlotRange};
use crate::spec::Credentials;
use crate::view::{ClusterReport, Replication};

/// A key, as its bytes.
pub type Key = Vec<u8>;

/// One command to one server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeCommand {
    /// `CLUSTER SETSLOT slot IMPORTING from`, on the target.
    SetImporting {
        /// The slot.
        slot: Slot,
        /// Its owner.
        from: NodeId,
    },
    /// `CLUSTER SETSLOT slot MIGRATING to`, on the source.
    SetMigrating {
        /// The slot.
        slot: Slot,
        /// Its owner to be.
        to: NodeId,
    },
    /// `CLUSTER SETSLOT slot STABLE`.
    SetStable(Slot),
    /// `CLUSTER SETSLOT slot NODE owner`.
    SetOwner {
        /// The slot.
        slot: Slot,
        /// Who owns it from now on.
        owner: NodeId,
    },
    /// `CLUSTER ADDSLOTSRANGE`: claims slots that nobody owns.
    AddSlots(Vec<SlotRange>),
    /// `CLUSTER DELSLOTSRANGE`: this node no longer believes that anybody owns them.
    DelSlots(Vec<SlotRange>),
    /// `CLUSTER BUMPEPOCH`.
    BumpEpoch,
    /// `CLUSTER COUNTKEYSINSLOT`.
    CountKeys(Slot),
    /// `CLUSTER SLOT-STATS SLOTSRANGE` of all its slots (Valkey 8.0, Redis 8.2): what commands on
    /// each have cost.
    SlotStats,
    /// `CLUSTER GETKEYSINSLOT`.
    KeysIn {
        /// The slot.
        slot: Slot,
        /// How many at most.
        count: u32,
    },
    /// `MEMORY USAGE key SAMPLES samples`.
    SizeOf {
        /// The key.
        key: Key,
        /// How many elements of it are measured; 0 for all.
        samples: u32,
    },
    /// `MIGRATE`: the keys are written to the target and, once it has them, deleted here unless
    /// they are copied.
    Migrate {
        /// The target.
        to: NodeAddress,
        /// The keys, all of one or several slots that are open towards the target.
        keys: Vec<Key>,
        /// How long the target may be silent.
        timeout: Duration,
        /// Whether a key that the target has is overwritten.
        replace: bool,
        /// Whether the keys stay here as well.
        copies: bool,
        /// With which user the target is spoken to.
        login: TargetLogin,
    },
    /// `INFO keyspace`.
    Databases,
    /// `SCAN cursor COUNT count`.
    Scan {
        /// Where to go on; 0 to begin with.
        cursor: u64,
        /// About how many keys are looked at.
        count: u32,
    },
    /// A question about one key.
    Key {
        /// The key.
        key: Key,
        /// What is asked.
        question: KeyQuestion,
    },
    /// `INFO replication`.
    Replication,
    /// `CLIENT LIST TYPE master`, on a replica: for how many seconds its link to its primary has
    /// been up, as a number; nothing where it has none (Redis 5.0).
    LinkAge,
    /// `CLUSTER NODES`.
    Cluster,
    /// `ASKING`: the next command may be about a slot that is on its way here.
    Asking,
    /// `SET key value EX 3600`: a key of ours that a killed run leaves behind goes by itself.
    Set {
        /// The key.
        key: Key,
        /// Its value.
        value: Vec<u8>,
    },
    /// `GET key`.
    Get {
        /// The key.
        key: Key,
    },
    /// `DEL key`.
    Del {
        /// The key.
        key: Key,
    },
    /// `PING`: nothing but an answer.
    Ping,
    /// `CLUSTER MIGRATESLOTS` (Valkey 9.0): these slots go to this node.
    MigrateSlots {
        /// The slots.
        ranges: Vec<SlotRange>,
        /// Their owner to be.
        to: NodeId,
    },
    /// `CLUSTER GETSLOTMIGRATIONS` (Valkey 9.0).
    SlotMigrations,
    /// `CLUSTER CANCELSLOTMIGRATIONS` (Valkey 9.0): all that this node exports.
    CancelSlotMigrations,
    /// `CLUSTER MIGRATION IMPORT` (Redis 8.4): these slots come here.
    ImportSlots(Vec<SlotRange>),
    /// `CLUSTER MIGRATION STATUS ALL` (Redis 8.4).
    ImportStatus,
    /// `CLUSTER MIGRATION CANCEL ID` (Redis 8.4).
    CancelImport(String),
    /// `CLUSTER FAILOVER`, on a replica: its primary stops writes, and hands over once the replica
    /// has all of them.
    Failover,
    /// `CLUSTER FORGET`.
    Forget(NodeId),
    /// `CLUSTER REPLICATE`.
    Replicate(NodeId),
    /// `CONFIG GET name`.
    Setting(String),
    /// `CONFIG SET name value`.
    SetSetting {
        /// The setting.
        name: String,
        /// Its value; never a secret.
        value: String,
    },
    /// `FUNCTION DUMP` (Redis 7.0).
    DumpFunctions,
    /// `FUNCTION RESTORE payload APPEND` (Redis 7.0): libraries that are there already stay.
    RestoreFunctions(Vec<u8>),
}

/// With which user `MIGRATE` logs in at its target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetLogin {
    /// With the one that the source is spoken to: both are nodes of one cluster.
    AsHere,
    /// With this one, or without a login.
    Other(Option<Credentials>),
}

/// What is asked about a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyQuestion {
    /// `EXISTS`.
    Exists,
    /// `DUMP`: the value as one server hands it to another.
    Dump,
    /// `PTTL`: for how long it still lives.
    Lifetime,
    /// Its whole value, by the command that reads one of this shape.
    Value(Shape),
}

/// How a value is read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shape {
    /// `GET`.
    Text,
    /// `LRANGE key 0 -1`.
    List,
    /// `SMEMBERS`: in no order.
    Set,
    /// `ZRANGE key 0 -1 WITHSCORES`.
    SortedSet,
    /// `HGETALL`: fields and values by turns, the pairs in no order.
    Hash,
}

/// The answer to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeAnswer {
    /// It was done.
    Done,
    /// `MIGRATE` found none of the keys.
    NoKey,
    /// A number.
    Number(u64),
    /// There is no such thing: the size of a key that is gone, a setting that it does not know.
    Nothing,
    /// Keys, or the parts of a value.
    Keys(Vec<Key>),
    /// Keys, and where to go on; 0 where there are no more.
    Page(u64, Vec<Key>),
    /// The keys of each database that has any.
    Databases(BTreeMap<u32, u64>),
    /// It lives for ever.
    Forever,
    /// A text: the value of a setting, the number of a task.
    Text(String),
    /// Bytes: a value, the functions.
    Bytes(Vec<u8>),
    /// Its part in replication.
    Replication(Replication),
    /// What it knows of its cluster.
    Cluster(Box<ClusterReport>),
    /// Its atomic migrations, on either end.
    Migrations(Vec<AtomicMigration>),
    /// What is counted of each slot.
    SlotStats(Vec<SlotStat>),
}

/// Why a command was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandError {
    /// The server refused it, in these words, which begin with the server's error code. Nothing
    /// was done.
    Refused(String),
    /// No answer came: it may have been done or not.
    Lost(Fault),
}

/// What a server counts of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotStat {
    /// The slot.
    pub slot: Slot,
    /// The time that commands on it took, in microseconds; `None` where
    /// `cluster-slot-stats-enabled` is off.
    pub cpu_usec: Option<u64>,
    /// The memory of its keys, in bytes; `None` where it is not counted.
    pub memory_bytes: Option<u64>,
}

/// An atomic migration of slots, as one of its ends sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AtomicMigration {
    /// The number that the server gave it.
    pub id: String,
    /// Whether this node gives (`true`) or takes.
    pub is_export: bool,
    /// The slots.
    pub ranges: Vec<SlotRange>,
    /// Where they come from.
    pub source: Option<NodeId>,
    /// Where they go.
    pub target: Option<NodeId>,
    /// How far it is.
    pub state: AtomicState,
    /// The server's words on it, often empty.
    pub message: String,
}

/// How far an atomic migration is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AtomicState {
    /// It is on its way.
    Running,
    /// The target owns the slots.
    Succeeded,
    /// The source owns the slots, as before.
    Failed,
    /// Somebody called it off; the source owns the slots.
    Cancelled,
}
