//! What a check says of a cluster, and the state that it is in.

use model::address::NodeAddress;
use model::ids::Epoch;
use model::image::Software;
use model::slots::{Slot, SlotSet};
use model::view::{NodeView, OpenDirection, OpenSlot, Replication, ReplicationLink};
use plan::check::{State, check, in_slots_of_others, placement, state};
use plan::ready::obstacles;

use crate::fixture::{Scene, address, id, render_finding, silent, version};

/// Everything that a check says of a cluster of three shards with a replica each, once this is
/// done to it.
fn checked(change: impl FnOnce(&mut Scene)) -> String {
    checked_for(Some(1), change)
}

fn checked_for(replicas: Option<u16>, change: impl FnOnce(&mut Scene)) -> String {
    let mut scene = Scene::whole(3, 1);
    change(&mut scene);
    let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
    let findings = check(&nodes, &scene.view.nodes, replicas);
    let lines: Vec<String> = findings.iter().map(render_finding).collect();
    lines.join("\n")
}

#[test]
fn nothing_is_said_of_a_whole_cluster() {
    assert_eq!(checked(|_| {}), "");
}

#[test]
fn a_dead_node_that_all_miss_is_two_findings_not_six() {
    insta::assert_snapshot!(checked(|scene| {
        scene.view.nodes.insert(address(4), silent(4));
        for number in [1, 2, 3, 5, 6] {
            scene.peer(&format!("redis-{number}"), 4).linked = false;
        }
    }), @"
    critical[SY2203] 10.0.0.4:6379: 10.0.0.4:6379 cannot be reached: refused
    warning[SY2206] 01010101 (10.0.0.1:6379): it has 0 of 1 replicas
    ");
}

#[test]
fn the_worst_comes_first() {
    insta::assert_snapshot!(checked(|scene| {
        scene.view.nodes.insert(address(1), silent(1));
        scene.view.nodes.insert(address(5), NodeView::Loading);
        let reason = "WRONGPASS".to_owned();
        scene.view.nodes.insert(address(6), NodeView::Refusing { reason });
        scene.says("redis-2").version = version(Software::Redis, "8.0.2");
    }), @"
    critical[SY2202] cluster: nobody owns slots 0-5460
    critical[SY2203] 10.0.0.1:6379: 10.0.0.1:6379 cannot be reached: refused
    critical[SY2211] 10.0.0.6:6379: 10.0.0.6:6379 does not let us in: WRONGPASS
    warning[SY2206] 02020202 (10.0.0.2:6379): it has 0 of 1 replicas
    warning[SY2206] 03030303 (10.0.0.3:6379): it has 0 of 1 replicas
    warning[SY2212] 10.0.0.5:6379: 10.0.0.5:6379 is loading its data
    notice[SY2218] cluster: its nodes are of different versions: redis 7.0.15, redis 8.0.2
    ");
}

#[test]
fn many_that_have_not_heard_are_counted() {
    insta::assert_snapshot!(checked(|scene| {
        for number in 2..=6 {
            scene.peer(&format!("redis-{number}"), 1).slots.clear();
            scene.knows(&format!("redis-{number}")).serves = false;
        }
    }), @"
    critical[SY2201] cluster: 10.0.0.2:6379, 10.0.0.3:6379, 10.0.0.4:6379 and 2 more say that it does not serve
    warning[SY2219] 01010101 (10.0.0.1:6379): 10.0.0.2:6379, 10.0.0.3:6379, 10.0.0.4:6379 and 2 more have not heard what it is and owns
    ");
}

#[test]
fn open_slots_are_told_by_their_way() {
    insta::assert_snapshot!(checked(|scene| {
        let open = |number, direction| OpenSlot { slot: Slot::new(number).unwrap(), direction };
        scene.peer("redis-1", 1).open_slots = vec![
            open(7, OpenDirection::To(id(2))),
            open(8, OpenDirection::To(id(2))),
            open(5, OpenDirection::To(id(3))),
        ];
        scene.peer("redis-2", 2).open_slots = vec![open(7, OpenDirection::From(id(1)))];
    }), @"
    warning[SY2208] 01010101 (10.0.0.1:6379): slots 7-8 are on their way to 02020202
    warning[SY2208] 01010101 (10.0.0.1:6379): slots 5 are on their way to 03030303
    warning[SY2208] 02020202 (10.0.0.2:6379): slots 7 are on their way from 01010101
    ");
}

#[test]
fn two_claims_of_one_epoch_are_a_danger() {
    insta::assert_snapshot!(checked(|scene| scene.peer("redis-3", 3).epoch = Epoch(1)), @"warning[SY2209] cluster: 10.0.0.1:6379, 10.0.0.3:6379 claim their slots with epoch 1");
    // A replica has its primary's epoch, which is no claim.
    assert_eq!(
        checked(|scene| scene.peer("redis-6", 6).epoch = Epoch(1)),
        ""
    );
}

#[test]
fn a_shard_lacks_replicas_by_the_number_asked_for_or_else_by_the_richest_shard() {
    let gone = |scene: &mut Scene| {
        scene.view.nodes.insert(address(4), silent(4));
    };
    let lacking = |text: &str| text.contains("SY2206");
    assert!(lacking(&checked_for(Some(1), gone)));
    assert!(lacking(&checked_for(None, gone)));
    assert!(!lacking(&checked_for(Some(0), gone)));
    assert!(!lacking(&checked_for(None, |_| {})));
    assert_eq!(
        checked_for(Some(2), |_| {})
            .matches("it has 1 of 2 replicas")
            .count(),
        3
    );
}

#[test]
fn a_server_without_cluster_mode_among_others_is_named() {
    let said = checked(|scene| scene.says("redis-6").cluster = None);
    assert!(said.contains("critical[SY2220] 10.0.0.6:6379"), "{said}");
    let all = checked(|scene| {
        for number in 1..=6 {
            scene.says(&format!("redis-{number}")).cluster = None;
        }
    });
    assert_eq!(all, "", "servers that were never to be a cluster");
}

#[test]
fn a_stranger_and_two_owners_are_told() {
    insta::assert_snapshot!(checked(|scene| {
        let mut other = scene.peer("redis-3", 1).clone();
        other.id = id(99);
        other.address = None;
        other.slots.clear();
        scene.knows("redis-3").peers.push(other);
        let mut slots = SlotSet::of(&scene.peer("redis-2", 2).slots);
        slots.insert(Slot::new(0).unwrap());
        scene.peer("redis-2", 2).slots = slots.ranges();
    }), @"
    critical[SY2041] cluster: slots 0 have two owners: 01010101 (10.0.0.1:6379) and 02020202 (10.0.0.2:6379)
    warning[SY2210] node 63636363: 10.0.0.3:6379 know it, and it was not asked
    warning[SY2219] 02020202 (10.0.0.2:6379): 10.0.0.1:6379, 10.0.0.3:6379, 10.0.0.4:6379 and 2 more have not heard what it is and owns
    ");
}

#[test]
fn the_state_is_what_a_client_feels() {
    let of = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::whole(3, 1);
        change(&mut scene);
        let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
        state(&obstacles(&nodes, &scene.view.nodes))
    };
    assert_eq!(of(&|_| {}), State::Ready);
    let replica_dead = |scene: &mut Scene| drop(scene.view.nodes.insert(address(4), silent(4)));
    assert_eq!(of(&replica_dead), State::Degraded);
    let primary_dead = |scene: &mut Scene| drop(scene.view.nodes.insert(address(1), silent(1)));
    assert_eq!(of(&primary_dead), State::Unavailable);
    assert_eq!(
        of(&|scene| scene.knows("redis-5").serves = false),
        State::Unavailable
    );
    let link_down = |scene: &mut Scene| {
        scene.says("redis-5").replication = Replication::Replica {
            of: address(2).to_string(),
            link: ReplicationLink::Down { seconds: 9 },
            offset: 0,
        };
    };
    assert_eq!(of(&link_down), State::Degraded);
    let words = [
        State::Ready,
        State::Converging,
        State::Degraded,
        State::Unavailable,
        State::Stopped,
    ];
    let words = words.map(State::as_str);
    assert_eq!(
        words,
        ["ready", "converging", "degraded", "unavailable", "stopped"]
    );
}

#[test]
fn keys_in_slots_that_are_not_owned_are_told_by_node() {
    let mut scene = Scene::whole(3, 1);
    scene.own(id(3)).open_slots.push(OpenSlot {
        slot: Slot::new(9).unwrap(),
        direction: OpenDirection::From(id(1)),
    });
    let slot = |number| Slot::new(number).unwrap();
    let held = [
        ((id(1), slot(7)), 5),
        ((id(2), slot(7)), 3),
        ((id(2), slot(8)), 1),
        ((id(2), slot(6)), 0),
        ((id(3), slot(9)), 4),
        ((id(4), slot(7)), 5),
    ];
    let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
    let found = in_slots_of_others(&nodes, &scene.view.nodes, &held.into());
    let lines: Vec<String> = found.iter().map(render_finding).collect();
    insta::assert_snapshot!(lines.join("\n"), @"critical[SY2221] 02020202 (10.0.0.2:6379): it holds 4 keys of slots 7-8, which it does not own (help: shardyard trib fix 10.0.0.2:6379 --dry-run)");
}

#[test]
fn copies_that_share_a_host_and_hosts_with_a_majority_are_told() {
    let mut scene = Scene::whole_on(3, 3, 1);
    let told = |scene: &Scene| -> String {
        let findings = placement(&scene.instance, &scene.view);
        let lines: Vec<String> = findings.iter().map(render_finding).collect();
        lines.join("\n")
    };
    assert_eq!(told(&scene), "");
    // Redis-3 is on c and redis-6 on a, as redis-1 is.
    scene.hand_over(crate::scale::promotion(6, 3));
    insta::assert_snapshot!(told(&scene), @"warning[SY2223] host a: it holds 2 of 3 primaries (help: shardyard failover orders --spread)");
    let seats = &mut scene.instance.layout.seats;
    let host = seats[&crate::fixture::name("redis-2")].host.clone();
    seats
        .get_mut(&crate::fixture::name("redis-5"))
        .unwrap()
        .host = host;
    insta::assert_snapshot!(told(&scene), @"
    warning[SY2222] shard 2: copies of it share a host: redis-2 on b, redis-5 on b
    warning[SY2223] host a: it holds 2 of 3 primaries (help: shardyard failover orders --spread)
    ");
    // With one host there is nothing to be said.
    assert_eq!(told(&Scene::whole(3, 1)), "");
}
