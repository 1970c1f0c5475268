//! How a replica takes over from its primary: by a vote of the other primaries
//! (`clusterHandleSlaveFailover`, `clusterSendFailoverAuthIfNeeded`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::ids::{Epoch, NodeId};
use model::image::Software;
use model::view::PeerRole;

use super::state::WRITABLE_DELAY;
use super::{Role, Server, Stream};
use crate::dice::Dice;
use crate::letter::{Header, Message};

/// How long an order to take over holds (`CLUSTER_MF_TIMEOUT`).
const ORDER_LIMIT: Duration = Duration::from_secs(5);

/// The pause before a replica stands by itself: fixed, and so much more by chance.
const STANDING_DELAY_MS: (u64, u64) = (500, 999);

/// What each better replica adds to that pause.
const RANK_DELAY: Duration = Duration::from_secs(1);

/// How many node time-outs, beside the ping period of 10 s, a replica's data may be old
/// (`cluster-replica-validity-factor`).
const VALIDITY_FACTOR: u32 = 10;

/// The replication ping period of a primary (`repl-ping-replica-period`).
const PING_PERIOD: Duration = Duration::from_secs(10);

/// An election in which a replica stands, or stood.
#[derive(Clone, Debug, Default)]
pub(super) struct Election {
    /// When it begins; `None` where there never was one.
    begins: Option<Duration>,
    epoch: Epoch,
    is_asked: bool,
    votes: BTreeSet<NodeId>,
    rank: u32,
    /// Until when somebody's order to take over holds (`CLUSTER FAILOVER FORCE`).
    ordered_until: Option<Duration>,
    /// For a replica of which primary, itself included, this node voted, and when.
    given: BTreeMap<NodeId, Duration>,
}

impl Election {
    pub(super) const fn forget_order(&mut self) {
        self.ordered_until = None;
    }

    /// Somebody has said that the replica is to follow on, until then.
    pub(super) const fn order(&mut self, until: Duration) {
        self.ordered_until = Some(until);
    }

    pub(super) const fn is_ordered(&self) -> bool {
        self.ordered_until.is_some()
    }
}

impl Server {
    /// Somebody says that the primary is gone, and that this replica is to follow on.
    pub(super) fn order_takeover(&mut self, now: Duration) {
        self.end_handover();
        self.election.order(now + ORDER_LIMIT);
    }

    pub(super) fn stand_for_election(&mut self, now: Duration, dice: &mut Dice) {
        if self.election.ordered_until.is_some_and(|until| now > until) {
            self.election.forget_order();
        }
        let is_ordered = self.election.ordered_until.is_some();
        let Role::Replica { of, stream } = self.role else {
            return;
        };
        let has_failed = self.peers.get(&of).is_some_and(|it| it.failed.is_some());
        if !(has_failed || is_ordered) || !self.table.owns_any(of) {
            return;
        }
        if !is_ordered && self.is_too_old(stream, now) {
            return;
        }
        let limit = (self.settings.node_timeout * 2).max(Duration::from_secs(2));
        let age = self.election.begins.map(|at| now.saturating_sub(at));
        if age.is_none_or(|age| age > limit * 2) {
            self.call_election(now, is_ordered, dice);
            if !is_ordered {
                return;
            }
        }
        self.fall_back(is_ordered);
        let begins = self.election.begins.unwrap_or(now);
        if now < begins || now.saturating_sub(begins) > limit {
            return;
        }
        if !self.election.is_asked {
            self.current_epoch.0 += 1;
            self.election.epoch = self.current_epoch;
            self.election.is_asked = true;
            let forced = is_ordered;
            self.tell_everybody(&Message::VoteWanted { forced }, dice);
        }
    }

