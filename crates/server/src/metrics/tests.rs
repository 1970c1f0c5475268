//! What is said in docs/monitoring is held to what the server writes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::wire::{FindingBody, NodeSample, Sample, Shard};

const ALERTS: &str = include_str!("../../../../docs/monitoring/alerts.yaml");
const BOARD: &str = include_str!("../../../../docs/monitoring/grafana.json");
const PAGE: &str = include_str!("../../../../docs/monitoring.md");

fn node(workload: &str, role: &str) -> Node {
    Node {
        id: (role != "standalone" && role != "unknown").then(|| workload.to_owned()),
        address: "10.0.0.2:6379".to_owned(),
        workload: workload.to_owned(),
        host: "h".to_owned(),
        role: role.to_owned(),
        version: None,
        memory_bytes: Some(1),
        memory_max_bytes: Some(2),
        keys: Some(3),
        linked: true,
        lag_bytes: (role == "replica").then_some(0),
    }
}

fn status(state: &str, shards: Vec<Shard>, other_nodes: Vec<Node>) -> InstanceStatus {
    InstanceStatus {
        name: "orders".to_owned(),
        template: String::new(),
        engine: String::new(),
        state: state.to_owned(),
        endpoints: Vec::new(),
        credentials: None,
        tried: Vec::new(),
        shards,
        other_nodes,
        workloads: Vec::new(),
        findings: Vec::<FindingBody>::new(),
        operation: None,
    }
}

fn shard() -> Shard {
    Shard {
        slots: "0-16382".to_owned(),
        slot_count: 16383,
        primary: node("redis-1", "primary"),
        replicas: vec![node("redis-2", "replica")],
    }
}

fn text_of(status: InstanceStatus) -> String {
    let samples = Samples::default();
    samples.note_steps("orders", 1);
    let sample = Sample {
        at_ms: 0,
        state: status.state.clone(),
        ops_per_second: 4,
        memory_bytes: 1,
        keys: 3,
        latency_us: 5,
        nodes: vec![NodeSample {
            workload: "redis-1".to_owned(),
            ops_per_second: Some(4),
            memory_bytes: None,
            latency_us: None,
        }],
    };
    samples.keep(status, sample);
    written(&samples).unwrap()
}

/// The names of the figures that the server writes, and those of their labels.
fn names() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = text_of(status("ready", vec![shard()], Vec::new()));
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    let (mut figures, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let (name, rest) = line.split_once('{').unwrap();
        figures.insert(name.to_owned());
        let pairs = rest.split('}').next().unwrap().split(',');
        labels.extend(pairs.map(|it| it.split('=').next().unwrap().to_owned()));
    }
    (figures, labels)
}

/// What of PromQL is neither a figure nor a label.
const WORDS: [&str; 10] = [
    "and",
    "or",
    "unless",
    "on",
    "by",
    "ignoring",
    "without",
    "group_left",
    "bool",
    "offset",
];

/// The figures and the labels that a query names. Labels stand in braces, and in parentheses after
/// one of the words that take labels.
fn used(query: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut figures, mut labels) = (BTreeSet::new(), BTreeSet::new());
    let (mut braces, mut taking, mut before) = (false, false, String::new());
    let mut rest = query;
    while let Some(sign) = rest.chars().next() {
        let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '$';
        let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
        if end > 0 {
            let word = &rest[..end];
            let after = rest[end..].trim_start();
            let calls = ["(", "by ", "without "]
                .iter()
                .any(|it| after.starts_with(it));
            let is_name = word.starts_with(|it: char| it.is_ascii_alphabetic());
            if is_name && (braces || taking) {
                labels.insert(word.to_owned());
            } else if is_name && !calls && !WORDS.contains(&word) {
                figures.insert(word.to_owned());
            }
            word.clone_into(&mut before);
            rest = &rest[end..];
            continue;
        }
        let skipped = match sign {
            '"' => rest[1..].find('"').map_or(rest.len(), |it| it + 2),
            '[' => rest.find(']').map_or(rest.len(), |it| it + 1),
            _ => sign.len_utf8(),
        };
        match sign {
            '{' | '}' => braces = sign == '{',
            '(' => taking = ["on", "by", "ignoring", "without"].contains(&before.as_str()),
            ')' => taking = false,
            _ => {}
        }
        if !sign.is_whitespace() {
            before.clear();
        }
        rest = &rest[skipped..];
    }
    (figures, labels)
}

