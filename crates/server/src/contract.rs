//! The contract: every route with its parameters, bodies and the role it needs, as OpenAPI. It is
//! data; the handlers are in `routes`, and a test holds that both have the same routes and roles.

#![expect(
    dead_code,
    reason = "the functions carry the contract and are not called"
)]

use utoipa::OpenApi;

use crate::wire::{
    AnswerBody, AuditList, CancelBody, ClientList, CommandBody, DownBody, EventBody, ExecAnswer,
    ExecBody, FailoverBody, FindingList, InstanceList, InstanceStatus, LintList, LogLine, LogLines,
    LoginBody, Me, NodeDetail, OperationBody, OperationList, PlanBody, ProblemBody, RebalanceBody,
    RenderBody, RenderedList, SampleList, ScaleBody, SettingList, SlotFigures, SlotMap, SlowLog,
    TemplateDetail, TemplateFilesBody, TemplateList, TokenBody, TokenMade, ToldBody, UpBody,
    UserBody, UserList,
};

/// Log in.
#[utoipa::path(post, path = "/api/v1/login", tag = "session",
    request_body = LoginBody,
    responses(
        (status = 200, description = "logged in; the session is a cookie", body = Me),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("none"))))]
const fn login() {}

/// Log out.
#[utoipa::path(post, path = "/api/v1/logout", tag = "session",
    responses(
        (status = 204, description = "logged out"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn logout() {}

/// Say who is asking.
#[utoipa::path(get, path = "/api/v1/me", tag = "session",
    responses(
        (status = 200, description = "who is asking", body = Me),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn me() {}

/// List the users.
#[utoipa::path(get, path = "/api/v1/users", tag = "session",
    responses(
        (status = 200, description = "the users", body = UserList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("admin"))))]
const fn users() {}

/// Make a user, or change one.
#[utoipa::path(put, path = "/api/v1/users/{user}", tag = "session",
    params(
        ("user" = String, Path, description = "The user's name."),
    ),
    request_body = UserBody,
    responses(
        (status = 200, description = "the user", body = Me),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("admin"))))]
const fn put_user() {}

