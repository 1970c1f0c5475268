//! What `trib` changes in a cluster, and what it refuses to change.

use model::address::NodeAddress;
use model::fault::Explain;
use model::ids::NodeId;
use model::slots::{Slot, SlotSet};
use model::step::Plan;
use model::view::{NodeView, OpenDirection, OpenSlot};
use plan::tend::{
    self, Join, Named, Rebalance, Refusal, Reshard, Seen, drained, join, leave, moved, rebalance,
    reshard,
};

use crate::fixture::{POLICY, Scene, address, alone, id, render, silent};

fn nodes(scene: &Scene) -> Vec<NodeAddress> {
    scene.view.nodes.keys().copied().collect()
}

fn named(number: u8) -> Named {
    Named::Address(address(number))
}

fn with<T>(scene: &Scene, ask: impl FnOnce(Seen<'_>) -> T) -> T {
    let nodes = nodes(scene);
    ask(Seen {
        nodes: &nodes,
        view: &scene.view.nodes,
    })
}

fn code<T>(answer: Result<T, Refusal>) -> &'static str {
    match answer {
        Ok(_) => "done",
        Err(refusal) => {
            assert!(refusal.help().is_some(), "{refusal}");
            refusal.code().0
        }
    }
}

fn titles(plan: &Plan) -> Vec<&str> {
    plan.phases.iter().map(|it| it.title.as_str()).collect()
}

#[test]
fn slots_come_from_each_source_by_what_it_owns() {
    let scene = Scene::whole(3, 1);
    let wish = |from: Vec<Named>, to: u8, slots: u16| Reshard {
        from,
        to: named(to),
        slots,
    };
    let moves = with(&scene, |seen| reshard(seen, &wish(Vec::new(), 1, 1000))).unwrap();
    let counts: Vec<usize> = moves.iter().map(|it| it.slots.len()).collect();
    assert_eq!((counts.len(), counts.iter().sum::<usize>()), (2, 1000));
    let moves = with(&scene, |seen| reshard(seen, &wish(vec![named(2)], 1, 10))).unwrap();
    assert_eq!(moves.len(), 1);
    assert_eq!(moves[0].source.id, id(2));
    for (wish, expected) in [
        (wish(vec![named(2)], 4, 10), "SY2432"),
        (wish(vec![named(8)], 1, 10), "SY2432"),
        (wish(vec![named(1)], 1, 10), "SY2433"),
        (wish(vec![named(2)], 1, 16384), "SY2433"),
    ] {
        assert_eq!(code(with(&scene, |seen| reshard(seen, &wish))), expected);
    }
}

#[test]
fn a_node_is_named_by_the_beginning_of_its_id_where_that_is_one_node_alone() {
    let scene = Scene::whole(3, 1);
    let to = |text: &str| Reshard {
        from: Vec::new(),
        to: Named::id(text).unwrap(),
        slots: 1,
    };
    assert_eq!(
        code(with(&scene, |seen| reshard(seen, &to("0202")))),
        "done"
    );
    assert_eq!(
        code(with(&scene, |seen| reshard(seen, &to("abcd")))),
        "SY2432"
    );
    for text in ["020", "02G2", "", &"0".repeat(41)] {
        assert_eq!(Named::id(text), None, "{text}");
    }
}

#[test]
fn primaries_without_slots_take_part_only_where_that_is_said() {
    let mut scene = Scene::whole(4, 0);
    scene.own(id(4)).slots.clear();
    let other = Slot::new(12_288).unwrap();
    let mut all = SlotSet::of(&scene.own(id(3)).slots);
    all = all.union(&SlotSet::all().difference(&others(&mut scene)));
    assert!(all.contains(other));
    scene.own(id(3)).slots = all.ranges();
    scene.gossip();
    let wish = |use_empty: bool, weights: Vec<(Named, u32)>| Rebalance {
        weights,
        use_empty,
        threshold_percent: 2,
    };
    let ask = |wish: &Rebalance| with(&scene, |seen| rebalance(seen, wish, None));
    let without = ask(&wish(false, Vec::new())).unwrap();
    assert!(
        without.iter().all(|it| it.target.id != id(4)),
        "{without:?}"
    );
    let with_it = ask(&wish(true, Vec::new())).unwrap();
    assert!(with_it.iter().any(|it| it.target.id == id(4)));
    assert_eq!(code(ask(&wish(false, vec![(named(4), 1)]))), "SY2433");
    let nobody = (1..=4).map(|number| (named(number), 0)).collect();
    assert_eq!(code(ask(&wish(true, nobody))), "SY2433");
    let emptied = ask(&wish(false, vec![(named(1), 0)])).unwrap();
    let stay = with(&scene, |seen| drained(seen, &emptied));
    assert_eq!(stay.iter().map(|it| it.id).collect::<Vec<_>>(), [id(1)]);
    let plan = with(&scene, |seen| moved(seen, emptied.clone(), &stay, POLICY));
    assert_eq!(
        titles(&plan),
        [
            "those that give everything stay primaries",
            "4096 slots where they belong",
            "their setting is as it was",
            "the cluster is ready"
        ]
    );
    assert!(with(&scene, |seen| moved(seen, Vec::new(), &[], POLICY)).is_empty());
}

fn others(scene: &mut Scene) -> SlotSet {
    (1..=3).fold(SlotSet::empty(), |all, number| {
        all.union(&SlotSet::of(&scene.own(id(number)).slots))
    })
}

