//! Delivery where nothing goes wrong: every size, every way to begin.

use model::image::ServerVersion;
use testkit::{Owed, simulate};

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
