//! Looks at this host and at an instance's folder, for `observe` to translate.
//!
//! It only reads, needs no supervisor, and never fails: what cannot be read is in the view as
//! absent.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use model::ids::{HostName, InstanceName, WorkloadName};
use model::size::ByteSize;
use model::view::{HostView, Storage, WorkloadView};

use super::files::names_in;
use super::folders::{InstanceFolder, WorkloadFolder};
use super::kernel;
use super::launch::{Launch, Print, milliseconds};
use super::observe::dataset::{HEAD_BYTES, Loads, holds_data};
use super::observe::memory::{self, Memory};
use super::observe::{Seen, node, phase};
use super::record;
use super::state::State;

/// The most files of a workload that are counted. A server has a dozen; what lies there beyond
/// this is somebody else's, and only the size is too small then.
const FILES_MAX: usize = 10_000;

/// How deep the folders of a volume are followed; the servers use one level.
const DEPTH_MAX: usize = 8;

/// How deep a server's own files may lie: its `dir` may be a folder of the volume, and its
/// append-only files are in one more.
const OWN_DEPTH_MAX: usize = 2;

/// The longest `nodes.conf` that is read: 16384 nodes with a line of 200 bytes each are 3 MiB.
const NODES_CONF_BYTES_MAX: u64 = 8 << 20;

/// The longest config file that is looked at; the servers' own example has 100 KB.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What was read of a workload, before its health check.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: WorkloadName,
    pub(crate) launch: Option<Launch>,
    state: State,
    /// The process that lives.
    pid: Option<i32>,
    storage: Storage,
}

impl Found {
    /// Whether its process lives.
    pub(crate) const fn is_alive(&self) -> bool {
        self.pid.is_some()
    }

    /// What the core sees of it. `healthy` is of no meaning where no process lives.
    pub(crate) fn view(&self, healthy: bool, supervised: bool) -> WorkloadView {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = milliseconds(since.unwrap_or_default());
        let seen = match self.pid {
            Some(_) => Seen::Alive { healthy },
            None => Seen::Gone { supervised },
        };
        WorkloadView {
            phase: phase(&self.state, seen, now_ms),
            fingerprint: self.state.fingerprint.map(|Print(print)| print),
            restarts: self.state.restarts,
            memory: self.pid.and_then(kernel::resident),
            storage: self.storage,
        }
    }
}

/// All workloads of an instance.
pub(crate) fn workloads(instance: &InstanceFolder) -> Vec<Found> {
    let names = names_in(&instance.workloads()).unwrap_or_default();
    let workloads = names.iter().filter_map(|name| WorkloadName::parse(name));
    workloads
        .map(|name| {
            let folder = instance.workload(&name);
            workload(name, &folder)
        })
        .collect()
}

/// Whether anything of an instance runs or is to run.
pub(crate) fn is_anything_wanted(instance: &InstanceFolder) -> bool {
    let names = names_in(&instance.workloads()).unwrap_or_default();
    let mut workloads = names.iter().filter_map(|name| WorkloadName::parse(name));
    workloads.any(|name| {
        let folder = instance.workload(&name);
        let state: Option<State> = record::read(&folder.state()).present();
        state.as_ref().is_some_and(|state| state.course.is_wanted())
            || living_process(&folder, state.as_ref()).is_some()
    })
}

/// The memory that all workloads which are to run may use together, of every instance in this
/// state folder.
pub(crate) fn memory_promised(home: &Path) -> ByteSize {
    let instances = names_in(&home.join("instances")).unwrap_or_default();
    let instances = instances
        .iter()
        .filter_map(|name| InstanceName::new(name).ok());
    let promised = instances.flat_map(|name| {
        let instance = InstanceFolder::of(home, &name);
        let names = names_in(&instance.workloads()).unwrap_or_default();
        let workloads: Vec<WorkloadFolder> = names
            .iter()
            .filter_map(|name| Some(instance.workload(&WorkloadName::parse(name)?)))
            .collect();
        workloads
    });
    let bytes = promised.filter_map(|folder| {
        let state: State = record::read(&folder.state()).present()?;
        let launch: Launch = record::read(&folder.launch()).present()?;
        launch.memory_bytes.filter(|_| state.course.is_wanted())
    });
    ByteSize::bytes(bytes.fold(0, u64::saturating_add))
}

fn workload(name: WorkloadName, folder: &WorkloadFolder) -> Found {
    let launch: Option<Launch> = record::read(&folder.launch()).present();
    let state: Option<State> = record::read(&folder.state()).present();
    let pid = living_process(folder, state.as_ref());
    let mut state = state.unwrap_or_default();
    if state.fingerprint.is_none() && pid.is_some() {
        // Its state is lost. A launch definition does not change while a process runs.
        state.fingerprint = launch.as_ref().map(|launch| launch.fingerprint);
    }
    Found {
        storage: storage(folder, launch.as_ref()),
        name,
        launch,
        state,
        pid,
    }
}

