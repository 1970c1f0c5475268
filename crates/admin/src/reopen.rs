//! Keeps slots that are on their way open while a replica takes the place of the primary that gives
//! them.
//!
//! A replica of Redis does not know which slots its primary had open (those of Valkey do from 8.0
//! on). Elected, it takes a key that has gone on already for one that never was, and has clients
//! write a second one; one of the two is lost when the move goes on. So writes to it pause from
//! before the election until the slots are open again: whoever takes them knows them.

use std::time::Duration;

use futures::future::join_all;
use model::address::NodeAddress;
use model::ids::NodeId;
use model::slots::Slot;
use model::step::{Member, Promotion};
use model::view::{OpenDirection, Peer, PeerRole};
use redis::Pipeline;
use tokio::time::timeout;

use crate::Session;
use crate::connection::NodeError;
use crate::observe;

/// How long writes pause at most, in milliseconds: longer than an election may take. Then they go
/// on by themselves, should we end in between.
const PAUSE_MS: &str = "3000";

/// How long a node may take to say what it takes. One that takes longer than the pause is of no
/// use.
const WORD_LIMIT: Duration = Duration::from_millis(500);

/// Pauses writes to a node. Servers before Redis 6.2 cannot; theirs go on.
pub(crate) async fn pause(session: Session<'_>, node: Member) {
    if let Ok(mut connection) = session.to(node.address).await {
        let _ = connection
            .ask(&["CLIENT", "PAUSE", PAUSE_MS, "WRITE"])
            .await;
    }
}

/// Lets writes go on.
pub(crate) async fn resume(session: Session<'_>, node: Member) {
    if let Ok(mut connection) = session.to(node.address).await {
        let _ = connection.ask(&["CLIENT", "UNPAUSE"]).await;
    }
}

/// A slot that is on its way, and who takes it.
pub(crate) type OnItsWay = (Slot, NodeId);

/// The slots that others take from the primary before, by their own word. A node that does not
/// answer takes none.
pub(crate) async fn on_their_way(session: Session<'_>, promotion: Promotion) -> Vec<OnItsWay> {
    let before = promotion.instead_of.id;
    let heir = peers_of(session, promotion.node.address);
    let Ok(Ok((_, peers))) = timeout(WORD_LIMIT, heir).await else {
        return Vec::new();
    };
    let others = peers
        .iter()
        .filter(|it| it.role == PeerRole::Primary && it.id != before);
    let asked = others.filter_map(|it| it.address).map(|taker| async move {
        let said = timeout(WORD_LIMIT, peers_of(session, taker)).await;
        taken(said.ok()?.ok()?, before)
    });
    let taken = join_all(asked).await.into_iter().flatten();
    taken.flatten().collect()
}

async fn peers_of(
    session: Session<'_>,
    node: NodeAddress,
) -> Result<(NodeId, Vec<Peer>), NodeError> {
    observe::peers(&mut session.to(node).await?).await
}

/// What a node takes from another one.
fn taken((taker, peers): (NodeId, Vec<Peer>), from: NodeId) -> Option<Vec<OnItsWay>> {
    let myself = peers.into_iter().find(|it| it.id == taker)?;
    let open = myself.open_slots.into_iter();
    let open = open.filter(|it| it.direction == OpenDirection::From(from));
    Some(open.map(|it| (it.slot, taker)).collect())
}

/// Opens them again at the new primary, as far as it does not know that they are open: Valkey's
/// knows, and each one said again would have it wait for its replicas. A slot that it does not own
/// is none of its concern.
pub(crate) async fn open(session: Session<'_>, node: Member, slots: &[OnItsWay]) {
    if slots.is_empty() {
        return;
    }
    let Ok(mut connection) = session.to(node.address).await else {
        return;
    };
    let known = observe::peers(&mut connection).await;
    let known = known.map_or_else(|_| Vec::new(), given);
    let mut pipeline = Pipeline::with_capacity(slots.len());
    for (slot, taker) in slots.iter().filter(|it| !known.contains(it)) {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot.number());
        command.arg("MIGRATING").arg(taker.to_string());
        pipeline.add_command(command);
    }
    let _ = connection.ask_pipeline(&pipeline, "CLUSTER SETSLOT").await;
}

/// What a node gives to others.
fn given((giver, peers): (NodeId, Vec<Peer>)) -> Vec<OnItsWay> {
    let myself = peers.into_iter().find(|it| it.id == giver);
    let open = myself.into_iter().flat_map(|it| it.open_slots);
    let given = open.filter_map(|it| match it.direction {
        OpenDirection::To(taker) => Some((it.slot, taker)),
        OpenDirection::From(_) => None,
    });
    given.collect()
}

#[cfg(test)]
mod tests {
    use crate::cluster_nodes;

    use super::*;

    #[test]
    fn what_a_node_takes_is_what_it_imports_from_the_one_that_is_gone() {
        let [me, gone, other] = ["a", "b", "c"].map(|it| it.repeat(40));
        let text = format!(
            "{me} 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5 \
             [7-<-{gone}] [8-<-{other}] [3->-{gone}]\n\
             {gone} 127.0.0.1:7002@17002 master - 0 0 2 connected 6-9\n"
        );
        let from = NodeId::parse(&gone).unwrap();
        let taken = taken(cluster_nodes::read(&text).unwrap(), from).unwrap();
        let slots: Vec<u16> = taken.iter().map(|(slot, _)| slot.number()).collect();
        assert_eq!(slots, [7]);
        assert_eq!(taken[0].1, NodeId::parse(&me).unwrap());
        let given = given(cluster_nodes::read(&text).unwrap());
        assert_eq!(given, [(Slot::new(3).unwrap(), from)]);
    }
}
