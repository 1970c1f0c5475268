//! Scaling out, in, and both at once: what is planned, what is refused, and that it always comes to
//! its end without anything being stopped that owns a slot.

use std::collections::BTreeMap;

use model::ids::{ShardIndex, WorkloadName};
use model::instance::PlannedRole;
use model::size::ByteSize;
use model::slots::SlotSet;
use model::spec::{ServiceKind, Spec};
use model::step::{Member, Promotion};
use model::view::{NodeView, PeerRole, WorkloadPhase};
use plan::scale::{cancelled, is_under_way, newcomers, settled, with_turns};
use proptest::prelude::*;

use crate::fixture::{Scene, address, id, name, service, silent, spec};

/// The plan that follows a wish.
fn planned(scene: &mut Scene, shards: u16, replicas: u16) -> String {
    scene.rescale(shards, replicas).unwrap();
    scene.planned()
}

#[test]
fn a_fourth_shard_joins() {
    insta::assert_snapshot!(planned(&mut Scene::whole(3, 1), 4, 1), @"
    1. 2 workloads running
       ensure_running redis-7: runs redis:7 at 10.0.0.7:6379, 256 MiB
       ensure_running redis-8: runs redis:7 at 10.0.0.8:6379, 256 MiB
    2. 2 workloads healthy
       wait_healthy 2 workloads: healthy, within 60 s
    3. the nodes know each other, and the replicas copy
       ensure_met 8 nodes: know each other
       ensure_replicas 08080808 (10.0.0.8:6379): copy 07070707 (10.0.0.7:6379)
    4. all agree on who owns what
       wait_agreed 8 nodes: agreed on who is what and owns what, within 60 s
    5. the functions are where slots go
       ensure_functions 07070707 (10.0.0.7:6379): have the functions of 01010101 (10.0.0.1:6379)
    6. 4096 slots where they belong
       ensure_moved 4096 slots: 1365 slots 10.0.0.1:6379 → 10.0.0.7:6379 (4096-5460); 1366 slots 10.0.0.2:6379 → 10.0.0.7:6379 (9557-10922); 1365 slots 10.0.0.3:6379 → 10.0.0.7:6379 (15019-16383)
    7. the cluster is ready
       wait_ready 8 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn a_fourth_shard_leaves() {
    insta::assert_snapshot!(planned(&mut Scene::whole(4, 1), 3, 1), @"
    1. those that give everything stay primaries
       ensure_setting 2 nodes: run with cluster-allow-replica-migration no
    2. 4096 slots where they belong
       ensure_moved 4096 slots: 1366 slots 10.0.0.4:6379 → 10.0.0.1:6379 (15018-16383); 1365 slots 10.0.0.4:6379 → 10.0.0.2:6379 (13653-15017); 1365 slots 10.0.0.4:6379 → 10.0.0.3:6379 (12288-13652)
    3. those that leave hold nothing that is not elsewhere
       ensure_empty 04040404 (10.0.0.4:6379): owns no slot and holds no key
       ensure_empty 08080808 (10.0.0.8:6379): owns no slot and holds no key
    4. 2 workloads stopped, data kept
       ensure_stopped redis-4: stops, data kept
       ensure_stopped redis-8: stops, data kept
    5. the others have forgotten them
       ensure_forgotten 04040404, 08080808: is forgotten by 6 nodes
    6. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn more_shards_and_fewer_replicas_at_once() {
    insta::assert_snapshot!(planned(&mut Scene::whole(3, 2), 4, 1), @"
    1. 2 workloads running
       ensure_running redis-10: runs redis:7 at 10.0.0.10:6379, 256 MiB
       ensure_running redis-11: runs redis:7 at 10.0.0.11:6379, 256 MiB
    2. 2 workloads healthy
       wait_healthy 2 workloads: healthy, within 60 s
    3. the nodes know each other, and the replicas copy
       ensure_met 11 nodes: know each other
       ensure_replicas 0b0b0b0b (10.0.0.11:6379): copy 0a0a0a0a (10.0.0.10:6379)
    4. all agree on who owns what
       wait_agreed 11 nodes: agreed on who is what and owns what, within 60 s
    5. the functions are where slots go
       ensure_functions 0a0a0a0a (10.0.0.10:6379): have the functions of 01010101 (10.0.0.1:6379)
    6. 4096 slots where they belong
       ensure_moved 4096 slots: 1365 slots 10.0.0.1:6379 → 10.0.0.10:6379 (4096-5460); 1366 slots 10.0.0.2:6379 → 10.0.0.10:6379 (9557-10922); 1365 slots 10.0.0.3:6379 → 10.0.0.10:6379 (15019-16383)
    7. those that leave hold nothing that is not elsewhere
       ensure_copies 07070707 (10.0.0.7:6379): copies 01010101 (10.0.0.1:6379)
       ensure_copies 08080808 (10.0.0.8:6379): copies 02020202 (10.0.0.2:6379)
       ensure_copies 09090909 (10.0.0.9:6379): copies 03030303 (10.0.0.3:6379)
    8. 3 workloads stopped, data kept
       ensure_stopped redis-7: stops, data kept
       ensure_stopped redis-8: stops, data kept
       ensure_stopped redis-9: stops, data kept
    9. the others have forgotten them
       ensure_forgotten 07070707, 08080808, 09090909: is forgotten by 8 nodes
    10. the cluster is ready
       wait_ready 8 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn more_replicas_move_no_slot() {
    insta::assert_snapshot!(planned(&mut Scene::whole(3, 1), 3, 2), @"
    1. 3 workloads running
       ensure_running redis-7: runs redis:7 at 10.0.0.7:6379, 256 MiB
       ensure_running redis-8: runs redis:7 at 10.0.0.8:6379, 256 MiB
       ensure_running redis-9: runs redis:7 at 10.0.0.9:6379, 256 MiB
    2. 3 workloads healthy
       wait_healthy 3 workloads: healthy, within 60 s
    3. the nodes know each other, and the replicas copy
       ensure_met 9 nodes: know each other
       ensure_replicas 07070707 (10.0.0.7:6379): copy 01010101 (10.0.0.1:6379)
       ensure_replicas 08080808 (10.0.0.8:6379): copy 02020202 (10.0.0.2:6379)
       ensure_replicas 09090909 (10.0.0.9:6379): copy 03030303 (10.0.0.3:6379)
    4. the cluster is ready
       wait_ready 9 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn what_is_asked_for_already_is_no_change() {
    let mut scene = Scene::whole(3, 1);
    let before = scene.instance.clone();
    scene.rescale(3, 1).unwrap();
    assert_eq!(scene.instance, before);
    assert_eq!(scene.planned(), "nothing to do\n");
}

/// Everything that must hold once a change has come about.
fn must_be(scene: &mut Scene, shards: u16, replicas: u16) {
    assert!(!is_under_way(&scene.instance));
    let layout = &scene.instance.layout;
    assert_eq!(layout.shards().len(), usize::from(shards));
    for shard in layout.shards() {
        let nodes = layout.shard(shard);
        assert_eq!(nodes.len(), usize::from(replicas) + 1, "{shard}");
        let primaries = nodes.iter().filter(|it| it.2.role == PlannedRole::Primary);
        assert_eq!(primaries.count(), 1, "{shard}");
    }
    let owned = scene.owned();
    let all = owned
        .values()
        .fold(SlotSet::empty(), |all, it| all.union(it));
    assert_eq!(all, SlotSet::all());
    assert_eq!(owned.len(), usize::from(shards), "one primary each");
}

/// No two copies of a shard are on one host while there are hosts enough, and no host has a
/// majority of the planned primaries.
fn must_be_spread(scene: &Scene) {
    let hosts = scene.view.engine.hosts.len();
    let layout = &scene.instance.layout;
    let mut primaries: BTreeMap<_, usize> = BTreeMap::new();
    for shard in layout.shards() {
        let nodes = layout.shard(shard);
        let mut used: Vec<_> = nodes.iter().map(|(_, seat, _)| &seat.host).collect();
        *primaries.entry(used[0].clone()).or_default() += 1;
        used.sort();
        used.dedup();
        assert_eq!(used.len(), nodes.len().min(hosts), "{shard}: {nodes:?}");
    }
    if hosts >= 3 {
        let most = primaries.values().max().unwrap();
        assert!(most * 2 <= layout.shards().len().max(2), "{primaries:?}");
    }
}

#[test]
fn every_change_of_shards_and_replicas_comes_to_its_end() {
    for hosts in [1, 3, 4] {
        for (from, to) in [
            ((3, 0), (4, 0)),
            ((3, 0), (3, 2)),
            ((3, 1), (6, 1)),
            ((3, 2), (5, 1)),
            ((3, 2), (3, 0)),
            ((6, 1), (3, 1)),
            ((6, 1), (3, 2)),
            ((5, 2), (4, 0)),
            ((7, 0), (3, 0)),
        ] {
            let mut scene = Scene::whole_on(hosts, from.0, from.1);
            scene.rescale(to.0, to.1).unwrap();
            scene.finish();
            must_be(&mut scene, to.0, to.1);
            if usize::from(to.1) < usize::from(hosts) {
                must_be_spread(&scene);
            }
        }
    }
}

#[test]
fn a_number_and_an_id_are_never_used_again() {
    let mut scene = Scene::whole(4, 1);
    scene.rescale(3, 1).unwrap();
    scene.finish();
    let gone: Vec<WorkloadName> = scene
        .view
        .engine
        .workloads
        .keys()
        .filter(|it| !scene.instance.layout.seats.contains_key(*it))
        .cloned()
        .collect();
    assert_eq!(gone.len(), 2, "their volumes are kept");
    let joining = newcomers(&scene.instance, &spec(4, 1), &scene.view);
    let joining: Vec<String> = joining.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(joining, ["redis-9", "redis-10"]);
    scene.rescale(4, 1).unwrap();
    scene.finish();
    must_be(&mut scene, 4, 1);
}

#[test]
fn the_shard_with_the_least_to_move_leaves() {
    let mut scene = Scene::whole(4, 1);
    for (number, keys) in [(1, 40), (2, 7), (3, 30), (4, 50)] {
        scene.says(&format!("redis-{number}")).keys = keys;
    }
    scene.rescale(3, 1).unwrap();
    let leaving: Vec<String> = scene
        .instance
        .layout
        .seats
        .iter()
        .filter(|(_, seat)| seat.leaves)
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(leaving, ["redis-2", "redis-6"]);
}

#[test]
fn a_dead_replica_is_the_one_that_leaves_and_its_death_stops_nothing() {
    let mut scene = Scene::whole(3, 2);
    scene.view.nodes.insert(address(4), silent(4));
    scene.found("redis-4").phase = WorkloadPhase::Running { healthy: false };
    scene.rescale(3, 1).unwrap();
    assert!(scene.instance.layout.seats[&name("redis-4")].leaves);
    scene.finish();
    must_be(&mut scene, 3, 1);
}

#[test]
fn the_acting_primary_stays_where_replicas_leave() {
    let mut scene = Scene::whole(3, 1);
    scene.hand_over(promotion(4, 1));
    scene.rescale(3, 0).unwrap();
    assert!(scene.instance.layout.seats[&name("redis-1")].leaves);
    scene.finish();
    must_be(&mut scene, 3, 0);
}

pub(crate) fn promotion(node: u8, instead_of: u8) -> Promotion {
    let member = |number| Member {
        id: id(number),
        address: address(number),
    };
    Promotion {
        node: member(node),
        instead_of: member(instead_of),
    }
}

#[test]
fn a_node_that_leaves_and_was_promoted_hands_over_first() {
    let mut scene = Scene::whole(3, 2);
    scene.rescale(3, 1).unwrap();
    let leaving = scene
        .instance
        .layout
        .nodes()
        .find(|(_, seat, node)| seat.leaves && node.shard == ShardIndex(0))
        .map(|(name, _, _)| u8::try_from(name.number()).unwrap())
        .unwrap();
    scene.hand_over(promotion(leaving, 1));
    insta::assert_snapshot!(scene.planned(), @"
    1. those that leave are no primaries of shards that stay
       ensure_handed_over 01010101 (10.0.0.1:6379): takes over from 07070707 (10.0.0.7:6379), no write lost
    2. those that leave hold nothing that is not elsewhere
       ensure_copies 07070707 (10.0.0.7:6379): copies 01010101 (10.0.0.1:6379)
       ensure_copies 08080808 (10.0.0.8:6379): copies 02020202 (10.0.0.2:6379)
       ensure_copies 09090909 (10.0.0.9:6379): copies 03030303 (10.0.0.3:6379)
    3. 3 workloads stopped, data kept
       ensure_stopped redis-7: stops, data kept
       ensure_stopped redis-8: stops, data kept
       ensure_stopped redis-9: stops, data kept
    4. the others have forgotten them
       ensure_forgotten 07070707, 08080808, 09090909: is forgotten by 6 nodes
    5. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
    scene.finish();
    must_be(&mut scene, 3, 1);
}

#[test]
fn without_a_replica_in_sync_a_promoted_node_that_leaves_stays() {
    let mut scene = Scene::whole(3, 1);
    scene.rescale(3, 0).unwrap();
    scene.hand_over(promotion(4, 1));
    scene.says("redis-1").replication = model::view::Replication::Replica {
        of: address(4).to_string(),
        link: model::view::ReplicationLink::Down { seconds: 9 },
        offset: 0,
    };
    let planned = scene.planned();
    assert!(planned.contains("SY2414"), "{planned}");
    assert!(!planned.contains("ensure_stopped redis-4"), "{planned}");
}

#[test]
fn the_same_wish_goes_on_and_a_different_one_is_refused() {
    let mut scene = Scene::whole(3, 1);
    scene.rescale(4, 1).unwrap();
    let intended = scene.instance.clone();
    scene.rescale(4, 1).unwrap();
    assert_eq!(scene.instance, intended);
    insta::assert_snapshot!(refused(&mut scene, 5, 1), @"[SY2402] a different change of orders is under way (help: shardyard up --name orders   finishes it; shardyard cancel orders   ends it where it is)");
    assert_eq!(scene.instance, intended);
}

/// Why a wish is refused.
fn refused(scene: &mut Scene, shards: u16, replicas: u16) -> String {
    let refusals = scene.rescale(shards, replicas).unwrap_err();
    let lines: Vec<String> = refusals
        .into_iter()
        .map(|refusal| {
            let fault = model::fault::Fault::from(refusal);
            let help = fault.help.unwrap_or_default();
            format!("[{}] {} (help: {help})", fault.code, fault.message)
        })
        .collect();
    lines.join("\n")
}

#[test]
fn what_cannot_end_well_is_refused_with_every_reason() {
    let mut scene = Scene::whole(4, 1);
    insta::assert_snapshot!(refused(&mut scene.clone(), 2, 1), @"[SY2407] 2 primaries are no majority without one of them, so that no replica could be elected any more (help: keep 3 shards at least)");
    scene.view.nodes.insert(address(2), silent(2));
    insta::assert_snapshot!(refused(&mut scene.clone(), 3, 1), @"[SY2404] redis-2 does not answer: 10.0.0.2:6379 cannot be reached: refused (help: shardyard up --name orders   brings it back; then scale)");
    let mut undelivered = Scene::whole(3, 1);
    undelivered.instance.delivered = false;
    insta::assert_snapshot!(refused(&mut undelivered, 4, 1), @"[SY2401] orders has never been ready yet (help: shardyard up --name orders   first)");
}

#[test]
fn memory_that_is_not_there_for_half_as_much_again_forbids() {
    let mut scene = Scene::whole(4, 0);
    for number in 1..=4 {
        let report = scene.says(&format!("redis-{number}"));
        report.memory_max = ByteSize::mib(100);
        report.memory_used = ByteSize::mib(60);
    }
    // Each of three takes 20 MiB over: 30 are needed, and 40 are free.
    scene.clone().rescale(3, 0).unwrap();
    scene.says("redis-2").memory_used = ByteSize::mib(71);
    insta::assert_snapshot!(refused(&mut scene, 3, 0), @"[SY2409] redis-2 has 29 MiB free, and needs 29.9 MiB: half as much again as it takes over (help: keep more shards, or give each more memory: --memory)");
}

#[test]
fn without_a_limit_of_its_own_the_hosts_memory_counts() {
    let mut scene = Scene::whole(4, 0);
    for number in 1..=4 {
        let report = scene.says(&format!("redis-{number}"));
        report.memory_max = ByteSize::bytes(0);
        report.memory_used = ByteSize::mib(60);
    }
    scene.clone().rescale(3, 0).unwrap();
    scene.view.engine.hosts[0].memory_available = ByteSize::mib(89);
    insta::assert_snapshot!(refused(&mut scene, 3, 0), @"[SY2409] host a has 89 MiB free, and needs 90 MiB: half as much again as it takes over (help: keep more shards, or give each more memory: --memory)");
}

/// A whole cluster of servers that their template does not call one, and its spec.
fn plain(replicas: u16) -> (Scene, Spec) {
    let mut scene = Scene::whole(3, replicas);
    scene.instance.spec.services[0].cluster = None;
    for seat in scene.instance.layout.seats.values_mut() {
        seat.node = None;
    }
    let spec = scene.instance.spec.clone();
    (scene, spec)
}

#[test]
fn servers_of_a_plain_service_leave_only_empty() {
    let (mut scene, mut plain) = plain(0);
    plain.services[0].count = 2;
    let refusals = scene.rescale_to(plain.clone()).unwrap_err();
    assert_eq!(
        refusals[0].to_string(),
        "redis-3 cannot leave: it owns slots"
    );
    // Drained, it may.
    scene.own(id(3)).slots.clear();
    scene.says("redis-3").keys = 0;
    scene.gossip();
    scene.rescale_to(plain).unwrap();
    insta::assert_snapshot!(scene.planned(), @"
    1. those that leave hold nothing that is not elsewhere
       ensure_empty 03030303 (10.0.0.3:6379): owns no slot and holds no key
    2. 1 workload stopped, data kept
       ensure_stopped redis-3: stops, data kept
    3. the others have forgotten them
       ensure_forgotten 03030303: is forgotten by 2 nodes
    4. the cluster is ready
       wait_ready 2 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn a_job_empties_those_of_a_plain_service_before_anything_is_decided_about_them() {
    let (mut scene, mut plain) = plain(1);
    plain.services.push(service("drain", ServiceKind::Job, 1));
    plain.hooks.before_scale_in = Some(plain.services[1].name.clone());
    scene.instance.spec = plain.clone();
    let before = scene.instance.clone();
    plain.services[0].count = 2;
    scene.rescale_to(plain).unwrap();
    scene.instance = with_turns(&before, scene.instance, 7);
    let planned = scene.planned();
    assert!(planned.contains("ensure_done drain-1"), "{planned}");
    assert!(!planned.contains("ensure_stopped"), "{planned}");
    for number in 3..=6 {
        assert!(
            planned.contains(&format!("SY4040] redis-{number}:")),
            "{planned}"
        );
    }
}

#[test]
fn whoever_leaves_later_forgets_those_that_go_now() {
    let (mut scene, mut plain) = plain(1);
    // 3 owns slots still; 6, its replica, may go.
    plain.services[0].count = 5;
    scene.rescale_to(plain).unwrap();
    let seats = &mut scene.instance.layout.seats;
    seats.get_mut(&name("redis-3")).unwrap().leaves = true;
    let planned = scene.planned();
    assert!(planned.contains("ensure_stopped redis-6"), "{planned}");
    assert!(!planned.contains("ensure_stopped redis-3"), "{planned}");
    assert!(planned.contains("is forgotten by 5 nodes"), "{planned}");
}

/// A growth that was cut off once its newcomers ran, and is no longer wanted.
fn cancelled_early() -> Scene {
    let mut scene = Scene::whole(3, 1);
    scene.rescale(4, 1).unwrap();
    for newcomer in ["redis-7", "redis-8"] {
        scene.start(&name(newcomer));
    }
    scene.instance = cancelled(&scene.instance, &scene.view);
    scene
}

#[test]
fn newcomers_that_are_no_longer_wanted_are_not_introduced_first() {
    let mut scene = cancelled_early();
    let planned = scene.planned();
    assert!(!planned.contains("ensure_met"), "{planned}");
    scene.finish();
    assert_eq!(scene.instance.layout.seats.len(), 6);
}

#[test]
fn one_plan_has_those_that_go_forgotten_though_few_have_met_them_yet() {
    let mut scene = cancelled_early();
    // One has heard of one; the others hear of it while the plan is carried out.
    let line = scene.knows("redis-7").peers[0].clone();
    scene.knows("redis-1").peers.push(line);
    let plan = scene.plan();
    scene.apply(&plan);
    for number in 1..=6 {
        let peers = &scene.knows(&format!("redis-{number}")).peers;
        assert_eq!(peers.len(), 6, "redis-{number}");
    }
    scene.finish();
}

/// A shard without replicas that leaves, and whose only node has just ended.
fn leaving_and_dead() -> Scene {
    let mut scene = Scene::whole(4, 0);
    scene.rescale(3, 0).unwrap();
    scene.silence("redis-4", WorkloadPhase::Stopped);
    scene.gossip();
    scene
}

#[test]
fn the_last_copy_is_started_again_before_it_may_leave() {
    let must_start = |scene: &Scene| {
        let planned = scene.planned();
        assert!(planned.contains("ensure_running redis-4"), "{planned}");
        assert!(!planned.contains("ensure_forgotten"), "{planned}");
    };
    let scene = leaving_and_dead();
    must_start(&scene);
    // Nobody remembers what it owned, but slots are missing.
    let mut forgotten = scene.clone();
    for number in 1..=3 {
        forgotten.peer(&format!("redis-{number}"), 4).slots.clear();
    }
    must_start(&forgotten);
    // Another claims all that it owned, and some still take it for the owner.
    let mut claimed = scene;
    let slots = SlotSet::all().difference(&SlotSet::parse("0-8191").unwrap());
    claimed.own(id(3)).slots = slots.ranges();
    must_start(&claimed);
}

#[test]
fn a_seat_stays_until_its_workload_has_stopped_and_nobody_knows_it() {
    let mut scene = Scene::whole(4, 0);
    scene.rescale(3, 0).unwrap();
    assert_eq!(
        settled(&scene.instance, &scene.view),
        None,
        "nothing has moved yet"
    );
    let forget = |scene: &mut Scene| {
        for number in 1..=3 {
            let peers = &mut scene.knows(&format!("redis-{number}")).peers;
            peers.retain(|peer| peer.id != id(4));
        }
    };
    let has_seat = |scene: &Scene| {
        let settled = settled(&scene.instance, &scene.view);
        let layout = settled.map_or_else(|| scene.instance.layout.clone(), |it| it.layout);
        layout.seats.contains_key(&name("redis-4"))
    };
    let mut known = scene.clone();
    known.silence("redis-4", WorkloadPhase::Stopped);
    assert!(has_seat(&known), "others know it");
    let mut running = scene.clone();
    let address = running.instance.layout.seats[&name("redis-4")].address;
    running.view.nodes.remove(&address);
    forget(&mut running);
    assert!(has_seat(&running), "it runs");
    scene.silence("redis-4", WorkloadPhase::Stopped);
    forget(&mut scene);
    assert!(!has_seat(&scene));
    let owners = settled(&scene.instance, &scene.view).unwrap().layout.owners;
    assert_eq!(
        owners, scene.instance.layout.owners,
        "its slots are nowhere yet"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Called off anywhere, a change ends with a whole cluster that can be changed again.
    #[test]
    fn a_change_that_is_called_off_leaves_a_whole_cluster(
        from in (3_u16..6, 0_u16..3),
        to in (3_u16..6, 0_u16..3),
        cuts in proptest::collection::vec((0_usize..14, 0_usize..9), 0..3),
        again in (3_u16..6, 0_u16..3),
    ) {
        let mut scene = Scene::whole_on(3, from.0, from.1);
        scene.rescale(to.0, to.1).unwrap();
        for (steps, failover) in cuts {
            let plan = scene.plan();
            scene.apply_some(&plan, steps);
            fail_over(&mut scene, failover);
        }
        scene.instance = cancelled(&scene.instance, &scene.view);
        scene.finish();
        let part = scene.instance.spec.services[0].cluster.unwrap();
        prop_assert_eq!(scene.owned().len(), usize::from(part.shards));
        prop_assert_eq!(scene.instance.layout.shards().len(), usize::from(part.shards));
        scene.rescale(again.0, again.1).unwrap();
        scene.finish();
        must_be(&mut scene, again.0, again.1);
    }

    /// Cut off anywhere, with failovers in between, a change comes to its end.
    #[test]
    fn a_change_that_is_cut_off_anywhere_comes_to_its_end(
        from in (3_u16..6, 0_u16..3),
        to in (3_u16..6, 0_u16..3),
        hosts in 1_u8..5,
        cuts in proptest::collection::vec((0_usize..12, 0_usize..9), 0..6),
    ) {
        let mut scene = Scene::whole_on(hosts, from.0, from.1);
        scene.rescale(to.0, to.1).unwrap();
        for (steps, failover) in cuts {
            let plan = scene.plan();
            scene.apply_some(&plan, steps);
            fail_over(&mut scene, failover);
        }
        scene.finish();
        must_be(&mut scene, to.0, to.1);
    }
}

/// Some replica takes over from its primary.
fn fail_over(scene: &mut Scene, choice: usize) {
    let mut promotions = Vec::new();
    for (address, node) in &scene.view.nodes {
        let Some(cluster) = node.cluster() else {
            continue;
        };
        let Some(PeerRole::Replica(Some(primary))) = cluster.myself().map(|it| it.role) else {
            continue;
        };
        let home = scene.view.nodes.iter().find(|(_, node)| {
            let report = node.cluster();
            report.is_some_and(|it| it.id == primary && !it.myself().unwrap().slots.is_empty())
        });
        if let Some((home, NodeView::Answering(_))) = home {
            promotions.push(Promotion {
                node: Member {
                    id: cluster.id,
                    address: *address,
                },
                instead_of: Member {
                    id: primary,
                    address: *home,
                },
            });
        }
    }
    if let Some(promotion) = promotions.get(choice) {
        scene.hand_over(*promotion);
    }
}
