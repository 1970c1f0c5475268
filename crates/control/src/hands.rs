//! What the driver works with: a platform, the servers, time, and somebody who listens.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use model::address::NodeAddress;
use model::event::{Audience, Event};
use model::fault::Fault;
use model::ids::WorkloadName;
use model::image::ImageRef;
use model::instance::Instance;
use model::migration::{MoveProgress, Overseer, Wish};
use model::port::{Clock, Engine, Nodes};
use model::view::{View, WorkloadPhase};

use crate::cancel::Cancel;
use crate::engines::Engines;

/// The hands of the driver. In the product they are real, in the simulation they are not.
#[derive(Clone)]
pub struct Hands {
    /// The platforms.
    pub engines: Engines,
    /// The servers.
    pub nodes: Arc<dyn Nodes>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who hears what happens.
    pub audience: Arc<dyn Audience>,
    /// Whether the user wants to stop.
    pub cancel: Cancel,
}

impl fmt::Debug for Hands {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hands")
    }
}

impl Hands {
    /// Tells the audience.
    pub(crate) fn tell(&self, event: Event) {
        self.audience.tell(event);
    }

    /// Who oversees the moving of slots: the audience hears of it, and the user's wish to stop ends
    /// it.
    pub(crate) const fn overseer(&self) -> MoveOverseer<'_> {
        MoveOverseer(self)
    }

    /// The platform of an instance.
    pub(crate) fn engine(&self, instance: &Instance) -> Result<&Arc<dyn Engine>, Fault> {
        self.engines.of(instance.engine)
    }

    /// Observes an instance: its platform first, then those of its servers that run.
    ///
    /// # Errors
    /// Where the platform itself cannot be asked.
    pub async fn observe(&self, instance: &Instance) -> Result<View, Fault> {
        let images: BTreeSet<ImageRef> = instance
            .spec
            .services
            .iter()
            .map(|service| service.image.clone())
            .collect();
        let platform = self.engine(instance)?;
        let mut engine = platform.observe(&instance.name, &images).await?;
        let servers = plan::converge::server_addresses(instance);
        let running: Vec<NodeAddress> = instance
            .layout
            .seats
            .iter()
            .filter(|(name, seat)| {
                let phase = engine.workloads.get(name).map(|it| &it.phase);
                servers.contains(&seat.address)
                    && matches!(phase, Some(WorkloadPhase::Running { .. }))
            })
            .map(|(_, seat)| seat.address)
            .collect();
        let nodes = self
            .nodes
            .observe(&running, instance.spec.operator.as_ref())
            .await;
        let silent: Vec<WorkloadName> = nodes
            .iter()
            .filter(|(_, node)| node.report().is_none())
            .filter_map(|(address, _)| instance.layout.workload_at(*address).cloned())
            .collect();
        if !silent.is_empty() {
            let stored = platform.storages(&instance.name, &silent).await?;
            for (name, storage) in stored {
                if let Some(workload) = engine.workloads.get_mut(&name) {
                    workload.storage = storage;
                }
            }
        }
        Ok(View { engine, nodes })
    }
}

/// Oversees the moving of slots for whoever runs a command.
#[derive(Debug)]
pub(crate) struct MoveOverseer<'a>(&'a Hands);

impl Overseer for MoveOverseer<'_> {
    fn progress(&self, progress: &MoveProgress) {
        self.0.tell(Event::Moving(progress.clone()));
    }

    fn wish(&self) -> Wish {
        if self.0.cancel.is_cancelled() {
            Wish::Stop
        } else if self.0.cancel.stands_still() {
            Wish::Pause
        } else {
            Wish::GoOn
        }
    }
}
