//! A Redis or Valkey server as a cluster sees it: whom it knows, what it claims, what it holds.
//!
//! It follows cluster.c of Redis 7.0, whose functions the comments name. It does no input or output
//! and knows no clock: time is an argument, and what it wants done is left in `wishes`.

mod claims;
mod commands;
mod cron;
mod election;
mod forget;
mod handover;
mod hear;
pub(crate) mod keys;
mod report;
mod slots;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::image::ServerVersion;
use model::slots::{Slot, SlotSet};
use model::view::{OpenDirection, PeerHealth, PeerRole, ReplicaLink};

use crate::dice::Dice;
use crate::letter::{Effect, Header, Letter, Message, Rumour};
use crate::nodes_conf::{Entry, NodesConf};
use crate::server_config::{ServerConfig, Settings};
use crate::slot_table::{SharedSlots, SlotTable};

pub(crate) use self::commands::{Refused, Service};
use self::election::Election;
use self::handover::Handover;
pub(crate) use self::keys::{Keys, slot_of};
use self::state::State;

/// How often a node does what it does from time to time (`clusterCron`).
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) version: ServerVersion,
    pub(crate) config: ServerConfig,
    pub(crate) settings: Settings,
    pub(crate) role: Role,
    pub(crate) keys: Keys,
    /// The libraries of functions that it has.
    pub(crate) functions: BTreeSet<u8>,
    /// The bytes of its replication stream.
    pub(crate) offset: u64,
    /// Which stream these are bytes of: a copy that is a part of another can go on from there.
    pub(crate) history: u64,
    /// What the server wants done; whoever calls it takes them.
    pub(crate) wishes: Vec<Effect>,
    /// Who copies it, and how far each has said to be.
    pub(crate) followers: BTreeMap<NodeAddress, ReplicaLink>,
    /// The number of the MIGRATE that it is in the middle of; it does nothing else meanwhile.
    pub(crate) migrating: Option<u64>,
    /// Keys that come in with a migration of whole slots. They count once it owns the slots.
    pub(crate) staged: Keys,
    /// Slots that take no write for a moment, because they are handed over as a whole.
    pub(crate) held_slots: Option<SlotSet>,
    peers: BTreeMap<NodeId, Peer>,
    handshakes: Vec<Handshake>,
    /// Who was forgotten, and until when gossip of it is not heeded.
    banned: BTreeMap<NodeId, Duration>,
    table: SlotTable,
    open: BTreeMap<Slot, OpenDirection>,
    handover: Option<Handover>,
    paused_until: Option<Duration>,
    /// The epoch of its own claim.
    epoch: Epoch,
    current_epoch: Epoch,
    last_vote_epoch: Epoch,
    state: State,
    election: Election,
    ticks: u64,
    links: u64,
}

/// What a server is at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Primary,
    Replica { of: NodeId, stream: Stream },
}

/// A replica's connection to its primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    /// There is none, since then; never one where `None`.
    Down { since: Option<Duration> },
    /// A copy is on its way. The number tells this attempt from others; what there was before the
    /// copy is as old as that.
    Copying {
        number: u64,
        since: Option<Duration>,
    },
    /// What is written arrives.
    Up { number: u64 },
}

/// Another node, as this one knows it.
#[derive(Clone, Debug)]
struct Peer {
    address: NodeAddress,
    role: PeerRole,
    epoch: Epoch,
    offset: u64,
    link: Option<Link>,
    /// Since when an answer is missing.
    pinged: Option<Duration>,
    pong: Duration,
    heard: Duration,
    is_suspected: bool,
    failed: Option<Duration>,
    /// Which primaries do not reach it, and when they said so.
    reports: BTreeMap<NodeId, Duration>,
}

/// A connection to another node's bus port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Link {
    number: u64,
    since: Duration,
    is_open: bool,
}

/// A node that this one is getting to know. Its id is made up until it has answered.
#[derive(Clone, Debug)]
struct Handshake {
    id: NodeId,
    address: NodeAddress,
    began: Duration,
    /// Whether this node began it (MEET), or the other.
    meets: bool,
    link: Option<Link>,
}

