//! How servers that already run become a cluster.

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::fault::{Explain, Fault};
use model::slots::{SlotRange, even_split};
use model::view::{ClusterView, NodeView, PeerHealth};
use plan::allocate::{Refusal, allocate, create};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use crate::fixture::{POLICY, address, alone, id, render, silent, whole_cluster};

/// Servers that know nobody, at these addresses; their ids follow the order.
fn servers(addresses: &[&str]) -> (Vec<NodeAddress>, ClusterView) {
    let nodes: Vec<NodeAddress> = addresses
        .iter()
        .map(|text| NodeAddress::parse(text).unwrap())
        .collect();
    let view = nodes.iter().copied().zip((1..).map(alone)).collect();
    (nodes, view)
}

/// Servers 1 to `count`, each on a host of its own.
fn apart(count: u8) -> (Vec<NodeAddress>, ClusterView) {
    let nodes: Vec<NodeAddress> = (1..=count).map(address).collect();
    let view = nodes.iter().copied().zip((1..).map(alone)).collect();
    (nodes, view)
}

/// The shards as a person reads them: slots, primary, replicas.
fn shared_out((nodes, view): &(Vec<NodeAddress>, ClusterView), replicas: u16) -> String {
    let shards = allocate(nodes, replicas, view).unwrap();
    let lines: Vec<String> = shards
        .iter()
        .map(|shard| {
            let copies = shard.replicas.iter().map(|it| format!(" {}", it.address));
            let copies: String = copies.collect();
            format!("{} {} <-{copies}", shard.slots, shard.primary.address)
        })
        .collect();
    lines.join("\n")
}

