//! FORGET and its ban list: a node that was forgotten is not learnt of by gossip for a minute
//! (`clusterBlacklistAddNode`).

use std::time::Duration;

use model::ids::NodeId;
use model::image::Software;
use model::view::OpenDirection;

use super::{Refused, Server};
use crate::dice::Dice;
use crate::letter::Message;

/// How long a forgotten node is banned (`CLUSTER_BLACKLIST_TTL`).
const BAN: Duration = Duration::from_secs(60);

impl Server {
    /// CLUSTER FORGET.
    pub(crate) fn forget(
        &mut self,
        node: NodeId,
        now: Duration,
        dice: &mut Dice,
    ) -> Result<(), Refused> {
        if node == self.id {
            return Err(Refused("ERR I tried hard but I can't forget myself..."));
        }
        if !self.peers.contains_key(&node) {
            let is_known = self.tells_of_forgotten() && self.is_banned(node, now);
            return if is_known {
                Ok(())
            } else {
                Err(Refused("ERR Unknown node"))
            };
        }
        if self.primary() == Some(node) {
            return Err(Refused("ERR Can't forget my master!"));
        }
        self.ban_and_delete(node, now);
        if self.tells_of_forgotten() {
            self.tell_everybody(&Message::Forgotten(node), dice);
        }
        self.update_state(now);
        Ok(())
    }

    /// Another node has forgotten one (from 7.2 on).
    pub(super) fn heed_forgotten(&mut self, node: NodeId, now: Duration) {
        let is_ours = node == self.id || self.primary() == Some(node);
        if !is_ours && self.peers.contains_key(&node) && self.tells_of_forgotten() {
            self.ban_and_delete(node, now);
        }
    }

    fn ban_and_delete(&mut self, node: NodeId, now: Duration) {
        self.banned.retain(|_, until| *until > now);
        self.banned.insert(node, now + BAN);
        self.table.clear(node);
        self.peers.remove(&node);
        self.open.retain(|_, direction| match direction {
            OpenDirection::To(other) | OpenDirection::From(other) => *other != node,
        });
        for peer in self.peers.values_mut() {
            peer.reports.remove(&node);
        }
    }

    /// Whether gossip of this node is not heeded.
    pub(super) fn is_banned(&self, node: NodeId, now: Duration) -> bool {
        self.banned.get(&node).is_some_and(|until| *until > now)
    }

    /// Whether it passes on whom it forgot, and listens to others that do.
    fn tells_of_forgotten(&self) -> bool {
        let version = (self.version.major, self.version.minor);
        match self.version.software {
            Software::Redis => version >= (7, 2),
            Software::Valkey => true,
            Software::Shardyard | Software::Other => false,
        }
    }
}
