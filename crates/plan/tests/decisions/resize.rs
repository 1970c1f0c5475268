//! What the job of a template does around a change of size, on clusters that are not ours: played
//! until nothing is left to do.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::fault::Explain;
use model::ids::NodeId;
use model::slots::SlotSet;
use model::step::{Step, StewardStep};
use model::view::{ClusterView, OpenDirection, OpenSlot, PeerRole};
use plan::tend::{Drain, Grow, Next, Refusal, Seen, drain, grow, moved};

use crate::fixture::{POLICY, Scene, address, alone, id, silent};

/// As many plans as `control` makes.
const PLANS_MAX: usize = 4;

/// A cluster of four shards of two, 1 to 4 with the replicas 5 to 8.
fn cluster() -> Scene {
    Scene::whole(4, 1)
}

/// Plans and applies until there is nothing to do; what has been done, by the kinds of its steps.
fn play(
    scene: &mut Scene,
    newcomers: &ClusterView,
    next: impl Fn(Seen<'_>) -> Result<Next, Refusal>,
) -> Result<Vec<&'static str>, Refusal> {
    let mut kinds = Vec::new();
    for _ in 0..PLANS_MAX {
        let nodes: Vec<NodeAddress> = scene.view.nodes.keys().copied().collect();
        let view = scene.view.nodes.clone();
        let seen = Seen {
            nodes: &nodes,
            view: &view,
        };
        let plan = match next(seen)? {
            Next::Plan(plan) => plan,
            Next::Moves(moves) => moved(seen, moves, &[], POLICY),
        };
        if plan.is_empty() {
            return Ok(kinds);
        }
        for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
            match step {
                Step::Wait(_) => continue,
                Step::Cluster(_) => {
                    let joining = newcomers.clone().into_iter();
                    scene.view.nodes.extend(joining);
                    scene.apply_step(step);
                }
                Step::Steward(StewardStep::EnsureCopies { replica, primary }) => {
                    scene.copy(*replica, *primary);
                    scene.gossip();
                }
                Step::Steward(_) | Step::Engine(_) => scene.apply_step(step),
            }
            kinds.push(step.kind());
        }
    }
    panic!("not done after {PLANS_MAX} plans: {kinds:?}");
}

/// The slots and the replicas of each primary with slots.
fn shape(scene: &mut Scene) -> BTreeMap<NodeId, (usize, Vec<NodeId>)> {
    let mut shape: BTreeMap<NodeId, (usize, Vec<NodeId>)> = BTreeMap::new();
    for each in scene.ids() {
        let own = scene.own(each);
        match own.role {
            PeerRole::Primary if own.slots.is_empty() => {}
            PeerRole::Primary => shape.entry(each).or_default().0 = SlotSet::of(&own.slots).len(),
            PeerRole::Replica(primary) => shape.entry(primary.unwrap()).or_default().1.push(each),
        }
    }
    shape
}

fn drained(leaving: &[u8], replicas: u16) -> (Scene, Vec<&'static str>) {
    let mut scene = cluster();
    let leaving: Vec<NodeAddress> = leaving.iter().map(|it| address(*it)).collect();
    let wish = Drain { leaving, replicas };
    let kinds = play(&mut scene, &ClusterView::new(), |seen| {
        drain(seen, &wish, POLICY)
    })
    .unwrap();
    (scene, kinds)
}

#[test]
fn a_shard_that_leaves_gives_its_slots_and_nobody_else_gives_any() {
    let (mut scene, kinds) = drained(&[4, 8], 1);
    assert_eq!(kinds, ["ensure_moved"]);
    let shape = shape(&mut scene);
    let slots: Vec<usize> = shape.values().map(|it| it.0).filter(|it| *it > 0).collect();
    assert_eq!(slots.iter().sum::<usize>(), 16384);
    assert_eq!(slots.len(), 3);
    assert!(
        slots.iter().all(|it| (5461..=5462).contains(it)),
        "{slots:?}"
    );
}

#[test]
fn whoever_leaves_owns_nothing_and_the_others_have_their_replicas() {
    // Each pair of the eight, in each role.
    for one in 1..=8 {
        for other in one + 1..=8 {
            let (mut scene, kinds) = drained(&[one, other], 1);
            let leaving = [id(one), id(other)];
            let shape = shape(&mut scene);
            let owners = shape.iter().filter(|(_, it)| it.0 > 0);
            assert_eq!(owners.clone().count(), 3, "{one} {other}: {kinds:?}");
            for (owner, (_, replicas)) in owners {
                assert!(!leaving.contains(owner), "{one} {other}: {kinds:?}");
                let stay = replicas.iter().filter(|it| !leaving.contains(it));
                assert_eq!(stay.count(), 1, "{one} {other}: {kinds:?}");
            }
        }
    }
}

