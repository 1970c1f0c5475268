//! Ends the pause after which a new primary serves.
//!
//! A primary that was without slots for more than 2 s counts as one that was cut off, and waits
//! for the node time-out, 5 s at most, until it trusts its view (`clusterUpdateState`, Redis 7.0).
//! A new cluster has nothing to distrust: with a short node time-out for a moment the pause is
//! over.

use std::fmt;
use std::time::{Duration, Instant};

use model::fault::{Class, Code, Explain, Fault};
use model::step::Member;
use redis::Value;

use crate::Session;
use crate::connection::NodeError;
use crate::info::Info;
use crate::{observe, setting};

/// The node time-out for that moment: the least to which the server cuts its pause.
const SHORT_TIMEOUT_MS: &str = "500";

/// How long the moment may last. It is 0.02 to 0.3 s where all is well; a short time-out for
/// longer would have nodes suspect each other.
const DIP_LIMIT: Duration = Duration::from_secs(1);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A node with keys, whose time-out is not to be touched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NotNew {
    node: Member,
    keys: i64,
}

impl fmt::Display for NotNew {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} holds {} keys and is no new primary",
            self.node, self.keys
        )
    }
}

impl std::error::Error for NotNew {}

impl Explain for NotNew {
    fn code(&self) -> Code {
        Code("SY2010")
    }

    fn class(&self) -> Class {
        Class::Refused
    }

    fn help(&self) -> Option<String> {
        None
    }
}

/// Has a new primary serve at once. That it does not within the limit is no error: it will by
/// itself, and whoever needs it waits for it.
pub(crate) async fn ensure(session: Session<'_>, node: Member) -> Result<(), Fault> {
    if serves(session, node).await? {
        return Ok(());
    }
    let mut connection = session.to(node.address).await?;
    if let Value::Int(keys @ 1..) = connection.ask(&["DBSIZE"]).await? {
        return Err(NotNew { node, keys }.into());
    }
    let changed = setting::change(
        session,
        node.address,
        "cluster-node-timeout",
        SHORT_TIMEOUT_MS,
    )
    .await?;
    let looked = watch(session, node).await;
    if let Some(changed) = changed {
        setting::restore(session, changed).await?;
    }
    Ok(looked?)
}

async fn watch(session: Session<'_>, node: Member) -> Result<(), NodeError> {
    let begun = Instant::now();
    while !serves(session, node).await? && begun.elapsed() < DIP_LIMIT {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn serves(session: Session<'_>, node: Member) -> Result<bool, NodeError> {
    let mut connection = session.to(node.address).await?;
    let question = ["CLUSTER", "INFO"];
    let answer = connection.ask(&question).await?;
    let text = observe::text(&connection, &question, answer)?;
    Ok(Info::new(&text).text("cluster_state") == Some("ok"))
}
