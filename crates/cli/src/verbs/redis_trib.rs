//! The entrypoint of a template's `redis-trib` job: reads the rendered file as the shell of the
//! talk's image would, does what `CLUSTER_CMD` says, asks nothing, and prints what redis-trib
//! prints. It never executes anything that is in the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use control::approve::YesToAll;
use control::command::Cluster;
use control::{Command, Control, Reply};
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::finding::Severity;

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
    let nodes: Result<Vec<NodeAddress>, Fault> = settings
        .get("NODES")
        .map_or("", String::as_str)
        .split_whitespace()
        .map(read::address)
        .collect();
    let nodes = nodes?;
    match settings.get("CLUSTER_CMD").map(String::as_str) {
        Some("create") => create(session, &settings, nodes).await,
        Some("check") => look(session, Command::TribCheck(cluster(&nodes)?)).await,
        Some("info") => look(session, Command::TribInfo(cluster(&nodes)?)).await,
        other => Err(Fault::new(
            "SY5011",
            Class::Usage,
            format!(
                "CLUSTER_CMD is `{}`, and this job knows: create, check, info",
                other.unwrap_or_default().escape_debug()
            ),
        )
        .with_help("set CLUSTER_CMD=create in the job's environment")),
    }
}

async fn create(
    session: &Session,
    settings: &BTreeMap<String, String>,
    nodes: Vec<NodeAddress>,
) -> Result<ExitCode, Fault> {
    let replicas = settings.get("REPLICAS").map_or("0", String::as_str);
    let replicas: u16 = replicas.trim().parse().map_err(|_| {
        Fault::new(
            "SY5010",
            Class::Usage,
            format!("REPLICAS is `{}`, and no number", replicas.escape_debug()),
        )
    })?;
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
