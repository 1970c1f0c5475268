//! A stage for one test: a state folder, an engine on it, and addresses that nobody else uses.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime};

use engines::process::{ProcessEngine, ProcessSettings};
use model::address::NodeAddress;
use model::fault::Fault;
use model::ids::{InstanceName, WorkloadName};
use model::image::ImageRef;
use model::instance::Expose;
use model::port::{Engine, ExecRequest};
use model::secret::Secret;
use model::spec::{Container, RestartPolicy, ServiceKind, Volume};
use model::step::EngineStep;
use model::view::{WorkloadPhase, WorkloadView};
use model::workload::{Existing, PlacedFile, Workload};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The config file of the talk, unchanged.
pub(crate) const FIVE_LINES: &str = "port 6379\ncluster-enabled yes\n\
    cluster-config-file nodes.conf\ncluster-node-timeout 5000\nappendonly yes\n";

/// How long anything is waited for. Generous, because other tests share the machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

static STAGES: AtomicU8 = AtomicU8::new(0);

pub(crate) struct Stage {
    pub(crate) engine: ProcessEngine,
    pub(crate) instance: InstanceName,
    pub(crate) home: PathBuf,
    number: u8,
    _folder: TempDir,
}

impl Stage {
    pub(crate) fn new(instance: &str) -> Self {
        Self::below(instance, "")
    }

    /// A stage whose state folder lies deeper.
    pub(crate) fn below(instance: &str, path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join(path);
        fs::create_dir_all(&home).unwrap();
        Self {
            engine: engine(&home),
            instance: InstanceName::new(instance).unwrap(),
            home,
            number: STAGES.fetch_add(1, Ordering::Relaxed),
            _folder: folder,
        }
    }

    /// Another engine on the same state, as another command would have.
    pub(crate) fn other_engine(&self) -> ProcessEngine {
        engine(&self.home)
    }

    /// The address of the workload of this number, 1 to 6: 64 addresses for each stage, and 64
    /// stages for each test process, in 127.128.0.0/10.
    pub(crate) fn ip(&self, number: u8) -> Ipv4Addr {
        assert!((1..=6).contains(&number) && self.number < 64);
        let stage = std::process::id() % 1024 * 64 + u32::from(self.number);
        Ipv4Addr::from(0x7f80_0000 + stage * 64 + u32::from(number))
    }

    /// Waits until a server answers its clients.
    pub(crate) fn until_answers(&self, number: u8) {
        until("the server answers", || {
            cli(self.ip(number), &["ping"]) == "PONG"
        });
    }

    /// A server with the five-line config file and a volume.
    pub(crate) fn redis(&self, number: u8) -> Workload {
        self.server(number, "redis:7", FIVE_LINES)
    }

    pub(crate) fn server(&self, number: u8, image: &str, config: &str) -> Workload {
        let mut workload = self.workload(&format!("redis-{number}"), image);
        workload.address = NodeAddress::new(IpAddr::V4(self.ip(number)), 6379);
        workload.container.command = vec!["/data/redis.conf".to_owned()];
        workload.container.volumes = vec![Volume {
            name: "data".to_owned(),
            target: "/data".to_owned(),
            host_folder: None,
        }];
        workload.files = vec![PlacedFile {
            target: "/data/redis.conf".to_owned(),
            text: Secret::new(config),
            existing: Existing::Replace,
        }];
        workload
    }

    /// A program that is no server of ours, without a port.
    pub(crate) fn workload(&self, name: &str, image: &str) -> Workload {
        Workload {
            name: WorkloadName::parse(name).unwrap(),
            kind: ServiceKind::Server,
            image: ImageRef::parse(image).unwrap(),
            address: NodeAddress::new(IpAddr::V4(self.ip(1)), 0),
            expose: Expose::Network,
            container: Container::default(),
            files: Vec::new(),
            health: None,
            restart: RestartPolicy::Always,
            stop_timeout: Duration::from_secs(10),
        }
    }

    /// A shell script as a server without a port.
    pub(crate) fn script(&self, name: &str, text: &str) -> Workload {
        let mut workload = self.workload(name, "sh");
        workload.container.command = ["sh", "-c", text].map(str::to_owned).to_vec();
        workload
    }

    /// A shell script as a job.
    pub(crate) fn job(&self, name: &str, text: &str) -> Workload {
        Workload {
            kind: ServiceKind::Job,
            ..self.script(name, text)
        }
    }

    pub(crate) async fn apply(&self, step: EngineStep) -> Result<(), Fault> {
        self.engine.apply(&self.instance, &step).await
    }

    pub(crate) async fn run(&self, workload: &Workload) -> Result<(), Fault> {
        let workload = Box::new(workload.clone());
        self.apply(match workload.kind {
            ServiceKind::Server => EngineStep::EnsureRunning(workload),
            ServiceKind::Job => EngineStep::EnsureDone(workload),
        })
        .await
    }

    pub(crate) async fn stop(&self, workload: &Workload) -> Result<(), Fault> {
        let name = workload.name.clone();
        self.apply(EngineStep::EnsureStopped(name)).await
    }

