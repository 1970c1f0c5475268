//! Slots that move between shards that stay: rebalancing, a hot slot, and slots that were found
//! half-way.

use std::collections::BTreeMap;

use model::fault::Explain;
use model::ids::ShardIndex;
use model::slots::{Slot, SlotSet};
use model::view::{OpenDirection, OpenSlot};
use plan::moves::Loads;
use plan::scale::{Balance, is_under_way, isolate, rebalance};

use crate::fixture::{Scene, address, id, silent};

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

fn weights(of: &[(u16, u32)]) -> Balance<'static> {
    Balance {
        weights: of
            .iter()
            .map(|(it, weight)| (ShardIndex(*it), *weight))
            .collect(),
        ..Balance::default()
    }
}

impl Scene {
    fn rebalance(&mut self, balance: &Balance<'_>) {
        self.instance = rebalance(&self.instance, &self.view, balance).unwrap();
    }

    fn opens(&mut self, number: u8, at: u16, direction: OpenDirection) {
        let open = OpenSlot {
            slot: slot(at),
            direction,
        };
        self.own(id(number)).open_slots.push(open);
    }

    fn owner_of(&mut self, at: u16) -> u8 {
        let owned = self.owned();
        let mut owners = owned.iter().filter(|(_, slots)| slots.contains(slot(at)));
        let owner = *owners.next().unwrap().0;
        (1..=99).find(|number| id(*number) == owner).unwrap()
    }
}

