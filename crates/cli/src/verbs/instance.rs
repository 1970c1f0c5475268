//! Verbs on an instance: up, down, status, logs, exec.

use std::process::ExitCode;
use std::time::Duration;

use control::command::{DownRequest, LogSubject, Platform, Status, UpRequest};
use control::{Command, Reply};
use model::fault::{Class, Fault};
use model::ids::{InstanceName, ServiceName, WorkloadName};
use plan::check::State;

use super::{Session, odd};
use crate::args::{DownArguments, LogsArguments, Output, StatusArguments, UpArguments};
use crate::render::{json, text};
use crate::{print, read};

pub(super) async fn up(session: &Session, arguments: &UpArguments) -> Result<ExitCode, Fault> {
    let engine = read::engine(&arguments.engine)?;
    let choice = match (&arguments.template, &arguments.name) {
        (Some(named), _) => Some(read::template(named)?),
        (None, None) => Some(read::template(read::DEFAULT_TEMPLATE)?),
        (None, Some(name)) => {
            // An instance that is there keeps its template; a new one gets the default.
            let name = read::instance(name)?;
            (!is_known(session, &name).await?)
                .then(|| read::template(read::DEFAULT_TEMPLATE))
                .transpose()?
        }
    };
    let name = match (&arguments.name, &choice) {
        (Some(name), _) => read::instance(name)?,
        (None, Some(choice)) => {
            let document = template::Document::read(&choice.files)?;
            read::instance(document.name().as_str())?
        }
        (None, None) => read::instance(read::DEFAULT_TEMPLATE)?,
    };
    let given = read::up_variables(arguments)?;
    let request = UpRequest {
        name,
        template: choice,
        given: given.values,
        in_arguments: given.in_arguments,
        platform: Platform {
            engine,
            expose: read::expose(arguments.expose.as_deref())?,
            fetch: read::fetch(arguments.pull),
            host_access: arguments.allow_host_access,
        },
        dry_run: arguments.dry_run,
        limit: Duration::from_secs(arguments.wait_timeout),
    };
    let what = format!("deliver {}", request.name);
    match session.run(Command::Up(request), None).await? {
        Reply::Plan(plan) => session.show(|| text::plan(&what, &plan, &[]), || json::plan(&plan)),
        Reply::Delivered(delivery) => {
            session.show(|| text::delivery(&delivery), || json::delivery(&delivery));
        }
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there is such an instance, where the command will run.
async fn is_known(session: &Session, name: &InstanceName) -> Result<bool, Fault> {
    if session.remote.is_none() {
        let home = session.settings.home()?;
        return Ok(control::store::Store::open(&home)?.names()?.contains(name));
    }
    match session.run(Command::List, None).await? {
        Reply::List(rows) => Ok(rows.iter().any(|it| it.name == name.as_str())),
        other => Err(odd(&other)),
    }
}

pub(super) async fn down(session: &Session, arguments: &DownArguments) -> Result<ExitCode, Fault> {
    let request = DownRequest {
        name: read::instance(&arguments.name)?,
        delete_data: arguments.delete_data,
        dry_run: arguments.dry_run,
    };
    let what = format!("stop {}", request.name);
    let command = Command::Down(request);
    match session.run(command, arguments.confirm.clone()).await? {
        Reply::Plan(plan) => session.show(|| text::plan(&what, &plan, &[]), || json::plan(&plan)),
        Reply::Down {
            instance,
            deleted,
            changed,
        } => session.show(
            || match (deleted, changed) {
                (true, _) => format!("{instance} is gone, and its data with it.\n"),
                (false, true) => format!(
                    "{instance} is stopped; its data is kept. \
                     It comes back by: shardyard up --name {instance}\n"
                ),
                (false, false) => format!("{instance} was stopped already; its data is kept.\n"),
            },
            || {
                serde_json::json!({
                    "name": instance.to_string(), "deleted": deleted, "changed": changed,
                })
            },
        ),
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn status(
    session: &Session,
    arguments: &StatusArguments,
) -> Result<ExitCode, Fault> {
    let name = read::instance(&arguments.name)?;
    if !arguments.watch {
        let status = asked(session.run(Command::Status(name), None).await?)?;
        session.show(|| text::status(&status), || json::status(&status));
        return Ok(code_of(&status));
    }
    // One listener for all looks: an interrupt between two of them is not missed.
    let interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    tokio::select! {
        _ = interrupted => Ok(ExitCode::SUCCESS),
        failed = watch(session, &name, arguments.interval) => failed,
    }
}

/// Shows how an instance is again and again; it ends only by a fault.
async fn watch(session: &Session, name: &InstanceName, interval: u64) -> Result<ExitCode, Fault> {
    loop {
        let status = asked(session.run_attached(Command::Status(name.clone())).await?)?;
        match session.output {
            // Home, and clear what was there: no scrolling.
            Output::Text if print::can_draw_result() => {
                print::result(&format!("\u{1b}[H\u{1b}[2J{}", text::status(&status)));
            }
            Output::Text => print::result(&text::status(&status)),
            Output::Json => print::result(&json::line(json::status(&status))),
        }
        tokio::time::sleep(Duration::from_secs(interval)).await;
    }
}

fn asked(reply: Reply) -> Result<Box<Status>, Fault> {
    match reply {
        Reply::Status(status) => Ok(status),
        other => Err(odd(&other)),
    }
}

/// An instance that is stopped is as its owner wants it.
fn code_of(status: &Status) -> ExitCode {
    match status.state {
        State::Ready | State::Stopped => ExitCode::SUCCESS,
        State::Converging | State::Degraded | State::Unavailable => {
            ExitCode::from(Class::Unhealthy.exit_code())
        }
    }
}

pub(super) async fn logs(session: &Session, arguments: &LogsArguments) -> Result<ExitCode, Fault> {
    let of = match &arguments.of {
        None => None,
        Some(text) => Some(match WorkloadName::parse(text) {
            Some(workload) => LogSubject::Workload(workload),
            None => LogSubject::Service(
                ServiceName::new(text)
                    .map_err(|error| Fault::new("SY5001", Class::Usage, error.to_string()))?,
            ),
        }),
    };
    let command = Command::Logs {
        instance: read::instance(&arguments.name)?,
        of,
        tail: arguments.tail,
        follow: arguments.follow,
    };
    session.run(command, None).await?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn exec(
    session: &Session,
    name: &str,
    workload: Option<WorkloadName>,
    command: Vec<String>,
) -> Result<ExitCode, Fault> {
    let command = Command::Exec {
        instance: read::instance(name)?,
        workload,
        command,
        as_operator: true,
    };
    match session.run_attached(command).await? {
        Reply::Exit(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        other => Err(odd(&other)),
    }
}
