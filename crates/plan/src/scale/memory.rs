//! Judges whether those who stay have the memory for what they take over: half as much again must
//! be free, because what is moved is there twice for a while, and clients go on writing.

use std::collections::BTreeMap;

use model::ids::{HostName, ShardIndex};
use model::instance::Layout;
use model::size::ByteSize;
use model::slots::SlotSet;
use model::spec::Spec;
use model::view::{HostView, View};

use super::Refusal;
use crate::shards::{self, Node, acting, report_of};

/// Where the memory is short, before anything is moved to `layout.owners`.
pub(super) fn short(
    before: &Spec,
    after: &Spec,
    layout: &Layout,
    view: &View,
    hosts: &[HostView],
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut by_host: BTreeMap<&HostName, u64> = BTreeMap::new();
    let newcomers_max = newcomers_max(before, after, layout, view);
    for (shard, bytes) in taken_over(layout, view) {
        let needs = bytes.saturating_add(bytes / 2);
        if needs == 0 {
            continue;
        }
        for node in layout.shard(shard).iter().filter(|node| !node.1.leaves) {
            let (max, used) = match report_of(view, node) {
                Some(report) => (report.memory_max.as_bytes(), report.memory_used.as_bytes()),
                None => (newcomers_max, 0),
            };
            if max == 0 {
                *by_host.entry(&node.1.host).or_default() += needs;
            } else if needs > max.saturating_sub(used) {
                refusals.push(refusal(node.0, needs, max.saturating_sub(used)));
            }
        }
    }
    for (host, needs) in by_host {
        let free = hosts
            .iter()
            .find(|it| it.name == *host)
            .map(|it| it.memory_available.as_bytes());
        if let Some(free) = free.filter(|free| needs > *free) {
            refusals.push(refusal(format!("host {host}"), needs, free));
        }
    }
    refusals
}

fn refusal(subject: impl ToString, needs: u64, free: u64) -> Refusal {
    Refusal::Memory {
        subject: subject.to_string(),
        needs: ByteSize::bytes(needs),
        free: ByteSize::bytes(free),
    }
}

/// The bytes that each shard takes over, as far as memory and slots of their owners tell.
fn taken_over(layout: &Layout, view: &View) -> BTreeMap<ShardIndex, u64> {
    let owned = shards::owned(layout, view);
    let sources: Vec<(&SlotSet, u64, u64)> = owned
        .iter()
        .filter_map(|(shard, slots)| {
            let primary: Node<'_> = acting(layout, view, *shard)?;
            let used = report_of(view, &primary)?.memory_used.as_bytes();
            Some((slots, slots.len() as u64, used))
        })
        .filter(|(_, count, _)| *count > 0)
        .collect();
    let bytes = |shard: &ShardIndex, intended: &SlotSet| {
        let empty = SlotSet::empty();
        let new = intended.difference(owned.get(shard).unwrap_or(&empty));
        let parts = sources.iter().map(|(slots, count, used)| {
            let moved = slots.intersection(&new).len() as u64;
            let part = u128::from(*used) * u128::from(moved) / u128::from(*count);
            u64::try_from(part).unwrap_or(u64::MAX)
        });
        parts.fold(0_u64, u64::saturating_add)
    };
    layout
        .owners
        .iter()
        .map(|(shard, intended)| (*shard, bytes(shard, intended)))
        .collect()
}

/// The most memory that a newcomer's data may take: what the others have, in proportion to the
/// memory of their containers. 0 where that cannot be told.
fn newcomers_max(before: &Spec, after: &Spec, layout: &Layout, view: &View) -> u64 {
    let container = |spec: &Spec| {
        let service = spec.services.iter().find(|it| it.cluster.is_some())?;
        service.container.memory.map(ByteSize::as_bytes)
    };
    let others = layout
        .nodes()
        .filter_map(|node| Some(report_of(view, &node)?.memory_max.as_bytes()))
        .max()
        .unwrap_or(0);
    match (container(before), container(after)) {
        (Some(before), Some(after)) if before > 0 => {
            let scaled = u128::from(others) * u128::from(after) / u128::from(before);
            u64::try_from(scaled).unwrap_or(u64::MAX)
        }
        _ => others,
    }
}
