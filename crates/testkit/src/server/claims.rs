//! Claims on slots: the later epoch wins, and who has lost its last slot follows the winner
//! (`clusterUpdateSlotsConfigWith`).

use std::time::Duration;

use model::ids::{Epoch, NodeId};
use model::image::Software;
use model::slots::{Slot, SlotSet};
use model::view::{OpenDirection, PeerRole};

use super::{Role, Server, Stream, slot_of};
use crate::dice::Dice;
use crate::letter::{Effect, Message};
use crate::slot_table::SharedSlots;

impl Server {
    /// Takes note of what a primary claims.
    pub(super) fn heed_claim(&mut self, claimant: NodeId, epoch: Epoch, claimed: &SharedSlots) {
        if claimant == self.id || self.table.owns_just(claimant, claimed) {
            return;
        }
        let own_primary = self.primary().unwrap_or(self.id);
        let mut won = claimed.set().difference(self.table.assigned());
        if self.notes_what_is_given_up() {
            self.table.note_claim(claimant, claimed.set());
            let free = self.table.unclaimed().intersection(claimed.set());
            won = won.union(&free.difference(self.table.of(claimant).set()));
        }
        for (owner, slots) in self.table.owners() {
            if owner != claimant && self.epoch_of(owner) < Some(epoch) {
                won = won.union(&claimed.set().intersection(slots.set()));
            }
        }
        // What is being imported is left to whoever imports it.
        for slot in self.importing() {
            won.remove(slot);
        }
        let taken = self.table.of(own_primary).set().intersection(&won);
        if !won.is_empty() {
            self.table.assign(claimant, &won);
        }
        let was_all = !taken.is_empty() && !self.table.owns_any(own_primary);
        if was_all && (self.settings.allows_replica_migration || taken == *claimed.set()) {
            self.follow(claimant);
        } else if let Some(above) = self.grandmaster() {
            self.follow(above);
        } else if self.is_primary() && !taken.is_empty() {
            self.drop_keys(&taken);
        }
    }

    /// Whom the node that it copies copies in turn. A replica of a replica follows that one, since
    /// 7.0: nothing else would tell it that its primary has become one.
    fn grandmaster(&self) -> Option<NodeId> {
        let above = self.peers.get(&self.primary()?)?;
        match above.role {
            PeerRole::Replica(Some(id)) if id != self.id && self.is_at_least((7, 0, 0)) => Some(id),
            PeerRole::Replica(_) | PeerRole::Primary => None,
        }
    }

    /// Whether it notes that an owner claims a slot no more, and gives it to the next that does.
    fn notes_what_is_given_up(&self) -> bool {
        self.is_at_least((7, 0, 13))
    }

    /// Whether it is as Redis has been since then; each Valkey is.
    fn is_at_least(&self, version: (u32, u32, u32)) -> bool {
        let own = (self.version.major, self.version.minor, self.version.patch);
        match self.version.software {
            Software::Redis => own >= version,
            Software::Valkey | Software::Shardyard | Software::Other => true,
        }
    }

    fn importing(&self) -> Vec<Slot> {
        let open = self.open.iter();
        open.filter(|(_, direction)| matches!(direction, OpenDirection::From(_)))
            .map(|(slot, _)| *slot)
            .collect()
    }

    /// The keys of slots that went to another node are deleted (`delKeysInSlot`).
    pub(crate) fn drop_keys(&mut self, slots: &SlotSet) {
        let keys = self.keys.keys().copied();
        let dropped: Vec<u32> = keys.filter(|key| slots.contains(slot_of(*key))).collect();
        for key in dropped {
            self.keys.remove(&key);
            self.wishes.push(Effect::Deleted(key));
        }
    }

    /// Becomes a replica (`clusterSetMaster`).
    pub(super) fn follow(&mut self, primary: NodeId) {
        if self.primary() == Some(primary) {
            return;
        }
        self.table.clear(self.id);
        self.end_handover();
        self.open.clear();
        self.role = Role::Replica {
            of: primary,
            stream: Stream::Down { since: None },
        };
        self.election.forget_order();
    }

    /// Takes over from its primary (`clusterFailoverReplaceYourMaster`).
    pub(super) fn replace_primary(&mut self, now: Duration, dice: &mut Dice) {
        let Role::Replica { of, .. } = self.role else {
            return;
        };
        let slots = self.table.of(of);
        self.role = Role::Primary;
        self.table.assign(self.id, slots.set());
        self.end_handover();
        self.election.forget_order();
        // What it was about to take over has ended with its primary.
        self.staged.clear();
        self.update_state(now);
        self.tell_everybody(&Message::Pong, dice);
    }

    /// Two primaries that claim with the same epoch: the one with the lower id takes a new one
    /// (`clusterHandleConfigEpochCollision`).
    pub(super) fn settle_collision(&mut self, other: NodeId, epoch: Epoch) {
        let is_primary = self.peers.get(&other).map(|it| it.role) == Some(PeerRole::Primary);
        if self.is_primary() && is_primary && epoch == self.epoch && self.id < other {
            self.current_epoch.0 += 1;
            self.epoch = self.current_epoch;
        }
    }
}
