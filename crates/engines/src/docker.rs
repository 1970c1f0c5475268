//! The Docker engine: workloads as containers of one Docker Engine, over its API.
//!
//! It works on a daemon of this host and on one elsewhere alike, because nothing goes by way of
//! shared files: config, secrets and looks into volumes are archives over the API. What does not
//! carry the labels of this state folder is never touched.
//!
//! - `endpoint` and `client`: where the daemon is, and the connection to it.
//! - `translate` (pure): a workload → a container, hardened.
//! - `apply`: makes a step true; `fill` puts files into volumes for it.
//! - `observe` (pure) and `storage`: what is there → a view.
//! - `review` (pure): what is said before anything is made.

mod addresses;
mod apply;
mod archive;
mod client;
mod doctor;
mod endpoint;
mod exec;
mod fill;
mod identity;
mod images;
mod log;
mod names;
mod network;
mod observe;
mod review;
mod storage;
mod translate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures::{StreamExt, TryStreamExt, stream};
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::finding::Finding;
use model::ids::{HostName, InstanceName, WorkloadName};
use model::image::ImageRef;
use model::instance::{EngineKind, Expose};
use model::port::{AddressRequest, Answer, Capabilities, Engine, ExecRequest, Fetch, LogRequest};
use model::size::ByteSize;
use model::step::EngineStep;
use model::view::{EngineView, HostView, Storage, WorkloadPhase, WorkloadView};
use model::workload::Workload;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

pub use self::addresses::AddressError;
use self::addresses::Taken;
pub use self::apply::ApplyError;
use self::apply::{Applier, Scene};
pub use self::client::DaemonError;
use self::client::{Client, Daemon};
pub use self::endpoint::{DockerSettings, EndpointError};
pub use self::exec::ExecError;
use self::images::Images;
pub use self::images::PullError;
use self::names::Owner;
pub use self::network::NetworkError;
use self::observe::Seen;
use self::review::Room;
pub use self::translate::TranslateError;
use crate::process::look;

/// How many containers are inspected or tried at once: half a millisecond each.
const INSPECTIONS_MAX: usize = 8;

/// How long a try of a port may take. On the host's own bridge it takes a fraction of this.
const TRY_LIMIT: Duration = Duration::from_millis(300);

/// Runs workloads as containers of a Docker Engine.
#[derive(Debug)]
pub struct DockerEngine {
    folder: std::path::PathBuf,
    client: Client,
    ready: OnceCell<Ready>,
}

/// What is known once the daemon has answered.
#[derive(Debug)]
struct Ready {
    home: String,
    images: Images,
    applier: Applier,
}

impl DockerEngine {
    /// An engine with these settings. Nothing is touched or connected yet.
    #[must_use]
    pub fn new(settings: DockerSettings) -> Self {
        Self {
            folder: settings.home.join("docker"),
            client: Client::new(settings),
            ready: OnceCell::const_new(),
        }
    }

    async fn ready(&self) -> Result<(&Daemon, &Ready), Fault> {
        let daemon = self.client.daemon().await?;
        let ready = self
            .ready
            .get_or_try_init(|| async {
                let home = identity::of(&self.folder).map_err(|error| {
                    Fault::new(
                        "SY3001",
                        Class::Failed,
                        format!("cannot use {}", self.folder.display()),
                    )
                    .with_cause(error)
                })?;
                Ok::<_, Fault>(Ready {
                    images: Images::new(self.folder.join("images"), home.clone()),
                    home,
                    applier: Applier::new(daemon.facts.processors),
                })
            })
            .await?;
        Ok((daemon, ready))
    }

    fn owner(ready: &Ready, instance: &InstanceName) -> Owner {
        Owner {
            home: ready.home.clone(),
            instance: instance.clone(),
        }
    }

    async fn view(
        &self,
        instance: &InstanceName,
        images: &BTreeSet<ImageRef>,
    ) -> Result<EngineView, Fault> {
        let (daemon, ready) = self.ready().await?;
        let owner = Self::owner(ready, instance);
        let mut known = BTreeMap::new();
        for image in images {
            known.insert(image.clone(), ready.images.view(daemon, image).await?);
        }
        let promised = taking(daemon, &owner).await?.memory;
        let seen = inspect(daemon, &owner).await?;
        Ok(EngineView {
            hosts: vec![host(daemon, promised)],
            images: known,
            workloads: workloads(daemon, &owner, &seen).await?,
            unattended: false,
        })
    }

