//! Has a replica take over from its primary, without a write that is lost: `CLUSTER FAILOVER`.
//!
//! The primary stops writes, the replica reads what is left, is voted for and takes over; all in
//! some tens of milliseconds. An `OK` only says that it has begun. It is never forced, and never
//! `TAKEOVER`: where it cannot be done without a loss it is not done.
//!
//! A primary votes in one shard only once in two node time-outs. A replica that was elected itself
//! within two node time-outs takes those votes for new ones and is a primary before the old one has
//! stopped (seen on Redis 7.0: two primaries for 50 ms), and within four it does not ask for any,
//! so that the shard's writes stop for five seconds for nothing (`clusterHandleSlaveFailover`,
//! `auth_timeout` and `auth_retry_time`). Whoever was in an election has a link to its primary that
//! is younger than that; it is waited for.

use std::time::Duration;

use model::command::{NodeAnswer, NodeCommand};
use model::step::{Member, Promotion};
use model::view::{PeerRole, Replication, ReplicationLink};

use crate::error::StewardError;
use crate::{Ground, talk};

/// How long one attempt may take. The servers give up after 5 s (`CLUSTER_MF_TIMEOUT`, and
/// `cluster-manual-failover-timeout` of Valkey) and pause clients no longer than twice that.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(12);

/// How often it is tried. An election that was lost leaves everything as it was.
const TRIES: u32 = 3;

/// How long a replica may take to catch up before it takes over.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(60);

/// The node time-out of Redis and Valkey where it cannot be asked for.
const USUAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The shortest time that an election is valid for (`auth_timeout`).
const ELECTION_MIN: Duration = Duration::from_secs(2);

/// How much longer a link may take to be old enough than it needs: it may break once.
const LINK_SLACK: Duration = Duration::from_secs(30);

/// The pause between two looks at the age of a link, which counts in seconds.
const LOOK_AT_AGE: Duration = Duration::from_millis(200);

/// How far behind it may be at the beginning: what it reads within the pause of the clients.
const BEHIND_MAX: u64 = 1 << 20;

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Hands over, one shard after the other: two elections at once split the vote.
pub(crate) async fn ensure_all(
    ground: Ground<'_>,
    promotions: &[Promotion],
) -> Result<(), StewardError> {
    for promotion in promotions {
        ensure(ground, *promotion).await?;
    }
    Ok(())
}

async fn ensure(ground: Ground<'_>, promotion: Promotion) -> Result<(), StewardError> {
    const NAME: &str = "CLUSTER FAILOVER";
    let node = promotion.node;
    let mut why = String::new();
    if !is_primary(ground, node).await? {
        await_elections(ground, promotion).await?;
    }
    for _ in 0..TRIES {
        if is_primary(ground, node).await? {
            return await_the_other(ground, promotion).await;
        }
        must_copy(ground, promotion).await?;
        await_caught_up(ground, promotion).await?;
        match talk::all(ground, node, NAME, &[NodeCommand::Failover])
            .await?
            .pop()
        {
            Some(Err(words)) => why = words,
            Some(Ok(_)) | None => why = "the other primaries did not vote for it".to_owned(),
        }
        let began = ground.clock.now();
        while ground.clock.now().saturating_sub(began) < ATTEMPT_LIMIT {
            if is_primary(ground, node).await? {
                return await_the_other(ground, promotion).await;
            }
            ground.clock.sleep(LOOK_AGAIN).await;
        }
    }
    Err(StewardError::NotHandedOver {
        node,
        before: promotion.instead_of,
        why,
    })
}

