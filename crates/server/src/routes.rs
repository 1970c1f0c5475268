//! Every route and its handler. What each needs and gives is in the contract.

mod commands;
mod instances;
mod look;
mod node;
mod operations;
mod session;
mod templates;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};

use crate::problem::Problem;
use crate::server::Server;
use crate::serving::COMMAND_MAX;
use crate::{console, contract, door, metrics};

type Answer<T> = Result<T, Problem>;

/// What a request's path names; what cannot be read is a problem like any other.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
struct Path<T>(T);

/// What stands behind the question mark.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
struct Query<T>(T);

/// The whole server as a service.
pub fn router(server: Arc<Server>) -> Router {
    let api = Router::new()
        .route("/login", post(session::login))
        .route("/logout", post(session::logout))
        .route("/me", get(session::me))
        .route("/users", get(session::users))
        .route("/users/{user}", put(session::put_user))
        .route("/tokens", post(session::make_token))
        .route("/instances", get(instances::list).post(instances::up))
        .route("/instances/{name}", get(instances::get))
        .route("/instances/{name}/down", post(instances::down))
        .route("/instances/{name}/scale", post(instances::scale))
        .route("/instances/{name}/rebalance", post(instances::rebalance))
        .route("/instances/{name}/failover", post(instances::failover))
        .route("/instances/{name}/pause", post(instances::pause))
        .route("/instances/{name}/resume", post(instances::resume))
        .route("/instances/{name}/cancel", post(instances::cancel))
        .route("/instances/{name}/slots", get(look::slots))
        .route("/instances/{name}/slots/figures", get(look::slot_figures))
        .route("/instances/{name}/nodes/{workload}", get(node::node))
        .route(
            "/instances/{name}/nodes/{workload}/settings",
            get(node::settings),
        )
        .route(
            "/instances/{name}/nodes/{workload}/clients",
            get(node::clients),
        )
        .route(
            "/instances/{name}/nodes/{workload}/slowlog",
            get(node::slow_log),
        )
        .route("/instances/{name}/samples", get(look::samples))
        .route("/instances/{name}/logs", get(look::logs))
        .route("/instances/{name}/logs/follow", get(look::follow_logs))
        .route("/instances/{name}/exec", post(look::exec))
        .route("/operations", get(operations::list))
        .route("/operations/{id}", get(operations::get))
        .route("/operations/{id}/cancel", post(operations::cancel))
        .route(
            "/commands",
            post(commands::run).layer(DefaultBodyLimit::max(COMMAND_MAX)),
        )
        .route("/commands/{id}/answer", post(commands::answer))
        .route("/commands/{id}/cancel", post(commands::cancel))
        .route("/events", get(operations::events))
        .route("/templates", get(templates::list))
        .route(
            "/templates/{name}",
            get(templates::get).put(templates::save),
        )
        .route("/lint", post(templates::lint))
        .route("/render", post(templates::render))
        .route("/doctor", get(look::doctor))
        .route("/audit", get(operations::audit))
        .route("/openapi.json", get(openapi))
        .fallback(unknown);
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics::serve))
        .fallback(get(console::serve))
        .layer(axum::middleware::from_fn_with_state(
            server.clone(),
            door::guard,
        ))
        .with_state(server)
}

async fn openapi() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        contract::text(),
    )
}

async fn unknown() -> Problem {
    Problem::unknown("such route")
}
