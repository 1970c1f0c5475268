//! The commands that change a node's part in its cluster (`clusterCommand`), with the refusals of
//! a real server in its own words.

use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::slots::{Slot, SlotSet};
use model::view::PeerRole;

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

    /// What a client that writes to this slot is told (`getNodeByQuery`).
    pub(crate) fn service(&self, slot: Slot) -> Service {
        let owner = self.table.owner(slot);
        match owner {
            Some(_) if !self.serves() => Service::Down,
            Some(owner) if owner == self.id => Service::Taken,
            Some(owner) => self.address_of(owner).map_or(Service::Down, Service::Moved),
            None => Service::Down,
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
        let answer = match self.service(slot) {
            Service::Taken => return None,
            Service::Moved(address) => format!("MOVED {} {address}", slot.number()),
            Service::Down => "CLUSTERDOWN The cluster is down".to_owned(),
        };
        Some((slot, answer))
    }
}
