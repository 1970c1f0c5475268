//! What the decisions are tried on: an instance of a cluster, and views of it as they come about.
//!
//! Node `redis-3` has the id 030303…, and answers at 10.0.0.3:6379.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use model::address::NodeAddress;
use model::finding::Finding;
use model::ids::{HostName, InstanceName, NodeId, ServiceName, TemplateName, WorkloadName};
use model::image::{ImageRef, ServerVersion, Software};
use model::instance::{EngineKind, Expose, Instance, PlannedRole, TemplateFiles};
use model::size::ByteSize;
use model::spec::{
    ClusterPart, Container, Deployment, Hooks, Resource, RestartPolicy, Service, ServiceKind, Spec,
    Strategy, Volume,
};
use model::step::{Plan, Step};
use model::view::{
    ClusterReport, ClusterView, EngineView, HostView, ImageView, NodeReport, NodeView, Peer,
    PeerHealth, PeerRole, Replication, ReplicationLink, Storage, StoredIdentity, View,
    WorkloadPhase, WorkloadView,
};
use model::workload::Workload;
use plan::converge::{Goal, converge};
use plan::layout::{Site, layout, node_count, wanted};
use plan::policy::{Policy, USUAL_MANNER};

pub(crate) const POLICY: Policy = Policy {
    healthy_limit: Duration::from_secs(60),
    ready_limit: Duration::from_secs(60),
    elect_planned: true,
    manner: USUAL_MANNER,
};

pub(crate) fn version(software: Software, text: &str) -> ServerVersion {
    ServerVersion::parse(software, text).unwrap()
}

pub(crate) fn redis_7() -> ServerVersion {
    version(Software::Redis, "7.0.15")
}

/// A version that nothing is proved for.
pub(crate) fn redis_99() -> ServerVersion {
    version(Software::Redis, "99.0.0")
}

pub(crate) fn image() -> ImageRef {
    ImageRef::parse("redis:7").unwrap()
}

pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

pub(crate) fn address(number: u8) -> NodeAddress {
    NodeAddress::parse(&format!("10.0.0.{number}:6379")).unwrap()
}

pub(crate) fn name(text: &str) -> WorkloadName {
    WorkloadName::parse(text).unwrap()
}

/// Hosts `a`, `b`, `c` and so on, each with 64 GiB of which half is free.
pub(crate) fn hosts(count: u8) -> Vec<HostView> {
    (b'a'..b'a' + count)
        .map(|letter| HostView {
            name: HostName::new(char::from(letter).to_string()),
            memory_total: ByteSize::mib(64 << 10),
            memory_available: ByteSize::mib(32 << 10),
        })
        .collect()
}

pub(crate) fn service(text: &str, kind: ServiceKind, count: u32) -> Service {
    Service {
        name: ServiceName::new(text).unwrap(),
        kind,
        image: image(),
        count,
        container: Container {
            memory: Some(ByteSize::mib(256)),
            ports: vec![6379],
            volumes: vec![Volume {
                name: "data".to_owned(),
                target: "/data".to_owned(),
                host_folder: None,
            }],
            ..Container::default()
        },
        files: Vec::new(),
        health: None,
        deployment: Deployment {
            strategy: Strategy::Spread,
            by: Resource::Memory,
            host_labels: BTreeMap::new(),
            start_level: 0,
            restart: RestartPolicy::Always,
            stop_timeout: Duration::from_secs(10),
        },
        cluster: None,
    }
}

/// One service of servers that the steward forms into a cluster.
pub(crate) fn spec(shards: u16, replicas: u16) -> Spec {
    let count = u32::from(shards) * (u32::from(replicas) + 1);
    let mut redis = service("redis", ServiceKind::Server, count);
    redis.cluster = Some(ClusterPart { shards, replicas });
    Spec {
        template: TemplateName::new("redis-cluster").unwrap(),
        services: vec![redis],
        application: None,
        operator: None,
        hooks: Hooks::default(),
        clients: None,
    }
}

/// An instance of this spec on these hosts.
pub(crate) fn instance_on(hosts: &[HostView], spec: Spec) -> Instance {
    let addresses: BTreeMap<WorkloadName, NodeAddress> = wanted(&spec)
        .into_iter()
        .zip(1_u16..)
        .map(|((name, port), number)| {
            let [high, low] = number.to_be_bytes();
            let ip = std::net::Ipv4Addr::new(10, 0, high, low);
            (name, NodeAddress::new(ip.into(), port))
        })
        .collect();
    let ids: Vec<NodeId> = (1_u16..)
        .take(node_count(&spec))
        .map(|number| match u8::try_from(number) {
            Ok(number) => id(number),
            Err(_) => {
                let pair = number.to_be_bytes();
                NodeId::from_bytes(std::array::from_fn(|index| pair[index % 2]))
            }
        })
        .collect();
    let site = Site {
        hosts,
        addresses: &addresses,
        ids: &ids,
    };
    Instance {
        name: InstanceName::new("orders").unwrap(),
        engine: EngineKind::Process,
        expose: Expose::Network,
        files: TemplateFiles::default(),
        values: BTreeMap::new(),
        layout: layout(&spec, site).unwrap(),
        spec,
        delivered: false,
        change: None,
    }
}

