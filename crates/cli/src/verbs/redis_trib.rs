//! The entrypoint of a template's `redis-trib` job: reads the rendered file as the shell of the
//! talk's image would, does what `CLUSTER_CMD` says, asks nothing, and prints what redis-trib
//! prints. It never executes anything that is in the file.
//!
//! As the job of a hook it is told by `SHARDYARD_JOINED` and `SHARDYARD_LEAVING` whom a change of
//! size is about: `reshard` brings the ones to use, `drain` empties the others.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use control::approve::YesToAll;
use control::command::{Cluster, Manner, Measure, TendRequest, Wish};
use control::{Command, Control, Reply};
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::finding::{Finding, Severity};
use plan::tend::{Drain, Grow, Rebalance};

use super::{Session, odd};
use crate::render::trib;
use crate::{print, read};

/// How long the cluster may take to be ready; the job's template waits for the job.
const READY_LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn run(session: &Session, file: &Path) -> Result<ExitCode, Fault> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Fault::new(
            "SY5010",
            Class::Usage,
            format!("{} cannot be read", file.display()),
        )
        .with_cause(error)
    })?;
    let mut settings = assignments(&text)?;
    // The environment comes first, as with a sourced file that leaves the variable alone.
    if let Ok(command) = std::env::var("CLUSTER_CMD") {
        settings.insert("CLUSTER_CMD".to_owned(), command);
    }
    let nodes = addresses(settings.get("NODES").map_or("", String::as_str))?;
    let turn = Turn {
        joined: told("SHARDYARD_JOINED")?,
        leaving: told("SHARDYARD_LEAVING")?,
    };
    let asked = settings.get("CLUSTER_CMD").map(String::as_str);
    let wish = match asked {
        Some("create") => return create(session, replicas(&settings)?, nodes).await,
        Some("check") => return look(session, Command::TribCheck(cluster(&nodes)?)).await,
        Some("info") => return look(session, Command::TribInfo(cluster(&nodes)?)).await,
        Some("reshard") => Wish::Grow(Grow {
            // By hand, whichever of the file's nodes is of no use yet.
            joining: turn.joined.clone().unwrap_or_else(|| nodes.clone()),
            replicas: replicas(&settings)?,
        }),
        Some("rebalance") => Wish::Rebalance {
            shares: EVEN,
            by: Measure::Slots,
        },
        Some("drain") => Wish::Drain(Drain {
            leaving: turn.leaving.clone().ok_or_else(nobody_leaves)?,
            replicas: replicas(&settings)?,
        }),
        Some("fix") => Wish::Fix { unreachable: false },
        other => return Err(unknown(other.unwrap_or_default())),
    };
    let request = TendRequest {
        cluster: cluster(&turn.stay(&nodes))?,
        wish,
        manner: Manner::default(),
        dry_run: false,
        limit: READY_LIMIT,
    };
    look(session, Command::Tend(request)).await
}

/// What each primary gets, those without a slot too.
const EVEN: Rebalance = Rebalance {
    weights: Vec::new(),
    use_empty: true,
    threshold_percent: 2,
};

/// Whom the change of size is about in which the job has its turn.
struct Turn {
    joined: Option<Vec<NodeAddress>>,
    leaving: Option<Vec<NodeAddress>>,
}

impl Turn {
    /// The nodes that are in the cluster before and after the change; all of them where there is
    /// none.
    fn stay(&self, nodes: &[NodeAddress]) -> Vec<NodeAddress> {
        let changes = [&self.joined, &self.leaving];
        let changes = |it: &NodeAddress| changes.into_iter().flatten().flatten().any(|c| c == it);
        let stay: Vec<NodeAddress> = nodes.iter().copied().filter(|it| !changes(it)).collect();
        if stay.is_empty() {
            nodes.to_vec()
        } else {
            stay
        }
    }
}

/// The addresses that a variable of the environment holds; `None` where it is not set, or empty.
fn told(variable: &str) -> Result<Option<Vec<NodeAddress>>, Fault> {
    let value = std::env::var(variable).unwrap_or_default();
    let addresses: Vec<NodeAddress> = addresses(&value)?;
    Ok((!addresses.is_empty()).then_some(addresses))
}

fn addresses(text: &str) -> Result<Vec<NodeAddress>, Fault> {
    text.split_whitespace().map(read::address).collect()
}

fn nobody_leaves() -> Fault {
    Fault::new("SY5011", Class::Usage, "nobody is named who is to leave").with_help(
        "have the job be the template's hook before_scale_in, or set SHARDYARD_LEAVING to their \
         addresses: HOST:PORT, with a space between them",
    )
}

fn unknown(command: &str) -> Fault {
    let message = format!(
        "CLUSTER_CMD is `{}`, and this job knows: create, reshard, rebalance, drain, check, fix, info",
        command.escape_debug()
    );
    Fault::new("SY5011", Class::Usage, message)
        .with_help("set CLUSTER_CMD=create in the job's environment")
}

