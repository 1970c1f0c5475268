//! Makes workloads that leave an engine nothing to decide: the service's parameters, the seat's
//! address, the rendered files, and for a node of a cluster the `nodes.conf` that it begins with.

use std::collections::BTreeMap;

use model::ids::WorkloadName;
use model::image::ServerVersion;
use model::instance::Instance;
use model::secret::Secret;
use model::view::{EngineView, ImageView, View};
use model::workload::{Existing, PlacedFile, Workload};

use crate::{create, turn};

/// The workloads of an instance, by name. `rendered` has the config files of each.
#[must_use]
pub fn workloads(
    instance: &Instance,
    view: &View,
    rendered: &BTreeMap<WorkloadName, Vec<PlacedFile>>,
) -> BTreeMap<WorkloadName, Workload> {
    let is_new = is_new(instance, view);
    let mut workloads = BTreeMap::new();
    for (name, seat) in &instance.layout.seats {
        let Some(service) = instance.spec.service(name.service()) else {
            continue;
        };
        let mut files = rendered.get(name).cloned().unwrap_or_default();
        if seat.node.is_some()
            && let Some(volume) = service.container.volumes.first()
        {
            let version = version_of(&view.engine, instance, name);
            let method = create::method_of(instance, version);
            let prepared = is_new
                .then(|| create::prepared(instance, name, version, method))
                .flatten()
                .or_else(|| create::joining(&instance.layout, name));
            files.extend(prepared.map(|text| PlacedFile {
                target: format!("{}/nodes.conf", volume.target.trim_end_matches('/')),
                text: Secret::new(text),
                existing: Existing::Keep,
            }));
        }
        let mut container = service.container.clone();
        container
            .environment
            .extend(turn::environment(instance, &service.name));
        workloads.insert(
            name.clone(),
            Workload {
                name: name.clone(),
                kind: service.kind,
                image: service.image.clone(),
                address: seat.address,
                expose: instance.expose,
                container,
                files,
                health: service.health.clone(),
                restart: service.deployment.restart,
                stop_timeout: service.deployment.stop_timeout,
            },
        );
    }
    workloads
}

/// Whether nothing was ever kept here: the instance was never ready, no volume holds a data set,
/// and no node holds a key. Only then may a node begin with a prepared claim on slots.
#[must_use]
pub fn is_new(instance: &Instance, view: &View) -> bool {
    let stored = view.engine.workloads.values();
    !instance.delivered
        && stored.clone().all(|workload| !workload.storage.has_dataset)
        && view
            .nodes
            .values()
            .filter_map(|node| node.report())
            .all(|report| report.keys == 0)
}

/// The version of the server that a workload's image turned out to be.
#[must_use]
pub fn version_of(
    view: &EngineView,
    instance: &Instance,
    workload: &WorkloadName,
) -> Option<ServerVersion> {
    let service = instance.spec.service(workload.service())?;
    match view.images.get(&service.image)? {
        ImageView::Server(version) => Some(*version),
        ImageView::Program | ImageView::Missing { .. } => None,
    }
}
