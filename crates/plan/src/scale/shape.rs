//! Decides who joins and who leaves a service.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use model::ids::{HostName, ShardIndex, WorkloadName};
use model::instance::{Instance, Layout, PlannedRole};
use model::spec::{ClusterPart, Service, Spec};
use model::view::{HostView, View};

use super::role;
use crate::shards::{Node, acting, copies, is_taken_for_owner, report_of};

/// Who joins and who leaves a service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Shape {
    /// Those that join, in the order of their numbers.
    pub(super) joins: Vec<Joiner>,
    /// Those that leave.
    pub(super) leaves: BTreeSet<WorkloadName>,
    /// The shards that leave with all their nodes.
    pub(super) gone_shards: BTreeSet<ShardIndex>,
    /// The shards that join.
    pub(super) new_shards: BTreeSet<ShardIndex>,
}

/// A workload that joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Joiner {
    /// Its name, which was never used before.
    pub(super) name: WorkloadName,
    /// Its place in the cluster that the steward forms.
    pub(super) place: Option<(ShardIndex, PlannedRole)>,
}

impl Shape {
    pub(super) fn of(instance: &Instance, service: &Service, view: &View) -> Self {
        match service.cluster {
            Some(part) => of_cluster(instance, service, part, view),
            None => of_group(instance, service, view),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }

    pub(super) fn moves_slots(&self) -> bool {
        !self.gone_shards.is_empty() || !self.new_shards.is_empty()
    }
}

/// Whether two specs ask for the same number of everything.
pub(super) fn is_same_wish(left: &Spec, right: &Spec) -> bool {
    let numbers = |spec: &Spec| -> Vec<_> {
        let services = spec.services.iter();
        services
            .map(|it| {
                let shape = it.cluster.map(|part| (part.shards, part.replicas));
                (it.name.clone(), it.count, shape)
            })
            .collect()
    };
    numbers(left) == numbers(right)
}

/// Equal workloads without a cluster of ours: the highest numbers leave.
fn of_group(instance: &Instance, service: &Service, view: &View) -> Shape {
    let seats: Vec<&WorkloadName> = instance
        .layout
        .seats
        .keys()
        .filter(|name| *name.service() == service.name)
        .collect();
    let wanted = service.count as usize;
    let mut names = fresh_names(instance, service, view);
    let missing = wanted.saturating_sub(seats.len());
    Shape {
        joins: names
            .by_ref()
            .take(missing)
            .map(|name| Joiner { name, place: None })
            .collect(),
        leaves: seats.into_iter().skip(wanted).cloned().collect(),
        ..Shape::default()
    }
}

/// Names of a service above every number that was ever used, as far as anything is left of it.
fn fresh_names<'a>(
    instance: &'a Instance,
    service: &'a Service,
    view: &'a View,
) -> impl Iterator<Item = WorkloadName> + use<'a> {
    let used = instance.layout.seats.keys();
    let highest = used
        .chain(view.engine.workloads.keys())
        .filter(|name| *name.service() == service.name)
        .map(WorkloadName::number)
        .max()
        .unwrap_or(0);
    (highest.saturating_add(1)..=u32::MAX)
        .map(|number| WorkloadName::new(service.name.clone(), number))
}

