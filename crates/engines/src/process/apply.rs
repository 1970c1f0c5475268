//! Makes one thing true of a workload: it runs, it is done, it does not run, it is gone.
//!
//! Files are written while the supervisor keeps the workload from starting. What runs with
//! another definition than is asked for is never changed here: a restart is the plan's to decide.

mod ports;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::fault::{Class, Code, Explain};
use model::ids::{InstanceName, WorkloadName};
use model::spec::ServiceKind;
use model::view::Ending;
use model::workload::{Existing, Workload};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::client::{Client, SupervisorError, Talk};
use super::files::{self, FilesError, NewFile, make_folder, names_in, remove_tree};
use super::folders::{InstanceFolder, WorkloadFolder};
use super::images::{Images, MissingProgram};
use super::launch::{Launch, Print};
use super::listeners::PortHolder;
use super::log;
use super::look;
use super::record;
use super::translate::{self, Program, TranslateError};
use super::wire::{Answer, Request};

/// How many lines of a log an error shows.
const LOG_LINES: usize = 10;

/// How often a step begins anew because its supervisor went away. Once is enough when it was
/// killed; an idle one that ends as we come makes it twice.
const TALKS_MAX: usize = 3;

/// How many workloads have their files written at once. More only compete for the disk.
const WRITERS_MAX: usize = 16;

/// How many steps are applied at once; each holds a socket open, and a process may have 1024.
const STEPS_MAX: usize = 256;

