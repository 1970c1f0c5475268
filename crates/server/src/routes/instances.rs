//! What changes instances: each request becomes the driver's command, its plan, or an operation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use control::command::{
    DownRequest, ExposeWish, FailoverRequest, Handover, Measure, Pace, Platform, ScaleRequest,
    Shape, UpRequest,
};
use control::oversee::Word;
use control::{Command, Reply};
use model::fault::{Class, Fault};
use model::ids::{InstanceName, VariableName, WorkloadName};
use model::instance::EngineKind;
use serde::Serialize;

use super::{Answer, Path};
use crate::door::{About, Operator, Viewer};
use crate::operations::Known;
use crate::problem::Problem;
use crate::server::{Server, Task, Typed, unconfirmed};
use crate::shelf;
use crate::wire::{
    CancelBody, DownBody, FailoverBody, InstanceList, InstanceRow, InstanceStatus, PlanBody,
    RebalanceBody, ScaleBody, ToldBody, UpBody,
};

/// How long it may take where nothing is said, and at most.
const WAIT_USUAL_S: u64 = 600;
const WAIT_MAX_S: u64 = 24 * 60 * 60;

/// How far from its share a shard may be where nothing is said, as on the command line.
const THRESHOLD_USUAL: u32 = 2;

/// The verb that ends a change where it is.
const CANCEL: &str = "cancel";

/// The template of a new instance where none is named, as on the command line.
const USUAL_TEMPLATE: &str = "redis-cluster";

pub(super) fn instance_name(text: &str) -> Answer<InstanceName> {
    Ok(InstanceName::new(text).map_err(|error| usage(error.to_string()))?)
}

pub(super) fn usage(message: impl Into<String>) -> Fault {
    Fault::new("SY6009", Class::Usage, message).with_help("its form: /api/v1/openapi.json")
}

pub(super) fn odd() -> Problem {
    Problem::from(Fault::new(
        "SY6013",
        Class::Failed,
        "the driver gave another reply than the command has; this is a bug",
    ))
}

pub(super) async fn list(
    State(server): State<Arc<Server>>,
    _: Viewer,
) -> Answer<Json<InstanceList>> {
    let Reply::List(rows) = server.ask(Command::List).await? else {
        return Err(odd());
    };
    let instances = rows.iter().map(InstanceRow::from).collect();
    Ok(Json(InstanceList { instances }))
}

pub(super) async fn get(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
) -> Answer<Json<InstanceStatus>> {
    let Reply::Status(status) = server.ask(Command::Status(instance_name(&name)?)).await? else {
        return Err(odd());
    };
    Ok(Json(InstanceStatus::from(&*status)))
}

/// A request that changes an instance.
struct Change<'a> {
    server: &'a Arc<Server>,
    headers: &'a HeaderMap,
    user: &'a str,
    name: InstanceName,
    verb: &'static str,
    is_dry: bool,
    confirm: Option<String>,
}

/// The longest idempotency key.
const KEY_MAX: usize = 128;

impl Change<'_> {
    /// The plan, or an operation; the same one for the same key and body.
    async fn answer<B: Serialize>(self, command: Command, body: &B) -> Answer<Response> {
        if self.is_dry {
            let Reply::Plan(plan) = self.server.ask(command).await? else {
                return Err(odd());
            };
            return Ok(Json(PlanBody::from(&plan)).into_response());
        }
        let operations = &self.server.operations;
        let key = self
            .headers
            .get("idempotency-key")
            .and_then(|it| it.to_str().ok());
        let key = key
            .filter(|it| it.len() <= KEY_MAX)
            .map(|it| format!("{} {it}", self.user));
        let text = serde_json::to_string(body).unwrap_or_default();
        let text = format!("{} {} {text}", self.verb, self.name);
        if let Some(key) = &key {
            match operations.known(key, &text) {
                Known::No => {}
                Known::Same(id) => {
                    let body = operations.get(&id);
                    let body = body.ok_or_else(|| Problem::unknown("such operation"))?;
                    return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
                }
                Known::Other => {
                    return Err(Problem::new(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "SY6010",
                        "the idempotency key was used for another request",
                        "make a new key for a new request",
                    ));
                }
            }
        }
        let approver = Typed {
            name: self.confirm,
            by_itself: false,
        };
        let task = Task {
            name: &self.name,
            verb: self.verb,
            user: self.user,
            is_alone: self.verb != CANCEL,
        };
        let begun = self.server.begin(task, command, approver)?;
        if let Some(key) = &key {
            operations.remember(key, &text, &begun.id);
        }
        let mut response = (StatusCode::ACCEPTED, Json(begun)).into_response();
        response
            .extensions_mut()
            .insert(About(self.name.to_string()));
        Ok(response)
    }
}

