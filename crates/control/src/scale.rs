//! Changes the shape of an instance that is there: more or fewer shards, replicas and workloads, or
//! another share of slots for each shard.
//!
//! What is to be is stored first. Killed at any point, the next `up` finds the intent and goes on;
//! so does the same command once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::finding::{Finding, Severity};
use model::ids::{InstanceName, ServiceName, ShardIndex, VariableName, WorkloadName};
use model::instance::Instance;
use model::outline::Outline;
use model::port::AddressRequest;
use model::secret::Secret;
use model::slots::Slot;
use model::spec::{ClusterPart, Service, Spec, Value};
use model::view::View;
use model::workload::Workload;
use plan::scale::{self, Balance, ScaleSite};
use serde::{Deserialize, Serialize};
use template::Document;

use crate::approve::refused;
use crate::command::{Control, Reply};
use crate::converge::{Run, plan_for, policy, settle};
use crate::proof::{Probe, Proof};
use crate::status::{Status, status};
use crate::tend::moving;
use crate::up::{fresh_ids, fresh_number, must_be_allowed, must_not_expose, taken_addresses};
use crate::word::{self, Known};
use crate::{census, lock, oversee};

/// How fast slots are moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pace {
    /// The latency that clients may see; the usual budget where nothing is said, and none for zero.
    pub latency_max: Option<Duration>,
    /// The most keys a second.
    pub keys_per_second_max: Option<u32>,
}

/// What shape the user wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Shape {
    /// Other values of the variables that say how many there are.
    Numbers {
        /// The variables.
        given: BTreeMap<VariableName, String>,
        /// Those of them that stood among the arguments of a command.
        in_arguments: BTreeSet<VariableName>,
    },
    /// The same nodes, and another share of slots for each shard.
    Shares {
        /// By what a slot is weighed.
        by: Measure,
        /// The weight of a node's shard; 1 where nothing is said.
        weights: BTreeMap<WorkloadName, u32>,
        /// How far from its share a shard may be.
        threshold_percent: u32,
    },
    /// A slot that has a shard for itself.
    Alone {
        /// The slot.
        slot: Slot,
        /// A node of the shard; of the one with the fewest slots where nobody is named.
        onto: Option<WorkloadName>,
    },
    /// What it has come to: the rest of a change that is under way is no longer wanted.
    AsItIs,
}

/// By what slots are weighed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Measure {
    /// Each slot counts as much.
    Slots,
    /// The keys in it.
    Keys,
    /// The memory of its keys: as the server counts it, else from a sample of each slot's keys.
    Memory,
    /// The time that commands on it took, as the server counts it.
    Load,
}

/// A wish to change an instance's shape.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The instance.
    pub name: InstanceName,
    /// The verb, for whoever asks who is at work.
    #[serde(deserialize_with = "word::shape_verb")]
    pub verb: Known,
    /// What shape.
    pub shape: Shape,
    /// How fast.
    pub pace: Pace,
    /// Show the plan only.
    pub dry_run: bool,
    /// How long workloads may take to come up, and then the cluster to be ready.
    pub limit: Duration,
}

/// An instance whose shape was changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Changed {
    /// How it is.
    pub status: Status,
    /// Whether anything had to be done.
    pub changed: bool,
    /// How long it took.
    pub took: Duration,
    /// What a client noticed; nothing where no slot moved.
    pub proof: Option<Proof>,
}

