//! The smallest world in which a plan can be carried out: each step changes the view as the servers
//! and the engine would, and everybody hears of it at once. What must never happen panics.

use std::collections::{BTreeMap, BTreeSet};

use model::ids::{Epoch, NodeId, WorkloadName};
use model::slots::SlotSet;
use model::step::{ClusterStep, EngineStep, Member, Plan, Promotion, Step, StewardStep};
use model::view::{
    NodeReport, NodeView, Peer, PeerHealth, PeerRole, Replication, ReplicationLink, Storage,
    StoredIdentity, WorkloadPhase, WorkloadView,
};
use plan::scale::{ScaleSite, newcomers, rescale, settled};

use crate::fixture::{Scene, address, alone_as, id, spec};

/// The most plans that may follow one another until there is nothing to do. One that does it and
/// one that is empty are usual; one more for what comes to light on the way.
pub(crate) const ROUNDS_MAX: usize = 8;

impl Scene {
    /// The instance is to have these numbers.
    pub(crate) fn rescale(
        &mut self,
        shards: u16,
        replicas: u16,
    ) -> Result<(), Vec<plan::scale::Refusal>> {
        self.rescale_to(spec(shards, replicas))
    }

    pub(crate) fn rescale_to(
        &mut self,
        spec: model::spec::Spec,
    ) -> Result<(), Vec<plan::scale::Refusal>> {
        let joining = newcomers(&self.instance, &spec, &self.view);
        let number = |name: &WorkloadName| u8::try_from(name.number()).unwrap();
        let addresses = joining
            .iter()
            .map(|(name, _)| (name.clone(), address(number(name))))
            .collect();
        let ids: Vec<NodeId> = joining.iter().map(|(name, _)| id(number(name))).collect();
        let hosts = self.view.engine.hosts.clone();
        let site = ScaleSite {
            hosts: &hosts,
            addresses: &addresses,
            ids: &ids,
        };
        self.instance = rescale(&self.instance, spec, &self.view, site)?;
        Ok(())
    }

