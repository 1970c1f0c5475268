//! Where workloads sit: properties that hold for every size, and what is said before delivery.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{HostName, ShardIndex};
use model::instance::{Instance, PlannedRole};
use model::size::ByteSize;
use model::slots::SlotSet;
use model::spec::{ServiceKind, Strategy};
use plan::layout::{Site, layout, node_count, review, wanted};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use crate::fixture::{
    Scene, hosts, instance_on, name, redis_7, render_finding, service, spec, whole_cluster,
};

/// Shards, replicas and hosts.
fn sizes() -> impl proptest::strategy::Strategy<Value = (u16, u16, u8)> {
    (1_u16..=100, 0_u16..=5, 1_u8..=9)
}

fn instance((shards, replicas, host_count): (u16, u16, u8)) -> Instance {
    instance_on(&hosts(host_count), spec(shards, replicas))
}

/// How many primaries sit on each host.
fn primaries_by_host(instance: &Instance) -> BTreeMap<HostName, usize> {
    let mut count = BTreeMap::new();
    for (_, seat, node) in instance.layout.nodes() {
        if node.role == PlannedRole::Primary {
            *count.entry(seat.host.clone()).or_default() += 1;
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_slot_has_exactly_one_primary(size in sizes()) {
        let layout = instance(size).layout;
        let mut owned = SlotSet::empty();
        for shard in layout.shards() {
            let primaries = layout.shard(shard).into_iter();
            let primaries = primaries.filter(|(_, _, node)| node.role == PlannedRole::Primary);
            prop_assert_eq!(primaries.count(), 1, "{}", shard);
            let slots = SlotSet::of(&[layout.first_slots(shard).unwrap()]);
            prop_assert!(owned.intersection(&slots).is_empty());
            owned = owned.union(&slots);
        }
        prop_assert_eq!(owned, SlotSet::all());
    }

    #[test]
    fn no_two_copies_of_a_shard_share_a_host_where_there_are_hosts_enough(size in sizes()) {
        let layout = instance(size).layout;
        for shard in layout.shards() {
            let copies = layout.shard(shard);
            let used: BTreeSet<_> = copies.iter().map(|(_, seat, _)| &seat.host).collect();
            prop_assert_eq!(used.len(), copies.len().min(usize::from(size.2)));
        }
    }

    #[test]
    fn no_host_holds_a_majority_of_the_primaries_where_three_exist(size in sizes()) {
        let (shards, _, host_count) = size;
        if shards >= 3 && host_count >= 3 {
            let most = primaries_by_host(&instance(size)).into_values().max().unwrap();
            prop_assert!(most <= usize::from(shards) / 2, "{} of {}", most, shards);
        }
    }

    #[test]
    fn the_primaries_are_numbered_first_as_redis_cli_has_them(size in sizes()) {
        let (shards, ..) = size;
        for (workload, _, node) in instance(size).layout.nodes() {
            let index = workload.number() - 1;
            let is_primary = index < u32::from(shards);
            prop_assert_eq!(is_primary, node.role == PlannedRole::Primary);
            let shard = u16::try_from(index % u32::from(shards)).unwrap();
            prop_assert_eq!(node.shard, ShardIndex(shard));
        }
    }

    #[test]
    fn the_same_input_gives_the_same_layout_and_plan(size in sizes()) {
        prop_assert_eq!(format!("{:?}", instance(size)), format!("{:?}", instance(size)));
        let (shards, replicas, _) = size;
        let planned = || Scene::nothing(spec(shards.min(12), replicas), redis_7()).planned();
        prop_assert_eq!(planned(), planned());
    }
}

#[test]
fn three_shards_are_cut_where_redis_cli_cuts_them() {
    let layout = instance((3, 1, 3)).layout;
    let rows: Vec<String> = layout
        .nodes()
        .map(|(workload, seat, node)| {
            let slots = layout.first_slots(node.shard).unwrap();
            format!(
                "{workload} on {}: {}, {slots} {:?}",
                seat.host, node.shard, node.role
            )
        })
        .collect();
    insta::assert_snapshot!(rows.join("\n"), @"
    redis-1 on a: shard 1, 0-5460 Primary
    redis-2 on b: shard 2, 5461-10922 Primary
    redis-3 on c: shard 3, 10923-16383 Primary
    redis-4 on b: shard 1, 0-5460 Replica
    redis-5 on c: shard 2, 5461-10922 Replica
    redis-6 on a: shard 3, 10923-16383 Replica
    ");
}

#[test]
fn a_site_that_lacks_something_seats_nobody() {
    let spec = spec(3, 1);
    let instance = instance_on(&hosts(3), spec.clone());
    let addresses: BTreeMap<_, _> = instance
        .layout
        .seats
        .iter()
        .map(|(name, seat)| (name.clone(), seat.address))
        .collect();
    let ids: Vec<_> = instance
        .layout
        .nodes()
        .map(|(_, _, node)| node.id)
        .collect();
    assert_eq!((wanted(&spec).len(), node_count(&spec)), (6, 6));
    let all = Site {
        hosts: &hosts(3),
        addresses: &addresses,
        ids: &ids,
    };
    assert_eq!(layout(&spec, all), Some(instance.layout));
    assert_eq!(layout(&spec, Site { hosts: &[], ..all }), None);
    assert_eq!(
        layout(
            &spec,
            Site {
                ids: &ids[1..],
                ..all
            }
        ),
        None
    );
    let mut fewer = addresses.clone();
    fewer.remove(&name("redis-6"));
    let site = Site {
        addresses: &fewer,
        ..all
    };
    assert_eq!(layout(&spec, site), None);
}

#[test]
fn workloads_that_are_no_nodes_are_spread_or_packed_as_their_service_says() {
    for (strategy, expected) in [
        (Strategy::Spread, ["a", "b", "c", "a"]),
        (Strategy::Pack, ["a"; 4]),
    ] {
        let mut spec = spec(1, 0);
        let mut web = service("web", ServiceKind::Server, 4);
        web.deployment.strategy = strategy;
        spec.services = vec![web];
        let layout = instance_on(&hosts(3), spec).layout;
        let on: Vec<&str> = layout.seats.values().map(|it| it.host.as_str()).collect();
        assert_eq!(on, expected);
        assert!(layout.nodes().next().is_none());
    }
}

/// What is said of a cluster of this size whose workloads may use so much memory each.
fn reviewed((shards, replicas, host_count): (u16, u16, u8), memory: ByteSize) -> String {
    let mut spec = spec(shards, replicas);
    spec.services[0].container.memory = Some(memory);
    let hosts = hosts(host_count);
    let instance = instance_on(&hosts, spec);
    let findings = review(&instance.spec, &instance.layout, &hosts);
    findings
        .iter()
        .map(render_finding)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_cluster_that_survives_a_host_needs_no_word() {
    assert_eq!(reviewed((3, 1, 3), ByteSize::mib(256)), "");
}

#[test]
fn what_a_cluster_would_not_survive_is_said_before() {
    insta::assert_snapshot!(reviewed((2, 0, 1), ByteSize::mib(256)), @"
    warning[SY2101] service redis: with 2 shards no replica can be elected when a primary dies, because a majority of all primaries must vote; the shard is back only once the primary is, and the last second of writes may be gone (help: 3 shards are the fewest that survive the loss of a primary)
    warning[SY2102] service redis: without replicas each shard has one copy; a node that is lost takes its keys with it (help: --replicas 1)
    ");
    insta::assert_snapshot!(reviewed((1, 1, 1), ByteSize::mib(256)), @"
    warning[SY2101] service redis: with 1 shard no replica can be elected when a primary dies, because a majority of all primaries must vote; the shard is back only once the primary is, and the last second of writes may be gone (help: 3 shards are the fewest that survive the loss of a primary)
    notice[SY2105] host a: every copy of every shard is on this host; when it is lost, so is the data
    ");
}

#[test]
fn memory_that_is_not_free_is_a_warning_and_memory_that_is_not_there_forbids() {
    insta::assert_snapshot!(reviewed((3, 1, 3), ByteSize::mib(20 << 10)), @"
    warning[SY2103] host a: the workloads may use 40 GiB together, and 32 GiB are free now (help: ask for less: --memory, --shards, --replicas)
    warning[SY2103] host b: the workloads may use 40 GiB together, and 32 GiB are free now (help: ask for less: --memory, --shards, --replicas)
    warning[SY2103] host c: the workloads may use 40 GiB together, and 32 GiB are free now (help: ask for less: --memory, --shards, --replicas)
    ");
    insta::assert_snapshot!(reviewed((3, 1, 3), ByteSize::mib(33 << 10)), @"
    critical[SY2104] host a: the workloads are to have 66 GiB together, and the host has 64 GiB (help: ask for less: --memory, --shards, --replicas)
    critical[SY2104] host b: the workloads are to have 66 GiB together, and the host has 64 GiB (help: ask for less: --memory, --shards, --replicas)
    critical[SY2104] host c: the workloads are to have 66 GiB together, and the host has 64 GiB (help: ask for less: --memory, --shards, --replicas)
    ");
}

#[test]
fn an_amount_beyond_all_bounds_does_not_wrap_around() {
    let said = reviewed((3, 1, 3), ByteSize::bytes(u64::MAX));
    assert_eq!(said.matches("critical[SY2104]").count(), 3, "{said}");
}

#[test]
fn the_fixture_of_a_whole_cluster_is_one() {
    let (nodes, view) = whole_cluster(3, 1);
    assert_eq!(plan::ready::obstacles(&nodes, &view), []);
}
