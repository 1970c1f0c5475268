//! Verbs on any cluster.

use std::process::ExitCode;
use std::time::Duration;

use control::command::{Cluster, Which};
use control::{Command, Reply};
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::finding::{Finding, Severity};

use super::{Session, backup, import, odd, tend};
use crate::args::{Login, TribVerb};
use crate::read;
use crate::render::{json, text, trib};

pub(super) async fn run(mut session: Session, verb: TribVerb) -> Result<ExitCode, Fault> {
    session.settings.tls = read::tls(verb.login())?;
    if session.remote.is_some() && session.settings.tls.is_some() {
        return Err(tls_there());
    }
    let session = &session;
    match verb {
        TribVerb::Create {
            nodes,
            replicas,
            dry_run,
            wait_timeout,
            login,
        } => {
            let nodes: Result<Vec<NodeAddress>, Fault> =
                nodes.iter().map(|node| read::address(node)).collect();
            let command = Command::TribCreate {
                nodes: nodes?,
                replicas,
                credentials: read::login(&login)?,
                dry_run,
                limit: Duration::from_secs(wait_timeout),
            };
            create(session, command).await
        }
        TribVerb::Check { node, login } => {
            let command = Command::TribCheck(cluster(&node, &login)?);
            check(session, command).await
        }
        TribVerb::Info { node, login } => {
            let command = Command::TribInfo(cluster(&node, &login)?);
            match session.run(command, None).await? {
                Reply::Info(info) => {
                    session.show(|| trib::summary(&info), || json::cluster(&info, None))
                }
                other => return Err(odd(&other)),
            }
            Ok(ExitCode::SUCCESS)
        }
        verb @ (TribVerb::Fix { .. }
        | TribVerb::Reshard { .. }
        | TribVerb::Rebalance { .. }
        | TribVerb::AddNode { .. }
        | TribVerb::DelNode { .. }
        | TribVerb::SetTimeout { .. }) => tend::run(session, verb).await,
        TribVerb::Backup(arguments) => backup::run(session, &arguments).await,
        TribVerb::Import(arguments) => import::run(session, &arguments).await,
        TribVerb::Call {
            node,
            command,
            only_masters,
            only_replicas,
            login,
        } => {
            let command = Command::TribCall {
                cluster: cluster(&node, &login)?,
                command,
                which: which(only_masters, only_replicas),
            };
            call(session, command).await
        }
    }
}

/// Certificates and keys are files of this machine, and a key stays where it is.
fn tls_there() -> Fault {
    Fault::new(
        "SY5016",
        Class::Usage,
        "--tls is for a cluster that is reached from here, and --server has the server reach it",
    )
    .with_help("run it without --server on a host that reaches the cluster")
}

pub(super) fn cluster(node: &str, login: &Login) -> Result<Cluster, Fault> {
    Ok(Cluster {
        seed: read::address(node)?,
        credentials: read::login(login)?,
    })
}

const fn which(only_masters: bool, only_replicas: bool) -> Which {
    match (only_masters, only_replicas) {
        (true, _) => Which::Primaries,
        (false, true) => Which::Replicas,
        (false, false) => Which::All,
    }
}

async fn create(session: &Session, command: Command) -> Result<ExitCode, Fault> {
    match session.run(command, None).await? {
        Reply::Plan(plan) => session.show(
            || text::plan("create a cluster", &plan, &[]),
            || json::plan(&plan),
        ),
        Reply::Created(info) => session.show(
            || trib::verdicts(&info, &[]),
            || json::cluster(&info, Some(&[])),
        ),
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(session: &Session, command: Command) -> Result<ExitCode, Fault> {
    match session.run(command, None).await? {
        Reply::Checked(info, findings) => {
            session.show(
                || trib::summary(&info) + &trib::verdicts(&info, &findings),
                || json::cluster(&info, Some(&findings)),
            );
            Ok(code_of(&findings))
        }
        other => Err(odd(&other)),
    }
}

fn code_of(findings: &[Finding]) -> ExitCode {
    if findings.iter().any(|it| it.severity > Severity::Notice) {
        ExitCode::from(Class::Unhealthy.exit_code())
    } else {
        ExitCode::SUCCESS
    }
}

async fn call(session: &Session, command: Command) -> Result<ExitCode, Fault> {
    match session.run(command, None).await? {
        Reply::Answers(answers) => {
            session.show(|| trib::answers(&answers), || json::answers(&answers));
            let failed = answers.iter().any(|it| it.answer.is_err());
            Ok(if failed {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
        other => Err(odd(&other)),
    }
}
