//! Makes replicas primaries by the vote of the other primaries: `CLUSTER FAILOVER FORCE`, which
//! needs no word of the primary before, but a majority, and takes an epoch that nobody else has.
//! Never `TAKEOVER`, which needs neither.

use std::fmt;
use std::time::{Duration, Instant};

use futures::future::join;
use model::fault::{Class, Code, Explain, Fault};
use model::step::{Member, Promotion};
use model::view::PeerRole;
use redis::Value;

use crate::Session;
use crate::connection::{NodeError, NodeErrorKind};
use crate::info::Info;
use crate::{meet, observe, reopen};

/// How long a node may take to reach a majority of the primaries after a start.
const VOTERS_LIMIT: Duration = Duration::from_secs(2);

/// How long an election may take. Votes come within milliseconds of the next tick of 100 ms; a
/// lost election is not held again by the server within 2 × node time-out, so that waiting longer
/// is of no use.
const ELECTION_LIMIT: Duration = Duration::from_millis(1500);

/// A server that starts as a primary takes no writes for 2 s (`CLUSTER_WRITABLE_DELAY`). This old
/// it is too near to that, for an election that takes a tenth of a second.
const SERVES_SOON_SECONDS: u64 = 1;

/// How long the primary before may take to hear of its successor, which tells it at once.
const WORD_LIMIT: Duration = Duration::from_millis(100);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A node that did not become a primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PromoteError {
    /// Too few primaries are within reach to elect it.
    NoVoters {
        node: Member,
        reached: usize,
        needed: usize,
    },
    /// It was not elected.
    NotElected { node: Member },
    /// The primary before takes writes, or is about to: what it has acknowledged and not yet passed
    /// on would be lost.
    Serves { before: Member },
    /// It is not a replica, and not of the primary that it should follow on.
    NotItsReplica { promotion: Promotion },
}

impl fmt::Display for PromoteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVoters {
                node,
                reached,
                needed,
            } => write!(
                out,
                "{node} reaches {reached} primaries that can vote, and needs {needed}"
            ),
            Self::NotElected { node } => write!(
                out,
                "{node} was not elected within {} ms",
                ELECTION_LIMIT.as_millis()
            ),
            Self::Serves { before } => write!(
                out,
                "{before} serves, and a forced election would lose writes"
            ),
            Self::NotItsReplica { promotion } => write!(
                out,
                "{} is no replica of {}",
                promotion.node, promotion.instead_of
            ),
        }
    }
}

impl std::error::Error for PromoteError {}

impl Explain for PromoteError {
    fn code(&self) -> Code {
        match self {
            // The guard of a supervisor knows by this one that there was an election.
            Self::NotElected { .. } => Code("SY2018"),
            Self::NoVoters { .. } | Self::Serves { .. } | Self::NotItsReplica { .. } => {
                Code("SY2016")
            }
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::NoVoters { .. } | Self::NotElected { .. } | Self::Serves { .. } => {
                Class::NotConverged
            }
            Self::NotItsReplica { .. } => Class::Refused,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NoVoters { .. } => {
                Some("start the primaries that do not answer: a majority must vote".to_owned())
            }
            Self::NotElected { node }
            | Self::Serves { before: node }
            | Self::NotItsReplica {
                promotion: Promotion { node, .. },
            } => Some(format!(
                "shardyard trib check {}   shows the state of the cluster",
                node.address
            )),
        }
    }
}

/// Makes each node a primary, one after the other.
pub(crate) async fn ensure_all(
    session: Session<'_>,
    promotions: &[Promotion],
) -> Result<(), Fault> {
    for promotion in promotions {
        ensure(session, *promotion).await?;
    }
    Ok(())
}

