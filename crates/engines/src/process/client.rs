//! Speaks to the supervisor of an instance, and starts one where none is.
//!
//! It carries questions and answers; what they mean is known to `apply`.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use model::fault::{Class, Code, Explain};
use model::ids::InstanceName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::files::{FilesError, make_folder, open_to_append};
use super::folders::{InstanceFolder, SOCKET_NAME};
use super::kernel;
use super::lines::Lines;
use super::state::Identity;
use super::supervise::READY;
use super::wire::{Answer, Envelope, PROTOCOL, Request};

/// How long it may take until a supervisor can be spoken to. It takes some 5 ms, and longer by as
/// much as it has workloads to find again.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The pause before the next try where another command is just starting the supervisor, or it has
/// more callers than it can take at once.
const KNOCK_PAUSE: Duration = Duration::from_millis(5);

/// How long a supervisor may be silent. It says every two seconds that it is still at it.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// How long a supervisor that said good-bye may take to be gone.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// How often it is looked whether it is.
const LEAVE_PAUSE: Duration = Duration::from_millis(1);

/// How many lines of the supervisor's log an error shows.
const LOG_LINES: usize = 10;

/// Why the supervisor of an instance could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Its folder is of no use.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Our own program cannot be run as supervisor.
    #[error("cannot start the supervisor of {instance}: {}", program.display())]
    NotRun {
        /// Whose supervisor.
        instance: InstanceName,
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It began and ended at once.
    #[error("the supervisor of {instance} ended before it could be spoken to")]
    EndedAtOnce {
        /// Whose supervisor.
        instance: InstanceName,
        /// The end of its log.
        log: Vec<String>,
    },
    /// It runs and does not answer.
    #[error("the supervisor of {instance} does not answer; process {pid} is stopped or stuck")]
    Silent {
        /// Whose supervisor.
        instance: InstanceName,
        /// Its process, as it wrote it down.
        pid: String,
    },
    /// It went away in mid-conversation, again and again.
    #[error("the supervisor of {instance} went away")]
    Lost {
        /// Whose supervisor.
        instance: InstanceName,
        /// What the system says.
        source: io::Error,
    },
    /// It is of another version.
    #[error(
        "the supervisor of {instance} (process {pid}) is of another version: it speaks protocol \
         {protocol}, and this program {PROTOCOL}"
    )]
    OtherProtocol {
        /// Whose supervisor.
        instance: InstanceName,
        /// Its protocol.
        protocol: u32,
        /// Its process.
        pid: u32,
    },
}

impl Explain for SupervisorError {
    fn code(&self) -> Code {
        match self {
            Self::Files(error) => error.code(),
            Self::NotRun { .. } | Self::EndedAtOnce { .. } => Code("SY3013"),
            Self::Silent { .. } | Self::Lost { .. } => Code("SY3014"),
            Self::OtherProtocol { .. } => Code("SY3015"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Files(error) => error.class(),
            Self::NotRun { .. } | Self::EndedAtOnce { .. } | Self::OtherProtocol { .. } => {
                Class::Failed
            }
            Self::Silent { .. } | Self::Lost { .. } => Class::Unreachable,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Files(error) => error.help(),
            Self::NotRun { program, .. } => Some(format!(
                "this program starts itself as supervisor: check that {} is still there",
                program.display()
            )),
            Self::EndedAtOnce { .. } => {
                Some("the lines above say why; mend that and run the same command again".to_owned())
            }
            Self::Silent { pid, .. } => Some(format!(
                "kill -CONT {pid}, or kill -9 {pid}: the servers go on, and the next command \
                 starts a new supervisor"
            )),
            Self::Lost { .. } => Some("run the same command again; the servers go on".to_owned()),
            Self::OtherProtocol { pid, .. } => Some(format!(
                "kill {pid}: the servers go on, and the next command starts the new supervisor"
            )),
        }
    }

    fn detail(&self) -> Vec<String> {
        match self {
            Self::EndedAtOnce { log, .. } => log.clone(),
            Self::Files(_)
            | Self::NotRun { .. }
            | Self::Silent { .. }
            | Self::Lost { .. }
            | Self::OtherProtocol { .. } => Vec::new(),
        }
    }
}

/// Whether an instance has a supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SupervisorView {
    /// It is there and answers.
    Answering {
        /// Its process.
        pid: u32,
    },
    /// There is one, and it does not answer: what dies is not started again.
    Silent,
    /// There is none: what dies is not started again. The next change starts one.
    Absent,
}

