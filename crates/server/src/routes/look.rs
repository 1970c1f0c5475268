//! What is only looked at: slots, figures, logs, host checks; and the terminal.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::sse::{Event as Line, KeepAlive, Sse};
use control::cancel::Cancel;
use control::command::{LogSubject, Status};
use control::store::Store;
use control::{Command, Reply};
use futures::stream::{self, Stream};
use model::event::{Audience, Event};
use model::ids::{InstanceName, ServiceName, WorkloadName};
use model::instance::Instance;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::instances::{instance_name, odd, usage, workload};
use super::{Answer, Path, Query};
use crate::door::{Operator, Viewer};
use crate::measured::{self, Measure};
use crate::problem::Problem;
use crate::server::{Server, Typed};
use crate::terminal;
use crate::wire::{
    ExecAnswer, ExecBody, FindingBody, FindingList, InstanceStatus, LogLine, LogLines, SampleList,
    SlotFigures, SlotMap,
};

pub(super) async fn status(server: &Server, name: &str) -> Answer<Box<Status>> {
    let name = instance_name(name)?;
    let Reply::Status(status) = server.ask(Command::Status(name)).await? else {
        return Err(odd());
    };
    Ok(status)
}

pub(super) async fn slots(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
) -> Answer<Json<SlotMap>> {
    let status = InstanceStatus::from(&*status(&server, &name).await?);
    Ok(Json(SlotMap::of(&status.shards)))
}

#[derive(Debug, Deserialize)]
pub(super) struct By {
    by: Option<String>,
}

pub(super) async fn slot_figures(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
    Query(asked): Query<By>,
) -> Answer<Json<SlotFigures>> {
    let by = Measure::parse(asked.by.as_deref().unwrap_or("keys"));
    let by = by.ok_or_else(|| usage("`by` is keys, memory or load"))?;
    let status = status(&server, &name).await?;
    let instance = stored(&server, &instance_name(&name)?)?;
    let figures = measured::figures(&server.hands, &instance, &status.shards, by).await;
    Ok(Json(figures))
}

pub(super) fn stored(server: &Server, name: &InstanceName) -> Answer<Instance> {
    let found = Store::open(&server.home)?.load(name)?;
    Ok(found
        .ok_or_else(|| Problem::unknown("such instance"))?
        .instance)
}

pub(super) async fn samples(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
) -> Answer<Json<SampleList>> {
    let name = instance_name(&name)?;
    let samples = server.samples.of(name.as_str());
    Ok(Json(SampleList { samples }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    of: Option<String>,
    tail: Option<usize>,
}

/// How many lines there are where nothing is said, and at most.
const TAIL_USUAL: usize = 100;
const TAIL_MAX: usize = 10_000;

impl Which {
    fn command(self, name: &str, follow: bool) -> Answer<Command> {
        let of = self.of.as_deref().map(subject).transpose()?;
        Ok(Command::Logs {
            instance: instance_name(name)?,
            of,
            tail: self.tail.unwrap_or(TAIL_USUAL).min(TAIL_MAX),
            follow,
        })
    }
}

fn subject(text: &str) -> Answer<LogSubject> {
    if let Some(workload) = WorkloadName::parse(text) {
        return Ok(LogSubject::Workload(workload));
    }
    let service = ServiceName::new(text).map_err(|error| usage(error.to_string()))?;
    Ok(LogSubject::Service(service))
}

/// Gathers the lines of logs.
#[derive(Debug, Default)]
struct Gathered(Mutex<Vec<LogLine>>);

impl Audience for Gathered {
    fn tell(&self, event: Event) {
        if let Event::LogLine { workload, line } = event {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(LogLine { workload, line });
        }
    }
}

const NO_LOSS: Typed = Typed {
    name: None,
    by_itself: false,
};

pub(super) async fn logs(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Answer<Json<LogLines>> {
    let lines = Arc::new(Gathered::default());
    let command = which.command(&name, false)?;
    server
        .run(command, lines.clone(), Cancel::new(), Arc::new(NO_LOSS))
        .await?;
    let mut lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Json(LogLines {
        lines: std::mem::take(&mut lines),
    }))
}

/// Hands on the lines of logs; what nobody takes in time is left out.
struct Sent(mpsc::Sender<LogLine>);

impl Audience for Sent {
    fn tell(&self, event: Event) {
        if let Event::LogLine { workload, line } = event {
            // A reader that is too slow must not hold the engine's own reading.
            let _ = self.0.try_send(LogLine { workload, line });
        }
    }
}

/// Ends the reading when the listener goes.
pub(super) struct EndsWith(pub(super) Cancel);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// How many lines wait for a reader.
const LINES_WAITING_MAX: usize = 20_000;

pub(super) async fn follow_logs(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Answer<Sse<impl Stream<Item = Result<Line, Infallible>>>> {
    let command = which.command(&name, true)?;
    stored(&server, &instance_name(&name)?)?;
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    let cancel = Cancel::new();
    let guard = EndsWith(cancel.clone());
    tokio::spawn(async move {
        // Its end ends the stream, and the reader asks anew.
        let _ = server
            .run(command, Arc::new(Sent(sender)), cancel, Arc::new(NO_LOSS))
            .await;
    });
    let lines = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        let line = receiver.recv().await?;
        let text = serde_json::to_string(&line).unwrap_or_default();
        Some((
            Ok(Line::default().event("line").data(text)),
            (receiver, guard),
        ))
    });
    Ok(Sse::new(lines).keep_alive(KeepAlive::default()))
}

pub(super) async fn doctor(
    State(server): State<Arc<Server>>,
    _: Viewer,
) -> Answer<Json<FindingList>> {
    let Reply::Findings(found) = server.ask(Command::Doctor).await? else {
        return Err(odd());
    };
    let findings = found.iter().map(FindingBody::from).collect();
    Ok(Json(FindingList { findings }))
}

pub(super) async fn exec(
    State(server): State<Arc<Server>>,
    _: Operator,
    Path(name): Path<String>,
    body: Result<Json<ExecBody>, JsonRejection>,
) -> Answer<Json<ExecAnswer>> {
    let Json(body) = body?;
    let name = instance_name(&name)?;
    let instance = stored(&server, &name)?;
    terminal::must_be_allowed(&body.command, body.confirm.as_deref(), name.as_str())?;
    let seats: BTreeMap<_, _> = instance.layout.seats.iter().collect();
    let named = body.workload.as_deref().map(workload).transpose()?;
    let asked = match &named {
        Some(named) => {
            let seat = seats.get(named);
            vec![
                seat.ok_or_else(|| Problem::unknown("such workload"))?
                    .address,
            ]
        }
        None => {
            let status = status(&server, name.as_str()).await?;
            status.shards.iter().map(|it| it.primary.address).collect()
        }
    };
    let follows = named.is_none();
    Ok(Json(
        terminal::run(&server.hands, &instance, &asked, &body.command, follows).await?,
    ))
}