/// The texts of this name anywhere within a JSON value.
fn texts<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                found.extend(field.as_str().filter(|_| key == name));
                texts(field, name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|it| texts(it, name, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check(queries: &[&str]) {
    let (figures, labels) = names();
    for query in queries {
        let (named, with) = used(query);
        assert!(!named.is_empty(), "no figure in: {query}");
        let unknown: Vec<_> = named.difference(&figures).collect();
        assert!(
            unknown.is_empty(),
            "the server writes no {unknown:?}: {query}"
        );
        let unknown: Vec<_> = with.difference(&labels).collect();
        assert!(unknown.is_empty(), "no figure has {unknown:?}: {query}");
    }
}

#[test]
fn the_alerts_ask_for_what_the_server_writes() {
    let lines = ALERTS.lines().map(str::trim);
    let queries: Vec<&str> = lines.filter_map(|it| it.strip_prefix("expr: ")).collect();
    assert_eq!(queries.len(), ALERTS.matches("- alert: ").count());
    check(&queries);
    for label in ALERTS.split("$labels.").skip(1) {
        let end = label.find(|it: char| !it.is_ascii_lowercase()).unwrap();
        assert!(names().1.contains(&label[..end]), "{}", &label[..end]);
    }
}

#[test]
fn the_board_asks_for_what_the_server_writes() {
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let mut queries = Vec::new();
    texts(&board, "expr", &mut queries);
    assert!(queries.len() >= 12, "{}", queries.len());
    check(&queries);
    let mut asked = Vec::new();
    texts(&board, "query", &mut asked);
    let asked = asked
        .iter()
        .filter_map(|it| it.strip_prefix("label_values("));
    for asked in asked {
        let (figure, label) = asked.trim_end_matches(')').split_once(", ").unwrap();
        assert!(
            names().0.contains(figure) && names().1.contains(label),
            "{asked}"
        );
    }
}

#[test]
fn the_page_names_each_figure_that_the_server_writes_and_no_other() {
    let rows = PAGE.lines().filter(|it| it.starts_with("| `"));
    let cells = rows.filter_map(|it| it.split('|').nth(1));
    let told: BTreeSet<String> = cells
        .flat_map(|it| it.split(','))
        .map(|it| it.trim().trim_matches('`').to_owned())
        .collect();
    assert_eq!(told, names().0);
}

#[test]
fn slots_that_nobody_serves_are_told_of_clusters_that_should_serve_them() {
    let check = |status: InstanceStatus, expected: Option<&str>| {
        let text = text_of(status);
        let line = "shardyard_slots_not_served{instance=\"orders\"} ";
        let told = text.lines().find_map(|it| it.strip_prefix(line));
        assert_eq!(told, expected);
    };
    check(status("unavailable", vec![shard()], Vec::new()), Some("1"));
    let silent = || vec![node("redis-1", "unknown")];
    check(status("unavailable", Vec::new(), silent()), Some("16384"));
    check(status("stopped", Vec::new(), silent()), None);
    check(
        status("ready", Vec::new(), vec![node("redis-1", "standalone")]),
        None,
    );
}

#[test]
fn a_query_is_read_into_figures_and_labels() {
    let (figures, labels) =
        used("max by (host) (rate(a_b{c=\"d\"}[5m])) > 2 * 1024 and on (e) f == 1");
    assert_eq!(figures, ["a_b", "f"].map(str::to_owned).into());
    assert_eq!(labels, ["c", "e", "host"].map(str::to_owned).into());
}