/// Changes the shape.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let began = control.hands.clock.now();
    let store = control.store()?;
    let _lock = if request.dry_run {
        None
    } else {
        if request.shape == Shape::AsItIs {
            oversee::end(control, &request.name, request.limit).await?;
        }
        Some(lock::take(&control.home, &request.name, request.verb)?)
    };
    let instance = control.instance(&request.name)?.instance;
    must_be_delivered(&instance)?;
    let engine = control.hands.engine(&instance)?;
    engine.ensure_minded(&instance.name).await?;
    let view = control.hands.observe(&instance).await?;
    let next = reshaped(control, &instance, &view, &request).await?;
    let mut policy = policy(request.limit);
    if let Some(budget) = request.pace.latency_max {
        policy.manner.latency_max = Some(budget).filter(|it| !it.is_zero());
    }
    policy.manner.keys_per_second_max = request.pace.keys_per_second_max;
    let review = review(control, &instance, &next, &view).await?;
    if request.dry_run {
        let mut plan = plan_for(&next, &view, policy)?;
        plan.findings.splice(..0, review);
        return Ok(Reply::Plan(Outline::from(&plan)));
    }
    let who = lock::Operator::me(request.verb);
    let operation = store.begin(&instance.name, request.verb, &who.user)?;
    let run = Run {
        hands: &control.hands,
        approver: control.approver.as_ref(),
        journal: &operation,
        what: format!("{} {}", request.verb, instance.name),
        review,
        policy,
    };
    let moving = moving(&plan_for(&next, &view, policy)?);
    let converging = run.converge(&next, || store.save(&next));
    let working = async {
        if moving.is_empty() {
            return (converging.await, None);
        }
        let login = next.spec.operator.as_ref();
        let probe = Probe::new(&control.hands, login, &moving, &view.nodes);
        let (converged, proof) = probe.beside(converging).await;
        (converged, Some(proof))
    };
    let (converged, proof) = oversee::heeding(control, &next.name, working).await?;
    operation.end(&match &converged {
        Ok(_) => "done".to_owned(),
        Err(fault) => format!("{}: {}", fault.code, fault.message),
    })?;
    let converged = converged?;
    // Where nothing had to be done, what is wanted may yet be another than before.
    let is_other = next != instance;
    if is_other {
        store.save(&next)?;
    }
    let settled = settle(control, &store, next).await?;
    let view = control.hands.observe(&settled).await?;
    Ok(Reply::Changed(Box::new(Changed {
        status: status(control, &settled, &view),
        changed: converged.changed || is_other,
        took: control.hands.clock.now().saturating_sub(began),
        proof: proof.filter(|_| converged.changed),
    })))
}

fn must_be_delivered(instance: &Instance) -> Result<(), Fault> {
    if instance.delivered {
        return Ok(());
    }
    let name = &instance.name;
    Err(Fault::new(
        "SY4023",
        Class::Refused,
        format!("instance {name} was never ready, and its shape can only be changed once it was"),
    )
    .with_help(format!("shardyard up --name {name}")))
}

/// The instance as it is to be. The same wish while it is under way is no other one.
async fn reshaped(
    control: &Control,
    instance: &Instance,
    view: &View,
    request: &Request,
) -> Result<Instance, Fault> {
    match &request.shape {
        Shape::Numbers {
            given,
            in_arguments,
        } => {
            let document = Document::read(&instance.files)?;
            must_not_expose(&document, in_arguments)?;
            let asked = document.values(given, &mut |_| Secret::new(String::new()))?;
            let mut values = instance.values.clone();
            for name in given.keys() {
                if let Some(value) = asked.get(name) {
                    values.insert(name.clone(), value.clone());
                }
            }
            if values == instance.values && scale::is_under_way(instance) {
                return Ok(instance.clone());
            }
            let spec = document.spec(&values)?;
            must_only_count(&instance.spec, &spec)?;
            let mut next = seated(control, instance, spec, view).await?;
            next.values = values;
            Ok(next)
        }
        Shape::AsItIs => as_it_is(instance, view),
        Shape::Alone { .. } if scale::is_under_way(instance) => Ok(instance.clone()),
        Shape::Alone { slot, onto } => {
            let onto = match onto {
                Some(node) => shard_of(instance, node)?,
                None => smallest(instance, view),
            };
            scale::isolate(instance, view, *slot, onto).map_err(refused)
        }
        Shape::Shares {
            by,
            weights,
            threshold_percent,
        } => {
            if scale::is_under_way(instance) {
                return Ok(instance.clone());
            }
            let servers = plan::converge::server_addresses(instance);
            let primaries = plan::ready::primaries(&servers, &view.nodes);
            let login = instance.spec.operator.as_ref();
            let loads = census::weighed(control, login, &primaries, *by).await?;
            let balance = Balance {
                loads: loads.as_ref(),
                weights: shard_weights(instance, weights)?,
                threshold_percent: *threshold_percent,
            };
            scale::rebalance(instance, view, &balance).map_err(refused)
        }
    }
}