async fn ensure(session: Session<'_>, promotion: Promotion) -> Result<(), Fault> {
    let node = promotion.node;
    if is_primary(session, node).await? {
        return Ok(());
    }
    if has_won_meanwhile(session, promotion).await? {
        let open = reopen::on_their_way(session, promotion).await;
        reopen::open(session, node, &open).await;
        return Ok(());
    }
    must_not_serve(session, promotion.instead_of).await?;
    reopen::pause(session, node).await;
    let election = elected(session, node);
    let (elected, open) = join(election, reopen::on_their_way(session, promotion)).await;
    if elected.is_ok() {
        reopen::open(session, node, &open).await;
    }
    reopen::resume(session, node).await;
    elected?;
    spread_the_word(session, promotion.instead_of).await;
    Ok(())
}

async fn elected(session: Session<'_>, node: Member) -> Result<(), Fault> {
    let mut connection = session.to(node.address).await?;
    connection.ask(&["CLUSTER", "FAILOVER", "FORCE"]).await?;
    let begun = Instant::now();
    while !is_primary(session, node).await? {
        if begun.elapsed() > ELECTION_LIMIT {
            return Err(PromoteError::NotElected { node }.into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// The new primary has told everybody of itself; the one before tells nobody that it is a replica
/// now, and gossip takes seconds. That it cannot be told, because it is dead, is no error.
async fn spread_the_word(session: Session<'_>, before: Member) {
    let begun = Instant::now();
    while begun.elapsed() < WORD_LIMIT {
        match is_primary(session, before).await {
            Err(_) => return,
            Ok(false) => {
                let _ = meet::introduce_to_all(session, before).await;
                return;
            }
            Ok(true) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn is_primary(session: Session<'_>, node: Member) -> Result<bool, NodeError> {
    let mut connection = session.to(node.address).await?;
    match connection.ask(&["ROLE"]).await {
        Ok(Value::Array(words)) => {
            Ok(matches!(words.first(), Some(Value::BulkString(role)) if role == b"master"))
        }
        Ok(_) => Err(connection.unexpected(&["ROLE"], "it is no list")),
        Err(NodeError {
            kind: NodeErrorKind::Loading,
            ..
        }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A primary that takes writes is not forced out of its place. One that does not answer, or reads
/// its data, takes none.
async fn must_not_serve(session: Session<'_>, before: Member) -> Result<(), Fault> {
    let serves = async {
        let mut connection = session.to(before.address).await?;
        let mut ask = async |question: [&str; 2]| {
            let answer = connection.ask(&question).await?;
            observe::text(&connection, &question, answer)
        };
        let cluster = ask(["CLUSTER", "INFO"]).await?;
        let server = ask(["INFO", "server"]).await?;
        let age = Info::new(&server).number("uptime_in_seconds");
        Ok::<bool, NodeError>(
            Info::new(&cluster).text("cluster_state") == Some("ok")
                || age.is_some_and(|it| it >= SERVES_SOON_SECONDS),
        )
    };
    if serves.await.unwrap_or(false) {
        return Err(PromoteError::Serves { before }.into());
    }
    Ok(())
}

/// Waits for voters: an election that begins while too few primaries are linked is lost, and the
/// server holds the next one only much later. One that somebody else began may be won before.
async fn has_won_meanwhile(session: Session<'_>, promotion: Promotion) -> Result<bool, Fault> {
    let node = promotion.node;
    let begun = Instant::now();
    loop {
        let mut connection = session.to(node.address).await?;
        let (_, peers) = observe::peers(&mut connection).await?;
        let role = peers.iter().find(|it| it.id == node.id).map(|it| it.role);
        if role == Some(PeerRole::Primary) {
            return Ok(true);
        }
        if role != Some(PeerRole::Replica(Some(promotion.instead_of.id))) {
            return Err(PromoteError::NotItsReplica { promotion }.into());
        }
        let voters = peers.iter().filter(|peer| !peer.slots.is_empty());
        let needed = voters.clone().count() / 2 + 1;
        let reached = voters.filter(|peer| peer.linked).count();
        if reached >= needed {
            return Ok(false);
        }
        if begun.elapsed() > VOTERS_LIMIT {
            return Err(PromoteError::NoVoters {
                node,
                reached,
                needed,
            }
            .into());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
