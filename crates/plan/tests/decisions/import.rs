//! Which keys may come into a cluster, where they go, and what keeps them out.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::fault::Explain;
use model::size::ByteSize;
use model::slots::SlotSet;
use model::step::{Plan, Step, StewardStep};
use model::view::{NodeView, Replication, ReplicationLink};
use plan::import::{Refusal, Source, Wish, import};
use plan::tend::Seen;

use crate::fixture::{POLICY, Scene, address, alone, render, silent};

fn server(keys: u64) -> NodeView {
    let mut view = alone(9);
    if let NodeView::Answering(report) = &mut view {
        report.cluster = None;
        report.keys = keys;
    }
    view
}

fn asked(scene: &Scene, view: &NodeView, databases: &[(u32, u64)]) -> Result<Plan, Vec<Refusal>> {
    let nodes: Vec<NodeAddress> = scene.view.nodes.keys().copied().collect();
    let seen = Seen {
        nodes: &nodes,
        view: &scene.view.nodes,
    };
    let source = Source {
        address: address(9),
        view,
        databases: &databases.iter().copied().collect::<BTreeMap<u32, u64>>(),
    };
    let wish = Wish {
        copies: false,
        manner: POLICY.manner,
    };
    import(seen, source, wish)
}

fn codes(answer: Result<Plan, Vec<Refusal>>) -> Vec<&'static str> {
    let refusals = answer.unwrap_err();
    assert!(refusals.iter().all(|it| it.help().is_some()));
    refusals.iter().map(|it| it.code().0).collect()
}

#[test]
fn each_slot_has_a_primary_that_takes_its_keys() {
    let scene = Scene::whole(3, 1);
    let plan = asked(&scene, &server(7), &[(0, 7)]).unwrap();
    let [Step::Steward(StewardStep::EnsureImported(import))] = &plan.phases[0].steps[..] else {
        panic!("{}", render(&plan));
    };
    let taken = import.targets.iter();
    let all = taken.fold(SlotSet::empty(), |all, it| {
        assert!(all.is_disjoint(&it.slots));
        assert_eq!(it.replicas.len(), 1);
        all.union(&it.slots)
    });
    assert_eq!(all, SlotSet::all());
    assert!(asked(&scene, &server(0), &[]).unwrap().is_empty());
}

#[test]
fn everything_that_keeps_keys_out_is_told_at_once() {
    let mut scene = Scene::whole(3, 1);
    let whole = |view: &NodeView| codes(asked(&Scene::whole(3, 1), view, &[]));
    assert_eq!(whole(&silent(9)), ["SY2441"]);
    assert_eq!(whole(&NodeView::Loading), ["SY2441"]);
    assert_eq!(whole(&alone(9)), ["SY2442"]);
    let mut replica = server(1);
    if let NodeView::Answering(report) = &mut replica {
        report.replication = Replication::Replica {
            of: "10.0.0.1:6379".to_owned(),
            link: ReplicationLink::Up,
            offset: 0,
        };
    }
    assert_eq!(whole(&replica), ["SY2442"]);
    scene.view.nodes.insert(address(3), silent(3));
    scene.says("redis-1").memory_max = ByteSize::mib(1);
    let mut large = server(9);
    if let NodeView::Answering(report) = &mut large {
        report.memory_used = ByteSize::mib(400);
    }
    let found = codes(asked(&scene, &large, &[(0, 5), (3, 4)]));
    assert_eq!(found, ["SY2431", "SY2443", "SY2444"]);
}

#[test]
fn a_primary_gets_its_share_by_slots_and_none_where_it_has_no_limit() {
    let mut scene = Scene::whole(3, 0);
    let mut large = server(9);
    if let NodeView::Answering(report) = &mut large {
        report.memory_used = ByteSize::mib(301);
    }
    let used = scene.says("redis-1").memory_used.as_bytes();
    let ask = |scene: &Scene| asked(scene, &large, &[(0, 9)]);
    scene.says("redis-1").memory_max = ByteSize::bytes(used + (99 << 20));
    assert_eq!(codes(ask(&scene)), ["SY2444"]);
    scene.says("redis-1").memory_max = ByteSize::bytes(used + (101 << 20));
    assert!(ask(&scene).is_ok());
    scene.says("redis-1").memory_max = ByteSize::bytes(0);
    assert!(ask(&scene).is_ok());
}
