//! Speaks to Redis and Valkey servers: observes them, and makes one thing true at a time.
//!
//! It never decides what should be true: steps come from a plan. It never repairs by itself, never
//! flushes, resets or takes over; a step that finds the world other than expected stops and says
//! so.

mod call;
mod cluster_nodes;
mod connection;
mod info;
mod meet;
mod observe;
mod probe;
mod promote;
mod reopen;
mod replicas;
mod send;
mod serving;
mod setting;
mod slots;
mod snapshot;
mod tls;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::address::NodeAddress;
use model::command::NodeCommand;
use model::fault::Fault;
use model::port::{Answer, Nodes, Replies};
use model::slots::SlotSet;
use model::spec::Credentials;
use model::step::{ClusterStep, Member};
use model::view::ClusterView;

pub use connection::{NodeError, NodeErrorKind};
pub use tls::Tls;

use connection::Connections;

/// Real servers, reached over TCP.
#[derive(Clone, Debug, Default)]
pub struct RedisNodes {
    connections: Arc<Connections>,
}

impl RedisNodes {
    /// No connection yet: each is made when it is first needed, and kept.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same over TLS.
    #[must_use]
    pub fn with_tls(tls: Tls) -> Self {
        Self {
            connections: Arc::new(Connections::with_tls(tls)),
        }
    }

    /// The same, for servers that must answer within this limit.
    #[must_use]
    pub fn with_answer_limit(limit: Duration) -> Self {
        Self {
            connections: Arc::new(Connections::with_answer_limit(limit)),
        }
    }
}

impl Nodes for RedisNodes {
    fn observe<'a>(
        &'a self,
        addresses: &'a [NodeAddress],
        credentials: Option<&'a Credentials>,
    ) -> Pin<Box<dyn Future<Output = ClusterView> + Send + 'a>> {
        Box::pin(observe::all(&self.connections, addresses, credentials))
    }

    fn apply<'a>(
        &'a self,
        step: &'a ClusterStep,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ()> {
        let session = Session {
            connections: &self.connections,
            credentials,
        };
        Box::pin(async move {
            match step {
                ClusterStep::EnsureSlots { node, slots, epoch } => {
                    slots::ensure(session, *node, slots, *epoch).await
                }
                ClusterStep::EnsureMet { members } => meet::ensure_all(session, members).await,
                ClusterStep::EnsureReplicas { primary, replicas } => {
                    replicas::ensure(session, *primary, replicas).await
                }
                ClusterStep::EnsurePromoted { promotions } => {
                    promote::ensure_all(session, promotions).await
                }
                ClusterStep::EnsureServing { node } => serving::ensure(session, *node).await,
                ClusterStep::EnsureHeard { speaker, listener } => {
                    meet::introduce(session, *speaker, *listener).await
                }
            }
        })
    }

    fn probe<'a>(
        &'a self,
        primaries: &'a [(Member, SlotSet)],
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ()> {
        let session = Session {
            connections: &self.connections,
            credentials,
        };
        Box::pin(probe::all(session, primaries))
    }

    fn send<'a>(
        &'a self,
        address: NodeAddress,
        commands: &'a [NodeCommand],
        credentials: Option<&'a Credentials>,
        limit: Duration,
    ) -> Replies<'a> {
        let session = Session {
            connections: &self.connections,
            credentials,
        };
        Box::pin(send::all(session, address, commands, limit))
    }

    fn snapshot<'a>(
        &'a self,
        address: NodeAddress,
        credentials: Option<&'a Credentials>,
        take: &'a mut (dyn FnMut(&[u8]) -> Result<(), Fault> + Send),
    ) -> Answer<'a, ()> {
        Box::pin(snapshot::fetch(
            &self.connections,
            address,
            credentials,
            take,
        ))
    }

    fn call<'a>(
        &'a self,
        address: NodeAddress,
        command: &'a [String],
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String> {
        let session = Session {
            connections: &self.connections,
            credentials,
        };
        Box::pin(async move {
            call::one(session, address, command)
                .await
                .map_err(Fault::from)
        })
    }
}

/// What every conversation needs: the open connections, and who we are.
#[derive(Clone, Copy, Debug)]
struct Session<'a> {
    connections: &'a Connections,
    credentials: Option<&'a Credentials>,
}

impl<'a> Session<'a> {
    async fn to(self, address: NodeAddress) -> Result<connection::Connection<'a>, NodeError> {
        self.connections.to(address, self.credentials).await
    }
}
