//! A cluster that was delivered long ago, so that a schedule need not begin with its delivery.

use std::collections::BTreeMap;

use model::ids::{Epoch, NodeId, ShardIndex, WorkloadName};
use model::instance::{Instance, Layout, NodeSeat, PlannedRole, Seat};
use model::slots::SlotSet;
use model::view::PeerRole;
use model::workload::Workload;

use super::Realm;
use crate::nodes_conf::{Entry, NodesConf};
use crate::slot_table::SharedSlots;

impl Realm {
    /// Starts every node with what it would have stored: all others, and who owns what.
    pub(crate) fn form(
        &mut self,
        instance: &Instance,
        workloads: &BTreeMap<WorkloadName, Workload>,
        owners: &BTreeMap<ShardIndex, SlotSet>,
    ) {
        let entries: Vec<Entry> = instance
            .layout
            .nodes()
            .map(|(_, seat, node)| entry(&instance.layout, seat, node, owners))
            .collect();
        let last = Epoch(instance.layout.shards().len() as u64);
        for (name, _, node) in instance.layout.nodes() {
            let Some(workload) = workloads.get(name) else {
                continue;
            };
            self.define(&instance.name, workload);
            let unit_name = (instance.name.clone(), name.clone());
            if let Some(unit) = self.units.get_mut(&unit_name) {
                unit.disk.prepared = None;
                unit.disk.conf = conf(&entries, node.id, last);
            }
            self.start(&unit_name);
        }
    }
}

fn conf(entries: &[Entry], id: NodeId, last: Epoch) -> Option<NodesConf> {
    let (mine, others): (Vec<Entry>, Vec<Entry>) =
        entries.iter().cloned().partition(|entry| entry.id == id);
    Some(NodesConf {
        myself: mine.into_iter().next()?,
        others,
        current_epoch: last,
        last_vote_epoch: Epoch(0),
        open: BTreeMap::new(),
    })
}

fn entry(
    layout: &Layout,
    seat: &Seat,
    node: NodeSeat,
    owners: &BTreeMap<ShardIndex, SlotSet>,
) -> Entry {
    let primary = layout.shard(node.shard).first().map(|(_, _, it)| it.id);
    let (role, slots) = match node.role {
        PlannedRole::Primary => {
            let slots = owners.get(&node.shard).cloned();
            (PeerRole::Primary, slots.unwrap_or_else(SlotSet::empty))
        }
        PlannedRole::Replica => (PeerRole::Replica(primary), SlotSet::empty()),
    };
    Entry {
        id: node.id,
        address: seat.address,
        role,
        epoch: Layout::first_epoch(node.shard),
        slots: SharedSlots::new(slots),
    }
}
