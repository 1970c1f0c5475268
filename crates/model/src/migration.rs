//! Moving slots, as data: which slots go where, in which manner, and how far it is.
//!
//! How it is done is `steward`'s; what may be done is a plan's.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;
use crate::size::ByteSize;
use crate::slots::SlotSet;
use crate::step::Member;

/// Slots that go from one primary to another. Never empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SlotMove {
    /// Who owns them now, or did when the plan was made.
    pub source: Member,
    /// Who is to own them.
    pub target: Member,
    /// The slots.
    pub slots: SlotSet,
}

/// How the servers are made to hand a slot over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Driver {
    /// `MIGRATE` key by key: every server there is.
    Migrate,
    /// `CLUSTER MIGRATESLOTS`, sent to the source: Valkey from 9.0 on.
    MigrateSlots,
    /// `CLUSTER MIGRATION IMPORT`, sent to the target: Redis from 8.4 on.
    MigrationImport,
}

impl Driver {
    /// The command that it is made of.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Migrate => "MIGRATE",
            Self::MigrateSlots => "CLUSTER MIGRATESLOTS",
            Self::MigrationImport => "CLUSTER MIGRATION IMPORT",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// In which manner slots are moved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MoveManner {
    /// The latency that a client of the nodes concerned may see; the mover slows down by it.
    /// `None` for no such budget.
    pub latency_max: Option<Duration>,
    /// The most keys a second, all pairs together; `None` for no limit.
    pub keys_per_second_max: Option<u32>,
    /// The most keys of one `MIGRATE`. Batches are cut by bytes first.
    pub batch_keys_max: u32,
    /// How long one `MIGRATE` of keys of usual size may take.
    pub migrate_timeout: Duration,
    /// Whether a key that the target has already is overwritten.
    pub replace: bool,
    /// What happens to keys so big that their move blocks both servers.
    pub big_keys: BigKeys,
    /// Whether a slot is handed over only once a replica of its target has acknowledged its keys.
    /// Off only where the user said so: what is not copied is lost with the target.
    pub fence: bool,
    /// The driver; `None` for the best that both servers have.
    pub driver: Option<Driver>,
}

/// What happens to keys so big that their move blocks both servers (`MIGRATE` only).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BigKeys {
    /// Each is moved alone, with a time-out of its own.
    Move {
        /// From this size on a key counts as big.
        from: ByteSize,
    },
    /// Nothing is moved where there is one.
    Refuse {
        /// From this size on a key counts as big.
        from: ByteSize,
    },
}

impl BigKeys {
    /// From this size on a key counts as big.
    #[must_use]
    pub const fn from(self) -> ByteSize {
        match self {
            Self::Move { from } | Self::Refuse { from } => from,
        }
    }
}

/// The keys of a server that is in no cluster, on their way into one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Import {
    /// The server.
    pub source: NodeAddress,
    /// The primaries of the cluster, which own every slot together.
    pub targets: Vec<ImportTarget>,
    /// Whether the keys stay at their source as well.
    pub copies: bool,
    /// In which manner they move.
    pub manner: MoveManner,
}

/// A primary that takes keys in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ImportTarget {
    /// The primary.
    pub member: Member,
    /// Its slots.
    pub slots: SlotSet,
    /// The addresses of its replicas.
    pub replicas: Vec<NodeAddress>,
}

/// How far a move is.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct MoveProgress {
    /// The slots that have their new owner.
    pub slots_done: u32,
    /// All slots that are moved; 0 where keys alone are.
    pub slots_total: u32,
    /// The keys that have arrived.
    pub keys_done: u64,
    /// The keys that were counted before; more or fewer may come while clients write.
    pub keys_total: u64,
    /// The bytes that have arrived, as far as they are known.
    pub bytes_done: u64,
    /// Since the beginning, pauses included.
    pub elapsed: Duration,
    /// The rest, at the rate so far; `None` while that cannot be told.
    pub left: Option<Duration>,
    /// The slowest answer to the probe client in the last second.
    pub latency: Option<Duration>,
    /// Why it does not go at full speed.
    pub brake: Option<Brake>,
}

/// Why a move does not go at full speed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Brake {
    /// The latency budget.
    Latency,
    /// The limit of keys a second.
    Rate,
    /// Somebody has paused it.
    Paused,
    /// A replica of a target has yet to acknowledge.
    Fence,
}

/// What whoever oversees a move wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wish {
    /// It goes on.
    GoOn,
    /// It stands still until told otherwise, once the slots that are open have arrived.
    Pause,
    /// It ends once what is under way is finished or backed out: no slot stays open.
    Stop,
}

/// Whoever oversees a move.
pub trait Overseer: Send + Sync {
    /// Hears how far it is; it must not block.
    fn progress(&self, progress: &MoveProgress);

    /// Says what is to happen; asked many times a second, so it must be cheap.
    fn wish(&self) -> Wish;
}