/// Waits until an election in which the replica may have been is over for everybody.
async fn await_elections(ground: Ground<'_>, promotion: Promotion) -> Result<(), StewardError> {
    const NAME: &str = "CLIENT LIST";
    let node = promotion.node;
    let needed = (node_timeout(ground, node).await? * 2).max(ELECTION_MIN) * 2;
    let began = ground.clock.now();
    loop {
        let said = talk::all(ground, node, NAME, &[NodeCommand::LinkAge]).await?;
        let waited = ground.clock.now().saturating_sub(began);
        let age = match said.into_iter().next() {
            Some(Ok(NodeAnswer::Number(seconds))) => Duration::from_secs(seconds),
            Some(Ok(_)) | None => Duration::ZERO,
            // It does not say: what we have waited ourselves counts.
            Some(Err(_)) => waited,
        };
        if age >= needed {
            return Ok(());
        }
        if waited >= needed + LINK_SLACK {
            return Err(StewardError::NotHandedOver {
                node,
                before: promotion.instead_of,
                why: "its link to it breaks again and again".to_owned(),
            });
        }
        ground.clock.sleep(LOOK_AT_AGE).await;
    }
}

async fn node_timeout(ground: Ground<'_>, node: Member) -> Result<Duration, StewardError> {
    const NAME: &str = "CONFIG GET";
    let question = [NodeCommand::Setting("cluster-node-timeout".to_owned())];
    let said = talk::all(ground, node, NAME, &question).await?;
    let known = match said.into_iter().next() {
        Some(Ok(NodeAnswer::Text(text))) => text.parse().ok().map(Duration::from_millis),
        Some(_) | None => None,
    };
    Ok(known.unwrap_or(USUAL_TIMEOUT))
}

/// Whether a node is a primary that owns slots.
async fn is_primary(ground: Ground<'_>, node: Member) -> Result<bool, StewardError> {
    let cluster = talk::cluster(ground, node).await?;
    Ok(cluster
        .myself()
        .is_some_and(|it| it.role == PeerRole::Primary))
}

async fn must_copy(ground: Ground<'_>, promotion: Promotion) -> Result<(), StewardError> {
    let before = promotion.instead_of;
    let cluster = talk::cluster(ground, promotion.node).await?;
    let role = cluster.myself().map(|it| it.role);
    if role == Some(PeerRole::Replica(Some(before.id))) {
        return Ok(());
    }
    Err(StewardError::NotHandedOver {
        node: promotion.node,
        before,
        why: "it is not its replica".to_owned(),
    })
}

/// Waits until the replica is linked and nearly as far as its primary.
async fn await_caught_up(ground: Ground<'_>, promotion: Promotion) -> Result<(), StewardError> {
    let began = ground.clock.now();
    loop {
        let primary = talk::replication(ground, promotion.instead_of).await?;
        let replica = talk::replication(ground, promotion.node).await?;
        let is_linked = matches!(
            replica,
            Replication::Replica {
                link: ReplicationLink::Up,
                ..
            }
        );
        let behind = primary.offset().saturating_sub(replica.offset());
        if is_linked && behind <= BEHIND_MAX {
            return Ok(());
        }
        if ground.clock.now().saturating_sub(began) >= CATCH_UP_LIMIT {
            let why = if is_linked {
                format!("it is {behind} bytes behind")
            } else {
                "its link to it is down".to_owned()
            };
            return Err(StewardError::NotHandedOver {
                node: promotion.node,
                before: promotion.instead_of,
                why,
            });
        }
        ground.clock.sleep(LOOK_AGAIN).await;
    }
}

/// Waits until the primary before is a replica: from then on it takes no write.
async fn await_the_other(ground: Ground<'_>, promotion: Promotion) -> Result<(), StewardError> {
    let began = ground.clock.now();
    while ground.clock.now().saturating_sub(began) < ATTEMPT_LIMIT {
        match is_primary(ground, promotion.instead_of).await {
            Ok(false) => return Ok(()),
            Ok(true) => ground.clock.sleep(LOOK_AGAIN).await,
            // It may have ended in between; then it takes no write either.
            Err(StewardError::NoAnswer { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(StewardError::TooLate {
        what: format!("{} still takes itself for a primary", promotion.instead_of),
        seconds: ATTEMPT_LIMIT.as_secs(),
    })
}