    async fn propose(&self, request: &AddressRequest) -> Result<Vec<NodeAddress>, Fault> {
        let (daemon, ready) = self.ready().await?;
        let owner = Self::owner(ready, &request.instance);
        let (subnets, own) = network::taken(daemon, &owner).await?;
        let containers = list(daemon, &BTreeMap::new()).await?;
        let taken = Taken {
            subnets,
            own,
            own_addresses: own_addresses(&owner, &containers),
            ports: published(&containers),
        };
        match request.expose {
            Expose::Network => Ok(addresses::in_network(request, &taken)?),
            Expose::Host(host) => {
                let is_local = daemon.is_local();
                let is_free = |port: u16| {
                    !taken.ports.contains(&port) && (!is_local || can_listen(host, port))
                };
                Ok(addresses::on_host(request, host, is_free)?)
            }
        }
    }

    /// The container of a workload, which must be there.
    async fn container(
        &self,
        instance: &InstanceName,
        workload: &WorkloadName,
    ) -> Result<(&Daemon, Seen), Fault> {
        let (daemon, ready) = self.ready().await?;
        let owner = Self::owner(ready, instance);
        let name = owner.container(workload);
        let question = daemon.docker.inspect_container(&name, None);
        let found = daemon.ask_for("inspect a container", question).await?;
        let seen = found.filter(|found| {
            let labels = found.config.as_ref().and_then(|it| it.labels.clone());
            owner.owns(&labels.unwrap_or_default())
        });
        let seen = seen.as_ref().and_then(observe::seen);
        match seen {
            Some(seen) => Ok((daemon, seen)),
            None => Err(ExecError::Unknown(workload.clone()).into()),
        }
    }

    async fn make_true(&self, instance: &InstanceName, step: &EngineStep) -> Result<(), Fault> {
        let (daemon, ready) = self.ready().await?;
        let owner = Self::owner(ready, instance);
        let scene = Scene {
            daemon,
            owner: &owner,
        };
        match step {
            EngineStep::EnsureRunning(workload) | EngineStep::EnsureDone(workload) => {
                ready.applier.ensure(scene, workload).await?;
            }
            EngineStep::EnsureStopped(name) => ready.applier.stop(scene, name).await?,
            EngineStep::EnsureDeleted(name) => ready.applier.delete(scene, name).await?,
        }
        Ok(())
    }

    async fn stored(
        &self,
        instance: &InstanceName,
        names: &[WorkloadName],
    ) -> Result<BTreeMap<WorkloadName, Storage>, Fault> {
        let (daemon, ready) = self.ready().await?;
        let owner = Self::owner(ready, instance);
        let seen = inspect(daemon, &owner).await?;
        let asked: Vec<&Seen> = seen
            .iter()
            .filter(|it| names.contains(&it.workload))
            .collect();
        Ok(storage::of_containers(daemon, &asked).await?)
    }

    async fn outside(&self) -> Result<IpAddr, Fault> {
        let (daemon, _) = self.ready().await?;
        let found = match daemon.endpoint.remote_host() {
            Some(host) => tokio::net::lookup_host((host, 0))
                .await
                .ok()
                .and_then(|mut found| found.find(SocketAddr::is_ipv4))
                .map(|address| address.ip()),
            None => own_address(),
        };
        found.ok_or_else(|| {
            Fault::new(
                "SY4031",
                Class::Usage,
                "this host's address cannot be told by itself",
            )
            .with_help("name it: --expose host=192.168.1.10")
        })
    }
}

/// The address from which this host speaks to others. Nothing is sent: a socket that is connected
/// without a connection only has its route looked up. 192.0.2.0/24 and the like would do as well,
/// but a host may have a route of its own for those.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("198.51.100.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn can_listen(host: IpAddr, port: u16) -> bool {
    match std::net::TcpListener::bind((host, port)) {
        Ok(_) => true,
        // An address that is none of this host's is the daemon's to judge.
        Err(error) => error.kind() == std::io::ErrorKind::AddrNotAvailable,
    }
}

/// The containers of a daemon, stopped ones too.
async fn list(
    daemon: &Daemon,
    filter: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<ContainerSummary>, DaemonError> {
    let filter: std::collections::HashMap<_, _> = filter.clone().into_iter().collect();
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter)
        .build();
    let question = daemon.docker.list_containers(Some(options));
    daemon.ask("list containers", question).await
}

