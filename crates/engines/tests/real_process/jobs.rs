//! Jobs: they run to their end, once.

use std::fs;
use std::path::Path;

use model::spec::ServiceKind;
use model::view::{Ending, WorkloadPhase};
use rustix::process::Signal;

use crate::fixture::{Stage, processes_of, signal, until};

#[tokio::test]
async fn a_job_that_is_done_is_not_run_again() {
    let stage = Stage::new("done");
    let job = stage.job("trib-1", "echo one");
    let log = stage.workload_folder(&job).join("log");
    for _ in 0..2 {
        stage.run(&job).await.unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\n");
    }
    let ended = WorkloadPhase::Ended(Ending::Exit(0));
    assert_eq!(stage.phase(&job).await, ended);
    // Nor by another supervisor.
    signal(stage.supervisor(), Signal::KILL);
    until("it is gone", || processes_of(&stage.home).is_empty());
    stage.run(&job).await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\n");
    // Another definition is another job.
    stage.run(&stage.job("trib-1", "echo two")).await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
    assert!(stage.questions().is_empty());
}

#[tokio::test]
async fn a_job_that_failed_is_an_error_with_its_last_words_and_runs_again() {
    let stage = Stage::new("fails");
    let text = "echo old; test -e ok && exit 0; seq 100; exit 5";
    let job = stage.job("trib-1", text);
    let fault = stage.run(&job).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3012");
    assert_eq!(fault.message, "the job trib-1 failed: exit code 5");
    assert_eq!(fault.detail.len(), 10);
    assert_eq!(fault.detail[9], "100");
    assert_eq!(
        stage.phase(&job).await,
        WorkloadPhase::Ended(Ending::Exit(5))
    );
    fs::write(stage.workload_folder(&job).join("work/ok"), "").unwrap();
    stage.run(&job).await.unwrap();
    assert_eq!(
        stage.phase(&job).await,
        WorkloadPhase::Ended(Ending::Exit(0))
    );
}

#[tokio::test]
async fn a_job_that_is_killed_says_by_which_signal() {
    let stage = Stage::new("killed");
    let job = stage.job("trib-1", "kill -9 $$");
    let fault = stage.run(&job).await.unwrap_err();
    assert_eq!(fault.message, "the job trib-1 failed: signal 9");
}

#[tokio::test]
async fn a_job_whose_end_nobody_saw_is_run_again() {
    let stage = Stage::new("unseen-job");
    let job = stage.job(
        "trib-1",
        "echo $$ > pid; echo run; test -e ok || sleep 1000",
    );
    let folder = stage.workload_folder(&job);
    let cut = async {
        while !fs::read_to_string(folder.join("log")).is_ok_and(|log| log == "run\n") {
            tokio::task::yield_now().await;
        }
        // The supervisor dies, the job goes on, and the same step waits for it again.
        signal(stage.supervisor(), Signal::KILL);
        let resumed = || fs::read_to_string(stage.folder().join("supervisor.log"));
        while !resumed().is_ok_and(|log| log.contains("found again")) {
            tokio::task::yield_now().await;
        }
        fs::write(folder.join("work/ok"), "").unwrap();
        signal(job_process(&folder), Signal::KILL);
    };
    let (outcome, ()) = tokio::join!(stage.run(&job), cut);
    // The step may come back to the new supervisor before the job ends, or only after.
    if let Err(fault) = outcome {
        assert_eq!(fault.message, "the job trib-1 failed: unseen end");
        stage.run(&job).await.unwrap();
    }
    assert_eq!(
        fs::read_to_string(folder.join("log")).unwrap(),
        "run\nrun\n"
    );
}

/// The process that a job wrote down itself.
fn job_process(folder: &Path) -> i32 {
    fs::read_to_string(folder.join("work/pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn our_own_program_is_the_image_shardyard() {
    let stage = Stage::new("own");
    let mut job = stage.workload("trib-1", "shardyard");
    job.kind = ServiceKind::Job;
    job.container.command = ["redis-trib", "/etc/nodes.env"].map(str::to_owned).to_vec();
    job.files = vec![model::workload::PlacedFile {
        target: "/etc/nodes.env".to_owned(),
        text: model::secret::Secret::new("NODES=x\n"),
        existing: model::workload::Existing::Replace,
    }];
    stage.run(&job).await.unwrap();
    let folder = stage.workload_folder(&job);
    let file = folder.join("files/etc/nodes.env");
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!(log, format!("redis-trib {}\n", file.display()));
    assert_eq!(fs::read_to_string(file).unwrap(), "NODES=x\n");
}

#[tokio::test]
async fn a_job_that_runs_can_be_stopped() {
    let stage = Stage::new("stop-job");
    let job = stage.job("trib-1", "echo run; sleep 1000");
    let log = stage.workload_folder(&job).join("log");
    let stop = async {
        while !fs::read_to_string(&log).is_ok_and(|log| log == "run\n") {
            tokio::task::yield_now().await;
        }
        stage.stop(&job).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(stage.run(&job), stop);
    assert_eq!(outcome.unwrap_err().code.0, "SY3019");
    assert_eq!(stage.phase(&job).await, WorkloadPhase::Stopped);
}
