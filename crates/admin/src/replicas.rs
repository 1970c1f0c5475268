//! Makes nodes copy a primary, and has the first copy begin at once.

use std::fmt;
use std::time::{Duration, Instant};

use futures::future::join_all;
use model::fault::{Class, Code, Explain, Fault};
use model::step::Member;
use model::view::{Replication, ReplicationLink};

use crate::Session;
use crate::connection::{NodeError, NodeErrorKind};
use crate::info::Info;
use crate::{observe, setting};

/// How long a node may take to hear of its primary and to begin the copy. Both take a tick or two
/// of 100 ms; a hundred nodes at once on two cores need seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// The pause between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// Why a node does not copy its primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReplicaError {
    /// It has not heard of its primary.
    UnknownPrimary { node: Member, primary: Member },
    /// It copies, but its link does not come up.
    NoLink { node: Member, primary: Member },
    /// It has slots or keys of its own.
    NotEmpty { node: Member, answer: String },
}

impl fmt::Display for ReplicaError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = LIMIT.as_secs();
        match self {
            Self::UnknownPrimary { node, primary } => {
                write!(out, "after {seconds} s {node} does not know {primary}")
            }
            Self::NoLink { node, primary } => {
                write!(out, "after {seconds} s {node} has no link to {primary}")
            }
            Self::NotEmpty { node, answer } => {
                write!(out, "{node} cannot become a replica: {answer}")
            }
        }
    }
}

impl std::error::Error for ReplicaError {}

impl Explain for ReplicaError {
    fn code(&self) -> Code {
        Code(match self {
            Self::UnknownPrimary { .. } | Self::NoLink { .. } => "SY2015",
            Self::NotEmpty { .. } => "SY2010",
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::UnknownPrimary { .. } | Self::NoLink { .. } => Class::NotConverged,
            Self::NotEmpty { .. } => Class::Refused,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::UnknownPrimary { node, .. } => Some(format!(
                "shardyard trib check {}   shows who knows whom",
                node.address
            )),
            Self::NoLink { node, .. } => Some(format!(
                "see the server's log: a wrong masterauth and a full disk are told there ({})",
                node.address
            )),
            Self::NotEmpty { .. } => {
                Some("a node with slots or keys of its own is left as it is".to_owned())
            }
        }
    }
}

/// Makes the replicas copy the primary. Done once each copy is complete or on its way: how long
/// the rest takes is a matter of the data.
pub(crate) async fn ensure(
    session: Session<'_>,
    primary: Member,
    replicas: &[Member],
) -> Result<(), Fault> {
    // The primary would wait for more replicas before it begins a copy, 5 s by default.
    let changed =
        setting::change(session, primary.address, "repl-diskless-sync-delay", "0").await?;
    let copies = join_all(replicas.iter().map(|node| one(session, *node, primary))).await;
    if let Some(changed) = changed {
        setting::restore(session, changed).await?;
    }
    copies.into_iter().collect()
}

async fn one(session: Session<'_>, node: Member, primary: Member) -> Result<(), Fault> {
    let begun = Instant::now();
    let mut asked = false;
    loop {
        if !asked {
            asked = ask(session, node, primary).await?;
        } else if is_copying(session, node).await? {
            return Ok(());
        }
        if begun.elapsed() > LIMIT {
            return Err(if asked {
                ReplicaError::NoLink { node, primary }.into()
            } else {
                ReplicaError::UnknownPrimary { node, primary }.into()
            });
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Whether the node took the order. It refuses one to copy a node that it has not heard of yet,
/// or that it does not yet know to be a primary.
async fn ask(session: Session<'_>, node: Member, primary: Member) -> Result<bool, Fault> {
    let mut connection = session.to(node.address).await?;
    let id = primary.id.to_string();
    match connection.ask(&["CLUSTER", "REPLICATE", &id]).await {
        Ok(_) => Ok(true),
        Err(NodeError {
            kind: NodeErrorKind::Answered { error, .. },
            ..
        }) if error.contains("Unknown node") || error.contains("only replicate a") => Ok(false),
        Err(NodeError {
            kind: NodeErrorKind::Answered { error, .. },
            ..
        }) if error.contains("must be empty") => Err(ReplicaError::NotEmpty {
            node,
            answer: error,
        }
        .into()),
        Err(error) => Err(error.into()),
    }
}

async fn is_copying(session: Session<'_>, node: Member) -> Result<bool, NodeError> {
    let mut connection = session.to(node.address).await?;
    let question = ["INFO", "replication"];
    let answer = match connection.ask(&question).await {
        // It loads what the primary sent.
        Err(NodeError {
            kind: NodeErrorKind::Loading,
            ..
        }) => return Ok(true),
        other => other?,
    };
    let text = observe::text(&connection, &question, answer)?;
    Ok(matches!(
        Info::new(&text).replication(),
        Some(Replication::Replica {
            link: ReplicationLink::Up | ReplicationLink::Copying,
            ..
        })
    ))
}
