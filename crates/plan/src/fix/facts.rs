//! Gathers what is known of each slot: who says that it owns it, where it is open, where its keys
//! are, and whether somebody who does not answer may have some.

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::slots::{Slot, SlotSet};
use model::step::Member;
use model::view::{ClusterReport, ClusterView, NodeView, OpenDirection, Peer, PeerRole};

use super::Held;

/// A node that does not answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lost {
    /// One that owns the slot by the word of others.
    Owner(NodeId),
    /// One at the other end of an open slot.
    OtherEnd(NodeId),
    /// Nobody knows who owned it, and this many do not answer.
    Anybody(usize),
}

impl Lost {
    pub(super) fn words(self) -> String {
        match self {
            Self::Owner(id) | Self::OtherEnd(id) => id.short(),
            Self::Anybody(1) => "a node".to_owned(),
            Self::Anybody(count) => format!("one of {count} nodes"),
        }
    }
}

/// What is known of one slot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Facts {
    /// The primaries that say they own it, the latest claim first.
    pub(super) owners: Vec<Member>,
    /// Where it is leaving, and for whom.
    pub(super) migrating: Vec<(Member, NodeId)>,
    /// Where it is coming in.
    pub(super) importing: Vec<Member>,
    /// Primaries that hold keys of it.
    pub(super) holders: Vec<Member>,
    /// How many keys each of them holds.
    pub(super) keys: BTreeMap<NodeId, u64>,
    /// Those it is leaving for that do not answer: keys may be there. Where it comes from does not
    /// matter: what was there, its owner has.
    pub(super) silent_ends: BTreeSet<NodeId>,
    /// Who owns it by the word of others, where that one does not answer, and with which epoch the
    /// claim outranks the owners that do.
    pub(super) silent_owner: Option<SilentOwner>,
    /// How many nodes do not answer at all.
    pub(super) silent: usize,
}

/// An owner that does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SilentOwner {
    pub(super) id: NodeId,
    /// Whether its claim is later than that of every owner that answers.
    pub(super) is_latest: bool,
    /// A node that answers and copies it.
    pub(super) replica: Option<Member>,
}

/// A cluster as its nodes describe it.
#[derive(Debug)]
pub(super) struct Cluster<'a> {
    witnesses: Vec<(Member, &'a ClusterReport)>,
    silent: Vec<(NodeAddress, String)>,
    /// How many do not answer, those included that nobody asked.
    silent_count: usize,
    held: &'a Held,
    /// What those that do not answer own, by the word of others.
    claims_of_silent: BTreeMap<(Epoch, NodeId), SlotSet>,
    /// What the primaries that answer own, by their own word; the latest claim last.
    own_claims: BTreeMap<(Epoch, NodeId), (Member, SlotSet)>,
    open: BTreeMap<Slot, Vec<(Member, OpenDirection)>>,
    replicas: BTreeMap<NodeId, Member>,
    holders: BTreeMap<Slot, Vec<(Member, u64)>>,
}

impl<'a> Cluster<'a> {
    pub(super) fn of(nodes: &[NodeAddress], view: &'a ClusterView, held: &'a Held) -> Self {
        let witnesses: Vec<(Member, &ClusterReport)> = view
            .iter()
            .filter_map(|(address, node)| {
                let cluster = node.cluster()?;
                let (id, address) = (cluster.id, *address);
                Some((Member { id, address }, cluster))
            })
            .collect();
        let mut cluster = Self {
            silent: silent(nodes, view),
            silent_count: 0,
            claims_of_silent: BTreeMap::new(),
            own_claims: BTreeMap::new(),
            open: BTreeMap::new(),
            replicas: BTreeMap::new(),
            holders: BTreeMap::new(),
            witnesses,
            held,
        };
        cluster.read();
        cluster.silent_count = cluster.silent.len().max(cluster.unknown_silent());
        cluster
    }

