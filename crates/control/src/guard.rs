//! What happens when a server's process has died: a replica follows on at once, and only then is
//! the process started again.
//!
//! The supervisor knows of a death within a millisecond, where the other nodes need their time-out.
//! The election is the servers' own (`CLUSTER FAILOVER FORCE`): voted, with an epoch of its own.
//!
//! Where a replica in sync cannot be elected yet, because the others voted in this shard a moment
//! ago, its primary is held until it can: a primary that is killed may lack the last seconds of
//! its own log (`everysec` puts writes off while a sync to disk is under way, by up to 2 s), and
//! its replica, which has them, would copy that.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engines::process::{Guardian, Verdict};
use model::address::NodeAddress;
use model::fault::Fault;
use model::ids::{InstanceName, NodeId, WorkloadName};
use model::instance::Instance;
use model::step::{ClusterStep, Promotion};
use model::view::{ClusterView, Ending};
use plan::failover::{Succession, has_drained, has_voters, succession};

use crate::converge::NOT_ELECTED;
use crate::hands::Hands;
use crate::home::Home;
use crate::store::Store;

/// How long the replicas may take to read what the dead primary had sent. It is in their kernel
/// already; one that is stopped or swapped out is not waited for.
const DRAIN_LIMIT: Duration = Duration::from_millis(250);

/// The pause between two looks at that.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);

/// The pause before a held process is asked about again.
const HOLD_PAUSE: Duration = Duration::from_secs(1);

/// How long after it was asked about last a held process counts as dead all the time: a pause, and
/// an election that is waited for.
const ASKED_GAP_MAX: Duration = Duration::from_secs(8);

/// How many nodes outside a shard are asked about a dead one in a large cluster.
const WITNESSES: usize = 3;

/// Up to this many nodes are all asked.
const SMALL_CLUSTER: usize = 16;

/// For how many node time-outs nobody votes for replicas of a primary again.
const VOTED_TIMEOUTS: u32 = 2;

/// For how many node time-outs a replica that lost an election holds no other.
const LOST_TIMEOUTS: u32 = 4;

/// What is added to both: the servers look at their clocks ten times a second.
const VOTE_MARGIN: Duration = Duration::from_millis(300);

/// The node time-out of a server that does not say its own, which is its default.
const NODE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a primary is held because its replica lost an election, before it starts again.
const LOST_MAX: u32 = 2;

/// Watches over the servers of one instance.
#[derive(Debug)]
pub struct Guard {
    home: Home,
    name: InstanceName,
    hands: Hands,
    /// What is known of the votes in place of a primary.
    votes: Mutex<BTreeMap<NodeId, Votes>>,
    /// Which workloads are dead, and held.
    deaths: Mutex<BTreeMap<WorkloadName, Death>>,
}

/// A workload that is dead.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// When it was asked about first.
    since: Duration,
    /// When it was asked about last.
    asked: Duration,
}

/// What is known of the votes in place of a primary.
#[derive(Clone, Copy, Debug)]
struct Votes {
    /// When the next election can be won.
    next: Duration,
    /// How many were lost one after the other.
    lost: u32,
}

/// What came of an election.
enum Elected {
    Yes,
    /// After this time there can be one.
    NotYet(Duration),
    No,
}

impl Guard {
    /// Watches over this instance.
    #[must_use]
    pub const fn new(home: Home, name: InstanceName, hands: Hands) -> Self {
        Self {
            home,
            name,
            hands,
            votes: Mutex::new(BTreeMap::new()),
            deaths: Mutex::new(BTreeMap::new()),
        }
    }

    async fn judge(&self, workload: &WorkloadName) -> Result<Verdict, Fault> {
        let Some(stored) = Store::open(&self.home)?.load(&self.name)? else {
            return Ok(Verdict::StartAgain);
        };
        let instance = stored.instance;
        let servers = plan::converge::server_addresses(&instance);
        let Some(seat) = instance.layout.seats.get(workload) else {
            return Ok(Verdict::StartAgain);
        };
        let dead = seat.address;
        if !servers.contains(&dead) {
            return Ok(Verdict::StartAgain);
        }
        let asked = witnesses(&instance, workload, &servers);
        let dead_for = self.dead_for(workload);
        let view = self.drained(&instance, dead, &asked).await;
        if let Succession::Promote(promotion) = succession(dead, dead_for, &view) {
            match self.elect(&instance, promotion).await? {
                // It comes back as a replica: its successor's epoch is higher.
                Elected::Yes => return Ok(Verdict::StartAgain),
                Elected::NotYet(wait) => {
                    return Ok(Verdict::Hold {
                        reason: format!(
                            "its replica {} has all of its data, and the others vote again in \
                             {:.1} s",
                            promotion.node.address,
                            wait.as_secs_f64()
                        ),
                        // Votes may still come, late, for an election that is under way.
                        ask_again_after: wait.min(HOLD_PAUSE),
                    });
                }
                Elected::No => {}
            }
        }
        self.without_successor(&instance, workload).await
    }

    /// For how long a workload has been dead: since it was asked about first, if that has gone on
    /// without a gap in which it might have run.
    fn dead_for(&self, workload: &WorkloadName) -> Duration {
        let now = self.hands.clock.now();
        let mut deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        let death = deaths.entry(workload.clone()).or_insert(Death {
            since: now,
            asked: now,
        });
        if now.saturating_sub(death.asked) > ASKED_GAP_MAX {
            death.since = now;
        }
        death.asked = now;
        now.saturating_sub(death.since)
    }