fn of_cluster(instance: &Instance, service: &Service, part: ClusterPart, view: &View) -> Shape {
    let layout = &instance.layout;
    let (stay, gone_shards) = who_stays(layout, part.shards, view);
    let copies_wanted = usize::from(part.replicas) + 1;
    let mut leaves: BTreeSet<WorkloadName> = layout
        .nodes()
        .filter(|(_, _, node)| gone_shards.contains(&node.shard))
        .map(|(name, _, _)| name.clone())
        .collect();
    let mut places: Vec<(usize, ShardIndex, PlannedRole)> = Vec::new();
    for shard in &stay {
        let nodes = layout.shard(*shard);
        let surplus = nodes.len().saturating_sub(copies_wanted);
        leaves.extend(least_missed(layout, view, *shard, surplus));
        places.extend((nodes.len()..copies_wanted).map(|copy| (copy, *shard, role(false))));
    }
    let highest = layout.shards().last().map_or(0, |last| last.0 + 1);
    let missing = usize::from(part.shards).saturating_sub(stay.len());
    let new_shards: BTreeSet<ShardIndex> = (highest..).take(missing).map(ShardIndex).collect();
    for shard in &new_shards {
        places.extend((0..copies_wanted).map(|copy| (copy, *shard, role(copy == 0))));
    }
    // First all primaries, then all first replicas, and so on, as in a new instance.
    places.sort_by_key(|(copy, shard, _)| (*copy, *shard));
    let joins = fresh_names(instance, service, view)
        .zip(places)
        .map(|(name, (_, shard, role))| Joiner {
            name,
            place: Some((shard, role)),
        })
        .collect();
    Shape {
        joins,
        leaves,
        gone_shards,
        new_shards,
    }
}

/// The shards that stay, and those that leave: those with the least to move. Of equal ones, one
/// whose primary is on the host with the most primaries at that moment, and then the highest.
fn who_stays(
    layout: &Layout,
    wanted: u16,
    view: &View,
) -> (BTreeSet<ShardIndex>, BTreeSet<ShardIndex>) {
    let mut stay: BTreeMap<ShardIndex, Option<Node<'_>>> = layout
        .shards()
        .into_iter()
        .map(|shard| (shard, acting(layout, view, shard)))
        .collect();
    let mut gone = BTreeSet::new();
    while stay.len() > usize::from(wanted) {
        let mut by_host: BTreeMap<&HostName, usize> = BTreeMap::new();
        for (_, seat, _) in stay.values().flatten() {
            *by_host.entry(&seat.host).or_default() += 1;
        }
        let least = stay.iter().min_by_key(|(shard, primary)| {
            let report = primary.and_then(|node| report_of(view, &node));
            let held = report.map_or((0, 0), |it| (it.keys, coarse(it.memory_used.as_bytes())));
            let crowd = primary.map_or(0, |(_, seat, _)| by_host[&seat.host]);
            (held, Reverse(crowd), Reverse(**shard))
        });
        let Some(shard) = least.map(|(shard, _)| *shard) else {
            break;
        };
        stay.remove(&shard);
        gone.insert(shard);
    }
    (stay.into_keys().collect(), gone)
}

/// Whole MiB: what servers without a key differ by says nothing.
const fn coarse(bytes: u64) -> u64 {
    bytes >> 20
}

/// The nodes of a shard that are missed the least. Never the one that acts as its primary.
fn least_missed(
    layout: &Layout,
    view: &View,
    shard: ShardIndex,
    count: usize,
) -> Vec<WorkloadName> {
    let Some(primary) = acting(layout, view, shard) else {
        return Vec::new();
    };
    let mut candidates: Vec<Node<'_>> = layout
        .shard(shard)
        .into_iter()
        .filter(|node| node.2.id != primary.2.id)
        .collect();
    let mut gone = Vec::new();
    for _ in 0..count {
        let shares_host = |node: &Node<'_>| {
            let others = candidates.iter().chain([&primary]);
            let on_host = others.filter(|it| it.1.host == node.1.host);
            on_host.count() > 1
        };
        let crowd = |node: &Node<'_>| {
            let on_host = layout.nodes().filter(|it| it.1.host == node.1.host);
            on_host.count()
        };
        let least = (0..candidates.len()).min_by_key(|index| {
            let node = &candidates[*index];
            (
                copies(view, node, primary.2.id),
                !shares_host(node),
                Reverse(crowd(node)),
                Reverse(node.0.number()),
            )
        });
        let Some(least) = least else { break };
        gone.push(candidates.remove(least).0.clone());
    }
    gone
}

