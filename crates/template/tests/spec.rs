//! What a template says is what the spec says, field by field.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a helper is the test's failure"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use model::ids::ServiceName;
use model::instance::TemplateFiles;
use model::secret::Secret;
use model::size::ByteSize;
use model::spec::{
    ClusterPart, Container, Deployment, FileTemplate, HealthCheck, Hooks, Probe, Resource,
    RestartPolicy, Service, ServiceKind, Spec, Strategy, Volume,
};
use template::Document;

const FULL: &str = "\
services:
  - name: redis
    image: \"redis:{{ add .N 5 }}\"
    cluster: {shards: 3, replicas: \"{{ .N }}\"}
    container:
      command: [redis-server, '{{ .N }}']
      environment: {TZ: UTC, EMPTY: \"\"}
      memory: 1gb
      cpus: 1.25
      ulimits: {nofile: 10032}
      sysctls: {net.core.somaxconn: \"1024\"}
      volumes: [{name: data, target: /data}, {name: log, target: /var/log}]
      ports: [6379, 9121]
      user: \"999:1000\"
      read_only_root: yes
    files: [{template: redis.conf, target: /etc/redis.conf}]
    health: {exec: [redis-cli, ping], interval: 500ms, timeout: 1s, retries: 4, start_period: 2m}
    deployment:
      {strategy: pack, by: io, host_labels: {disk: ssd}, restart: on-failure, stop_timeout: 1h}
";

/// The spec of the services that stand in this YAML, with one variable N = 2.
fn spec(services: &str) -> Spec {
    let header = "apiVersion: shardyard/v1\nkind: Template\nname: demo\ntitle: Demo\n\
                  variables: [{name: N, type: int, default: 2}]\n";
    let files = TemplateFiles {
        files: [
            ("template.yaml", format!("{header}{services}")),
            ("redis.conf", "port {{ .N }}\n".to_owned()),
        ]
        .map(|(path, text)| (path.to_owned(), text))
        .into(),
    };
    let document = Document::read(&files).unwrap();
    let mut generate = |_| Secret::new("unused");
    let values = document.values(&BTreeMap::new(), &mut generate).unwrap();
    document.spec(&values).unwrap()
}

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

#[test]
fn every_field_of_a_service_arrives() {
    let spec = spec(FULL);
    let map = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let volume = |name: &str, target: &str| Volume {
        name: name.to_owned(),
        target: target.to_owned(),
        host_folder: None,
    };
    let expected = Service {
        name: name("redis"),
        kind: ServiceKind::Server,
        image: model::image::ImageRef::parse("redis:7").unwrap(),
        count: 9,
        container: Container {
            command: vec!["redis-server".to_owned(), "2".to_owned()],
            environment: [map("TZ", "UTC"), map("EMPTY", "")].into(),
            memory: Some(ByteSize::mib(1_024)),
            cpu_millis: Some(1_250),
            ulimits: [("nofile".to_owned(), 10_032)].into(),
            sysctls: [map("net.core.somaxconn", "1024")].into(),
            volumes: vec![volume("data", "/data"), volume("log", "/var/log")],
            ports: vec![6379, 9121],
            user: Some("999:1000".to_owned()),
            read_only_root: true,
        },
        files: vec![FileTemplate {
            source: "redis.conf".to_owned(),
            text: "port {{ .N }}\n".to_owned(),
            target: "/etc/redis.conf".to_owned(),
            keep: false,
        }],
        health: Some(HealthCheck {
            probe: Probe::Exec(vec!["redis-cli".to_owned(), "ping".to_owned()]),
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(1),
            retries: 4,
            start_period: Duration::from_secs(120),
        }),
        deployment: Deployment {
            strategy: Strategy::Pack,
            by: Resource::Io,
            host_labels: [map("disk", "ssd")].into(),
            start_level: 0,
            restart: RestartPolicy::OnFailure,
            stop_timeout: Duration::from_secs(3_600),
        },
        cluster: Some(ClusterPart {
            shards: 3,
            replicas: 2,
        }),
    };
    assert_eq!(spec.services, [expected]);
    assert_eq!(spec.template.as_str(), "demo");
}

#[test]
fn what_is_left_out_has_a_plain_meaning() {
    let spec = spec("services:\n  - {name: a, image: busybox, health: {tcp: 80}}\n");
    let service = &spec.services[0];
    assert_eq!((service.count, service.kind), (1, ServiceKind::Server));
    assert_eq!(service.container, Container::default());
    let health = service.health.as_ref().unwrap();
    assert_eq!(
        (health.interval, health.retries),
        (Duration::from_secs(5), 3)
    );
    assert_eq!(service.deployment.restart, RestartPolicy::Always);
    assert_eq!(service.deployment.strategy, Strategy::Spread);
    assert_eq!(service.deployment.stop_timeout, Duration::from_secs(60));
    assert_eq!((spec.application, spec.operator), (None, None));
    assert_eq!(spec.hooks, Hooks::default());
}

#[test]
fn services_come_in_the_order_in_which_they_start_and_hooks_last() {
    let spec = spec(
        "services:
  - {name: bye, kind: job, image: busybox, deployment: {priority: 1}}
  - {name: app, image: busybox, deployment: {start_after: [init]}}
  - {name: init, kind: job, image: busybox, deployment: {priority: 20}}
  - {name: redis, image: busybox, count: 3, deployment: {priority: 10}}
hooks: {before_delete: bye}
",
    );
    let order: Vec<(&str, u32)> = spec
        .services
        .iter()
        .map(|service| (service.name.as_str(), service.deployment.start_level))
        .collect();
    assert_eq!(order, [("redis", 0), ("init", 1), ("app", 2), ("bye", 0)]);
    assert_eq!(spec.hooks.before_delete, Some(name("bye")));
    assert!(spec.hooks.run(&name("bye")) && !spec.hooks.run(&name("init")));
}

#[test]
fn an_alias_says_the_same_again() {
    let spec = spec(
        "services:
  - {name: a, image: busybox, container: &small {memory: 64mb, ports: [80]}}
  - {name: b, image: busybox, container: *small}
",
    );
    assert_eq!(spec.services[0].container, spec.services[1].container);
    assert_eq!(spec.services[1].container.memory, Some(ByteSize::mib(64)));
}
