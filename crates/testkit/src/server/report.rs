//! What a server says of itself when it is asked (INFO, CLUSTER INFO, CLUSTER NODES).

use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::size::ByteSize;
use model::view::{
    ClusterReport, NodeReport, Peer as SeenPeer, PeerHealth, PeerRole, Replication, ReplicationLink,
};

use super::{Handshake, Peer, Role, Server, Stream};

/// The memory that an empty server takes.
const MEMORY_EMPTY: u64 = 2 << 20;

/// The memory that a key takes.
const MEMORY_PER_KEY: u64 = 100;

impl Server {
    /// What it says of itself.
    pub(crate) fn report(&self, now: Duration) -> NodeReport {
        let keys = self.keys.len() as u64;
        NodeReport {
            version: self.version,
            keys,
            memory_used: ByteSize::bytes(MEMORY_EMPTY + keys * MEMORY_PER_KEY),
            memory_max: ByteSize::bytes(0),
            replication: self.replication(now),
            cluster: self.config.is_cluster.then(|| self.cluster_report()),
        }
    }

    pub(crate) fn replication(&self, now: Duration) -> Replication {
        match self.role {
            Role::Primary => Replication::Primary {
                offset: self.offset,
                replicas: self.followers.values().cloned().collect(),
            },
            Role::Replica { of, stream } => Replication::Replica {
                of: self
                    .address_of(of)
                    .map_or_else(|| "?".to_owned(), |address| address.to_string()),
                link: match stream {
                    Stream::Up { .. } => ReplicationLink::Up,
                    Stream::Copying { .. } => ReplicationLink::Copying,
                    Stream::Down { since } => ReplicationLink::Down {
                        seconds: since.map_or(u64::MAX, |at| now.saturating_sub(at).as_secs()),
                    },
                },
                offset: self.offset,
            },
        }
    }

    pub(crate) fn cluster_report(&self) -> ClusterReport {
        let myself = SeenPeer {
            id: self.id,
            address: Some(self.address),
            role: self.peer_role(),
            health: PeerHealth::Reached,
            in_handshake: false,
            epoch: self.shown_epoch(self.peer_role(), self.epoch),
            linked: true,
            slots: self.table.of(self.id).ranges().to_vec(),
            open_slots: self.open_slots(),
        };
        let others = self.peers.iter().map(|(id, peer)| SeenPeer {
            id: *id,
            address: Some(peer.address),
            role: peer.role,
            health: peer.health(),
            in_handshake: false,
            epoch: self.shown_epoch(peer.role, peer.epoch),
            linked: peer.is_linked(),
            slots: self.table.of(*id).ranges().to_vec(),
            open_slots: Vec::new(),
        });
        let handshakes = self.handshakes.iter().map(Handshake::shown);
        ClusterReport {
            id: self.id,
            serves: self.serves(),
            current_epoch: self.current_epoch,
            peers: std::iter::once(myself)
                .chain(others)
                .chain(handshakes)
                .collect(),
        }
    }

    /// The nodes that it knows for certain, and whether it has a link to each.
    pub(crate) fn known(&self) -> impl Iterator<Item = (NodeId, bool)> {
        self.peers.iter().map(|(id, peer)| (*id, peer.is_linked()))
    }

    /// Whose claims it knows, and by which epochs.
    pub(crate) fn told_of_claims(&self) -> String {
        let claims = self.table.owners().map(|(owner, slots)| {
            let epoch = self.epoch_of(owner).map_or(0, |it| it.0);
            format!("{} by {epoch}: {}", owner.short(), slots.set())
        });
        let claims: Vec<String> = claims.collect();
        format!("at epoch {}: {}", self.current_epoch.0, claims.join("; "))
    }

    /// Where they answer.
    pub(crate) fn known_addresses(&self) -> Vec<NodeAddress> {
        self.peers.values().map(|peer| peer.address).collect()
    }
}

impl Peer {
    /// A link that is still being made counts (`node->link` of `clusterGenNodeDescription`).
    const fn is_linked(&self) -> bool {
        self.link.is_some()
    }
}

impl Handshake {
    fn shown(&self) -> SeenPeer {
        SeenPeer {
            id: self.id,
            address: Some(self.address),
            role: PeerRole::Primary,
            health: PeerHealth::Reached,
            in_handshake: true,
            epoch: Epoch(0),
            linked: self.link.is_some(),
            slots: Vec::new(),
            open_slots: Vec::new(),
        }
    }
}
