//! Everything that can be found out about a template without delivering it.
//!
//! Beyond reading it, the linter renders every file: with the defaults, then with each variable at
//! the ends of its bounds and at each of its choices, so that a branch that is seldom taken is
//! looked at, too. The addresses are samples; nothing is asked of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use model::address::NodeAddress;
use model::ids::{HostName, VariableName, WorkloadName};
use model::instance::TemplateFiles;
use model::spec::{Service, Spec, Value};

use crate::code;
use crate::discovery::{Discovery, Peer};
use crate::document::{Document, FILE_NAME};
use crate::file::render;
use crate::go;
use crate::problem::{Problem, Severity, in_order};
use crate::reader::Actions;
use crate::scope::Scope;
use crate::source::Source;
use crate::variable::{Fallback, Variable, VariableKind};
use crate::yaml::{Content, Node};

/// The most workloads of a service that sample addresses are made for.
const SAMPLE_WORKLOADS_MAX: u32 = 64;
/// The most combinations of values that are tried.
const TRIALS_MAX: usize = 200;
/// The networks of the samples.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const FIRST_HOST: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 0);

/// Everything that is wrong with a template, and what somebody should look at, in the order of the
/// places.
#[must_use]
pub fn lint(files: &TemplateFiles) -> Vec<Problem> {
    let (document, mut problems) = Document::read_leniently(files);
    let Some(document) = document else {
        return in_order(problems);
    };
    problems.extend(unused_variables(&document));
    let defaults = document.sample_values();
    // A variable with a fault is not among the values, and every file that uses it would be blamed.
    let is_sound = |problems: &[Problem]| {
        problems
            .iter()
            .all(|problem| problem.severity == Severity::Notice)
    };
    if is_sound(&problems) {
        problems.extend(try_values(&document, &defaults));
    }
    if is_sound(&problems) {
        for (name, value) in trials(document.variables()) {
            let mut values = defaults.clone();
            let told = format!("{name} = {value}");
            values.insert(name, value);
            let found = try_values(&document, &values);
            let new = found.into_iter().map(|mut problem| {
                problem.message = format!("with {told}: {}", problem.message);
                problem
            });
            problems.extend(new);
        }
    }
    in_order(problems)
}

/// The problems of the services and of their files with these values.
fn try_values(document: &Document, values: &BTreeMap<VariableName, Value>) -> Vec<Problem> {
    let scope = Scope::without_secrets(values);
    let (spec, mut problems) = document.read_spec(Actions::Rendered(&scope), values);
    let discovery = sample_discovery(&spec);
    for service in &spec.services {
        let last = service.count.clamp(1, SAMPLE_WORKLOADS_MAX);
        for file in &service.files {
            // The first and the last workload differ in everything that a file can look at.
            let failure = [1, last]
                .into_iter()
                .map(|number| WorkloadName::new(service.name.clone(), number))
                .find_map(|me| render(file, values, &discovery, &me).err());
            problems.extend(failure);
        }
    }
    problems
}

/// Every variable at the values that differ most from its default.
fn trials(variables: &[Variable]) -> Vec<(VariableName, Value)> {
    let mut trials = Vec::new();
    for variable in variables {
        let mut others: Vec<Value> = match &variable.kind {
            VariableKind::Int { min, max } => [min, max]
                .into_iter()
                .flatten()
                .map(|number| Value::Int(*number))
                .collect(),
            VariableKind::Size { min, max } => [min, max]
                .into_iter()
                .flatten()
                .map(|size| Value::Size(*size))
                .collect(),
            VariableKind::Bool => vec![Value::Bool(true), Value::Bool(false)],
            VariableKind::Enum { choices } => choices.iter().cloned().map(Value::Text).collect(),
            VariableKind::Text { .. } | VariableKind::Secret => Vec::new(),
        };
        others.retain(|value| variable.fallback != Fallback::Default(value.clone()));
        trials.extend(
            others
                .into_iter()
                .map(|value| (variable.name.clone(), value)),
        );
    }
    trials.truncate(TRIALS_MAX);
    trials
}

/// Workloads as an engine would place them, on three hosts, each at an address of its own.
fn sample_discovery(spec: &Spec) -> Discovery {
    let mut addresses = (2_u32..).map(|last| Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + last));
    let mut services = BTreeMap::new();
    for service in &spec.services {
        let numbers = 1..=service.count.min(SAMPLE_WORKLOADS_MAX);
        let peers = numbers
            .zip(&mut addresses)
            .map(|(number, ip)| sample_peer(service, number, ip))
            .collect();
        services.insert(service.name.clone(), peers);
    }
    Discovery::new(services)
}

fn sample_peer(service: &Service, number: u32, ip: Ipv4Addr) -> Peer {
    let port = service.container.ports.first().copied().unwrap_or(0);
    let name = WorkloadName::new(service.name.clone(), number);
    let host = number % 3 + 1;
    Peer {
        hostname: name.to_string(),
        name,
        address: NodeAddress::new(ip.into(), port),
        memory: service.container.memory,
        host_name: HostName::new(format!("host-{host}")),
        host_ip: Ipv4Addr::from_bits(FIRST_HOST.to_bits() + host).into(),
    }
}

/// Variables that no service, no file and no credentials name.
fn unused_variables(document: &Document) -> Vec<Problem> {
    let files = &document.files().files;
    let mut used: BTreeSet<String> = BTreeSet::new();
    for (path, text) in files {
        if path != FILE_NAME {
            used.extend(names_in(text));
        }
    }
    let Content::Map(entries) = &document.root().content else {
        return Vec::new();
    };
    for entry in entries {
        match entry.key.as_str() {
            "services" => collect_names(&entry.value, &mut used),
            "credentials" => collect_texts(&entry.value, &mut used),
            _ => {}
        }
    }
    let source = Source {
        file: FILE_NAME,
        text: files.get(FILE_NAME).map_or("", String::as_str),
        shown: true,
    };
    document
        .variables()
        .iter()
        .filter(|variable| !used.contains(variable.name.as_str()))
        .map(|variable| {
            let message = format!("the variable {} is not used", variable.name);
            Problem::new(code::UNUSED_VARIABLE, message)
                .at(source.place(variable.place.clone()))
                .with_help("take it out, or use it in a service or a file")
                .into_notice()
        })
        .collect()
}

fn names_in(text: &str) -> BTreeSet<String> {
    go::scan(text)
        .map(|actions| actions.names)
        .unwrap_or_default()
}

/// The names in the actions of every scalar below a node.
fn collect_names(node: &Node, names: &mut BTreeSet<String>) {
    match &node.content {
        Content::Scalar { text, .. } => names.extend(names_in(text)),
        Content::List(items) => items.iter().for_each(|item| collect_names(item, names)),
        Content::Map(entries) => entries
            .iter()
            .for_each(|entry| collect_names(&entry.value, names)),
    }
}

/// Every scalar below a node.
fn collect_texts(node: &Node, texts: &mut BTreeSet<String>) {
    match &node.content {
        Content::Scalar { text, .. } => {
            texts.insert(text.clone());
        }
        Content::List(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Content::Map(entries) => entries
            .iter()
            .for_each(|entry| collect_texts(&entry.value, texts)),
    }
}
