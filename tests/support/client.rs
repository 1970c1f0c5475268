//! A naive client of a cluster: it asks whom it asked last, follows what it is told, and never sends
//! a command again whose answer was lost. What a library tries again, a ledger could not tell apart.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Cmd, Connection, FromRedisValue, RedisError, RedisResult};

/// How long one answer may take: longer than a server is busy with a big key.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// How often one operation is redirected.
const REDIRECTS_MAX: u32 = 8;

/// Connections to the nodes of a cluster, made when they are needed.
pub struct Client {
    /// `redis://:password@`.
    login: String,
    known: Vec<String>,
    connections: BTreeMap<String, Connection>,
    owners: BTreeMap<Vec<u8>, String>,
    turn: usize,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        out.debug_struct("Client")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that knows these nodes, `redis://:password@host:port`.
    #[must_use]
    pub fn new(urls: &[String]) -> Self {
        let split = |url: &String| {
            let end = url.rfind(['@', '/']).unwrap() + 1;
            (url[..end].to_owned(), url[end..].to_owned())
        };
        Self {
            login: split(&urls[0]).0,
            known: urls.iter().map(|url| split(url).1).collect(),
            connections: BTreeMap::new(),
            owners: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Asks whoever owns the key, with redirects followed.
    ///
    /// # Errors
    /// Where nobody did it, or where nobody knows whether it was done.
    pub fn ask<T: FromRedisValue>(&mut self, key: &[u8], command: &Cmd) -> RedisResult<T> {
        let mut address = self.owner(key);
        let mut is_for_once = false;
        for _ in 0..REDIRECTS_MAX {
            let error = match self.send(&address, command, is_for_once) {
                Ok(value) => {
                    if !is_for_once {
                        self.owners.insert(key.to_owned(), address);
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            let Some((other, _slot)) = error.redirect_node() else {
                self.forget(key, &address, &error);
                return Err(error);
            };
            is_for_once = error.code() == Some("ASK");
            address = other.to_owned();
        }
        Err(std::io::Error::other("redirected too often").into())
    }

    /// Asks one node.
    ///
    /// # Errors
    /// Where it does not answer, or refuses.
    pub fn ask_node<T: FromRedisValue>(&mut self, address: &str, command: &Cmd) -> RedisResult<T> {
        self.send(address, command, false)
    }

    /// A connection to one node, for pipelines.
    ///
    /// # Panics
    /// Where there is none to be had.
    pub fn node(&mut self, address: &str) -> &mut Connection {
        self.connection(address).unwrap()
    }

    fn owner(&mut self, key: &[u8]) -> String {
        self.owners.get(key).cloned().unwrap_or_else(|| {
            self.turn += 1;
            self.known[self.turn % self.known.len()].clone()
        })
    }

    fn send<T: FromRedisValue>(&mut self, to: &str, what: &Cmd, asks: bool) -> RedisResult<T> {
        let connection = self.connection(to)?;
        if asks {
            redis::cmd("ASKING").exec(connection)?;
        }
        what.query(connection)
    }

    fn connection(&mut self, address: &str) -> RedisResult<&mut Connection> {
        if !self.connections.contains_key(address) {
            let client = redis::Client::open(format!("{}{address}", self.login))?;
            let made = client.get_connection_with_timeout(ANSWER_LIMIT)?;
            made.set_read_timeout(Some(ANSWER_LIMIT))?;
            self.connections.insert(address.to_owned(), made);
        }
        Ok(self.connections.get_mut(address).unwrap())
    }

    /// What is learned from an error: another one may know the owner, and an answer that comes too
    /// late must not be taken for the next one's.
    fn forget(&mut self, key: &[u8], address: &str, error: &RedisError) {
        self.owners.remove(key);
        if error.code().is_none() {
            self.connections.remove(address);
        }
    }
}