/// What a server begins with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) version: ServerVersion,
    pub(crate) config: ServerConfig,
    pub(crate) conf: NodesConf,
    pub(crate) keys: Keys,
    pub(crate) functions: BTreeSet<u8>,
    pub(crate) history: u64,
}

impl Server {
    /// A server that has just read its files.
    pub(crate) fn start(start: Start) -> Self {
        let Start {
            version,
            config,
            conf,
            keys,
            functions,
            history,
        } = start;
        let mut table = SlotTable::default();
        for entry in conf.entries() {
            table.assign(entry.id, entry.slots.set());
        }
        // `clusterLoadConfig` mends a current epoch that is lower than one it has heard of.
        let highest = conf.entries().map(|entry| entry.epoch).max();
        let current_epoch = highest.map_or(conf.current_epoch, |it| it.max(conf.current_epoch));
        let (myself, open) = (conf.myself, conf.open);
        let peers = conf.others.into_iter().map(|it| (it.id, Peer::of(&it)));
        let mut server = Self {
            id: myself.id,
            address: myself.address,
            version,
            settings: config.settings,
            config,
            role: match myself.role {
                PeerRole::Replica(Some(of)) => Role::Replica {
                    of,
                    stream: Stream::Down { since: None },
                },
                PeerRole::Replica(None) | PeerRole::Primary => Role::Primary,
            },
            offset: keys.values().sum(),
            keys,
            functions,
            history,
            wishes: Vec::new(),
            followers: BTreeMap::new(),
            migrating: None,
            staged: Keys::new(),
            held_slots: None,
            peers: peers.collect(),
            handshakes: Vec::new(),
            banned: BTreeMap::new(),
            table,
            open,
            handover: None,
            paused_until: None,
            epoch: myself.epoch,
            current_epoch,
            last_vote_epoch: conf.last_vote_epoch,
            state: State::default(),
            election: Election::default(),
            ticks: 0,
            links: 0,
        };
        server.mend_ownership();
        server
    }

    /// What it has stored by now: every change is on disk before anybody hears of it.
    pub(crate) fn stored(&self) -> NodesConf {
        let others = self.peers.iter().map(|(id, peer)| Entry {
            id: *id,
            address: peer.address,
            role: peer.role,
            epoch: self.shown_epoch(peer.role, peer.epoch),
            slots: self.table.of(*id),
        });
        NodesConf {
            myself: Entry {
                id: self.id,
                address: self.address,
                role: self.peer_role(),
                epoch: self.shown_epoch(self.peer_role(), self.epoch),
                slots: self.table.of(self.id),
            },
            others: others.collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            open: self.open.clone(),
        }
    }

    /// Its role as others are told.
    fn peer_role(&self) -> PeerRole {
        match self.role {
            Role::Primary => PeerRole::Primary,
            Role::Replica { of, .. } => PeerRole::Replica(Some(of)),
        }
    }

    /// A replica is shown with its primary's epoch (`clusterGenNodeDescription`).
    fn shown_epoch(&self, role: PeerRole, own: Epoch) -> Epoch {
        match role {
            PeerRole::Primary | PeerRole::Replica(None) => own,
            PeerRole::Replica(Some(primary)) => self.epoch_of(primary).unwrap_or(own),
        }
    }

    fn epoch_of(&self, node: NodeId) -> Option<Epoch> {
        if node == self.id {
            return Some(self.epoch);
        }
        self.peers.get(&node).map(|peer| peer.epoch)
    }

    pub(crate) const fn is_primary(&self) -> bool {
        matches!(self.role, Role::Primary)
    }

    /// The node that it copies.
    pub(crate) const fn primary(&self) -> Option<NodeId> {
        match self.role {
            Role::Primary => None,
            Role::Replica { of, .. } => Some(of),
        }
    }

