//! What a node makes of a letter (`clusterProcessPacket`).

use std::time::Duration;

use model::address::NodeAddress;
use model::ids::NodeId;
use model::view::{PeerHealth, PeerRole};

use super::{Handshake, Peer, Server};
use crate::dice::Dice;
use crate::letter::{Effect, Header, Letter, Message, Rumour};
use crate::slot_table::SharedSlots;

impl Server {
    /// Reads a letter. `back_over` is the link of its own over which an answer came.
    pub(crate) fn hear(
        &mut self,
        letter: &Letter,
        back_over: Option<u64>,
        now: Duration,
        dice: &mut Dice,
    ) {
        let header = &letter.header;
        let was_known = self.take_note(header, now);
        match &letter.message {
            Message::Ping => self.answer(dice),
            Message::Meet => {
                if !was_known {
                    self.welcome(header.address, now, dice);
                }
                self.answer(dice);
            }
            Message::Pong => {}
            Message::Failed(id) if was_known => self.believe_failure(*id, now),
            Message::Update { node, epoch, slots } if was_known => {
                if self.epoch_of(*node) < Some(*epoch) && *node != self.id {
                    self.become_primary_in_view(*node);
                    if let Some(peer) = self.peers.get_mut(node) {
                        peer.epoch = *epoch;
                        self.heed_claim(*node, *epoch, slots);
                    }
                }
            }
            Message::VoteWanted { forced } if was_known => {
                self.consider_vote(header, *forced, now, dice);
            }
            Message::Vote if was_known => self.count_vote(header, now, dice),
            Message::HandoverWanted if was_known => self.begin_handover(header, now, dice),
            Message::Forgotten(node) if was_known => self.heed_forgotten(*node, now),
            // Who is not known is not listened to.
            Message::Failed(_)
            | Message::Update { .. }
            | Message::VoteWanted { .. }
            | Message::Vote
            | Message::HandoverWanted
            | Message::Forgotten(_) => {}
        }
        if let Message::Ping | Message::Pong | Message::Meet = letter.message {
            if back_over.is_none_or(|link| self.is_answer_of(link, header, was_known, now))
                && was_known
            {
                self.learn(header, now, dice);
                self.gossip(header, &letter.rumours, now, dice);
            }
            self.update_state(now);
        }
    }

    /// What every letter of a known node tells. Gives whether it is one.
    fn take_note(&mut self, header: &Header, now: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(&header.sender) else {
            return false;
        };
        peer.heard = now;
        peer.offset = header.offset;
        peer.epoch = peer.epoch.max(header.epoch);
        self.current_epoch = self.current_epoch.max(header.current_epoch);
        if header.paused_at.is_some() {
            self.note_pause(header);
        }
        true
    }

    fn answer(&mut self, dice: &mut Dice) {
        let letter = self.letter(Message::Pong, dice);
        self.wishes.push(Effect::Answer(letter));
    }

    /// Begins to get to know a node that introduces itself.
    fn welcome(&mut self, address: NodeAddress, now: Duration, dice: &mut Dice) {
        self.handshakes.push(Handshake {
            id: dice.node_id(),
            address,
            began: now,
            meets: false,
            link: None,
        });
    }

    /// Forgets the node that introduced itself last, as if that node's handshake had been cut off.
    /// Gives whether there was one.
    pub(crate) fn forget_newcomer(&mut self) -> bool {
        let newcomer = self
            .handshakes
            .iter()
            .rposition(|it| !it.meets && it.link.is_none());
        newcomer
            .map(|index| self.handshakes.remove(index))
            .is_some()
    }

    /// An answer came over a link of its own. Gives whether what it says is to be heeded.
    fn is_answer_of(&mut self, link: u64, header: &Header, was_known: bool, now: Duration) -> bool {
        if self.handshake_of_link(link).is_some() {
            return self.end_handshake(link, header, was_known, now);
        }
        let sender = self.peers.get(&header.sender);
        let is_it = sender.is_some_and(|it| it.link.is_some_and(|own| own.number == link));
        let Some(peer) = self.peer_of_link(link) else {
            return was_known;
        };
        if !is_it {
            // Another node has taken this one's address.
            peer.link = None;
            return false;
        }
        peer.pong = now;
        peer.pinged = None;
        if peer.is_suspected {
            peer.is_suspected = false;
            return true;
        }
        self.clear_failure(header.sender, now);
        true
    }