#[test]
fn six_servers_become_three_shards_in_the_order_named() {
    insta::assert_snapshot!(shared_out(&apart(6), 1), @"
    0-5460 10.0.0.1:6379 <- 10.0.0.4:6379
    5461-10922 10.0.0.2:6379 <- 10.0.0.5:6379
    10923-16383 10.0.0.3:6379 <- 10.0.0.6:6379
    ");
}

#[test]
fn servers_that_fill_no_row_join_the_first_shards() {
    insta::assert_snapshot!(shared_out(&apart(7), 1), @"
    0-5460 10.0.0.1:6379 <- 10.0.0.4:6379 10.0.0.7:6379
    5461-10922 10.0.0.2:6379 <- 10.0.0.5:6379
    10923-16383 10.0.0.3:6379 <- 10.0.0.6:6379
    ");
    insta::assert_snapshot!(shared_out(&apart(5), 0), @"
    0-3276 10.0.0.1:6379 <-
    3277-6553 10.0.0.2:6379 <-
    6554-9829 10.0.0.3:6379 <-
    9830-13106 10.0.0.4:6379 <-
    13107-16383 10.0.0.5:6379 <-
    ");
}

#[test]
fn replicas_sit_on_other_hosts_than_their_primaries() {
    // The last two that were left over used to share a host.
    let three_hosts = servers(&[
        "10.0.0.1:7001",
        "10.0.0.1:7002",
        "10.0.0.2:7001",
        "10.0.0.2:7002",
        "10.0.0.3:7001",
        "10.0.0.3:7002",
    ]);
    insta::assert_snapshot!(shared_out(&three_hosts, 1), @"
    0-5460 10.0.0.1:7001 <- 10.0.0.2:7002
    5461-10922 10.0.0.3:7001 <- 10.0.0.1:7002
    10923-16383 10.0.0.2:7001 <- 10.0.0.3:7002
    ");
    let one_host = servers(&[
        "10.0.0.1:7001",
        "10.0.0.1:7002",
        "10.0.0.1:7003",
        "10.0.0.1:7004",
        "10.0.0.1:7005",
        "10.0.0.1:7006",
    ]);
    insta::assert_snapshot!(shared_out(&one_host, 1), @"
    0-5460 10.0.0.1:7001 <- 10.0.0.1:7004
    5461-10922 10.0.0.1:7002 <- 10.0.0.1:7005
    10923-16383 10.0.0.1:7003 <- 10.0.0.1:7006
    ");
}

proptest! {
    #[test]
    fn each_server_has_one_part_and_equal_hosts_never_share_a_shard(
        hosts in 2_u8..=6,
        each in 1_u16..=4,
        replicas in 0_u16..=3,
        turn in any::<usize>(),
    ) {
        let mut texts: Vec<String> = (1..=hosts)
            .flat_map(|host| (0..each).map(move |port| format!("10.0.0.{host}:{}", 7000 + port)))
            .collect();
        let count = texts.len();
        texts.rotate_left(turn % count);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (nodes, view) = servers(&texts);
        let copies = usize::from(replicas) + 1;
        let Ok(shards) = allocate(&nodes, replicas, &view) else {
            prop_assert!(count / copies < 3);
            return Ok(());
        };
        prop_assert_eq!(shards.len(), count / copies);
        let slots: Vec<SlotRange> = shards.iter().map(|shard| shard.slots).collect();
        prop_assert_eq!(slots, even_split(u16::try_from(shards.len()).unwrap()));
        let mut used = BTreeSet::new();
        for shard in &shards {
            let members: Vec<_> = std::iter::once(&shard.primary).chain(&shard.replicas).collect();
            used.extend(members.iter().map(|it| it.address));
            let on: BTreeSet<_> = members.iter().map(|it| it.address.ip).collect();
            prop_assert_eq!(on.len(), members.len().min(usize::from(hosts)), "{:?}", shards);
        }
        prop_assert_eq!(used.len(), count);
        let primaries = shards.iter().map(|shard| shard.primary.address.ip);
        let mut by_host = BTreeMap::new();
        for ip in primaries {
            *by_host.entry(ip).or_insert(0) += 1;
        }
        let most = by_host.values().max().copied().unwrap_or(0);
        if hosts >= 3 {
            prop_assert!(most <= shards.len() / 2, "{:?}", shards);
        }
    }
}

/// Every reason against it.
fn refused(nodes: &[NodeAddress], replicas: u16, view: &ClusterView) -> String {
    let refusals = allocate(nodes, replicas, view).unwrap_err();
    let lines: Vec<String> = refusals
        .into_iter()
        .map(|refusal: Refusal| {
            let class = refusal.class();
            let Fault {
                code,
                message,
                help,
                ..
            } = refusal.into();
            format!("{code} {class:?} {message} (help: {})", help.unwrap())
        })
        .collect();
    lines.join("\n")
}

#[test]
fn too_few_servers_are_refused_with_the_number_that_would_do() {
    let (nodes, view) = apart(5);
    insta::assert_snapshot!(refused(&nodes, 1, &view), @"SY2020 Usage 5 nodes with 1 replicas each make 2 shards, and a cluster needs 3 (help: name 6 nodes at least)");
    insta::assert_snapshot!(refused(&[], 0, &view), @"SY2020 Usage 0 nodes with 0 replicas each make 0 shards, and a cluster needs 3 (help: name 3 nodes at least)");
}

#[test]
fn all_reasons_are_told_at_once() {
    let (mut nodes, mut view) = apart(8);
    nodes.push(address(1));
    let report =
        |view: &mut ClusterView, number: u8, change: &dyn Fn(&mut model::view::NodeReport)| {
            if let Some(NodeView::Answering(report)) = view.get_mut(&address(number)) {
                change(report);
            }
        };
    report(&mut view, 2, &|it| it.keys = 7);
    report(&mut view, 3, &|it| it.cluster = None);
    view.insert(address(4), silent(4));
    let reason = "WRONGPASS".to_owned();
    view.insert(address(5), NodeView::Refusing { reason });
    view.insert(address(6), NodeView::Loading);
    view.remove(&address(7));
    report(&mut view, 8, &|it| {
        let cluster = it.cluster.as_mut().unwrap();
        let mut other = cluster.peers[0].clone();
        other.id = id(99);
        other.address = Some(address(99));
        cluster.peers.push(other);
    });
    insta::assert_snapshot!(refused(&nodes, 3, &view), @"
    SY2021 Usage 10.0.0.1:6379 is named twice (help: name each node once)
    SY2020 Usage 9 nodes with 3 replicas each make 2 shards, and a cluster needs 3 (help: name 12 nodes at least)
    SY2010 Refused 10.0.0.2:6379 already holds 7 keys (help: only empty servers become a new cluster; nothing was changed)
    SY2220 Refused 10.0.0.3:6379 runs without cluster mode (cluster-enabled no) (help: set cluster-enabled yes and start it again)
    SY2001 Unreachable 10.0.0.4:6379 cannot be reached: refused (help: start it, or leave it out)
    SY2002 Refused 10.0.0.5:6379 does not let us in: WRONGPASS (help: give the user by --user and its password by REDISCLI_AUTH or --password-file)
    SY2001 Unreachable 10.0.0.6:6379 is loading its data (help: start it, or leave it out)
    SY2001 Unreachable 10.0.0.7:6379 was not asked (help: start it, or leave it out)
    SY2011 Refused 10.0.0.8:6379 belongs to another cluster: it knows 1 nodes that are not named here (help: shardyard trib check 10.0.0.8:6379   shows the cluster that it is in)
    ");
}

#[test]
fn a_server_in_anothers_cluster_is_refused_and_one_in_a_handshake_is_not() {
    for (in_handshake, health, expected) in [
        (false, PeerHealth::Reached, false),
        (false, PeerHealth::Failed, false),
        (true, PeerHealth::Reached, true),
    ] {
        let (nodes, mut view) = apart(3);
        if let Some(NodeView::Answering(report)) = view.get_mut(&address(1)) {
            let cluster = report.cluster.as_mut().unwrap();
            let mut other = cluster.peers[0].clone();
            other.id = id(99);
            other.address = None;
            other.health = health;
            other.in_handshake = in_handshake;
            cluster.peers.push(other);
        }
        assert_eq!(
            allocate(&nodes, 0, &view).is_ok(),
            expected,
            "{in_handshake} {health:?}"
        );
    }
}

#[test]
fn slots_that_the_plan_gives_to_another_are_somebodys_cluster() {
    // Redis-1 owns the slots of a third already: as a primary of two shards it would keep them,
    // as the first of three named in another order it would not.
    let (mut nodes, view) = whole_cluster(3, 0);
    let mut view = without_keys(view);
    assert!(allocate(&nodes, 0, &view).is_ok());
    nodes.swap(0, 1);
    insta::assert_snapshot!(refused(&nodes, 0, &view), @"
    SY2011 Refused 10.0.0.2:6379 already owns slots that would be another node's (help: shardyard trib check 10.0.0.2:6379   shows the cluster that it is in)
    SY2011 Refused 10.0.0.1:6379 already owns slots that would be another node's (help: shardyard trib check 10.0.0.1:6379   shows the cluster that it is in)
    ");
    // A node that is to copy must own nothing.
    nodes.swap(0, 1);
    view.extend((4..=6).map(|number| (address(number), alone(number))));
    let all: Vec<NodeAddress> = [4, 5, 6, 1, 2, 3].map(address).into();
    assert_eq!(refused(&all, 1, &view).matches("SY2011").count(), 3);
}

fn without_keys(mut view: ClusterView) -> ClusterView {
    for node in view.values_mut() {
        if let NodeView::Answering(report) = node {
            report.keys = 0;
        }
    }
    view
}

#[test]
fn creating_is_slots_then_acquaintance_and_copies_then_service() {
    let (nodes, view) = apart(6);
    let shards = allocate(&nodes, 1, &view).unwrap();
    insta::assert_snapshot!(render(&create(&shards, &view, POLICY)), @"
    1. every slot has an owner
       ensure_slots 01010101 (10.0.0.1:6379): owns slots 0-5460 (epoch 1)
       ensure_slots 02020202 (10.0.0.2:6379): owns slots 5461-10922 (epoch 2)
       ensure_slots 03030303 (10.0.0.3:6379): owns slots 10923-16383 (epoch 3)
    2. the nodes know each other, and the replicas copy
       ensure_met 6 nodes: know each other
       ensure_replicas 04040404 (10.0.0.4:6379): copy 01010101 (10.0.0.1:6379)
       ensure_replicas 05050505 (10.0.0.5:6379): copy 02020202 (10.0.0.2:6379)
       ensure_replicas 06060606 (10.0.0.6:6379): copy 03030303 (10.0.0.3:6379)
    3. the primaries serve, and all agree
       ensure_serving 01010101 (10.0.0.1:6379): serves without waiting for the rejoin delay
       ensure_serving 02020202 (10.0.0.2:6379): serves without waiting for the rejoin delay
       ensure_serving 03030303 (10.0.0.3:6379): serves without waiting for the rejoin delay
       wait_agreed 6 nodes: agreed on who is what and owns what, within 60 s
    4. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn a_cluster_without_replicas_has_nobody_to_copy() {
    let (nodes, view) = apart(3);
    let shards = allocate(&nodes, 0, &view).unwrap();
    let text = render(&create(&shards, &view, POLICY));
    assert!(!text.contains("ensure_replicas"), "{text}");
}

#[test]
fn a_whole_cluster_needs_nothing() {
    let (nodes, view) = whole_cluster(3, 1);
    let view = without_keys(view);
    let shards = allocate(&nodes, 1, &view).unwrap();
    assert_eq!(render(&create(&shards, &view, POLICY)), "nothing to do\n");
}
