//! Asks every slot for a write, as `admin::probe` does.

use model::fault::{Class, Fault};
use model::slots::SlotSet;
use model::step::Member;

use super::SimNodes;

pub(super) async fn all(nodes: &SimNodes, primaries: &[(Member, SlotSet)]) -> Result<(), Fault> {
    for (node, slots) in primaries {
        let refusal = nodes.ask(node.address, |server, _| server.refused_write(slots));
        if let Some((slot, answer)) = refusal.await? {
            let number = slot.number();
            let message = format!("slot {number} takes no write at {node}: {answer}");
            return Err(Fault::new("SY2017", Class::NotConverged, message));
        }
    }
    Ok(())
}
