//! JSON for programs: a contract, versioned, documented in docs/json.md. The types here are its
//! text; the model's never are.

use std::time::Duration;

use control::command::{
    Answered, Backup, Changed, ClusterInfo, ClusterNode, Delivery, Imported, NodeStatus, Proof,
    Row, ShardStatus, Status, Tended, Tried,
};
use control::lock::Operator;
use control::oversee::Word;
use model::fault::Fault;
use model::finding::Finding;
use model::ids::InstanceName;
use model::outline::Outline;
use plan::check::State;
use serde::Serialize;
use serde_json::{Value, json};

/// The version of the contract.
const API_VERSION: &str = "shardyard/v1";

/// A reply as text: one object, with the version of the contract in it.
pub(crate) fn document(mut body: Value) -> String {
    if let Value::Object(fields) = &mut body {
        fields.insert("apiVersion".to_owned(), Value::from(API_VERSION));
    }
    // Values made of maps with text keys, numbers and texts can always be written.
    serde_json::to_string_pretty(&body).unwrap_or_default()
}

/// The same in one line, for a stream of documents.
pub(crate) fn line(body: Value) -> String {
    let text = document(body);
    serde_json::from_str::<Value>(&text)
        .map(|value| value.to_string())
        .unwrap_or_default()
}

fn value<T: Serialize>(body: &T) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

#[derive(Serialize)]
struct FindingBody {
    code: String,
    severity: &'static str,
    subject: String,
    message: String,
    help: Option<String>,
}

fn finding(finding: &Finding) -> FindingBody {
    FindingBody {
        code: finding.code.to_string(),
        severity: finding.severity.as_str(),
        subject: finding.subject.clone(),
        message: finding.message.clone(),
        help: finding.help.clone(),
    }
}

/// Findings as a list.
pub(crate) fn findings(findings: &[Finding]) -> Value {
    value(&findings.iter().map(finding).collect::<Vec<_>>())
}

/// An error.
pub(crate) fn fault(fault: &Fault) -> Value {
    json!({
        "error": {
            "code": fault.code.to_string(),
            "message": fault.message,
            "causes": fault.causes,
            "detail": fault.detail,
            "help": fault.help,
            "exit_code": fault.class.exit_code(),
        }
    })
}

#[derive(Serialize)]
struct PlanBody {
    based_on: String,
    phases: Vec<PhaseBody>,
    findings: Vec<FindingBody>,
}

#[derive(Serialize)]
struct PhaseBody {
    title: String,
    steps: Vec<StepBody>,
}

#[derive(Serialize)]
struct StepBody {
    kind: String,
    subject: String,
    detail: String,
}

/// A plan.
pub(crate) fn plan(plan: &Outline) -> Value {
    value(&PlanBody {
        based_on: plan.based_on.to_string(),
        phases: plan
            .phases
            .iter()
            .map(|phase| PhaseBody {
                title: phase.title.clone(),
                steps: phase
                    .steps
                    .iter()
                    .map(|step| StepBody {
                        kind: step.kind.clone(),
                        subject: step.subject.clone(),
                        detail: step.detail.clone(),
                    })
                    .collect(),
            })
            .collect(),
        findings: plan.findings.iter().map(finding).collect(),
    })
}

#[derive(Serialize)]
struct StatusBody {
    name: String,
    template: String,
    engine: String,
    state: &'static str,
    endpoints: Vec<String>,
    credentials: Option<CredentialsBody>,
    tried: Vec<TriedBody>,
    shards: Vec<ShardBody>,
    other_nodes: Vec<NodeBody>,
    workloads: Vec<WorkloadBody>,
    findings: Vec<FindingBody>,
    operation: Option<OperationBody>,
}

#[derive(Serialize)]
struct TriedBody {
    address: String,
    answered: bool,
    problem: Option<String>,
}

#[derive(Serialize)]
struct CredentialsBody {
    user: String,
    password_file: String,
}

#[derive(Serialize)]
struct ShardBody {
    slots: String,
    slot_count: u32,
    primary: NodeBody,
    replicas: Vec<NodeBody>,
}

