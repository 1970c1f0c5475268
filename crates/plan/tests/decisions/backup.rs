//! What a backup consists of, and what would be none.

use model::address::NodeAddress;
use model::fault::Explain;
use model::slots::{Slot, SlotSet};
use model::view::{OpenDirection, OpenSlot, Replication, ReplicationLink};
use plan::backup::{Parts, Refusal, Wish, parts};
use plan::tend::Seen;

use crate::fixture::{Scene, address, id, silent};

const WISH: Wish = Wish {
    from_primaries: false,
    allow_missing: false,
};

fn asked(scene: &Scene, wish: Wish) -> Result<Parts, Refusal> {
    let nodes: Vec<NodeAddress> = scene.view.nodes.keys().copied().collect();
    let seen = Seen {
        nodes: &nodes,
        view: &scene.view.nodes,
    };
    parts(seen, wish)
}

fn code(scene: &Scene) -> &'static str {
    let refusal = asked(scene, WISH).unwrap_err();
    assert!(refusal.help().is_some());
    refusal.code().0
}

fn sources(scene: &Scene, wish: Wish) -> Vec<Option<NodeAddress>> {
    let parts = asked(scene, wish).unwrap().parts;
    let replicas = parts.into_iter().map(|it| it.replica);
    replicas.map(|it| it.map(|it| it.address)).collect()
}

#[test]
fn each_shard_is_taken_from_a_replica_that_is_in_sync() {
    let mut scene = Scene::whole(3, 1);
    let all = [4, 5, 6].map(|it| Some(address(it)));
    assert_eq!(sources(&scene, WISH), all);
    let from_primaries = Wish {
        from_primaries: true,
        ..WISH
    };
    assert_eq!(sources(&scene, from_primaries), [None, None, None]);
    let of = |number: u8| address(number).to_string();
    let replica =
        |of: String, link: ReplicationLink, offset: u64| Replication::Replica { of, link, offset };
    scene.says("redis-4").replication = replica(of(1), ReplicationLink::Copying, 0);
    scene.view.nodes.insert(address(5), silent(5));
    if let Replication::Primary { offset, .. } = &mut scene.says("redis-3").replication {
        *offset = 1 << 40;
    }
    // The last one is far behind.
    scene.says("redis-6").replication = replica(of(3), ReplicationLink::Up, 7);
    assert_eq!(sources(&scene, WISH), [None, None, None]);
}

#[test]
fn a_backup_that_would_lack_slots_or_have_keys_twice_is_none() {
    let mut open = Scene::whole(3, 1);
    open.own(id(2)).open_slots.push(OpenSlot {
        slot: Slot::new(7).unwrap(),
        direction: OpenDirection::From(id(1)),
    });
    assert_eq!(code(&open), "SY2451");
    let mut dead = Scene::whole(3, 0);
    let lost = SlotSet::of(&dead.own(id(2)).slots);
    dead.view.nodes.insert(address(2), silent(2));
    assert_eq!(code(&dead), "SY2452");
    let allow_missing = Wish {
        allow_missing: true,
        ..WISH
    };
    let found = asked(&dead, allow_missing).unwrap();
    assert_eq!((found.parts.len(), found.missing), (2, lost));
    for number in [1, 3] {
        dead.view.nodes.insert(address(number), silent(number));
    }
    // Nothing is not a part of anything.
    assert_eq!(asked(&dead, allow_missing).unwrap_err(), Refusal::Nothing);
}
