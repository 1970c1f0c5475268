//! A workload on the simulated platform: its definition, its disk, and what its process does.

use std::collections::BTreeSet;
use std::time::Duration;

use model::address::NodeAddress;
use model::image::ServerVersion;
use model::size::ByteSize;
use model::spec::ServiceKind;
use model::view::{Ending, Storage, WorkloadPhase, WorkloadView};
use model::workload::{Existing, Fingerprint, Workload};

use crate::nodes_conf::NodesConf;
use crate::server::{Keys, Server};
use crate::server_config::ServerConfig;

/// The pause before the second restart in a row; each later one doubles it, and the first has none
/// (engines, `pace`).
const PAUSE_FIRST: Duration = Duration::from_millis(500);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A run of this length shows that the trouble before it is over.
const RUN_GOOD: Duration = Duration::from_secs(60);

/// A workload that was made.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) definition: Workload,
    /// What the image of the definition is, where it is a server.
    pub(crate) version: Option<ServerVersion>,
    /// The definition that the last start was made with.
    pub(crate) started_with: Option<Fingerprint>,
    pub(crate) disk: Disk,
    pub(crate) life: Life,
    /// The number of its process, so that what was on its way to an earlier one is not for this.
    pub(crate) boot: u64,
    pub(crate) restarts: u32,
    pub(crate) log: Vec<String>,
    /// How often it ended soon after its start.
    ends: u32,
    started_at: Duration,
}

/// What lies in a workload's volumes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// The text of `nodes.conf` that was put there, until a server has started with it.
    pub(crate) prepared: Option<String>,
    pub(crate) conf: Option<NodesConf>,
    pub(crate) keys: Keys,
    pub(crate) functions: BTreeSet<u8>,
}

/// What a workload does.
#[derive(Debug)]
pub(crate) enum Life {
    /// Nothing, by our wish.
    Stopped,
    /// Its process is there and does not listen yet.
    Starting,
    /// It listens and reads its data.
    Loading,
    /// It is a server that answers.
    Serving(Box<Server>),
    /// It is a program that runs.
    Working,
    /// It is told to end and still runs.
    Stopping,
    /// It ended, and somebody decides whether it may start again.
    Asking { last: Ending, is_asked: bool },
    /// It starts again after a pause.
    Pausing { last: Ending, until: Duration },
    /// It must not start yet.
    Held { reason: String },
    /// It ended for good.
    Over(Ending),
}

impl Unit {
    /// A workload that nothing was made of but its files.
    pub(crate) fn new(definition: Workload, version: Option<ServerVersion>) -> Self {
        let mut unit = Self {
            version,
            started_with: None,
            disk: Disk::default(),
            life: Life::Stopped,
            boot: 0,
            restarts: 0,
            log: Vec::new(),
            ends: 0,
            started_at: Duration::ZERO,
            definition,
        };
        unit.place_files();
        unit
    }

    /// Takes another definition and puts its files in place.
    pub(crate) fn define(&mut self, definition: &Workload, version: Option<ServerVersion>) {
        self.definition = definition.clone();
        self.version = version;
        self.place_files();
    }

    /// Of all files only `nodes.conf` lies in a volume; it is kept where there is one.
    fn place_files(&mut self) {
        let files = self.definition.files.iter();
        let mut prepared = files.filter(|file| file.existing == Existing::Keep);
        if let Some(file) = prepared.find(|file| file.target.ends_with("/nodes.conf"))
            && self.disk.conf.is_none()
        {
            let text = || file.text.expose().to_owned();
            self.disk.prepared.get_or_insert_with(text);
        }
    }

    pub(crate) const fn address(&self) -> NodeAddress {
        self.definition.address
    }

    /// Its configuration file as a server reads it.
    pub(crate) fn config(&self) -> ServerConfig {
        let mut files = self.definition.files.iter();
        let config = files.find(|file| {
            file.existing == Existing::Replace && file.text.expose().contains("cluster-enabled")
        });
        config.map_or_else(ServerConfig::default, |file| {
            ServerConfig::parse(file.text.expose())
        })
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.life {
            Life::Serving(server) => Some(server),
            Life::Stopped
            | Life::Starting
            | Life::Loading
            | Life::Working
            | Life::Stopping
            | Life::Asking { .. }
            | Life::Pausing { .. }
            | Life::Held { .. }
            | Life::Over(_) => None,
        }
    }

