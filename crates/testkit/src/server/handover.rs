//! A handover that loses nothing: the primary stops writes, its replica catches up, and then
//! stands for election (`CLUSTER FAILOVER` without more, `clusterHandleManualFailover`).

use std::time::Duration;

use model::ids::NodeId;
use model::view::PeerRole;

use super::{Refused, Role, Server};
use crate::dice::Dice;
use crate::letter::{Header, Message};

/// How long a handover may take (`CLUSTER_MF_TIMEOUT`).
pub(super) const HANDOVER_LIMIT: Duration = Duration::from_secs(5);

/// For how long a primary stops writes for it (`CLUSTER_MF_PAUSE_MULT`).
const PAUSE: Duration = Duration::from_secs(10);

/// A handover that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Handover {
    /// A replica waits until it has all of its primary, which has stopped writes at this offset.
    Takes { until: Duration, at: Option<u64> },
    /// A primary has stopped writes for this replica.
    Gives { to: NodeId, until: Duration },
}

impl Server {
    /// CLUSTER FAILOVER.
    pub(crate) fn ask_for_handover(
        &mut self,
        now: Duration,
        dice: &mut Dice,
    ) -> Result<(), Refused> {
        let Role::Replica { of, .. } = self.role else {
            return Err(Refused("ERR You should send CLUSTER FAILOVER to a replica"));
        };
        let Some(primary) = self.peers.get(&of) else {
            return Err(Refused("ERR I'm a replica but my master is unknown to me"));
        };
        if primary.failed.is_some() || primary.link.is_none() {
            return Err(Refused(
                "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE",
            ));
        }
        self.election.forget_order();
        let until = now + HANDOVER_LIMIT;
        self.handover = Some(Handover::Takes { until, at: None });
        self.tell(of, Message::HandoverWanted, dice);
        Ok(())
    }

    /// A replica asks for a handover.
    pub(super) fn begin_handover(&mut self, header: &Header, now: Duration, dice: &mut Dice) {
        let role = self.peers.get(&header.sender).map(|peer| peer.role);
        if !self.is_primary() || role != Some(PeerRole::Replica(Some(self.id))) {
            return;
        }
        let to = header.sender;
        let until = now + HANDOVER_LIMIT;
        self.handover = Some(Handover::Gives { to, until });
        self.paused_until = Some(now + PAUSE);
        self.tell(to, Message::Ping, dice);
    }

    /// The offset at which it has stopped writes, as its letters tell.
    pub(super) fn paused_at(&self) -> Option<u64> {
        match self.handover {
            Some(Handover::Gives { .. }) => Some(self.offset),
            Some(Handover::Takes { .. }) | None => None,
        }
    }

    /// The primary says at which offset it has stopped.
    pub(super) fn note_pause(&mut self, header: &Header) {
        if self.primary() == Some(header.sender)
            && let Some(Handover::Takes { at: at @ None, .. }) = &mut self.handover
        {
            *at = header.paused_at;
        }
    }

    /// Stands for election once it has everything, and gives up where that takes too long.
    pub(super) fn go_on_with_handover(&mut self, now: Duration, dice: &mut Dice) {
        match self.handover {
            Some(Handover::Takes { until, .. } | Handover::Gives { until, .. }) if now > until => {
                self.end_handover();
            }
            Some(Handover::Takes {
                until,
                at: Some(at),
            }) if at == self.offset => {
                if !self.election.is_ordered() {
                    self.election.order(until);
                    self.stand_for_election(now, dice);
                }
            }
            Some(Handover::Takes { .. } | Handover::Gives { .. }) | None => {}
        }
    }

    /// It is over, whatever came of it (`resetManualFailover`).
    pub(super) fn end_handover(&mut self) {
        if self.handover.take().is_some() {
            self.paused_until = None;
            self.election.forget_order();
        }
    }

    /// Whether it takes no write for a moment.
    pub(crate) fn is_paused(&self, now: Duration) -> bool {
        self.paused_until.is_some_and(|until| until > now)
    }
}
