//! What becomes of a workload, table by table.

use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{InstanceName, WorkloadName};
use model::image::ImageRef;
use model::secret::Secret;
use model::size::ByteSize;
use model::spec::{Container, Volume};
use model::workload::PlacedFile;

use super::*;

const GROUND: Ground = Ground {
    processors: 8,
    limits_swap: true,
    with_ulimits: true,
};

fn owner() -> Owner {
    Owner {
        home: "h".to_owned(),
        instance: InstanceName::new("demo").unwrap(),
    }
}

fn workload(image: &str, command: &[&str]) -> Workload {
    Workload {
        name: WorkloadName::parse("redis-1").unwrap(),
        kind: ServiceKind::Server,
        image: ImageRef::parse(image).unwrap(),
        address: NodeAddress::parse("10.192.0.2:6379").unwrap(),
        expose: Expose::Network,
        container: Container {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            memory: Some(ByteSize::mib(256)),
            ports: vec![6379],
            volumes: vec![Volume {
                name: "data".to_owned(),
                target: "/data".to_owned(),
                host_folder: None,
            }],
            ..Container::default()
        },
        files: Vec::new(),
        health: None,
        restart: RestartPolicy::Always,
        stop_timeout: Duration::from_secs(60),
    }
}

fn with_file(mut workload: Workload, target: &str, text: &str) -> Workload {
    workload.files.push(PlacedFile {
        target: target.to_owned(),
        text: Secret::new(text),
        existing: Existing::Replace,
    });
    workload
}

fn made(workload: &Workload) -> Blueprint {
    blueprint(&owner(), workload, GROUND).unwrap()
}

fn words(workload: &Workload) -> String {
    made(workload).body.cmd.unwrap_or_default().join(" ")
}

#[test]
fn a_server_is_told_its_own_address_and_nothing_that_it_says_itself() {
    let clustered = "cluster-enabled yes\nprotected-mode yes\nappendonly yes\n";
    let plain = workload("redis:7", &["redis-server", "/c/r.conf"]);
    let node = with_file(plain.clone(), "/c/r.conf", clustered);
    assert_eq!(words(&plain), "redis-server /c/r.conf --protected-mode no");
    assert_eq!(
        words(&node),
        "redis-server /c/r.conf --cluster-announce-ip 10.192.0.2"
    );
    assert_eq!(
        words(&workload("valkey/valkey:9", &[])),
        "valkey-server --protected-mode no"
    );
    for other in ["redis-sentinel", "sh"] {
        assert_eq!(
            words(&workload("redis:7", &[other, "x"])),
            format!("{other} x")
        );
    }
    assert_eq!(
        words(&workload("busybox", &["redis-server"])),
        "redis-server"
    );
}

#[test]
fn a_node_that_the_host_exposes_announces_the_host_and_publishes_both_ports_on_one_address() {
    let mut node = with_file(
        workload("redis:7", &["/c/r.conf"]),
        "/c/r.conf",
        "cluster-enabled yes\nprotected-mode no\n",
    );
    node.expose = Expose::Host("192.0.2.2".parse().unwrap());
    node.address = NodeAddress::parse("192.0.2.2:17001").unwrap();
    assert_eq!(
        words(&node),
        "/c/r.conf --cluster-announce-ip 192.0.2.2 --cluster-announce-port 17001 \
         --cluster-announce-bus-port 27001 --replica-announce-ip 192.0.2.2 \
         --replica-announce-port 17001"
    );
    let made = made(&node);
    let bindings = host_of(&made).port_bindings.clone().unwrap();
    for (inside, outside) in [("6379/tcp", "17001"), ("16379/tcp", "27001")] {
        let binding = &bindings[inside].as_ref().unwrap()[0];
        assert_eq!(binding.host_ip.as_deref(), Some("192.0.2.2"));
        assert_eq!(binding.host_port.as_deref(), Some(outside));
    }
    assert_eq!(bindings.len(), 2);
    node.address.port = 60_000;
    let error = blueprint(&owner(), &node, GROUND).unwrap_err();
    assert!(matches!(error, TranslateError::NoBusPort { .. }));
}

