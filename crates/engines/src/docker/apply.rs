//! Makes one thing true of a workload: it runs, it is done, it does not run, it is gone.
//!
//! Each can be applied twice, and killed in between: a container that was made but not filled is
//! filled and started by the next try. What runs with another definition than is asked for is
//! never changed here, and what carries no label of ours is never touched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt;
use model::fault::{Class, Code, Explain};
use model::ids::{InstanceName, WorkloadName};
use model::spec::ServiceKind;
use model::view::Ending;
use model::workload::Workload;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep;

use super::addresses::network_of;
use super::client::{Daemon, DaemonError};
use super::fill::{self, Fills};
use super::log;
use super::names::Owner;
use super::network::{self, NetworkError};
use super::observe::{self, Activity, Seen};
use super::storage::{self, remove_by_id};
use super::translate::{self, Ground, Storage, TranslateError};

/// How many lines of a log an error shows.
const LOG_LINES: usize = 10;

/// How often a step begins anew after the daemon went away and came back.
const RETURNS_MAX: usize = 3;

/// How many containers are made or started at once, for each processor of the daemon's host. A
/// start is a chain of some 25 processes; more at once only raise the time of each.
const AT_ONCE_PER_PROCESSOR: u32 = 2;

/// Where that number ends: a host with a hundred processors has one daemon all the same.
const AT_ONCE_MAX: u32 = 32;

/// How many are stopped at once. They end by themselves, which may take as long as their data takes
/// to be saved; but of a hundred that end in the same moment Docker miscounts the ends of their
/// network, and does not remove that any more (28.2; two of three times).
const STOPS_MAX: usize = 16;

/// The pause before a server is asked again to end.
const ASK_AGAIN_PAUSE: Duration = Duration::from_secs(2);

/// How often the removal of a volume is tried whose container has just gone.
const REMOVALS_MAX: u32 = 20;

/// The pause between two tries.
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// How often the end of a job is asked for again: the daemon ends a long question now and then.
const WAITS_MAX: u32 = 1_000;

/// Why a step could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The daemon does not do what it is asked for.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The workload cannot be a container.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// The instance has no network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A name is somebody else's.
    #[error("there is a {what} {name} that this instance did not make")]
    NameTaken {
        /// `container`, `volume`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Somebody else has its port or its address.
    #[error("{workload} cannot have {address}: {message}")]
    AddressTaken {
        /// The workload.
        workload: WorkloadName,
        /// Where it is to answer.
        address: String,
        /// What the daemon says.
        message: String,
    },
    /// It runs, but not as it should.
    #[error("{workload} runs with another definition than asked for; only a restart changes that")]
    Differs {
        /// The workload.
        workload: WorkloadName,
    },
    /// The job came to a bad end.
    #[error("the job {workload} failed: {ending}")]
    JobFailed {
        /// The job.
        workload: WorkloadName,
        /// How it ended.
        ending: Ending,
        /// The end of its log.
        log: Vec<String>,
    },
    /// Files cannot be packed.
    #[error("the files of {workload} cannot be packed")]
    Archive {
        /// The workload.
        workload: WorkloadName,
        /// Why not.
        source: std::io::Error,
    },
}

impl Explain for ApplyError {
    fn code(&self) -> Code {
        match self {
            Self::Daemon(error) => error.code(),
            Self::Translate(error) => error.code(),
            Self::Network(error) => error.code(),
            Self::NameTaken { .. } => Code("SY3206"),
            Self::AddressTaken { .. } => Code("SY3208"),
            Self::Differs { .. } => Code("SY3010"),
            Self::JobFailed { .. } => Code("SY3012"),
            Self::Archive { .. } => Code("SY3205"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Daemon(error) => error.class(),
            Self::Translate(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::NameTaken { .. } | Self::Differs { .. } => Class::Refused,
            Self::AddressTaken { .. } | Self::JobFailed { .. } | Self::Archive { .. } => {
                Class::Failed
            }
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Daemon(error) => error.help(),
            Self::Translate(error) => error.help(),
            Self::Network(error) => error.help(),
            Self::NameTaken { what, name } => Some(format!(
                "docker {what} inspect {name}   shows whose it is; it is left as it is: take \
                 another name for the instance, or remove it"
            )),
            Self::AddressTaken { .. } => Some(
                "docker ps and ss -ltnp   show who has it; end that, then run the same command \
                 again"
                    .to_owned(),
            ),
            Self::Differs { workload } => Some(format!(
                "run `up` again: its plan stops and starts {workload} when that is safe"
            )),
            Self::JobFailed { workload, .. } => Some(format!(
                "its log says why (logs NAME {workload}); mend that and run the same command again"
            )),
            Self::Archive { .. } => None,
        }
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::Daemon(error) => error.detail(),
            Self::JobFailed { log, .. } => log.clone(),
            Self::Translate(_)
            | Self::Network(_)
            | Self::NameTaken { .. }
            | Self::AddressTaken { .. }
            | Self::Differs { .. }
            | Self::Archive { .. } => Vec::new(),
        }
    }
}

impl ApplyError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Daemon(error) | Self::Network(NetworkError::Daemon(error)) => error.is_passing(),
            Self::Translate(_)
            | Self::Network(_)
            | Self::NameTaken { .. }
            | Self::AddressTaken { .. }
            | Self::Differs { .. }
            | Self::JobFailed { .. }
            | Self::Archive { .. } => false,
        }
    }
}