    fn read(&mut self) {
        let ids: BTreeSet<NodeId> = self.witnesses.iter().map(|(member, _)| member.id).collect();
        let primaries: BTreeMap<NodeId, Member> =
            self.primaries().map(|member| (member.id, member)).collect();
        for (member, cluster) in self.witnesses.clone() {
            for peer in cluster.peers.iter().filter(|it| !it.in_handshake) {
                if peer.id == member.id {
                    self.read_own(member, peer);
                } else if !ids.contains(&peer.id) {
                    self.read_silent(peer);
                }
            }
        }
        for ((id, slot), keys) in self.held {
            // What a replica holds its primary does.
            if let Some(member) = primaries.get(id).filter(|_| *keys > 0) {
                let holders = self.holders.entry(*slot).or_default();
                holders.push((*member, *keys));
            }
        }
    }

    fn read_own(&mut self, member: Member, myself: &Peer) {
        match myself.role {
            PeerRole::Primary => {
                let claim = (member, SlotSet::of(&myself.slots));
                self.own_claims.insert((myself.epoch, member.id), claim);
                for open in &myself.open_slots {
                    let at = self.open.entry(open.slot).or_default();
                    at.push((member, open.direction));
                }
            }
            PeerRole::Replica(Some(primary)) => {
                self.replicas.entry(primary).or_insert(member);
            }
            PeerRole::Replica(None) => {}
        }
    }

    fn read_silent(&mut self, peer: &Peer) {
        if !peer.slots.is_empty() {
            let claim = self.claims_of_silent.entry((peer.epoch, peer.id));
            let slots = claim.or_insert_with(SlotSet::empty);
            *slots = slots.union(&SlotSet::of(&peer.slots));
        }
    }

    /// The slots with which anything may be amiss; nearly every slot is not among them.
    pub(super) fn suspects(&self) -> SlotSet {
        let mut suspects = self.in_question();
        for slots in self.claims_of_silent.values() {
            suspects = suspects.union(slots);
        }
        let owned: BTreeMap<NodeId, &SlotSet> = self
            .own_claims
            .values()
            .map(|(member, slots)| (member.id, slots))
            .collect();
        for (slot, holders) in &self.holders {
            let is_its = |(holder, _): &(Member, u64)| {
                owned.get(&holder.id).is_some_and(|it| it.contains(*slot))
            };
            if !holders.iter().all(is_its) {
                suspects.insert(*slot);
            }
        }
        suspects
    }

    /// Those of `among` of which exactly the same is known as of this slot, itself included.
    pub(super) fn alike(&self, slot: Slot, among: &SlotSet) -> SlotSet {
        let mut itself = SlotSet::empty();
        itself.insert(slot);
        let is_special = |it: &Slot| self.open.contains_key(it) || self.holders.contains_key(it);
        if is_special(&slot) {
            return itself;
        }
        let own = self.own_claims.values().map(|(_, slots)| slots);
        let mut alike = among.clone();
        for claim in own.chain(self.claims_of_silent.values()) {
            alike = if claim.contains(slot) {
                alike.intersection(claim)
            } else {
                alike.difference(claim)
            };
        }
        for special in self.open.keys().chain(self.holders.keys()) {
            alike.remove(*special);
        }
        alike.union(&itself)
    }

    pub(super) fn facts(&self, slot: Slot) -> Facts {
        let claims = self.own_claims.iter().rev();
        let claims = claims.filter(|(_, (_, slots))| slots.contains(slot));
        let latest = claims.clone().next().map(|((epoch, _), _)| *epoch);
        let mut facts = Facts {
            owners: claims.map(|(_, (member, _))| *member).collect(),
            silent: self.silent_count,
            ..Facts::default()
        };
        let answers = |id: &NodeId| self.witnesses.iter().any(|(member, _)| member.id == *id);
        for (member, direction) in self.open.get(&slot).into_iter().flatten() {
            match direction {
                OpenDirection::To(other) => {
                    facts.migrating.push((*member, *other));
                    if !answers(other) {
                        facts.silent_ends.insert(*other);
                    }
                }
                OpenDirection::From(_) => facts.importing.push(*member),
            }
        }
        for (member, keys) in self.holders.get(&slot).into_iter().flatten() {
            facts.holders.push(*member);
            facts.keys.insert(member.id, *keys);
        }
        let mut silent = self.claims_of_silent.iter().rev();
        let silent = silent.find(|(_, slots)| slots.contains(slot));
        facts.silent_owner = silent.map(|((epoch, id), _)| SilentOwner {
            id: *id,
            is_latest: latest.is_none_or(|latest| latest < *epoch),
            replica: self.replicas.get(id).copied(),
        });
        facts
    }

