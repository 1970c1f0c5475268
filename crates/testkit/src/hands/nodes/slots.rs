//! Gives slots to a new node, as `admin::slots` does.

use model::fault::{Class, Fault};
use model::ids::Epoch;
use model::slots::{SlotRange, SlotSet};
use model::step::Member;

use super::{SimNodes, refused};

pub(super) async fn ensure(
    nodes: &SimNodes,
    node: Member,
    slots: &[SlotRange],
    epoch: Epoch,
) -> Result<(), Fault> {
    let address = node.address;
    let report = nodes.ask(address, |server, now| server.report(now)).await?;
    let Some(cluster) = report.cluster else {
        return Err(Fault::new(
            "SY2004",
            Class::Failed,
            format!("{address} runs without cluster mode"),
        ));
    };
    if cluster.id != node.id {
        let message = format!("the server at {address} is not node {}", node.id);
        return Err(Fault::new("SY2013", Class::Refused, message));
    }
    let own = SlotSet::of(cluster.myself().map_or(&[], |myself| &myself.slots));
    let missing = SlotSet::of(slots).difference(&own);
    if missing.is_empty() {
        return Ok(());
    }
    let owned = missing.intersection(&cluster.slots_assigned());
    if !owned.is_empty() {
        let message = format!("{node} knows another owner of slots {owned}");
        return Err(Fault::new("SY2012", Class::Refused, message));
    }
    let keys = nodes.ask(address, |server, _| server.keys.len()).await?;
    if keys > 0 {
        let message = format!("{node} already holds {keys} keys");
        return Err(Fault::new("SY2010", Class::Refused, message));
    }
    let has_epoch = cluster.myself().is_some_and(|it| it.epoch != Epoch(0));
    if cluster.is_alone() && !has_epoch {
        let set = nodes.order(address, |server, _, _| server.set_epoch(epoch));
        set.await?
            .map_err(|refusal| refused(address, "CLUSTER SET-CONFIG-EPOCH", &refusal))?;
    }
    let add = nodes.order(address, |server, now, _| server.add_slots(&missing, now));
    add.await?
        .map_err(|refusal| refused(address, "CLUSTER ADDSLOTSRANGE", &refusal))
}
