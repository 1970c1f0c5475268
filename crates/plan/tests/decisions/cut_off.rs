//! What a failover or a kill in the middle of something leaves behind. Each was a random schedule
//! of the simulation that did not end well.

use model::slots::{Slot, SlotRange};
use model::view::{OpenDirection, OpenSlot, PeerRole};

use crate::fixture::*;

fn slots(first: u16, last: u16) -> SlotRange {
    SlotRange::new(Slot::new(first).unwrap(), Slot::new(last).unwrap()).unwrap()
}

fn open(scene: &mut Scene, text: &str, number: u16, direction: OpenDirection) {
    let own = scene.instance.layout.seats[&name(text)].node.unwrap().id;
    let peers = &mut scene.knows(text).peers;
    let myself = peers.iter_mut().find(|it| it.id == own).unwrap();
    let slot = Slot::new(number).unwrap();
    myself.open_slots.push(OpenSlot { slot, direction });
}

fn phases(scene: &Scene) -> Vec<String> {
    let phases = scene.plan().phases.into_iter();
    phases.map(|phase| phase.title).collect()
}

#[test]
fn a_slot_on_its_way_to_a_primary_before_waits_until_all_know_the_heir() {
    let mut scene = Scene::whole(3, 1);
    open(&mut scene, "redis-1", 7, OpenDirection::To(id(5)));
    let titles = phases(&scene);
    assert_eq!(
        titles,
        [
            "all agree on who the primaries are",
            "what was half-way has arrived",
            "the cluster is ready"
        ]
    );
}

#[test]
fn of_two_ways_of_a_slot_the_one_that_its_owner_sends_clients_is_gone_first() {
    let mut scene = Scene::whole(3, 1);
    open(&mut scene, "redis-1", 7, OpenDirection::To(id(3)));
    open(&mut scene, "redis-2", 7, OpenDirection::From(id(1)));
    open(&mut scene, "redis-3", 7, OpenDirection::From(id(1)));
    let planned = scene.planned();
    assert!(
        planned.contains("10.0.0.1:6379 → 10.0.0.3:6379 (7)"),
        "{planned}"
    );
    assert!(!planned.contains("→ 10.0.0.2:6379"), "{planned}");
}

#[test]
fn a_node_that_imports_a_slot_of_an_owner_that_it_does_not_know_is_told() {
    let mut scene = Scene::whole(3, 1);
    open(&mut scene, "redis-1", 7, OpenDirection::To(id(2)));
    open(&mut scene, "redis-2", 7, OpenDirection::From(id(1)));
    // The primary before has become a replica, and its successor's claim was not heeded.
    scene.peer("redis-2", 1).slots = vec![slots(0, 6), slots(8, 5460)];
    let planned = scene.planned();
    let told = "1. those that import slots know who owns them\n   ensure_owner";
    assert!(planned.starts_with(told), "{planned}");
}

/// The fourth was elected, and in that moment the first got a slot.
fn split() -> Scene {
    let mut scene = Scene::whole(3, 1);
    for observer in [
        "redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6",
    ] {
        let heir = scene.peer(observer, 4);
        heir.role = PeerRole::Primary;
        heir.slots = vec![slots(0, 5460)];
        heir.epoch = model::ids::Epoch(9);
        scene.peer(observer, 1).slots = vec![slots(5461, 5461)];
        scene.peer(observer, 2).slots = vec![slots(5462, 10922)];
    }
    scene
}

#[test]
fn the_slots_of_a_shard_with_two_primaries_come_to_one_before_the_other_copies_it() {
    let titles = phases(&split());
    let gathered = "the slots of each shard are at one node";
    let copies = "the nodes know each other, and the replicas copy";
    assert_eq!(titles[..2], [gathered, copies], "{titles:?}");
}

#[test]
fn what_was_on_its_way_to_a_primary_before_arrives_there_and_then_goes_to_its_heir() {
    let mut scene = split();
    open(&mut scene, "redis-1", 6000, OpenDirection::From(id(2)));
    open(&mut scene, "redis-2", 6000, OpenDirection::To(id(1)));
    let planned = scene.planned();
    let arrives = "10.0.0.2:6379 → 10.0.0.1:6379 (6000)";
    let goes_on = "10.0.0.1:6379 → 10.0.0.4:6379 (5461,6000)";
    let (arrives, goes_on) = (planned.find(arrives), planned.find(goes_on));
    assert!(arrives.is_some() && arrives < goes_on, "{planned}");
}

#[test]
fn those_that_leave_are_not_strangers_while_slots_make_a_detour() {
    let mut scene = Scene::whole(3, 1);
    scene.rescale(3, 0).unwrap();
    open(&mut scene, "redis-1", 7, OpenDirection::To(id(2)));
    let planned = scene.planned();
    assert!(!planned.contains("ensure_stopped"), "{planned}");
    assert!(planned.contains("wait_ready 6 nodes"), "{planned}");
}

#[test]
fn a_shard_that_was_never_made_begins_though_the_others_have_data() {
    let mut scene = Scene::whole(3, 0);
    scene.instance.delivered = false;
    let gone = scene.instance.layout.seats[&name("redis-3")].address;
    scene.view.nodes.remove(&gone);
    scene.view.engine.workloads.remove(&name("redis-3"));
    let planned = scene.planned();
    assert!(planned.contains("ensure_running redis-3"), "{planned}");
    assert!(planned.contains("warning[SY2217] redis-3"), "{planned}");
    scene.instance.delivered = true;
    let planned = scene.planned();
    assert!(!planned.contains("ensure_running"), "{planned}");
    assert!(planned.contains("critical[SY2217] redis-3"), "{planned}");
}

#[test]
fn slots_of_which_nothing_is_left_have_an_owner_again_before_the_first_ready() {
    let mut scene = Scene::whole(3, 0);
    scene.instance.delivered = false;
    scene.peer("redis-3", 3).slots = Vec::new();
    scene.says("redis-3").keys = 0;
    let again = "slots of which nothing is left have an owner again".to_owned();
    assert!(phases(&scene).contains(&again), "{}", scene.planned());
    // A key says that something is left, and a delivered instance is a person's matter.
    scene.says("redis-3").keys = 1;
    assert!(!phases(&scene).contains(&again), "{}", scene.planned());
    scene.says("redis-3").keys = 0;
    scene.instance.delivered = true;
    assert!(!phases(&scene).contains(&again), "{}", scene.planned());
}

#[test]
fn a_replica_that_never_heard_of_its_primarys_slots_is_not_waited_for_as_its_heir() {
    let mut scene = Scene::whole(3, 1);
    scene.without_keys();
    scene.says("redis-1").keys = 10;
    scene.instance.delivered = false;
    let gone = scene.instance.layout.seats[&name("redis-3")].address;
    scene.view.nodes.remove(&gone);
    scene.view.engine.workloads.remove(&name("redis-3"));
    let promoted = "the copies with data are primaries".to_owned();
    assert!(phases(&scene).contains(&promoted), "{}", scene.planned());
    scene.peer("redis-6", 3).slots = Vec::new();
    let planned = scene.planned();
    assert!(!phases(&scene).contains(&promoted), "{planned}");
    assert!(planned.contains("ensure_running redis-3"), "{planned}");
}
