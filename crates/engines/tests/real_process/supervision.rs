//! Supervisors and servers that die, in any order.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engines::process::SupervisorView;
use model::port::Engine;
use model::view::{Ending, WorkloadPhase};
use rustix::process::Signal;

use crate::fixture::{Stage, cli, has_ended, process_state, processes_of, program, signal, until};

const RUNNING: WorkloadPhase = WorkloadPhase::Running { healthy: true };

#[tokio::test]
async fn a_server_that_dies_is_started_again_after_the_guardian_agreed() {
    let stage = Stage::new("dies");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let before = stage.pid(&redis);
    let killed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    signal(before, Signal::KILL);
    until("the guardian is asked", || !stage.questions().is_empty());
    stage.until_phase(&redis, |phase| *phase == RUNNING).await;
    until("another process runs", || {
        cli(stage.ip(1), &["ping"]) == "PONG"
    });
    assert_ne!(stage.pid(&redis), before);
    assert_eq!(process_state(before), None, "a zombie is left");
    let questions = stage.questions();
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].1, "redis-1 signal 9");
    assert_eq!(stage.view(&redis).await.unwrap().restarts, 1);
    let waited = questions[0].0 - killed.as_nanos();
    println!("from the kill to the guardian: {} µs", waited / 1000);
    assert!(waited < 200_000_000, "{waited} ns");
}

#[tokio::test]
async fn a_held_server_stays_down_until_the_guardian_agrees() {
    let stage = Stage::new("held");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    fs::write(stage.home.join("hold"), "its data is gone").unwrap();
    signal(stage.pid(&redis), Signal::KILL);
    let held = WorkloadPhase::Held {
        reason: "its data is gone".to_owned(),
    };
    stage.until_phase(&redis, |phase| *phase == held).await;
    let fault = stage.run(&redis).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3011", "{fault}");
    assert!(fault.message.contains("its data is gone"));
    until("it is asked again and again", || {
        stage.questions().len() > 3
    });
    assert_eq!(stage.phase(&redis).await, held);
    fs::remove_file(stage.home.join("hold")).unwrap();
    stage.until_phase(&redis, |phase| *phase == RUNNING).await;
    stage.run(&redis).await.unwrap();
}

#[tokio::test]
async fn a_held_server_can_be_stopped() {
    let stage = Stage::new("held-stop");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    fs::write(stage.home.join("hold"), "why").unwrap();
    signal(stage.pid(&redis), Signal::KILL);
    stage
        .until_phase(&redis, |phase| matches!(phase, WorkloadPhase::Held { .. }))
        .await;
    stage.stop(&redis).await.unwrap();
    assert_eq!(stage.phase(&redis).await, WorkloadPhase::Stopped);
    let asked = stage.questions().len();
    stage.run(&redis).await.unwrap();
    assert_eq!(
        stage.questions().len(),
        asked,
        "a planned start was asked about"
    );
}

#[tokio::test]
async fn servers_outlive_a_killed_supervisor_and_are_found_again() {
    let stage = Stage::new("adopt");
    let servers = [stage.redis(1), stage.redis(2)];
    for redis in &servers {
        stage.run(redis).await.unwrap();
    }
    let before: Vec<i32> = servers.iter().map(|redis| stage.pid(redis)).collect();
    signal(stage.supervisor(), Signal::KILL);
    until("it is gone", || processes_of(&stage.home).len() == 2);
    // The kernel takes a process's name from it a moment before its locks.
    let began = Instant::now();
    while stage.engine.supervisor(&stage.instance).await != SupervisorView::Absent {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "it holds its lock"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stage.phase(&servers[0]).await, RUNNING);

    stage.run(&servers[0]).await.unwrap();
    let after: Vec<i32> = servers.iter().map(|redis| stage.pid(redis)).collect();
    assert_eq!(after, before);
    let supervisor = stage.engine.supervisor(&stage.instance).await;
    assert!(matches!(supervisor, SupervisorView::Answering { .. }));
    assert!(stage.questions().is_empty());

    // One that is no child of the new supervisor is started again like any other.
    signal(before[1], Signal::KILL);
    until("the guardian is asked", || !stage.questions().is_empty());
    assert_eq!(stage.questions()[0].1, "redis-2 unseen end");
    stage
        .until_phase(&servers[1], |phase| *phase == RUNNING)
        .await;
    stage.stop(&servers[0]).await.unwrap();
    until("it has ended", || has_ended(before[0]));
}

#[tokio::test]
async fn a_supervisor_that_is_told_to_end_leaves_its_servers_running() {
    let stage = Stage::new("leave");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let (pid, supervisor) = (stage.pid(&redis), stage.supervisor());
    signal(supervisor, Signal::HUP);
    stage.run(&redis).await.unwrap();
    assert_eq!(
        stage.supervisor(),
        supervisor,
        "the end of a terminal ended it"
    );
    signal(supervisor, Signal::TERM);
    until("it is gone", || has_ended(supervisor));
    stage.until_answers(1);
    stage.run(&redis).await.unwrap();
    assert_eq!(stage.pid(&redis), pid);
    assert_ne!(stage.supervisor(), supervisor);
}