fn replicas(settings: &BTreeMap<String, String>) -> Result<u16, Fault> {
    let replicas = settings.get("REPLICAS").map_or("0", String::as_str);
    replicas.trim().parse().map_err(|_| {
        let message = format!("REPLICAS is `{}`, and no number", replicas.escape_debug());
        Fault::new("SY5010", Class::Usage, message)
    })
}

async fn create(
    session: &Session,
    replicas: u16,
    nodes: Vec<NodeAddress>,
) -> Result<ExitCode, Fault> {
    print::result(&format!(">>> Creating cluster of {} nodes", nodes.len()));
    let command = Command::TribCreate {
        nodes,
        replicas,
        credentials: None,
        dry_run: false,
        limit: READY_LIMIT,
    };
    look(session, command).await
}

/// The cluster that the first of the nodes is in.
fn cluster(nodes: &[NodeAddress]) -> Result<Cluster, Fault> {
    let seed = nodes.first().ok_or_else(|| {
        Fault::new("SY5010", Class::Usage, "NODES names no node")
            .with_help("the file holds a line such as NODES=\"10.0.0.4:6379 10.0.0.5:6379\"")
    })?;
    Ok(Cluster {
        seed: *seed,
        credentials: None,
    })
}

/// Runs a command and prints what redis-trib would.
async fn look(session: &Session, command: Command) -> Result<ExitCode, Fault> {
    let hands = session
        .settings
        .hands(session.progress.clone(), session.cancel.clone())?;
    let control = Control::new(session.settings.home()?, hands, Arc::new(YesToAll));
    match control.run(command).await? {
        Reply::Created(info) => print::result(&trib::verdicts(&info, &[])),
        Reply::Tended(tended) => {
            print::result(&trib::tended(&tended));
            let is_whole = |it: &Finding| it.severity < Severity::Critical;
            if !tended.findings.iter().all(is_whole) {
                return Ok(ExitCode::from(Class::Unhealthy.exit_code()));
            }
        }
        Reply::Info(info) => print::result(&trib::summary(&info)),
        Reply::Checked(info, findings) => {
            print::result(&(trib::summary(&info) + &trib::verdicts(&info, &findings)));
            if findings.iter().any(|it| it.severity > Severity::Notice) {
                return Ok(ExitCode::from(Class::Unhealthy.exit_code()));
            }
        }
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The assignments of a shell file: `NAME=value`, `NAME="several words"`, `NAME='…'`, comments and
/// empty lines. Whatever a shell would expand or run is refused.
fn assignments(text: &str) -> Result<BTreeMap<String, String>, Fault> {
    let mut settings = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = assignment(line).map_err(|problem| {
            Fault::new(
                "SY5010",
                Class::Usage,
                format!("line {} is no assignment: {problem}", index + 1),
            )
            .with_help("the file holds lines such as REPLICAS=1 and NODES=\"10.0.0.4:6379 …\"")
        })?;
        settings.insert(name, value);
    }
    Ok(settings)
}

fn assignment(line: &str) -> Result<(String, String), &'static str> {
    let (name, value) = line.split_once('=').ok_or("there is no `=`")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err("what stands before the `=` is no name");
    }
    let bare = |value: &str| {
        if value.contains(['$', '`', '\\']) {
            Err("nothing is expanded here")
        } else {
            Ok(value.to_owned())
        }
    };
    let value = if let Some(rest) = value.strip_prefix('"') {
        bare(rest.strip_suffix('"').ok_or("a quote is not closed")?)?
    } else if let Some(rest) = value.strip_prefix('\'') {
        rest.strip_suffix('\'')
            .ok_or("a quote is not closed")?
            .to_owned()
    } else if value.contains([' ', '\t', ';', '&', '|', '<', '>', '(', ')']) {
        return Err("several words stand in quotes, and nothing is run here");
    } else {
        bare(value)?
    };
    if value.contains('"') {
        return Err("there is a quote too many");
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_talks_file_is_read_as_its_shell_would() {
        let text = "REPLICAS=1\n\nNODES=\" 10.0.0.2:6379 10.0.0.3:6379\"\n";
        let settings = assignments(text).unwrap();
        assert_eq!(settings["REPLICAS"], "1");
        assert_eq!(settings["NODES"], " 10.0.0.2:6379 10.0.0.3:6379");
    }

    #[test]
    fn nothing_is_expanded_or_run() {
        for line in [
            "NODES=$(id)",
            "NODES=\"`id`\"",
            "NODES=$HOME",
            "A=1; rm -rf /",
            "A=\"1\" B=2",
            "A=\"1",
            "rm -rf /",
            "1A=2",
            "export A=1",
        ] {
            let error = assignments(line).unwrap_err();
            assert!(error.message.starts_with("line 1 "), "{line}: {error}");
        }
        assert_eq!(assignments("A='$x'").unwrap()["A"], "$x");
    }
}
