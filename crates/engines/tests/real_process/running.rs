//! Servers that are started, observed, stopped and deleted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use model::image::ImageRef;
use model::port::Engine;
use model::spec::{HealthCheck, Probe, RestartPolicy};
use model::view::{Ending, ImageView, WorkloadPhase};

use crate::fixture::{LIMIT, Stage, is_open, process_state, processes_of, until};

const RUNNING: WorkloadPhase = WorkloadPhase::Running { healthy: true };

#[tokio::test]
async fn a_server_lives_from_its_start_to_its_deletion() {
    let stage = Stage::new("life");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    stage.until_answers(1);
    let view = stage.view(&redis).await.unwrap();
    assert_eq!(view.phase, RUNNING);
    assert_eq!(view.fingerprint, Some(redis.fingerprint()));
    assert!(view.memory.unwrap().as_bytes() > 1 << 20);
    let pid = stage.pid(&redis);

    stage.stop(&redis).await.unwrap();
    stage.stop(&redis).await.unwrap();
    assert_eq!(process_state(pid), None, "a zombie is left");
    assert!(!is_open(stage.ip(1), 6379));
    assert_eq!(stage.phase(&redis).await, WorkloadPhase::Stopped);

    stage.delete(&redis).await.unwrap();
    stage.delete(&redis).await.unwrap();
    assert_eq!(stage.view(&redis).await, None);
    stage.engine.release(&stage.instance).await.unwrap();
    stage.engine.release(&stage.instance).await.unwrap();
    assert!(!stage.folder().exists());
    until("nothing is left", || processes_of(&stage.home).is_empty());
    let left: Vec<_> = fs::read_dir(stage.home.join("instances"))
        .unwrap()
        .collect();
    assert!(left.is_empty());
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let stage = Stage::new("twice");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let (pid, before) = (stage.pid(&redis), times(&stage.workload_folder(&redis)));
    stage.run(&redis).await.unwrap();
    assert_eq!(stage.pid(&redis), pid);
    assert_eq!(times(&stage.workload_folder(&redis)), before);
    assert_eq!(stage.view(&redis).await.unwrap().restarts, 0);
}

fn times(folder: &Path) -> Vec<(String, std::time::SystemTime)> {
    let files = fs::read_dir(folder).unwrap().flatten();
    let files = files.filter(|entry| entry.file_name() != "log");
    let times = files.map(|entry| {
        let changed = entry.metadata().unwrap().modified().unwrap();
        (entry.file_name().into_string().unwrap(), changed)
    });
    let mut times: Vec<_> = times.collect();
    times.sort();
    times
}

#[tokio::test]
async fn another_definition_is_refused_until_it_is_stopped() {
    let stage = Stage::new("differs");
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    let pid = stage.pid(&redis);
    let other = stage.server(1, "redis:7", "port 6379\nmaxmemory 64mb\n");
    let fault = stage.run(&other).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3010", "{fault}");
    assert_eq!(stage.pid(&redis), pid);
    let config = stage
        .workload_folder(&redis)
        .join("volumes/data/redis.conf");
    assert!(
        fs::read_to_string(&config)
            .unwrap()
            .contains("cluster-enabled")
    );
    stage.stop(&redis).await.unwrap();
    stage.run(&other).await.unwrap();
    assert!(fs::read_to_string(&config).unwrap().contains("maxmemory"));
    let shown = stage.view(&redis).await.unwrap().fingerprint;
    assert_eq!(shown, Some(other.fingerprint()));
}

#[tokio::test]
async fn a_server_that_dislikes_its_config_is_an_error_with_its_last_words() {
    let stage = Stage::new("config");
    let redis = stage.server(1, "redis:7", "port 6379\nrequirepass hunter2 and more\n");
    let fault = stage.run(&redis).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3009", "{fault}");
    assert_eq!(fault.message, "redis-1 ended at once: exit code 1");
    assert!(
        fault
            .detail
            .iter()
            .any(|line| line.contains("FATAL CONFIG")),
        "{fault:?}"
    );
    assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
    let mended = stage.redis(1);
    stage.run(&mended).await.unwrap();
    assert_eq!(stage.phase(&mended).await, RUNNING);
}

