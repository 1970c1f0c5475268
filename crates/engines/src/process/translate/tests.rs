//! What becomes of a workload, table by table.

use std::path::Path;
use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{InstanceName, WorkloadName};
use model::image::ImageRef;
use model::instance::Expose;
use model::secret::Secret;
use model::spec::{Container, RestartPolicy, ServiceKind, Volume};
use model::workload::{Existing, PlacedFile};

use super::super::folders::InstanceFolder;
use super::*;

fn folder() -> WorkloadFolder {
    let instance = InstanceFolder::of(Path::new("/h"), &InstanceName::new("demo").unwrap());
    instance.workload(&WorkloadName::parse("redis-1").unwrap())
}

fn workload(image: &str, command: &[&str]) -> Workload {
    let words = command.iter().map(|word| (*word).to_owned()).collect();
    Workload {
        name: WorkloadName::parse("redis-1").unwrap(),
        kind: ServiceKind::Server,
        image: ImageRef::parse(image).unwrap(),
        address: NodeAddress::parse("127.64.1.1:6379").unwrap(),
        expose: Expose::Network,
        container: Container {
            command: words,
            ..Container::default()
        },
        files: Vec::new(),
        health: None,
        restart: RestartPolicy::Always,
        stop_timeout: Duration::from_secs(10),
    }
}

fn with_data(mut workload: Workload) -> Workload {
    workload.container.volumes = vec![Volume {
        name: "data".to_owned(),
        target: "/data".to_owned(),
        host_folder: None,
    }];
    let file = |target: &str, text: &str, existing| PlacedFile {
        target: target.to_owned(),
        text: Secret::new(text),
        existing,
    };
    workload.files = vec![
        file("/etc/redis/redis.conf", "dir /data\n", Existing::Replace),
        file("/data/nodes.conf", "vars currentEpoch 1\n", Existing::Keep),
    ];
    workload
}

fn program(version: Option<&str>) -> Program {
    Program {
        path: "/usr/bin/redis-server".into(),
        server: version.map(|text| ServerVersion::parse(Software::Redis, text).unwrap()),
    }
}

#[test]
fn the_first_word_chooses_the_program_as_in_the_official_images() {
    let none: &[&str] = &[];
    for (image, command, wish, rest) in [
        ("redis:7", none, None, none),
        ("redis:7", &["--port", "7"], None, &["--port", "7"]),
        ("redis:7", &["/a/b.conf", "x"], None, &["/a/b.conf", "x"]),
        ("redis:7", &["redis-server", "/b.conf"], None, &["/b.conf"]),
        (
            "valkey/valkey:9",
            &["/usr/local/bin/valkey-server"],
            None,
            none,
        ),
        ("valkey/valkey:9", &["redis-server", "-"], None, &["-"]),
        (
            "redis:7",
            &["redis-sentinel", "s.conf"],
            Some("redis-sentinel"),
            &["s.conf"],
        ),
        ("redis:7", &["sh", "-c", "x"], Some("sh"), &["-c", "x"]),
        (
            "shardyard",
            &["redis-trib", "/f"],
            None,
            &["redis-trib", "/f"],
        ),
        ("shardyard", &["shardyard", "ls"], None, &["ls"]),
        ("nginx", none, None, none),
        ("nginx", &["-g", "x"], None, &["-g", "x"]),
        ("nginx", &["/bin/echo", "x"], Some("/bin/echo"), &["x"]),
    ] {
        let workload = workload(image, command);
        let (found, words) = entry(&workload);
        assert_eq!(
            (found, words),
            (
                wish,
                &rest
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>()[..]
            ),
            "{image} {command:?}"
        );
    }
}

#[test]
fn a_server_is_told_its_own_address_and_paths() {
    let workload = with_data(workload(
        "redis:7",
        &["/etc/redis/redis.conf", "--dir", "/data"],
    ));
    let launch = launch(
        &workload,
        &folder(),
        &program(Some("7.0.15")),
        &BTreeMap::new(),
    )
    .unwrap();
    let top = "/h/instances/demo/workloads/redis-1";
    let expected = [
        &format!("{top}/files/etc/redis/redis.conf"),
        "--dir",
        &format!("{top}/volumes/data"),
        "--bind",
        "127.64.1.1",
        "--cluster-announce-ip",
        "127.64.1.1",
        "--bind-source-addr",
        "127.64.1.1",
        "--protected-mode",
        "no",
        "--daemonize",
        "no",
    ];
    assert_eq!(launch.arguments, expected);
    assert_eq!(launch.folder, Path::new(top).join("volumes/data"));
    assert_eq!(launch.environment["HOME"], format!("{top}/volumes/data"));
    assert_eq!(launch.fingerprint.0, workload.fingerprint());
}

