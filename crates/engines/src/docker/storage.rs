//! Looks into the volumes of workloads: what data set is there, and which node it was.
//!
//! By archives of the daemon, so that it works on another host as well. A container that is there
//! is read through, running or not; where there is none, one is made for the look, which never
//! runs, sees the volumes read-only, and is removed at once.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures::{StreamExt, TryStreamExt, stream};
use model::ids::WorkloadName;
use model::size::ByteSize;
use model::view::Storage;

use super::archive::{self, Content};
use super::client::{Daemon, DaemonError};
use super::names::{self, Owner, Part};
use super::observe::{Seen, loads};
use crate::process::observe::dataset::Loads;
use crate::process::observe::node;

/// How much of a volume is read. A server that holds nothing has some kilobytes; what is larger is
/// a data set, and shows as one by the first part of its first file.
const BYTES_MAX: usize = 4 << 20;

/// How many are looked into at once. Each look starts a process of the daemon, some 30 ms of a
/// processor.
const LOOKS_MAX: usize = 4;

/// What the volumes of these containers hold.
pub(crate) async fn of_containers(
    daemon: &Daemon,
    containers: &[&Seen],
) -> Result<BTreeMap<WorkloadName, Storage>, DaemonError> {
    let containers: Vec<Seen> = containers.iter().map(|seen| (*seen).clone()).collect();
    stream::iter(containers)
        .map(|seen| async move {
            let storage = look(daemon, &seen.id, &seen.data, seen.loads).await?;
            Ok((seen.workload, storage))
        })
        .buffer_unordered(LOOKS_MAX)
        .try_collect()
        .await
}

/// What is in one container's volumes.
async fn look(
    daemon: &Daemon,
    container: &str,
    folders: &[String],
    loads: Loads,
) -> Result<Storage, DaemonError> {
    let mut storage = Storage::default();
    for folder in folders {
        let (mut content, was_cut) = read(daemon, container, folder, loads).await?;
        if was_cut && content.nodes_conf.is_none() {
            let path = format!("{}/nodes.conf", folder.trim_end_matches('/'));
            let (own, _) = read(daemon, container, &path, loads).await?;
            content.nodes_conf = own.nodes_conf;
        }
        storage.has_dataset |= content.has_dataset || was_cut;
        let identity = content.nodes_conf.as_deref().and_then(node::identity);
        storage.identity = storage.identity.or(identity);
        let size = storage.size.as_bytes().saturating_add(content.size);
        storage.size = ByteSize::bytes(size);
    }
    Ok(storage)
}

/// Reads the archive of a path, up to a limit, and says whether there was more.
async fn read(
    daemon: &Daemon,
    container: &str,
    path: &str,
    loads: Loads,
) -> Result<(Content, bool), DaemonError> {
    let options = DownloadFromContainerOptionsBuilder::new()
        .path(path)
        .build();
    let mut parts = Box::pin(
        daemon
            .docker
            .download_from_container(container, Some(options)),
    );
    let mut bytes = Vec::new();
    let mut was_cut = false;
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(error) => match daemon.failure("read a volume", error) {
                error if error.is_missing() => return Ok((Content::default(), false)),
                error => return Err(error),
            },
        }
        if bytes.len() > BYTES_MAX {
            was_cut = true;
            break;
        }
    }
    Ok((archive::read(&bytes, loads), was_cut))
}

/// A volume of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OwnVolume {
    pub(crate) name: String,
    pub(crate) workload: WorkloadName,
    is_data: bool,
    target: String,
    image: String,
    loads: Loads,
}

/// All volumes of an instance.
pub(crate) async fn volumes(daemon: &Daemon, owner: &Owner) -> Result<Vec<OwnVolume>, DaemonError> {
    let options = ListVolumesOptionsBuilder::new()
        .filters(&owner.filter())
        .build();
    let question = daemon.docker.list_volumes(Some(options));
    let found = daemon.ask("list volumes", question).await?;
    let volumes = found.volumes.unwrap_or_default().into_iter();
    Ok(volumes
        .filter(|volume| owner.owns(&volume.labels))
        .filter_map(|volume| own(&volume.name, &volume.labels))
        .collect())
}

