//! The plans that bring an instance to what it should be, as a person reads them.

use std::time::Duration;

use model::ids::{Epoch, ServiceName};
use model::image::Software;
use model::spec::ServiceKind;
use model::view::{Ending, PeerRole, Replication, WorkloadPhase};
use model::workload::Fingerprint;

use crate::fixture::{
    POLICY, Scene, address, id, name, redis_7, redis_99, render, service, spec, version,
};

#[test]
fn from_nothing_with_prepared_files_and_exchanged_roles() {
    insta::assert_snapshot!(Scene::nothing(spec(3, 1), redis_7()).planned(), @"
    1. 6 workloads running
       ensure_running redis-1: runs redis:7 at 10.0.0.1:6379, 256 MiB
       ensure_running redis-2: runs redis:7 at 10.0.0.2:6379, 256 MiB
       ensure_running redis-3: runs redis:7 at 10.0.0.3:6379, 256 MiB
       ensure_running redis-4: runs redis:7 at 10.0.0.4:6379, 256 MiB
       ensure_running redis-5: runs redis:7 at 10.0.0.5:6379, 256 MiB
       ensure_running redis-6: runs redis:7 at 10.0.0.6:6379, 256 MiB
    2. 6 workloads healthy
       wait_healthy 6 workloads: healthy, within 60 s
    3. the nodes reach each other
       wait_agreed 6 nodes: agreed on who is what and owns what, within 60 s
    4. the planned primaries are elected
       ensure_promoted 01010101 (10.0.0.1:6379), 02020202 (10.0.0.2:6379), 03030303 (10.0.0.3:6379): become primary by vote, instead of 04040404 (10.0.0.4:6379), 05050505 (10.0.0.5:6379), 06060606 (10.0.0.6:6379)
    5. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn from_nothing_with_prepared_files_where_no_primary_votes_at_once() {
    let valkey = version(Software::Valkey, "9.1.2");
    insta::assert_snapshot!(Scene::nothing(spec(3, 1), valkey).planned(), @"
    1. 6 workloads running
       ensure_running redis-1: runs redis:7 at 10.0.0.1:6379, 256 MiB
       ensure_running redis-2: runs redis:7 at 10.0.0.2:6379, 256 MiB
       ensure_running redis-3: runs redis:7 at 10.0.0.3:6379, 256 MiB
       ensure_running redis-4: runs redis:7 at 10.0.0.4:6379, 256 MiB
       ensure_running redis-5: runs redis:7 at 10.0.0.5:6379, 256 MiB
       ensure_running redis-6: runs redis:7 at 10.0.0.6:6379, 256 MiB
    2. 6 workloads healthy
       wait_healthy 6 workloads: healthy, within 60 s
    3. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn from_nothing_by_meeting() {
    insta::assert_snapshot!(Scene::nothing(spec(3, 1), redis_99()).planned(), @"
    1. 6 workloads running
       ensure_running redis-1: runs redis:7 at 10.0.0.1:6379, 256 MiB
       ensure_running redis-2: runs redis:7 at 10.0.0.2:6379, 256 MiB
       ensure_running redis-3: runs redis:7 at 10.0.0.3:6379, 256 MiB
       ensure_running redis-4: runs redis:7 at 10.0.0.4:6379, 256 MiB
       ensure_running redis-5: runs redis:7 at 10.0.0.5:6379, 256 MiB
       ensure_running redis-6: runs redis:7 at 10.0.0.6:6379, 256 MiB
    2. 6 workloads healthy
       wait_healthy 6 workloads: healthy, within 60 s
    3. every slot has an owner
       ensure_slots 01010101 (10.0.0.1:6379): owns slots 0-5460 (epoch 1)
       ensure_slots 02020202 (10.0.0.2:6379): owns slots 5461-10922 (epoch 2)
       ensure_slots 03030303 (10.0.0.3:6379): owns slots 10923-16383 (epoch 3)
    4. the nodes know each other, and the replicas copy
       ensure_met 6 nodes: know each other
       ensure_replicas 04040404 (10.0.0.4:6379): copy 01010101 (10.0.0.1:6379)
       ensure_replicas 05050505 (10.0.0.5:6379): copy 02020202 (10.0.0.2:6379)
       ensure_replicas 06060606 (10.0.0.6:6379): copy 03030303 (10.0.0.3:6379)
    5. the primaries serve, and all agree
       ensure_serving 01010101 (10.0.0.1:6379): serves without waiting for the rejoin delay
       ensure_serving 02020202 (10.0.0.2:6379): serves without waiting for the rejoin delay
       ensure_serving 03030303 (10.0.0.3:6379): serves without waiting for the rejoin delay
       wait_agreed 6 nodes: agreed on who is what and owns what, within 60 s
    6. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn one_shard_without_replicas_is_planned_like_any_other() {
    insta::assert_snapshot!(Scene::nothing(spec(1, 0), redis_99()).planned(), @"
    1. 1 workload running
       ensure_running redis-1: runs redis:7 at 10.0.0.1:6379, 256 MiB
    2. 1 workload healthy
       wait_healthy 1 workload: healthy, within 60 s
    3. every slot has an owner
       ensure_slots 01010101 (10.0.0.1:6379): owns slots 0-16383 (epoch 1)
    4. the nodes know each other, and the replicas copy
       ensure_met 1 node: know each other
    5. the primaries serve, and all agree
       ensure_serving 01010101 (10.0.0.1:6379): serves without waiting for the rejoin delay
       wait_agreed 1 node: agreed on who is what and owns what, within 60 s
    6. the cluster is ready
       wait_ready 1 node: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

/// A new cluster whose nodes run, each as the layout has it, without a key.
fn new_and_formed(shards: u16, replicas: u16) -> Scene {
    let mut scene = Scene::whole(shards, replicas);
    scene.instance.delivered = false;
    scene.without_keys();
    scene
}

/// The same before anybody met: each node runs and knows itself only.
fn new_and_alone(shards: u16, replicas: u16) -> Scene {
    let mut scene = new_and_formed(shards, replicas);
    let image = crate::fixture::image();
    let met = model::view::ImageView::Server(redis_99());
    scene.view.engine.images.insert(image, met);
    let numbers: Vec<u8> = (1..).take(scene.instance.layout.seats.len()).collect();
    for number in numbers {
        scene
            .view
            .nodes
            .insert(address(number), crate::fixture::alone(number));
    }
    scene
}

#[test]
fn what_was_started_is_not_started_again() {
    let mut scene = Scene::nothing(spec(3, 1), redis_7());
    let whole = new_and_formed(3, 1);
    for text in ["redis-1", "redis-2", "redis-4"] {
        let found = whole.view.engine.workloads[&name(text)].clone();
        let at = whole.instance.layout.seats[&name(text)].address;
        scene.view.nodes.insert(at, whole.view.nodes[&at].clone());
        scene.view.engine.workloads.insert(name(text), found);
    }
    scene.found("redis-4").phase = WorkloadPhase::Running { healthy: false };
    insta::assert_snapshot!(scene.planned(), @"
    1. 3 workloads running
       ensure_running redis-3: runs redis:7 at 10.0.0.3:6379, 256 MiB
       ensure_running redis-5: runs redis:7 at 10.0.0.5:6379, 256 MiB
       ensure_running redis-6: runs redis:7 at 10.0.0.6:6379, 256 MiB
    2. 4 workloads healthy
       wait_healthy 4 workloads: healthy, within 60 s
    3. the nodes reach each other
       wait_agreed 6 nodes: agreed on who is what and owns what, within 60 s
    4. the planned primaries are elected
       ensure_promoted 01010101 (10.0.0.1:6379), 02020202 (10.0.0.2:6379), 03030303 (10.0.0.3:6379): become primary by vote, instead of 04040404 (10.0.0.4:6379), 05050505 (10.0.0.5:6379), 06060606 (10.0.0.6:6379)
    5. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn elections_are_held_until_the_planned_primaries_have_won_all_of_them() {
    let mut scene = new_and_formed(3, 1);
    assert_eq!(scene.planned(), "nothing to do\n");
    // Redis-3 has not been elected: redis-6 owns its slots still.
    let slots = std::mem::take(&mut scene.peer("redis-3", 3).slots);
    scene.peer("redis-3", 3).role = PeerRole::Replica(Some(id(6)));
    scene.peer("redis-6", 6).role = PeerRole::Primary;
    scene.peer("redis-6", 6).slots = slots;
    let planned = scene.planned();
    assert!(planned.contains("ensure_promoted"), "{planned}");
    // An election that was lost is not held again: the roles are as good the other way round.
    let workloads = scene.workloads();
    let goal = plan::converge::Goal {
        instance: &scene.instance,
        workloads: &workloads,
    };
    let policy = plan::policy::Policy {
        elect_planned: false,
        ..POLICY
    };
    let planned = render(&plan::converge::converge(goal, &scene.view, policy));
    assert!(!planned.contains("ensure_promoted"), "{planned}");
    // And none is held once there is something to lose.
    scene.instance.delivered = true;
    let planned = scene.planned();
    assert!(!planned.contains("ensure_promoted"), "{planned}");
}

#[test]
fn nodes_that_run_alone_get_slots_and_meet() {
    insta::assert_snapshot!(new_and_alone(3, 1).planned(), @"
    1. every slot has an owner
       ensure_slots 01010101 (10.0.0.1:6379): owns slots 0-5460 (epoch 1)
       ensure_slots 02020202 (10.0.0.2:6379): owns slots 5461-10922 (epoch 2)
       ensure_slots 03030303 (10.0.0.3:6379): owns slots 10923-16383 (epoch 3)
    2. the nodes know each other, and the replicas copy
       ensure_met 6 nodes: know each other
       ensure_replicas 04040404 (10.0.0.4:6379): copy 01010101 (10.0.0.1:6379)
       ensure_replicas 05050505 (10.0.0.5:6379): copy 02020202 (10.0.0.2:6379)
       ensure_replicas 06060606 (10.0.0.6:6379): copy 03030303 (10.0.0.3:6379)
    3. the primaries serve, and all agree
       ensure_serving 01010101 (10.0.0.1:6379): serves without waiting for the rejoin delay
       ensure_serving 02020202 (10.0.0.2:6379): serves without waiting for the rejoin delay
       ensure_serving 03030303 (10.0.0.3:6379): serves without waiting for the rejoin delay
       wait_agreed 6 nodes: agreed on who is what and owns what, within 60 s
    4. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn slots_that_a_new_cluster_still_lacks_are_given_and_the_others_stay() {
    let mut scene = new_and_alone(3, 0);
    let first = scene
        .instance
        .layout
        .first_slots(model::ids::ShardIndex(0))
        .unwrap();
    let myself = scene.peer("redis-1", 1);
    (myself.slots, myself.epoch) = (vec![first], Epoch(1));
    let planned = scene.planned();
    assert!(!planned.contains("owns slots 0-5460"), "{planned}");
    assert!(
        planned.contains("owns slots 5461-10922 (epoch 2)"),
        "{planned}"
    );
    assert!(
        planned.contains("owns slots 10923-16383 (epoch 3)"),
        "{planned}"
    );
}

#[test]
fn a_new_primary_that_was_made_anew_gets_back_the_slots_that_others_remember() {
    let mut scene = new_and_formed(3, 0);
    scene.silence("redis-1", WorkloadPhase::Stopped);
    scene
        .view
        .nodes
        .insert(address(1), crate::fixture::alone(1));
    scene.found("redis-1").phase = WorkloadPhase::Running { healthy: true };
    let planned = scene.planned();
    assert!(
        planned.contains("ensure_slots 01010101 (10.0.0.1:6379): owns slots 0-5460"),
        "{planned}"
    );
    assert!(planned.contains("ensure_met 3 nodes"), "{planned}");
}

#[test]
fn nothing_is_to_do_where_all_is_well() {
    for (shards, replicas) in [(1, 0), (1, 5), (3, 1), (5, 2)] {
        assert_eq!(Scene::whole(shards, replicas).planned(), "nothing to do\n");
    }
}

#[test]
fn a_stopped_node_is_started() {
    let mut scene = Scene::whole(3, 1);
    scene.silence("redis-5", WorkloadPhase::Stopped);
    insta::assert_snapshot!(scene.planned(), @"
    1. 1 workload running
       ensure_running redis-5: runs redis:7 at 10.0.0.5:6379, 256 MiB
    2. 1 workload healthy
       wait_healthy 1 workload: healthy, within 60 s
    3. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn a_node_that_its_supervisor_starts_again_is_waited_for() {
    let mut scene = Scene::whole(3, 1);
    let last = Ending::Signal(9);
    let pause = Duration::from_millis(500);
    scene.silence("redis-5", WorkloadPhase::Restarting { last, pause });
    insta::assert_snapshot!(scene.planned(), @"
    1. 1 workload healthy
       wait_healthy 1 workload: healthy, within 60 s
    2. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    warning[SY2214] redis-5: it ended with signal 9 and is started again in 500 ms (help: shardyard logs orders redis-5)
    ");
}

#[test]
fn a_node_that_is_held_is_a_critical_finding_and_nothing_waits_for_ready() {
    let mut scene = Scene::whole(3, 1);
    let reason = "it has lost its data".to_owned();
    scene.silence("redis-1", WorkloadPhase::Held { reason });
    insta::assert_snapshot!(scene.planned(), @"
    1. 1 workload healthy
       wait_healthy 1 workload: healthy, within 60 s
    critical[SY2213] redis-1: it is kept from starting: it has lost its data (help: shardyard logs orders redis-1)
    ");
}

#[test]
fn a_node_with_an_older_definition_is_noticed_and_left_running() {
    let mut scene = Scene::whole(3, 1);
    scene.found("redis-2").fingerprint = Some(Fingerprint(7));
    insta::assert_snapshot!(scene.planned(), @"notice[SY2215] redis-2: it runs with an older definition until its next start");
    assert!(scene.plan().is_empty());
}

#[test]
fn a_server_that_is_not_our_node_stops_everything() {
    let mut scene = Scene::whole(3, 1);
    scene.silence("redis-5", WorkloadPhase::Stopped);
    scene.peer("redis-2", 2).id = id(77);
    scene.knows("redis-2").id = id(77);
    insta::assert_snapshot!(scene.planned(), @"
    critical[SY2210] redis-2: the server at 10.0.0.2:6379 is node 4d4d4d4d, and ours is 02020202 (help: stop the server that has taken its place)
    critical[SY2210] redis-2: it is in a cluster with 4d4d4d4d at 10.0.0.2:6379, which is not one of ours (help: find out whose it is; two clusters that merge lose data)
    ");
}

#[test]
fn a_cluster_with_somebody_elses_node_stops_everything() {
    let mut scene = Scene::whole(3, 1);
    scene.silence("redis-5", WorkloadPhase::Stopped);
    let mut other = scene.peer("redis-3", 1).clone();
    (other.id, other.address) = (id(88), Some(address(88)));
    scene.knows("redis-3").peers.push(other.clone());
    insta::assert_snapshot!(scene.planned(), @"critical[SY2210] redis-3: it is in a cluster with 58585858 at 10.0.0.88:6379, which is not one of ours (help: find out whose it is; two clusters that merge lose data)");
    // A handshake is no acquaintance yet; it ends by itself.
    scene.knows("redis-3").peers.pop();
    other.in_handshake = true;
    scene.knows("redis-3").peers.push(other);
    assert!(scene.planned().contains("ensure_running redis-5"));
}

#[test]
fn a_node_that_follows_nobody_copies_its_shards_primary() {
    let mut scene = Scene::whole(3, 1);
    scene.peer("redis-6", 6).role = PeerRole::Primary;
    scene.says("redis-6").replication = Replication::Primary {
        offset: 0,
        replicas: Vec::new(),
    };
    insta::assert_snapshot!(scene.planned(), @"
    1. the nodes know each other, and the replicas copy
       ensure_replicas 06060606 (10.0.0.6:6379): copy 03030303 (10.0.0.3:6379)
    2. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn replicas_copy_who_owns_the_slots_now_not_who_was_planned_to() {
    let mut scene = Scene::whole(3, 1);
    let slots = std::mem::take(&mut scene.peer("redis-1", 1).slots);
    let heir = scene.peer("redis-4", 4);
    (heir.role, heir.slots, heir.epoch) = (PeerRole::Primary, slots, Epoch(4));
    let planned = scene.planned();
    let copy = "ensure_replicas 01010101 (10.0.0.1:6379): copy 04040404 (10.0.0.4:6379)";
    assert!(planned.contains(copy), "{planned}");
}

#[test]
fn a_node_that_another_does_not_know_is_met() {
    let mut scene = Scene::whole(3, 1);
    scene.knows("redis-2").peers.retain(|it| it.id != id(6));
    let planned = scene.planned();
    assert!(planned.contains("ensure_met 6 nodes"), "{planned}");
    // But nothing is asked of nodes while one of them cannot be.
    scene.silence("redis-5", WorkloadPhase::Stopped);
    let planned = scene.planned();
    assert!(!planned.contains("ensure_met"), "{planned}");
}

#[test]
fn slots_that_nobody_owns_after_delivery_are_never_guessed() {
    let mut scene = Scene::whole(3, 1);
    for number in 1..=6 {
        scene.peer(&format!("redis-{number}"), 2).slots.clear();
    }
    insta::assert_snapshot!(scene.planned(), @"critical[SY2202] cluster: nobody owns slots 5461-10922 (help: nothing is given away by guessing; find out who owned them)");
}

#[test]
fn slots_of_a_silent_node_are_not_called_unowned() {
    let mut scene = Scene::whole(3, 0);
    for number in 1..=3 {
        scene.peer(&format!("redis-{number}"), 2).slots.clear();
    }
    scene.silence("redis-2", WorkloadPhase::Running { healthy: false });
    let planned = scene.planned();
    assert!(!planned.contains("SY2202"), "{planned}");
}

/// Servers that a job makes a cluster of, as redis-trib does: a web service starts last.
fn with_job() -> Scene {
    let mut spec = spec(3, 1);
    spec.services[0].cluster = None;
    let mut trib = service("redis-trib", ServiceKind::Job, 1);
    trib.deployment.start_level = 1;
    let mut web = service("web", ServiceKind::Server, 2);
    web.image = model::image::ImageRef::parse("nginx:1.27").unwrap();
    web.deployment.start_level = 2;
    spec.services.splice(0..0, [web, trib]);
    Scene::nothing(spec, redis_7())
}

#[test]
fn services_start_level_by_level_and_a_job_is_done_before_what_follows() {
    insta::assert_snapshot!(with_job().planned(), @"
    1. 6 workloads running
       ensure_running redis-1: runs redis:7 at 10.0.0.4:6379, 256 MiB
       ensure_running redis-2: runs redis:7 at 10.0.0.5:6379, 256 MiB
       ensure_running redis-3: runs redis:7 at 10.0.0.6:6379, 256 MiB
       ensure_running redis-4: runs redis:7 at 10.0.0.7:6379, 256 MiB
       ensure_running redis-5: runs redis:7 at 10.0.0.8:6379, 256 MiB
       ensure_running redis-6: runs redis:7 at 10.0.0.9:6379, 256 MiB
    2. 6 workloads healthy
       wait_healthy 6 workloads: healthy, within 60 s
    3. 1 job done
       ensure_done redis-trib-1: runs redis:7 to its end
    4. 2 workloads running
       ensure_running web-1: runs nginx:1.27 at 10.0.0.1:6379, 256 MiB
       ensure_running web-2: runs nginx:1.27 at 10.0.0.2:6379, 256 MiB
    5. 2 workloads healthy
       wait_healthy 2 workloads: healthy, within 60 s
    6. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    ");
}

#[test]
fn a_job_runs_until_it_has_come_to_a_good_end_and_never_after_delivery() {
    for (phase, delivered, expected) in [
        (None, false, true),
        (Some(WorkloadPhase::Ended(Ending::Exit(1))), false, true),
        (Some(WorkloadPhase::Ended(Ending::Unseen)), false, true),
        (Some(WorkloadPhase::Ended(Ending::Exit(0))), false, false),
        (Some(WorkloadPhase::Ended(Ending::Exit(1))), true, false),
        (None, true, false),
    ] {
        let mut scene = with_job();
        scene.instance.delivered = delivered;
        if let Some(phase) = phase.clone() {
            scene.run(&name("redis-trib-1"));
            scene.found("redis-trib-1").phase = phase;
        }
        let runs = scene.planned().contains("ensure_done redis-trib-1");
        assert_eq!(runs, expected, "{phase:?}, delivered: {delivered}");
    }
}

#[test]
fn the_hook_after_the_creation_runs_once_all_is_ready_and_only_then() {
    let mut spec = spec(3, 0);
    spec.services.push(service("fill", ServiceKind::Job, 1));
    spec.hooks.after_create = Some(ServiceName::new("fill").unwrap());
    let scene = Scene::nothing(spec.clone(), redis_99());
    insta::assert_snapshot!(scene.planned(), @"
    1. 3 workloads running
       ensure_running redis-1: runs redis:7 at 10.0.0.1:6379, 256 MiB
       ensure_running redis-2: runs redis:7 at 10.0.0.2:6379, 256 MiB
       ensure_running redis-3: runs redis:7 at 10.0.0.3:6379, 256 MiB
    2. 3 workloads healthy
       wait_healthy 3 workloads: healthy, within 60 s
    3. every slot has an owner
       ensure_slots 01010101 (10.0.0.1:6379): owns slots 0-5460 (epoch 1)
       ensure_slots 02020202 (10.0.0.2:6379): owns slots 5461-10922 (epoch 2)
       ensure_slots 03030303 (10.0.0.3:6379): owns slots 10923-16383 (epoch 3)
    4. the nodes know each other, and the replicas copy
       ensure_met 3 nodes: know each other
    5. the primaries serve, and all agree
       ensure_serving 01010101 (10.0.0.1:6379): serves without waiting for the rejoin delay
       ensure_serving 02020202 (10.0.0.2:6379): serves without waiting for the rejoin delay
       ensure_serving 03030303 (10.0.0.3:6379): serves without waiting for the rejoin delay
       wait_agreed 3 nodes: agreed on who is what and owns what, within 60 s
    6. the cluster is ready
       wait_ready 3 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    7. fill done, after the creation
       ensure_done fill-1: runs redis:7 to its end
    ");
    let mut scene = Scene::nothing(spec, redis_99());
    scene.instance.delivered = true;
    assert!(
        !scene.planned().contains("fill"),
        "delivered, {}",
        scene.planned()
    );
    scene.instance.delivered = false;
    scene.run(&name("redis-1"));
    let reason = "why".to_owned();
    scene.silence("redis-1", WorkloadPhase::Held { reason });
    assert!(
        !scene.planned().contains("fill"),
        "never ready, {}",
        scene.planned()
    );
}

#[test]
fn a_plan_says_from_which_view_it_was_made() {
    let scene = Scene::whole(3, 1);
    let mut other = scene.clone();
    assert_eq!(scene.plan().based_on, other.plan().based_on);
    other.silence("redis-5", WorkloadPhase::Stopped);
    assert_ne!(scene.plan().based_on, other.plan().based_on);
}