#[test]
fn an_old_server_is_not_given_a_setting_that_it_does_not_know() {
    let workload = workload("redis:6", &[]);
    let launch = launch(
        &workload,
        &folder(),
        &program(Some("6.2.1")),
        &BTreeMap::new(),
    )
    .unwrap();
    assert!(!launch.arguments.contains(&"--bind-source-addr".to_owned()));
    assert_eq!(launch.arguments[..2], ["--bind", "127.64.1.1"]);
}

#[test]
fn a_program_that_is_no_server_gets_nothing_added() {
    let workload = with_data(workload(
        "shardyard",
        &["redis-trib", "/data", "/database", "data"],
    ));
    let launch = launch(&workload, &folder(), &program(None), &BTreeMap::new()).unwrap();
    let data = "/h/instances/demo/workloads/redis-1/volumes/data";
    assert_eq!(launch.arguments, ["redis-trib", data, "/database", "data"]);
}

#[test]
fn without_a_volume_it_runs_apart_from_our_own_files() {
    let mut workload = workload("redis:7", &[]);
    let own = [("A", "1"), ("PATH", "/own")];
    workload.container.environment = own.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let safe = [("PATH", "/bin"), ("LANG", "C")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let launch = launch(&workload, &folder(), &program(None), &safe.into()).unwrap();
    assert_eq!(
        launch.folder,
        Path::new("/h/instances/demo/workloads/redis-1/work")
    );
    let names: Vec<_> = launch.environment.iter().collect();
    let home = launch.environment["HOME"].clone();
    let expected = [("A", "1"), ("HOME", &home), ("LANG", "C"), ("PATH", "/own")];
    assert_eq!(names.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(launch.environment[name], value);
    }
}

#[test]
fn files_lie_in_their_volume_or_below_files_and_what_a_server_owns_is_not_rewritten() {
    let files = files(&with_data(workload("redis:7", &[])), &folder()).unwrap();
    let top = Path::new("/h/instances/demo/workloads/redis-1");
    assert_eq!(files[0].path, top.join("files/etc/redis/redis.conf"));
    assert_eq!(
        files[0].text,
        format!("dir {}/volumes/data\n", top.display()).as_bytes()
    );
    assert_eq!(files[1].path, top.join("volumes/data/nodes.conf"));
    assert_eq!(files[1].text, b"vars currentEpoch 1\n");
}

#[test]
fn targets_and_names_that_would_climb_out_are_refused() {
    for target in [
        "", "/", "etc/x", "/a/../b", "/..", "/a//b", "/a/.", "/a\nb", "/a/",
    ] {
        let mut workload = with_data(workload("redis:7", &[]));
        workload.files[0].target = target.to_owned();
        let error = files(&workload, &folder()).err().unwrap();
        assert!(matches!(error, TranslateError::Target { .. }), "{target:?}");
        workload.container.volumes[0].target = target.to_owned();
        assert!(files(&workload, &folder()).is_err(), "{target:?}");
    }
    let long = "x".repeat(65);
    for name in ["", ".", "..", "a/b", "-x", ".x", "a b", &long] {
        let mut workload = with_data(workload("redis:7", &[]));
        workload.container.volumes[0].name = name.to_owned();
        let error = files(&workload, &folder()).err().unwrap();
        assert!(
            matches!(error, TranslateError::VolumeName { .. }),
            "{name:?}"
        );
    }
}

#[test]
fn the_nearest_of_nested_volumes_has_the_file() {
    let mut workload = with_data(workload(
        "redis:7",
        &["/data/sub/run", "/data/sub/x", "/data/subway"],
    ));
    workload.container.volumes.push(Volume {
        name: "sub".to_owned(),
        target: "/data/sub".to_owned(),
        host_folder: None,
    });
    let launch = launch(&workload, &folder(), &program(None), &BTreeMap::new()).unwrap();
    let volumes = "/h/instances/demo/workloads/redis-1/volumes";
    let expected = [format!("{volumes}/sub/x"), format!("{volumes}/data/subway")];
    assert_eq!(launch.arguments, expected);
    let named = Wish::Named(format!("{volumes}/sub/run"));
    assert_eq!(wish(&workload, &folder()).unwrap(), named);
}