fn own(name: &str, labels: &HashMap<String, String>) -> Option<OwnVolume> {
    let label = |name: &str| labels.get(name).cloned();
    Some(OwnVolume {
        name: name.to_owned(),
        workload: WorkloadName::parse(&label(names::WORKLOAD)?)?,
        is_data: label(names::PART)? == Part::Data.as_str(),
        target: label(names::TARGET)?,
        image: label(names::IMAGE)?,
        loads: loads(labels),
    })
}

/// What the volumes of workloads hold whose containers are gone.
pub(crate) async fn of_volumes(
    daemon: &Daemon,
    owner: &Owner,
    orphans: BTreeMap<WorkloadName, Vec<OwnVolume>>,
) -> BTreeMap<WorkloadName, Storage> {
    stream::iter(orphans)
        .map(|(workload, volumes)| async move {
            let data: Vec<&OwnVolume> = volumes.iter().filter(|it| it.is_data).collect();
            let storage = match data.first() {
                None => Storage::default(),
                // What cannot be read counts as data.
                Some(first) => through_a_container(daemon, owner, (&workload, first), &data)
                    .await
                    .unwrap_or(Storage {
                        has_dataset: true,
                        ..Storage::default()
                    }),
            };
            (workload, storage)
        })
        .buffer_unordered(LOOKS_MAX)
        .collect()
        .await
}

async fn through_a_container(
    daemon: &Daemon,
    owner: &Owner,
    (workload, first): (&WorkloadName, &OwnVolume),
    data: &[&OwnVolume],
) -> Result<Storage, DaemonError> {
    let name = owner.look(workload);
    // One that was left over by a look that was cut off.
    remove(daemon, &name, owner).await?;
    let mounts = data.iter().map(|volume| Mount {
        target: Some(volume.target.clone()),
        source: Some(volume.name.clone()),
        typ: Some(MountType::VOLUME),
        read_only: Some(true),
        ..Mount::default()
    });
    let body = ContainerCreateBody {
        image: Some(first.image.clone()),
        labels: Some(owner.workload_labels(Part::Look, workload)),
        cmd: Some(vec!["true".to_owned()]),
        network_disabled: Some(true),
        host_config: Some(HostConfig {
            mounts: Some(mounts.collect()),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&name).build();
    let question = daemon.docker.create_container(Some(options), body);
    let made = daemon.ask("look into a volume", question).await?;
    let folders: Vec<String> = data.iter().map(|volume| volume.target.clone()).collect();
    let storage = look(daemon, &made.id, &folders, first.loads).await;
    remove(daemon, &name, owner).await?;
    storage
}

/// Removes a container by its name, if it is ours.
pub(crate) async fn remove(daemon: &Daemon, name: &str, owner: &Owner) -> Result<(), DaemonError> {
    let question = daemon.docker.inspect_container(name, None);
    let Some(found) = daemon.ask_for("inspect a container", question).await? else {
        return Ok(());
    };
    let labels = found.config.and_then(|it| it.labels).unwrap_or_default();
    let (true, Some(id)) = (owner.owns(&labels), found.id) else {
        return Ok(());
    };
    remove_by_id(daemon, &id).await
}

/// Removes a container with the volumes that have no name. What is gone or going is as it should
/// be.
pub(crate) async fn remove_by_id(daemon: &Daemon, id: &str) -> Result<(), DaemonError> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    let question = daemon.docker.remove_container(id, Some(options));
    match daemon.ask("remove a container", question).await {
        // 409: another removal is under way.
        Err(error) if error.is_missing() || error.status() == Some(409) => Ok(()),
        removed => removed,
    }
}
