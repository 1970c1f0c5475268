//! What nodes tell each other over the cluster bus.

use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::view::{PeerHealth, PeerRole};

use crate::slot_table::SharedSlots;

/// A message with what every message says of its sender.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) header: Header,
    pub(crate) message: Message,
    pub(crate) rumours: Vec<Rumour>,
}

/// What a sender says of itself. A replica tells the epoch and the slots of its primary.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) sender: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) role: PeerRole,
    pub(crate) current_epoch: Epoch,
    pub(crate) epoch: Epoch,
    pub(crate) slots: SharedSlots,
    pub(crate) offset: u64,
    /// The offset at which a primary has stopped writes for a handover, while it has.
    pub(crate) paused_at: Option<u64>,
}

/// What is said.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// Are you there?
    Ping,
    /// I am.
    Pong,
    /// Are you there? We have not met.
    Meet,
    /// A majority of the primaries does not reach this node.
    Failed(NodeId),
    /// You claim slots that this node owns by a later epoch.
    Update {
        node: NodeId,
        epoch: Epoch,
        slots: SharedSlots,
    },
    /// I would follow on my primary; `forced` where somebody said that it is gone.
    VoteWanted { forced: bool },
    /// You have my vote.
    Vote,
    /// You are my primary: stop writes, and let me take over.
    HandoverWanted,
    /// I was told to forget this node.
    Forgotten(NodeId),
}

/// What a sender says of a third node.
#[derive(Clone, Debug)]
pub(crate) struct Rumour {
    pub(crate) id: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) is_primary: bool,
    pub(crate) health: PeerHealth,
    pub(crate) pong: Duration,
}

/// What a node wants done by the world around it.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A link of its own to whoever listens there.
    Connect { link: u64, to: NodeAddress },
    /// A letter over a link of its own.
    Send { link: u64, letter: Letter },
    /// A letter back over the link on which another one came.
    Answer(Letter),
    /// A key was deleted without anybody's command; whether replicas hear of it depends on the
    /// version.
    Deleted(u32),
}
