//! Every command there is, and where it goes. The command line, and later the API and the console,
//! make the same ones.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::address::NodeAddress;
use model::event::Event;
use model::fault::{Class, Fault};
use model::finding::Finding;
use model::ids::{InstanceName, WorkloadName};
use model::instance::Instance;
use model::outline::Outline;
use model::port::{ExecRequest, LogRequest};
use model::spec::Credentials;
use model::view::NodeView;
use serde::{Deserialize, Serialize};

use crate::approve::Approver;
use crate::hands::Hands;
use crate::home::Home;
use crate::lock::Operator;
use crate::oversee::{self, Word};
use crate::store::{Store, Stored};
use crate::{backup, down, failover, import, look, scale, status, tend, trib, up};

pub use crate::backup::{Backup, BackupFile, Request as BackupRequest};
pub use crate::failover::{Handover, Request as FailoverRequest};
pub use crate::import::{Imported, Request as ImportRequest};
pub use crate::look::Row;
pub use crate::proof::Proof;
pub use crate::reach::Tried;
pub use crate::scale::{Changed, Measure, Pace, Request as ScaleRequest, Shape};
pub use crate::status::{NodeStatus, ShardStatus, Status, WorkloadStatus};
pub use crate::tend::{Manner, Request as TendRequest, Tended, Wish};
pub use crate::trib::{Answered, ClusterInfo, ClusterNode};
pub use crate::up::{Delivery, ExposeWish, Platform, TemplateChoice};

/// What the user wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Deliver an instance, or make it match again.
    Up(up::Request),
    /// Stop an instance, and delete it where that is said.
    Down(down::Request),
    /// Change an instance's shape.
    Scale(scale::Request),
    /// Hand primaries over to replicas.
    Failover(failover::Request),
    /// Have whoever works on an instance stand still.
    Pause(InstanceName),
    /// Have them go on.
    Resume(InstanceName),
    /// Say which instances there are.
    List,
    /// Say how an instance is.
    Status(InstanceName),
    /// Hand on the lines of logs.
    Logs {
        /// The instance.
        instance: InstanceName,
        /// Whose log; everybody's where nobody is named.
        of: Option<LogSubject>,
        /// How many of the last lines first.
        tail: usize,
        /// Whether to go on with new lines.
        follow: bool,
    },
    /// Run a command where a workload runs.
    Exec {
        /// The instance.
        instance: InstanceName,
        /// The workload; the first server where none is named.
        workload: Option<WorkloadName>,
        /// The command.
        command: Vec<String>,
        /// Whether a client of the server logs in as the operator.
        as_operator: bool,
    },
    /// Check the hosts.
    Doctor,
    /// Make servers that run a cluster.
    TribCreate {
        /// The servers.
        nodes: Vec<NodeAddress>,
        /// The replicas of each shard.
        replicas: u16,
        /// How to log in.
        credentials: Option<Credentials>,
        /// Show the plan only.
        dry_run: bool,
        /// How long it may take to be ready.
        limit: Duration,
    },
    /// Judge a cluster.
    TribCheck(Cluster),
    /// Describe a cluster.
    TribInfo(Cluster),
    /// Settle or change a cluster.
    Tend(tend::Request),
    /// Bring the keys of a server that is in no cluster into one.
    Import(import::Request),
    /// Back a cluster up.
    Backup(backup::Request),
    /// Send a command to each node of a cluster.
    TribCall {
        /// The cluster.
        cluster: Cluster,
        /// The command.
        command: Vec<String>,
        /// Which nodes.
        which: Which,
    },
}

/// Whose log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogSubject {
    /// A workload's.
    Workload(WorkloadName),
    /// Those of all workloads of a service.
    Service(model::ids::ServiceName),
}

/// A cluster that is known by one of its nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// The node.
    pub seed: NodeAddress,
    /// How to log in.
    pub credentials: Option<Credentials>,
}

pub use crate::down::Request as DownRequest;
pub use crate::trib::Which;
pub use crate::up::Request as UpRequest;