    /// The two know each other now. A node that was known before has been met twice. What the
    /// header says of slots is not heeded: `sender` was unknown when the letter came.
    fn end_handshake(
        &mut self,
        link: u64,
        header: &Header,
        was_known: bool,
        now: Duration,
    ) -> bool {
        let is_it = |it: &Handshake| it.link.is_some_and(|own| own.number == link);
        let Some(index) = self.handshakes.iter().position(is_it) else {
            return false;
        };
        let handshake = self.handshakes.remove(index);
        if was_known || header.sender == self.id {
            return false;
        }
        let mut peer = Peer::new(handshake.address);
        peer.link = handshake.link;
        peer.pong = now;
        peer.heard = now;
        peer.role = match header.role {
            PeerRole::Primary => PeerRole::Primary,
            PeerRole::Replica(_) => PeerRole::Replica(None),
        };
        self.peers.insert(header.sender, peer);
        false
    }

    fn believe_failure(&mut self, id: NodeId, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.failed.is_none()
        {
            peer.failed = Some(now);
            peer.is_suspected = false;
            self.update_state(now);
        }
    }

    /// Takes over what a known node says of itself.
    fn learn(&mut self, header: &Header, now: Duration, dice: &mut Dice) {
        let sender = header.sender;
        match header.role {
            PeerRole::Primary => self.become_primary_in_view(sender),
            PeerRole::Replica(primary) => self.become_replica_in_view(sender, primary),
        }
        let claimant = match header.role {
            PeerRole::Primary | PeerRole::Replica(None) => sender,
            PeerRole::Replica(Some(primary)) => primary,
        };
        if !self.table.owns_just(claimant, &header.slots) {
            if header.role == PeerRole::Primary {
                self.heed_claim(sender, header.epoch, &header.slots);
            }
            self.correct(header, claimant, dice);
        }
        self.settle_collision(sender, header.epoch);
        self.update_state(now);
    }

    /// Tells a node that claims slots which another has by a later epoch.
    fn correct(&mut self, header: &Header, claimant: NodeId, dice: &mut Dice) {
        let disputed = header.slots.set().difference(self.table.unclaimed());
        let outdated = self.table.owners().find(|(owner, slots)| {
            *owner != claimant
                && self.epoch_of(*owner) > Some(header.epoch)
                && !slots.set().is_disjoint(&disputed)
        });
        if let Some((node, slots)) = outdated {
            let epoch = self.epoch_of(node).unwrap_or(header.epoch);
            let claimed = slots.set().difference(self.table.unclaimed());
            let slots = SharedSlots::new(claimed);
            let update = Message::Update { node, epoch, slots };
            self.tell(header.sender, update, dice);
        }
    }

    fn become_primary_in_view(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.role = PeerRole::Primary;
        }
    }

    /// A primary that turned into a replica has no slots any more.
    fn become_replica_in_view(&mut self, id: NodeId, primary: Option<NodeId>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.role == PeerRole::Primary {
            self.table.clear(id);
        }
        peer.role = PeerRole::Replica(primary);
    }

    /// What a known node says of others (`clusterProcessGossipSection`).
    fn gossip(&mut self, header: &Header, rumours: &[Rumour], now: Duration, dice: &mut Dice) {
        let myself = self.id;
        for rumour in rumours.iter().filter(|it| it.id != myself) {
            if !self.peers.contains_key(&rumour.id) && self.is_banned(rumour.id, now) {
                continue;
            }
            let peer = self.peers.entry(rumour.id).or_insert_with(|| {
                let mut peer = Peer::new(rumour.address);
                if !rumour.is_primary {
                    peer.role = PeerRole::Replica(None);
                }
                peer
            });
            let is_bad = rumour.health != PeerHealth::Reached;
            let is_witness = header.role == PeerRole::Primary;
            match (is_witness, is_bad) {
                (true, true) => drop(peer.reports.insert(header.sender, now)),
                (true, false) => drop(peer.reports.remove(&header.sender)),
                (false, _) => {}
            }
            let is_well = !is_bad && peer.pinged.is_none() && peer.reports.is_empty();
            if is_well && peer.failed.is_none() && !peer.is_suspected {
                peer.pong = peer.pong.max(rumour.pong);
            }
            if is_witness && is_bad {
                self.mark_failed_by_majority(rumour.id, now, dice);
            }
        }
    }
}