    /// Where it believes that a node answers.
    pub(crate) fn address_of(&self, node: NodeId) -> Option<NodeAddress> {
        self.peers.get(&node).map(|peer| peer.address)
    }

    /// The slots that it says it owns.
    pub(crate) fn own_slots(&self) -> SharedSlots {
        self.table.of(self.id)
    }

    /// Whether both believe that the same nodes own the same slots.
    pub(crate) fn has_same_table(&self, other: &Self) -> bool {
        self.table == other.table
    }

    /// The epoch of its claim.
    pub(crate) const fn claim_epoch(&self) -> Epoch {
        self.epoch
    }

    fn header(&self) -> Header {
        let claimant = self.primary().unwrap_or(self.id);
        Header {
            sender: self.id,
            address: self.address,
            role: self.peer_role(),
            current_epoch: self.current_epoch,
            epoch: self.epoch_of(claimant).unwrap_or(self.epoch),
            slots: self.table.of(claimant),
            offset: self.offset,
            paused_at: self.paused_at(),
        }
    }

    fn letter(&self, message: Message, dice: &mut Dice) -> Letter {
        let rumours = match message {
            Message::Ping | Message::Pong | Message::Meet => self.rumours(dice),
            Message::Failed(_)
            | Message::Update { .. }
            | Message::VoteWanted { .. }
            | Message::Vote
            | Message::HandoverWanted
            | Message::Forgotten(_) => Vec::new(),
        };
        Letter {
            header: self.header(),
            message,
            rumours,
        }
    }

    /// Some of the nodes that it knows, and all that it suspects (`clusterSendPing`).
    fn rumours(&self, dice: &mut Dice) -> Vec<Rumour> {
        let wanted = (self.peers.len() / 10).max(3);
        let known: Vec<_> = self.peers.iter().collect();
        let chosen: BTreeSet<NodeId> = (0..wanted)
            .filter_map(|_| dice.pick(&known).map(|(id, _)| **id))
            .collect();
        let told = known
            .into_iter()
            .filter(|(id, peer)| peer.is_suspected || chosen.contains(id));
        told.map(|(id, peer)| Rumour {
            id: *id,
            address: peer.address,
            is_primary: peer.role == PeerRole::Primary,
            health: peer.health(),
            pong: peer.pong,
        })
        .collect()
    }

    /// A letter to each node that it is linked to.
    fn tell_everybody(&mut self, message: &Message, dice: &mut Dice) {
        let links: Vec<u64> = self
            .peers
            .values()
            .filter_map(|peer| peer.open_link())
            .collect();
        for link in links {
            let letter = self.letter(message.clone(), dice);
            self.wishes.push(Effect::Send { link, letter });
        }
    }

    fn tell(&mut self, node: NodeId, message: Message, dice: &mut Dice) {
        if let Some(link) = self.peers.get(&node).and_then(Peer::open_link) {
            let letter = self.letter(message, dice);
            self.wishes.push(Effect::Send { link, letter });
        }
    }

    const fn next_link(&mut self, now: Duration) -> Link {
        self.links += 1;
        Link {
            number: self.links,
            since: now,
            is_open: false,
        }
    }
}

impl Peer {
    fn of(entry: &Entry) -> Self {
        Self {
            role: entry.role,
            epoch: entry.epoch,
            ..Self::new(entry.address)
        }
    }

    fn new(address: NodeAddress) -> Self {
        Self {
            address,
            role: PeerRole::Primary,
            epoch: Epoch(0),
            offset: 0,
            link: None,
            pinged: None,
            pong: Duration::ZERO,
            heard: Duration::ZERO,
            is_suspected: false,
            failed: None,
            reports: BTreeMap::new(),
        }
    }

    const fn health(&self) -> PeerHealth {
        if self.failed.is_some() {
            PeerHealth::Failed
        } else if self.is_suspected {
            PeerHealth::Suspected
        } else {
            PeerHealth::Reached
        }
    }

    fn open_link(&self) -> Option<u64> {
        self.link
            .filter(|link| link.is_open)
            .map(|link| link.number)
    }
}