/// What came of a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The plan that would be carried out.
    Plan(Outline),
    /// An instance was delivered.
    Delivered(Box<Delivery>),
    /// An instance's shape was changed.
    Changed(Box<Changed>),
    /// An instance was stopped, or is gone.
    Down {
        /// The instance.
        instance: InstanceName,
        /// Whether its data is gone too.
        deleted: bool,
        /// Whether anything was done.
        changed: bool,
    },
    /// Whoever works on an instance was told what is wanted of it.
    Told {
        /// The instance.
        instance: InstanceName,
        /// Who works on it.
        operator: Operator,
        /// What was said; `None` for that it goes on.
        word: Option<Word>,
    },
    /// The instances.
    List(Vec<Row>),
    /// How an instance is.
    Status(Box<Status>),
    /// What was noticed.
    Findings(Vec<Finding>),
    /// Nothing more to say.
    Done,
    /// A command ended with this exit code.
    Exit(i32),
    /// A cluster was made of servers.
    Created(ClusterInfo),
    /// A cluster and what a check noticed.
    Checked(ClusterInfo, Vec<Finding>),
    /// A cluster.
    Info(ClusterInfo),
    /// A cluster was settled or changed.
    Tended(Box<Tended>),
    /// Keys were brought into a cluster.
    Imported(Box<Imported>),
    /// A backup was taken.
    BackedUp(Box<Backup>),
    /// What each node answered.
    Answers(Vec<Answered>),
}

/// The driver with its state and its hands.
#[derive(Clone)]
pub struct Control {
    pub(crate) home: Home,
    pub(crate) hands: Hands,
    pub(crate) approver: Arc<dyn Approver>,
}

impl fmt::Debug for Control {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Control({})", self.home.path().display())
    }
}

impl Control {
    /// A driver that keeps its state in this home, works with these hands, and asks this approver.
    #[must_use]
    pub fn new(home: Home, hands: Hands, approver: Arc<dyn Approver>) -> Self {
        Self {
            home,
            hands,
            approver,
        }
    }

    /// Does what the user wants.
    ///
    /// # Errors
    /// With what went wrong, and the way out.
    pub async fn run(&self, command: Command) -> Result<Reply, Fault> {
        match command {
            Command::Up(request) => up::run(self, request).await,
            Command::Down(request) => down::run(self, request).await,
            Command::Scale(request) => scale::run(self, request).await,
            Command::Failover(request) => failover::run(self, request).await,
            Command::Pause(name) => oversee::tell(self, &name, Some(Word::Pause)),
            Command::Resume(name) => oversee::tell(self, &name, None),
            Command::List => look::list(self).await,
            Command::Status(name) => status::run(self, &name).await,
            Command::Logs {
                instance,
                of,
                tail,
                follow,
            } => self.logs(&instance, of, tail, follow).await,
            Command::Exec {
                instance,
                workload,
                command,
                as_operator,
            } => self.exec(&instance, workload, command, as_operator).await,
            Command::Doctor => Ok(Reply::Findings(self.hands.engines.examine().await?)),
            Command::TribCreate {
                nodes,
                replicas,
                credentials,
                dry_run,
                limit,
            } => {
                let wanted = trib::Wanted {
                    nodes: &nodes,
                    replicas,
                    credentials: credentials.as_ref(),
                    dry_run,
                    limit,
                };
                trib::create(self, wanted).await
            }
            Command::TribCheck(cluster) => trib::check(self, &cluster).await,
            Command::TribInfo(cluster) => trib::info(self, &cluster).await,
            Command::Tend(request) => tend::run(self, request).await,
            Command::Import(request) => import::run(self, request).await,
            Command::Backup(request) => backup::run(self, request).await,
            Command::TribCall {
                cluster,
                command,
                which,
            } => trib::call(self, &cluster, &command, which).await,
        }
    }

    pub(crate) fn store(&self) -> Result<Store, Fault> {
        Store::open(&self.home)
    }

    /// An instance that must be there.
    pub(crate) fn instance(&self, name: &InstanceName) -> Result<Stored, Fault> {
        let store = self.store()?;
        match store.load(name)? {
            Some(stored) => Ok(stored),
            None => Err(unknown_instance(name, &store.names()?)),
        }
    }