/// What it takes to apply steps on one daemon.
#[derive(Debug)]
pub(crate) struct Applier {
    turns: Semaphore,
    stops: Semaphore,
    fills: Fills,
    /// The networks that are there: one step makes it, the others wait for that.
    networks: Mutex<BTreeMap<InstanceName, Arc<Mutex<bool>>>>,
}

/// A daemon, and whose workloads it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) owner: &'a Owner,
}

impl Applier {
    pub(crate) fn new(processors: u32) -> Self {
        let turns = processors
            .saturating_mul(AT_ONCE_PER_PROCESSOR)
            .clamp(2, AT_ONCE_MAX);
        Self {
            turns: Semaphore::new(turns as usize),
            stops: Semaphore::new(STOPS_MAX),
            fills: Fills::default(),
            networks: Mutex::default(),
        }
    }

    /// Makes a server run, or a job be done, with this definition.
    pub(crate) async fn ensure(
        &self,
        scene: Scene<'_>,
        workload: &Workload,
    ) -> Result<(), ApplyError> {
        // What is wrong with the definition is said before anything is touched.
        translate::blueprint(scene.owner, workload, ground(scene.daemon, true))?;
        again(scene.daemon, || async {
            self.ensure_network(scene, workload).await?;
            let container = self.ensure_started(scene, workload).await?;
            match workload.kind {
                ServiceKind::Server => Ok(()),
                // A job may take hours, and must not keep others from their turn.
                ServiceKind::Job => finish(scene, workload, &container).await,
            }
        })
        .await
    }

    async fn ensure_network(
        &self,
        scene: Scene<'_>,
        workload: &Workload,
    ) -> Result<(), ApplyError> {
        let subnet = match workload.expose {
            model::instance::Expose::Network => network_of(workload.address.ip),
            model::instance::Expose::Host(_) => None,
        };
        let own = {
            let mut networks = self.networks.lock().await;
            Arc::clone(networks.entry(scene.owner.instance.clone()).or_default())
        };
        let mut is_there = own.lock().await;
        if !*is_there {
            network::ensure(scene.daemon, scene.owner, subnet).await?;
            *is_there = true;
        }
        Ok(())
    }

    /// Forgets that an instance has a network.
    pub(crate) async fn forget(&self, instance: &InstanceName) {
        self.networks.lock().await.remove(instance);
    }

    /// Makes a container run with this definition, and gives its id. A job that is done stays done.
    async fn ensure_started(
        &self,
        scene: Scene<'_>,
        workload: &Workload,
    ) -> Result<String, ApplyError> {
        let name = scene.owner.container(&workload.name);
        let found = find(scene, &name).await?;
        if let Some(seen) = found.as_ref().and_then(observe::seen) {
            let is_same = seen.fingerprint == Some(workload.fingerprint());
            match (seen.activity, is_same) {
                (Activity::Runs(_) | Activity::Restarting(_), true) => return Ok(seen.id),
                (Activity::Paused, true) => {
                    let question = scene.daemon.docker.unpause_container(&seen.id);
                    scene.daemon.ask("unpause a container", question).await?;
                    return Ok(seen.id);
                }
                (Activity::Runs(_) | Activity::Restarting(_) | Activity::Paused, false) => {
                    return Err(ApplyError::Differs {
                        workload: workload.name.clone(),
                    });
                }
                (Activity::Ended(0), true) if seen.is_job => return Ok(seen.id),
                (Activity::Made | Activity::Ended(_), true) if !seen.is_job => {
                    if let Some(id) = self.start_as_it_is(scene, workload, &seen).await? {
                        return Ok(id);
                    }
                }
                (Activity::Made | Activity::Ended(_), _) => {}
            }
            remove_by_id(scene.daemon, &seen.id).await?;
        }
        match self.make(scene, workload, true).await {
            // A daemon that may not raise limits says so only now.
            Err(ApplyError::Daemon(error)) if error.said().contains("rlimit") => {
                storage::remove(scene.daemon, &name, scene.owner).await?;
                self.make(scene, workload, false).await
            }
            made => made,
        }
    }