/// The instance without the rest of its change. The variables are brought into line with it.
fn as_it_is(instance: &Instance, view: &View) -> Result<Instance, Fault> {
    let name = &instance.name;
    if !scale::is_under_way(instance) {
        let message = format!("no change of instance {name} is under way");
        return Err(Fault::new("SY4058", Class::Refused, message)
            .with_help(format!("shardyard status {name}   shows how it is")));
    }
    let kept = scale::cancelled(instance, view);
    let document = Document::read(&instance.files)?;
    let Some((values, spec)) = in_line(&document, &instance.values, &kept.spec) else {
        let message = format!(
            "no values of the template's variables stand for what instance {name} has come to"
        );
        return Err(
            Fault::new("SY4060", Class::Refused, message).with_help(format!(
                "shardyard up --name {name}   goes on with the change"
            )),
        );
    };
    Ok(Instance {
        values,
        spec,
        ..kept
    })
}

/// The values that make as many workloads of each service as this spec has: the whole numbers among
/// them, by one or two, are tried with the numbers that there are.
fn in_line(
    document: &Document,
    values: &BTreeMap<VariableName, Value>,
    wanted: &Spec,
) -> Option<(BTreeMap<VariableName, Value>, Spec)> {
    let fits = |values: &BTreeMap<VariableName, Value>| {
        let spec = document.spec(values).ok()?;
        (counts(&spec) == counts(wanted)).then(|| (values.clone(), spec))
    };
    let mut tried: Vec<BTreeMap<VariableName, Value>> = vec![values.clone()];
    let numbers: Vec<&VariableName> = values
        .iter()
        .filter(|(_, value)| matches!(value, Value::Int(_)))
        .map(|(name, _)| name)
        .collect();
    let candidates = candidates(wanted);
    for _ in 0..CHANGED_TOGETHER {
        if let Some(found) = tried.iter().find_map(fits) {
            return Some(found);
        }
        let changed = tried.iter().flat_map(|before| {
            numbers.iter().flat_map(|name| {
                candidates.iter().map(|number| {
                    let mut values = before.clone();
                    values.insert((*name).clone(), Value::Int(*number));
                    values
                })
            })
        });
        tried = changed.collect();
    }
    tried.iter().find_map(fits)
}

/// How many variables say how many there are: those of shards and of replicas.
const CHANGED_TOGETHER: usize = 2;

/// The numbers that a variable of a spec may stand for.
fn candidates(spec: &Spec) -> BTreeSet<i64> {
    let services = spec.services.iter();
    services
        .flat_map(|service| {
            let part = service.cluster.map(|it| [it.shards, it.replicas]);
            let count = i64::from(service.count);
            let numbers = part.into_iter().flatten().map(i64::from);
            numbers.chain([count, count - 1]).collect::<Vec<i64>>()
        })
        .collect()
}

fn counts(spec: &Spec) -> Vec<(&ServiceName, u32, Option<ClusterPart>)> {
    let services = spec.services.iter();
    services
        .map(|it| (&it.name, it.count, it.cluster))
        .collect()
}

