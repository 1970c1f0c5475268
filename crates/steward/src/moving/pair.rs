//! What one primary has to give to another one.

use model::address::NodeAddress;
use model::migration::Driver;
use model::slots::SlotSet;
use model::step::Member;

/// Slots on their way from one primary to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    pub(super) source: Member,
    pub(super) target: Member,
    /// The slots that the source still owns.
    pub(super) to_move: SlotSet,
    /// Those of them that are open already: somebody was cut off while moving them.
    pub(super) open: SlotSet,
    /// The slots that the target owns, and the source has not heard of it.
    pub(super) to_tell: SlotSet,
    pub(super) source_replicas: Vec<NodeAddress>,
    pub(super) target_replicas: Vec<NodeAddress>,
    pub(super) driver: Driver,
}

impl Pair {
    /// Whether there is nothing left to do.
    pub(super) fn is_done(&self) -> bool {
        self.to_move.is_empty() && self.to_tell.is_empty()
    }

    /// The part that is moved key by key; `None` where there is none.
    pub(super) fn by_key(&self) -> Option<Self> {
        let part = match self.driver {
            Driver::Migrate => self.clone(),
            Driver::MigrateSlots | Driver::MigrationImport => Self {
                to_move: self.open.clone(),
                ..self.clone()
            },
        };
        (!part.is_done()).then_some(part)
    }

    /// The part that the servers move by themselves; `None` where there is none.
    pub(super) fn atomically(&self) -> Option<Self> {
        let part = Self {
            to_move: self.to_move.difference(&self.open),
            open: SlotSet::empty(),
            to_tell: SlotSet::empty(),
            ..self.clone()
        };
        (!part.is_done()).then_some(part)
    }
}
