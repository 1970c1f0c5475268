//! The templates that come along: they are in order, and say what they are meant to say.
#![expect(
    clippy::unwrap_used,
    reason = "what fails in a helper is the test's failure"
)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::address::NodeAddress;
use model::ids::{HostName, ServiceName, TemplateName, VariableName, WorkloadName};
use model::instance::TemplateFiles;
use model::secret::Secret;
use model::size::ByteSize;
use model::spec::{Probe, RestartPolicy, ServiceKind, Spec, Value};
use template::{Discovery, Document, Peer, builtin, lint, maxmemory, render};

type Values = BTreeMap<VariableName, Value>;

/// A built-in with these values; a secret that nobody gives is `secret` as long as asked for.
fn filled(name: &str, given: &[(&str, &str)]) -> (Spec, Values) {
    let document = Document::read(&builtin::files(name).unwrap()).unwrap();
    let given = given
        .iter()
        .map(|(name, value)| (VariableName::new(name).unwrap(), (*value).to_owned()))
        .collect();
    let mut generate = |length: usize| Secret::new("secret".repeat(length)[..length].to_owned());
    let values = document.values(&given, &mut generate).unwrap();
    (document.spec(&values).unwrap(), values)
}

/// Every workload at an address of its own, from 10.0.0.2 on, in the order of the services.
fn discovery(spec: &Spec) -> Discovery {
    let mut last = 1_u8;
    let services = spec.services.iter().map(|service| {
        let peers = (1..=service.count).map(|number| {
            last += 1;
            Peer {
                name: WorkloadName::new(service.name.clone(), number),
                address: NodeAddress::new(IpAddr::from([10, 0, 0, last]), 6379),
                hostname: format!("{}-{number}", service.name),
                memory: service.container.memory,
                host_name: HostName::new("host"),
                host_ip: IpAddr::from([10, 9, 0, 1]),
            }
        });
        (service.name.clone(), peers.collect())
    });
    Discovery::new(services.collect())
}

/// One file of the first workload of a service.
fn file(spec: &Spec, values: &Values, service: &str, source: &str) -> String {
    let service = spec.service(&ServiceName::new(service).unwrap()).unwrap();
    let file = service
        .files
        .iter()
        .find(|file| file.source == source)
        .unwrap();
    let me = WorkloadName::new(service.name.clone(), 1);
    render(file, values, &discovery(spec), &me).unwrap()
}

