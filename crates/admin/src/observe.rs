//! Observes servers: one round trip each, all at once. It never fails: what did not answer is in
//! the view.

use futures::StreamExt;
use futures::stream;
use model::address::NodeAddress;
use model::ids::NodeId;
use model::size::ByteSize;
use model::spec::Credentials;
use model::view::{ClusterReport, ClusterView, NodeReport, NodeView, Peer};
use redis::Value;

use crate::cluster_nodes;
use crate::connection::{Connection, Connections, NodeError, NodeErrorKind, Reply};
use crate::info::Info;

/// How many servers are asked at once. More only wait for our own processor: reading the answer of
/// a hundred nodes about a hundred others is what takes the time.
const AT_ONCE: usize = 128;

/// What each server says.
pub(crate) async fn all(
    connections: &Connections,
    addresses: &[NodeAddress],
    credentials: Option<&Credentials>,
) -> ClusterView {
    stream::iter(addresses.iter().copied())
        .map(|address| async move { (address, one(connections, address, credentials).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn one(
    connections: &Connections,
    address: NodeAddress,
    credentials: Option<&Credentials>,
) -> NodeView {
    match ask(connections, address, credentials).await {
        Ok(view) => view,
        Err(error) => match error.kind {
            NodeErrorKind::NotAllowed(reason) => NodeView::Refusing { reason },
            NodeErrorKind::Loading => NodeView::Loading,
            NodeErrorKind::Unreachable(_)
            | NodeErrorKind::TimedOut
            | NodeErrorKind::Answered { .. }
            | NodeErrorKind::Unexpected { .. } => NodeView::Silent {
                reason: error.to_string(),
            },
        },
    }
}

/// Sections are asked for one by one: servers before 7.0 take one only, and all of INFO is five
/// times as long.
const QUESTIONS: [&[&str]; 7] = [
    &["INFO", "server"],
    &["INFO", "memory"],
    &["INFO", "persistence"],
    &["INFO", "replication"],
    &["INFO", "keyspace"],
    &["CLUSTER", "INFO"],
    &["CLUSTER", "NODES"],
];

async fn ask(
    connections: &Connections,
    address: NodeAddress,
    credentials: Option<&Credentials>,
) -> Result<NodeView, NodeError> {
    let mut connection = connections.to(address, credentials).await?;
    let replies = match connection.ask_all(&QUESTIONS).await {
        // A kept connection may be one to a server that has since been started again.
        Err(NodeError {
            kind: NodeErrorKind::Unreachable(_),
            ..
        }) => {
            connection = connections.to(address, credentials).await?;
            connection.ask_all(&QUESTIONS).await?
        }
        other => other?,
    };
    let [
        server,
        memory,
        persistence,
        replication,
        keyspace,
        info,
        nodes,
    ] = <[Reply; 7]>::try_from(replies)
        .map_err(|_| connection.unexpected(QUESTIONS[0], "answers are missing"))?;
    let persistence = text(&connection, QUESTIONS[2], persistence?)?;
    if Info::new(&persistence).text("loading") == Some("1") {
        return Ok(NodeView::Loading);
    }
    let server = text(&connection, QUESTIONS[0], server?)?;
    let memory = text(&connection, QUESTIONS[1], memory?)?;
    let replication = text(&connection, QUESTIONS[3], replication?)?;
    let keyspace = text(&connection, QUESTIONS[4], keyspace?)?;
    // Valkey calls it `server_mode` since 8.0.
    let server_info = Info::new(&server);
    let mode = server_info
        .text("redis_mode")
        .or_else(|| server_info.text("server_mode"));
    let cluster = match mode {
        Some("cluster") => {
            let info = text(&connection, QUESTIONS[5], info?)?;
            let nodes = text(&connection, QUESTIONS[6], nodes?)?;
            Some(cluster_report(&connection, &info, &nodes)?)
        }
        Some(_) | None => None,
    };
    let memory = Info::new(&memory);
    Ok(NodeView::Answering(Box::new(NodeReport {
        version: Info::new(&server)
            .version()
            .ok_or_else(|| connection.unexpected(QUESTIONS[0], "it names no version"))?,
        keys: Info::new(&keyspace).keys(),
        memory_used: ByteSize::bytes(memory.number("used_memory").unwrap_or(0)),
        memory_max: ByteSize::bytes(memory.number("maxmemory").unwrap_or(0)),
        replication: Info::new(&replication)
            .replication()
            .ok_or_else(|| connection.unexpected(QUESTIONS[3], "it names no role"))?,
        cluster,
    })))
}

fn cluster_report(
    connection: &Connection<'_>,
    info: &str,
    nodes: &str,
) -> Result<ClusterReport, NodeError> {
    let info = Info::new(info);
    let (id, peers) = cluster_nodes::read(nodes)
        .map_err(|problem| connection.unexpected(QUESTIONS[6], &problem))?;
    Ok(ClusterReport {
        id,
        serves: info.text("cluster_state") == Some("ok"),
        current_epoch: model::ids::Epoch(info.number("cluster_current_epoch").unwrap_or(0)),
        peers,
    })
}

/// What a node says of the nodes of its cluster: which of them it is, and all of them.
pub(crate) async fn peers(
    connection: &mut Connection<'_>,
) -> Result<(NodeId, Vec<Peer>), NodeError> {
    let question = ["CLUSTER", "NODES"];
    let answer = connection.ask(&question).await?;
    let text = text(connection, &question, answer)?;
    cluster_nodes::read(&text).map_err(|problem| connection.unexpected(&question, &problem))
}

/// The text of an answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the client library's values may grow"
)]
pub(crate) fn text(
    connection: &Connection<'_>,
    words: &[&str],
    value: Value,
) -> Result<String, NodeError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        Value::Okay => Ok("OK".to_owned()),
        _ => Err(connection.unexpected(words, "it is no text")),
    }
}
