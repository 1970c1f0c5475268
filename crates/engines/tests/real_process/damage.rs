//! Records that are damaged, out of date, or lie.

use std::fs;

use model::port::Engine;
use model::view::WorkloadPhase;
use rustix::process::Signal;

use crate::fixture::{Stage, has_ended, processes_of, signal, until};

const RUNNING: WorkloadPhase = WorkloadPhase::Running { healthy: true };

#[tokio::test]
async fn a_process_that_has_the_number_of_a_dead_server_is_left_alone() {
    let stage = Stage::new("reused");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    signal(stage.supervisor(), Signal::KILL);
    signal(stage.pid(&redis), Signal::KILL);
    until("all are gone", || processes_of(&stage.home).is_empty());
    let mut stranger = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let path = stage.workload_folder(&redis).join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    state["process"]["pid"] = stranger.id().into();
    fs::write(&path, state.to_string()).unwrap();

    assert_ne!(stage.phase(&redis).await, RUNNING);
    stage.run(&redis).await.unwrap();
    assert_eq!(stage.phase(&redis).await, RUNNING);
    stage.stop(&redis).await.unwrap();
    stage.delete(&redis).await.unwrap();
    assert!(
        stranger.try_wait().unwrap().is_none(),
        "a stranger was ended"
    );
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_running_server_is_found_again_whatever_became_of_its_records() {
    let stage = Stage::new("damaged");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let (pid, folder) = (stage.pid(&redis), stage.workload_folder(&redis));
    for state in [Some(""), Some("{\"course\":\"runn"), Some("null"), None] {
        signal(stage.supervisor(), Signal::KILL);
        until("it is gone", || processes_of(&stage.home) == [pid]);
        match state {
            Some(text) => fs::write(folder.join("state.json"), text).unwrap(),
            None => fs::remove_file(folder.join("state.json")).unwrap(),
        }
        let view = stage.view(&redis).await.unwrap();
        assert_eq!(view.phase, RUNNING, "{state:?}");
        assert_eq!(view.fingerprint, Some(redis.fingerprint()), "{state:?}");
        stage.run(&redis).await.unwrap();
        assert_eq!(stage.pid(&redis), pid, "{state:?}");
        assert!(stage.questions().is_empty());
    }
}

#[tokio::test]
async fn a_running_server_whose_definition_is_lost_needs_a_restart() {
    let stage = Stage::new("lost");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let pid = stage.pid(&redis);
    signal(stage.supervisor(), Signal::KILL);
    until("it is gone", || processes_of(&stage.home) == [pid]);
    fs::write(
        stage.workload_folder(&redis).join("launch.json"),
        "{\"finger",
    )
    .unwrap();
    fs::write(stage.workload_folder(&redis).join("state.json"), "{").unwrap();
    let fault = stage.run(&redis).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3010", "{fault}");
    assert!(!has_ended(pid));
    stage.stop(&redis).await.unwrap();
    stage.run(&redis).await.unwrap();
    assert_eq!(stage.phase(&redis).await, RUNNING);
}

#[tokio::test]
async fn a_stopped_server_with_damaged_records_starts_when_it_is_asked_for() {
    let stage = Stage::new("stopped");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    stage.stop(&redis).await.unwrap();
    for name in ["state.json", "launch.json"] {
        fs::write(stage.workload_folder(&redis).join(name), "{").unwrap();
    }
    assert_eq!(stage.phase(&redis).await, WorkloadPhase::Stopped);
    stage.run(&redis).await.unwrap();
    assert_eq!(stage.phase(&redis).await, RUNNING);
}

#[tokio::test]
async fn a_server_that_was_told_to_stop_is_stopped_by_the_next_supervisor() {
    let stage = Stage::new("half-stopped");
    let mut script = stage.script("web-1", "trap '' TERM; while :; do sleep 0.05; done");
    script.stop_timeout = std::time::Duration::from_millis(500);
    stage.run(&script).await.unwrap();
    let pid = stage.pid(&script);
    // Cut off between the order and the end.
    let path = stage.workload_folder(&script).join("state.json");
    let stopping = stage.stop(&script);
    let cut = async {
        loop {
            let state = fs::read_to_string(&path).unwrap();
            if state.contains("stopped") {
                signal(stage.supervisor(), Signal::KILL);
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let (stopped, ()) = tokio::join!(stopping, cut);
    stopped.unwrap();
    until("it is gone", || has_ended(pid));
    assert_eq!(stage.phase(&script).await, WorkloadPhase::Stopped);
    assert!(stage.questions().is_empty());
}

#[tokio::test]
async fn a_removed_server_leaves_its_neighbours_alone() {
    let stage = Stage::new("neighbours");
    let (one, two) = (stage.redis(1), stage.redis(2));
    for redis in [&one, &two] {
        stage.run(redis).await.unwrap();
    }
    let outside = stage.home.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let link = stage.workload_folder(&one).join("volumes/data/link");
    std::os::unix::fs::symlink(&outside, link).unwrap();
    stage.delete(&one).await.unwrap();
    assert!(!stage.workload_folder(&one).exists());
    assert!(outside.join("precious").exists());
    assert_eq!(stage.phase(&two).await, RUNNING);
    assert_eq!(
        fs::read_dir(stage.folder().join("deleted"))
            .unwrap()
            .count(),
        0
    );
}

/// The supervisor is killed at another moment in each turn, from its own start to after that of
/// the servers. Whatever was cut off, the same steps come to the same end, with one process each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_may_be_killed_at_any_moment() {
    let stage = std::sync::Arc::new(Stage::new("any-moment"));
    let servers: Vec<_> = (1..=3).map(|number| stage.redis(number)).collect();
    for turn in 0..24 {
        let (lock, done) = (stage.folder().join("supervisor.lock"), turn * 1500);
        let _ = fs::remove_file(&lock);
        let killer = tokio::task::spawn_blocking(move || {
            until("a supervisor has begun", || {
                fs::read_to_string(&lock).is_ok_and(|pid| pid.ends_with('\n'))
            });
            std::thread::sleep(std::time::Duration::from_micros(done));
            let pid = fs::read_to_string(&lock).unwrap();
            signal(pid.trim().parse().unwrap(), Signal::KILL);
        });
        let runs = servers.iter().cloned().map(|redis| {
            let stage = std::sync::Arc::clone(&stage);
            tokio::spawn(async move { stage.run(&redis).await })
        });
        for run in runs.collect::<Vec<_>>() {
            run.await
                .unwrap()
                .unwrap_or_else(|fault| panic!("turn {turn}: {fault:?}"));
        }
        killer.await.unwrap();
        for redis in &servers {
            stage.run(redis).await.unwrap();
            assert_eq!(stage.phase(redis).await, RUNNING, "turn {turn}");
        }
        assert_eq!(processes_of(&stage.home).len(), 4, "turn {turn}");
        for redis in &servers {
            stage.stop(redis).await.unwrap();
        }
        stage.engine.release(&stage.instance).await.unwrap();
        until("nothing is left", || processes_of(&stage.home).is_empty());
    }
    assert!(
        stage.questions().is_empty(),
        "a planned start was asked about"
    );
}

/// Commands that want opposite things at once: whoever comes last wins, and nothing is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_cross_leave_one_process_or_none() {
    let stage = std::sync::Arc::new(Stage::new("crossing"));
    let redis = stage.redis(1);
    for _ in 0..10 {
        let orders = (0..8).map(|number| {
            let (stage, redis) = (std::sync::Arc::clone(&stage), redis.clone());
            tokio::spawn(async move {
                match number % 3 {
                    0 => drop(stage.stop(&redis).await),
                    1 => drop(stage.run(&redis).await),
                    _ => drop(stage.delete(&redis).await),
                }
            })
        });
        for order in orders.collect::<Vec<_>>() {
            order.await.unwrap();
        }
        assert!(processes_of(&stage.home).len() <= 2);
        stage.run(&redis).await.unwrap();
        stage.until_answers(1);
        assert_eq!(processes_of(&stage.home).len(), 2);
    }
    stage.delete(&redis).await.unwrap();
    assert!(processes_of(&stage.home).is_empty());
}