    /// Plans and applies until there is nothing left to do, then tidies up.
    pub(crate) fn finish(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let plan = self.plan();
            if plan.is_empty() {
                assert!(plan.findings.is_empty(), "{:?}", plan.findings);
                if let Some(settled) = settled(&self.instance, &self.view) {
                    self.instance = settled;
                }
                let again = self.plan();
                assert!(again.is_empty(), "{again:?}");
                assert_eq!(settled(&self.instance, &self.view), None);
                return;
            }
            self.apply(&plan);
        }
        panic!("not done after {ROUNDS_MAX} plans: {}", self.planned());
    }

    pub(crate) fn apply(&mut self, plan: &Plan) {
        for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
            self.apply_step(step);
        }
    }

    /// Applies the first steps only, as a run that is cut off does.
    pub(crate) fn apply_some(&mut self, plan: &Plan, count: usize) {
        let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
        for step in steps.take(count) {
            self.apply_step(step);
        }
    }

    pub(crate) fn apply_step(&mut self, step: &Step) {
        match step {
            Step::Wait(_) => {}
            Step::Engine(step) => self.apply_engine(step),
            Step::Cluster(step) => self.apply_cluster(step),
            Step::Steward(step) => self.apply_steward(step),
        }
        self.gossip();
    }

    fn apply_engine(&mut self, step: &EngineStep) {
        match step {
            EngineStep::EnsureRunning(workload) => self.start(&workload.name),
            EngineStep::EnsureStopped(name) => self.stop(name),
            EngineStep::EnsureDone(_) | EngineStep::EnsureDeleted(_) => panic!("{step:?}"),
        }
    }

    pub(crate) fn start(&mut self, name: &WorkloadName) {
        let seat = self.instance.layout.seats[name].clone();
        let node = seat.node.unwrap();
        let fingerprint = self.workloads().get(name).map(|it| it.fingerprint());
        self.view.engine.workloads.insert(
            name.clone(),
            WorkloadView {
                phase: WorkloadPhase::Running { healthy: true },
                fingerprint,
                restarts: 0,
                memory: None,
                storage: Storage {
                    has_dataset: false,
                    identity: Some(StoredIdentity {
                        id: node.id,
                        owns_slots: false,
                        epoch: Epoch(0),
                    }),
                    ..Storage::default()
                },
            },
        );
        self.view
            .nodes
            .insert(seat.address, alone_as(node.id, seat.address));
    }

    /// Nothing that owns a slot is ever stopped.
    fn stop(&mut self, name: &WorkloadName) {
        let address = self.instance.layout.seats[name].address;
        if let Some(cluster) = self.view.nodes.get(&address).and_then(NodeView::cluster) {
            let slots = &cluster.myself().unwrap().slots;
            assert!(slots.is_empty(), "{name} is stopped and owns {slots:?}");
        }
        self.view.nodes.remove(&address);
        let found = self.view.engine.workloads.get_mut(name).unwrap();
        found.phase = WorkloadPhase::Stopped;
    }

    fn apply_cluster(&mut self, step: &ClusterStep) {
        match step {
            ClusterStep::EnsureMet { members } => self.meet(members),
            ClusterStep::EnsureReplicas { primary, replicas } => {
                for replica in replicas {
                    self.copy(*replica, *primary);
                }
            }
            ClusterStep::EnsureHeard { .. } => {}
            ClusterStep::EnsureSlots { .. }
            | ClusterStep::EnsurePromoted { .. }
            | ClusterStep::EnsureServing { .. } => panic!("{step:?}"),
        }
    }

    fn meet(&mut self, members: &[Member]) {
        let lines: Vec<Peer> = members.iter().map(|it| self.own(it.id).clone()).collect();
        for member in members {
            let report = self.report(member.id);
            let cluster = report.cluster.as_mut().unwrap();
            cluster.serves = true;
            for line in &lines {
                if cluster.peer(line.id).is_none() {
                    cluster.peers.push(line.clone());
                }
            }
        }
    }

    /// A node that owns slots or is the only one with keys of its shard copies nobody.
    pub(crate) fn copy(&mut self, replica: Member, primary: Member) {
        let (of, keys) = (primary.address.to_string(), self.report(primary.id).keys);
        assert_eq!(self.own(primary.id).role, PeerRole::Primary, "{primary}");
        let own = self.own(replica.id);
        assert!(own.slots.is_empty(), "{replica} owns slots");
        own.role = PeerRole::Replica(Some(primary.id));
        let report = self.report(replica.id);
        report.keys = keys;
        report.replication = Replication::Replica {
            of,
            link: ReplicationLink::Up,
            offset: 1000,
        };
    }

    fn apply_steward(&mut self, step: &StewardStep) {
        match step {
            StewardStep::EnsureMoved { moves, .. } => {
                let mut seen = SlotSet::empty();
                for each in moves {
                    assert!(seen.intersection(&each.slots).is_empty(), "moved twice");
                    seen = seen.union(&each.slots);
                    self.give(each.source, each.target, &each.slots);
                }
            }
            StewardStep::EnsureStable { node, slots } => {
                let own = self.own(node.id);
                own.open_slots.retain(|it| !slots.contains(it.slot));
            }
            StewardStep::EnsureOwner { node, slots, .. } => self.owns(*node, slots),
            StewardStep::EnsureHandedOver { promotions } => {
                for promotion in promotions {
                    self.hand_over(*promotion);
                }
            }
            StewardStep::EnsureCopies { replica, primary } => {
                let role = self.own(replica.id).role;
                assert_eq!(role, PeerRole::Replica(Some(primary.id)), "{replica}");
            }
            StewardStep::EnsureEmpty { node } => {
                let own = self.own(node.id);
                assert!(own.slots.is_empty() && own.open_slots.is_empty(), "{node}");
            }
            StewardStep::EnsureForgotten { gone, by } => {
                for member in by {
                    let cluster = self.report(member.id).cluster.as_mut().unwrap();
                    cluster.peers.retain(|peer| !gone.contains(&peer.id));
                }
                for id in gone {
                    assert!(!self.answers(*id), "{id} is forgotten while it runs");
                }
            }
            StewardStep::EnsureFunctions { .. }
            | StewardStep::EnsureSetting { .. }
            | StewardStep::EnsureImported(_) => {}
        }
    }

    /// The mover's part: only an owner gives, only a primary takes, what is open is closed.
    fn give(&mut self, source: Member, target: Member, slots: &SlotSet) {
        let mut has = SlotSet::of(&self.own(source.id).slots);
        let mut gets = SlotSet::of(&self.own(target.id).slots);
        assert_eq!(self.own(target.id).role, PeerRole::Primary, "{target}");
        let missing = slots.difference(&gets);
        assert!(
            missing.difference(&has).is_empty(),
            "{source} gives {missing} and has {has}"
        );
        let others: BTreeSet<NodeId> = self
            .own(source.id)
            .open_slots
            .iter()
            .filter(|it| slots.contains(it.slot))
            .filter_map(|it| match it.direction {
                model::view::OpenDirection::To(id) => Some(id),
                model::view::OpenDirection::From(_) => None,
            })
            .collect();
        assert!(
            others.iter().all(|id| self.is_of_shard(*id, target)),
            "OpenElsewhere"
        );
        has = has.difference(slots);
        gets = gets.union(slots);
        let epoch = self.next_epoch();
        for (node, owned) in [(source, has), (target, gets)] {
            let keys = if owned.is_empty() { 0 } else { 10 };
            let own = self.own(node.id);
            own.slots = owned.ranges();
            own.open_slots.retain(|it| !slots.contains(it.slot));
            self.report(node.id).keys = keys;
        }
        self.own(target.id).epoch = epoch;
    }

    fn is_of_shard(&self, id: NodeId, target: Member) -> bool {
        let shard = |id: NodeId| {
            let mut nodes = self.instance.layout.nodes();
            nodes
                .find(|(_, _, node)| node.id == id)
                .map(|(_, _, node)| node.shard)
        };
        id == target.id || shard(id) == shard(target.id)
    }

    fn owns(&mut self, node: Member, slots: &SlotSet) {
        let epoch = self.next_epoch();
        let ids: Vec<NodeId> = self.ids();
        for other in ids.into_iter().filter(|it| *it != node.id) {
            let own = self.own(other);
            own.slots = SlotSet::of(&own.slots).difference(slots).ranges();
        }
        let own = self.own(node.id);
        own.slots = SlotSet::of(&own.slots).union(slots).ranges();
        own.epoch = epoch;
    }

    /// A failover, by hand or after a death.
    pub(crate) fn hand_over(&mut self, promotion: Promotion) {
        let Promotion { node, instead_of } = promotion;
        if self.own(node.id).role == PeerRole::Primary {
            return;
        }
        let before = PeerRole::Replica(Some(instead_of.id));
        assert_eq!(self.own(node.id).role, before, "{node}");
        let epoch = self.next_epoch();
        let slots = std::mem::take(&mut self.own(instead_of.id).slots);
        self.own(instead_of.id).open_slots.clear();
        let own = self.own(node.id);
        own.role = PeerRole::Primary;
        own.slots = slots;
        own.epoch = epoch;
        self.report(node.id).replication = Replication::Primary {
            offset: 1000,
            replicas: Vec::new(),
        };
        let copies: Vec<NodeId> = self
            .ids()
            .into_iter()
            .filter(|it| *it == instead_of.id || self.own(*it).role == before)
            .collect();
        for id in copies.into_iter().filter(|it| *it != node.id) {
            self.own(id).role = PeerRole::Replica(Some(node.id));
            self.report(id).replication = Replication::Replica {
                of: node.address.to_string(),
                link: ReplicationLink::Up,
                offset: 1000,
            };
        }
        self.gossip();
    }

    /// Everybody hears from everybody who answers and is known; who does not answer has failed.
    pub(crate) fn gossip(&mut self) {
        let words: BTreeMap<NodeId, Peer> = self
            .ids()
            .into_iter()
            .map(|id| (id, self.own(id).clone()))
            .collect();
        for node in self.view.nodes.values_mut() {
            let NodeView::Answering(report) = node else {
                continue;
            };
            let cluster = report.cluster.as_mut().unwrap();
            for peer in &mut cluster.peers {
                match words.get(&peer.id) {
                    Some(_) if peer.id == cluster.id => {}
                    Some(word) => {
                        peer.health = PeerHealth::Reached;
                        peer.role = word.role;
                        peer.epoch = word.epoch;
                        peer.slots.clone_from(&word.slots);
                    }
                    None => peer.health = PeerHealth::Failed,
                }
            }
        }
    }

    fn next_epoch(&self) -> Epoch {
        let clusters = self.view.nodes.values().filter_map(NodeView::cluster);
        let highest = clusters.flat_map(|it| &it.peers).map(|it| it.epoch).max();
        Epoch(highest.unwrap_or_default().0 + 1)
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        let clusters = self.view.nodes.values().filter_map(NodeView::cluster);
        clusters.map(|cluster| cluster.id).collect()
    }

    pub(crate) fn answers(&self, id: NodeId) -> bool {
        self.ids().contains(&id)
    }

    pub(crate) fn report(&mut self, id: NodeId) -> &mut NodeReport {
        let mut nodes = self.view.nodes.values_mut();
        nodes
            .find_map(|node| match node {
                NodeView::Answering(report) => {
                    let is_it = report.cluster.as_ref().is_some_and(|it| it.id == id);
                    is_it.then_some(&mut **report)
                }
                NodeView::Silent { .. } | NodeView::Refusing { .. } | NodeView::Loading => None,
            })
            .unwrap_or_else(|| panic!("{id} does not answer"))
    }

    /// A node's own word about itself.
    pub(crate) fn own(&mut self, id: NodeId) -> &mut Peer {
        let cluster = self.report(id).cluster.as_mut().unwrap();
        let mut peers = cluster.peers.iter_mut();
        peers.find(|peer| peer.id == id).unwrap()
    }

    /// The slots by their owners' own word, for comparing.
    pub(crate) fn owned(&mut self) -> BTreeMap<NodeId, SlotSet> {
        let ids = self.ids();
        ids.into_iter()
            .map(|id| (id, SlotSet::of(&self.own(id).slots)))
            .filter(|(_, slots)| !slots.is_empty())
            .collect()
    }
}