async fn seated(
    control: &Control,
    instance: &Instance,
    spec: Spec,
    view: &View,
) -> Result<Instance, Fault> {
    let newcomers = scale::newcomers(instance, &spec, view);
    let wish = AddressRequest {
        instance: instance.name.clone(),
        ports: newcomers.clone(),
        without_bus: spec.without_bus(),
        taken: taken_addresses(control)?,
        expose: instance.expose,
    };
    let engine = control.hands.engine(instance)?;
    let proposed = engine.propose_addresses(&wish).await?;
    let names = newcomers.iter().map(|(name, _)| name.clone());
    let addresses: BTreeMap<WorkloadName, NodeAddress> = names.zip(proposed).collect();
    let ids = fresh_ids(newcomers.len())?;
    let site = ScaleSite {
        hosts: &view.engine.hosts,
        addresses: &addresses,
        ids: &ids,
    };
    let next = scale::rescale(instance, spec, view, site).map_err(refused)?;
    Ok(scale::with_turns(instance, next, fresh_number()?))
}

/// Only numbers of workloads change; anything else needs servers that start anew.
fn must_only_count(before: &Spec, after: &Spec) -> Result<(), Fault> {
    let same = |service: &Service| {
        after.service(&service.name).is_some_and(|other| {
            let counted = Service {
                count: service.count,
                cluster: service.cluster,
                ..other.clone()
            };
            counted == *service
        })
    };
    match before.services.iter().find(|service| !same(service)) {
        None => Ok(()),
        Some(service) => Err(Fault::new(
            "SY4024",
            Class::Usage,
            format!(
                "this changes more than how many workloads service {} has",
                service.name
            ),
        )
        .with_help("scale changes the variables that say how many: SHARDS, REPLICAS_NUM, NODES")),
    }
}

fn shard_weights(
    instance: &Instance,
    weights: &BTreeMap<WorkloadName, u32>,
) -> Result<BTreeMap<ShardIndex, u32>, Fault> {
    let weights = weights.iter();
    weights
        .map(|(workload, weight)| Ok((shard_of(instance, workload)?, *weight)))
        .collect()
}

/// The shard of a node.
fn shard_of(instance: &Instance, workload: &WorkloadName) -> Result<ShardIndex, Fault> {
    let seat = instance.layout.seats.get(workload);
    let node = seat.and_then(|seat| seat.node).ok_or_else(|| {
        let message = format!("{workload} is no node of instance {}", instance.name);
        Fault::new("SY4006", Class::Usage, message)
    })?;
    Ok(node.shard)
}

/// The shard with the fewest slots; of equal ones the first.
fn smallest(instance: &Instance, view: &View) -> ShardIndex {
    let servers = plan::converge::server_addresses(instance);
    let primaries = plan::ready::primaries(&servers, &view.nodes).into_iter();
    let owned = primaries.filter_map(|(member, slots)| {
        let nodes = instance.layout.nodes();
        let mut nodes = nodes.filter(|(_, _, node)| node.id == member.id);
        Some((slots.len(), nodes.next()?.2.shard))
    });
    owned.min().map_or(ShardIndex(0), |(_, shard)| shard)
}

/// What should be known before the answer. Where workloads come, the platform has a word, too, and
/// may forbid them.
async fn review(
    control: &Control,
    instance: &Instance,
    next: &Instance,
    view: &View,
) -> Result<Vec<Finding>, Fault> {
    let mut findings = plan::layout::review(&next.spec, &next.layout, &[]);
    let has_seat = |name: &WorkloadName| instance.layout.seats.contains_key(name);
    if !next.layout.seats.keys().all(has_seat) {
        let workloads = crate::converge::workloads(next, view)?;
        let workloads: Vec<Workload> = workloads.into_values().collect();
        let engine = control.hands.engine(instance)?;
        let said = engine.review(&next.name, &workloads).await?;
        must_be_allowed(&said)?;
        findings.extend(said);
    }
    findings.retain(|finding| finding.severity == Severity::Warning);
    Ok(findings)
}