    fn call_election(&mut self, now: Duration, is_ordered: bool, dice: &mut Dice) {
        let rank = self.rank();
        let (least, most) = STANDING_DELAY_MS;
        let begins = if is_ordered {
            now
        } else {
            now + dice.millis(least, most) + RANK_DELAY * rank
        };
        let election = &mut self.election;
        election.begins = Some(begins);
        election.is_asked = false;
        election.votes.clear();
        election.rank = if is_ordered { 0 } else { rank };
        // Replicas of the same primary hear how far this one is, and rank themselves.
        self.tell_everybody(&Message::Pong, dice);
    }

    /// Waits longer where another replica turns out to be better.
    fn fall_back(&mut self, is_ordered: bool) {
        let rank = self.rank();
        let election = &mut self.election;
        if !is_ordered && !election.is_asked && rank > election.rank {
            let more = RANK_DELAY * (rank - election.rank);
            election.begins = election.begins.map(|at| at + more);
            election.rank = rank;
        }
    }

    /// How many replicas of its primary have more data.
    fn rank(&self) -> u32 {
        let role = PeerRole::Replica(self.primary());
        let better = self
            .peers
            .values()
            .filter(|peer| peer.role == role && peer.offset > self.offset);
        u32::try_from(better.count()).unwrap_or(u32::MAX)
    }

    fn is_too_old(&self, stream: Stream, now: Duration) -> bool {
        let timeout = self.settings.node_timeout;
        let age = match stream {
            Stream::Up { .. } => Duration::ZERO,
            Stream::Down { since: Some(since) }
            | Stream::Copying {
                since: Some(since), ..
            } => now.saturating_sub(since),
            Stream::Down { since: None } | Stream::Copying { since: None, .. } => Duration::MAX,
        };
        age.saturating_sub(timeout) > PING_PERIOD + timeout * VALIDITY_FACTOR
    }

    /// A replica asks for this node's vote.
    pub(super) fn consider_vote(
        &mut self,
        header: &Header,
        forced: bool,
        now: Duration,
        dice: &mut Dice,
    ) {
        if !self.is_primary() || !self.table.owns_any(self.id) || self.is_too_young_to_vote(now) {
            return;
        }
        if header.current_epoch < self.current_epoch || self.last_vote_epoch == self.current_epoch {
            return;
        }
        let candidate = self.peers.get(&header.sender).map(|it| it.role);
        let Some(PeerRole::Replica(Some(primary))) = candidate else {
            return;
        };
        let failed = self
            .peers
            .get(&primary)
            .is_some_and(|it| it.failed.is_some());
        let voted = self.election.given.get(&primary);
        let pause = self.settings.node_timeout * 2;
        if !(failed || forced) || voted.is_some_and(|at| now.saturating_sub(*at) < pause) {
            return;
        }
        let disputed = header.slots.set().difference(self.table.unclaimed());
        let has_later_claim = self.table.owners().any(|(owner, slots)| {
            self.epoch_of(owner) > Some(header.epoch) && !slots.set().is_disjoint(&disputed)
        });
        if has_later_claim {
            return;
        }
        self.last_vote_epoch = self.current_epoch;
        self.election.given.insert(primary, now);
        self.tell(header.sender, Message::Vote, dice);
    }

    /// Since 9.0 a Valkey primary gives no vote in its first two seconds.
    fn is_too_young_to_vote(&self, now: Duration) -> bool {
        let is_valkey_9 = self.version.software == Software::Valkey && self.version.major >= 9;
        is_valkey_9 && self.age(now) < WRITABLE_DELAY
    }

    /// A primary has voted for this node.
    pub(super) fn count_vote(&mut self, header: &Header, now: Duration, dice: &mut Dice) {
        let is_voter = header.role == PeerRole::Primary && self.table.owns_any(header.sender);
        let election = &mut self.election;
        if !is_voter || !election.is_asked || header.current_epoch < election.epoch {
            return;
        }
        election.votes.insert(header.sender);
        let (votes, epoch) = (election.votes.len(), election.epoch);
        let (_, size) = self.reached_primaries();
        if votes > size / 2 && !self.is_primary() {
            self.epoch = self.epoch.max(epoch);
            self.replace_primary(now, dice);
        }
    }
}