#[derive(Serialize)]
struct NodeBody {
    id: Option<String>,
    address: String,
    workload: String,
    host: String,
    role: &'static str,
    version: Option<String>,
    memory_bytes: Option<u64>,
    memory_max_bytes: Option<u64>,
    keys: Option<u64>,
    linked: bool,
    lag_bytes: Option<u64>,
}

#[derive(Serialize)]
struct WorkloadBody {
    name: String,
    address: Option<String>,
    phase: String,
    restarts: u32,
}

#[derive(Serialize)]
struct OperationBody {
    verb: String,
    user: String,
    pid: u32,
    since: String,
}

fn node(node: &NodeStatus) -> NodeBody {
    NodeBody {
        id: node.id.map(|id| id.to_string()),
        address: node.address.to_string(),
        workload: node.workload.to_string(),
        host: node.host.clone(),
        role: node.role,
        version: node.version.map(|it| it.to_string()),
        memory_bytes: node.memory.map(|it| it.as_bytes()),
        memory_max_bytes: node.memory_max.map(|it| it.as_bytes()),
        keys: node.keys,
        linked: node.linked,
        lag_bytes: node.lag.map(|it| it.as_bytes()),
    }
}

fn tried(tried: &Tried) -> TriedBody {
    TriedBody {
        address: tried.address.to_string(),
        answered: tried.problem.is_none(),
        problem: tried.problem.clone(),
    }
}

fn shard(shard: &ShardStatus) -> ShardBody {
    let slots: Vec<String> = shard.slots.iter().map(ToString::to_string).collect();
    ShardBody {
        slots: slots.join(","),
        slot_count: shard.slots.iter().map(|it| u32::from(it.len())).sum(),
        primary: node(&shard.primary),
        replicas: shard.replicas.iter().map(node).collect(),
    }
}

/// How an instance is.
pub(crate) fn status(status: &Status) -> Value {
    value(&StatusBody {
        name: status.name.to_string(),
        template: status.template.clone(),
        engine: status.engine.clone(),
        state: status.state.as_str(),
        endpoints: status
            .endpoints
            .iter()
            .map(|it| format!("redis://{it}"))
            .collect(),
        credentials: status
            .credentials
            .as_ref()
            .map(|(user, file)| CredentialsBody {
                user: user.clone(),
                password_file: file.display().to_string(),
            }),
        tried: status.tried.iter().map(tried).collect(),
        shards: status.shards.iter().map(shard).collect(),
        other_nodes: status.others.iter().map(node).collect(),
        workloads: status
            .workloads
            .iter()
            .map(|it| WorkloadBody {
                name: it.name.to_string(),
                address: it.address.map(|address| address.to_string()),
                phase: it.phase.clone(),
                restarts: it.restarts,
            })
            .collect(),
        findings: status.findings.iter().map(finding).collect(),
        operation: status.operator.as_ref().map(|it| OperationBody {
            verb: it.verb.clone(),
            user: it.user.clone(),
            pid: it.pid,
            since: it.since.clone(),
        }),
    })
}

/// A delivered instance: its status, and what was done.
pub(crate) fn delivery(delivery: &Delivery) -> Value {
    let mut body = status(&delivery.status);
    if let Value::Object(fields) = &mut body {
        fields.insert("created".to_owned(), Value::from(delivery.created));
        fields.insert("changed".to_owned(), Value::from(delivery.changed));
        fields.insert("took_ms".to_owned(), milliseconds(delivery.took));
    }
    body
}

/// What was said to whoever works on an instance.
pub(crate) fn told(instance: &InstanceName, operator: &Operator, word: Option<Word>) -> Value {
    let wanted = match word {
        Some(Word::Pause) => "pause",
        Some(Word::End) => "end",
        None => "go on",
    };
    json!({
        "instance": instance.to_string(),
        "verb": operator.verb,
        "pid": operator.pid,
        "wanted": wanted,
    })
}

/// An instance whose shape was changed.
pub(crate) fn changed(changed: &Changed) -> Value {
    let mut body = status(&changed.status);
    if let Value::Object(fields) = &mut body {
        fields.insert("changed".to_owned(), Value::from(changed.changed));
        fields.insert("took_ms".to_owned(), milliseconds(changed.took));
        fields.insert(
            "proof".to_owned(),
            changed.proof.as_ref().map_or(Value::Null, proof),
        );
    }
    body
}