    /// Starts a container that is there; `None` where it cannot be started any more and must be
    /// made anew, because what it was made with is gone.
    async fn start_as_it_is(
        &self,
        scene: Scene<'_>,
        workload: &Workload,
        seen: &Seen,
    ) -> Result<Option<String>, ApplyError> {
        let blueprint = translate::blueprint(scene.owner, workload, ground(scene.daemon, true))?;
        // A volume that was removed must not be made anew without its container: a container keeps
        // its volumes from that, so they are there.
        match seen.activity {
            // It may have been left before its volumes had their owner.
            Activity::Made => {
                self.fills
                    .fill(scene, workload, (&blueprint, &seen.id))
                    .await?
            }
            Activity::Runs(_) | Activity::Paused | Activity::Restarting(_) | Activity::Ended(_) => {
                fill::deliver(scene, workload, (&blueprint, &seen.id)).await?;
            }
        }
        let _turn = self.turns.acquire().await;
        match start(scene, workload, &seen.id).await {
            Ok(()) => Ok(Some(seen.id.clone())),
            Err(ApplyError::Daemon(error))
                if error.said().contains("network") && error.said().contains("not found") =>
            {
                Ok(None)
            }
            // The next try makes it without the limits.
            Err(ApplyError::Daemon(error)) if error.said().contains("rlimit") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a container, fills its volumes, and starts it.
    async fn make(
        &self,
        scene: Scene<'_>,
        workload: &Workload,
        with_ulimits: bool,
    ) -> Result<String, ApplyError> {
        let ground = ground(scene.daemon, with_ulimits);
        let blueprint = translate::blueprint(scene.owner, workload, ground)?;
        let turn = self.turns.acquire().await;
        for volume in &blueprint.volumes {
            ensure_volume(scene, volume).await?;
        }
        let options = CreateContainerOptionsBuilder::new()
            .name(&blueprint.name)
            .build();
        let docker = &scene.daemon.docker;
        let question = docker.create_container(Some(options), blueprint.body.clone());
        let what = format!("make the container of {}", workload.name);
        let made = scene.daemon.ask(&what, question).await?;
        // Whoever waits to be made has its turn first, so that many are filled together and started
        // close to each other: nodes that run look for those that do not yet.
        drop(turn);
        let place = (&blueprint, made.id.as_str());
        self.fills.fill(scene, workload, place).await?;
        let _turn = self.turns.acquire().await;
        start(scene, workload, &made.id).await?;
        Ok(made.id)
    }

    /// Makes a workload not run.
    pub(crate) async fn stop(
        &self,
        scene: Scene<'_>,
        name: &WorkloadName,
    ) -> Result<(), ApplyError> {
        again(scene.daemon, || async {
            let _turn = self.stops.acquire().await;
            let Some(found) = find(scene, &scene.owner.container(name)).await? else {
                return Ok(());
            };
            stop_container(scene.daemon, &found).await
        })
        .await
    }

    /// Makes nothing be left of a workload.
    pub(crate) async fn delete(
        &self,
        scene: Scene<'_>,
        name: &WorkloadName,
    ) -> Result<(), ApplyError> {
        again(scene.daemon, || async {
            let _turn = self.turns.acquire().await;
            if let Some(found) = find(scene, &scene.owner.container(name)).await? {
                remove_by_id(scene.daemon, &found.id.unwrap_or_default()).await?;
            }
            for name in [scene.owner.look(name), scene.owner.fill()] {
                storage::remove(scene.daemon, &name, scene.owner).await?;
            }
            let volumes = storage::volumes(scene.daemon, scene.owner).await?;
            for volume in volumes.iter().filter(|it| it.workload == *name) {
                remove_volume(scene.daemon, &volume.name).await?;
            }
            Ok(())
        })
        .await
    }
}

/// Does something again once a daemon that went away is back; everything here can be done twice.
async fn again<F: Future<Output = Result<(), ApplyError>>>(
    daemon: &Daemon,
    once: impl Fn() -> F,
) -> Result<(), ApplyError> {
    for _ in 1..RETURNS_MAX {
        match once().await {
            Err(error) if error.is_passing() && daemon.is_back().await => {}
            outcome => return outcome,
        }
    }
    once().await
}

pub(crate) fn ground(daemon: &Daemon, with_ulimits: bool) -> Ground {
    Ground {
        processors: daemon.facts.processors,
        limits_swap: daemon.facts.limits_swap,
        with_ulimits,
    }
}

/// A container by its name, which must be ours.
async fn find(
    scene: Scene<'_>,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, ApplyError> {
    let question = scene.daemon.docker.inspect_container(name, None);
    let question = scene.daemon.ask_for("inspect a container", question);
    let Some(found) = question.await? else {
        return Ok(None);
    };
    let labels = found.config.as_ref().and_then(|it| it.labels.clone());
    if scene.owner.owns(&labels.unwrap_or_default()) {
        Ok(Some(found))
    } else {
        Err(ApplyError::NameTaken {
            what: "container",
            name: name.to_owned(),
        })
    }
}

/// Makes a volume be there, and be ours.
async fn ensure_volume(scene: Scene<'_>, volume: &Storage) -> Result<(), ApplyError> {
    let request = VolumeCreateRequest {
        name: Some(volume.name.clone()),
        labels: Some(volume.labels.clone()),
        ..VolumeCreateRequest::default()
    };
    // The daemon gives one that is there already, with the labels that it has.
    let question = scene.daemon.docker.create_volume(request);
    let found = scene.daemon.ask("make a volume", question).await?;
    if scene.owner.owns(&found.labels) {
        Ok(())
    } else {
        Err(ApplyError::NameTaken {
            what: "volume",
            name: volume.name.clone(),
        })
    }
}

async fn start(scene: Scene<'_>, workload: &Workload, container: &str) -> Result<(), ApplyError> {
    let question = scene.daemon.docker.start_container(container, None);
    let what = format!("start {}", workload.name);
    match scene.daemon.ask(&what, question).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let message = error.said();
            let is_taken = ["address already in use", "port is already allocated"]
                .iter()
                .any(|it| message.to_lowercase().contains(it));
            if is_taken {
                return Err(ApplyError::AddressTaken {
                    workload: workload.name.clone(),
                    address: workload.address.to_string(),
                    message: message.to_owned(),
                });
            }
            Err(error.into())
        }
    }
}