/// How supervisors are reached and started.
#[derive(Debug)]
pub(crate) struct Client {
    home: PathBuf,
    program: PathBuf,
    /// Held while a supervisor is started, so that a hundred steps at once start one.
    starting: Mutex<()>,
}

impl Client {
    pub(crate) fn new(home: PathBuf, program: PathBuf) -> Self {
        Self {
            home,
            program,
            starting: Mutex::default(),
        }
    }

    /// Whether an instance has a supervisor.
    pub(crate) async fn look(&self, instance: &InstanceName) -> SupervisorView {
        let folder = InstanceFolder::of(&self.home, instance);
        let asked = async {
            let mut talk = Talk::open(instance, &folder).await.ok()??;
            Some(talk.ask(Request::Status).await)
        };
        match timeout(SILENCE_MAX / 5, asked).await {
            Ok(None) => SupervisorView::Absent,
            Ok(Some(Ok(Answer::Status { pid }))) => SupervisorView::Answering { pid },
            // One that speaks another protocol minds its workloads all the same.
            Ok(Some(Err(SupervisorError::OtherProtocol { pid, .. }))) => {
                SupervisorView::Answering { pid }
            }
            Ok(Some(_)) | Err(_) => SupervisorView::Silent,
        }
    }

    /// Opens a conversation if there is somebody to speak to.
    pub(crate) async fn find(
        &self,
        instance: &InstanceName,
    ) -> Result<Option<Talk>, SupervisorError> {
        let folder = InstanceFolder::of(&self.home, instance);
        Talk::open(instance, &folder).await
    }

    /// Opens a conversation, with a supervisor that is started now if there is none.
    pub(crate) async fn talk(&self, instance: &InstanceName) -> Result<Talk, SupervisorError> {
        let folder = InstanceFolder::of(&self.home, instance);
        if let Some(talk) = Talk::open(instance, &folder).await? {
            return Ok(talk);
        }
        let _alone = self.starting.lock().await;
        make_folder(&folder.workloads())?;
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Some(talk) = Talk::open(instance, &folder).await? {
                return Ok(talk);
            }
            if !self.start(instance, &folder).await? {
                sleep(KNOCK_PAUSE).await;
            }
        }
        Err(SupervisorError::Silent {
            instance: instance.clone(),
            pid: who_holds(&folder),
        })
    }

    /// Starts a supervisor, and waits until it can be spoken to; `false` where it ended at once
    /// because there is one already.
    async fn start(
        &self,
        instance: &InstanceName,
        folder: &InstanceFolder,
    ) -> Result<bool, SupervisorError> {
        let log = open_to_append(&folder.log())?;
        let before = log.metadata().map_or(0, |log| log.len());
        let fail = |source| SupervisorError::NotRun {
            instance: instance.clone(),
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .arg("supervise")
            .arg("--home")
            .arg(&self.home)
            .arg(instance.as_str())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(fail)?;
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            let mut output = BufReader::new(output.take(READY.len() as u64));
            let heard = timeout(START_LIMIT, output.read_line(&mut said)).await;
            if heard.is_err() {
                return Err(SupervisorError::Silent {
                    instance: instance.clone(),
                    pid: child.id().map_or_else(String::new, |pid| pid.to_string()),
                });
            }
        }
        if said == READY {
            // It is meant to outlive us; while we live, its end has to be taken note of.
            tokio::spawn(async move { child.wait().await });
            return Ok(true);
        }
        let status = child.wait().await.map_err(fail)?;
        if status.success() {
            return Ok(false);
        }
        Err(SupervisorError::EndedAtOnce {
            instance: instance.clone(),
            log: super::log::last_lines_of(&folder.log(), before, LOG_LINES),
        })
    }
}

