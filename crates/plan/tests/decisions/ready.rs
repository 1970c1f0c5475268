//! What keeps a cluster from being ready, and whose word would help.

use model::address::NodeAddress;
use model::size::ByteSize;
use model::slots::{Slot, SlotRange, SlotSet};
use model::step::{ClusterStep, Member};
use model::view::{ClusterView, NodeView, PeerHealth, PeerRole, Replication, ReplicationLink};
use plan::ready::{LAG_MAX, Obstacle, is_disagreement, nudges, obstacles, primaries};

use crate::fixture::{Scene, address, alone, id, silent, whole_cluster};

/// What keeps a cluster of three shards with a replica each from being ready, once this is done
/// to it.
fn kept_by(change: impl FnOnce(&mut Scene)) -> String {
    let mut scene = Scene::whole(3, 1);
    change(&mut scene);
    let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
    shown(&obstacles(&nodes, &scene.view.nodes))
}

fn shown(obstacles: &[Obstacle]) -> String {
    let lines: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn range(first: u16, last: u16) -> SlotRange {
    SlotRange::new(Slot::new(first).unwrap(), Slot::new(last).unwrap()).unwrap()
}

#[test]
fn a_whole_cluster_is_ready() {
    assert_eq!(kept_by(|_| {}), "");
}

#[test]
fn a_node_that_does_not_answer_is_named_with_the_reason() {
    let put = |number, view| {
        move |scene: &mut Scene| drop(scene.view.nodes.insert(address(number), view))
    };
    let reason = "NOAUTH".to_owned();
    for (change, expected) in [
        (
            put(5, silent(5)),
            "10.0.0.5:6379 cannot be reached: refused",
        ),
        (
            put(5, NodeView::Refusing { reason }),
            "10.0.0.5:6379 does not let us in: NOAUTH",
        ),
        (
            put(5, NodeView::Loading),
            "10.0.0.5:6379 is loading its data",
        ),
    ] {
        assert_eq!(kept_by(change), expected);
    }
    let asked = kept_by(|scene| drop(scene.view.nodes.remove(&address(5))));
    assert_eq!(asked, "10.0.0.5:6379 was not asked");
}

#[test]
fn slots_of_a_silent_primary_are_not_said_to_be_served() {
    let kept = kept_by(|scene| drop(scene.view.nodes.insert(address(1), silent(1))));
    assert!(kept.contains("nobody owns slots 0-5460"), "{kept}");
}

#[test]
fn a_slot_with_two_owners_by_their_own_word_is_seen() {
    let kept = kept_by(|scene| scene.peer("redis-2", 2).slots = vec![range(5000, 10922)]);
    let expected =
        "slots 5000-5460 have two owners: 01010101 (10.0.0.1:6379) and 02020202 (10.0.0.2:6379)";
    assert!(kept.contains(expected), "{kept}");
}

#[test]
fn a_slot_that_its_owner_lacks_is_unowned_whatever_others_say() {
    let kept = kept_by(|scene| scene.peer("redis-1", 1).slots = vec![range(1, 5460)]);
    assert!(kept.starts_with("nobody owns slots 0\n"), "{kept}");
    // The five others believe in the old word.
    assert_eq!(
        kept.matches("has not heard what 10.0.0.1:6379 is and owns")
            .count(),
        5,
        "{kept}"
    );
}

#[test]
fn a_node_that_does_not_know_or_not_reach_another_is_named_with_it() {
    let unlinked = "10.0.0.2:6379 does not reach 10.0.0.4:6379";
    let kept = kept_by(|scene| scene.peer("redis-2", 4).linked = false);
    assert_eq!(kept, unlinked);
    for health in [PeerHealth::Suspected, PeerHealth::Failed] {
        assert_eq!(
            kept_by(|scene| scene.peer("redis-2", 4).health = health),
            unlinked
        );
    }
    let unknown = "10.0.0.2:6379 does not know 10.0.0.4:6379";
    assert_eq!(
        kept_by(|scene| scene.peer("redis-2", 4).in_handshake = true),
        unknown
    );
    let kept = kept_by(|scene| scene.knows("redis-2").peers.retain(|it| it.id != id(4)));
    assert_eq!(kept, unknown);
}

#[test]
fn a_role_or_slots_that_were_not_heard_of_are_told_apart_from_a_lost_link() {
    let unheard = "10.0.0.2:6379 has not heard what 10.0.0.4:6379 is and owns";
    let role = kept_by(|scene| scene.peer("redis-2", 4).role = PeerRole::Replica(None));
    assert_eq!(role, unheard);
    let slots = kept_by(|scene| scene.peer("redis-2", 4).slots = vec![range(0, 0)]);
    assert_eq!(slots, unheard);
    // An epoch alone is settled by the servers among themselves.
    assert_eq!(
        kept_by(|scene| scene.peer("redis-2", 1).epoch = model::ids::Epoch(9)),
        ""
    );
}

#[test]
fn a_stranger_is_seen_but_not_in_a_handshake_nor_a_silent_node_of_ours() {
    let add = |in_handshake, at: NodeAddress| {
        move |scene: &mut Scene| {
            let mut other = scene.peer("redis-3", 1).clone();
            other.id = id(99);
            other.address = Some(at);
            other.in_handshake = in_handshake;
            scene.knows("redis-3").peers.push(other);
        }
    };
    let kept = kept_by(add(false, address(99)));
    assert_eq!(
        kept,
        "10.0.0.3:6379 knows 63636363, which is not one of ours"
    );
    assert_eq!(kept_by(add(true, address(99))), "");
    // Its id is unknown, because it does not answer; its address is ours.
    assert_eq!(kept_by(add(false, address(5))), "");
}

#[test]
fn a_node_that_does_not_serve_and_a_replica_that_does_not_follow_are_named() {
    let kept = kept_by(|scene| scene.knows("redis-6").serves = false);
    assert_eq!(kept, "10.0.0.6:6379 says that the cluster does not serve");
    for (link, state) in [
        (ReplicationLink::Copying, "copying for the first time"),
        (ReplicationLink::Down { seconds: 3 }, "down"),
    ] {
        let kept = kept_by(|scene| follow(scene, link, 1000));
        assert_eq!(
            kept,
            format!("10.0.0.6:6379: its replication link is {state}")
        );
    }
}

/// Redis-6 copies redis-3, whose offset is 1000.
fn follow(scene: &mut Scene, link: ReplicationLink, offset: u64) {
    scene.says("redis-6").replication = Replication::Replica {
        of: address(3).to_string(),
        link,
        offset,
    };
}

#[test]
fn a_replica_may_be_behind_by_what_a_busy_primary_writes_between_two_looks() {
    let most = LAG_MAX.as_bytes();
    for (primary, replica, expected) in [
        (most, 0, ""),
        (most + 1, 0, "10.0.0.6:6379 is 1 MiB behind its primary"),
        (most + 1, 1, ""),
        // It was asked later than its primary.
        (0, 5, ""),
    ] {
        let kept = kept_by(|scene| {
            let replicas = Vec::new();
            scene.says("redis-3").replication = Replication::Primary {
                offset: primary,
                replicas,
            };
            follow(scene, ReplicationLink::Up, replica);
        });
        assert_eq!(kept, expected, "{primary} {replica}");
    }
}

#[test]
fn servers_in_no_cluster_only_have_to_answer() {
    let mut scene = Scene::whole(3, 1);
    for number in 1..=6 {
        scene.says(&format!("redis-{number}")).cluster = None;
    }
    let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
    assert_eq!(obstacles(&nodes, &scene.view.nodes), []);
    assert_eq!(obstacles(&[], &ClusterView::new()), []);
}

#[test]
fn a_server_that_knows_nobody_owns_nothing_and_misses_all() {
    let nodes = [address(1), address(2)];
    let view = ClusterView::from([(address(1), alone(1)), (address(2), alone(2))]);
    insta::assert_snapshot!(shown(&obstacles(&nodes, &view)), @"
    nobody owns slots 0-16383
    10.0.0.1:6379 does not know 10.0.0.2:6379
    10.0.0.2:6379 does not know 10.0.0.1:6379
    10.0.0.1:6379 says that the cluster does not serve
    10.0.0.2:6379 says that the cluster does not serve
    ");
}

#[test]
fn whoever_was_not_heard_speaks_to_who_did_not_hear() {
    let [one, two] = [1, 2].map(|number| Member {
        id: id(number),
        address: address(number),
    });
    let unknown = Obstacle::Unknown {
        observer: one,
        other: two,
    };
    let unlinked = Obstacle::Unlinked {
        observer: one,
        other: two,
    };
    let unheard = Obstacle::Unheard {
        listener: one,
        speaker: two,
    };
    let heard = ClusterStep::EnsureHeard {
        speaker: two,
        listener: one,
    };
    let words = nudges(&[unknown.clone(), unheard.clone(), unlinked.clone()]);
    assert_eq!(
        words,
        [heard.clone(), heard],
        "a link that is down is not helped by a word"
    );
    let others = [
        Obstacle::Loading { node: address(1) },
        Obstacle::NotServing { node: one },
        Obstacle::Unowned {
            slots: SlotSet::all(),
        },
        Obstacle::Behind {
            replica: one,
            by: ByteSize::mib(2),
        },
    ];
    assert_eq!(nudges(&others), []);
    assert!([unknown, unlinked, unheard].iter().all(is_disagreement));
    assert!(!others.iter().any(is_disagreement));
}

#[test]
fn a_probe_asks_the_primaries_for_the_slots_that_they_say_they_own() {
    let (nodes, mut view) = whole_cluster(3, 1);
    view.insert(address(2), silent(2));
    let asked: Vec<String> = primaries(&nodes, &view)
        .iter()
        .map(|(member, slots)| format!("{member} {slots}"))
        .collect();
    assert_eq!(
        asked,
        [
            "01010101 (10.0.0.1:6379) 0-5460",
            "03030303 (10.0.0.3:6379) 10923-16383"
        ]
    );
}