#[tokio::test]
async fn what_died_without_a_supervisor_is_started_again_by_the_next_one() {
    let stage = Stage::new("unseen");
    let servers = [stage.redis(1), stage.redis(2)];
    for redis in &servers {
        stage.run(redis).await.unwrap();
    }
    signal(stage.supervisor(), Signal::KILL);
    signal(stage.pid(&servers[1]), Signal::KILL);
    until("both are gone", || processes_of(&stage.home).len() == 1);
    let ended = WorkloadPhase::Ended(Ending::Unseen);
    assert_eq!(stage.phase(&servers[1]).await, ended);
    stage.run(&servers[0]).await.unwrap();
    stage
        .until_phase(&servers[1], |phase| *phase == RUNNING)
        .await;
    assert_eq!(stage.questions()[0].1, "redis-2 unseen end");
}

#[tokio::test]
async fn a_stop_does_not_start_what_died_without_a_supervisor() {
    let stage = Stage::new("no-resume");
    let servers = [stage.redis(1), stage.redis(2)];
    for redis in &servers {
        stage.run(redis).await.unwrap();
    }
    signal(stage.supervisor(), Signal::KILL);
    for redis in &servers {
        signal(stage.pid(redis), Signal::KILL);
    }
    until("all are gone", || processes_of(&stage.home).is_empty());
    for redis in &servers {
        stage.stop(redis).await.unwrap();
        assert_eq!(stage.phase(redis).await, WorkloadPhase::Stopped);
    }
    assert!(stage.questions().is_empty());
    stage.engine.release(&stage.instance).await.unwrap();
    assert!(
        stage
            .workload_folder(&servers[0])
            .join("volumes/data")
            .exists()
    );
    assert!(!stage.folder().join("supervisor.lock").exists());
}

#[tokio::test]
async fn a_supervisor_without_callers_starts_again_what_died() {
    let stage = Stage::new("boot");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    signal(stage.supervisor(), Signal::KILL);
    signal(stage.pid(&redis), Signal::KILL);
    until("all are gone", || processes_of(&stage.home).is_empty());
    let mut by_hand = std::process::Command::new(program())
        .args(["supervise", "--home"])
        .arg(&stage.home)
        .arg(stage.instance.as_str())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    stage.until_phase(&redis, |phase| *phase == RUNNING).await;
    // A second one has nothing to do and says so by ending well.
    let second = std::process::Command::new(program())
        .args(["supervise", "--home"])
        .arg(&stage.home)
        .arg(stage.instance.as_str())
        .status()
        .unwrap();
    assert!(second.success());
    by_hand.kill().unwrap();
    by_hand.wait().unwrap();
}

#[tokio::test]
async fn two_commands_at_once_start_one_supervisor_and_one_server() {
    let stage = Stage::new("at-once");
    let redis = stage.redis(1);
    let others: Vec<_> = (0..8).map(|_| stage.other_engine()).collect();
    let step = model::step::EngineStep::EnsureRunning(Box::new(redis.clone()));
    let runs = others
        .iter()
        .map(|engine| engine.apply(&stage.instance, &step));
    let runs: Vec<_> = runs.collect();
    for outcome in join_all(runs).await {
        outcome.unwrap();
    }
    assert_eq!(processes_of(&stage.home).len(), 2);
    let log = fs::read_to_string(stage.folder().join("supervisor.log")).unwrap();
    assert_eq!(log.matches("started, pid").count(), 1, "{log}");
    assert_eq!(log.matches("supervisor: begins").count(), 1, "{log}");
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_server_that_keeps_dying_is_started_less_and_less_often() {
    let stage = Stage::new("crashing");
    let script = stage.script("web-1", "sleep 0.1; exit 7");
    stage.run(&script).await.unwrap();
    let paused = stage
        .until_phase(
            &script,
            |phase| matches!(phase, WorkloadPhase::Restarting { pause, .. } if !pause.is_zero()),
        )
        .await;
    let WorkloadPhase::Restarting { last, pause } = paused else {
        panic!("{paused:?}");
    };
    assert_eq!(last, Ending::Exit(7));
    assert!(pause <= Duration::from_millis(500), "{pause:?}");
    let begun = Instant::now();
    stage.run(&script).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_millis(450),
        "an order waited for the pause"
    );
}

