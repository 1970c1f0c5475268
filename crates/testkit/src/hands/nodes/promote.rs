//! Makes replicas primaries by a vote, as `admin::promote` does.

use std::time::Duration;

use model::fault::{Class, Fault};
use model::step::{Member, Promotion};
use model::view::PeerRole;
use tokio::time::sleep;

use super::{SimNodes, meet, refused};

/// How long a node may take to reach a majority of the primaries after a start.
const VOTERS_LIMIT: Duration = Duration::from_secs(2);

/// How long an election may take.
const ELECTION_LIMIT: Duration = Duration::from_millis(1500);

/// A server that starts as a primary takes no writes for 2 s. This old it is too near to that.
const SERVES_SOON: Duration = Duration::from_secs(1);

/// How long the primary before may take to hear of its successor.
const WORD_LIMIT: Duration = Duration::from_millis(100);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

pub(super) async fn ensure_all(nodes: &SimNodes, promotions: &[Promotion]) -> Result<(), Fault> {
    for promotion in promotions {
        ensure(nodes, *promotion).await?;
    }
    Ok(())
}

async fn ensure(nodes: &SimNodes, promotion: Promotion) -> Result<(), Fault> {
    let node = promotion.node;
    if is_primary(nodes, node).await? || has_won_meanwhile(nodes, promotion).await? {
        return Ok(());
    }
    must_not_serve(nodes, promotion).await?;
    let order = nodes.order(node.address, |server, now, _| server.take_over(now));
    order
        .await?
        .map_err(|refusal| refused(node.address, "CLUSTER FAILOVER", &refusal))?;
    let began = nodes.world.now();
    while !is_primary(nodes, node).await? {
        if nodes.world.now().saturating_sub(began) > ELECTION_LIMIT {
            let message = format!("{node} was not elected");
            return Err(Fault::new("SY2018", Class::NotConverged, message));
        }
        sleep(LOOK_AGAIN).await;
    }
    spread_the_word(nodes, promotion.instead_of).await;
    Ok(())
}

/// The primary before tells nobody that it is a replica now, unless it is made to.
async fn spread_the_word(nodes: &SimNodes, before: Member) {
    let began = nodes.world.now();
    while nodes.world.now().saturating_sub(began) < WORD_LIMIT {
        match is_primary(nodes, before).await {
            Err(_) => return,
            Ok(false) => {
                // That it cannot tell is no error: gossip will.
                let _ = meet::introduce_to_all(nodes, before).await;
                return;
            }
            Ok(true) => sleep(LOOK_AGAIN).await,
        }
    }
}

/// A primary that takes writes, or is about to, is not forced out of its place: what it has
/// acknowledged and not yet passed on would be lost.
async fn must_not_serve(nodes: &SimNodes, promotion: Promotion) -> Result<(), Fault> {
    let before = promotion.instead_of;
    let serves = nodes.ask(before.address, |server, now| {
        server.serves() || server.age(now) >= SERVES_SOON
    });
    // One that does not answer takes no writes.
    if serves.await.unwrap_or(false) {
        let message = format!("{before} serves, and a forced election would lose writes");
        return Err(Fault::new("SY2016", Class::NotConverged, message));
    }
    Ok(())
}

async fn is_primary(nodes: &SimNodes, node: Member) -> Result<bool, Fault> {
    match nodes
        .ask(node.address, |server, _| server.is_primary())
        .await
    {
        Err(fault) if fault.code.0 == "SY2003" => Ok(false),
        other => other,
    }
}

/// Waits for voters. An election that somebody else began may be won before one is held here.
async fn has_won_meanwhile(nodes: &SimNodes, promotion: Promotion) -> Result<bool, Fault> {
    let node = promotion.node;
    let began = nodes.world.now();
    loop {
        let report = nodes
            .ask(node.address, |server, now| server.report(now))
            .await?;
        let peers = report.cluster.map(|it| it.peers).unwrap_or_default();
        let role = peers.iter().find(|it| it.id == node.id).map(|it| it.role);
        if role == Some(PeerRole::Primary) {
            return Ok(true);
        }
        if role != Some(PeerRole::Replica(Some(promotion.instead_of.id))) {
            let message = format!("{node} is no replica of {}", promotion.instead_of);
            return Err(Fault::new("SY2016", Class::Refused, message));
        }
        let voters: Vec<_> = peers.iter().filter(|it| !it.slots.is_empty()).collect();
        let needed = voters.len() / 2 + 1;
        let reached = voters.iter().filter(|it| it.linked).count();
        if reached >= needed {
            return Ok(false);
        }
        if nodes.world.now().saturating_sub(began) > VOTERS_LIMIT {
            let message = format!("{node} reaches {reached} primaries, and needs {needed}");
            return Err(Fault::new("SY2016", Class::NotConverged, message));
        }
        sleep(LOOK_AGAIN).await;
    }
}