/// The settings of a config file, without comments and empty lines.
fn settings(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn redis_conf(given: &[(&str, &str)]) -> String {
    let (spec, values) = filled("redis-cluster", given);
    file(&spec, &values, "redis", "redis.conf")
}

#[test]
fn every_template_that_comes_along_lints_clean() {
    let starter = builtin::starter(&TemplateName::new("my-own").unwrap());
    let built_in = builtin::names().map(|name| builtin::files(name).unwrap());
    for files in built_in.chain([starter]) {
        let report: Vec<String> = lint(&files)
            .iter()
            .flat_map(template::Problem::report)
            .collect();
        assert_eq!(report.join("\n"), "");
    }
    assert_eq!(builtin::names().next(), Some("redis-cluster"));
    assert_eq!(builtin::files("redis"), None);
}

#[test]
fn every_template_that_comes_along_has_the_name_by_which_it_is_found() {
    for name in builtin::names() {
        let document = Document::read(&builtin::files(name).unwrap()).unwrap();
        assert_eq!(document.name().as_str(), name);
        assert!(!document.title().is_empty() && !document.description().is_empty());
        for variable in document.variables() {
            assert!(
                !variable.description.is_empty(),
                "{name}: {}",
                variable.name
            );
        }
    }
    let starter = Document::read(&builtin::starter(&TemplateName::new("my-own").unwrap()));
    assert_eq!(starter.unwrap().name().as_str(), "my-own");
}

#[test]
fn the_example_in_the_documentation_lints_clean() {
    let document = include_str!("../../../docs/templates.md");
    let mut blocks = document.split("```").skip(1).step_by(2);
    let files = ["template.yaml", "redis.conf", "nodes"].map(|path| {
        let block = blocks.next().unwrap();
        let (_language, text) = block.split_once('\n').unwrap();
        (path.to_owned(), text.to_owned())
    });
    let report: Vec<String> = lint(&TemplateFiles {
        files: files.into(),
    })
    .iter()
    .flat_map(template::Problem::report)
    .collect();
    assert_eq!(report.join("\n"), "");
}

#[test]
fn the_files_of_the_talk_are_the_files_of_the_talk() {
    let files: TemplateFiles = builtin::files("redis-sharding").unwrap();
    assert_eq!(
        files.files["redis.conf"],
        "port 6379\ncluster-enabled yes\ncluster-config-file nodes.conf\n\
         cluster-node-timeout 5000\nappendonly yes\n"
    );
    assert_eq!(
        files.files["redis-trib.conf"],
        "REPLICAS={{.REPLICAS_NUM}}\n\
         {{ $rs := service \"redis\" }}\n\
         NODES=\"{{range $i,$rc := $rs.Containers}} {{$rc.IPAddr}}:6379{{end}}\"\n"
    );
}

#[test]
fn the_file_of_the_talk_is_rendered_as_go_renders_it() {
    let (spec, values) = filled("redis-sharding", &[]);
    assert_eq!(
        file(&spec, &values, "redis-trib", "redis-trib.conf"),
        "REPLICAS=1\n\nNODES=\" 10.0.0.2:6379 10.0.0.3:6379 10.0.0.4:6379 10.0.0.5:6379 \
         10.0.0.6:6379 10.0.0.7:6379\"\n"
    );
    let files = builtin::files("redis-sharding").unwrap();
    let node = file(&spec, &values, "redis", "redis.conf");
    assert_eq!(node, files.files["redis.conf"]);
}

#[test]
fn the_job_of_the_talk_starts_after_its_nodes() {
    let (spec, _) = filled(
        "redis-sharding",
        &[("NODES", "9"), ("CLUSTER_CMD", "check")],
    );
    let [redis, trib, reshard, drain] = spec.services.as_slice() else {
        panic!("a service and three jobs: {:?}", spec.services);
    };
    assert_eq!((redis.name.as_str(), redis.count), ("redis", 9));
    assert_eq!(redis.cluster, None);
    assert_eq!(redis.container.volumes[0].target, "/data");
    assert_eq!(redis.health.as_ref().unwrap().probe, Probe::Tcp(6379));
    assert_eq!(
        (trib.name.as_str(), trib.kind),
        ("redis-trib", ServiceKind::Job)
    );
    assert_eq!(trib.image.to_string(), "shardyard");
    assert_eq!(
        trib.container.command,
        ["redis-trib", "/usr/local/etc/redis-trib.conf"]
    );
    assert_eq!(trib.container.environment["CLUSTER_CMD"], "check");
    assert_eq!(trib.deployment.restart, RestartPolicy::Never);
    assert!(redis.deployment.start_level < trib.deployment.start_level);
    // The same job around a change of size.
    let hooks = &spec.hooks;
    assert_eq!(hooks.after_scale_out.as_ref(), Some(&reshard.name));
    assert_eq!(hooks.before_scale_in.as_ref(), Some(&drain.name));
    for (job, command) in [(reshard, "reshard"), (drain, "drain")] {
        assert_eq!(job.container.environment["CLUSTER_CMD"], command);
        assert_eq!(job.container.command, trib.container.command);
        assert_eq!(job.files, trib.files);
    }
    assert_eq!((&spec.application, &spec.operator), (&None, &None));
}

#[test]
fn a_cluster_is_what_its_values_say() {
    let (spec, _) = filled(
        "redis-cluster",
        &[
            ("SHARDS", "5"),
            ("REPLICAS_NUM", "2"),
            ("MEMORY", "1gb"),
            ("PORT", "7000"),
        ],
    );
    let [redis] = spec.services.as_slice() else {
        panic!("one service");
    };
    let part = redis.cluster.unwrap();
    assert_eq!((part.shards, part.replicas, redis.count), (5, 2, 15));
    assert_eq!(redis.container.memory, Some(ByteSize::mib(1_024)));
    assert_eq!(redis.container.ports, [7000]);
    assert_eq!(redis.container.user.as_deref(), Some("999:999"));
    assert_eq!(redis.health.as_ref().unwrap().probe, Probe::Tcp(7000));
    let operator = spec.operator.unwrap();
    assert_eq!(operator.user, "shardyard");
    assert_eq!(operator.password.expose().len(), 32);
    assert_eq!(spec.application.unwrap().user, "default");
}

#[test]
fn a_node_is_configured_from_the_variables() {
    assert_eq!(
        settings(&redis_conf(&[])),
        [
            "port 6379",
            "dir /data",
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            "cluster-node-timeout 5000",
            "cluster-allow-replica-migration no",
            "appendonly yes",
            "save \"\"",
            "maxmemory 160mb",
            "maxmemory-policy noeviction",
            "repl-backlog-size 8mb",
            "repl-diskless-sync-delay 0",
            "masteruser replica",
            "masterauth \"secretsecretsecretsecretsecretse\"",
            "aclfile /usr/local/etc/redis/users.acl",
            "protected-mode yes",
        ]
    );
}

#[test]
fn without_a_log_snapshots_stay_on() {
    let text = redis_conf(&[("APPENDONLY", "no")]);
    assert!(settings(&text).contains(&"appendonly no"));
    assert!(settings(&text).contains(&"save 3600 1 300 100 60 10000"));
    assert!(!text.contains("save \"\""));
}

#[test]
fn several_replicas_share_one_snapshot() {
    let text = redis_conf(&[("REPLICAS_NUM", "2")]);
    assert!(settings(&text).contains(&"repl-diskless-sync-delay 5"));
    assert!(settings(&text).contains(&"repl-diskless-sync-max-replicas 2"));
    assert!(redis_conf(&[("REPLICAS_NUM", "0")]).contains("repl-diskless-sync-delay 0\n"));
}

/// The formula for maxmemory sets aside what this template gives to the backlog.
#[test]
fn data_backlog_and_a_fork_fit_into_the_limit() {
    for limit in ["32MiB", "33554435", "100mb", "1gb", "7gb", "48gb", "1tb"] {
        let text = redis_conf(&[("MEMORY", limit)]);
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            ByteSize::parse(line.split(' ').nth(1).unwrap()).unwrap()
        };
        let limit = ByteSize::parse(limit).unwrap();
        let maxmemory = value("maxmemory ");
        let backlog = value("repl-backlog-size ").as_bytes();
        assert_eq!(Some(maxmemory), maxmemory::usable(limit));
        assert!(backlog >= 1 << 20, "{limit}");
        let used = maxmemory.as_bytes() + backlog + limit.as_bytes() / 4;
        assert!(used <= limit.as_bytes(), "{limit}");
    }
}