/// The process of a workload: the recorded one if it lives; where nothing is recorded, whoever
/// holds the workload's lock.
fn living_process(folder: &WorkloadFolder, state: Option<&State>) -> Option<i32> {
    match state {
        Some(state) => {
            let process = state.process.as_ref()?;
            kernel::lives(process).then_some(process.pid)
        }
        None => {
            let holders = kernel::holders(&folder.lock());
            let leader = holders.into_iter().find(|holder| holder.leads);
            leader.map(|holder| holder.process.pid)
        }
    }
}

/// What lies in the folders in which a workload keeps its data.
fn storage(folder: &WorkloadFolder, launch: Option<&Launch>) -> Storage {
    let mut storage = Storage::default();
    let loads = launch.map_or(Loads::Either, what_it_loads);
    let volumes = names_in(&folder.volumes()).unwrap_or_default();
    let volumes = volumes.iter().map(|name| folder.volumes().join(name));
    let mut size = 0_u64;
    for volume in volumes.chain([folder.work()]) {
        for file in files_in(&volume) {
            size = size.saturating_add(file.length);
            if file.depth > OWN_DEPTH_MAX {
                continue;
            }
            storage.has_dataset |= loads.takes(&file.name, file.depth > 0)
                && holds_data(&head(&file.path), file.length);
            if file.name == "nodes.conf" {
                let text = read_start(&file.path, NODES_CONF_BYTES_MAX);
                storage.identity = storage.identity.or_else(|| node::identity(&text));
            }
        }
    }
    storage.size = ByteSize::bytes(size);
    storage
}

fn what_it_loads(launch: &Launch) -> Loads {
    let files = launch.places.files.iter();
    let texts: Vec<String> = files
        .map(|(_, path)| read_start(path, CONFIG_BYTES_MAX))
        .collect();
    Loads::of(&texts, &launch.arguments)
}

/// A file of a volume.
struct DataFile {
    path: PathBuf,
    name: String,
    length: u64,
    /// In how many folders below the volume it lies.
    depth: usize,
}

/// The files of a volume and its folders. A link is not followed, except the volume itself.
fn files_in(volume: &Path) -> Vec<DataFile> {
    let mut files = Vec::new();
    let mut folders = vec![(volume.to_owned(), 0)];
    // Each turn takes a folder; there are at most as many as files are counted.
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else {
                continue;
            };
            if files.len() + folders.len() >= FILES_MAX {
                return files;
            }
            if found.is_dir() && depth < DEPTH_MAX {
                folders.push((entry.path(), depth + 1));
            } else if found.is_file() {
                files.push(DataFile {
                    path: entry.path(),
                    name: entry.file_name().to_string_lossy().into_owned(),
                    length: found.len(),
                    depth,
                });
            }
        }
    }
    files
}

fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    // What cannot be read is empty here and counts as data, because its length is not.
    if let Ok(file) = File::open(path) {
        let _ = file.take(HEAD_BYTES as u64).read_to_end(&mut head);
    }
    head
}

fn read_start(path: &Path, limit: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// This host.
pub(crate) fn host() -> HostView {
    let system = rustix::system::uname();
    let memory = within_group(Memory::parse(&read_text(Path::new("/proc/meminfo"))));
    HostView {
        name: HostName::new(system.nodename().to_string_lossy()),
        memory_total: ByteSize::bytes(memory.total),
        memory_available: ByteSize::bytes(memory.available),
    }
}

/// How many neighbours the kernel remembers in the networks of this host, those of containers
/// included; `None` where it does not say so, as in a container.
pub(crate) fn neighbours_max() -> Option<u64> {
    let text = read_text(Path::new("/proc/sys/net/ipv4/neigh/default/gc_thresh3"));
    text.trim().parse().ok()
}

fn within_group(memory: Memory) -> Memory {
    let cgroup = read_text(Path::new("/proc/self/cgroup"));
    let mounts = read_text(Path::new("/proc/self/mountinfo"));
    let (names, folders) = memory::group_folders(&cgroup, &mounts);
    folders
        .iter()
        .filter_map(|folder| {
            let limit = read_text(&folder.join(names.limit));
            let used = read_text(&folder.join(names.used));
            let stat = read_text(&folder.join("memory.stat"));
            memory::group(names, &limit, &used, &stat)
        })
        .fold(memory, Memory::within)
}

fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