    pub(crate) fn server_mut(&mut self) -> Option<&mut Server> {
        match &mut self.life {
            Life::Serving(server) => Some(server),
            Life::Stopped
            | Life::Starting
            | Life::Loading
            | Life::Working
            | Life::Stopping
            | Life::Asking { .. }
            | Life::Pausing { .. }
            | Life::Held { .. }
            | Life::Over(_) => None,
        }
    }

    /// Whether there is a process.
    pub(crate) const fn is_alive(&self) -> bool {
        match self.life {
            Life::Starting | Life::Loading | Life::Serving(_) | Life::Working | Life::Stopping => {
                true
            }
            Life::Stopped
            | Life::Asking { .. }
            | Life::Pausing { .. }
            | Life::Held { .. }
            | Life::Over(_) => false,
        }
    }

    /// A process begins, which has this number.
    pub(crate) fn begin(&mut self, now: Duration, boot: u64) {
        self.boot = boot;
        self.started_at = now;
        self.started_with = Some(self.definition.fingerprint());
        self.life = Life::Starting;
    }

    /// What a server would start with; `None` where its `nodes.conf` is none.
    pub(crate) fn conf(&mut self) -> Option<NodesConf> {
        if let Some(text) = self.disk.prepared.take() {
            self.disk.conf = Some(NodesConf::parse(&text)?);
        }
        self.disk.conf.clone()
    }

    /// The process is gone. What it had stored stays: all of it where it was told to end, or keeps
    /// each write at once.
    pub(crate) fn end(&mut self, next: Life, is_orderly: bool) {
        let life = std::mem::replace(&mut self.life, next);
        if let Life::Serving(server) = life {
            self.disk.conf = Some(server.stored());
            if is_orderly || server.config.keeps_writes {
                self.disk.keys = server.keys;
                self.disk.functions = server.functions;
            }
        }
    }

    /// How long to wait before the next start.
    pub(crate) fn pause(&mut self, now: Duration) -> Duration {
        if now.saturating_sub(self.started_at) >= RUN_GOOD {
            self.ends = 0;
        }
        self.ends += 1;
        match self.ends {
            0 | 1 => Duration::ZERO,
            ends => (PAUSE_FIRST * 2_u32.saturating_pow(ends - 2)).min(PAUSE_MAX),
        }
    }

    /// It was asked for: what came before does not count.
    pub(crate) const fn forgive(&mut self) {
        self.ends = 0;
    }

    pub(crate) fn view(&self, now: Duration) -> WorkloadView {
        WorkloadView {
            phase: self.phase(now),
            fingerprint: self.started_with,
            restarts: self.restarts,
            memory: None,
            storage: self.storage(),
        }
    }

    fn phase(&self, now: Duration) -> WorkloadPhase {
        let restarting = |last, until: Duration| WorkloadPhase::Restarting {
            last,
            pause: until.saturating_sub(now),
        };
        match &self.life {
            Life::Stopped => WorkloadPhase::Stopped,
            Life::Starting => WorkloadPhase::Running { healthy: false },
            Life::Loading | Life::Serving(_) | Life::Working | Life::Stopping => {
                WorkloadPhase::Running { healthy: true }
            }
            Life::Asking { last, .. } => restarting(*last, now),
            Life::Pausing { last, until } => restarting(*last, *until),
            Life::Held { reason } => WorkloadPhase::Held {
                reason: reason.clone(),
            },
            Life::Over(ending) => WorkloadPhase::Ended(*ending),
        }
    }

    /// What its volumes hold by now. A file that was put there is one, too.
    fn storage(&self) -> Storage {
        let (conf, keys) = match self.server() {
            Some(server) if server.config.keeps_writes => (Some(server.stored()), &server.keys),
            Some(server) => (Some(server.stored()), &self.disk.keys),
            None => {
                let prepared = self.disk.prepared.as_deref().and_then(NodesConf::parse);
                (prepared.or_else(|| self.disk.conf.clone()), &self.disk.keys)
            }
        };
        let is_cluster = self.definition.kind == ServiceKind::Server;
        Storage {
            has_dataset: !keys.is_empty(),
            identity: conf.filter(|_| is_cluster).map(|conf| conf.identity()),
            size: ByteSize::bytes(keys.len() as u64 * 100),
        }
    }
}
