//! `trib import`.

use std::process::ExitCode;
use std::time::Duration;

use control::command::{Cluster, ImportRequest};
use control::{Command, Reply};
use model::fault::Fault;

use super::trib::cluster;
use super::{Session, odd, tend};
use crate::args::ImportArguments;
use crate::read;
use crate::render::{json, text, trib};

pub(super) async fn run(session: &Session, arguments: &ImportArguments) -> Result<ExitCode, Fault> {
    let request = ImportRequest {
        cluster: cluster(&arguments.node, &arguments.login)?,
        source: Cluster {
            seed: read::address(&arguments.from.from)?,
            credentials: read::login_at_source(&arguments.from)?,
        },
        copies: arguments.copy,
        manner: tend::manner(&arguments.moves)?,
        dry_run: arguments.moves.run.dry_run,
        limit: Duration::from_secs(arguments.moves.run.wait_timeout),
    };
    let what = format!(
        "import {} into the cluster of {}",
        request.source.seed, request.cluster.seed
    );
    match session.run(Command::Import(request), None).await? {
        Reply::Plan(plan) => {
            session.show(|| text::plan(&what, &plan, &[]), || json::plan(&plan));
        }
        Reply::Imported(imported) => {
            session.show(|| trib::imported(&imported), || json::imported(&imported));
        }
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
