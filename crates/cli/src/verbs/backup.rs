//! `trib backup`.

use std::process::ExitCode;

use control::command::BackupRequest;
use control::{Command, Reply};
use model::fault::Fault;
use plan::backup::Wish;

use super::trib::cluster;
use super::{Session, odd};
use crate::args::BackupArguments;
use crate::render::{json, trib};

pub(super) async fn run(session: &Session, arguments: &BackupArguments) -> Result<ExitCode, Fault> {
    let command = Command::Backup(BackupRequest {
        cluster: cluster(&arguments.node, &arguments.login)?,
        directory: arguments.directory.clone(),
        wish: Wish {
            from_primaries: arguments.from_primaries,
            allow_missing: arguments.allow_missing,
        },
    });
    match session.run(command, None).await? {
        Reply::BackedUp(backup) => {
            session.show(|| trib::backup(&backup), || json::backup(&backup));
        }
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