#[test]
fn a_newcomer_joins_as_a_primary_or_as_the_replica_of_who_has_the_fewest() {
    // redis-3 has no replica.
    let mut scene = Scene::whole(3, 1);
    scene.view.nodes.remove(&address(6));
    for number in 1..=5 {
        let cluster = scene.knows(&format!("redis-{number}"));
        cluster.peers.retain(|it| it.id != id(6));
    }
    let node = &alone(9);
    let wish = |as_replica: bool, primary: Option<Named>| Join {
        node: address(9),
        as_replica,
        primary,
    };
    let ask = |wish: &Join| with(&scene, |seen| join(seen, node, wish, POLICY));
    let replica = ask(&wish(true, None)).unwrap();
    let copies = "the replica copies its primary";
    let (met, agree, ready) = (
        "the nodes know each other",
        "all nodes agree",
        "the cluster is ready",
    );
    assert_eq!(titles(&replica), [met, agree, copies, ready]);
    assert!(
        render(&replica).contains("copies 03030303"),
        "{}",
        render(&replica)
    );
    let primary = ask(&wish(false, None)).unwrap();
    let functions = "it has the functions of the cluster";
    assert_eq!(titles(&primary), [met, agree, functions, ready]);
    assert_eq!(code(ask(&wish(true, Some(named(4))))), "SY2432");
    let refused = |node: &NodeView| {
        code(with(&scene, |seen| {
            join(seen, node, &wish(false, None), POLICY)
        }))
    };
    assert_eq!(refused(&silent(9)), "SY2434");
    let in_use = Scene::whole(3, 1);
    assert_eq!(refused(&in_use.view.nodes[&address(6)]), "SY2435");
}

#[test]
fn a_node_goes_only_without_slots_and_its_replicas_copy_others() {
    let scene = Scene::whole(3, 1);
    let ask = |scene: &Scene, number: u8| with(scene, |seen| leave(seen, &named(number), POLICY));
    assert_eq!(code(ask(&scene, 1)), "SY2436");
    assert_eq!(code(ask(&scene, 9)), "SY2432");
    let replica = ask(&scene, 4).unwrap();
    assert_eq!(
        titles(&replica),
        ["nobody knows it", "the cluster is ready"]
    );
    // An empty primary with a replica: that copies another, and then it is alone.
    let mut empty = Scene::whole(3, 1);
    let given = SlotSet::of(&empty.own(id(1)).slots);
    empty.own(id(1)).slots.clear();
    let taken = SlotSet::of(&empty.own(id(2)).slots).union(&given);
    empty.own(id(2)).slots = taken.ranges();
    empty.gossip();
    assert_eq!(
        titles(&ask(&empty, 1).unwrap()),
        [
            "its replicas copy others",
            "it has no slot and no key",
            "nobody knows it",
            "it knows nobody",
            "the cluster is ready"
        ]
    );
    // A silent one that others say owns slots is not given up either.
    let mut dead = Scene::whole(3, 1);
    dead.view.nodes.insert(address(1), silent(1));
    assert_eq!(code(ask(&dead, 1)), "SY2436");
    let mut gone = Scene::whole(3, 1);
    gone.view.nodes.insert(address(4), silent(4));
    assert!(!ask(&gone, 4).unwrap().is_empty());
}

/// Everybody knows this node by another id.
fn rename(scene: &mut Scene, from: NodeId, to: NodeId) {
    for node in scene.view.nodes.values_mut() {
        let NodeView::Answering(report) = node else {
            continue;
        };
        let cluster = report.cluster.as_mut().unwrap();
        let peers = cluster.peers.iter_mut().map(|it| &mut it.id);
        for known in peers.chain([&mut cluster.id]).filter(|it| **it == from) {
            *known = to;
        }
    }
}

#[test]
fn a_name_that_two_nodes_have_makes_neither_go() {
    let mut scene = Scene::whole(3, 1);
    let ask = |scene: &Scene, text: &str| {
        let named = Named::id(text).unwrap();
        with(scene, |seen| leave(seen, &named, POLICY))
    };
    // Two replicas of one name, of which one is silent, and then both.
    let [one, other] = ["aaaa1", "aaaa2"].map(|it| NodeId::parse(&format!("{it:0<40}")).unwrap());
    rename(&mut scene, id(4), one);
    rename(&mut scene, id(5), other);
    for silenced in [4, 5] {
        assert_eq!(code(ask(&scene, "aaaa")), "SY2432");
        scene.view.nodes.insert(address(silenced), silent(silenced));
    }
    assert_eq!(code(ask(&scene, "aaaa")), "SY2432");
    assert!(!ask(&scene, "aaaa2").unwrap().is_empty());
}

#[test]
fn nothing_is_moved_while_the_cluster_is_in_disorder() {
    let mut scene = Scene::whole(3, 1);
    scene.own(id(1)).open_slots.push(OpenSlot {
        slot: Slot::new(7).unwrap(),
        direction: OpenDirection::To(id(2)),
    });
    let wish = Reshard {
        from: Vec::new(),
        to: named(2),
        slots: 1,
    };
    assert_eq!(code(with(&scene, |seen| reshard(seen, &wish))), "SY2431");
    let mut dead = Scene::whole(3, 1);
    dead.view.nodes.insert(address(3), silent(3));
    assert_eq!(code(with(&dead, |seen| reshard(seen, &wish))), "SY2431");
}

#[test]
fn a_setting_is_for_every_node_that_answers() {
    let scene = Scene::whole(3, 1);
    let plan: Plan = with(&scene, |seen| {
        tend::set(seen, "cluster-node-timeout", "7000")
    });
    assert_eq!(titles(&plan), ["cluster-node-timeout is 7000"]);
    assert!(
        render(&plan).contains("6 nodes: run with cluster-node-timeout 7000"),
        "{}",
        render(&plan)
    );
}
