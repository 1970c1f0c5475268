//! Slots on their way: SETSLOT and its kin, with the refusals of a real server in its own words.
//!
//! What is open is this node's own affair: no other hears of it, and it is in `nodes.conf`.

use std::time::Duration;

use model::ids::{Epoch, NodeId};
use model::slots::{Slot, SlotSet};
use model::view::{OpenDirection, OpenSlot, PeerRole};

use super::{Refused, Server};
use crate::dice::Dice;
use crate::letter::Message;

/// The refusal of a command that only a primary takes.
const PRIMARIES_ONLY: Refused = Refused("ERR You can use SETSLOT only with masters.");

impl Server {
    /// CLUSTER SETSLOT slot MIGRATING to.
    pub(crate) fn set_migrating(&mut self, slot: Slot, to: NodeId) -> Result<(), Refused> {
        self.must_be_primary()?;
        if self.table.owner(slot) != Some(self.id) {
            return Err(Refused("ERR I'm not the owner of hash slot"));
        }
        self.must_be_known_primary(to, "ERR I don't know about node")?;
        self.open.insert(slot, OpenDirection::To(to));
        Ok(())
    }

    /// CLUSTER SETSLOT slot IMPORTING from.
    pub(crate) fn set_importing(&mut self, slot: Slot, from: NodeId) -> Result<(), Refused> {
        self.must_be_primary()?;
        if self.table.owner(slot) == Some(self.id) {
            return Err(Refused("ERR I'm already the owner of hash slot"));
        }
        self.must_be_known_primary(from, "ERR I don't know about node")?;
        self.open.insert(slot, OpenDirection::From(from));
        Ok(())
    }

    /// CLUSTER SETSLOT slot STABLE.
    pub(crate) fn set_stable(&mut self, slot: Slot) -> Result<(), Refused> {
        self.must_be_primary()?;
        self.open.remove(&slot);
        Ok(())
    }

    /// CLUSTER SETSLOT slot NODE owner. Who was importing takes a new epoch without asking anybody,
    /// and tells everybody.
    pub(crate) fn set_owner(
        &mut self,
        slot: Slot,
        owner: NodeId,
        now: Duration,
        dice: &mut Dice,
    ) -> Result<(), Refused> {
        self.must_be_primary()?;
        self.must_be_known_primary(owner, "ERR Unknown node")?;
        let was_mine = self.table.owner(slot) == Some(self.id);
        let is_empty = self.count_keys(slot) == 0;
        if was_mine && owner != self.id && !is_empty {
            return Err(Refused(
                "ERR Can't assign hashslot to a different node while I still hold keys for this \
                 hash slot.",
            ));
        }
        if is_empty && matches!(self.open.get(&slot), Some(OpenDirection::To(_))) {
            self.open.remove(&slot);
        }
        self.table.assign_one(owner, slot);
        let is_bare = !self.table.owns_any(self.id);
        if was_mine && owner != self.id && is_bare && self.settings.allows_replica_migration {
            self.follow(owner);
        }
        let was_importing = matches!(self.open.get(&slot), Some(OpenDirection::From(_)));
        if owner == self.id && was_importing {
            self.bump_epoch();
            self.open.remove(&slot);
            self.tell_everybody(&Message::Pong, dice);
        }
        self.update_state(now);
        Ok(())
    }

    /// Takes slots over as a whole, with the keys that came before. Gives these.
    pub(crate) fn take_slots(
        &mut self,
        slots: &SlotSet,
        now: Duration,
        dice: &mut Dice,
    ) -> Vec<(u32, u64)> {
        let staged = self.staged.iter().map(|(key, value)| (*key, *value));
        let taken: Vec<(u32, u64)> = staged
            .filter(|(key, _)| slots.contains(super::slot_of(*key)))
            .collect();
        for (key, value) in &taken {
            self.staged.remove(key);
            self.keys.insert(*key, *value);
        }
        self.table.assign(self.id, slots);
        self.bump_epoch();
        self.tell_everybody(&Message::Pong, dice);
        self.update_state(now);
        taken
    }

    /// CLUSTER BUMPEPOCH (`clusterBumpConfigEpochWithoutConsensus`).
    pub(crate) fn bump_epoch(&mut self) {
        let others = self.peers.values().map(|peer| peer.epoch);
        let highest = others.chain([self.epoch]).max().unwrap_or(self.epoch);
        if self.epoch == Epoch(0) || self.epoch != highest {
            self.current_epoch.0 += 1;
            self.epoch = self.current_epoch;
        }
    }

    /// CLUSTER DELSLOTSRANGE.
    pub(crate) fn del_slots(&mut self, slots: &SlotSet, now: Duration) -> Result<(), Refused> {
        if !slots.difference(self.table.assigned()).is_empty() {
            return Err(Refused("ERR Slot is already unassigned"));
        }
        self.table.unassign(slots);
        self.update_state(now);
        Ok(())
    }

    /// The slots that it has open.
    pub(crate) fn open_slots(&self) -> Vec<OpenSlot> {
        let open = self.open.iter();
        open.map(|(slot, direction)| OpenSlot {
            slot: *slot,
            direction: *direction,
        })
        .collect()
    }

    /// Keys in slots that others own, or nobody (`verifyClusterConfigWithData`): where nobody does
    /// this node does from now on; where another does, the slot is open until somebody decides.
    pub(super) fn mend_ownership(&mut self) {
        if !self.is_primary() {
            return;
        }
        let populated: Vec<Slot> = self.keys.keys().map(|key| super::slot_of(*key)).collect();
        let imports = |open: Option<&OpenDirection>| matches!(open, Some(OpenDirection::From(_)));
        for slot in populated {
            match self.table.owner(slot) {
                Some(owner) if owner == self.id => {}
                Some(_) | None if imports(self.open.get(&slot)) => {}
                Some(owner) => {
                    self.open.insert(slot, OpenDirection::From(owner));
                }
                None => self.table.assign_one(self.id, slot),
            }
        }
    }

    const fn must_be_primary(&self) -> Result<(), Refused> {
        if self.is_primary() {
            Ok(())
        } else {
            Err(PRIMARIES_ONLY)
        }
    }

    fn must_be_known_primary(&self, node: NodeId, unknown: &'static str) -> Result<(), Refused> {
        if node == self.id {
            return Ok(());
        }
        match self.peers.get(&node).map(|peer| peer.role) {
            None => Err(Refused(unknown)),
            Some(PeerRole::Replica(_)) => Err(Refused("ERR Target node is not a master")),
            Some(PeerRole::Primary) => Ok(()),
        }
    }
}
