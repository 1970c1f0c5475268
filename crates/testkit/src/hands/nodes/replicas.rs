//! Makes nodes copy a primary, as `admin::replicas` does.

use std::time::Duration;

use futures::future::join_all;
use model::fault::{Class, Fault};
use model::step::Member;
use model::view::{Replication, ReplicationLink};
use tokio::time::sleep;

use super::{SimNodes, refused, setting};

/// How long a node may take to hear of its primary and to begin the copy.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);

pub(super) async fn ensure(
    nodes: &SimNodes,
    primary: Member,
    replicas: &[Member],
) -> Result<(), Fault> {
    let address = primary.address;
    let changed = setting::change(nodes, address, |settings| {
        settings.sync_delay = Duration::ZERO;
    });
    let changed = changed.await?;
    let copies = join_all(replicas.iter().map(|node| one(nodes, *node, primary))).await;
    if let Some(before) = changed {
        setting::restore(nodes, address, before).await?;
    }
    copies.into_iter().collect()
}

async fn one(nodes: &SimNodes, node: Member, primary: Member) -> Result<(), Fault> {
    let began = nodes.world.now();
    let mut asked = false;
    loop {
        if !asked {
            asked = ask(nodes, node, primary).await?;
        } else if is_copying(nodes, node).await? {
            return Ok(());
        }
        if nodes.world.now().saturating_sub(began) > LIMIT {
            let what = if asked {
                "has no link to"
            } else {
                "does not know"
            };
            let message = format!("{node} {what} {primary}");
            return Err(Fault::new("SY2015", Class::NotConverged, message));
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Whether the node took the order.
async fn ask(nodes: &SimNodes, node: Member, primary: Member) -> Result<bool, Fault> {
    let order = nodes.order(node.address, |server, _, _| server.replicate(primary.id));
    match order.await? {
        Ok(()) => Ok(true),
        Err(it) if it.0.contains("Unknown node") || it.0.contains("only replicate a") => Ok(false),
        Err(it) if it.0.contains("must be empty") => {
            let message = format!("{node} cannot become a replica: {}", it.0);
            Err(Fault::new("SY2010", Class::Refused, message))
        }
        Err(it) => Err(refused(node.address, "CLUSTER REPLICATE", &it)),
    }
}

async fn is_copying(nodes: &SimNodes, node: Member) -> Result<bool, Fault> {
    let report = nodes
        .ask(node.address, |server, now| server.report(now))
        .await?;
    Ok(matches!(
        report.replication,
        Replication::Replica {
            link: ReplicationLink::Up | ReplicationLink::Copying,
            ..
        }
    ))
}