/// Make a token for scripts.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "session",
    request_body = TokenBody,
    responses(
        (status = 201, description = "the token, this once", body = TokenMade),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn make_token() {}

/// List the instances.
#[utoipa::path(get, path = "/api/v1/instances", tag = "instances",
    responses(
        (status = 200, description = "the instances", body = InstanceList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn instances() {}

/// Deliver an instance, or make it match again.
#[utoipa::path(post, path = "/api/v1/instances", tag = "instances",
    request_body = UpBody,
    responses(
        (status = 202, description = "begun; `dry_run` gives 200 and a plan", body = OperationBody),
        (status = 200, description = "the plan of a dry run", body = PlanBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn up() {}

/// Say how an instance is.
#[utoipa::path(get, path = "/api/v1/instances/{name}", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    responses(
        (status = 200, description = "how it is", body = InstanceStatus),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn instance() {}

/// Stop an instance; delete its data where that is said and its name is typed.
#[utoipa::path(post, path = "/api/v1/instances/{name}/down", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = DownBody,
    responses(
        (status = 202, description = "begun; `dry_run` gives 200 and a plan", body = OperationBody),
        (status = 200, description = "the plan of a dry run", body = PlanBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn down() {}

/// Add or remove shards and replicas.
#[utoipa::path(post, path = "/api/v1/instances/{name}/scale", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = ScaleBody,
    responses(
        (status = 202, description = "begun; `dry_run` gives 200 and a plan", body = OperationBody),
        (status = 200, description = "the plan of a dry run", body = PlanBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn scale() {}

/// Give each shard its share of slots.
#[utoipa::path(post, path = "/api/v1/instances/{name}/rebalance", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = RebalanceBody,
    responses(
        (status = 202, description = "begun; `dry_run` gives 200 and a plan", body = OperationBody),
        (status = 200, description = "the plan of a dry run", body = PlanBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn rebalance() {}

/// Hand a primary's part over to a replica, without losing a write.
#[utoipa::path(post, path = "/api/v1/instances/{name}/failover", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = FailoverBody,
    responses(
        (status = 202, description = "begun; `dry_run` gives 200 and a plan", body = OperationBody),
        (status = 200, description = "the plan of a dry run", body = PlanBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn failover() {}

/// Have a move of slots stand still, once the slots that are open have arrived.
#[utoipa::path(post, path = "/api/v1/instances/{name}/pause", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    responses(
        (status = 200, description = "who was told", body = ToldBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn pause() {}

/// Have it go on.
#[utoipa::path(post, path = "/api/v1/instances/{name}/resume", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    responses(
        (status = 200, description = "who was told", body = ToldBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn resume() {}

/// End a change of size where it is: what has moved stays where it is.
#[utoipa::path(post, path = "/api/v1/instances/{name}/cancel", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = CancelBody,
    responses(
        (status = 202, description = "begun; `dry_run` gives 200 and a plan", body = OperationBody),
        (status = 200, description = "the plan of a dry run", body = PlanBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn cancel_change() {}

/// Say who owns which slots.
#[utoipa::path(get, path = "/api/v1/instances/{name}/slots", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    responses(
        (status = 200, description = "who owns which slots", body = SlotMap),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn slots() {}

/// Say what each slot holds or costs.
#[utoipa::path(get, path = "/api/v1/instances/{name}/slots/figures", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("by" = Option<String>, Query, description = "`keys`, `memory` or `load`; keys where left out."),
    ),
    responses(
        (status = 200, description = "the figures", body = SlotFigures),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn slot_figures() {}

/// Describe a node: INFO and configuration.
#[utoipa::path(get, path = "/api/v1/instances/{name}/nodes/{workload}", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("workload" = String, Path, description = "The workload, as `redis-1`."),
    ),
    responses(
        (status = 200, description = "the node", body = NodeDetail),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn node() {}

/// Compare a node's settings with those that are wanted.
#[utoipa::path(get, path = "/api/v1/instances/{name}/nodes/{workload}/settings", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("workload" = String, Path, description = "The workload, as `redis-1`."),
    ),
    responses(
        (status = 200, description = "the settings", body = SettingList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn node_settings() {}

/// List a node's clients.
#[utoipa::path(get, path = "/api/v1/instances/{name}/nodes/{workload}/clients", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("workload" = String, Path, description = "The workload, as `redis-1`."),
    ),
    responses(
        (status = 200, description = "the clients", body = ClientList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn node_clients() {}

/// Give a node's slow commands.
#[utoipa::path(get, path = "/api/v1/instances/{name}/nodes/{workload}/slowlog", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("workload" = String, Path, description = "The workload, as `redis-1`."),
    ),
    responses(
        (status = 200, description = "the slow commands, newest first", body = SlowLog),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn slow_log() {}

/// Give recent figures.
#[utoipa::path(get, path = "/api/v1/instances/{name}/samples", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    responses(
        (status = 200, description = "the figures", body = SampleList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn samples() {}

/// Give the last lines of logs.
#[utoipa::path(get, path = "/api/v1/instances/{name}/logs", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("of" = Option<String>, Query, description = "A workload or a service; all where left out."),
        ("tail" = Option<usize>, Query, description = "How many of the last lines; 100 where left out."),
    ),
    responses(
        (status = 200, description = "the lines", body = LogLines),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn logs() {}

/// Follow logs.
#[utoipa::path(get, path = "/api/v1/instances/{name}/logs/follow", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
        ("of" = Option<String>, Query, description = "A workload or a service; all where left out."),
        ("tail" = Option<usize>, Query, description = "How many of the last lines; 100 where left out."),
    ),
    responses(
        (status = 200, description = "a stream (text/event-stream) of lines", body = LogLine, content_type = "text/event-stream"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn follow_logs() {}

/// Run one command of redis-cli.
#[utoipa::path(post, path = "/api/v1/instances/{name}/exec", tag = "instances",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = ExecBody,
    responses(
        (status = 200, description = "the answer", body = ExecAnswer),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn exec() {}

/// List operations.
#[utoipa::path(get, path = "/api/v1/operations", tag = "operations",
    params(
        ("instance" = Option<String>, Query, description = "Of this instance only."),
    ),
    responses(
        (status = 200, description = "the operations, newest first", body = OperationList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn operations() {}

/// Say how an operation goes.
#[utoipa::path(get, path = "/api/v1/operations/{id}", tag = "operations",
    params(
        ("id" = String, Path, description = "The operation."),
    ),
    responses(
        (status = 200, description = "the operation", body = OperationBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn operation() {}

/// Ask an operation to stop.
#[utoipa::path(post, path = "/api/v1/operations/{id}/cancel", tag = "operations",
    params(
        ("id" = String, Path, description = "The operation."),
    ),
    responses(
        (status = 202, description = "it ends once what is under way is at its end", body = OperationBody),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn cancel() {}

/// Follow what happens.
#[utoipa::path(get, path = "/api/v1/events", tag = "operations",
    params(
        ("instance" = Option<String>, Query, description = "Of this instance only."),
    ),
    responses(
        (status = 200, description = "a stream (text/event-stream); `Last-Event-ID` goes on from there", body = EventBody, content_type = "text/event-stream"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn events() {}

/// List templates.
#[utoipa::path(get, path = "/api/v1/templates", tag = "templates",
    responses(
        (status = 200, description = "the templates", body = TemplateList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn templates() {}

/// Show a template.
#[utoipa::path(get, path = "/api/v1/templates/{name}", tag = "templates",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    responses(
        (status = 200, description = "the template", body = TemplateDetail),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn template_detail() {}

/// Save a template of one's own.
#[utoipa::path(put, path = "/api/v1/templates/{name}", tag = "templates",
    params(
        ("name" = String, Path, description = "The instance, or the template."),
    ),
    request_body = TemplateFilesBody,
    responses(
        (status = 200, description = "saved", body = TemplateDetail),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("operator"))))]
const fn save_template() {}

/// Check a template's files.
#[utoipa::path(post, path = "/api/v1/lint", tag = "templates",
    request_body = TemplateFilesBody,
    responses(
        (status = 200, description = "what is wrong", body = LintList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn lint() {}

/// Render a template's config files with sample addresses.
#[utoipa::path(post, path = "/api/v1/render", tag = "templates",
    request_body = RenderBody,
    responses(
        (status = 200, description = "the files", body = RenderedList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn render() {}

/// Check the host.
#[utoipa::path(get, path = "/api/v1/doctor", tag = "server",
    responses(
        (status = 200, description = "what was found", body = FindingList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn doctor() {}

/// Run a command of a command line of the same version, and tell what happens until its reply.
#[utoipa::path(post, path = "/api/v1/commands", tag = "operations",
    request_body = CommandBody,
    responses(
        (status = 200, description = "what happens, one JSON document a line; the first gives the \
            command's id, the last is its reply or a fault. The form is that of the command \
            line of the same version. Looking needs the role viewer, changing an instance \
            operator, and a cluster that is no instance admin", body = String,
            content_type = "application/x-ndjson"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn run_command() {}

/// Answer a question of a command that one has given.
#[utoipa::path(post, path = "/api/v1/commands/{id}/answer", tag = "operations",
    params(
        ("id" = String, Path, description = "The command's id."),
    ),
    request_body = AnswerBody,
    responses(
        (status = 204, description = "taken"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn answer_command() {}

/// Ask a command that one has given to stop; what is under way comes to its end.
#[utoipa::path(post, path = "/api/v1/commands/{id}/cancel", tag = "operations",
    params(
        ("id" = String, Path, description = "The command's id."),
    ),
    responses(
        (status = 204, description = "asked"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn cancel_command() {}

/// Read the audit trail.
#[utoipa::path(get, path = "/api/v1/audit", tag = "server",
    params(
        ("instance" = Option<String>, Query, description = "Of this instance only."),
    ),
    responses(
        (status = 200, description = "who did what", body = AuditList),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("admin"))))]
const fn audit() {}

/// Give this contract.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "server",
    responses(
        (status = 200, description = "this contract"),
    ),
    extensions(("x-role" = json!("none"))))]
const fn openapi() {}

/// Say that the server runs.
#[utoipa::path(get, path = "/healthz", tag = "server",
    responses(
        (status = 200, description = "it runs"),
    ),
    extensions(("x-role" = json!("none"))))]
const fn healthz() {}

/// Give figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses(
        (status = 200, description = "figures for Prometheus", body = String, content_type = "application/openmetrics-text"),
        (status = "default", description = "an error", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
    extensions(("x-role" = json!("viewer"))))]
const fn metrics() {}

/// The document.
#[derive(Clone, Copy, Debug, OpenApi)]
#[openapi(
    info(
        title = "Shardyard",
        version = "1",
        description = "Delivers and runs sharded Redis and Valkey clusters. \
            A POST takes an Idempotency-Key: the same key with the same body gives the first answer."
    ),
    paths(
        login,
        logout,
        me,
        users,
        put_user,
        make_token,
        instances,
        up,
        instance,
        down,
        scale,
        rebalance,
        failover,
        pause,
        resume,
        cancel_change,
        slots,
        slot_figures,
        node,
        node_settings,
        node_clients,
        slow_log,
        samples,
        logs,
        follow_logs,
        exec,
        operations,
        operation,
        cancel,
        run_command,
        answer_command,
        cancel_command,
        events,
        templates,
        template_detail,
        save_template,
        lint,
        render,
        doctor,
        audit,
        openapi,
        healthz,
        metrics
    )
)]
pub struct Contract;

/// The document as text.
#[must_use]
pub fn text() -> String {
    // A document of maps, texts and numbers can always be written.
    Contract::openapi().to_pretty_json().unwrap_or_default() + "\n"
}
