//! Whether a node says that the cluster serves (`clusterUpdateState`).

use std::time::Duration;

use model::view::PeerRole;

use super::Server;

/// How long a server that starts as a primary refuses writes (`CLUSTER_WRITABLE_DELAY`).
pub(crate) const WRITABLE_DELAY: Duration = Duration::from_millis(2000);

/// The bounds of the pause after which a primary that was cut off serves again
/// (`CLUSTER_MIN_REJOIN_DELAY`, `CLUSTER_MAX_REJOIN_DELAY`).
const REJOIN_DELAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Whether it serves, and since when it may not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) serves: bool,
    /// When the state was first looked at: with the first tick.
    first_look: Option<Duration>,
    /// When it last was among a minority of the primaries.
    among_minority: Option<Duration>,
}

impl Server {
    /// Whether it says that the cluster serves.
    pub(crate) const fn serves(&self) -> bool {
        self.state.serves
    }

    /// How long its state has been looked at: its age, without the time that loading took.
    pub(crate) fn age(&self, now: Duration) -> Duration {
        let first = self.state.first_look.unwrap_or(now);
        now.saturating_sub(first)
    }

    pub(super) fn update_state(&mut self, now: Duration) {
        if self.ticks == 0 {
            return;
        }
        let first = *self.state.first_look.get_or_insert(now);
        let is_young = now.saturating_sub(first) < WRITABLE_DELAY;
        if self.is_primary() && !self.state.serves && is_young {
            return;
        }
        let (reached, size) = self.reached_primaries();
        let is_majority = reached > size / 2;
        if !is_majority {
            self.state.among_minority = Some(now);
        }
        let serves = is_majority && self.covers_all_slots();
        if serves && !self.state.serves && self.is_primary() && self.is_rejoining(now) {
            return;
        }
        self.state.serves = serves;
    }

    fn is_rejoining(&self, now: Duration) -> bool {
        let (least, most) = REJOIN_DELAY;
        let delay = self.settings.node_timeout.clamp(least, most);
        let last = self.state.among_minority;
        last.is_some_and(|at| now.saturating_sub(at) < delay)
    }

    /// How many of the primaries with slots are in reach, and how many there are.
    pub(super) fn reached_primaries(&self) -> (usize, usize) {
        let mut reached = usize::from(self.is_primary() && self.table.owns_any(self.id));
        let mut size = reached;
        for (id, _) in self.table.owners().filter(|(id, _)| *id != self.id) {
            let Some(peer) = self.peers.get(&id) else {
                continue;
            };
            if peer.role == PeerRole::Primary {
                size += 1;
                reached += usize::from(!peer.is_suspected && peer.failed.is_none());
            }
        }
        (reached, size)
    }

    fn covers_all_slots(&self) -> bool {
        let has_failed = |id| self.peers.get(&id).is_some_and(|it| it.failed.is_some());
        let mut owners = self.table.owners();
        self.table.is_full() && !owners.any(|(id, _)| has_failed(id))
    }
}