/// An instance and how it is seen.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) instance: Instance,
    pub(crate) view: View,
}

impl Scene {
    /// Nothing is made yet; the image is a server of this version.
    pub(crate) fn nothing(spec: Spec, version: ServerVersion) -> Self {
        let hosts = hosts(1);
        let view = View {
            engine: EngineView {
                images: [(image(), ImageView::Server(version))].into(),
                hosts: hosts.clone(),
                workloads: BTreeMap::new(),
                unattended: false,
            },
            nodes: BTreeMap::new(),
        };
        Self {
            instance: instance_on(&hosts, spec),
            view,
        }
    }

    /// All is well: delivered, and each node holds ten keys.
    pub(crate) fn whole(shards: u16, replicas: u16) -> Self {
        Self::whole_on(1, shards, replicas)
    }

    /// The same on this many hosts.
    pub(crate) fn whole_on(count: u8, shards: u16, replicas: u16) -> Self {
        let mut scene = Self::nothing(spec(shards, replicas), redis_7());
        scene.view.engine.hosts = hosts(count);
        scene.instance = instance_on(&hosts(count), spec(shards, replicas));
        scene.instance.delivered = true;
        let names: Vec<WorkloadName> = scene.instance.layout.seats.keys().cloned().collect();
        for name in &names {
            scene.run(name);
        }
        scene
    }

    /// A workload runs, and where it is a node it knows all others as the layout has them.
    pub(crate) fn run(&mut self, name: &WorkloadName) {
        let fingerprint = self.workloads().get(name).map(Workload::fingerprint);
        let layout = &self.instance.layout;
        let seat = &layout.seats[name];
        let mut storage = Storage::default();
        if let Some(node) = seat.node {
            let first = layout.shard(node.shard)[0].2.id;
            let report = report(self, name);
            self.view
                .nodes
                .insert(seat.address, NodeView::Answering(Box::new(report)));
            storage = Storage {
                has_dataset: true,
                identity: Some(StoredIdentity {
                    id: node.id,
                    owns_slots: node.id == first,
                    epoch: model::instance::Layout::first_epoch(node.shard),
                }),
                size: ByteSize::mib(1),
            };
        }
        let view = WorkloadView {
            phase: WorkloadPhase::Running { healthy: true },
            fingerprint,
            restarts: 0,
            memory: None,
            storage,
        };
        self.view.engine.workloads.insert(name.clone(), view);
    }

    /// The workload as its engine shows it.
    pub(crate) fn found(&mut self, text: &str) -> &mut WorkloadView {
        let found = self.view.engine.workloads.get_mut(&name(text));
        found.unwrap()
    }

    /// What the node says of itself.
    pub(crate) fn says(&mut self, text: &str) -> &mut NodeReport {
        let address = self.instance.layout.seats[&name(text)].address;
        match self.view.nodes.get_mut(&address) {
            Some(NodeView::Answering(report)) => report,
            other => panic!("{text} does not answer: {other:?}"),
        }
    }

    /// What the node says of its cluster.
    pub(crate) fn knows(&mut self, text: &str) -> &mut ClusterReport {
        self.says(text).cluster.as_mut().unwrap()
    }

    /// What one node says of another.
    pub(crate) fn peer(&mut self, observer: &str, number: u8) -> &mut Peer {
        let peers = &mut self.knows(observer).peers;
        peers.iter_mut().find(|it| it.id == id(number)).unwrap()
    }

    /// The node does not answer, because its workload is in this phase.
    pub(crate) fn silence(&mut self, text: &str, phase: WorkloadPhase) {
        let address = self.instance.layout.seats[&name(text)].address;
        self.view.nodes.remove(&address);
        self.found(text).phase = phase;
    }

    /// No copy holds a key, on disk or in memory.
    pub(crate) fn without_keys(&mut self) {
        for workload in self.view.engine.workloads.values_mut() {
            workload.storage.has_dataset = false;
        }
        for node in self.view.nodes.values_mut() {
            if let NodeView::Answering(report) = node {
                report.keys = 0;
            }
        }
    }