/// How long a job may take: an import of some terabytes. One that takes longer is not ended; the
/// next `EnsureDone` waits for it again.
const JOB_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a step could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The state folder is of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The workload cannot be a process.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// Its program is not on this host.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// The supervisor does not do its part.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// Somebody else has its port.
    #[error("{workload} cannot listen on {address}: {}", who(holder.as_deref()))]
    PortTaken {
        /// The workload.
        workload: WorkloadName,
        /// Where it is to listen.
        address: SocketAddr,
        /// Who has it.
        holder: Option<Box<PortHolder>>,
    },
    /// Its address or port cannot be had on this host.
    #[error("{workload} cannot listen on {address}: {why}")]
    AddressUnfit {
        /// The workload.
        workload: WorkloadName,
        /// Where it is to listen.
        address: SocketAddr,
        /// Why not.
        why: String,
    },
    /// It started and ended at once.
    #[error("{workload} ended at once: {ending}")]
    EndedAtOnce {
        /// The workload.
        workload: WorkloadName,
        /// How.
        ending: Ending,
        /// The end of its log.
        log: Vec<String>,
    },
    /// It runs, but not as it should.
    #[error(
        "{workload} runs with another definition ({}) than asked for ({wanted}); only a restart \
         changes that", running.as_deref().unwrap_or("unknown")
    )]
    Differs {
        /// The workload.
        workload: WorkloadName,
        /// What it runs with.
        running: Option<String>,
        /// What is asked for.
        wanted: String,
    },
    /// The guardian keeps it from starting.
    #[error("{workload} is kept from starting: {reason}")]
    Held {
        /// The workload.
        workload: WorkloadName,
        /// Why.
        reason: String,
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
    /// The job takes too long.
    #[error("the job {workload} still runs after {} h", limit.as_secs() / 3600)]
    JobLimit {
        /// The job.
        workload: WorkloadName,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The supervisor could not do it.
    #[error("{workload}: {message}")]
    Refused {
        /// The workload.
        workload: WorkloadName,
        /// Why.
        message: String,
    },
}

fn who(holder: Option<&PortHolder>) -> String {
    holder.map_or_else(|| "somebody has it".to_owned(), PortHolder::to_string)
}

impl Explain for ApplyError {
    fn code(&self) -> Code {
        match self {
            Self::Files(error) => error.code(),
            Self::Translate(error) => error.code(),
            Self::Missing(error) => error.code(),
            Self::Supervisor(error) => error.code(),
            Self::PortTaken { .. } => Code("SY3005"),
            Self::AddressUnfit { .. } => Code("SY3006"),
            Self::EndedAtOnce { .. } => Code("SY3009"),
            Self::Differs { .. } => Code("SY3010"),
            Self::Held { .. } => Code("SY3011"),
            Self::JobFailed { .. } | Self::JobLimit { .. } => Code("SY3012"),
            Self::Refused { .. } => Code("SY3019"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Files(error) => error.class(),
            Self::Translate(error) => error.class(),
            Self::Missing(error) => error.class(),
            Self::Supervisor(error) => error.class(),
            Self::Differs { .. } | Self::Held { .. } => Class::Refused,
            Self::JobLimit { .. } => Class::NotConverged,
            Self::PortTaken { .. }
            | Self::AddressUnfit { .. }
            | Self::EndedAtOnce { .. }
            | Self::JobFailed { .. }
            | Self::Refused { .. } => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.help(),
            Self::Translate(error) => error.help(),
            Self::Missing(error) => error.help(),
            Self::Supervisor(error) => error.help(),
            Self::PortTaken { holder, .. } => holder.as_deref().map(PortHolder::way_out),
            Self::AddressUnfit { .. } => Some(
                "an instance stays on the host that its addresses belong to: run this there"
                    .to_owned(),
            ),
            Self::EndedAtOnce { workload, .. } | Self::JobFailed { workload, .. } => Some(format!(
                "its log says why (logs NAME {workload}); mend that and run the same command again"
            )),
            Self::Differs { workload, .. } => Some(format!(
                "run `up` again: its plan stops and starts {workload} when that is safe"
            )),
            Self::Held { .. } => Some(
                "it starts by itself when that is settled; `status` shows what is waited for"
                    .to_owned(),
            ),
            Self::JobLimit { .. } => Some("run the same command again to go on waiting".to_owned()),
            Self::Refused { .. } => None,
        }
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::Supervisor(error) => error.detail(),
            Self::EndedAtOnce { log, .. } | Self::JobFailed { log, .. } => log.clone(),
            Self::Files(_)
            | Self::Translate(_)
            | Self::Missing(_)
            | Self::PortTaken { .. }
            | Self::AddressUnfit { .. }
            | Self::Differs { .. }
            | Self::Held { .. }
            | Self::JobLimit { .. }
            | Self::Refused { .. } => Vec::new(),
        }
    }
}

/// What it takes to apply steps.
#[derive(Debug)]
pub(crate) struct Applier {
    home: PathBuf,
    client: Arc<Client>,
    images: Arc<Images>,
    /// The part of our environment that every workload gets.
    environment: BTreeMap<String, String>,
    steps: Semaphore,
    writers: Semaphore,
}

impl Applier {
    pub(crate) fn new(
        home: PathBuf,
        client: Arc<Client>,
        images: Arc<Images>,
        environment: BTreeMap<String, String>,
    ) -> Self {
        Self {
            home,
            client,
            images,
            environment,
            steps: Semaphore::new(STEPS_MAX),
            writers: Semaphore::new(WRITERS_MAX),
        }
    }

    /// Makes a server run, or a job be done, with this definition.
    pub(crate) async fn ensure(
        &self,
        instance: &InstanceName,
        workload: &Workload,
    ) -> Result<(), ApplyError> {
        let place = Place::of(self, instance, &workload.name);
        // What is wrong with the definition is said before anything is touched.
        let files = translate::files(workload, &place.folder)?;
        let wish = translate::wish(workload, &place.folder)?;
        let program = self.images.resolve(&workload.image, &wish).await;
        if let Err(missing) = &program
            && !place.folder.launch().exists()
        {
            return Err(missing.clone().into());
        }
        let _step = match workload.kind {
            ServiceKind::Server => self.steps.acquire().await.ok(),
            // A job may take hours, and must not keep others from their turn.
            ServiceKind::Job => None,
        };
        let once = || async {
            let mut talk = self.client.talk(instance).await?;
            let mut answer = talk.ask(ensure(workload)).await?;
            if answer == Answer::Clear {
                let (files, program) = (files.clone(), program.clone()?);
                self.prepare(workload, &place, files, &program).await?;
                answer = talk.ask(Request::Start).await?;
            }
            place.settle(workload, answer)
        };
        match workload.kind {
            ServiceKind::Server => again(once).await,
            ServiceKind::Job => timeout(JOB_LIMIT, again(once)).await.unwrap_or_else(|_| {
                Err(ApplyError::JobLimit {
                    workload: workload.name.clone(),
                    limit: JOB_LIMIT,
                })
            }),
        }
    }

    /// Puts everything in place that the start needs.
    async fn prepare(
        &self,
        workload: &Workload,
        place: &Place,
        mut files: Vec<NewFile>,
        program: &Program,
    ) -> Result<(), ApplyError> {
        let launch = translate::launch(workload, &place.folder, program, &self.environment)?;
        let _turn = self.writers.acquire().await;
        let (folder, top) = (place.folder.clone(), place.instance.workloads());
        let ports = ports::ports(workload, program);
        let name = workload.name.clone();
        let done = spawn_blocking(move || -> Result<(), ApplyError> {
            ports::check(&name, &ports)?;
            for folder in own_folders(&launch) {
                make_folder(folder)?;
            }
            files.push(NewFile {
                text: record::text(&folder.launch(), &launch)?,
                path: folder.launch(),
                existing: Existing::Replace,
            });
            Ok(files::place(&top, &files)?)
        });
        done.await.unwrap_or_else(|error| {
            Err(ApplyError::Refused {
                workload: workload.name.clone(),
                message: error.to_string(),
            })
        })
    }

    /// Makes a workload not run.
    pub(crate) async fn stop(
        &self,
        instance: &InstanceName,
        name: &WorkloadName,
    ) -> Result<(), ApplyError> {
        let request = Request::Stop {
            workload: name.to_string(),
        };
        self.end(instance, name, request, Answer::Stopped).await
    }

    /// Makes nothing be left of a workload.
    pub(crate) async fn delete(
        &self,
        instance: &InstanceName,
        name: &WorkloadName,
    ) -> Result<(), ApplyError> {
        let request = Request::Delete {
            workload: name.to_string(),
        };
        self.end(instance, name, request, Answer::Deleted).await?;
        let deleted = InstanceFolder::of(&self.home, instance).deleted();
        let prefix = format!("{name}.");
        let removed = spawn_blocking(move || {
            let names = names_in(&deleted)?;
            let mut ours = names.iter().filter(|name| name.starts_with(&prefix));
            ours.try_for_each(|name| remove_tree(&deleted.join(name)))
        });
        let removed: Result<(), FilesError> = removed.await.unwrap_or(Ok(()));
        Ok(removed?)
    }

    /// Makes sure that an instance has a supervisor if there is anything to mind.
    pub(crate) async fn mind(&self, instance: &InstanceName) -> Result<(), ApplyError> {
        let folder = InstanceFolder::of(&self.home, instance);
        let wanted = spawn_blocking(move || look::is_anything_wanted(&folder)).await;
        if wanted.unwrap_or(true) {
            self.client.talk(instance).await?;
        }
        Ok(())
    }

    /// Asks for the end of a workload, with or without its folder.
    async fn end(
        &self,
        instance: &InstanceName,
        name: &WorkloadName,
        request: Request,
        goal: Answer,
    ) -> Result<(), ApplyError> {
        let place = Place::of(self, instance, name);
        if !place.folder.path().exists() {
            return Ok(());
        }
        let _step = self.steps.acquire().await;
        let once = || async {
            let mut talk: Talk = self.client.talk(instance).await?;
            let answer = talk.ask(request.clone()).await?;
            if answer != goal {
                return Err(refused(name, &answer));
            }
            // Whoever stops the last workload sends the supervisor home. Where that fails, it
            // ends by itself after a while.
            let _ = talk.dismiss().await;
            Ok(())
        };
        again(once).await
    }
}

/// Does something again if the supervisor went away meanwhile; everything here can be done twice.
async fn again<F: Future<Output = Result<(), ApplyError>>>(
    once: impl Fn() -> F,
) -> Result<(), ApplyError> {
    for _ in 1..TALKS_MAX {
        match once().await {
            Err(ApplyError::Supervisor(SupervisorError::Lost { .. })) => {}
            outcome => return outcome,
        }
    }
    once().await
}

fn ensure(workload: &Workload) -> Request {
    Request::Ensure {
        workload: workload.name.to_string(),
        fingerprint: Print(workload.fingerprint()),
    }
}

fn refused(workload: &WorkloadName, answer: &Answer) -> ApplyError {
    let message = if let Answer::Failed { message } = answer {
        message.clone()
    } else {
        format!("the supervisor gave an answer to another question: {answer:?}")
    };
    ApplyError::Refused {
        workload: workload.clone(),
        message,
    }
}

/// Where a workload lies.
struct Place {
    instance: InstanceFolder,
    folder: WorkloadFolder,
}

impl Place {
    fn of(applier: &Applier, instance: &InstanceName, name: &WorkloadName) -> Self {
        let instance = InstanceFolder::of(&applier.home, instance);
        Self {
            folder: instance.workload(name),
            instance,
        }
    }

    /// What an answer of the supervisor means for the step.
    fn settle(&self, workload: &Workload, answer: Answer) -> Result<(), ApplyError> {
        let name = workload.name.clone();
        match (answer, workload.kind) {
            (Answer::Running, ServiceKind::Server) => Ok(()),
            (Answer::Ended { end, log_from }, kind) => {
                let (workload, ending) = (name, Ending::from(end));
                if kind == ServiceKind::Job && ending == Ending::Exit(0) {
                    return Ok(());
                }
                let log = log::last_lines(&self.folder, log_from, LOG_LINES);
                Err(match kind {
                    ServiceKind::Job => ApplyError::JobFailed {
                        workload,
                        ending,
                        log,
                    },
                    ServiceKind::Server => ApplyError::EndedAtOnce {
                        workload,
                        ending,
                        log,
                    },
                })
            }
            (Answer::Differs { fingerprint }, _) => Err(ApplyError::Differs {
                workload: name,
                running: fingerprint.map(|Print(print)| print.to_string()),
                wanted: workload.fingerprint().to_string(),
            }),
            (Answer::Held { reason }, _) => Err(ApplyError::Held {
                workload: name,
                reason,
            }),
            (answer, _) => Err(refused(&name, &answer)),
        }
    }
}

/// The folders that a workload expects to find.
fn own_folders(launch: &Launch) -> impl Iterator<Item = &Path> {
    let volumes = launch.places.volumes.iter();
    volumes
        .map(|(_, path)| path.as_path())
        .chain([launch.folder.as_path()])
}
