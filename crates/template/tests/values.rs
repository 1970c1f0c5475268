//! What a template is given: checked, filled up, and never echoed where it is a secret.
#![expect(
    clippy::unwrap_used,
    reason = "what fails in a helper is the test's failure"
)]

use std::collections::BTreeMap;

use model::fault::{Class, Fault};
use model::ids::VariableName;
use model::secret::Secret;
use model::size::ByteSize;
use model::spec::Value;
use template::{Document, Problems, builtin, values_file};

fn name(text: &str) -> VariableName {
    VariableName::new(text).unwrap()
}

fn cluster() -> Document {
    Document::read(&builtin::files("redis-cluster").unwrap()).unwrap()
}

fn values(given: &[(&str, &str)]) -> Result<BTreeMap<VariableName, Value>, Problems> {
    let given = given
        .iter()
        .map(|(variable, value)| (name(variable), (*value).to_owned()))
        .collect();
    cluster().values(&given, &mut |length| Secret::new("s".repeat(length)))
}

#[test]
fn what_nobody_gives_is_the_default_or_made() {
    let mut lengths = Vec::new();
    let given = BTreeMap::from([(name("PASSWORD"), "mine".to_owned())]);
    let values = cluster()
        .values(&given, &mut |length| {
            lengths.push(length);
            Secret::new(format!("made-{}", lengths.len()))
        })
        .unwrap();
    assert_eq!(lengths, [32, 32]);
    assert_eq!(values[&name("SHARDS")], Value::Int(3));
    assert_eq!(values[&name("MEMORY")], Value::Size(ByteSize::mib(256)));
    assert_eq!(values[&name("APPENDONLY")], Value::Bool(true));
    assert_eq!(values[&name("IMAGE")], Value::Text("redis:7".to_owned()));
    assert_eq!(
        values[&name("PASSWORD")],
        Value::Secret(Secret::new("mine"))
    );
    assert_eq!(values.len(), cluster().variables().len());
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let problems = values(&[
        ("SHARDS", "1001"),
        ("REPLICAS", "1"),
        ("MEMORY", "16mb"),
        ("APPENDONLY", "perhaps"),
        ("MAXMEMORY_POLICY", "allkeys-lur"),
        ("IMAGE", "redis:7\nuser x"),
        ("PORT", "55536"),
        ("NODE_TIMEOUT", "5s"),
    ])
    .unwrap_err();
    let told: Vec<String> = problems
        .all()
        .iter()
        .map(|problem| format!("{} {}", problem.code, problem.message))
        .collect();
    assert_eq!(
        told,
        [
            "SY1021 the template redis-cluster has no variable REPLICAS",
            "SY1023 SHARDS is 1001, and 1000 is the most",
            "SY1024 the value of IMAGE holds a line break",
            "SY1023 MEMORY is 16 MiB, and 32 MiB is the least",
            "SY1022 NODE_TIMEOUT is `5s`, which is no whole number",
            "SY1022 APPENDONLY is `perhaps`, which is not yes or no",
            "SY1023 MAXMEMORY_POLICY is `allkeys-lur`, which is no choice",
            "SY1023 PORT is 55536, and 55535 is the most",
        ]
    );
    let fault = Fault::from(problems);
    assert_eq!((fault.code.0, fault.class), ("SY1021", Class::Usage));
    assert_eq!(
        fault.detail[0],
        "error[SY1021]: the template redis-cluster has no variable REPLICAS"
    );
    assert!(
        fault
            .detail
            .contains(&"  help: did you mean `allkeys-lru`?".to_owned())
    );
}

#[test]
fn the_nearest_variable_is_named() {
    let problems = values(&[("SHARD", "3")]).unwrap_err();
    assert_eq!(
        problems.all()[0].help.as_deref(),
        Some("did you mean `SHARDS`?")
    );
}

#[test]
fn a_secret_is_in_no_error_and_in_no_output_of_ours() {
    for secret in [
        "hunter2\nrename-command FLUSHALL x",
        "hunter2\0",
        "hunter2\u{2028}x",
        "hunter2\u{202e}",
        &"hunter2".repeat(100),
    ] {
        let problems = values(&[("PASSWORD", secret), ("SHARDS", "0")]).unwrap_err();
        assert_eq!(problems.all().len(), 2);
        let fault = format!("{:?}", Fault::from(problems.clone()));
        assert!(!fault.contains("hunter2"), "{fault}");
        assert!(!format!("{problems:?} {problems}").contains("hunter2"));
    }
    let values = values(&[("PASSWORD", "hunter2")]).unwrap();
    let spec = cluster().spec(&values).unwrap();
    assert!(!format!("{values:?} {spec:?}").contains("hunter2"));
}

#[test]
fn values_that_are_missing_or_of_another_type_give_no_spec() {
    let mut given = values(&[]).unwrap();
    given.remove(&name("SHARDS"));
    given.insert(name("MEMORY"), Value::Text("hunter2".to_owned()));
    given.insert(name("PASSWORD"), Value::Text("hunter2".to_owned()));
    given.insert(name("SHARD"), Value::Int(1));
    let problems = cluster().spec(&given).unwrap_err();
    let told: Vec<&str> = problems
        .all()
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "the template redis-cluster has no variable SHARD",
            "the variable SHARDS has no value",
            "the value of MEMORY is not of type size",
            "the value of PASSWORD is not of type secret",
        ]
    );
}

#[test]
fn values_that_contradict_the_services_are_shown_in_the_template() {
    let problems = values(&[("IMAGE", "no image")]);
    let problems = cluster().spec(&problems.unwrap()).unwrap_err();
    let problem = &problems.all()[0];
    assert_eq!(
        problem.message,
        "`no image` is no image: write it as redis:7 or valkey/valkey:9"
    );
    assert_eq!(
        problem.place.as_ref().unwrap().text.as_deref(),
        Some("    image: \"{{ .IMAGE }}\"")
    );
}

#[test]
fn a_values_file_is_taken_as_if_it_were_typed() {
    let given = values_file("v.yaml", "SHARDS: 5\nAPPENDONLY: no\nPASSWORD: \"a b\"\n").unwrap();
    let values = cluster()
        .values(&given, &mut |length| Secret::new("s".repeat(length)))
        .unwrap();
    assert_eq!(values[&name("SHARDS")], Value::Int(5));
    assert_eq!(values[&name("APPENDONLY")], Value::Bool(false));
    assert_eq!(values[&name("PASSWORD")], Value::Secret(Secret::new("a b")));
}
