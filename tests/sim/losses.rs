//! What the world loses before, during and after a delivery: processes, data, disks, power.

use std::time::Duration;

use model::image::ServerVersion;
use testkit::{Blow, Complaint, Fate, Mishap, Owed, simulate};
use tokio::time::sleep;

use crate::stage::{Size, Stage, THREE_BY_TWO, redis_6, redis_7, valkey_9, workload};

const SEED: u64 = 11;

fn begin(version: ServerVersion, size: Size) -> Stage {
    let stage = Stage::designed(SEED, version, size);
    let copies = usize::from(size.replicas);
    let pause = Duration::from_millis(7);
    stage.world.write_all_the_time(pause, 16, copies);
    stage
}

/// What is wrong after a plain `up` on a delivered cluster of three shards that was written to,
/// and that these blows struck at once.
fn wrong_after(blows: &[Blow], is_guarded: bool) -> Vec<Complaint> {
    simulate(async {
        let stage = begin(redis_7(), THREE_BY_TWO);
        let _guard = is_guarded.then(|| stage.guard());
        stage.up().await.unwrap();
        sleep(Duration::from_secs(3)).await;
        strike(&stage, Duration::ZERO, blows);
        sleep(Duration::from_millis(1)).await;
        let again = stage.up().await;
        assert!(again.is_ok(), "{blows:?}, guarded: {is_guarded}: {again:?}");
        let fates = stage.world.fates();
        assert!(
            fates.iter().all(|(_, fate)| *fate == Fate::Struck),
            "{fates:?}"
        );
        stage.complaints(Owed::Acknowledged).await
    })
}

/// Nothing is wrong then, with the guard and without.
fn check(blows: &[Blow]) {
    for is_guarded in [true, false] {
        let wrong = wrong_after(blows, is_guarded);
        assert_eq!(wrong, [""; 0], "{blows:?}, guarded: {is_guarded}");
    }
}

fn strike(stage: &Stage, after: Duration, blows: &[Blow]) {
    let at = model::port::Clock::now(&stage.world.clock()) + after;
    for what in blows {
        let what = what.clone();
        stage.world.plan(Mishap::Blow { at, what });
    }
}

fn dies(number: u16) -> Blow {
    Blow::ProcessDies(workload(number))
}

#[test]
fn a_primary_dies() {
    check(&[dies(1)]);
}

#[test]
fn a_replica_dies() {
    check(&[dies(4)]);
}

#[test]
fn a_whole_shard_dies() {
    check(&[dies(1), dies(4)]);
}

#[test]
fn a_majority_of_the_primaries_dies() {
    check(&[dies(1), dies(2)]);
}

#[test]
fn everything_dies() {
    check(&[Blow::PowerLost]);
}

/// A supervisor that asks nobody starts it again at once, and its replica copies the emptiness.
#[test]
fn a_primary_loses_its_data_and_only_the_guard_saves_its_replica_from_copying_that() {
    let blow = [Blow::DataLost(workload(1))];
    assert_eq!(wrong_after(&blow, true), [""; 0]);
    let wrong = wrong_after(&blow, false);
    assert!(
        wrong.iter().any(|it| it.ends_with("and is None")),
        "{wrong:?}"
    );
}

#[test]
fn a_primary_loses_its_disk() {
    check(&[Blow::DiskLost(workload(1))]);
}

#[test]
fn a_replica_loses_its_disk() {
    check(&[Blow::DiskLost(workload(4))]);
}

#[test]
fn power_is_lost_and_a_primarys_disk_with_it() {
    check(&[Blow::PowerLost, Blow::DiskLost(workload(1))]);
}

#[test]
fn power_is_lost_and_a_replicas_disk_with_it() {
    check(&[Blow::PowerLost, Blow::DiskLost(workload(4))]);
}

/// A delivery during which this happens so much after its beginning.
fn check_during(version: ServerVersion, after: Duration, blow: &Blow) {
    simulate(async {
        let stage = begin(version, THREE_BY_TWO);
        let _guard = stage.guard();
        strike(&stage, after, std::slice::from_ref(blow));
        let first = stage.up().await;
        let told = format!("{version}, {blow:?} after {after:?}: first {first:?}");
        sleep(after).await;
        let again = stage.up().await;
        assert!(again.is_ok(), "{told}, then {again:?}");
        assert_eq!(
            stage.complaints(Owed::Acknowledged).await,
            [""; 0],
            "{told}"
        );
    });
}

#[test]
fn a_node_dies_or_is_lost_at_any_moment_of_a_delivery() {
    for version in [redis_7(), valkey_9(), redis_6()] {
        for step in 0..40 {
            let after = Duration::from_millis(1 + 75 * step);
            for number in [1, 4] {
                let node = workload(number);
                for blow in [
                    Blow::ProcessDies(node.clone()),
                    Blow::DiskLost(node.clone()),
                    Blow::SlowStart {
                        workload: node,
                        by: Duration::from_secs(1),
                    },
                ] {
                    check_during(version, after, &blow);
                }
            }
        }
    }
}