/// Waits for the end of a job, which must be a good one.
async fn finish(scene: Scene<'_>, job: &Workload, container: &str) -> Result<(), ApplyError> {
    for _ in 0..WAITS_MAX {
        let options = WaitContainerOptionsBuilder::new().build();
        let docker = &scene.daemon.docker;
        let mut end = Box::pin(docker.wait_container(container, Some(options)));
        // What it says is asked for once more below, where a lost answer does no harm.
        let _ = end.next().await;
        let question = docker.inspect_container(container, None);
        let found = scene.daemon.ask("inspect a container", question).await?;
        let Some(seen) = observe::seen(&found) else {
            break;
        };
        match seen.activity {
            Activity::Ended(0) => return Ok(()),
            Activity::Ended(code) => {
                let log = log::last_lines(scene.daemon, container, LOG_LINES).await;
                return Err(ApplyError::JobFailed {
                    workload: job.name.clone(),
                    ending: observe::ending(code),
                    log,
                });
            }
            Activity::Made | Activity::Runs(_) | Activity::Paused | Activity::Restarting(_) => {}
        }
    }
    Err(ApplyError::JobFailed {
        workload: job.name.clone(),
        ending: Ending::Unseen,
        log: Vec::new(),
    })
}

/// Stops a container; how long it may take is written in it.
async fn stop_container(
    daemon: &Daemon,
    found: &ContainerInspectResponse,
) -> Result<(), ApplyError> {
    let id = found.id.clone().unwrap_or_default();
    let seconds = found.config.as_ref().and_then(|it| it.stop_timeout);
    let seconds = seconds.and_then(|it| i32::try_from(it).ok()).unwrap_or(10);
    let options = StopContainerOptionsBuilder::new().t(seconds).build();
    let question = daemon.docker.stop_container(&id, Some(options));
    let is_server = observe::seen(found).is_some_and(|it| !it.is_job);
    let stopped = tokio::select! {
        stopped = daemon.ask("stop a container", question) => stopped,
        () = ask_again(daemon, &id), if is_server => Ok(()),
    };
    match stopped {
        // 304: it does not run.
        Err(error) if error.is_missing() || error.status() == Some(304) => Ok(()),
        stopped => Ok(stopped?),
    }
}

/// Asks a server to end again and again, for ever: Docker asks once, and a replica of Redis that
/// writes its first append-only file forgets that it was asked.
async fn ask_again(daemon: &Daemon, id: &str) {
    loop {
        sleep(ASK_AGAIN_PAUSE).await;
        let options = KillContainerOptionsBuilder::new().signal("SIGTERM").build();
        // One that has ended meanwhile cannot be asked, and need not be.
        let _ = daemon.docker.kill_container(id, Some(options)).await;
    }
}

/// Removes a volume; right after its container it may still be in use for a moment.
async fn remove_volume(daemon: &Daemon, name: &str) -> Result<(), DaemonError> {
    let mut last = Ok(());
    for _ in 0..REMOVALS_MAX {
        let options = RemoveVolumeOptionsBuilder::new().build();
        let question = daemon.docker.remove_volume(name, Some(options));
        match daemon.ask("remove a volume", question).await {
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) if error.status() == Some(409) => last = Err(error),
            removed => return removed,
        }
        sleep(REMOVAL_PAUSE).await;
    }
    last
}
