//! What happens when a server's process has died: a replica follows on at once, and only then is
//! the process started again.
//!
//! The supervisor knows of a death within a millisecond, where the other nodes need their time-out.
//! The election is the servers' own (`CLUSTER FAILOVER FORCE`): voted, with an epoch of its own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use engines::process::{Guardian, Verdict};
use model::address::NodeAddress;
use model::fault::Fault;
use model::ids::{InstanceName, WorkloadName};
use model::instance::Instance;
use model::step::{ClusterStep, Promotion};
use model::view::{ClusterView, Ending};
use plan::failover::{Succession, has_drained, succession};

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

/// How many nodes outside a shard are asked about a dead one in a large cluster.
const WITNESSES: usize = 3;

/// Up to this many nodes are all asked.
const SMALL_CLUSTER: usize = 16;

/// Watches over the servers of one instance.
#[derive(Debug)]
pub struct Guard {
    home: Home,
    name: InstanceName,
    hands: Hands,
}

impl Guard {
    /// Watches over this instance.
    #[must_use]
    pub const fn new(home: Home, name: InstanceName, hands: Hands) -> Self {
        Self { home, name, hands }
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
        let view = self.drained(&instance, dead, &asked).await;
        if let Succession::Promote(promotion) = succession(dead, &view)
            && self.promote(&instance, promotion).await.is_ok()
        {
            // It comes back as a replica: its successor's epoch is higher.
            return Ok(Verdict::StartAgain);
        }
        self.without_successor(&instance, workload).await
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
                Ok(verdict) => verdict,
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
