//! The process engine: workloads as plain processes on this Linux host, each with a folder and an
//! address of its own, minded by a small supervisor process per instance.
//!
//! It needs no root and no daemon: all state is in one folder, and whoever has that folder can go
//! on where another stopped. It never changes what runs without being told, and never removes
//! what it did not make.
//!
//! - `translate` (pure): a workload → program, arguments, files.
//! - `apply`: makes a step true, by way of `client` and the instance's supervisor.
//! - `supervise`: the supervisor itself.
//! - `look` and `observe` (pure): what is there → a view.

mod addresses;
mod apply;
mod client;
mod doctor;
pub(crate) mod exec;
mod files;
mod folders;
mod health;
pub(crate) mod images;
mod kernel;
mod launch;
mod lines;
mod listeners;
mod log;
pub(crate) mod look;
pub(crate) mod observe;
mod record;
mod release;
mod state;
mod supervise;
mod translate;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::finding::Finding;
use model::ids::{InstanceName, WorkloadName};
use model::image::ImageRef;
use model::instance::EngineKind;
use model::port::{AddressRequest, Answer, Capabilities, Engine, ExecRequest, LogRequest};
use model::step::EngineStep;
use model::view::{EngineView, WorkloadView};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

pub use self::addresses::AddressError;
use self::apply::Applier;
pub use self::apply::ApplyError;
use self::client::Client;
pub use self::client::{SupervisorError, SupervisorView};
pub use self::exec::ExecError;
pub use self::files::FilesError;
use self::folders::InstanceFolder;
use self::images::Images;
pub use self::images::MissingProgram;
use self::launch::Launch;
pub use self::listeners::{HolderProcess, PortHolder};
use self::log::Reader;
use self::look::Found;
pub use self::release::ReleaseError;
pub use self::supervise::{Guardian, SuperviseError, SuperviseSettings, Verdict, supervise};
pub use self::translate::TranslateError;

/// How many health checks run at once. One that runs a command costs a process for some
/// milliseconds.
const CHECKS_MAX: usize = 32;

/// The variables of our own environment that a workload gets: how to write text and time. What
/// else is in it, passwords perhaps, is nobody's business.
const PASSED_ON: [&str; 3] = ["LANG", "LC_ALL", "TZ"];

/// Parameters of a container that mean nothing for a process, by their names in a template.
const IGNORED: [&str; 6] = [
    "memory",
    "cpus",
    "ulimits",
    "sysctls",
    "user",
    "read_only_root",
];

/// What the process engine works with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessSettings {
    /// The state folder; a relative path counts from the current folder.
    pub home: PathBuf,
    /// Our own executable: the supervisor, and the program of the image `shardyard`.
    pub program: PathBuf,
    /// Folders that hold servers, as `X/redis-server`, `X/bin/redis-server` or
    /// `X/redis-8.0/bin/redis-server`. They are looked into before the search path.
    pub server_folders: Vec<PathBuf>,
    /// Where programs are looked for; `None` for this process's own `PATH`.
    pub search_path: Option<OsString>,
}

/// Runs workloads as plain processes on this host.
#[derive(Debug)]
pub struct ProcessEngine {
    home: PathBuf,
    client: Arc<Client>,
    images: Arc<Images>,
    applier: Applier,
}

impl ProcessEngine {
    /// An engine with these settings. Nothing is touched yet.
    #[must_use]
    pub fn new(settings: ProcessSettings) -> Self {
        let home = absolute(settings.home);
        let program = absolute(settings.program);
        let path = settings.search_path.or_else(|| std::env::var_os("PATH"));
        let path = path.unwrap_or_default();
        let client = Arc::new(Client::new(home.clone(), program.clone()));
        let images = Arc::new(Images::new(
            program,
            settings.server_folders,
            &path,
            home.join("programs"),
        ));
        let mut environment: BTreeMap<String, String> = PASSED_ON
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        environment.insert("PATH".to_owned(), path.to_string_lossy().into_owned());
        let applier = Applier::new(
            home.clone(),
            Arc::clone(&client),
            Arc::clone(&images),
            environment,
        );
        Self {
            home,
            client,
            images,
            applier,
        }
    }

    /// Whether an instance has a supervisor. Without one its servers run, but none that dies is
    /// started again; the next change to the instance starts one.
    pub async fn supervisor(&self, instance: &InstanceName) -> SupervisorView {
        self.client.look(instance).await
    }

    async fn view(&self, instance: &InstanceName, images: &BTreeSet<ImageRef>) -> EngineView {
        let folder = InstanceFolder::of(&self.home, instance);
        let looked = spawn_blocking(move || (look::host(), look::workloads(&folder)));
        // It does not panic; if it did, nothing was seen.
        let (hosts, found) = match looked.await {
            Ok((host, found)) => (vec![host], found),
            Err(_) => (Vec::new(), Vec::new()),
        };
        let mut known = BTreeMap::new();
        for image in images {
            known.insert(image.clone(), self.images.view(image).await);
        }
        let supervised = matches!(
            self.supervisor(instance).await,
            SupervisorView::Answering { .. }
        );
        let unattended = !supervised && found.iter().any(Found::is_alive);
        EngineView {
            hosts,
            images: known,
            workloads: self.workload_views(found, supervised).await,
            unattended,
        }
    }

