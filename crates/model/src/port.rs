//! Ports: what the driver needs of the platforms, of the servers and of time.
//!
//! They stand here, in the core, so that the hands (`engines`, `admin`) and the simulation
//! (`testkit`) can implement them without knowing the driver or each other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;
use crate::command::{CommandError, NodeAnswer, NodeCommand};
use crate::fault::{Class, Fault};
use crate::finding::Finding;
use crate::ids::{InstanceName, ServiceName, WorkloadName};
use crate::image::ImageRef;
use crate::instance::{EngineKind, Expose};
use crate::slots::SlotSet;
use crate::spec::Credentials;
use crate::step::{ClusterStep, EngineStep, Member};
use crate::view::{ClusterView, EngineView, Storage};
use crate::workload::Workload;

/// The answer of a port, in the future.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// The answers to some commands, in the future.
pub type Replies<'a> =
    Pin<Box<dyn Future<Output = Vec<Result<NodeAnswer, CommandError>>> + Send + 'a>>;

/// A platform that runs workloads.
pub trait Engine: Send + Sync {
    /// What it can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// Addresses that an instance's workloads can have, in the order asked for: nobody listens
    /// there, and no other instance holds them.
    fn propose_addresses<'a>(&'a self, request: &'a AddressRequest)
    -> Answer<'a, Vec<NodeAddress>>;

    /// What it shows of an instance. What does not answer is in the view; an error means that the
    /// engine itself cannot be asked.
    fn observe<'a>(
        &'a self,
        instance: &'a InstanceName,
        images: &'a BTreeSet<ImageRef>,
    ) -> Answer<'a, EngineView>;

    /// Makes one thing true. It can be applied twice.
    fn apply<'a>(&'a self, instance: &'a InstanceName, step: &'a EngineStep) -> Answer<'a, ()>;

    /// Hands on the lines of a workload's log; with `follow` it ends only when it is dropped.
    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        request: &'a LogRequest,
        line: &'a mut (dyn FnMut(&str) + Send),
    ) -> Answer<'a, ()>;

    /// Runs a command where a workload runs, on the caller's own input and output, and gives its
    /// exit code.
    fn exec<'a>(&'a self, instance: &'a InstanceName, request: &'a ExecRequest) -> Answer<'a, i32>;

    /// Makes sure that what runs of an instance is minded, so that what dies is started again. A
    /// platform that does so by itself needs nothing.
    fn ensure_minded<'a>(&'a self, _instance: &'a InstanceName) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sees to it that the platform has these images, by fetching them where that is asked for,
    /// and gives those that it does not have yet but could fetch. A platform that has no images to
    /// fetch needs nothing. `tell` hears how it goes.
    fn fetch<'a>(
        &'a self,
        _images: &'a BTreeSet<ImageRef>,
        _fetch: Fetch,
        _tell: &'a mut (dyn FnMut(String) + Send),
    ) -> Answer<'a, BTreeSet<ImageRef>> {
        Box::pin(std::future::ready(Ok(BTreeSet::new())))
    }

    /// The address of its host at which clients elsewhere can reach a published port.
    fn outside_address(&self) -> Answer<'_, IpAddr> {
        let kind = self.capabilities().kind;
        Box::pin(std::future::ready(Err(Fault::new(
            "SY4031",
            Class::Usage,
            format!("engine {kind} has no addresses of its own that could be exposed by the host"),
        )
        .with_help("leave --expose out"))))
    }

    /// What is to be said about workloads before anything of them is made. A critical finding
    /// forbids it.
    fn review<'a>(
        &'a self,
        _instance: &'a InstanceName,
        _workloads: &'a [Workload],
    ) -> Answer<'a, Vec<Finding>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// What the volumes of these running workloads hold. `observe` may leave that out for what
    /// runs where it is costly: a server that answers says it better, and only for one that does
    /// not is it asked here.
    fn storages<'a>(
        &'a self,
        _instance: &'a InstanceName,
        _workloads: &'a [WorkloadName],
    ) -> Answer<'a, BTreeMap<WorkloadName, Storage>> {
        Box::pin(std::future::ready(Ok(BTreeMap::new())))
    }

    /// What is amiss with its hosts, each with the command that fixes it.
    fn examine(&self) -> Answer<'_, Vec<Finding>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Removes what the instance itself has on the platform once its workloads are gone.
    fn release<'a>(&'a self, instance: &'a InstanceName) -> Answer<'a, ()>;
}

