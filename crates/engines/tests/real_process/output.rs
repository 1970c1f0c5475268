//! Logs that are read, followed and cut; commands that are run.

use std::fs;

use model::port::{Engine, ExecRequest, LogRequest};
use model::secret::Secret;
use model::spec::Credentials;

use crate::fixture::{LIMIT, Stage, until};

#[tokio::test]
async fn a_log_is_read_from_its_end_and_followed() {
    let stage = Stage::new("logs");
    let text = "seq 5; while ! test -e go; do sleep 0.01; done; printf 'a\\033[2J\\n'; sleep 1000";
    let script = stage.script("web-1", text);
    stage.run(&script).await.unwrap();
    let log = stage.workload_folder(&script).join("log");
    until("it has begun", || {
        fs::read_to_string(&log).is_ok_and(|text| text.ends_with("5\n"))
    });
    let request = LogRequest {
        workload: script.name.clone(),
        tail: 2,
        follow: true,
    };
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let mut line = |line: &str| drop(sender.send(line.to_owned()));
    let followed = async {
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(lines.recv().await.unwrap());
            fs::write(stage.workload_folder(&script).join("work/go"), "").unwrap();
        }
        seen
    };
    let seen = tokio::select! {
        seen = followed => seen,
        outcome = stage.engine.logs(&stage.instance, &request, &mut line) => panic!("{outcome:?}"),
        () = tokio::time::sleep(LIMIT) => panic!("nothing came"),
    };
    assert_eq!(seen, ["4", "5", "a\\u{1b}[2J"]);
    let unknown = LogRequest {
        workload: model::ids::WorkloadName::parse("web-9").unwrap(),
        ..request
    };
    let fault = stage
        .engine
        .logs(&stage.instance, &unknown, &mut |_| {})
        .await
        .unwrap_err();
    assert_eq!(fault.code.0, "SY3016");
}

#[tokio::test]
async fn a_log_that_grows_is_cut_and_one_old_part_is_kept() {
    let stage = Stage::new("cut");
    fs::write(stage.home.join("log-bytes-max"), "20000").unwrap();
    let text = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.0005; done";
    let script = stage.script("web-1", text);
    stage.run(&script).await.unwrap();
    let folder = stage.workload_folder(&script);
    until("it was cut", || folder.join("log.1").exists());
    let first = fs::metadata(folder.join("log.1")).unwrap().len();
    assert!((20_000..2_000_000).contains(&first), "{first}");
    until("it is written on", || {
        fs::metadata(folder.join("log")).is_ok_and(|log| log.len() > 0)
    });
    stage.stop(&script).await.unwrap();
    let new = fs::read_to_string(folder.join("log")).unwrap();
    assert!(!new.contains('\0'), "the log was written at its old end");
}

#[tokio::test]
async fn a_command_runs_where_the_workload_does() {
    let stage = Stage::new("exec");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    for (command, code) in [
        (&["redis-cli", "ping"][..], 0),
        (&["sh", "-c", "test -e redis.conf && exit 7"], 7),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["sh", "-c", "test \"$HOME\" = \"$PWD\""], 0),
        (&["test", "-e", "/data/redis.conf"], 0),
    ] {
        assert_eq!(
            stage.exec(&redis, command).await.unwrap(),
            code,
            "{command:?}"
        );
    }
    let fault = stage.exec(&redis, &["no-such-program"]).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3004");
    let fault = stage.exec(&stage.redis(2), &["true"]).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3016");
}

#[tokio::test]
async fn a_client_logs_in_without_showing_its_password() {
    let stage = Stage::new("login");
    let config = "port 6379\nuser default off\nuser op on >canary-0815 ~* +@all\n";
    for (number, image) in [
        (1, "redis:7"),
        (2, "redis:8.0"),
        (3, "valkey/valkey:8"),
        (4, "valkey/valkey:9"),
    ] {
        let redis = stage.server(number, image, config);
        if stage
            .run(&redis)
            .await
            .is_err_and(|fault| fault.code.0 == "SY3004")
        {
            continue;
        }
        let request = |password: &str| ExecRequest {
            workload: redis.name.clone(),
            command: ["redis-cli", "-e", "set", "k", "v"]
                .map(str::to_owned)
                .to_vec(),
            credentials: Some(Credentials {
                user: "op".to_owned(),
                password: Secret::new(password),
            }),
        };
        let right = stage
            .engine
            .exec(&stage.instance, &request("canary-0815"))
            .await;
        assert_eq!(right.unwrap(), 0, "{image}");
        let wrong = stage.engine.exec(&stage.instance, &request("wrong")).await;
        assert_ne!(wrong.unwrap(), 0, "{image}");
    }
}
