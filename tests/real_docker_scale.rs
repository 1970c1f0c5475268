//! Growing and shrinking on a real Docker daemon, under a client that appends.

use tests::{Appender, Shardyard, census, differences, is_docker_there, plant, without_functions};

/// How much later a key may expire after a move; see real_scale.rs.
const DRIFT_MS_MAX: i64 = 500;

#[test]
fn three_shards_of_containers_become_four_and_three_again_and_leave_nothing_behind() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    product.up(&["--memory", "128MiB"]);
    plant(&product);
    let before = census(&product);
    let appender = Appender::start(product.urls());
    for shards in ["4", "3"] {
        let name = product.name();
        let changed = product
            .ok(&["scale", name, "--shards", shards, "--yes", "-o", "json"])
            .json();
        let proof = &changed["proof"];
        assert!(proof["operations"].as_u64().unwrap() > 50, "{proof}");
        assert_eq!(proof["acknowledged_writes_lost"], 0, "{proof}");
    }
    let appended = appender.stop();
    assert!(appended.count() > 500, "{}", appended.count());
    assert_eq!(appended.faults(&product.urls()), Vec::<String>::new());
    let found = differences(&before, &census(&product), DRIFT_MS_MAX);
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(without_functions(&product), Vec::<String>::new());
    assert_eq!(product.state(), "ready");
    assert_eq!(product.steps_left(), 0);
    // Those that left do not run any more.
    let containers = tests::docker(&[
        "ps",
        "-q",
        "--filter",
        &format!("label=shardyard.instance={}", product.name()),
    ]);
    assert_eq!(containers.lines().count(), 6);
}