/// What a client noticed.
fn proof(proof: &Proof) -> Value {
    json!({
        "operations": proof.operations,
        "errors": proof.errors,
        "longest_write_gap_ms": milliseconds(proof.longest_write_gap),
        "acknowledged_writes_lost": proof.acknowledged_writes_lost,
    })
}

fn milliseconds(time: Duration) -> Value {
    value(&u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The instances.
pub(crate) fn list(rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "state": row.state.map(State::as_str),
                "template": row.template,
                "engine": row.engine.to_string(),
                "shards": row.shards,
                "workloads": row.workloads,
                "created_at": row.created_at,
                "problem": row.problem,
            })
        })
        .collect();
    json!({ "instances": rows })
}

fn cluster_node(node: &ClusterNode) -> Value {
    let slots: Vec<String> = node.slots.iter().map(ToString::to_string).collect();
    json!({
        "id": node.id.map(|id| id.to_string()),
        "address": node.address.to_string(),
        "answers": node.answers,
        "role": if node.is_primary { "primary" } else { "replica" },
        "copies": node.copies.map(|id| id.to_string()),
        "slots": slots.join(","),
        "slot_count": node.slot_count(),
        "keys": node.keys,
        "epoch": node.epoch.0,
    })
}

/// A cluster, with findings where it was checked.
pub(crate) fn cluster(info: &ClusterInfo, found: Option<&[Finding]>) -> Value {
    let nodes: Vec<Value> = info.nodes.iter().map(cluster_node).collect();
    match found {
        None => json!({ "nodes": nodes }),
        Some(found) => json!({ "nodes": nodes, "findings": findings(found) }),
    }
}

/// A cluster that was settled or changed.
pub(crate) fn tended(tended: &Tended) -> Value {
    let mut body = cluster(&tended.cluster, Some(&tended.findings));
    if let Value::Object(fields) = &mut body {
        fields.insert("verb".to_owned(), Value::from(tended.verb));
        fields.insert("changed".to_owned(), Value::from(tended.changed));
        fields.insert("took_ms".to_owned(), milliseconds(tended.took));
        let proof = tended.proof.as_ref().map_or(Value::Null, proof);
        fields.insert("proof".to_owned(), proof);
    }
    body
}

/// Keys that were brought in.
pub(crate) fn imported(imported: &Imported) -> Value {
    let mut body = cluster(&imported.cluster, Some(&imported.findings));
    if let Value::Object(fields) = &mut body {
        let source = imported.source.to_string();
        fields.insert("source".to_owned(), Value::from(source));
        fields.insert("copied".to_owned(), Value::from(imported.copies));
        for (name, keys) in [
            ("keys_before", imported.keys_before),
            ("keys_moved", imported.keys_moved),
            ("keys_left", imported.keys_left),
        ] {
            fields.insert(name.to_owned(), Value::from(keys));
        }
        fields.insert("changed".to_owned(), Value::from(imported.changed));
        fields.insert("took_ms".to_owned(), milliseconds(imported.took));
    }
    body
}

/// A backup that was taken: its manifest, where it is, and how long it took.
pub(crate) fn backup(backup: &Backup) -> Value {
    let mut body = backup.manifest();
    if let Value::Object(fields) = &mut body {
        let directory = backup.directory.display().to_string();
        fields.insert("directory".to_owned(), Value::from(directory));
        fields.insert("took_ms".to_owned(), milliseconds(backup.took));
    }
    body
}

/// What each node answered.
pub(crate) fn answers(answers: &[Answered]) -> Value {
    let answers: Vec<Value> = answers
        .iter()
        .map(|it| match &it.answer {
            Ok(answer) => json!({ "address": it.address.to_string(), "answer": answer }),
            Err(fault) => json!({
                "address": it.address.to_string(),
                "error": { "code": fault.code.to_string(), "message": fault.message },
            }),
        })
        .collect();
    json!({ "answers": answers })
}