/// What an engine can and cannot do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Which engine it is.
    pub kind: EngineKind,
    /// The container parameters that it does not apply, by their name in a template.
    pub ignored: Vec<&'static str>,
}

/// A wish for addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressRequest {
    /// For which instance.
    pub instance: InstanceName,
    /// The port of each workload; its address must have this port.
    pub ports: Vec<(WorkloadName, u16)>,
    /// The services whose workloads have no cluster bus, and so need no port for it.
    pub without_bus: BTreeSet<ServiceName>,
    /// Addresses that other instances hold.
    pub taken: BTreeSet<IpAddr>,
    /// What kind of addresses.
    pub expose: Expose,
}

/// What is done about images that a platform may not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Fetch {
    /// Nothing is fetched; that each could be is found out.
    Look,
    /// Those that are missing are fetched.
    Missing,
    /// All are, so that a newer one of the same name is found.
    Always,
    /// Nothing is fetched, and what is missing stays missing.
    Never,
}

/// A wish to read a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRequest {
    /// Whose log.
    pub workload: WorkloadName,
    /// At most this many of its last lines first.
    pub tail: usize,
    /// Whether to go on with new lines.
    pub follow: bool,
}

/// A wish to run a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecRequest {
    /// Where.
    pub workload: WorkloadName,
    /// The command and its arguments; never empty.
    pub command: Vec<String>,
    /// With which user a client of the server logs in, for commands that are one.
    pub credentials: Option<Credentials>,
}

/// The servers of an instance or of any cluster.
pub trait Nodes: Send + Sync {
    /// What each of them says. Never fails: what did not answer is in the view.
    fn observe<'a>(
        &'a self,
        addresses: &'a [NodeAddress],
        credentials: Option<&'a Credentials>,
    ) -> Pin<Box<dyn Future<Output = ClusterView> + Send + 'a>>;

    /// Makes one thing true. It can be applied twice.
    fn apply<'a>(
        &'a self,
        step: &'a ClusterStep,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ()>;

    /// Asks each slot of these nodes for a write that changes nothing, as a client would, and
    /// gives the first refusal.
    fn probe<'a>(
        &'a self,
        primaries: &'a [(Member, SlotSet)],
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ()>;

    /// Sends commands to one server, in this order and without waiting in between, and gives the
    /// answer to each. `limit` is how long all of them may take; a command whose answer has not
    /// come by then is lost.
    fn send<'a>(
        &'a self,
        address: NodeAddress,
        commands: &'a [NodeCommand],
        credentials: Option<&'a Credentials>,
        limit: Duration,
    ) -> Replies<'a> {
        let _ = (address, commands, credentials, limit);
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Hands on the data of one server as an RDB file, as a new replica gets it; the server forks
    /// for it. What `take` refuses ends it.
    fn snapshot<'a>(
        &'a self,
        address: NodeAddress,
        _credentials: Option<&'a Credentials>,
        _take: &'a mut (dyn FnMut(&[u8]) -> Result<(), Fault> + Send),
    ) -> Answer<'a, ()> {
        let message = format!("{address} hands no data on");
        let fault = Fault::new("SY2004", Class::Failed, message);
        Box::pin(std::future::ready(Err(fault)))
    }

    /// Sends one command to one server and gives its answer as redis-cli would write it.
    fn call<'a>(
        &'a self,
        address: NodeAddress,
        command: &'a [String],
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, String>;
}

/// Time, so that a simulation can move it.
pub trait Clock: Send + Sync {
    /// The time since some fixed moment; it never goes back.
    fn now(&self) -> Duration;

    /// Waits.
    fn sleep<'a>(&'a self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}
