//! What runs and ran: operations, events, the audit trail.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use control::oversee::{Word, wanted};
use futures::Stream;
use model::ids::InstanceName;
use serde::Deserialize;

use super::{Answer, Path, Query};
use crate::door::{Admin, Operator, Viewer};
use crate::problem::Problem;
use crate::server::Server;
use crate::wire::{AuditList, OperationBody, OperationList};

#[derive(Debug, Deserialize)]
pub(super) struct Of {
    instance: Option<String>,
}

pub(super) async fn list(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Query(of): Query<Of>,
) -> Json<OperationList> {
    let found = server.operations.list(of.instance.as_deref());
    let operations = found.into_iter().map(|it| as_it_is(&server, it)).collect();
    Json(OperationList { operations })
}

pub(super) async fn get(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(id): Path<String>,
) -> Answer<Json<OperationBody>> {
    let found = server.operations.get(&id);
    let found = found.ok_or_else(|| Problem::unknown("such operation"))?;
    Ok(Json(as_it_is(&server, found)))
}

/// The operation, with whether it stands still now: the word for that may come from elsewhere.
fn as_it_is(server: &Server, mut body: OperationBody) -> OperationBody {
    if body.state == "running"
        && let Ok(name) = InstanceName::new(&body.instance)
    {
        body.paused = wanted(&server.home, &name) == Some(Word::Pause);
    }
    body
}

pub(super) async fn cancel(
    State(server): State<Arc<Server>>,
    _: Operator,
    Path(id): Path<String>,
) -> Answer<impl IntoResponse> {
    let found = server.operations.cancel(&id);
    let body = found.ok_or_else(|| Problem::unknown("such operation"))?;
    Ok((StatusCode::ACCEPTED, Json(body)))
}

pub(super) async fn events(
    State(server): State<Arc<Server>>,
    _: Viewer,
    headers: HeaderMap,
    Query(of): Query<Of>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|it| it.to_str().ok());
    let after = last.and_then(|it| it.parse().ok());
    Sse::new(server.hub.listen(after, of.instance)).keep_alive(KeepAlive::default())
}

pub(super) async fn audit(
    State(server): State<Arc<Server>>,
    _: Admin,
    Query(of): Query<Of>,
) -> Answer<Json<AuditList>> {
    let entries = server.accounts.audit(of.instance.as_deref())?;
    Ok(Json(AuditList { entries }))
}