/// The host for a node of this shard: without another copy of it where there is one, and for a
/// primary the one with the fewest primaries; then the one with the fewest nodes.
pub(super) fn best_host(
    layout: &Layout,
    hosts: &[HostView],
    shard: ShardIndex,
    role: PlannedRole,
) -> Option<HostName> {
    let on = |host: &HostName, counts: &dyn Fn(&Node<'_>) -> bool| {
        layout
            .nodes()
            .filter(|node| node.1.host == *host && !node.1.leaves && counts(node))
            .count()
    };
    let best = hosts.iter().map(|host| &host.name).min_by_key(|host| {
        let copies = on(host, &|node| node.2.shard == shard);
        let primaries = on(host, &|node| node.2.role == PlannedRole::Primary);
        let primaries = match role {
            PlannedRole::Primary => primaries,
            PlannedRole::Replica => 0,
        };
        (copies, primaries, on(host, &|_| true))
    });
    best.cloned()
}

/// Who is to be primary where the planned one leaves: whoever acts as it. And no host is to hold a
/// majority of them where three exist.
pub(super) fn assign_roles(layout: &mut Layout, view: &View, shape: &Shape, hosts: &[HostView]) {
    if shape.is_empty() {
        return;
    }
    let headless: Vec<ShardIndex> = layout
        .shards()
        .into_iter()
        .filter(|shard| !super::leaves(layout, *shard))
        .filter(|shard| {
            let nodes = layout.shard(*shard);
            let mut stay = nodes.iter().filter(|(_, seat, _)| !seat.leaves);
            stay.all(|(_, _, node)| node.role != PlannedRole::Primary)
        })
        .collect();
    for shard in headless {
        let heir = acting(layout, view, shard).map(|node| node.0.clone());
        if let Some(heir) = heir {
            make_primary(layout, shard, &heir);
        }
    }
    if hosts.len() >= usize::from(super::PRIMARIES_MIN) {
        spread_primaries(layout);
    }
}

pub(super) fn make_primary(layout: &mut Layout, shard: ShardIndex, heir: &WorkloadName) {
    for (name, seat) in &mut layout.seats {
        if let Some(node) = seat.node.as_mut().filter(|node| node.shard == shard) {
            node.role = role(name == heir);
        }
    }
}

/// Exchanges roles within shards until no host has a majority of the primaries.
fn spread_primaries(layout: &mut Layout) {
    // Each round takes one primary from a host, so there are no more rounds than shards.
    for _ in 0..layout.shards().len() {
        let Some((shard, heir)) = relief(layout) else {
            return;
        };
        make_primary(layout, shard, &heir);
    }
}

/// A shard whose primary is on a host with a majority of them, and the copy that relieves it most.
fn relief(layout: &Layout) -> Option<(ShardIndex, WorkloadName)> {
    let staying: Vec<Node<'_>> = layout.nodes().filter(|node| !node.1.leaves).collect();
    let mut by_host: BTreeMap<&HostName, usize> = BTreeMap::new();
    for node in staying
        .iter()
        .filter(|node| node.2.role == PlannedRole::Primary)
    {
        *by_host.entry(&node.1.host).or_default() += 1;
    }
    let all: usize = by_host.values().sum();
    let (crowded, most) = by_host.iter().max_by_key(|(_, count)| **count)?;
    if most * 2 <= all {
        return None;
    }
    let is_crowded = |shard: ShardIndex| {
        staying.iter().any(|node| {
            node.2.shard == shard && node.2.role == PlannedRole::Primary && node.1.host == **crowded
        })
    };
    let heir = staying
        .iter()
        .filter(|node| node.2.role == PlannedRole::Replica && is_crowded(node.2.shard))
        .filter(|node| by_host.get(&node.1.host).copied().unwrap_or(0) + 1 < *most)
        .min_by_key(|node| {
            let there = by_host.get(&node.1.host).copied().unwrap_or(0);
            (there, Reverse(node.2.shard), node.0.number())
        })?;
    Some((heir.2.shard, heir.0.clone()))
}

/// Whether a node that leaves may be silent: no node that answers takes it for an owner of slots.
pub(super) fn may_be_silent(view: &View, node: &Node<'_>) -> bool {
    !is_taken_for_owner(view, node.2.id)
}