#[test]
fn a_replica_takes_over_where_that_saves_a_move() {
    // Two primaries leave, and of the six that stay three are to be primaries.
    let (_, kinds) = drained(&[3, 4], 1);
    assert_eq!(
        kinds,
        ["ensure_handed_over", "ensure_moved", "ensure_copies"]
    );
}

#[test]
fn all_of_them_cannot_leave() {
    let mut scene = cluster();
    let leaving = (1..=8).map(address).collect();
    let wish = Drain {
        leaving,
        replicas: 1,
    };
    let refused = play(&mut scene, &ClusterView::new(), |seen| {
        drain(seen, &wish, POLICY)
    })
    .unwrap_err();
    assert_eq!(refused.code().0, "SY2433");
}

#[test]
fn newcomers_are_primaries_and_replicas_as_the_number_of_copies_says() {
    for (joining, replicas, owners, copies) in [
        (&[9, 10][..], 1, 5, 1),
        (&[9, 10, 11, 12], 1, 6, 1),
        // One alone makes no shard.
        (&[9], 1, 4, 1),
        (&[9, 10, 11, 12], 2, 4, 2),
        (&[9], 0, 9, 0),
    ] {
        let shards = if replicas == 0 { 8 } else { 4 };
        let mut scene = Scene::whole(shards, replicas.min(1));
        let joining: Vec<u8> = joining.to_vec();
        let newcomers = joining
            .iter()
            .map(|it| (address(*it), alone(*it)))
            .collect();
        let wish = Grow {
            joining: joining.iter().map(|it| address(*it)).collect(),
            replicas,
        };
        let kinds = play(&mut scene, &newcomers, |seen| {
            grow(seen, &newcomers, &wish, POLICY)
        });
        let shape = shape(&mut scene);
        assert_eq!(shape.len(), owners, "{joining:?}: {kinds:?}");
        let even = 16384 / owners;
        for (slots, has) in shape.values() {
            assert!(slots.abs_diff(even) <= even / 40, "{joining:?}: {slots}");
            assert!(has.len() >= copies, "{joining:?}: {shape:?}");
        }
    }
}

#[test]
fn a_newcomer_that_was_met_and_no_more_is_gone_on_with() {
    let mut scene = cluster();
    let joining: Vec<NodeAddress> = [9, 10].map(address).to_vec();
    let newcomers: ClusterView = [9, 10].map(|it| (address(it), alone(it))).into();
    let wish = Grow {
        joining,
        replicas: 1,
    };
    let nodes: Vec<NodeAddress> = scene.view.nodes.keys().copied().collect();
    let view = scene.view.nodes.clone();
    let seen = Seen {
        nodes: &nodes,
        view: &view,
    };
    let Next::Plan(plan) = grow(seen, &newcomers, &wish, POLICY).unwrap() else {
        panic!("they join first");
    };
    scene.view.nodes.extend(newcomers.clone());
    scene.apply_some(&plan, 1);
    let kinds = play(&mut scene, &ClusterView::new(), |seen| {
        grow(seen, &newcomers, &wish, POLICY)
    });
    assert_eq!(
        kinds.unwrap(),
        [
            "ensure_met",
            "ensure_copies",
            "ensure_functions",
            "ensure_moved"
        ]
    );
    assert_eq!(shape(&mut scene).len(), 5);
}

#[test]
fn a_cluster_in_disorder_is_left_as_it_is() {
    let mut scene = cluster();
    scene.own(id(1)).open_slots.push(OpenSlot {
        slot: model::slots::Slot::new(7).unwrap(),
        direction: OpenDirection::To(id(2)),
    });
    let nobody = ClusterView::new();
    let wish = Drain {
        leaving: vec![address(4)],
        replicas: 1,
    };
    let refused = play(&mut scene, &nobody, |seen| drain(seen, &wish, POLICY)).unwrap_err();
    assert_eq!(refused.code().0, "SY2431");
    let wish = Grow {
        joining: vec![address(9)],
        replicas: 1,
    };
    let refused = play(&mut scene, &nobody, |seen| {
        grow(seen, &nobody, &wish, POLICY)
    })
    .unwrap_err();
    assert_eq!(refused.code().0, "SY2431");
    let quiet: ClusterView = [(address(9), silent(9))].into();
    let mut whole = cluster();
    let refused = play(&mut whole, &nobody, |seen| {
        grow(seen, &quiet, &wish, POLICY)
    })
    .unwrap_err();
    assert_eq!(refused.code().0, "SY2434");
}
