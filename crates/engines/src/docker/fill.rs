//! Puts files into volumes, each with its owner, before a container runs that needs them.
//!
//! Whatever goes into a volume goes over the daemon's API, in an archive, so that it works on a
//! daemon elsewhere and nothing of it stands in an argument or a variable.

use std::sync::{Mutex, PoisonError};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, CreateContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use model::ids::InstanceName;
use model::workload::{Existing, Workload};
use tokio::sync::{Mutex as Turn, oneshot};

use super::apply::{ApplyError, Scene};
use super::archive::{self, Pack};
use super::client::{Daemon, DaemonError};
use super::names::Part;
use super::storage::{self, remove_by_id};
use super::translate::{Blueprint, Storage, StoredFile};

/// How many workloads have their volumes filled together, at most.
const TOGETHER_MAX: usize = 50;

/// Where the volumes that are filled together lie side by side.
const FOLDER: &str = "/volumes";

/// Fills the volumes of new containers. A container that never runs, and an archive that is
/// unpacked through it, cost a tenth of a second, so whoever waits for that takes part in the next
/// one.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    waiting: Mutex<Vec<Waiting>>,
    turn: Turn<()>,
}

/// A workload whose volumes are to be filled.
#[derive(Debug)]
struct Waiting {
    instance: InstanceName,
    own: Own,
    /// Told whether they are.
    told: oneshot::Sender<bool>,
}

/// The volumes of a workload, with the files that they are to get.
#[derive(Clone, Debug)]
struct Own {
    image: Option<String>,
    volumes: Vec<Storage>,
}

impl Fills {
    /// Fills the volumes of a container that was never started, and gives them their owner.
    pub(crate) async fn fill(
        &self,
        scene: Scene<'_>,
        workload: &Workload,
        (blueprint, container): (&Blueprint, &str),
    ) -> Result<(), ApplyError> {
        let mut own = Own {
            image: blueprint.body.image.clone(),
            volumes: blueprint.volumes.clone(),
        };
        for volume in &mut own.volumes {
            let wanted = wanted(scene, container, volume).await?;
            volume.files = wanted.into_iter().cloned().collect();
        }
        if own.volumes.is_empty() {
            return Ok(());
        }
        let mut told = self.wait(scene, own.clone());
        let _turn = self.turn.lock().await;
        loop {
            match told.try_recv() {
                Ok(true) => return Ok(()),
                // What went wrong may be another's fault: by itself it gets its own.
                Ok(false) | Err(oneshot::error::TryRecvError::Closed) => {
                    return fill_all(scene, workload, &[own]).await;
                }
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.fill_waiting(scene, workload).await;
                }
            }
        }
    }

    fn wait(&self, scene: Scene<'_>, own: Own) -> oneshot::Receiver<bool> {
        let (told, hears) = oneshot::channel();
        let instance = scene.owner.instance.clone();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(Waiting {
            instance,
            own,
            told,
        });
        hears
    }

    /// Fills those of an instance that have waited longest.
    async fn fill_waiting(&self, scene: Scene<'_>, workload: &Workload) {
        let batch = self.take(&scene.owner.instance);
        let all: Vec<Own> = batch.iter().map(|it| it.own.clone()).collect();
        // Alone it is filled by whoever waits, and hears what went wrong.
        let is_done = all.len() > 1 && fill_all(scene, workload, &all).await.is_ok();
        for it in batch {
            // Whoever has left meanwhile need not know.
            let _ = it.told.send(is_done);
        }
    }

    fn take(&self, instance: &InstanceName) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // The volumes of one that has left may be gone, and would be made anew without a label.
        waiting.retain(|it| !it.told.is_closed());
        let mut taken = 0;
        let is_taken = |it: &mut Waiting| {
            let is_taken = it.instance == *instance && taken < TOGETHER_MAX;
            taken += usize::from(is_taken);
            is_taken
        };
        waiting.extract_if(.., is_taken).collect()
    }
}

/// Fills volumes by way of a second container that never runs and has them side by side in a
/// folder: Docker changes no owner of the folder in which it unpacks, and a read-only container has
/// no folder above its volumes that could be unpacked in. What the image has at a volume's place is
/// in the volume by now.
async fn fill_all(scene: Scene<'_>, workload: &Workload, all: &[Own]) -> Result<(), ApplyError> {
    let mut packs = Vec::new();
    let mut mounts = Vec::new();
    for (number, volume) in (1..).zip(all.iter().flat_map(|own| &own.volumes)) {
        packs.push(Pack {
            folder: Some(number.to_string()),
            owner: volume.owner,
            files: volume.files.iter().collect(),
        });
        mounts.push(Mount {
            target: Some(format!("{FOLDER}/{number}")),
            source: Some(volume.name.clone()),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        });
    }
    let name = scene.owner.fill();
    // One that was left over by a try that was cut off.
    storage::remove(scene.daemon, &name, scene.owner).await?;
    let body = ContainerCreateBody {
        image: all.first().and_then(|own| own.image.clone()),
        labels: Some(scene.owner.labels(Part::Fill)),
        cmd: Some(vec!["true".to_owned()]),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let question = scene.daemon.docker.create_container(Some(options), body);
    let made = scene.daemon.ask("make a container", question).await?;
    let unpacked = unpack(scene, workload, (&made.id, FOLDER), &packs).await;
    remove_by_id(scene.daemon, &made.id).await?;
    unpacked
}

/// Puts the files into the volumes of a container that does not run.
pub(crate) async fn deliver(
    scene: Scene<'_>,
    workload: &Workload,
    (blueprint, container): (&Blueprint, &str),
) -> Result<(), ApplyError> {
    for volume in &blueprint.volumes {
        let pack = Pack {
            folder: None,
            owner: volume.owner,
            files: wanted(scene, container, volume).await?,
        };
        if !pack.files.is_empty() {
            unpack(scene, workload, (container, &volume.target), &[pack]).await?;
        }
    }
    Ok(())
}

/// The files that a volume is to get.
async fn wanted<'v>(
    scene: Scene<'_>,
    container: &str,
    volume: &'v Storage,
) -> Result<Vec<&'v StoredFile>, DaemonError> {
    let mut files = Vec::new();
    for file in &volume.files {
        let path = format!("{}/{}", volume.target, file.path);
        let keeps =
            file.existing == Existing::Keep && is_there(scene.daemon, container, &path).await?;
        if !keeps {
            files.push(file);
        }
    }
    Ok(files)
}

async fn is_there(daemon: &Daemon, container: &str, path: &str) -> Result<bool, DaemonError> {
    let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
    let question = daemon
        .docker
        .get_container_archive_info(container, Some(options));
    let found = daemon.ask_for("look for a file", question).await?;
    Ok(found.is_some())
}

async fn unpack(
    scene: Scene<'_>,
    workload: &Workload,
    (container, folder): (&str, &str),
    packs: &[Pack<'_>],
) -> Result<(), ApplyError> {
    let packed = archive::write(packs).map_err(|source| ApplyError::Archive {
        workload: workload.name.clone(),
        source,
    })?;
    let options = UploadToContainerOptionsBuilder::new().path(folder).build();
    let body = bollard::body_full(packed.into());
    let docker = &scene.daemon.docker;
    let question = docker.upload_to_container(container, Some(options), body);
    let what = format!("put the files of {} in place", workload.name);
    Ok(scene.daemon.ask(&what, question).await?)
}