#[test]
fn files_lie_in_the_nearest_volume_or_in_one_of_their_own_and_nowhere_else() {
    let secret = "requirepass hunter2\n";
    let workload = with_file(
        workload("redis:7", &["/etc/r/r.conf"]),
        "/etc/r/r.conf",
        secret,
    );
    let workload = with_file(workload, "/etc/r/users.acl", "user default on #1");
    let workload = with_file(workload, "/data/sub/nodes.conf", "x");
    let made = made(&workload);
    let found: Vec<(&str, &str, Vec<&str>)> = made
        .volumes
        .iter()
        .map(|it| {
            let files = it.files.iter().map(|file| file.path.as_str()).collect();
            (it.name.as_str(), it.target.as_str(), files)
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "shardyard_demo_redis-1_data",
                "/data",
                vec!["sub/nodes.conf"]
            ),
            (
                "shardyard_demo_redis-1__files1",
                "/etc/r",
                vec!["r.conf", "users.acl"]
            ),
        ]
    );
    // Whoever may look at the container sees no secret.
    let shown = serde_json::to_string(&made.body).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    for target in ["/x", "x", "/"] {
        let error = blueprint(&owner(), &with_file(workload.clone(), target, ""), GROUND);
        assert!(
            matches!(error, Err(TranslateError::NoFolder { .. })),
            "{target}"
        );
    }
}

#[test]
fn a_container_may_do_little_and_use_little_unless_its_template_says_otherwise() {
    let workload = workload("redis:7", &[]);
    let made = made(&workload);
    let host = host_of(&made);
    assert_eq!(made.body.user.as_deref(), Some("999:999"));
    assert_eq!(host.cap_drop.as_deref(), Some(&["ALL".to_owned()][..]));
    assert_eq!(host.cap_add, None);
    assert_eq!(host.readonly_rootfs, Some(true));
    assert_eq!(
        (host.memory, host.memory_swap),
        (Some(256 << 20), Some(256 << 20))
    );
    assert_eq!(host.nano_cpus, Some(2_000_000_000));
    let small = Ground {
        processors: 1,
        limits_swap: false,
        with_ulimits: false,
    };
    let poor = blueprint(&owner(), &workload, small).unwrap();
    assert_eq!(host_of(&poor).nano_cpus, Some(1_000_000_000));
    assert_eq!(host_of(&poor).memory_swap, None);
}

#[test]
fn what_keeps_no_log_of_its_writes_is_not_started_again_in_a_cluster() {
    for (text, expected) in [
        ("cluster-enabled yes\nappendonly yes", RestartPolicy::Always),
        ("cluster-enabled yes\nappendonly no", RestartPolicy::Never),
        ("appendonly no", RestartPolicy::Always),
    ] {
        let workload = with_file(workload("redis:7", &["/c/r.conf"]), "/c/r.conf", text);
        assert_eq!(
            restarts(&workload, &Role::of(&workload)),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_user_without_numbers_is_refused() {
    let mut workload = workload("redis:7", &[]);
    workload.container.user = Some("redis".to_owned());
    let error = blueprint(&owner(), &workload, GROUND).unwrap_err();
    assert!(matches!(error, TranslateError::User { .. }));
}

#[test]
fn a_server_is_checked_by_its_own_client_and_not_too_often() {
    let mut server = workload("valkey/valkey:9", &[]);
    server.health = Some(HealthCheck {
        probe: Probe::Tcp(6379),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        retries: 3,
        start_period: Duration::from_secs(60),
    });
    let check = made(&server).body.healthcheck.unwrap();
    let words = ["CMD", "valkey-cli", "-p", "6379", "ping"].map(str::to_owned);
    assert_eq!(check.test.as_deref(), Some(&words[..]));
    assert_eq!(check.interval, Some(30_000_000_000));
    let other = Workload {
        image: ImageRef::parse("haproxy:3").unwrap(),
        ..server
    };
    assert_eq!(made(&other).body.healthcheck, None);
    let labels = made(&other).body.labels.unwrap();
    assert_eq!(labels[names::PROBE], "10.192.0.2:6379");
}
