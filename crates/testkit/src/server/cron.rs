//! What a node does ten times a second: makes links, asks how others are, and suspects those that
//! do not answer (`clusterCron`).

use std::collections::BTreeMap;
use std::time::Duration;

use model::address::NodeAddress;
use model::ids::NodeId;
use model::view::PeerRole;

use super::{Handshake, Link, Peer, Server};
use crate::dice::Dice;
use crate::letter::{Effect, Message};

/// How long nodes may take to get to know each other, at least.
const HANDSHAKE_LIMIT_MIN: Duration = Duration::from_secs(1);

/// How many nodes are looked at to find one that has long not been asked.
const CANDIDATES: usize = 5;

impl Server {
    /// One tick. Gives whether it is time to tell the primary how far this one is.
    pub(crate) fn tick(&mut self, now: Duration, dice: &mut Dice) -> bool {
        self.ticks += 1;
        if !self.config.is_cluster {
            return false;
        }
        self.end_handshakes(now);
        self.make_links(now);
        if self.ticks.is_multiple_of(10) {
            self.ask_somebody(now, dice);
        }
        self.look_after_peers(now, dice);
        self.go_on_with_handover(now, dice);
        self.stand_for_election(now, dice);
        self.update_state(now);
        self.ticks.is_multiple_of(10)
    }

    fn end_handshakes(&mut self, now: Duration) {
        let limit = self.settings.node_timeout.max(HANDSHAKE_LIMIT_MIN);
        self.handshakes
            .retain(|it| now.saturating_sub(it.began) <= limit);
    }

    fn make_links(&mut self, now: Duration) {
        let peers = self.peers.iter().filter(|(_, peer)| peer.link.is_none());
        let peers: Vec<(NodeId, NodeAddress)> = peers.map(|(id, it)| (*id, it.address)).collect();
        for (id, to) in peers {
            let link = self.next_link(now);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.link = Some(link);
                self.wishes.push(Effect::Connect {
                    link: link.number,
                    to,
                });
            }
        }
        for index in 0..self.handshakes.len() {
            if self.handshakes[index].link.is_none() {
                let link = self.next_link(now);
                let handshake = &mut self.handshakes[index];
                handshake.link = Some(link);
                self.wishes.push(Effect::Connect {
                    link: link.number,
                    to: handshake.address,
                });
            }
        }
    }

    /// A link of its own is made: the first word goes over it (`clusterLinkConnectHandler`).
    pub(crate) fn linked(&mut self, number: u64, now: Duration, dice: &mut Dice) {
        let message = if let Some(peer) = self.peer_of_link(number) {
            peer.pinged.get_or_insert(now);
            Message::Ping
        } else if let Some(handshake) = self.handshake_of_link(number) {
            // A node that was met and does not answer is asked, not met once more.
            if std::mem::take(&mut handshake.meets) {
                Message::Meet
            } else {
                Message::Ping
            }
        } else {
            return;
        };
        if let Some(link) = self.own_link(number) {
            link.is_open = true;
        }
        let letter = self.letter(message, dice);
        self.wishes.push(Effect::Send {
            link: number,
            letter,
        });
    }

    /// A link of its own could not be made, or broke.
    pub(crate) fn unlinked(&mut self, number: u64, now: Duration) {
        if let Some(peer) = self.peer_of_link(number) {
            peer.link = None;
            // From here on an answer is missing.
            peer.pinged.get_or_insert(now);
        } else if let Some(handshake) = self.handshake_of_link(number) {
            handshake.link = None;
        }
    }

    pub(super) fn peer_of_link(&mut self, number: u64) -> Option<&mut Peer> {
        let mut peers = self.peers.values_mut();
        peers.find(|peer| peer.link.is_some_and(|link| link.number == number))
    }

    pub(super) fn handshake_of_link(&mut self, number: u64) -> Option<&mut Handshake> {
        let mut handshakes = self.handshakes.iter_mut();
        handshakes.find(|it| it.link.is_some_and(|link| link.number == number))
    }

    fn own_link(&mut self, number: u64) -> Option<&mut Link> {
        let of_peers = self.peers.values_mut().filter_map(|it| it.link.as_mut());
        let of_handshakes = self.handshakes.iter_mut().filter_map(|it| it.link.as_mut());
        let mut all = of_peers.chain(of_handshakes);
        all.find(|link| link.number == number)
    }

    /// Once a second, of five nodes the one that was heard of longest ago.
    fn ask_somebody(&mut self, now: Duration, dice: &mut Dice) {
        let peers: Vec<(&NodeId, &Peer)> = self.peers.iter().collect();
        let candidates = (0..CANDIDATES).filter_map(|_| dice.pick(&peers));
        let longest = candidates
            .filter(|(_, peer)| peer.open_link().is_some() && peer.pinged.is_none())
            .min_by_key(|(_, peer)| peer.pong)
            .map(|(id, _)| **id);
        if let Some(id) = longest {
            self.ask(id, now, dice);
        }
    }

    fn ask(&mut self, id: NodeId, now: Duration, dice: &mut Dice) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.pinged.get_or_insert(now);
        }
        self.tell(id, Message::Ping, dice);
    }

    fn look_after_peers(&mut self, now: Duration, dice: &mut Dice) {
        let timeout = self.settings.node_timeout;
        let ids: Vec<NodeId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            let silent = now.saturating_sub(peer.heard);
            let waited = peer.pinged.map(|at| now.saturating_sub(at).min(silent));
            if let (Some(link), Some(waited)) = (peer.link, waited)
                && now.saturating_sub(link.since) > timeout
                && waited > timeout / 2
            {
                // The link may be what is broken; the next tick makes another.
                peer.link = None;
            }
            let unheard = now.saturating_sub(peer.pong);
            if peer.link.is_some() && waited.is_none() && unheard > timeout / 2 {
                self.ask(id, now, dice);
                continue;
            }
            if waited.is_some_and(|it| it > timeout) && !peer.is_suspected && peer.failed.is_none()
            {
                peer.is_suspected = true;
                self.mark_failed_by_majority(id, now, dice);
            }
        }
    }

    /// A suspected node has failed once a majority of the primaries says so
    /// (`markNodeAsFailingIfNeeded`).
    pub(super) fn mark_failed_by_majority(&mut self, id: NodeId, now: Duration, dice: &mut Dice) {
        let (_, size) = self.reached_primaries();
        let own = usize::from(self.is_primary());
        let lifetime = self.settings.node_timeout * 2;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        forget_old(&mut peer.reports, now, lifetime);
        if !peer.is_suspected || peer.failed.is_some() || peer.reports.len() + own <= size / 2 {
            return;
        }
        peer.is_suspected = false;
        peer.failed = Some(now);
        if self.is_primary() {
            self.tell_everybody(&Message::Failed(id), dice);
        }
        self.update_state(now);
    }

    /// A failed node that answers is well again, a primary with slots only after a while
    /// (`clearNodeFailureIfNeeded`).
    pub(super) fn clear_failure(&mut self, id: NodeId, now: Duration) {
        let owns_slots = self.table.owns_any(id);
        let patience = self.settings.node_timeout * 2;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let is_replica = matches!(peer.role, PeerRole::Replica(_));
        let is_over = |at: Duration| now.saturating_sub(at) > patience;
        if is_replica || !owns_slots || peer.failed.is_some_and(is_over) {
            peer.failed = None;
        }
    }
}

fn forget_old(reports: &mut BTreeMap<NodeId, Duration>, now: Duration, lifetime: Duration) {
    reports.retain(|_, at| now.saturating_sub(*at) <= lifetime);
}
