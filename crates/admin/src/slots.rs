//! Gives slots to a node that is new: the claim's epoch, then the slots.

use std::fmt;

use model::fault::{Class, Code, Explain, Fault};
use model::ids::Epoch;
use model::slots::{SlotRange, SlotSet};
use model::step::Member;
use model::view::ClusterReport;

use crate::Session;
use crate::connection::{Connection, NodeError, NodeErrorKind};
use crate::{cluster_nodes, observe};

/// How many slots one ADDSLOTS names, for servers before 7.0, which have no ADDSLOTSRANGE.
const ADDSLOTS_MAX: usize = 1024;

/// Why a node cannot be given slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SlotsError {
    /// It holds keys, and it owns no slot: they would belong to nobody.
    NotEmpty { node: Member, keys: u64 },
    /// It says that another node owns some of them.
    Owned { node: Member, slots: SlotSet },
    /// Another server answers at its address.
    AnotherNode { node: Member },
}

impl fmt::Display for SlotsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty { node, keys } => {
                write!(out, "{node} already holds {keys} keys")
            }
            Self::Owned { node, slots } => {
                write!(out, "{node} knows another owner of slots {slots}")
            }
            Self::AnotherNode { node } => {
                write!(
                    out,
                    "the server at {} is not node {}",
                    node.address, node.id
                )
            }
        }
    }
}

impl std::error::Error for SlotsError {}

impl Explain for SlotsError {
    fn code(&self) -> Code {
        Code(match self {
            Self::NotEmpty { .. } => "SY2010",
            Self::Owned { .. } => "SY2012",
            Self::AnotherNode { .. } => "SY2013",
        })
    }

    fn class(&self) -> Class {
        Class::Refused
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotEmpty { node, .. } => format!(
                "use an empty server, or save what it holds: redis-cli -h {} -p {} --rdb copy.rdb",
                node.address.ip, node.address.port
            ),
            Self::Owned { node, .. } | Self::AnotherNode { node } => {
                format!(
                    "shardyard trib check {}   shows who owns what",
                    node.address
                )
            }
        })
    }
}

/// Makes the node own these slots.
pub(crate) async fn ensure(
    session: Session<'_>,
    node: Member,
    slots: &[SlotRange],
    epoch: Epoch,
) -> Result<(), Fault> {
    let mut connection = session.to(node.address).await?;
    let report = report(&mut connection).await?;
    if report.id != node.id {
        return Err(SlotsError::AnotherNode { node }.into());
    }
    let own = SlotSet::of(report.myself().map_or(&[], |myself| &myself.slots));
    let missing = SlotSet::of(slots).difference(&own);
    if missing.is_empty() {
        return Ok(());
    }
    let owned = missing.intersection(&report.slots_assigned());
    if !owned.is_empty() {
        return Err(SlotsError::Owned { node, slots: owned }.into());
    }
    let keys = connection.ask(&["DBSIZE"]).await?;
    if let redis::Value::Int(keys) = keys
        && let Ok(keys @ 1..) = u64::try_from(keys)
    {
        return Err(SlotsError::NotEmpty { node, keys }.into());
    }
    // Only a node that knows no other and has no epoch takes one; any other has its own already,
    // and two equal ones are told apart by the servers themselves.
    let fresh = report.is_alone() && report.myself().is_none_or(|it| it.epoch == Epoch(0));
    if fresh {
        let epoch = epoch.to_string();
        connection
            .ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])
            .await?;
    }
    claim(&mut connection, &missing).await?;
    Ok(())
}

async fn report(connection: &mut Connection<'_>) -> Result<ClusterReport, NodeError> {
    let question = ["CLUSTER", "NODES"];
    let answer = connection.ask(&question).await?;
    let text = observe::text(connection, &question, answer)?;
    let (id, peers) =
        cluster_nodes::read(&text).map_err(|problem| connection.unexpected(&question, &problem))?;
    Ok(ClusterReport {
        id,
        serves: false,
        current_epoch: Epoch(0),
        peers,
    })
}

async fn claim(connection: &mut Connection<'_>, slots: &SlotSet) -> Result<(), NodeError> {
    let mut words = vec!["CLUSTER".to_owned(), "ADDSLOTSRANGE".to_owned()];
    for range in slots.ranges() {
        words.push(range.first().number().to_string());
        words.push(range.last().number().to_string());
    }
    let borrowed: Vec<&str> = words.iter().map(String::as_str).collect();
    match connection.ask(&borrowed).await {
        Err(NodeError {
            kind: NodeErrorKind::Answered { error, .. },
            ..
        }) if error.to_ascii_lowercase().contains("unknown") => {}
        other => return other.map(drop),
    }
    let numbers: Vec<String> = slots.iter().map(|slot| slot.number().to_string()).collect();
    for part in numbers.chunks(ADDSLOTS_MAX) {
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(part.iter().map(String::as_str));
        connection.ask(&words).await?;
    }
    Ok(())
}