#[test]
fn shards_are_balanced_by_their_weights() {
    let mut scene = Scene::whole(3, 1);
    scene.rebalance(&Balance::default());
    assert!(!is_under_way(&scene.instance), "they are balanced already");
    scene.rebalance(&weights(&[(0, 2)]));
    insta::assert_snapshot!(scene.planned(), @"
    1. 2731 slots where they belong
       ensure_moved 2731 slots: 1366 slots 10.0.0.2:6379 → 10.0.0.1:6379 (9557-10922); 1365 slots 10.0.0.3:6379 → 10.0.0.1:6379 (15019-16383)
    2. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
    let owned: Vec<usize> = scene.owned().values().map(SlotSet::len).collect();
    assert_eq!(owned, [8192, 4096, 4096]);
}

#[test]
fn a_shard_that_gives_everything_stays_a_primary_without_slots_of_others() {
    let mut scene = Scene::whole(4, 1);
    scene.rebalance(&weights(&[(3, 0)]));
    let planned = scene.planned();
    assert!(!planned.contains("ensure_stopped"), "{planned}");
    let stays = "ensure_setting 2 nodes: run with cluster-allow-replica-migration no";
    assert!(planned.contains(stays), "{planned}");
    scene.finish();
    assert_eq!(scene.owned().len(), 3);
}

#[test]
fn keys_decide_where_they_are_counted() {
    let mut scene = Scene::whole(3, 0);
    let loads: Loads = [(slot(0), 50), (slot(1), 30), (slot(9000), 10)].into();
    let balance = Balance {
        loads: Some(&loads),
        ..Balance::default()
    };
    scene.rebalance(&balance);
    insta::assert_snapshot!(scene.planned(), @"
    1. 1 slot where they belong
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.3:6379 (1)
    2. the cluster is ready
       wait_ready 3 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
}

#[test]
fn what_cannot_be_balanced_is_refused() {
    let scene = Scene::whole(3, 1);
    let codes = |scene: &Scene, balance: &Balance<'_>| -> Vec<&str> {
        let refusals = rebalance(&scene.instance, &scene.view, balance).unwrap_err();
        refusals.iter().map(|it| it.code().0).collect()
    };
    assert_eq!(codes(&scene, &weights(&[(7, 1)])), ["SY2412"]);
    assert_eq!(
        codes(&scene, &weights(&[(0, 0), (1, 0), (2, 0)])),
        ["SY2412"]
    );
    let mut dead = scene.clone();
    dead.view.nodes.insert(address(5), silent(5));
    assert_eq!(codes(&dead, &Balance::default()), ["SY2404"]);
    let mut busy = scene.clone();
    busy.rescale(4, 1).unwrap();
    assert_eq!(codes(&busy, &Balance::default()), ["SY2402"]);
    let mut open = scene.clone();
    open.opens(1, 7, OpenDirection::To(id(77)));
    assert_eq!(codes(&open, &Balance::default()), ["SY2406"]);
    let mut plain = scene;
    for seat in plain.instance.layout.seats.values_mut() {
        seat.node = None;
    }
    assert_eq!(codes(&plain, &Balance::default()), ["SY2413"]);
}

#[test]
fn a_hot_slot_gets_a_shard_and_that_shard_is_never_without_slots() {
    let mut scene = Scene::whole(3, 1);
    scene.instance = isolate(&scene.instance, &scene.view, slot(7), ShardIndex(2)).unwrap();
    insta::assert_snapshot!(scene.planned(), @"
    1. 1 slot where they belong
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.3:6379 (7)
    2. 5461 slots where they belong
       ensure_moved 5461 slots: 2732 slots 10.0.0.3:6379 → 10.0.0.1:6379 (13652-16383); 2729 slots 10.0.0.3:6379 → 10.0.0.2:6379 (10923-13651)
    3. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
    let owned: Vec<usize> = scene.owned().values().map(SlotSet::len).collect();
    assert_eq!(owned.iter().sum::<usize>(), 16384);
    assert_eq!(scene.owner_of(7), 3);
    assert_eq!(owned[2], 1);
    let none = isolate(&scene.instance, &scene.view, slot(7), ShardIndex(9));
    assert_eq!(none.unwrap_err()[0].code().0, "SY2412");
}

#[test]
fn a_half_moved_slot_is_finished_whoever_began_it() {
    let mut scene = Scene::whole(3, 1);
    scene.opens(1, 7, OpenDirection::To(id(2)));
    scene.opens(2, 7, OpenDirection::From(id(1)));
    insta::assert_snapshot!(scene.planned(), @"
    1. what was half-way has arrived
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.2:6379 (7)
    2. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
    assert_eq!(scene.owner_of(7), 2);
}

#[test]
fn a_half_moved_slot_ends_where_the_change_wants_it() {
    // It is open towards the third, and belongs to the second in the end.
    let mut scene = Scene::whole(3, 1);
    let mut owners: BTreeMap<ShardIndex, SlotSet> = plan_owners(&scene).into_iter().collect();
    let mut only = SlotSet::empty();
    only.insert(slot(7));
    let first = owners.get_mut(&ShardIndex(0)).unwrap();
    *first = first.difference(&only);
    let second = owners.get_mut(&ShardIndex(1)).unwrap();
    *second = second.union(&only);
    scene.instance.layout.owners = owners;
    scene.opens(1, 7, OpenDirection::To(id(3)));
    scene.opens(3, 7, OpenDirection::From(id(1)));
    insta::assert_snapshot!(scene.planned(), @"
    1. what was half-way has arrived
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.3:6379 (7)
    2. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
    assert_eq!(scene.owner_of(7), 2);
}

fn plan_owners(scene: &Scene) -> Vec<(ShardIndex, SlotSet)> {
    let layout = &scene.instance.layout;
    let shards = layout.shards().into_iter();
    shards
        .map(|it| (it, SlotSet::of(&[layout.first_slots(it).unwrap()])))
        .collect()
}

#[test]
fn a_slot_that_is_open_without_meaning_is_closed() {
    let mut scene = Scene::whole(3, 1);
    // It imports what it owns, and another gives what it does not own.
    scene.opens(1, 7, OpenDirection::From(id(2)));
    scene.opens(2, 8, OpenDirection::To(id(3)));
    insta::assert_snapshot!(scene.planned(), @"
    1. no slot is open that is not on its way
       ensure_stable 01010101 (10.0.0.1:6379): has slots 7 closed
       ensure_stable 02020202 (10.0.0.2:6379): has slots 8 closed
    2. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
}

#[test]
fn a_slot_that_two_nodes_import_passes_through_both() {
    let mut scene = Scene::whole(4, 0);
    scene.opens(2, 7, OpenDirection::From(id(1)));
    scene.opens(3, 7, OpenDirection::From(id(1)));
    scene.finish();
    assert_eq!(scene.owner_of(7), 3, "keys at either are brought along");
}

#[test]
fn after_a_failover_of_its_target_a_half_moved_slot_goes_to_the_new_primary() {
    let mut scene = Scene::whole(3, 1);
    scene.opens(1, 7, OpenDirection::To(id(2)));
    scene.hand_over(crate::scale::promotion(5, 2));
    let planned = scene.planned();
    assert!(
        planned.contains("10.0.0.1:6379 → 10.0.0.5:6379 (7)"),
        "{planned}"
    );
    scene.finish();
    assert_eq!(scene.owner_of(7), 5);
}
