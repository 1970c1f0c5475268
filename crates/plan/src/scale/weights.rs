//! Decides which shard is to own which slots where nobody joins and nobody leaves.

use std::collections::BTreeMap;

use model::ids::ShardIndex;
use model::instance::Instance;
use model::slots::Slot;
use model::view::View;

use super::refusal::{self, Refusal};
use super::shape::Shape;
use super::{after, memory, shares};
use crate::moves::{self, Loads};
use crate::shards::is_under_way;

/// How an instance is to be balanced.
#[derive(Clone, Debug, Default)]
pub struct Balance<'a> {
    /// Twice the weight is to have twice as much; 1 where a shard is not named.
    pub weights: BTreeMap<ShardIndex, u32>,
    /// A shard that is off by no more is left alone, unless others need it.
    pub threshold_percent: u32,
    /// What each slot weighs: keys, bytes or operations; `None` where slots are counted.
    pub loads: Option<&'a Loads>,
}

/// The instance with the slots that each shard is to own, by the fewest moves. Where nothing has to
/// be moved it stays as it is.
///
/// # Errors
/// Every reason against it, not only the first.
pub fn rebalance(
    instance: &Instance,
    view: &View,
    balance: &Balance<'_>,
) -> Result<Instance, Vec<Refusal>> {
    let mut refusals = forbidden(instance, view);
    let shards = instance.layout.shards();
    let unknown = balance.weights.keys().filter(|it| !shards.contains(it));
    refusals.extend(unknown.map(|shard| Refusal::NoSuchShard(*shard)));
    let weight = |shard: ShardIndex| balance.weights.get(&shard).copied().unwrap_or(1);
    if !shards.is_empty() && shards.iter().all(|shard| weight(*shard) == 0) {
        refusals.push(Refusal::NoWeight);
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let shares = shares(&instance.layout, view, weight);
    let list: Vec<moves::Share> = shares.values().cloned().collect();
    let moves = moves::balance(&list, balance.loads, balance.threshold_percent);
    intend(instance, view, &shares, &moves)
}

/// The instance in which this slot has the shard for itself.
///
/// # Errors
/// Every reason against it, not only the first.
pub fn isolate(
    instance: &Instance,
    view: &View,
    slot: Slot,
    onto: ShardIndex,
) -> Result<Instance, Vec<Refusal>> {
    let mut refusals = forbidden(instance, view);
    let shares = shares(&instance.layout, view, |_| 1);
    match shares.get(&onto) {
        Some(target) if refusals.is_empty() => {
            let list: Vec<moves::Share> = shares.values().cloned().collect();
            let moves = moves::isolate(&list, slot, target.member);
            intend(instance, view, &shares, &moves)
        }
        Some(_) => Err(refusals),
        None => {
            refusals.push(Refusal::NoSuchShard(onto));
            Err(refusals)
        }
    }
}

fn forbidden(instance: &Instance, view: &View) -> Vec<Refusal> {
    if instance.layout.shards().is_empty() {
        return vec![Refusal::NoCluster(instance.name.clone())];
    }
    if is_under_way(instance) {
        return vec![Refusal::UnderWay(instance.name.clone())];
    }
    if !instance.delivered {
        return vec![Refusal::NotDelivered(instance.name.clone())];
    }
    refusal::of_cluster(instance, view, &Shape::default())
}

fn intend(
    instance: &Instance,
    view: &View,
    shares: &BTreeMap<ShardIndex, moves::Share>,
    moves: &[model::migration::SlotMove],
) -> Result<Instance, Vec<Refusal>> {
    let mut intended = instance.clone();
    if moves.is_empty() {
        return Ok(intended);
    }
    intended.layout.owners = after(&instance.layout, shares, moves);
    let spec = &instance.spec;
    let hosts = &view.engine.hosts;
    let short = memory::short(spec, spec, &intended.layout, view, hosts);
    if short.is_empty() {
        Ok(intended)
    } else {
        Err(short)
    }
}
