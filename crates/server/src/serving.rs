//! Connections: who takes ever so long over the head or the body of a request is cut off, and who
//! sends too much is refused, before anything is made of it.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::serve::Listener;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout;

use crate::problem::Problem;
use crate::wire::Me;

/// How long the head of a request may take. A connection that is kept open is closed after as long
/// without one.
const HEAD_LIMIT: Duration = Duration::from_secs(20);

/// How long the body of a request may take.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// The largest body of whoever is not logged in: a name and a password.
const BODY_MAX_UNKNOWN: usize = 16 << 10;

/// The largest body of other requests: a template with its files.
const BODY_MAX: usize = 2 << 20;

/// The path of commands of a command line elsewhere, and their largest body: they bring files.
pub(crate) const COMMANDS: &str = "/api/v1/commands";
pub(crate) const COMMAND_MAX: usize = 32 << 20;

/// Serves all connections, for ever. A listener waits by itself where it can take none.
pub(crate) async fn serve(mut listener: impl Listener, router: Router) {
    loop {
        let (stream, _) = listener.accept().await;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut http = Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT);
            // How a connection ends is its other end's affair.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The request with the whole of its body.
pub(crate) async fn whole(request: Request, me: Option<&Me>) -> Result<Request, Problem> {
    let most = match me {
        None => BODY_MAX_UNKNOWN,
        Some(_) if request.uri().path() == COMMANDS => COMMAND_MAX,
        Some(_) => BODY_MAX,
    };
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    // Who says that too much comes need not send it.
    if length.is_some_and(|it| it > most as u64) {
        return Err(too_large(most));
    }
    match timeout(BODY_LIMIT, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(_)) => Err(too_large(most)),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "SY6023",
            &format!(
                "the request did not arrive within {} s",
                BODY_LIMIT.as_secs()
            ),
            "send it again, all at once",
        )),
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "SY6022",
        &format!(
            "the request has more than {} KiB, or was broken off",
            most >> 10
        ),
        "send less at once; who is logged in may send more",
    )
}
