//! Connections to single servers, each to one address: no redirect is followed, so that what a
//! server says is what *it* says. Every attempt and every answer has a limit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::address::NodeAddress;
use model::fault::{Class, Code, Explain};
use model::spec::Credentials;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, Pipeline};
use redis::{RedisConnectionInfo, RedisError, RedisResult, Value};

use crate::tls::Tls;

/// How long a connection may take to be made. A server on the other side of the world needs three
/// round trips of 0.3 s; one that needs longer cannot be worked with.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer may take. A server that forks or runs a slow script can be silent for some
/// seconds and yet be well.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Why a server did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeError {
    /// The server.
    pub address: NodeAddress,
    /// What went wrong.
    pub kind: NodeErrorKind,
}

/// What went wrong between us and a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeErrorKind {
    /// No connection, or it was lost.
    Unreachable(String),
    /// The server did not answer within the limit.
    TimedOut,
    /// The server does not let us in: NOAUTH, WRONGPASS, NOPERM.
    NotAllowed(String),
    /// The server reads its data.
    Loading,
    /// The server answered with an error.
    Answered {
        /// The command, without its arguments: they may hold a password.
        command: String,
        /// The server's words.
        error: String,
    },
    /// The answer is none that a Redis or Valkey server gives.
    Unexpected {
        /// The command.
        command: String,
        /// What was wrong with the answer.
        problem: String,
    },
}

impl fmt::Display for NodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.kind {
            NodeErrorKind::Unreachable(reason) => {
                write!(out, "{address} cannot be reached: {reason}")
            }
            NodeErrorKind::TimedOut => write!(out, "{address} did not answer in time"),
            NodeErrorKind::NotAllowed(reason) => {
                write!(out, "{address} does not let us in: {reason}")
            }
            NodeErrorKind::Loading => write!(out, "{address} is still loading its data"),
            NodeErrorKind::Answered { command, error } => {
                write!(out, "{address} refused {command}: {error}")
            }
            NodeErrorKind::Unexpected { command, problem } => {
                write!(out, "{address} gave an odd answer to {command}: {problem}")
            }
        }
    }
}

impl std::error::Error for NodeError {}

impl Explain for NodeError {
    fn code(&self) -> Code {
        Code(match self.kind {
            NodeErrorKind::Unreachable(_) | NodeErrorKind::TimedOut => "SY2001",
            NodeErrorKind::NotAllowed(_) => "SY2002",
            NodeErrorKind::Loading => "SY2003",
            NodeErrorKind::Answered { .. } => "SY2004",
            NodeErrorKind::Unexpected { .. } => "SY2005",
        })
    }

    fn class(&self) -> Class {
        match self.kind {
            NodeErrorKind::Unreachable(_) | NodeErrorKind::TimedOut | NodeErrorKind::Loading => {
                Class::Unreachable
            }
            NodeErrorKind::NotAllowed(_) => Class::Refused,
            NodeErrorKind::Answered { .. } | NodeErrorKind::Unexpected { .. } => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self.kind {
            NodeErrorKind::Unreachable(_) | NodeErrorKind::TimedOut => Some(format!(
                "see that a server listens there and that no firewall stands between: \
                 redis-cli -h {} -p {} ping",
                self.address.ip, self.address.port
            )),
            NodeErrorKind::NotAllowed(_) => Some(
                "give the user by --user and its password by REDISCLI_AUTH or --password-file"
                    .to_owned(),
            ),
            NodeErrorKind::Loading => Some("try again once it has read its data".to_owned()),
            NodeErrorKind::Answered { .. } | NodeErrorKind::Unexpected { .. } => None,
        }
    }
}

/// What a connection is for. A server answers what came over one connection in its order, so that
/// a question behind a long command would wait for it as no client's does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lane {
    /// Questions and orders.
    Talk,
    /// Commands that move keys.
    Move,
}

/// Which connection: to which server, as which user, for what.
type Key = (NodeAddress, String, Lane);

/// The open connections, one for each server, user and purpose. They are kept, because a connection
/// costs more than most of what is asked over it.
pub(crate) struct Connections {
    open: Mutex<BTreeMap<Key, MultiplexedConnection>>,
    connect_limit: Duration,
    answer_limit: Duration,
    tls: Option<Tls>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            connect_limit: CONNECT_LIMIT,
            answer_limit: ANSWER_LIMIT,
            tls: None,
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Connections")
    }
}

impl Connections {
    /// Connections whose servers must answer within this limit.
    pub(crate) fn with_answer_limit(limit: Duration) -> Self {
        Self {
            connect_limit: limit.min(CONNECT_LIMIT),
            answer_limit: limit,
            ..Self::default()
        }
    }