    /// Has the replica elected, unless nobody would vote for it yet.
    async fn elect(&self, instance: &Instance, promotion: Promotion) -> Result<Elected, Fault> {
        let primary = promotion.instead_of.id;
        let before = self.votes().get(&primary).copied();
        let wait = before.map_or(Duration::ZERO, |it| {
            it.next.saturating_sub(self.hands.clock.now())
        });
        if !wait.is_zero() {
            return Ok(Elected::NotYet(wait));
        }
        let election = self.promote(instance, promotion).await;
        let timeout = self.node_timeout(instance, promotion.node.address).await;
        let votes = |timeouts: u32, lost: u32| Votes {
            next: self.hands.clock.now() + timeout * timeouts + VOTE_MARGIN,
            lost,
        };
        let Err(fault) = election else {
            self.votes().insert(primary, votes(VOTED_TIMEOUTS, 0));
            return Ok(Elected::Yes);
        };
        let lost = before.map_or(0, |it| it.lost) + 1;
        let view = self.hands.observe(instance).await?;
        if fault.code != NOT_ELECTED || lost > LOST_MAX || !has_voters(&view.nodes) {
            self.votes().remove(&primary);
            return Ok(Elected::No);
        }
        self.votes().insert(primary, votes(LOST_TIMEOUTS, lost));
        Ok(Elected::NotYet(timeout * LOST_TIMEOUTS + VOTE_MARGIN))
    }

    fn votes(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Votes>> {
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn node_timeout(&self, instance: &Instance, address: NodeAddress) -> Duration {
        let credentials = instance.spec.operator.as_ref();
        let command = ["CONFIG", "GET", "cluster-node-timeout"].map(str::to_owned);
        let answer = self.hands.nodes.call(address, &command, credentials).await;
        // The name of the setting and its value, each quoted in a line of its own.
        let last = answer.ok().and_then(|text| {
            let value = text.rsplit('\n').find(|line| !line.trim().is_empty())?;
            let digits: String = value
                .rsplit(' ')
                .next()?
                .chars()
                .filter(char::is_ascii_digit)
                .collect();
            digits.parse().ok()
        });
        last.map_or(NODE_TIMEOUT, Duration::from_millis)
    }

    /// The view once the replicas have read what was on its way to them.
    async fn drained(
        &self,
        instance: &Instance,
        dead: NodeAddress,
        asked: &[NodeAddress],
    ) -> ClusterView {
        let credentials = instance.spec.operator.as_ref();
        let began = self.hands.clock.now();
        loop {
            let view = self.hands.nodes.observe(asked, credentials).await;
            let waited = self.hands.clock.now().saturating_sub(began);
            if has_drained(dead, &view) || waited >= DRAIN_LIMIT {
                return view;
            }
            self.hands.clock.sleep(DRAIN_PAUSE).await;
        }
    }

    async fn promote(&self, instance: &Instance, promotion: Promotion) -> Result<(), Fault> {
        let step = ClusterStep::EnsurePromoted {
            promotions: vec![promotion],
        };
        let credentials = instance.spec.operator.as_ref();
        self.hands.nodes.apply(&step, credentials).await
    }

    /// Nobody followed on: the process starts again with its data. Where it has none and a copy
    /// has, its emptiness would destroy that copy: then the copy is promoted first.
    async fn without_successor(
        &self,
        instance: &Instance,
        workload: &WorkloadName,
    ) -> Result<Verdict, Fault> {
        let view = self.hands.observe(instance).await?;
        let Some((mut reason, promotion)) = plan::converge::held(instance, &view, workload) else {
            return Ok(Verdict::StartAgain);
        };
        if let Some(promotion) = promotion {
            match self.promote(instance, promotion).await {
                Ok(()) => return Ok(Verdict::StartAgain),
                Err(fault) => reason = format!("{reason}; not yet: {fault}"),
            }
        }
        Ok(Verdict::Hold {
            reason,
            ask_again_after: HOLD_PAUSE,
        })
    }
}

impl Guardian for Guard {
    fn ended<'a>(
        &'a self,
        workload: &'a WorkloadName,
        _: Ending,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(async move {
            match self.judge(workload).await {
                Ok(Verdict::StartAgain) => {
                    let mut deaths = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
                    deaths.remove(workload);
                    Verdict::StartAgain
                }
                Ok(verdict @ Verdict::Hold { .. }) => verdict,
                // What cannot be judged must not be made worse: an empty node could be.
                Err(fault) => Verdict::Hold {
                    reason: format!("whether it may start cannot be told: {fault}"),
                    ask_again_after: HOLD_PAUSE,
                },
            }
        })
    }
}

/// Whom to ask about a dead node: everybody in a small cluster; in a large one those of its shard
/// and a few more.
fn witnesses(
    instance: &Instance,
    workload: &WorkloadName,
    servers: &[NodeAddress],
) -> Vec<NodeAddress> {
    let dead = instance.layout.seats.get(workload);
    let shard = dead.and_then(|seat| seat.node).map(|node| node.shard);
    let others = servers
        .iter()
        .copied()
        .filter(|address| Some(*address) != dead.map(|seat| seat.address));
    let Some(shard) = shard.filter(|_| servers.len() > SMALL_CLUSTER) else {
        return others.collect();
    };
    let of_shard: Vec<NodeAddress> = instance
        .layout
        .shard(shard)
        .iter()
        .map(|(_, seat, _)| seat.address)
        .collect();
    let (near, far): (Vec<_>, Vec<_>) = others.partition(|address| of_shard.contains(address));
    near.into_iter()
        .chain(far.into_iter().take(WITNESSES))
        .collect()
}