#[tokio::test]
async fn what_a_dead_server_left_behind_is_ended_before_the_next_starts() {
    let stage = Stage::new("stragglers");
    // The child writes on after its parent, as the child of a server does that saves its data.
    let script = stage.script("web-1", "sleep 1000 & echo $! > child; exec sleep 1000");
    stage.run(&script).await.unwrap();
    let child = stage.workload_folder(&script).join("work/child");
    until("the child runs", || {
        fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n'))
    });
    let child: i32 = fs::read_to_string(child).unwrap().trim().parse().unwrap();
    signal(stage.pid(&script), Signal::KILL);
    until("the guardian is asked", || !stage.questions().is_empty());
    until("the child is ended", || has_ended(child));
    // The same where the supervisor that knew the group is gone.
    stage.until_phase(&script, |phase| *phase == RUNNING).await;
    let (child, leader) = (
        stage.workload_folder(&script).join("work/child"),
        stage.pid(&script),
    );
    let child: i32 = fs::read_to_string(child).unwrap().trim().parse().unwrap();
    signal(stage.supervisor(), Signal::KILL);
    signal(leader, Signal::KILL);
    until("only the child lives", || {
        processes_of(&stage.home) == [child]
    });
    stage.run(&script).await.unwrap();
    assert!(has_ended(child));
    assert_ne!(stage.pid(&script), leader);
}

#[tokio::test]
async fn a_wrapper_that_stays_in_front_of_its_server_gives_it_time_to_stop() {
    let stage = Stage::new("wrapper");
    let text = "sh -c 'trap \"sleep 0.3; echo saved; exit 0\" TERM; while :; do sleep 0.01; done' \
                & echo up; wait";
    let script = stage.script("web-1", text);
    stage.run(&script).await.unwrap();
    let log = stage.workload_folder(&script).join("log");
    until("it is up", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("up"))
    });
    stage.stop(&script).await.unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains("saved"));
    until("nothing is left", || processes_of(&stage.home).is_empty());
}

/// Redis forgets SIGTERM while it writes its first append-only file after a copy.
#[tokio::test]
async fn a_server_that_forgets_that_it_was_to_stop_is_asked_again() {
    let stage = Stage::new("forgets");
    let text =
        "trap 'trap \"echo saved; exit 0\" TERM' TERM; echo up; while :; do sleep 0.01; done";
    let script = stage.script("web-1", text);
    stage.run(&script).await.unwrap();
    let log = stage.workload_folder(&script).join("log");
    until("it is up", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("up"))
    });
    stage.stop(&script).await.unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains("saved"));
}

#[tokio::test]
async fn a_supervisor_that_hangs_is_named() {
    let stage = Stage::new("hangs");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    signal(stage.supervisor(), Signal::STOP);
    assert_eq!(
        stage.engine.supervisor(&stage.instance).await,
        SupervisorView::Silent
    );
    signal(stage.supervisor(), Signal::CONT);
    stage.run(&redis).await.unwrap();
}

#[tokio::test]
async fn a_supervisor_comes_back_without_a_change_and_leaves_with_the_last_server() {
    let stage = Stage::new("minded");
    stage.engine.ensure_minded(&stage.instance).await.unwrap();
    assert!(!stage.folder().exists(), "there is nothing to mind");
    let servers = [stage.redis(1), stage.redis(2)];
    for redis in &servers {
        stage.run(redis).await.unwrap();
    }
    let pids = servers.each_ref().map(|redis| stage.pid(redis));
    signal(stage.supervisor(), Signal::KILL);
    signal(pids[1], Signal::KILL);
    until("both are gone", || processes_of(&stage.home) == [pids[0]]);
    for _ in 0..2 {
        stage.engine.ensure_minded(&stage.instance).await.unwrap();
    }
    stage
        .until_phase(&servers[1], |phase| *phase == RUNNING)
        .await;
    assert_eq!(stage.pid(&servers[0]), pids[0]);
    assert_eq!(processes_of(&stage.home).len(), 3);
    stage.stop(&servers[0]).await.unwrap();
    assert_eq!(processes_of(&stage.home).len(), 2);
    stage.stop(&servers[1]).await.unwrap();
    assert!(
        processes_of(&stage.home).is_empty(),
        "the supervisor stayed"
    );
    stage.engine.ensure_minded(&stage.instance).await.unwrap();
    assert!(processes_of(&stage.home).is_empty());
}

#[tokio::test]
async fn an_instance_that_runs_is_not_released() {
    let stage = Stage::new("release");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let fault = stage.engine.release(&stage.instance).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3020", "{fault}");
    signal(stage.supervisor(), Signal::KILL);
    until("it is gone", || processes_of(&stage.home).len() == 1);
    let fault = stage.engine.release(&stage.instance).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3020", "{fault}");
    stage.until_answers(1);
}

#[tokio::test]
async fn a_supervisor_has_a_session_of_its_own() {
    let stage = Stage::new("session");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let session = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let rest = stat.rsplit_once(") ").unwrap().1.to_owned();
        rest.split(' ').nth(3).unwrap().parse::<i32>().unwrap()
    };
    let supervisor = stage.supervisor();
    assert_eq!(session(supervisor), supervisor);
    assert_eq!(session(stage.pid(&redis)), supervisor);
}