/// A conversation with a supervisor.
#[derive(Debug)]
pub(crate) struct Talk {
    instance: InstanceName,
    folder: InstanceFolder,
    /// The supervisor's process.
    process: Option<Identity>,
    lines: Lines,
}

impl Talk {
    /// Opens a conversation by way of the opened folder; `None` where nobody is there.
    async fn open(
        instance: &InstanceName,
        folder: &InstanceFolder,
    ) -> Result<Option<Self>, SupervisorError> {
        let lost = |source| SupervisorError::Lost {
            instance: instance.clone(),
            source,
        };
        let deadline = Instant::now() + SILENCE_MAX;
        loop {
            match connect(folder.path()).await {
                Ok(stream) => {
                    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
                    return Ok(Some(Self {
                        instance: instance.clone(),
                        folder: folder.clone(),
                        process: peer.and_then(kernel::identify),
                        lines: Lines::new(stream),
                    }));
                }
                Err(error) if is_absence(&error) => return Ok(None),
                // More callers than the kernel keeps waiting.
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(KNOCK_PAUSE).await;
                }
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// Asks something and waits for the answer as long as the supervisor says that it is at it.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Answer, SupervisorError> {
        let envelope = Envelope {
            protocol: PROTOCOL,
            request,
        };
        let sent = self.lines.send(&envelope).await;
        sent.map_err(|error| self.lost(error))?;
        loop {
            let heard = timeout(SILENCE_MAX, self.lines.receive::<Answer>()).await;
            let heard = heard.map_err(|_| self.silent())?;
            let heard = heard.map_err(|error| self.lost(error))?;
            let answer = heard.ok_or_else(|| self.lost(ErrorKind::UnexpectedEof.into()))?;
            if let Answer::OtherProtocol { protocol, pid } = answer {
                return Err(SupervisorError::OtherProtocol {
                    instance: self.instance.clone(),
                    protocol,
                    pid,
                });
            }
            if answer != Answer::Wait {
                return Ok(answer);
            }
        }
    }

    /// Has the supervisor end if it has nothing left to mind, and waits until it is gone. What
    /// keeps it is returned.
    pub(crate) async fn dismiss(mut self) -> Result<Vec<String>, SupervisorError> {
        match self.ask(Request::Shutdown).await {
            Ok(Answer::Busy { running }) => return Ok(running),
            // It went away by itself meanwhile, as is wanted.
            Ok(_) | Err(SupervisorError::Lost { .. }) => {}
            Err(error) => return Err(error),
        }
        let deadline = Instant::now() + LEAVE_LIMIT;
        // It has nothing to do but to end; whether it takes too long is seen by who needs its lock.
        while self.process.as_ref().is_some_and(kernel::lives) && Instant::now() < deadline {
            sleep(LEAVE_PAUSE).await;
        }
        Ok(Vec::new())
    }

    fn lost(&self, source: io::Error) -> SupervisorError {
        SupervisorError::Lost {
            instance: self.instance.clone(),
            source,
        }
    }

    fn silent(&self) -> SupervisorError {
        SupervisorError::Silent {
            instance: self.instance.clone(),
            pid: who_holds(&self.folder),
        }
    }
}

/// Whether nobody is there to connect to: no socket, or one that a killed supervisor left behind.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let opened = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", opened.as_raw_fd());
    UnixStream::connect(path).await
}

/// The process that a supervisor wrote into its lock, for people.
fn who_holds(folder: &InstanceFolder) -> String {
    let text = fs::read_to_string(folder.lock()).unwrap_or_default();
    match text.trim() {
        "" => "unknown".to_owned(),
        pid => pid.escape_debug().to_string(),
    }
}