    /// A supervisor makes no difference to what runs; one that does not answer starts nothing.
    async fn workload_views(
        &self,
        found: Vec<Found>,
        supervised: bool,
    ) -> BTreeMap<WorkloadName, WorkloadView> {
        let turns = Arc::new(Semaphore::new(CHECKS_MAX));
        let mut checks = JoinSet::new();
        for workload in found {
            let (turns, images) = (Arc::clone(&turns), Arc::clone(&self.images));
            checks.spawn(async move {
                let _turn = turns.acquire().await;
                let healthy = match workload.launch.as_ref().filter(|_| workload.is_alive()) {
                    Some(launch) => health::passes(launch, &images).await,
                    None => true,
                };
                (workload.name.clone(), workload.view(healthy, supervised))
            });
        }
        checks.join_all().await.into_iter().collect()
    }

    fn launch_of(
        &self,
        instance: &InstanceName,
        workload: &WorkloadName,
    ) -> Result<Launch, ExecError> {
        let folder = InstanceFolder::of(&self.home, instance).workload(workload);
        let launch = record::read(&folder.launch()).present();
        launch.ok_or_else(|| ExecError::Unknown(workload.clone()))
    }

    async fn read_log(
        &self,
        instance: &InstanceName,
        request: &LogRequest,
        line: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), Fault> {
        let folder = InstanceFolder::of(&self.home, instance).workload(&request.workload);
        if !folder.path().is_dir() {
            return Err(ExecError::Unknown(request.workload.clone()).into());
        }
        let fail = |error| Fault::from(FilesError::new("read", &folder.log(), error));
        let mut reader = Reader::begin(folder.clone(), request.tail, line).map_err(fail)?;
        if request.follow {
            reader.follow(line).await.map_err(fail)?;
        }
        Ok(())
    }
}

/// A path that stays right in another current folder. Where that cannot be found out, it is used
/// as it is, and the first use says what is wrong with it.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

impl Engine for ProcessEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: EngineKind::Process,
            ignored: IGNORED.to_vec(),
        }
    }

    fn propose_addresses<'a>(
        &'a self,
        request: &'a AddressRequest,
    ) -> Answer<'a, Vec<NodeAddress>> {
        Box::pin(async move {
            let (home, request) = (self.home.clone(), request.clone());
            let proposed = spawn_blocking(move || addresses::propose(&home, &request)).await;
            match proposed {
                Ok(proposed) => Ok(proposed?),
                Err(error) => Err(Fault::new("SY3008", Class::Failed, error.to_string())),
            }
        })
    }

    fn observe<'a>(
        &'a self,
        instance: &'a InstanceName,
        images: &'a BTreeSet<ImageRef>,
    ) -> Answer<'a, EngineView> {
        Box::pin(async move { Ok(self.view(instance, images).await) })
    }

    fn apply<'a>(&'a self, instance: &'a InstanceName, step: &'a EngineStep) -> Answer<'a, ()> {
        Box::pin(async move {
            match step {
                EngineStep::EnsureRunning(workload) | EngineStep::EnsureDone(workload) => {
                    self.applier.ensure(instance, workload).await?;
                }
                EngineStep::EnsureStopped(name) => self.applier.stop(instance, name).await?,
                EngineStep::EnsureDeleted(name) => self.applier.delete(instance, name).await?,
            }
            Ok(())
        })
    }

    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        request: &'a LogRequest,
        line: &'a mut (dyn FnMut(&str) + Send),
    ) -> Answer<'a, ()> {
        Box::pin(self.read_log(instance, request, line))
    }

    fn exec<'a>(&'a self, instance: &'a InstanceName, request: &'a ExecRequest) -> Answer<'a, i32> {
        Box::pin(async move {
            let launch = self.launch_of(instance, &request.workload)?;
            let credentials = request.credentials.as_ref();
            Ok(exec::run(&launch, &request.command, credentials, &self.images).await?)
        })
    }

    fn ensure_minded<'a>(&'a self, instance: &'a InstanceName) -> Answer<'a, ()> {
        Box::pin(async move { Ok(self.applier.mind(instance).await?) })
    }

    fn examine(&self) -> Answer<'_, Vec<Finding>> {
        Box::pin(async move { Ok(doctor::examine(&self.home, &self.images).await) })
    }

    fn release<'a>(&'a self, instance: &'a InstanceName) -> Answer<'a, ()> {
        Box::pin(async move { Ok(release::release(&self.home, &self.client, instance).await?) })
    }
}