/// The workloads of an instance that have a container.
async fn inspect(daemon: &Daemon, owner: &Owner) -> Result<Vec<Seen>, DaemonError> {
    let filter = owner.filter().into_iter().collect();
    let containers = list(daemon, &filter).await?;
    let found: Vec<Option<Seen>> = stream::iter(containers)
        .map(|container| async move {
            let id = container.id.unwrap_or_default();
            let question = daemon.docker.inspect_container(&id, None);
            // One that has gone since it was listed is not there.
            let found = daemon.ask_for("inspect a container", question).await?;
            Ok::<_, DaemonError>(found.as_ref().and_then(observe::seen))
        })
        .buffer_unordered(INSPECTIONS_MAX)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// All workloads of an instance, also those of which only volumes are left.
async fn workloads(
    daemon: &Daemon,
    owner: &Owner,
    seen: &[Seen],
) -> Result<BTreeMap<WorkloadName, WorkloadView>, DaemonError> {
    let at_rest: Vec<&Seen> = seen.iter().filter(|it| !it.is_alive()).collect();
    let mut stored = storage::of_containers(daemon, &at_rest).await?;
    let mut orphans: BTreeMap<WorkloadName, Vec<storage::OwnVolume>> = BTreeMap::new();
    for volume in storage::volumes(daemon, owner).await? {
        if !seen.iter().any(|it| it.workload == volume.workload) {
            let name = volume.workload.clone();
            orphans.entry(name).or_default().push(volume);
        }
    }
    let addresses: Vec<Option<NodeAddress>> = seen.iter().map(Seen::needs_try).collect();
    let tries = stream::iter(addresses)
        .map(|address| async move {
            match address {
                Some(address) => Some(answers(address).await),
                None => None,
            }
        })
        .buffered(INSPECTIONS_MAX);
    let tried: Vec<Option<bool>> = tries.collect().await;
    let mut views = BTreeMap::new();
    for (it, tried) in seen.iter().zip(tried) {
        let storage = stored.remove(&it.workload).unwrap_or_default();
        views.insert(it.workload.clone(), it.view(tried, storage));
    }
    for (name, storage) in storage::of_volumes(daemon, owner, orphans).await {
        let view = WorkloadView {
            phase: WorkloadPhase::Stopped,
            fingerprint: None,
            restarts: 0,
            memory: None,
            storage,
        };
        views.insert(name, view);
    }
    Ok(views)
}

/// Whether somebody answers at an address.
async fn answers(address: NodeAddress) -> bool {
    let connection = TcpStream::connect((address.ip, address.port));
    matches!(timeout(TRY_LIMIT, connection).await, Ok(Ok(_)))
}

/// What the workloads of this and other state folders that run on a daemon take of its host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Taking {
    /// The sum of their memory limits, in bytes.
    memory: u64,
    /// The neighbours that they have together.
    neighbours: u64,
}

/// What all take but those of one instance.
async fn taking(daemon: &Daemon, but: &Owner) -> Result<Taking, DaemonError> {
    let filter = BTreeMap::from([
        ("label".to_owned(), vec![names::ADDRESS.to_owned()]),
        ("status".to_owned(), vec!["running".to_owned()]),
    ]);
    let containers = list(daemon, &filter).await?;
    let labels = containers.iter().filter_map(|it| it.labels.as_ref());
    let others: Vec<_> = labels.filter(|it| !but.owns(it)).collect();
    let limits = others
        .iter()
        .filter_map(|labels| labels.get(names::MEMORY)?.parse().ok());
    let mut networks: BTreeMap<_, u64> = BTreeMap::new();
    for labels in &others {
        let address = labels.get(names::ADDRESS);
        let address = address.and_then(|it| NodeAddress::parse(it));
        // Those that are exposed by the host have the gateway alone.
        if let Some(network) = address.and_then(|it| addresses::network_of(it.ip)) {
            *networks.entry(network).or_default() += 1;
        }
    }
    Ok(Taking {
        memory: limits.fold(0, u64::saturating_add),
        neighbours: networks.into_values().map(review::neighbours).sum(),
    })
}

/// The daemon's host. What is free is known of this host alone; of another one it is what is not
/// promised to others.
fn host(daemon: &Daemon, promised: u64) -> HostView {
    let total = daemon.facts.memory;
    let unpromised = total.saturating_sub(promised);
    let available = if daemon.is_local() {
        unpromised.min(look::host().memory_available.as_bytes())
    } else {
        unpromised
    };
    HostView {
        name: HostName::new(daemon.facts.host.clone()),
        memory_total: ByteSize::bytes(total),
        memory_available: ByteSize::bytes(available),
    }
}