    async fn logs(
        &self,
        name: &InstanceName,
        of: Option<LogSubject>,
        tail: usize,
        follow: bool,
    ) -> Result<Reply, Fault> {
        let instance = self.instance(name)?.instance;
        let workloads: Vec<WorkloadName> = instance
            .layout
            .seats
            .keys()
            .filter(|workload| match &of {
                None => true,
                Some(LogSubject::Workload(name)) => *workload == name,
                Some(LogSubject::Service(service)) => workload.service() == service,
            })
            .cloned()
            .collect();
        if workloads.is_empty() {
            return Err(unknown_workload(&instance));
        }
        let engine = self.hands.engine(&instance)?;
        let readings = workloads.iter().map(|workload| async move {
            let request = LogRequest {
                workload: workload.clone(),
                tail,
                follow,
            };
            let mut tell = |line: &str| {
                self.hands.tell(Event::LogLine {
                    workload: workload.to_string(),
                    line: line.to_owned(),
                });
            };
            engine.logs(name, &request, &mut tell).await
        });
        if follow {
            let all = futures::future::join_all(readings);
            tokio::select! {
                ended = all => ended.into_iter().collect::<Result<(), Fault>>()?,
                () = self.hands.cancel.cancelled() => {}
            }
        } else {
            // One after the other, so that the lines of two logs do not mix.
            for reading in readings {
                reading.await?;
            }
        }
        Ok(Reply::Done)
    }

    async fn exec(
        &self,
        name: &InstanceName,
        workload: Option<WorkloadName>,
        command: Vec<String>,
        as_operator: bool,
    ) -> Result<Reply, Fault> {
        let instance = self.instance(name)?.instance;
        let workload = match workload {
            Some(workload) if instance.layout.seats.contains_key(&workload) => workload,
            Some(_) => return Err(unknown_workload(&instance)),
            None => self.some_server(&instance).await?,
        };
        let spec = &instance.spec;
        let credentials = spec.operator.as_ref().or(spec.application.as_ref());
        let request = ExecRequest {
            workload,
            command,
            credentials: credentials.filter(|_| as_operator).cloned(),
        };
        let code = self.hands.engine(&instance)?.exec(name, &request).await?;
        Ok(Reply::Exit(code))
    }

    /// A server that answers.
    async fn some_server(&self, instance: &Instance) -> Result<WorkloadName, Fault> {
        let view = self.hands.observe(instance).await?;
        let servers = plan::converge::server_addresses(instance);
        let seen = |address: &NodeAddress| view.nodes.get(address);
        let answers =
            |address: &&NodeAddress| seen(address).is_some_and(|it| it.report().is_some());
        // One that refuses us, or reads its data, says so itself.
        let lives = |address: &&NodeAddress| {
            seen(address).is_some_and(|it| !matches!(it, NodeView::Silent { .. }))
        };
        let found = servers.iter().find(answers);
        let Some(address) = found.or_else(|| servers.iter().find(lives)) else {
            return Err(match servers.first() {
                Some(_) => nobody_answers(instance),
                None => unknown_workload(instance),
            });
        };
        let workload = instance.layout.workload_at(*address);
        workload.cloned().ok_or_else(|| unknown_workload(instance))
    }
}

/// How many names a message lists.
const NAMES_SHOWN: usize = 10;

fn unknown_instance(name: &InstanceName, known: &[InstanceName]) -> Fault {
    let names: Vec<&str> = known.iter().map(InstanceName::as_str).collect();
    let help = if names.is_empty() {
        format!("there is none yet: shardyard up --name {name}")
    } else {
        let shown = names.len().min(NAMES_SHOWN);
        format!("there are: {}", names[..shown].join(", "))
    };
    Fault::new(
        "SY4005",
        Class::Usage,
        format!("there is no instance {name}"),
    )
    .with_help(help)
}

fn nobody_answers(instance: &Instance) -> Fault {
    let name = &instance.name;
    let message = format!("no server of {name} answers");
    Fault::new("SY4022", Class::Unreachable, message).with_help(format!(
        "shardyard up --name {name}   starts what is stopped"
    ))
}

fn unknown_workload(instance: &Instance) -> Fault {
    let names: Vec<String> = instance
        .layout
        .seats
        .keys()
        .take(NAMES_SHOWN)
        .map(ToString::to_string)
        .collect();
    Fault::new(
        "SY4006",
        Class::Usage,
        format!("instance {} has no such workload", instance.name),
    )
    .with_help(format!("it has: {}", names.join(", ")))
}
