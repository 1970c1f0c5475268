//! A primary that lost its data does not come back as one.

use model::ids::Epoch;
use model::view::{Ending, Replication, ReplicationLink, Storage, StoredIdentity, WorkloadPhase};

use crate::fixture::{Scene, address, id};

/// The folder is there, and so is its `nodes.conf`, but no data.
fn lose_data(scene: &mut Scene, text: &str) {
    scene.silence(text, WorkloadPhase::Stopped);
    scene.found(text).storage.has_dataset = false;
}

/// Nothing is left of the folder.
fn lose_disk(scene: &mut Scene, text: &str) {
    scene.silence(text, WorkloadPhase::Stopped);
    scene.found(text).storage = Storage::default();
}

#[test]
fn a_primary_without_data_starts_once_the_copy_with_data_is_primary() {
    let mut scene = Scene::whole(3, 1);
    lose_data(&mut scene, "redis-1");
    insta::assert_snapshot!(scene.planned(), @"
    1. the copies with data are primaries
       ensure_promoted 04040404 (10.0.0.4:6379): become primary by vote, instead of 01010101 (10.0.0.1:6379)
    2. the nodes without data running, as replicas
       ensure_running redis-1: runs redis:7 at 10.0.0.1:6379, 256 MiB
    3. 1 workload healthy
       wait_healthy 1 workload: healthy, within 60 s
    4. the cluster is ready
       wait_ready 6 nodes: ready: all slots served, all replicas linked and caught up, within 60 s
    warning[SY2217] redis-1: the primary of shard 1 has lost its data; 04040404 (10.0.0.4:6379) is promoted before it starts
    ");
}

#[test]
fn a_primary_without_a_disk_is_fenced_too() {
    let mut scene = Scene::whole(3, 1);
    lose_disk(&mut scene, "redis-1");
    let planned = scene.planned();
    assert!(planned.contains("warning[SY2217] redis-1"), "{planned}");
    let promotion = planned.find("ensure_promoted 04040404").unwrap();
    let start = planned.find("ensure_running redis-1").unwrap();
    assert!(promotion < start, "{planned}");
}

#[test]
fn the_copy_with_the_most_data_follows_on() {
    let mut scene = Scene::whole(3, 2);
    lose_data(&mut scene, "redis-1");
    scene.says("redis-7").replication = Replication::Replica {
        of: address(1).to_string(),
        link: ReplicationLink::Down { seconds: 5 },
        offset: 1001,
    };
    let planned = scene.planned();
    assert!(planned.contains("ensure_promoted 07070707"), "{planned}");
}

#[test]
fn the_owner_by_the_highest_epoch_is_fenced_not_the_planned_one() {
    // Redis-4 took over from redis-1 long ago, then all were stopped, and redis-4 lost its data.
    let mut scene = Scene::whole(3, 1);
    for number in 1..=6 {
        scene.silence(&format!("redis-{number}"), WorkloadPhase::Stopped);
    }
    let storage = &mut scene.found("redis-4").storage;
    storage.has_dataset = false;
    storage.identity = Some(StoredIdentity {
        id: id(4),
        owns_slots: true,
        epoch: Epoch(4),
    });
    let planned = scene.planned();
    assert!(planned.contains("warning[SY2217] redis-4"), "{planned}");
    assert!(planned.contains("ensure_promoted 01010101"), "{planned}");
    let first = planned
        .lines()
        .take_while(|line| !line.starts_with("2."))
        .collect::<String>();
    assert!(
        first.contains("ensure_running redis-1") && !first.contains("redis-4"),
        "{planned}"
    );
}

#[test]
fn a_primary_whose_process_runs_is_not_fenced() {
    let mut scene = Scene::whole(3, 1);
    scene.found("redis-1").storage.has_dataset = false;
    assert_eq!(scene.planned(), "nothing to do\n");
}

#[test]
fn a_replica_without_data_simply_starts() {
    let mut scene = Scene::whole(3, 1);
    lose_disk(&mut scene, "redis-4");
    let planned = scene.planned();
    assert!(
        planned.starts_with("1. 1 workload running\n   ensure_running redis-4"),
        "{planned}"
    );
    assert!(!planned.contains("SY2217"), "{planned}");
}

#[test]
fn a_shard_without_keys_is_no_loss() {
    let mut scene = Scene::whole(3, 1);
    scene.without_keys();
    lose_data(&mut scene, "redis-1");
    let planned = scene.planned();
    assert!(planned.contains("ensure_running redis-1"), "{planned}");
    assert!(!planned.contains("SY2217"), "{planned}");
}

#[test]
fn a_shard_without_keys_whose_primary_forgot_its_slots_gets_another_primary() {
    let mut scene = Scene::whole(3, 1);
    scene.without_keys();
    lose_disk(&mut scene, "redis-1");
    let planned = scene.planned();
    assert!(planned.contains("ensure_promoted 04040404"), "{planned}");
}

#[test]
fn after_a_full_stop_nobody_starts_empty_before_the_others_have_said_who_is_primary() {
    let mut scene = Scene::whole(3, 1);
    for number in 1..=6 {
        scene.silence(&format!("redis-{number}"), WorkloadPhase::Stopped);
    }
    // Redis-4, which copied redis-1, would copy its emptiness.
    lose_disk(&mut scene, "redis-1");
    insta::assert_snapshot!(scene.planned(), @"
    1. 5 workloads running
       ensure_running redis-2: runs redis:7 at 10.0.0.2:6379, 256 MiB
       ensure_running redis-3: runs redis:7 at 10.0.0.3:6379, 256 MiB
       ensure_running redis-4: runs redis:7 at 10.0.0.4:6379, 256 MiB
       ensure_running redis-5: runs redis:7 at 10.0.0.5:6379, 256 MiB
       ensure_running redis-6: runs redis:7 at 10.0.0.6:6379, 256 MiB
    2. 5 workloads healthy
       wait_healthy 5 workloads: healthy, within 60 s
    warning[SY2217] redis-1: nothing is left of it; it starts once the other nodes say who is the primary of shard 1
    ");
    let mut next = Scene::whole(3, 1);
    lose_disk(&mut next, "redis-1");
    let planned = next.planned();
    assert!(planned.contains("ensure_promoted 04040404"), "{planned}");
}

#[test]
fn what_only_the_others_remember_is_found_out_before_anything_starts_empty() {
    // Redis-4 had taken over from redis-1, which was down since; then all stopped, and nothing is
    // left of redis-4. Redis-1 believes that it is the primary, the other shards know better.
    let mut scene = Scene::whole(3, 1);
    for number in 1..=6 {
        scene.silence(&format!("redis-{number}"), WorkloadPhase::Stopped);
    }
    lose_disk(&mut scene, "redis-4");
    let planned = scene.planned();
    assert!(
        planned.contains("warning[SY2217] redis-4: nothing is left of it"),
        "{planned}"
    );
    assert!(!planned.contains("ensure_running redis-4"), "{planned}");
}

#[test]
fn where_only_undecided_nodes_are_left_ready_is_waited_for_after_all() {
    // Nobody claims the slots of the first shard, and nothing else can be done.
    let mut scene = Scene::whole(3, 1);
    lose_disk(&mut scene, "redis-1");
    for number in 2..=6 {
        scene.peer(&format!("redis-{number}"), 1).slots.clear();
    }
    let planned = scene.planned();
    assert!(planned.contains("wait_ready"), "{planned}");
}

#[test]
fn a_primary_that_its_supervisor_holds_is_let_go_once_its_heir_is_promoted() {
    let mut scene = Scene::whole(3, 1);
    lose_data(&mut scene, "redis-1");
    let reason = "it has lost its data".to_owned();
    scene.found("redis-1").phase = WorkloadPhase::Held { reason };
    let planned = scene.planned();
    let promotion = planned.find("ensure_promoted 04040404").unwrap();
    let start = planned.find("ensure_running redis-1").unwrap();
    assert!(promotion < start, "{planned}");
}

#[test]
fn what_was_delivered_and_has_lost_everything_is_not_started() {
    let mut scene = Scene::whole(3, 0);
    lose_disk(&mut scene, "redis-2");
    insta::assert_snapshot!(scene.planned(), @"critical[SY2217] redis-2: nothing is left of it, nor of any other copy of shard 2; it is not started, because it would begin empty (help: put a data folder of the shard back)");
}

#[test]
fn what_was_never_delivered_has_nothing_to_lose() {
    let mut scene = Scene::whole(3, 0);
    scene.instance.delivered = false;
    scene.without_keys();
    lose_disk(&mut scene, "redis-2");
    scene.found("redis-2").phase = WorkloadPhase::Ended(Ending::Unseen);
    let planned = scene.planned();
    assert!(planned.contains("ensure_running redis-2"), "{planned}");
    assert!(!planned.contains("SY2217"), "{planned}");
}

#[test]
fn everything_gone_from_a_delivered_instance_starts_nothing_anew() {
    let mut scene = Scene::whole(3, 1);
    for number in 1..=6 {
        lose_disk(&mut scene, &format!("redis-{number}"));
    }
    insta::assert_snapshot!(scene.planned(), @"
    critical[SY2217] redis-1: nothing is left of it, nor of any other copy of shard 1; it is not started, because it would begin empty (help: put a data folder of the shard back)
    critical[SY2217] redis-4: nothing is left of it, nor of any other copy of shard 1; it is not started, because it would begin empty (help: put a data folder of the shard back)
    critical[SY2217] redis-2: nothing is left of it, nor of any other copy of shard 2; it is not started, because it would begin empty (help: put a data folder of the shard back)
    critical[SY2217] redis-5: nothing is left of it, nor of any other copy of shard 2; it is not started, because it would begin empty (help: put a data folder of the shard back)
    critical[SY2217] redis-3: nothing is left of it, nor of any other copy of shard 3; it is not started, because it would begin empty (help: put a data folder of the shard back)
    critical[SY2217] redis-6: nothing is left of it, nor of any other copy of shard 3; it is not started, because it would begin empty (help: put a data folder of the shard back)
    ");
}
