//! The server: the driver over HTTP, with sessions, roles, events, figures and the console. It
//! decides nothing about clusters, prints nothing, and passes no platform's API through.

mod accounts;
mod attempts;
mod commands;
mod console;
pub mod contract;
mod door;
mod hub;
mod measured;
mod metrics;
mod operations;
mod problem;
mod reconcile;
mod reply;
mod routes;
mod said;
mod samples;
mod server;
mod serving;
mod settings;
mod shelf;
mod terminal;
mod tls;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

pub use crate::routes::router;
pub use crate::server::{Server, Settings};
pub use crate::tls::Tls;

/// How long what is under way may take to come to its end when the server ends.
const END_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const END_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `ends` is done; then what is under way is brought to its end, as after Ctrl-C.
pub async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    ends: impl Future<Output = ()> + Send,
) {
    let looking = tokio::spawn(samples::look(server.clone()));
    let reconciling = tokio::spawn(reconcile::reconcile(server.clone()));
    let service = router(server.clone());
    let serving = async {
        match &server.tls {
            None => serving::serve(listener, service).await,
            Some(tls) => tokio::select! {
                () = serving::serve(tls.listen(listener), service) => {}
                () = tls.watch(|came| server.note_certificate(came)) => {}
            },
        }
    };
    tokio::select! {
        () = serving => {}
        () = ends => {}
    }
    reconciling.abort();
    looking.abort();
    let stopped = async {
        while server.operations.cancel_all() {
            tokio::time::sleep(END_PAUSE).await;
        }
    };
    // What takes longer is cut off; the next run observes and goes on.
    let _ = tokio::time::timeout(END_LIMIT, stopped).await;
}
