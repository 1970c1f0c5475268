//! Delivery where nothing goes wrong: every size, every way to begin.

use std::time::Duration;

use model::image::ServerVersion;
use testkit::{Owed, simulate};
use tokio::time::sleep;

use crate::stage::{Size, Stage, THREE_BY_TWO, redis_6, redis_7, valkey_9};

/// Delivers from nothing, and once more.
fn check(version: ServerVersion, size: Size) {
    simulate(async {
        let stage = Stage::new(1, version, size);
        assert!(stage.up().await.unwrap(), "{size:?}");
        assert_eq!(
            stage.complaints(Owed::Acknowledged).await,
            [""; 0],
            "{version} {size:?}"
        );
        assert!(!stage.up().await.unwrap(), "{size:?}");
    });
}

#[test]
fn from_nothing_to_ready_and_a_second_time_there_is_nothing_to_do() {
    for version in [redis_7(), valkey_9(), redis_6()] {
        check(version, THREE_BY_TWO);
    }
}

#[test]
fn what_is_taken_down_comes_back_with_its_data() {
    for version in [redis_7(), valkey_9(), redis_6()] {
        simulate(async {
            let stage = Stage::new(1, version, THREE_BY_TWO);
            stage.up().await.unwrap();
            let pause = Duration::from_millis(7);
            stage.world.write_all_the_time(pause, 16, 1);
            sleep(Duration::from_secs(1)).await;
            stage.world.pause_writes(true);
            sleep(Duration::from_secs(1)).await;
            stage.down().await.unwrap();
            // Twice is once.
            stage.down().await.unwrap();
            sleep(Duration::from_secs(5)).await;
            assert!(stage.up().await.unwrap(), "{version}");
            let wrong = stage.complaints(Owed::Acknowledged).await;
            assert_eq!(wrong, [""; 0], "{version}");
            let ledger = stage.world.ledger();
            assert!(!ledger.acknowledged.is_empty(), "{version}: {ledger:?}");
        });
    }
}