    /// Nodes that others know and that were not even asked.
    fn unknown_silent(&self) -> usize {
        let ids: BTreeSet<NodeId> = self
            .witnesses
            .iter()
            .flat_map(|(_, cluster)| cluster.peers.iter())
            .filter(|peer| !peer.in_handshake && peer.role == PeerRole::Primary)
            .map(|peer| peer.id)
            .collect();
        let answering = |id: &&NodeId| self.witnesses.iter().any(|(it, _)| it.id == **id);
        ids.iter().filter(|id| !answering(id)).count()
    }

    /// The slots that are open anywhere, have no owner or several.
    pub(super) fn in_question(&self) -> SlotSet {
        let (mut once, mut twice) = (SlotSet::empty(), SlotSet::empty());
        for (_, slots) in self.own_claims.values() {
            twice = twice.union(&once.intersection(slots));
            once = once.union(slots);
        }
        let mut slots = SlotSet::all().difference(&once).union(&twice);
        for slot in self.open.keys() {
            slots.insert(*slot);
        }
        slots
    }

    /// The primaries that answer.
    pub(super) fn primaries(&self) -> impl Iterator<Item = Member> + '_ {
        let is_primary = |cluster: &ClusterReport| {
            let role = cluster.myself().map(|it| it.role);
            role == Some(PeerRole::Primary)
        };
        self.witnesses
            .iter()
            .filter(move |(_, cluster)| is_primary(cluster))
            .map(|(member, _)| *member)
    }

    /// The primaries that say they own slots, and with which epoch.
    pub(super) fn claims(&self) -> impl Iterator<Item = (Member, Epoch, SlotSet)> + '_ {
        self.witnesses.iter().filter_map(|(member, cluster)| {
            let myself = cluster.myself()?;
            let owns = myself.role == PeerRole::Primary && !myself.slots.is_empty();
            owns.then(|| (*member, myself.epoch, SlotSet::of(&myself.slots)))
        })
    }

    pub(super) fn slots_of(&self, id: NodeId) -> SlotSet {
        let claim = self.claims().find(|(member, _, _)| member.id == id);
        claim.map_or_else(SlotSet::empty, |(_, _, slots)| slots)
    }

    pub(super) fn silent(&self) -> impl Iterator<Item = (NodeAddress, &str)> {
        self.silent
            .iter()
            .map(|(node, reason)| (*node, reason.as_str()))
    }

    /// Slots that nobody has anything of, to the primaries with the fewest slots, range by range.
    pub(super) fn share_out(&self, slots: &SlotSet) -> BTreeMap<Member, SlotSet> {
        let mut counts: BTreeMap<Member, usize> = self
            .primaries()
            .map(|member| (member, self.slots_of(member.id).len()))
            .collect();
        let mut shares: BTreeMap<Member, SlotSet> = BTreeMap::new();
        for range in slots.ranges() {
            let fewest = counts
                .iter()
                .min_by_key(|(member, count)| (**count, **member));
            let Some(member) = fewest.map(|(member, _)| *member) else {
                break;
            };
            *counts.entry(member).or_default() += usize::from(range.len());
            let share = shares.entry(member).or_insert_with(SlotSet::empty);
            share.insert_range(range);
        }
        shares
    }
}

fn silent(nodes: &[NodeAddress], view: &ClusterView) -> Vec<(NodeAddress, String)> {
    let asked: BTreeSet<NodeAddress> = nodes.iter().chain(view.keys()).copied().collect();
    asked
        .into_iter()
        .filter_map(|address| {
            let reason = match view.get(&address) {
                Some(NodeView::Answering(_)) => return None,
                Some(NodeView::Silent { reason }) => reason.clone(),
                Some(NodeView::Refusing { reason }) => format!("it does not let us in: {reason}"),
                Some(NodeView::Loading) => "it is loading its data".to_owned(),
                None => "it was not asked".to_owned(),
            };
            Some((address, reason))
        })
        .collect()
}
