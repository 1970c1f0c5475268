//! `serve`: listens, says where, and serves until it is interrupted.

use std::process::ExitCode;
use std::sync::Arc;

use model::event::Nobody;
use model::fault::{Class, Fault};
use serde_json::json;
use server::{Server, Settings, Tls};

use super::Session;
use crate::args::ServeArguments;

pub(super) async fn run(session: &Session, arguments: ServeArguments) -> Result<ExitCode, Fault> {
    let address = arguments.listen;
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::open(certificate, key)?),
        (Some(_) | None, _) => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(Fault::new(
            "SY6016",
            Class::Refused,
            format!("{address} can be reached from elsewhere, and passwords would go in clear"),
        )
        .with_help(
            "speak TLS: --tls-cert FILE --tls-key FILE; or listen on 127.0.0.1 with a proxy with \
             TLS before it: shardyard serve --allow-host NAME",
        ));
    }
    let cannot = |error: std::io::Error| {
        Fault::new(
            "SY6016",
            Class::Failed,
            format!("cannot listen on {address}"),
        )
        .with_cause(error)
        .with_help("name another port: shardyard serve --listen 127.0.0.1:PORT")
    };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(cannot)?;
    let listen = listener.local_addr().map_err(cannot)?;
    let (server, token) = Server::open(Settings {
        home: session.settings.home()?,
        hands: session
            .settings
            .hands(Arc::new(Nobody), session.cancel.clone())?,
        listen,
        allowed_hosts: arguments.allow_host,
        tls,
    })?;
    session.show_line(
        || match &token {
            None => format!("Shardyard serves on {scheme}://{listen}/"),
            Some(token) => format!(
                "Shardyard serves on {scheme}://{listen}/\n\
                 Log in as admin, once, with the token: {token}"
            ),
        },
        || json!({ "url": format!("{scheme}://{listen}/"), "token": token }),
    );
    server::serve(server, listener, interrupted()).await;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, or a request to end, as from a service manager.
async fn interrupted() {
    let ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match ended {
        Ok(mut ended) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = ended.recv() => {}
        },
        // Without handlers the signals' own effect ends the program.
        Err(_) => std::future::pending().await,
    }
}
