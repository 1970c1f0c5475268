//! Commands of a command line elsewhere, as a stream of lines, and the answers to their questions.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::Command;
use futures::stream;
use model::fault::{Class, Fault};

use super::look::EndsWith;
use super::{Answer as Answered, Path};
use crate::commands::{Begun, Kind, begin, limited, needs};
use crate::door::{About, Did, Looked, Viewer};
use crate::problem::Problem;
use crate::server::Server;
use crate::wire::{ALIVE_SECONDS, AnswerBody, CommandBody, Line, VERSION};

const ALIVE_PAUSE: Duration = Duration::from_secs(ALIVE_SECONDS);

pub(super) async fn run(
    State(server): State<Arc<Server>>,
    Viewer(me): Viewer,
    body: Result<Json<CommandBody>, JsonRejection>,
) -> Answered<Response> {
    let Json(body) = body?;
    let command = limited(read(body)?);
    let needs = needs(&command)?;
    let mut response = match begin(&server, &me, command, &needs) {
        Ok(begun) => told(begun),
        Err(problem) => problem.into_response(),
    };
    let marks = response.extensions_mut();
    if needs.kind == Kind::Looks {
        marks.insert(Looked);
    }
    marks.insert(Did(needs.verb));
    if let Some(about) = needs.about {
        marks.insert(About(about));
    }
    Ok(response)
}

/// The command, where the two programs are of one version: another one has other commands.
fn read(body: CommandBody) -> Result<Command, Fault> {
    if body.version != VERSION {
        let theirs: String = body.version.chars().take(40).collect();
        let theirs = theirs.escape_debug();
        return Err(Fault::new(
            "SY6017",
            Class::Refused,
            format!("the command line is of version {theirs}, and the server of version {VERSION}"),
        )
        .with_help(format!("use the command line of version {VERSION}")));
    }
    serde_json::from_value(body.command).map_err(|error| {
        Fault::new("SY6009", Class::Usage, "the command cannot be read")
            .with_cause(error)
            .with_help("use the command line that the server is")
    })
}

/// The lines as they come. Where nothing comes for a while, a line says that it goes on.
fn told(begun: Begun) -> Response {
    let guard = begun.ends.map(EndsWith);
    let lines = stream::unfold((begun.lines, guard), |(mut lines, guard)| async move {
        let line = match tokio::time::timeout(ALIVE_PAUSE, lines.recv()).await {
            Ok(line) => line?,
            Err(_) => Line::Alive,
        };
        Some((Ok::<Bytes, Infallible>(text(&line)), (lines, guard)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

fn text(line: &Line) -> Bytes {
    let text = serde_json::to_string(line).or_else(|error| {
        let fault = Fault::new("SY6013", Class::Failed, "the reply cannot be written");
        serde_json::to_string(&Line::Fault(fault.with_cause(error)))
    });
    Bytes::from(text.unwrap_or_default() + "\n")
}

pub(super) async fn answer(
    State(server): State<Arc<Server>>,
    Viewer(me): Viewer,
    Path(id): Path<String>,
    body: Result<Json<AnswerBody>, JsonRejection>,
) -> Answered<StatusCode> {
    let Json(body) = body?;
    if server.commands.answer(&me, &id, body.question, body.answer) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::unknown("such command of yours"))
}

pub(super) async fn cancel(
    State(server): State<Arc<Server>>,
    Viewer(me): Viewer,
    Path(id): Path<String>,
) -> Answered<StatusCode> {
    if server.commands.cancel(&me, &id) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::unknown("such command of yours"))
}
