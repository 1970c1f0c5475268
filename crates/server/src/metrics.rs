//! Figures for Prometheus: redis_exporter's names where they exist, ours for what it does not know.
//! They are those of the last look; to ask for them asks no server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::door::Viewer;
use crate::samples::Samples;
use crate::server::Server;
use crate::wire::{InstanceStatus, Node, SlotMap};

#[cfg(test)]
mod tests;

type Labels = Vec<(&'static str, String)>;
type Figures = Family<Labels, Gauge<i64>>;

pub(crate) async fn serve(State(server): State<Arc<Server>>, _: Viewer) -> Response {
    let Some(text) = written(&server.samples) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The figures of every instance as text.
fn written(samples: &Samples) -> Option<String> {
    let mut registry = Registry::default();
    let tables = Tables::new(&mut registry);
    for status in samples.last() {
        tables.instance(samples, &status);
    }
    let mut text = String::new();
    encode(&mut text, &registry).ok()?;
    Some(text)
}

struct Tables {
    up: Figures,
    memory: Figures,
    memory_max: Figures,
    keys: Figures,
    ops: Figures,
    replicas: Figures,
    lag: Figures,
    ready: Figures,
    stopped: Figures,
    redundancy: Figures,
    not_served: Figures,
    plan_steps: Figures,
    findings: Figures,
}

impl Tables {
    fn new(registry: &mut Registry) -> Self {
        let mut made = |name: &str, help: &str| {
            let figures = Figures::default();
            registry.register(name, help, figures.clone());
            figures
        };
        Self {
            up: made("redis_up", "Whether the node answers"),
            memory: made("redis_memory_used_bytes", "The memory that its data takes"),
            memory_max: made("redis_memory_max_bytes", "The most that its data may take"),
            keys: made("redis_db_keys", "Its keys"),
            ops: made("redis_instantaneous_ops_per_sec", "Commands a second"),
            replicas: made("redis_connected_slaves", "The linked replicas of a primary"),
            lag: made("shardyard_replica_lag_bytes", "How far a replica is behind"),
            ready: made("shardyard_instance_ready", "Whether the instance is ready"),
            stopped: made("shardyard_instance_stopped", "Whether it is stopped"),
            redundancy: made(
                "shardyard_shard_redundancy",
                "The linked copies beside a primary",
            ),
            not_served: made("shardyard_slots_not_served", "The slots that nobody serves"),
            plan_steps: made(
                "shardyard_plan_steps",
                "The steps that the instance is away from what was asked for",
            ),
            findings: made("shardyard_findings", "What checks noticed, by severity"),
        }
    }

    fn instance(&self, samples: &Samples, status: &InstanceStatus) {
        let name = || vec![("instance", status.name.clone())];
        let set = |figures: &Figures, labels: Labels, value: u64| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            figures.get_or_create(&labels).set(value);
        };
        set(&self.ready, name(), u64::from(status.state == "ready"));
        set(&self.stopped, name(), u64::from(status.state == "stopped"));
        if is_cluster(status) && status.state != "stopped" {
            let slots = SlotMap::of(&status.shards);
            set(&self.not_served, name(), slots.not_served.into());
        }
        if let Some(steps) = samples.steps(&status.name) {
            set(&self.plan_steps, name(), steps as u64);
        }
        for severity in ["notice", "warning", "critical"] {
            let count = status
                .findings
                .iter()
                .filter(|it| it.severity == severity)
                .count();
            let mut labels = name();
            labels.push(("severity", severity.to_owned()));
            set(&self.findings, labels, count as u64);
        }
        for shard in &status.shards {
            let linked = shard.replicas.iter().filter(|it| it.linked).count() as u64;
            let mut labels = name();
            labels.push(("shard", shard.primary.workload.clone()));
            set(&self.redundancy, labels, linked);
            set(&self.replicas, labels_of(status, &shard.primary), linked);
        }
        let every = status
            .shards
            .iter()
            .flat_map(|it| std::iter::once(&it.primary).chain(&it.replicas))
            .chain(&status.other_nodes);
        for node in every {
            let labels = || labels_of(status, node);
            set(&self.up, labels(), u64::from(node.role != "unknown"));
            let figures = [
                (&self.memory, node.memory_bytes),
                (&self.memory_max, node.memory_max_bytes),
                (&self.keys, node.keys),
                (&self.lag, node.lag_bytes),
            ];
            for (figures, value) in figures {
                if let Some(value) = value {
                    set(figures, labels(), value);
                }
            }
        }
        let newest = samples.newest(&status.name);
        for node in newest.into_iter().flat_map(|it| it.nodes) {
            if let Some(ops) = node.ops_per_second {
                let mut labels = name();
                labels.push(("workload", node.workload));
                set(&self.ops, labels, ops);
            }
        }
    }
}

/// Whether its servers are a cluster, as far as can be seen: where all are silent they may be one.
fn is_cluster(status: &InstanceStatus) -> bool {
    let is_outside = |it: &Node| it.role != "unknown" && it.id.is_none();
    !status.shards.is_empty() || !status.other_nodes.iter().any(is_outside)
}

fn labels_of(status: &InstanceStatus, node: &Node) -> Labels {
    vec![
        ("instance", status.name.clone()),
        ("workload", node.workload.clone()),
        ("addr", node.address.clone()),
    ]
}
