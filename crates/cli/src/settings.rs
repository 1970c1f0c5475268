//! Where state lies and which programs there are: what the environment says, read once.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use control::cancel::Cancel;
use control::clock::RealClock;
use control::engines::Engines;
use control::hands::Hands;
use control::home::Home;
use engines::docker::{DockerEngine, DockerSettings};
use engines::process::{ProcessEngine, ProcessSettings};
use model::event::Audience;
use model::fault::{Class, Fault};

use crate::args::General;

/// What the environment and the general options say.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    home: Option<PathBuf>,
    server_folders: Vec<PathBuf>,
    search_path: Option<OsString>,
    /// How servers are spoken to where TLS is asked for.
    pub(crate) tls: Option<admin::Tls>,
}

impl Settings {
    /// Takes them from the options and the environment.
    pub(crate) fn new(general: &General) -> Self {
        let folders = general.servers.as_ref();
        Self {
            home: general.home.clone().or_else(state_folder),
            server_folders: folders
                .map(|it| std::env::split_paths(it).collect())
                .unwrap_or_default(),
            search_path: std::env::var_os("PATH"),
            tls: None,
        }
    }

    /// The state folder.
    pub(crate) fn home(&self) -> Result<Home, Fault> {
        let Some(path) = &self.home else {
            return Err(Fault::new(
                "SY5001",
                Class::Usage,
                "there is no place for the state: HOME is not set",
            )
            .with_help("name a folder: --home FOLDER, or SHARDYARD_HOME"));
        };
        Home::open(path)
    }

    /// What the process engine needs.
    pub(crate) fn process(&self) -> Result<ProcessSettings, Fault> {
        let program = std::env::current_exe().map_err(|error| {
            Fault::new(
                "SY5004",
                Class::Failed,
                "the place of this program cannot be found, and its supervisor is started from it",
            )
            .with_cause(error)
        })?;
        Ok(ProcessSettings {
            home: self.home()?.path().to_owned(),
            program,
            server_folders: self.server_folders.clone(),
            search_path: self.search_path.clone(),
        })
    }

    /// What the Docker engine needs: the settings that Docker's own client takes.
    fn docker(&self) -> Result<DockerSettings, Fault> {
        let text = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Ok(DockerSettings {
            home: self.home()?.path().to_owned(),
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT"),
            config_folder: text("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| Some(home?.join(".docker"))),
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            certificates: text("DOCKER_CERT_PATH").map(PathBuf::from),
            runtime_folder: text("XDG_RUNTIME_DIR").map(PathBuf::from),
        })
    }

    /// The real hands.
    pub(crate) fn hands(
        &self,
        audience: Arc<dyn Audience>,
        cancel: Cancel,
    ) -> Result<Hands, Fault> {
        Ok(Hands {
            engines: Engines::new(vec![
                Arc::new(DockerEngine::new(self.docker()?)),
                Arc::new(ProcessEngine::new(self.process()?)),
            ]),
            nodes: Arc::new(match self.tls.clone() {
                None => admin::RedisNodes::new(),
                Some(tls) => admin::RedisNodes::with_tls(tls),
            }),
            clock: Arc::new(RealClock::new()),
            audience,
            cancel,
        })
    }
}

/// The user's state folder (XDG Base Directory Specification).
fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .map(|folder| folder.join("shardyard"))
}