#[tokio::test]
async fn a_missing_server_is_named_with_the_way_to_get_it_and_nothing_is_touched() {
    let stage = Stage::new("missing");
    let redis = stage.server(1, "redis:6.0", "");
    let fault = stage.run(&redis).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3004");
    assert!(
        fault.message.contains("/usr/bin/redis-server is redis 7.0"),
        "{fault}"
    );
    assert!(!stage.home.join("instances").exists());
    let fault = stage
        .run(&stage.workload("web-1", "no-such-program"))
        .await
        .unwrap_err();
    assert_eq!(fault.code.0, "SY3004");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_an_error_that_names_it() {
    let stage = Stage::new("noexec");
    let program = stage.home.join("broken");
    fs::write(&program, "\x7fELF not really").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut workload = stage.workload("web-1", "broken");
    workload.container.command = vec![program.to_str().unwrap().to_owned()];
    let fault = stage.run(&workload).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3009");
    assert_eq!(fault.message, "web-1 ended at once: exit code 126");
    assert!(fault.detail[0].starts_with("cannot start"), "{fault:?}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_half_written() {
    let stage = Stage::new("full");
    let small = stage.home.join("instances");
    fs::create_dir(&small).unwrap();
    if !mount(&small, "size=48k,mode=0700") {
        // Only root can have a small disk.
        return;
    }
    let mut redis = stage.redis(1);
    redis.files[0].text = model::secret::Secret::new("# padding\n".repeat(20_000));
    let fault = stage.run(&redis).await.unwrap_err();
    assert_eq!(fault.code.0, "SY3002", "{fault:?}");
    assert!(fault.message.contains("redis.conf"), "{fault}");
    assert!(fault.help.unwrap().contains("df -h"));
    let data = stage.workload_folder(&redis).join("volumes/data");
    assert_eq!(fs::read_dir(data).unwrap().count(), 0);
    stage.run(&stage.redis(1)).await.unwrap();
    stage.delete(&redis).await.unwrap();
    stage.engine.release(&stage.instance).await.unwrap();
    unmount(&small);
}

fn mount(folder: &Path, options: &str) -> bool {
    let status = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(folder)
        .stderr(std::process::Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn unmount(folder: &Path) {
    std::process::Command::new("umount")
        .arg("-l")
        .arg(folder)
        .status()
        .unwrap();
}

#[tokio::test]
async fn a_long_state_folder_and_a_name_with_dashes_do() {
    let deep = format!("{}/{}/with space", "d".repeat(120), "e".repeat(120));
    let stage = Stage::below("a-b-c-1", &deep);
    let redis = stage.redis(1);
    stage.run(&redis).await.unwrap();
    stage.until_answers(1);
    stage.stop(&redis).await.unwrap();
}

#[tokio::test]
async fn no_secret_leaves_files_that_only_the_owner_reads() {
    let stage = Stage::new("secrets");
    let config = "port 6379\nrequirepass canary-4711\nappendonly yes\ndir /data\n";
    let redis = stage.server(1, "redis:7", config);
    stage.run(&redis).await.unwrap();
    until("the server has made its files", || {
        stage
            .workload_folder(&redis)
            .join("volumes/data/appendonlydir")
            .exists()
    });
    for pid in processes_of(&stage.home) {
        for part in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{part}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(!text.contains("canary-4711"), "{part} of {pid}");
        }
    }
    let mut folders = vec![stage.folder()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let found = entry.metadata().unwrap();
            let (path, mode) = (entry.path(), found.permissions().mode() & 0o7777);
            let expected = if found.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{}", path.display());
            if found.is_dir() {
                folders.push(path);
            } else if found.is_file() && !path.ends_with("redis.conf") {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                assert!(!text.contains("canary-4711"), "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn a_health_check_is_tried_at_each_look() {
    let stage = Stage::new("health");
    let check = |probe| HealthCheck {
        probe,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(5),
        retries: 1,
        start_period: Duration::ZERO,
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    for (number, probe, healthy) in [
        (1, Probe::Tcp(6379), true),
        (2, Probe::Tcp(6380), false),
        (3, Probe::Exec(words(&["redis-cli", "ping"])), true),
        (4, Probe::Exec(words(&["sh", "-c", "exit 3"])), false),
    ] {
        let mut redis = stage.redis(number);
        redis.health = Some(check(probe));
        stage.run(&redis).await.unwrap();
        let expected = WorkloadPhase::Running { healthy };
        stage.until_phase(&redis, |phase| *phase == expected).await;
    }
}

#[tokio::test]
async fn the_host_and_its_servers_are_seen() {
    let stage = Stage::new("host");
    let images = ["redis:7", "redis:99", "shardyard", "no-such-program"];
    let images: BTreeSet<_> = images.map(|text| ImageRef::parse(text).unwrap()).into();
    let view = stage
        .engine
        .observe(&stage.instance, &images)
        .await
        .unwrap();
    assert!(view.hosts[0].memory_total >= view.hosts[0].memory_available);
    assert!(view.hosts[0].memory_available.as_bytes() > 0);
    let shown: Vec<_> = view.images.values().collect();
    assert!(matches!(shown[0], ImageView::Missing { .. }), "{shown:?}");
    assert!(matches!(shown[1], ImageView::Server(version) if version.major == 7));
    assert!(matches!(shown[2], ImageView::Missing { help, .. } if help.contains("redis")));
    assert_eq!(*shown[3], ImageView::Program);
    assert!(
        !stage.home.join("instances").exists(),
        "a look left something behind"
    );
}

#[tokio::test]
async fn a_server_that_will_not_stop_is_killed_in_the_end() {
    let stage = Stage::new("stubborn");
    let mut redis = stage.redis(1);
    redis.stop_timeout = Duration::from_millis(300);
    stage.run(&redis).await.unwrap();
    let pid = stage.pid(&redis);
    crate::fixture::signal(pid, rustix::process::Signal::STOP);
    until("it is stopped", || process_state(pid) == Some('T'));
    tokio::time::timeout(LIMIT, stage.stop(&redis))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(process_state(pid), None);
}

#[tokio::test]
async fn a_server_that_is_not_to_be_started_again_stays_ended() {
    let stage = Stage::new("policy");
    let mut script = stage.script("web-1", "sleep 0.2; exit 0");
    script.restart = RestartPolicy::OnFailure;
    stage.run(&script).await.unwrap();
    let ended = WorkloadPhase::Ended(Ending::Exit(0));
    stage.until_phase(&script, |phase| *phase == ended).await;
    assert_eq!(
        stage.questions().len(),
        1,
        "the guardian is asked all the same"
    );
    stage.run(&script).await.unwrap();
    assert_eq!(stage.phase(&script).await, RUNNING);
}