    pub(crate) async fn delete(&self, workload: &Workload) -> Result<(), Fault> {
        let name = workload.name.clone();
        self.apply(EngineStep::EnsureDeleted(name)).await
    }

    /// What the engine shows of a workload.
    pub(crate) async fn view(&self, workload: &Workload) -> Option<WorkloadView> {
        let images = BTreeSet::new();
        let view = self.engine.observe(&self.instance, &images).await.unwrap();
        view.workloads.get(&workload.name).cloned()
    }

    pub(crate) async fn phase(&self, workload: &Workload) -> WorkloadPhase {
        self.view(workload).await.unwrap().phase
    }

    /// Waits until a workload does what is expected.
    pub(crate) async fn until_phase(
        &self,
        workload: &Workload,
        expected: impl Fn(&WorkloadPhase) -> bool,
    ) -> WorkloadPhase {
        let deadline = Instant::now() + LIMIT;
        loop {
            let phase = self.phase(workload).await;
            if expected(&phase) {
                return phase;
            }
            assert!(Instant::now() < deadline, "still {phase:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home.join("instances").join(self.instance.as_str())
    }

    pub(crate) fn workload_folder(&self, workload: &Workload) -> PathBuf {
        self.folder()
            .join("workloads")
            .join(workload.name.to_string())
    }

    /// The process of a workload that runs, as its state says.
    pub(crate) fn pid(&self, workload: &Workload) -> i32 {
        let state = self.workload_folder(workload).join("state.json");
        let state: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
        let pid = state["process"]["pid"]
            .as_i64()
            .unwrap_or_else(|| panic!("no process: {state}"));
        i32::try_from(pid).unwrap()
    }

    /// The supervisor's process.
    pub(crate) fn supervisor(&self) -> i32 {
        let lock = fs::read_to_string(self.folder().join("supervisor.lock")).unwrap();
        lock.trim().parse().unwrap()
    }

    /// The questions to the guardian so far: nanoseconds since 1970, workload, ending.
    pub(crate) fn questions(&self) -> Vec<(u128, String)> {
        let text = fs::read_to_string(self.home.join("guardian.log")).unwrap_or_default();
        let lines = text.lines().map(|line| line.split_once(' ').unwrap());
        lines
            .map(|(time, rest)| (time.parse().unwrap(), rest.to_owned()))
            .collect()
    }

    /// Runs a command in a workload; its output goes to the log of the test.
    pub(crate) async fn exec(&self, workload: &Workload, command: &[&str]) -> Result<i32, Fault> {
        let request = ExecRequest {
            workload: workload.name.clone(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            credentials: None,
        };
        self.engine.exec(&self.instance, &request).await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The supervisor first, or it would start again what ends.
        for _ in 0..100 {
            let mine = processes_of(&self.home);
            if mine.is_empty() {
                return;
            }
            for pid in mine {
                signal(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn engine(home: &Path) -> ProcessEngine {
    let servers = Path::new("/opt/shardyard-servers");
    ProcessEngine::new(ProcessSettings {
        home: home.to_owned(),
        program: program(),
        server_folders: vec![servers.to_owned()],
        search_path: Some("/usr/local/bin:/usr/bin:/bin".into()),
    })
}

/// The supervisor of the tests, built as an example beside them.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/supervise");
    // Cargo builds it with `cargo test`, and not with `cargo test --test real_process`.
    let made_from = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let changed = made_from.split_ascii_whitespace().skip(1).map(modified);
    let is_new = modified(&program).is_some() && changed.max() <= Some(modified(&program));
    assert!(is_new, "first: cargo build -p engines --examples");
    program
}

fn modified(path: impl AsRef<Path>) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The living processes that work in a state folder: supervisors first, by their arguments, and
/// then whatever runs there.
pub(crate) fn processes_of(home: &Path) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let home_text = home.to_str().unwrap();
    let mut found: Vec<(bool, i32)> = pids
        .filter(|pid| u32::try_from(*pid) != Ok(std::process::id()))
        .filter_map(|pid| {
            let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let supervises = arguments.contains(&format!("supervise\0--home\0{home_text}\0"));
            let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
            let input = fs::read_link(format!("/proc/{pid}/fd/0")).ok();
            let works =
                folder.starts_with(home) || input.is_some_and(|path| path.starts_with(home));
            (supervises || works).then_some((!supervises, pid))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, pid)| pid).collect()
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// The state of a process: `S`, `T`, `Z`; `None` where there is none.
pub(crate) fn process_state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a process has ended; its parent may be about to take note of that.
pub(crate) fn has_ended(pid: i32) -> bool {
    matches!(process_state(pid), None | Some('Z'))
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn is_open(ip: Ipv4Addr, port: u16) -> bool {
    let address = SocketAddr::new(IpAddr::V4(ip), port);
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// What a client of the distribution says about a server.
pub(crate) fn cli(ip: Ipv4Addr, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", &ip.to_string()])
        .args(command)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
