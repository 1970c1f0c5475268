//! Who takes over from a primary that lives, and when nobody may.

use model::fault::Explain;
use model::step::Promotion;
use model::view::{OpenDirection, OpenSlot, Replication, ReplicationLink};
use plan::handover::{handover, spread};

use crate::fixture::{Scene, address, id, name, silent};

/// Three shards with two replicas each: redis-1 is copied by redis-4 and redis-7.
fn scene() -> Scene {
    Scene::whole(3, 2)
}

fn link(scene: &mut Scene, number: u8, link: ReplicationLink, offset: u64) {
    scene.says(&format!("redis-{number}")).replication = Replication::Replica {
        of: address(1).to_string(),
        link,
        offset,
    };
}

fn heir(scene: &Scene, node: u8) -> Result<u8, &'static str> {
    match handover(address(node), &scene.view.nodes) {
        Ok(Promotion { node, instead_of }) => {
            assert_eq!(instead_of.id, id(1));
            Ok((1..=9).find(|number| id(*number) == node.id).unwrap())
        }
        Err(refusal) => Err(refusal.code().0),
    }
}

#[test]
fn a_replica_that_is_named_takes_over_and_from_a_primary_its_best_one_does() {
    let mut scene = scene();
    assert_eq!(heir(&scene, 7), Ok(7));
    assert_eq!(heir(&scene, 1), Ok(4), "of equal ones the lowest id");
    link(&mut scene, 4, ReplicationLink::Up, 900);
    assert_eq!(heir(&scene, 1), Ok(7), "the one that has read the most");
}

#[test]
fn what_could_lose_a_write_is_refused() {
    let down = ReplicationLink::Down { seconds: 1 };
    let mut lagging = scene();
    lagging.says("redis-1").replication = Replication::Primary {
        offset: 1000 + (2 << 20),
        replicas: Vec::new(),
    };
    assert_eq!(heir(&lagging, 7), Err("SY2423"));
    assert_eq!(heir(&lagging, 1), Err("SY2423"));
    let mut unlinked = scene();
    link(&mut unlinked, 4, down, 1000);
    link(&mut unlinked, 7, ReplicationLink::Copying, 1000);
    for node in [1, 4, 7] {
        assert_eq!(heir(&unlinked, node), Err("SY2423"), "{node}");
    }
    let mut dead = scene();
    dead.view.nodes.insert(address(1), silent(1));
    assert_eq!(heir(&dead, 1), Err("SY2422"));
    assert_eq!(heir(&dead, 4), Err("SY2422"), "its primary does not answer");
    let mut open = scene();
    open.own(id(1)).open_slots.push(OpenSlot {
        slot: model::slots::Slot::new(7).unwrap(),
        direction: OpenDirection::To(id(2)),
    });
    assert_eq!(heir(&open, 1), Err("SY2424"));
    let mut empty = scene();
    empty.own(id(1)).slots.clear();
    assert_eq!(heir(&empty, 1), Err("SY2421"));
    assert_eq!(heir(&scene(), 99), Err("SY2421"));
}

#[test]
fn spreading_brings_the_primaries_back_to_where_they_were_planned() {
    let mut scene = Scene::whole_on(3, 3, 1);
    assert_eq!(spread(&scene.instance, &scene.view), []);
    for (node, instead_of) in [(4, 1), (5, 2)] {
        scene.hand_over(crate::scale::promotion(node, instead_of));
    }
    let back = spread(&scene.instance, &scene.view);
    assert_eq!(
        back,
        [crate::scale::promotion(1, 4), crate::scale::promotion(2, 5)]
    );
    // Not one that is not in sync.
    link(&mut scene, 1, ReplicationLink::Copying, 1000);
    let back = spread(&scene.instance, &scene.view);
    assert_eq!(back, [crate::scale::promotion(2, 5)]);
    for promotion in back {
        scene.hand_over(promotion);
    }
    assert_eq!(
        scene.instance.layout.seats[&name("redis-2")].host.as_str(),
        "b"
    );
}
