//! Recent figures of each instance, in memory: one look every few seconds, kept for an hour. A look
//! changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::command::{NodeStatus, Status};
use control::store::Store;
use control::{Command, Reply};
use futures::{StreamExt, stream};
use model::ids::InstanceName;
use model::spec::Credentials;

use crate::server::Server;
use crate::wire::{EventBody, InstanceStatus, NodeSample, Sample};

/// How often each instance is looked at, and an hour of such looks.
const PAUSE: Duration = Duration::from_secs(5);
const KEPT_MAX: usize = 720;

/// How many nodes of an instance are asked at once.
const ASKED_MAX: usize = 16;

/// The figures of all instances.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    kept: Mutex<BTreeMap<String, VecDeque<Sample>>>,
    last: Mutex<BTreeMap<String, InstanceStatus>>,
    steps: Mutex<BTreeMap<String, usize>>,
}

impl Samples {
    /// An instance's figures, oldest first.
    pub(crate) fn of(&self, instance: &str) -> Vec<Sample> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(instance).into_iter().flatten().cloned().collect()
    }

    /// How each instance was when it was last looked at.
    pub(crate) fn last(&self) -> Vec<InstanceStatus> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.values().cloned().collect()
    }

    /// The newest figures of an instance.
    pub(crate) fn newest(&self, instance: &str) -> Option<Sample> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(instance)?.back().cloned()
    }

    /// How many steps an instance is away from what was asked for; unknown before the first plan.
    pub(crate) fn steps(&self, instance: &str) -> Option<usize> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.get(instance).copied()
    }

    /// Notes how long an instance's plan is.
    pub(crate) fn note_steps(&self, instance: &str, count: usize) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.insert(instance.to_owned(), count);
    }

    /// Keeps how an instance is, and its figures.
    pub(crate) fn keep(&self, status: InstanceStatus, sample: Sample) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = kept.entry(status.name.clone()).or_default();
        if ring.len() == KEPT_MAX {
            ring.pop_front();
        }
        ring.push_back(sample);
        drop(kept);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(status.name.clone(), status);
    }

    /// Forgets the instances that are no more.
    fn only(&self, names: &[InstanceName]) {
        let is_there = |name: &String| names.iter().any(|it| it.as_str() == name);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|name, _| is_there(name));
        drop(kept);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|name, _| is_there(name));
        drop(last);
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.retain(|name, _| is_there(name));
    }
}

/// Looks at every instance for ever.
pub(crate) async fn look(server: Arc<Server>) {
    loop {
        // A state that cannot be read is told by every request; here it only means no figures.
        let names = Store::open(&server.home).and_then(|it| it.names());
        let names = names.unwrap_or_default();
        server.samples.only(&names);
        for name in names {
            look_at(&server, name).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look_at(server: &Server, name: InstanceName) {
    let Ok(Reply::Status(status)) = server.ask(Command::Status(name.clone())).await else {
        return;
    };
    let stored = Store::open(&server.home).and_then(|it| it.load(&name));
    let Ok(Some(stored)) = stored else {
        return;
    };
    let sample = sample(server, &status, stored.instance.spec.operator.as_ref()).await;
    let told = EventBody::Sample {
        instance: name.to_string(),
        sample: sample.clone(),
    };
    server.hub.tell(name.as_str(), told);
    server.samples.keep(InstanceStatus::from(&*status), sample);
}

async fn sample(server: &Server, status: &Status, login: Option<&Credentials>) -> Sample {
    let primaries: Vec<&NodeStatus> = status.shards.iter().map(|it| &it.primary).collect();
    let mut all: Vec<NodeStatus> = Vec::new();
    for shard in &status.shards {
        all.push(shard.primary.clone());
        all.extend(shard.replicas.iter().cloned());
    }
    all.extend(status.others.iter().cloned());
    let asked: Vec<_> = all
        .into_iter()
        .map(|node| node_sample(server, node, login))
        .collect();
    let nodes: Vec<NodeSample> = stream::iter(asked).buffered(ASKED_MAX).collect().await;
    let bytes = |it: &&NodeStatus| it.memory.map(|it| it.as_bytes());
    Sample {
        at_ms: jiff::Timestamp::now().as_millisecond(),
        state: status.state.as_str().to_owned(),
        ops_per_second: nodes.iter().filter_map(|it| it.ops_per_second).sum(),
        memory_bytes: primaries.iter().filter_map(bytes).sum(),
        keys: primaries.iter().filter_map(|it| it.keys).sum(),
        latency_us: nodes
            .iter()
            .filter_map(|it| it.latency_us)
            .max()
            .unwrap_or(0),
        nodes,
    }
}

async fn node_sample(server: &Server, node: NodeStatus, login: Option<&Credentials>) -> NodeSample {
    let mut sample = NodeSample {
        workload: node.workload.to_string(),
        ops_per_second: None,
        memory_bytes: node.memory.map(|it| it.as_bytes()),
        latency_us: None,
    };
    if node.role == "unknown" {
        return sample;
    }
    let asked = |words: &[&str]| -> Vec<String> { words.iter().map(|&it| it.to_owned()).collect() };
    let ping = asked(&["PING"]);
    let began = Instant::now();
    if server
        .hands
        .nodes
        .call(node.address, &ping, login)
        .await
        .is_ok()
    {
        sample.latency_us = u64::try_from(began.elapsed().as_micros()).ok();
    }
    let info = asked(&["INFO", "stats"]);
    if let Ok(text) = server.hands.nodes.call(node.address, &info, login).await {
        sample.ops_per_second = field(&text, "instantaneous_ops_per_sec");
    }
    sample
}

fn field(info: &str, name: &str) -> Option<u64> {
    let mut lines = info.lines().filter_map(|it| it.split_once(':'));
    lines.find(|it| it.0 == name)?.1.trim().parse().ok()
}