    /// Connections over TLS.
    pub(crate) fn with_tls(tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..Self::default()
        }
    }

    /// How a connection of one's own is made: over TLS, and within which limit.
    pub(crate) const fn manner(&self) -> (Option<&Tls>, Duration) {
        (self.tls.as_ref(), self.connect_limit)
    }

    /// A connection to this server: an open one, or a new one.
    pub(crate) async fn to(
        &self,
        address: NodeAddress,
        credentials: Option<&Credentials>,
    ) -> Result<Connection<'_>, NodeError> {
        self.on(Lane::Talk, address, credentials).await
    }

    /// A connection to this server for this purpose.
    pub(crate) async fn on(
        &self,
        lane: Lane,
        address: NodeAddress,
        credentials: Option<&Credentials>,
    ) -> Result<Connection<'_>, NodeError> {
        let user = credentials.map_or_else(String::new, |login| login.user.clone());
        let key = (address, user, lane);
        let open = self.lock().get(&key).cloned();
        let inner = match open {
            Some(inner) => inner,
            None => {
                let inner = self.connect(address, credentials).await?;
                self.lock().insert(key.clone(), inner.clone());
                inner
            }
        };
        Ok(Connection {
            all: self,
            key,
            inner,
        })
    }

    async fn connect(
        &self,
        address: NodeAddress,
        credentials: Option<&Credentials>,
    ) -> Result<MultiplexedConnection, NodeError> {
        let fail = |error: RedisError| NodeError {
            address,
            kind: kind_of(&error, "the connection"),
        };
        // The library's name is not sent: servers before 7.2 log an error for each CLIENT SETINFO.
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(credentials) = credentials {
            login = login.set_password(credentials.password.expose());
            // Servers before 6 know no users and take the password alone.
            if credentials.user != "default" {
                login = login.set_username(&credentials.user);
            }
        }
        let client = self.client(address, login).map_err(fail)?;
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_limit))
            .set_response_timeout(Some(self.answer_limit));
        client
            .get_multiplexed_async_connection_with_config(&limits)
            .await
            .map_err(fail)
    }

    fn client(&self, address: NodeAddress, login: RedisConnectionInfo) -> RedisResult<Client> {
        let (host, port) = (address.ip.to_string(), address.port);
        let to = match &self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(tls) => tls.address(host, port),
        };
        let info = to.into_connection_info()?.set_redis_settings(login);
        match &self.tls {
            None => Client::open(info),
            Some(tls) => tls.client(info),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, MultiplexedConnection>> {
        // The map is whole even where a holder of the lock panicked: each change is one call.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    all: &'a Connections,
    key: Key,
    inner: MultiplexedConnection,
}

/// The answer to one command of several: a value, or the server's error.
pub(crate) type Reply = Result<Value, NodeError>;

impl Connection<'_> {
    /// The same connection, whose answers may take this long.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.inner.set_response_timeout(limit);
        self
    }

    /// Sends one command and waits for its answer.
    pub(crate) async fn ask(&mut self, words: &[&str]) -> Result<Value, NodeError> {
        let mut replies = self.ask_all(&[words]).await?;
        replies
            .pop()
            .unwrap_or_else(|| Err(self.unexpected(words, "there was no answer")))
    }

    /// Sends commands at once and waits for all answers; an error of one is its own answer.
    pub(crate) async fn ask_all(&mut self, commands: &[&[&str]]) -> Result<Vec<Reply>, NodeError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for words in commands {
            pipeline.add_command(command(words));
        }
        let names = |index: usize| commands.get(index).map_or_else(String::new, |it| name(it));
        self.send(&pipeline, names).await
    }

    /// Sends a prepared pipeline, all of whose commands have this name.
    pub(crate) async fn ask_pipeline(
        &mut self,
        pipeline: &Pipeline,
        name: &str,
    ) -> Result<Vec<Reply>, NodeError> {
        self.send(pipeline, |_| name.to_owned()).await
    }

    async fn send(
        &mut self,
        pipeline: &Pipeline,
        name: impl Fn(usize) -> String,
    ) -> Result<Vec<Reply>, NodeError> {
        let address = self.key.0;
        let sent = self
            .inner
            .send_packed_commands(pipeline, 0, pipeline.len())
            .await;
        match sent {
            Ok(values) => Ok(values
                .into_iter()
                .enumerate()
                .map(|(index, value)| reply(address, &name(index), value))
                .collect()),
            Err(error) => {
                // Whatever became of it, the next one begins anew.
                self.all.lock().remove(&self.key);
                Err(NodeError {
                    address,
                    kind: kind_of(&error, &name(0)),
                })
            }
        }
    }

    /// An error about an answer that no server of the kind gives.
    pub(crate) fn unexpected(&self, words: &[&str], problem: &str) -> NodeError {
        NodeError {
            address: self.key.0,
            kind: NodeErrorKind::Unexpected {
                command: name(words),
                problem: problem.to_owned(),
            },
        }
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

/// A command's name and, for the commands that have any, its sub-command: never an argument.
fn name(words: &[&str]) -> String {
    let parts = match words.first() {
        Some(&("CLUSTER" | "CONFIG" | "CLIENT" | "INFO")) => words.get(..2).unwrap_or(words),
        Some(_) | None => words.get(..1).unwrap_or(words),
    };
    parts.join(" ")
}

fn reply(address: NodeAddress, command: &str, value: Value) -> Reply {
    if let Value::ServerError(error) = value {
        return Err(NodeError {
            address,
            kind: kind_of(&error.into(), command),
        });
    }
    Ok(value)
}

fn kind_of(error: &RedisError, command: &str) -> NodeErrorKind {
    let words = |error: &RedisError| match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    };
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => NodeErrorKind::NotAllowed(words(error)),
        Some("LOADING") => NodeErrorKind::Loading,
        _ if error.is_timeout() => NodeErrorKind::TimedOut,
        // A failed AUTH at connecting comes without the server's code.
        _ if matches!(error.kind(), redis::ErrorKind::AuthenticationFailed) => {
            NodeErrorKind::NotAllowed(error.to_string())
        }
        Some(_) => NodeErrorKind::Answered {
            command: command.to_owned(),
            error: words(error),
        },
        None => NodeErrorKind::Unreachable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_command_but_not_its_arguments() {
        assert_eq!(name(&["AUTH", "app", "hunter2"]), "AUTH");
        assert_eq!(
            name(&["CONFIG", "SET", "masterauth", "hunter2"]),
            "CONFIG SET"
        );
        assert_eq!(name(&["PING"]), "PING");
        assert_eq!(name(&["CLUSTER"]), "CLUSTER");
    }
}