pub(super) async fn up(
    State(server): State<Arc<Server>>,
    Operator(me): Operator,
    headers: HeaderMap,
    body: Result<Json<UpBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = body?;
    let name = instance_name(&body.name)?;
    let known = control::store::Store::open(&server.home)?
        .names()?
        .contains(&name);
    let template = match (&body.template, known) {
        (Some(named), _) => Some(shelf::choice(&server.home, named)?),
        (None, true) => None,
        (None, false) => Some(shelf::choice(&server.home, USUAL_TEMPLATE)?),
    };
    let request = UpRequest {
        name: name.clone(),
        template,
        given: variables(&body.set)?,
        in_arguments: BTreeSet::new(),
        platform: Platform {
            engine: body.engine.as_deref().map(engine).transpose()?.flatten(),
            expose: body.expose.as_deref().map(expose).transpose()?,
            // A folder of the host is given by who has a shell there, never over HTTP.
            host_access: false,
            ..Platform::default()
        },
        dry_run: body.dry_run,
        limit: limit(body.wait_timeout_s),
    };
    let change = Change {
        server: &server,
        headers: &headers,
        user: &me.user,
        name,
        verb: "up",
        is_dry: body.dry_run,
        confirm: None,
    };
    change.answer(Command::Up(request), &body).await
}

pub(super) async fn down(
    State(server): State<Arc<Server>>,
    Operator(me): Operator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<DownBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = body?;
    let name = known_instance(&server, &name)?;
    let is_typed = body.confirm.as_deref() == Some(name.as_str());
    if body.delete_data && !body.dry_run && !is_typed {
        let lost = vec![format!("all data of {name}")];
        return Err(unconfirmed(name.as_str(), lost).into());
    }
    let request = DownRequest {
        name: name.clone(),
        delete_data: body.delete_data,
        dry_run: body.dry_run,
    };
    let change = Change {
        server: &server,
        headers: &headers,
        user: &me.user,
        name,
        verb: "down",
        is_dry: body.dry_run,
        confirm: body.confirm.clone(),
    };
    change.answer(Command::Down(request), &body).await
}

pub(super) async fn scale(
    State(server): State<Arc<Server>>,
    Operator(me): Operator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<ScaleBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = body?;
    let name = known_instance(&server, &name)?;
    let mut set = body.set.clone();
    for (variable, number) in [("SHARDS", body.shards), ("REPLICAS_NUM", body.replicas)] {
        if let Some(number) = number {
            set.insert(variable.to_owned(), number.to_string());
        }
    }
    if set.is_empty() {
        return Err(usage("nothing is to be scaled: say shards, replicas or set").into());
    }
    let given = variables(&set)?;
    let request = ScaleRequest {
        name: name.clone(),
        verb: "scale",
        shape: Shape::Numbers {
            given,
            in_arguments: BTreeSet::new(),
        },
        pace: pace(body.max_latency_ms, body.max_rate),
        dry_run: body.dry_run,
        limit: limit(body.wait_timeout_s),
    };
    let change = Change {
        server: &server,
        headers: &headers,
        user: &me.user,
        name,
        verb: "scale",
        is_dry: body.dry_run,
        confirm: body.confirm.clone(),
    };
    change.answer(Command::Scale(request), &body).await
}

pub(super) async fn rebalance(
    State(server): State<Arc<Server>>,
    Operator(me): Operator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<RebalanceBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = body?;
    let name = known_instance(&server, &name)?;
    let by = match body.by.as_deref() {
        None | Some("slots") => Measure::Slots,
        Some("keys") => Measure::Keys,
        Some("memory") => Measure::Memory,
        Some("load") => Measure::Load,
        Some(_) => return Err(usage("`by` is slots, keys, memory or load").into()),
    };
    let request = ScaleRequest {
        name: name.clone(),
        verb: "rebalance",
        shape: Shape::Shares {
            by,
            weights: weights(&body.weights)?,
            threshold_percent: body.threshold_percent.unwrap_or(THRESHOLD_USUAL),
        },
        pace: pace(body.max_latency_ms, body.max_rate),
        dry_run: body.dry_run,
        limit: limit(body.wait_timeout_s),
    };
    let change = Change {
        server: &server,
        headers: &headers,
        user: &me.user,
        name,
        verb: "rebalance",
        is_dry: body.dry_run,
        confirm: None,
    };
    change.answer(Command::Scale(request), &body).await
}