#[test]
fn a_password_cannot_break_out_of_its_line() {
    for (password, written) in [
        ("it's \"a # b\"", "masterauth \"it's \\\"a # b\\\"\""),
        ("\\", "masterauth \"\\\\\""),
        ("\"", "masterauth \"\\\"\""),
        (
            "{{ .OPERATOR_PASSWORD }}",
            "masterauth \"{{ .OPERATOR_PASSWORD }}\"",
        ),
        ("pässwörd", "masterauth \"p\\xc3\\xa4ssw\\xc3\\xb6rd\""),
    ] {
        let text = redis_conf(&[("REPLICATION_PASSWORD", password)]);
        assert!(settings(&text).contains(&written), "{password}: {text}");
        assert_eq!(text.lines().count(), redis_conf(&[]).lines().count());
    }
}

#[test]
fn users_have_the_rights_they_need_and_no_readable_password() {
    let passwords = [
        ("PASSWORD", "abc"),
        ("OPERATOR_PASSWORD", "abc"),
        ("REPLICATION_PASSWORD", "abc"),
    ];
    let hash = "#ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let users = |image: &str| {
        let mut given = passwords.to_vec();
        given.push(("IMAGE", image));
        let (spec, values) = filled("redis-cluster", &given);
        file(&spec, &values, "redis", "users.acl")
    };
    let others = format!(
        "user default on {hash} ~* &* +@all -@admin -@dangerous +info +role +keys +sort +sort_ro \
         +cluster|replicas +cluster|slaves\n\
         user shardyard on {hash} ~* &* +@all\n\
         user replica on {hash} "
    );
    assert_eq!(
        users("redis:8"),
        format!("{others}resetchannels -@all +psync +replconf +ping\n")
    );
    assert_eq!(
        users("valkey/valkey:9"),
        format!("{others}~* &* +@all -@admin -@dangerous +@write +psync +replconf +cluster\n")
    );
}

/// The table of docs/templates.md, as it follows from the code.
fn function_table() -> String {
    let mut table = String::from("| call | gives | example |\n|---|---|---|\n");
    for function in &template::FUNCTIONS {
        let example = function.example.replace('|', "\\|");
        table.push_str(&format!(
            "| `{}` | {} | `{example}` → `{}` |\n",
            function.usage, function.summary, function.result
        ));
    }
    table
}

#[test]
fn the_page_on_the_format_lists_every_function() {
    let page = include_str!("../../../docs/templates.md");
    let table = function_table();
    assert!(
        page.contains(&table),
        "docs/templates.md needs this table:\n{table}"
    );
}
