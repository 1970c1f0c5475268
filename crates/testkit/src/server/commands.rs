//! The commands that change a node's part in its cluster (`clusterCommand`), with the refusals of
//! a real server in its own words.

use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::image::Software;
use model::slots::{Slot, SlotSet};
use model::view::{OpenDirection, PeerRole};

use super::{Handshake, Role, Server};
use crate::dice::Dice;

/// A server's refusal of a command, in its own words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

/// What a server answers a client that writes to a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// It takes the write.
    Taken,
    /// Another node has the slot.
    Moved(NodeAddress),
    /// Another node has the key, this once.
    Ask(NodeAddress),
    /// No answer comes for a moment.
    Waits,
    /// CLUSTERDOWN.
    Down,
}

impl Server {
    /// CLUSTER SET-CONFIG-EPOCH.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) -> Result<(), Refused> {
        if !self.peers.is_empty() || !self.handshakes.is_empty() {
            return Err(Refused(
                "ERR The user can assign a config epoch only when the node does not know any \
                 other node.",
            ));
        }
        if self.epoch != Epoch(0) {
            return Err(Refused("ERR Node config epoch is already non-zero"));
        }
        self.epoch = epoch;
        self.current_epoch = self.current_epoch.max(epoch);
        Ok(())
    }

    /// CLUSTER ADDSLOTSRANGE.
    pub(crate) fn add_slots(&mut self, slots: &SlotSet, now: Duration) -> Result<(), Refused> {
        if !self.table.assigned().is_disjoint(slots) {
            return Err(Refused("ERR Slot is already busy"));
        }
        self.table.assign(self.id, slots);
        self.open.retain(|slot, _| !slots.contains(*slot));
        self.update_state(now);
        Ok(())
    }

    /// CLUSTER MEET: answered at once, whatever comes of it.
    pub(crate) fn meet(&mut self, address: NodeAddress, now: Duration, dice: &mut Dice) {
        if self.handshakes.iter().any(|it| it.address == address) {
            return;
        }
        self.handshakes.push(Handshake {
            id: dice.node_id(),
            address,
            began: now,
            meets: true,
            link: None,
        });
    }

    /// CLUSTER REPLICATE.
    pub(crate) fn replicate(&mut self, primary: NodeId) -> Result<(), Refused> {
        if primary == self.id {
            return Err(Refused("ERR Can't replicate myself"));
        }
        let Some(peer) = self.peers.get(&primary) else {
            return Err(Refused("ERR Unknown node"));
        };
        if peer.role != PeerRole::Primary {
            return Err(Refused("ERR I can only replicate a master, not a replica."));
        }
        if self.is_primary() && (self.table.owns_any(self.id) || !self.keys.is_empty()) {
            return Err(Refused(
                "ERR To set a master the node must be empty and without assigned slots.",
            ));
        }
        self.follow(primary);
        Ok(())
    }

    /// CLUSTER FAILOVER FORCE.
    pub(crate) fn take_over(&mut self, now: Duration) -> Result<(), Refused> {
        match self.role {
            Role::Primary => Err(Refused("ERR You should send CLUSTER FAILOVER to a replica")),
            Role::Replica { .. } => {
                self.order_takeover(now);
                Ok(())
            }
        }
    }

    /// What a client that writes to a key is told (`getNodeByQuery`).
    pub(crate) fn service(&self, slot: Slot, key: u32, asking: bool, now: Duration) -> Service {
        let Some(owner) = self.table.owner(slot).filter(|_| self.serves()) else {
            return Service::Down;
        };
        let moved = |to| self.address_of(to).map_or(Service::Down, Service::Moved);
        if !self.is_primary() {
            return moved(owner);
        }
        let is_held = self.held_slots.as_ref().is_some_and(|it| it.contains(slot));
        let waits = is_held || self.is_paused(now) || self.migrating.is_some();
        match (owner == self.id, self.open.get(&slot)) {
            (true, Some(OpenDirection::To(to))) if !self.keys.contains_key(&key) => {
                self.address_of(*to).map_or(Service::Down, Service::Ask)
            }
            (true, _) if waits => Service::Waits,
            (true, _) => Service::Taken,
            (false, Some(OpenDirection::From(_))) if asking && waits => Service::Waits,
            (false, Some(OpenDirection::From(_))) if asking => Service::Taken,
            (false, _) => moved(owner),
        }
    }

    /// The node that owns all of these slots.
    pub(crate) fn owner_of_all(&self, slots: &SlotSet) -> Option<NodeId> {
        let mut owners = self.table.owners();
        let owner = owners.find(|(_, owned)| slots.difference(owned.set()).is_empty());
        owner.map(|(owner, _)| owner)
    }

    /// Which way a slot is on its way, if it is.
    pub(crate) fn direction_of(&self, slot: Slot) -> Option<OpenDirection> {
        self.open.get(&slot).copied()
    }

    /// Whether too few replicas are near for a write to be taken (`min-replicas-to-write`).
    pub(crate) fn lacks_replicas(&self) -> bool {
        let near = self.followers.values().filter(|link| link.online).count();
        near < self.settings.replicas_to_write
    }

    /// Whether replicas hear of keys that it deletes because a slot was lost: since 7.2.
    pub(crate) fn passes_deletions_on(&self) -> bool {
        match self.version.software {
            Software::Redis => (self.version.major, self.version.minor) >= (7, 2),
            Software::Valkey | Software::Shardyard | Software::Other => true,
        }
    }

    /// The first of these slots that takes no write, and what is said of it.
    pub(crate) fn refused_write(&self, slots: &SlotSet) -> Option<(Slot, String)> {
        let unserved = if self.serves() && self.is_primary() {
            slots.difference(self.own_slots().set())
        } else {
            slots.clone()
        };
        let slot = unserved.iter().next()?;
        let owner = self.table.owner(slot).filter(|_| self.serves());
        let answer = match owner.and_then(|owner| self.address_of(owner)) {
            Some(address) => format!("MOVED {} {address}", slot.number()),
            None => "CLUSTERDOWN The cluster is down".to_owned(),
        };
        Some((slot, answer))
    }
}
