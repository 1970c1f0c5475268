//! What the driver works with: a platform, the servers, time, and somebody who listens.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use model::address::NodeAddress;
use model::event::{Audience, Event};
use model::fault::Fault;
use model::image::ImageRef;
use model::instance::Instance;
use model::migration::{MoveProgress, Overseer, Wish};
use model::port::{Clock, Engine, Nodes};
use model::view::{View, WorkloadPhase};

use crate::cancel::Cancel;

/// The hands of the driver. In the product they are real, in the simulation they are not.
#[derive(Clone)]
pub struct Hands {
    /// The platform.
    pub engine: Arc<dyn Engine>,
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
        let engine = self.engine.observe(&instance.name, &images).await?;
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
        } else {
            Wish::GoOn
        }
    }
}