fn own_addresses(owner: &Owner, containers: &[ContainerSummary]) -> Vec<NodeAddress> {
    containers
        .iter()
        .filter_map(|container| container.labels.as_ref())
        .filter(|labels| owner.owns(labels))
        .filter_map(|labels| NodeAddress::parse(labels.get(names::ADDRESS)?))
        .collect()
}

/// The ports of the host that containers have, or will have once they run.
fn published(containers: &[ContainerSummary]) -> Vec<u16> {
    let mut ports = Vec::new();
    for container in containers {
        let published = container.ports.iter().flatten();
        ports.extend(published.filter_map(|port| port.public_port));
        let labels = container.labels.as_ref();
        let own = labels.and_then(|it| NodeAddress::parse(it.get(names::ADDRESS)?));
        if let Some(address) = own.filter(|it| addresses::network_of(it.ip).is_none()) {
            ports.extend(
                [Some(address.port), address.bus_port()]
                    .into_iter()
                    .flatten(),
            );
        }
    }
    ports
}

impl Engine for DockerEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: EngineKind::Docker,
            ignored: Vec::new(),
        }
    }

    fn propose_addresses<'a>(
        &'a self,
        request: &'a AddressRequest,
    ) -> Answer<'a, Vec<NodeAddress>> {
        Box::pin(self.propose(request))
    }

    fn observe<'a>(
        &'a self,
        instance: &'a InstanceName,
        images: &'a BTreeSet<ImageRef>,
    ) -> Answer<'a, EngineView> {
        Box::pin(self.view(instance, images))
    }

    fn apply<'a>(&'a self, instance: &'a InstanceName, step: &'a EngineStep) -> Answer<'a, ()> {
        Box::pin(self.make_true(instance, step))
    }

    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        request: &'a LogRequest,
        line: &'a mut (dyn FnMut(&str) + Send),
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let (daemon, seen) = self.container(instance, &request.workload).await?;
            let how = (request.tail, request.follow);
            Ok(log::read(daemon, &seen.id, how, line).await?)
        })
    }

    fn exec<'a>(&'a self, instance: &'a InstanceName, request: &'a ExecRequest) -> Answer<'a, i32> {
        Box::pin(async move {
            let (daemon, seen) = self.container(instance, &request.workload).await?;
            Ok(exec::run(daemon, &seen, request).await?)
        })
    }

    fn fetch<'a>(
        &'a self,
        images: &'a BTreeSet<ImageRef>,
        fetch: Fetch,
        tell: &'a mut (dyn FnMut(String) + Send),
    ) -> Answer<'a, BTreeSet<ImageRef>> {
        Box::pin(async move {
            let (daemon, ready) = self.ready().await?;
            Ok(ready.images.fetch(daemon, images, (fetch, tell)).await?)
        })
    }

    fn outside_address(&self) -> Answer<'_, IpAddr> {
        Box::pin(self.outside())
    }

    fn review<'a>(
        &'a self,
        instance: &'a InstanceName,
        workloads: &'a [Workload],
    ) -> Answer<'a, Vec<Finding>> {
        Box::pin(async move {
            let (daemon, ready) = self.ready().await?;
            let owner = Self::owner(ready, instance);
            let others = taking(daemon, &owner).await?;
            let host = Room {
                memory_total: daemon.facts.memory,
                memory_promised: others.memory,
                neighbours: daemon.is_local().then(look::neighbours_max).flatten(),
                neighbours_taken: others.neighbours,
            };
            for workload in workloads {
                translate::blueprint(&owner, workload, apply::ground(daemon, true))
                    .map_err(Fault::from)?;
            }
            Ok(review::review(workloads, host))
        })
    }

    fn storages<'a>(
        &'a self,
        instance: &'a InstanceName,
        workloads: &'a [WorkloadName],
    ) -> Answer<'a, BTreeMap<WorkloadName, Storage>> {
        Box::pin(self.stored(instance, workloads))
    }

    fn examine(&self) -> Answer<'_, Vec<Finding>> {
        Box::pin(async move {
            Ok(match self.client.daemon().await {
                Ok(daemon) => doctor::examine(daemon),
                Err(error) => vec![doctor::absent(&error)],
            })
        })
    }

    fn release<'a>(&'a self, instance: &'a InstanceName) -> Answer<'a, ()> {
        Box::pin(async move {
            let (daemon, ready) = self.ready().await?;
            let owner = Self::owner(ready, instance);
            network::remove(daemon, &owner).await?;
            ready.applier.forget(instance).await;
            Ok(())
        })
    }
}
