//! Judges a world in the end: each slot has one primary, every node agrees, every copy is whole,
//! and the client has what it is owed.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Epoch, NodeId};
use model::slots::SlotSet;

use crate::realm::Realm;
use crate::server::{Keys, Role, Server, Stream, slot_of};
use crate::world::Owed;

/// Something that is wrong, in words.
pub type Complaint = String;

/// Everything that is wrong.
pub(crate) fn complaints(realm: &Realm, owed: Owed) -> Vec<Complaint> {
    let servers: Vec<&Server> = realm.servers().collect();
    let mut complaints = ownership(&servers);
    complaints.extend(epochs(&servers));
    complaints.extend(copies(&servers));
    complaints.extend(service(&servers));
    if let Some(traffic) = &realm.traffic {
        let ledger = match owed {
            Owed::Acknowledged => &traffic.ledger.acknowledged,
            Owed::Copied => &traffic.ledger.copied,
            Owed::Nothing => return complaints,
        };
        complaints.extend(losses(&servers, ledger));
    }
    complaints
}

fn ownership(servers: &[&Server]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut owned = SlotSet::empty();
    for server in servers.iter().filter(|it| it.is_primary()) {
        let slots = server.own_slots();
        let twice = owned.intersection(slots.set());
        if !twice.is_empty() {
            complaints.push(format!(
                "{}: slots {twice} have two primaries",
                server.address
            ));
        }
        owned = owned.union(slots.set());
    }
    let unowned = SlotSet::all().difference(&owned);
    if !unowned.is_empty() {
        complaints.push(format!("slots {unowned} have no primary"));
    }
    complaints
}

fn epochs(servers: &[&Server]) -> Vec<Complaint> {
    let mut by_epoch: BTreeMap<Epoch, BTreeSet<NodeId>> = BTreeMap::new();
    for server in servers.iter().filter(|it| !it.own_slots().is_empty()) {
        let claimants = by_epoch.entry(server.claim_epoch()).or_default();
        claimants.insert(server.id);
    }
    by_epoch
        .into_iter()
        .filter(|(_, claimants)| claimants.len() > 1)
        .map(|(epoch, claimants)| format!("{} nodes claim with epoch {epoch}", claimants.len()))
        .collect()
}

/// Every replica is linked to a primary and has what that one has.
fn copies(servers: &[&Server]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for server in servers {
        let Role::Replica { of, stream } = server.role else {
            continue;
        };
        let address = server.address;
        let primary = servers.iter().find(|it| it.id == of && it.is_primary());
        match (primary, stream) {
            (None, _) => complaints.push(format!("{address} copies no primary")),
            (Some(_), Stream::Down { .. } | Stream::Copying { .. }) => {
                complaints.push(format!("{address} has no link to its primary"));
            }
            (Some(primary), Stream::Up { .. }) if differ(primary, server) => {
                complaints.push(format!("{address} differs from its primary"));
            }
            (Some(_), Stream::Up { .. }) => {}
        }
    }
    complaints
}

/// Keys of slots that went elsewhere do not count: before 7.2 nobody tells replicas of them.
fn differ(primary: &Server, replica: &Server) -> bool {
    let slots = primary.own_slots();
    let owned = |server: &Server| -> Keys {
        let keys = server.keys.iter().map(|(key, value)| (*key, *value));
        keys.filter(|(key, _)| slots.set().contains(slot_of(*key)))
            .collect()
    };
    owned(primary) != owned(replica)
}

/// What was changed for a moment and has not been put back.
pub(crate) fn changed_settings(realm: &Realm) -> Vec<Complaint> {
    realm
        .servers()
        .filter(|server| server.settings != server.config.settings)
        .map(|server| {
            format!(
                "{} was left with {:?}, and is configured with {:?}",
                server.address, server.settings, server.config.settings
            )
        })
        .collect()
}

/// Slots that are on their way anywhere.
pub(crate) fn open_slots(realm: &Realm) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for server in realm.servers() {
        for open in server.open_slots() {
            let number = open.slot.number();
            complaints.push(format!("{}: slot {number} is open", server.address));
        }
    }
    complaints
}

/// Views that differ from that of the first server.
pub(crate) fn disagreements(realm: &Realm) -> Vec<Complaint> {
    let servers: Vec<&Server> = realm.servers().collect();
    let Some((first, others)) = servers.split_first() else {
        return Vec::new();
    };
    let all: BTreeSet<NodeId> = servers.iter().map(|it| it.id).collect();
    let mut complaints = Vec::new();
    for server in &servers {
        let mut known: BTreeSet<NodeId> = server.known().map(|(id, _)| id).collect();
        known.insert(server.id);
        if known != all {
            let (more, less) = (
                known.difference(&all).count(),
                all.difference(&known).count(),
            );
            let address = server.address;
            complaints.push(format!(
                "{address} knows {more} nodes too many, {less} too few"
            ));
        }
    }
    let differ = others.iter().filter(|it| !it.has_same_table(first));
    complaints.extend(differ.map(|it| {
        format!(
            "{} and {} do not agree who owns what",
            first.address, it.address
        )
    }));
    complaints
}

fn service(servers: &[&Server]) -> Vec<Complaint> {
    let refusing = servers.iter().filter(|server| !server.serves());
    refusing
        .map(|server| format!("{} does not serve", server.address))
        .collect()
}

/// What the client was told is written, and is not what the slot's primary has.
fn losses(servers: &[&Server], owed: &BTreeMap<u32, u64>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (key, value) in owed {
        let slot = slot_of(*key);
        let mut primaries = servers.iter().filter(|it| it.is_primary());
        let owner = primaries.find(|it| it.own_slots().set().contains(slot));
        let found = owner.and_then(|server| server.keys.get(key));
        if found.is_none_or(|found| found < value) {
            complaints.push(format!("key {key} was written as {value} and is {found:?}"));
        }
    }
    complaints
}