pub(super) async fn failover(
    State(server): State<Arc<Server>>,
    Operator(me): Operator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<FailoverBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = body?;
    let name = known_instance(&server, &name)?;
    let which = match (body.node.as_deref(), body.spread) {
        (Some(node), false) => Handover::Of(workload(node)?),
        (None, true) => Handover::Spread,
        (Some(_), true) | (None, false) => {
            return Err(usage("say which `node`, or `spread`, and not both").into());
        }
    };
    let request = FailoverRequest {
        name: name.clone(),
        which,
        dry_run: body.dry_run,
        limit: limit(body.wait_timeout_s),
    };
    let change = Change {
        server: &server,
        headers: &headers,
        user: &me.user,
        name,
        verb: "failover",
        is_dry: body.dry_run,
        confirm: None,
    };
    change.answer(Command::Failover(request), &body).await
}

pub(super) async fn pause(
    State(server): State<Arc<Server>>,
    _: Operator,
    Path(name): Path<String>,
) -> Answer<Json<ToldBody>> {
    tell(&server, &name, Command::Pause).await
}

pub(super) async fn resume(
    State(server): State<Arc<Server>>,
    _: Operator,
    Path(name): Path<String>,
) -> Answer<Json<ToldBody>> {
    tell(&server, &name, Command::Resume).await
}

/// Tells whoever works on an instance, here or elsewhere on this host, to stand still or to go on.
async fn tell(
    server: &Server,
    name: &str,
    command: fn(InstanceName) -> Command,
) -> Answer<Json<ToldBody>> {
    let name = known_instance(server, name)?;
    let Reply::Told { operator, word, .. } = server.ask(command(name)).await? else {
        return Err(odd());
    };
    Ok(Json(ToldBody {
        user: operator.user,
        verb: operator.verb,
        since: operator.since,
        paused: word == Some(Word::Pause),
    }))
}

pub(super) async fn cancel(
    State(server): State<Arc<Server>>,
    Operator(me): Operator,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Json<CancelBody>, JsonRejection>,
) -> Answer<Response> {
    let Json(body) = body?;
    let name = known_instance(&server, &name)?;
    let request = ScaleRequest {
        name: name.clone(),
        verb: CANCEL,
        shape: Shape::AsItIs,
        pace: pace(None, None),
        dry_run: body.dry_run,
        limit: limit(body.wait_timeout_s),
    };
    let change = Change {
        server: &server,
        headers: &headers,
        user: &me.user,
        name,
        verb: CANCEL,
        is_dry: body.dry_run,
        confirm: None,
    };
    change.answer(Command::Scale(request), &body).await
}

/// An instance that there is: what is not there is told at once, not by an operation that fails.
fn known_instance(server: &Server, text: &str) -> Answer<InstanceName> {
    let name = instance_name(text)?;
    if control::store::Store::open(&server.home)?
        .names()?
        .contains(&name)
    {
        return Ok(name);
    }
    let fault = Fault::new(
        "SY4005",
        Class::Usage,
        format!("there is no instance {name}"),
    );
    Err(fault.with_help("GET /api/v1/instances lists them").into())
}

pub(super) fn variables(set: &BTreeMap<String, String>) -> Answer<BTreeMap<VariableName, String>> {
    let mut given = BTreeMap::new();
    for (name, value) in set {
        let name = VariableName::new(name).map_err(|error| usage(error.to_string()))?;
        given.insert(name, value.clone());
    }
    Ok(given)
}

fn weights(given: &BTreeMap<String, u32>) -> Answer<BTreeMap<WorkloadName, u32>> {
    let mut weights = BTreeMap::new();
    for (name, weight) in given {
        weights.insert(workload(name)?, *weight);
    }
    Ok(weights)
}

pub(super) fn workload(text: &str) -> Answer<WorkloadName> {
    let named = WorkloadName::parse(text);
    Ok(named.ok_or_else(|| usage(format!("`{}` is no workload", text.escape_debug())))?)
}

fn engine(text: &str) -> Answer<Option<EngineKind>> {
    if text == "auto" {
        return Ok(None);
    }
    let kind = EngineKind::parse(text);
    Ok(Some(kind.ok_or_else(|| {
        usage(format!("there is no engine `{}`", text.escape_debug()))
    })?))
}

fn expose(text: &str) -> Answer<ExposeWish> {
    match text {
        "network" => Ok(ExposeWish::Network),
        "host" => Ok(ExposeWish::Host(None)),
        text => {
            let address: Option<IpAddr> = text.strip_prefix("host=").and_then(|it| it.parse().ok());
            let address = address.ok_or_else(|| usage("`expose` is network, host or host=ADDRESS"));
            Ok(ExposeWish::Host(Some(address?)))
        }
    }
}

fn pace(latency_ms: Option<u32>, rate: Option<u32>) -> Pace {
    Pace {
        latency_max: latency_ms.map(|it| Duration::from_millis(it.into())),
        keys_per_second_max: rate,
    }
}

fn limit(seconds: Option<u64>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(WAIT_USUAL_S).min(WAIT_MAX_S))
}
