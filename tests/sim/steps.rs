//! Each single step goes wrong in each way there is, and a plain `up` puts it right.

use std::time::Duration;

use model::image::ServerVersion;
use testkit::{Fate, How, Mishap, Owed, simulate};

use crate::stage::{Size, Stage, THREE_BY_TWO, redis_6, redis_7, valkey_9};

/// Every way in which a step can go wrong.
const WAYS: [How; 6] = [
    How::FailsBefore,
    How::FailsAfter,
    How::ToolDiesBefore,
    How::ToolDiesAfter,
    How::DoesNothing,
    How::TakesLonger(Duration::from_secs(3)),
];

const SEED: u64 = 7;

/// How many calls and commands a delivery takes where nothing goes wrong.
fn counted(version: ServerVersion, size: Size) -> (u32, u32) {
    simulate(async {
        let stage = begin(version, size);
        stage.up().await.unwrap();
        assert_eq!(stage.world.changed_settings(), [""; 0]);
        stage.world.counted()
    })
}

/// A driver, and a client that writes as soon as it can.
fn begin(version: ServerVersion, size: Size) -> Stage {
    let stage = Stage::designed(SEED, version, size);
    let copies = usize::from(size.replicas);
    let pause = Duration::from_millis(7);
    stage.world.write_all_the_time(pause, 16, copies);
    stage
}

/// A delivery in which this goes wrong, and then a plain one.
fn check(version: ServerVersion, size: Size, mishap: &Mishap) {
    simulate(async {
        let stage = begin(version, size);
        let world = &stage.world;
        world.plan(mishap.clone());
        let first = world.until_killed(stage.up()).await;
        let (_, fate) = world.fates().remove(0);
        assert_eq!(fate, Fate::Struck, "{version} {mishap:?}");
        let told = format!("{version} {size:?} {mishap:?}: first {first:?}");
        let again = stage.up().await;
        assert!(again.is_ok(), "{told}, then {again:?}");
        let wrong = stage.complaints(Owed::Acknowledged).await;
        assert_eq!(wrong, [""; 0], "{told}");
        let ledger = world.ledger();
        assert!(!ledger.acknowledged.is_empty(), "{told}: {ledger:?}");
    });
}

fn check_each_step(version: ServerVersion, size: Size) {
    let (calls, commands) = counted(version, size);
    for how in WAYS {
        for number in 1..=calls {
            check(version, size, &Mishap::Call { number, how });
        }
        for number in 1..=commands {
            check(version, size, &Mishap::Command { number, how });
        }
    }
    let steps = calls + commands;
    eprintln!("{version}, {size:?}: {steps} steps, {} runs", steps * 6);
}

#[test]
fn each_step_of_a_start_with_exchanged_roles() {
    check_each_step(redis_7(), THREE_BY_TWO);
}

#[test]
fn each_step_of_a_start_with_prepared_files() {
    check_each_step(valkey_9(), THREE_BY_TWO);
}

#[test]
fn each_step_of_a_start_by_meeting() {
    check_each_step(redis_6(), THREE_BY_TWO);
}