    pub(crate) fn workloads(&self) -> BTreeMap<WorkloadName, Workload> {
        plan::workloads::workloads(&self.instance, &self.view, &BTreeMap::new())
    }

    pub(crate) fn plan(&self) -> Plan {
        let workloads = self.workloads();
        let goal = Goal {
            instance: &self.instance,
            workloads: &workloads,
        };
        converge(goal, &self.view, POLICY)
    }

    /// The plan as a person reads it.
    pub(crate) fn planned(&self) -> String {
        render(&self.plan())
    }
}

/// What a node says of itself where all is as the layout has it.
fn report(scene: &Scene, name: &WorkloadName) -> NodeReport {
    let layout = &scene.instance.layout;
    let myself = layout.seats[name].node.unwrap();
    let peers = layout.nodes().map(|(_, seat, node)| {
        let primary = layout.shard(node.shard)[0].2.id;
        Peer {
            id: node.id,
            address: Some(seat.address),
            role: match node.role {
                PlannedRole::Primary => PeerRole::Primary,
                PlannedRole::Replica => PeerRole::Replica(Some(primary)),
            },
            health: PeerHealth::Reached,
            in_handshake: false,
            epoch: model::instance::Layout::first_epoch(node.shard),
            linked: true,
            slots: match node.role {
                PlannedRole::Primary => vec![layout.first_slots(node.shard).unwrap()],
                PlannedRole::Replica => Vec::new(),
            },
            open_slots: Vec::new(),
        }
    });
    let primary = layout.shard(myself.shard)[0].1.address;
    NodeReport {
        version: redis_7(),
        keys: 10,
        memory_used: ByteSize::mib(2),
        memory_max: ByteSize::mib(170),
        replication: match myself.role {
            PlannedRole::Primary => Replication::Primary {
                offset: 1000,
                replicas: Vec::new(),
            },
            PlannedRole::Replica => Replication::Replica {
                of: primary.to_string(),
                link: ReplicationLink::Up,
                offset: 1000,
            },
        },
        cluster: Some(ClusterReport {
            id: myself.id,
            serves: true,
            current_epoch: model::ids::Epoch(layout.shards().len() as u64),
            peers: peers.collect(),
        }),
    }
}

/// A server of a cluster that knows nobody: as it is after its first start.
pub(crate) fn alone(number: u8) -> NodeView {
    alone_as(id(number), address(number))
}

pub(crate) fn alone_as(id: NodeId, address: NodeAddress) -> NodeView {
    NodeView::Answering(Box::new(NodeReport {
        version: redis_7(),
        keys: 0,
        memory_used: ByteSize::mib(2),
        memory_max: ByteSize::bytes(0),
        replication: Replication::Primary {
            offset: 0,
            replicas: Vec::new(),
        },
        cluster: Some(ClusterReport {
            id,
            serves: false,
            current_epoch: model::ids::Epoch(0),
            peers: vec![Peer {
                id,
                address: Some(address),
                role: PeerRole::Primary,
                health: PeerHealth::Reached,
                in_handshake: false,
                epoch: model::ids::Epoch(0),
                linked: true,
                slots: Vec::new(),
                open_slots: Vec::new(),
            }],
        }),
    }))
}

pub(crate) fn silent(number: u8) -> NodeView {
    NodeView::Silent {
        reason: format!("{} cannot be reached: refused", address(number)),
    }
}

/// The nodes of a whole cluster, as `whole` has them, to be asked without an engine.
pub(crate) fn whole_cluster(shards: u16, replicas: u16) -> (Vec<NodeAddress>, ClusterView) {
    let scene = Scene::whole(shards, replicas);
    (scene.view.nodes.keys().copied().collect(), scene.view.nodes)
}

/// A plan as a person reads it: phases, steps, findings.
pub(crate) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    for (number, phase) in (1..).zip(&plan.phases) {
        writeln!(text, "{number}. {}", phase.title).unwrap();
        for step in &phase.steps {
            writeln!(text, "   {}", render_step(step)).unwrap();
        }
    }
    for finding in &plan.findings {
        writeln!(text, "{}", render_finding(finding)).unwrap();
    }
    if text.is_empty() {
        text.push_str("nothing to do\n");
    }
    text
}

fn render_step(step: &Step) -> String {
    format!("{} {}: {}", step.kind(), step.subject(), step.detail())
}

pub(crate) fn render_finding(finding: &Finding) -> String {
    let Finding {
        code,
        severity,
        subject,
        message,
        help,
    } = finding;
    let help = help
        .as_ref()
        .map_or_else(String::new, |help| format!(" (help: {help})"));
    format!("{severity}[{code}] {subject}: {message}{help}")
}
