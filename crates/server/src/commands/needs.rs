//! What each command of a command line elsewhere needs: which role, and whether it becomes an
//! operation. What would give more than the API gives elsewhere is refused, whoever asks.

use std::time::Duration;

use control::Command;
use control::command::{Shape, UpRequest};
use model::fault::{Class, Fault};
use model::ids::InstanceName;

use crate::wire::Role;

/// What a command needs.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Which role.
    pub(crate) role: Role,
    /// What it does to the world.
    pub(crate) kind: Kind,
    /// The instance, or the node by which a cluster is known.
    pub(crate) about: Option<String>,
    /// The instance that nobody else may be at work on.
    pub(crate) alone: Option<InstanceName>,
    /// Its name, for operations and the audit trail.
    pub(crate) verb: String,
}

/// What a command does to the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It looks at our instances.
    Looks,
    /// It is done at once, or reaches beyond our instances; it is noted.
    Acts,
    /// It takes its time and becomes an operation; it is noted.
    Changes,
}

/// What a command needs, or why it is not taken over the API.
pub(crate) fn needs(command: &Command) -> Result<Needs, Fault> {
    match command {
        Command::List => Ok(look("ls", None)),
        Command::Status(name) => Ok(look("status", Some(name))),
        Command::Logs { instance, .. } => Ok(look("logs", Some(instance))),
        Command::Doctor => Ok(look("doctor", None)),
        Command::Up(request) => up(request),
        Command::Down(request) => Ok(change("down", &request.name, request.dry_run)),
        Command::Scale(request) => {
            let mut needs = change(request.verb, &request.name, request.dry_run);
            // To end what is under way is what it is for.
            needs.alone = needs.alone.filter(|_| request.shape != Shape::AsItIs);
            Ok(needs)
        }
        Command::Failover(request) => Ok(change("failover", &request.name, request.dry_run)),
        Command::Pause(name) => Ok(act("pause", name)),
        Command::Resume(name) => Ok(act("resume", name)),
        Command::Exec { .. } => Err(exec()),
        Command::Backup(_) => Err(backup()),
        Command::TribCreate { nodes, dry_run, .. } => {
            let about = nodes.first().map(ToString::to_string);
            Ok(beyond("create", about, *dry_run))
        }
        Command::TribCheck(cluster) => Ok(beyond("check", Some(cluster.seed.to_string()), true)),
        Command::TribInfo(cluster) => Ok(beyond("info", Some(cluster.seed.to_string()), true)),
        Command::TribCall { cluster, .. } => {
            Ok(beyond("call", Some(cluster.seed.to_string()), true))
        }
        Command::Tend(request) => {
            let about = Some(request.cluster.seed.to_string());
            Ok(beyond(request.wish.verb(), about, request.dry_run))
        }
        Command::Import(request) => {
            let about = Some(request.cluster.seed.to_string());
            Ok(beyond("import", about, request.dry_run))
        }
    }
}

fn look(verb: &str, name: Option<&InstanceName>) -> Needs {
    Needs {
        role: Role::Viewer,
        kind: Kind::Looks,
        about: name.map(ToString::to_string),
        alone: None,
        verb: verb.to_owned(),
    }
}

fn act(verb: &str, name: &InstanceName) -> Needs {
    Needs {
        role: Role::Operator,
        kind: Kind::Acts,
        ..look(verb, Some(name))
    }
}

fn change(verb: &str, name: &InstanceName, is_dry: bool) -> Needs {
    let needs = act(verb, name);
    if is_dry {
        return needs;
    }
    Needs {
        kind: Kind::Changes,
        alone: Some(name.clone()),
        ..needs
    }
}

/// A command on any cluster: the server connects to wherever it is told.
fn beyond(verb: &str, about: Option<String>, only_looks: bool) -> Needs {
    Needs {
        role: Role::Admin,
        kind: if only_looks {
            Kind::Acts
        } else {
            Kind::Changes
        },
        about,
        alone: None,
        verb: format!("trib {verb}"),
    }
}

fn up(request: &UpRequest) -> Result<Needs, Fault> {
    if request.platform.host_access {
        // A folder of the host is given by who has a shell there.
        return Err(not_here(
            "folders of the host are not given over the API",
            "deliver it where the server runs: shardyard up --allow-host-access",
        ));
    }
    Ok(change("up", &request.name, request.dry_run))
}

fn exec() -> Fault {
    not_here(
        "programs are not run on the server's hosts over the API",
        "for one command to the cluster: shardyard cli NAME COMMAND; \
         for others, log in where the server runs",
    )
}

fn backup() -> Fault {
    not_here(
        "a backup is written where the driver runs, and the API writes no files there",
        "run it on a host that reaches the nodes, without --server: shardyard trib backup",
    )
}

fn not_here(message: &str, help: &str) -> Fault {
    Fault::new("SY6018", Class::Refused, message).with_help(help)
}

/// The longest that a command may wait, as on the command line.
const LIMIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The same command, waiting no longer than the command line lets one wait.
pub(crate) fn limited(mut command: Command) -> Command {
    let limit = match &mut command {
        Command::Up(request) => Some(&mut request.limit),
        Command::Scale(request) => Some(&mut request.limit),
        Command::Failover(request) => Some(&mut request.limit),
        Command::TribCreate { limit, .. } => Some(limit),
        Command::Tend(request) => Some(&mut request.limit),
        Command::Import(request) => Some(&mut request.limit),
        Command::Down(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::List
        | Command::Status(_)
        | Command::Logs { .. }
        | Command::Exec { .. }
        | Command::Doctor
        | Command::TribCheck(_)
        | Command::TribInfo(_)
        | Command::Backup(_)
        | Command::TribCall { .. } => None,
    };
    if let Some(limit) = limit {
        *limit = (*limit).min(LIMIT_MAX);
    }
    command
}
