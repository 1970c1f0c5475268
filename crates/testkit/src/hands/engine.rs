//! The simulated platform: what the process engine means, without processes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::{InstanceName, WorkloadName};
use model::image::ImageRef;
use model::instance::EngineKind;
use model::port::{AddressRequest, Answer, Capabilities, Engine, ExecRequest, LogRequest};
use model::spec::ServiceKind;
use model::step::EngineStep;
use model::view::{Ending, EngineView};
use model::workload::Workload;
use tokio::time::sleep;

use super::{ROUND_TRIP, suffer};
use crate::realm::{Realm, UnitName};
use crate::unit::Life;
use crate::world::World;

/// The pause between two looks at what a process does.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long a process is watched after its start for an early end, unless it listens before.
const FIRST_MOMENTS: Duration = Duration::from_millis(50);

/// The platform of a simulated world.
#[derive(Clone, Debug)]
pub struct SimEngine {
    world: World,
}

/// How a start stands.
enum Standing {
    /// It runs, or is over as it should be.
    Done(Result<(), Fault>),
    /// It takes a while.
    Pending,
}

impl SimEngine {
    pub(crate) const fn new(world: World) -> Self {
        Self { world }
    }

    async fn make_true(&self, instance: &InstanceName, step: &EngineStep) -> Result<(), Fault> {
        sleep(ROUND_TRIP).await;
        // Whoever wants something done starts a supervisor where there is none.
        self.world.look(Realm::mind);
        match step {
            EngineStep::EnsureRunning(workload) => self.run(instance, workload).await,
            EngineStep::EnsureDone(job) => self.finish(instance, job).await,
            EngineStep::EnsureStopped(workload) => {
                self.end(&(instance.clone(), workload.clone())).await;
                Ok(())
            }
            EngineStep::EnsureDeleted(workload) => {
                let name = (instance.clone(), workload.clone());
                self.end(&name).await;
                self.world.look(|realm| realm.forget(&name));
                Ok(())
            }
        }
    }

    async fn run(&self, instance: &InstanceName, workload: &Workload) -> Result<(), Fault> {
        let name = (instance.clone(), workload.name.clone());
        self.world
            .look(|realm| begin(realm, instance, workload, &name))?;
        let began = self.world.now();
        loop {
            let waited = self.world.now().saturating_sub(began);
            match self.world.look(|realm| standing(realm, &name, waited)) {
                Standing::Done(result) => return result,
                Standing::Pending => sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn finish(&self, instance: &InstanceName, job: &Workload) -> Result<(), Fault> {
        let name = (instance.clone(), job.name.clone());
        let is_done = |realm: &mut Realm| {
            let unit = realm.units.get(&name);
            unit.is_some_and(|it| {
                matches!(it.life, Life::Over(Ending::Exit(0)))
                    && it.started_with == Some(job.fingerprint())
            })
        };
        if self.world.look(is_done) {
            return Ok(());
        }
        self.world
            .look(|realm| begin(realm, instance, job, &name))?;
        loop {
            let ending = self.world.look(|realm| {
                let unit = realm.units.get(&name)?;
                match unit.life {
                    Life::Over(ending) => Some(ending),
                    Life::Stopped => Some(Ending::Unseen),
                    Life::Starting
                    | Life::Loading
                    | Life::Serving(_)
                    | Life::Working
                    | Life::Stopping
                    | Life::Asking { .. }
                    | Life::Pausing { .. }
                    | Life::Held { .. } => None,
                }
            });
            match ending {
                Some(Ending::Exit(0)) => return Ok(()),
                Some(ending) => {
                    let message = format!("the job {} failed: {ending}", job.name);
                    return Err(Fault::new("SY3012", Class::Failed, message));
                }
                None => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Tells a workload to end, and waits until it has.
    async fn end(&self, name: &UnitName) {
        self.world.look(|realm| realm.stop(name));
        while self.world.look(|realm| {
            let unit = realm.units.get(name);
            unit.is_some_and(|it| it.is_alive())
        }) {
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// Puts the files in place and starts the process, unless it runs.
fn begin(
    realm: &mut Realm,
    instance: &InstanceName,
    workload: &Workload,
    name: &UnitName,
) -> Result<(), Fault> {
    let alive = realm.units.get(name).filter(|unit| unit.is_alive());
    if let Some(unit) = alive {
        if unit.started_with == Some(workload.fingerprint()) {
            return Ok(());
        }
        let message = format!("{} runs with another definition", workload.name);
        return Err(Fault::new("SY3010", Class::Refused, message));
    }
    realm.define(instance, workload);
    let has_keeper = realm.has_keeper;
    let Some(unit) = realm.units.get_mut(name) else {
        return Ok(());
    };
    unit.forgive();
    match unit.life {
        // Somebody is at it, and the verdict counts for this start, too.
        Life::Asking { .. } => {}
        Life::Held { .. } | Life::Pausing { .. } | Life::Over(Ending::Unseen)
            if has_keeper && workload.kind == ServiceKind::Server =>
        {
            realm.ask_again(name);
        }
        Life::Stopped
        | Life::Starting
        | Life::Loading
        | Life::Serving(_)
        | Life::Working
        | Life::Stopping
        | Life::Held { .. }
        | Life::Pausing { .. }
        | Life::Over(_) => realm.start(name),
    }
    Ok(())
}

/// How a start stands after a while.
fn standing(realm: &mut Realm, name: &UnitName, waited: Duration) -> Standing {
    let workload = &name.1;
    let fail = |code, class, message| Standing::Done(Err(Fault::new(code, class, message)));
    let Some(unit) = realm.units.get(name) else {
        return fail("SY3019", Class::Failed, format!("{workload} is gone"));
    };
    match &unit.life {
        Life::Loading | Life::Serving(_) | Life::Working => Standing::Done(Ok(())),
        Life::Starting if waited >= FIRST_MOMENTS => Standing::Done(Ok(())),
        Life::Starting | Life::Stopping | Life::Asking { .. } => Standing::Pending,
        Life::Pausing { last, .. } if waited >= FIRST_MOMENTS => {
            let message = format!("{workload} ended at once: {last}");
            fail("SY3009", Class::Failed, message)
        }
        Life::Pausing { .. } => Standing::Pending,
        Life::Held { reason } => {
            let message = format!("{workload} is kept from starting: {reason}");
            fail("SY3011", Class::Refused, message)
        }
        Life::Over(ending) => {
            let message = format!("{workload} ended at once: {ending}");
            fail("SY3009", Class::Failed, message)
        }
        Life::Stopped => {
            let message = format!("{workload}: it was told to stop meanwhile");
            fail("SY3019", Class::Failed, message)
        }
    }
}

impl Engine for SimEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: EngineKind::Process,
            ignored: Vec::new(),
        }
    }

    /// Addresses from 10.0.0.1 on, without those that are held.
    fn propose_addresses<'a>(
        &'a self,
        request: &'a AddressRequest,
    ) -> Answer<'a, Vec<NodeAddress>> {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            let free = (1_u32..)
                .map(|number| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number)))
                .filter(|ip| !request.taken.contains(ip));
            let ports = request.ports.iter().map(|(_, port)| *port);
            Ok(free
                .zip(ports)
                .map(|(ip, port)| NodeAddress::new(ip, port))
                .collect())
        })
    }

    fn observe<'a>(
        &'a self,
        instance: &'a InstanceName,
        images: &'a BTreeSet<ImageRef>,
    ) -> Answer<'a, EngineView> {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            Ok(self.world.look(|realm| EngineView {
                hosts: realm.site.hosts.clone(),
                images: images
                    .iter()
                    .map(|image| (image.clone(), realm.site.image(image)))
                    .collect(),
                workloads: realm
                    .units
                    .iter()
                    .filter(|((of, _), _)| of == instance)
                    .map(|((_, name), unit)| (name.clone(), unit.view(realm.now)))
                    .collect(),
                unattended: !realm.is_minded && realm.is_anything_alive(instance),
            }))
        })
    }

    fn apply<'a>(&'a self, instance: &'a InstanceName, step: &'a EngineStep) -> Answer<'a, ()> {
        Box::pin(async move {
            let how = self.world.look(|realm| realm.mishaps.call());
            let deed = self.make_true(instance, step);
            suffer(&self.world, how, deed, ("the engine", ())).await
        })
    }

    fn logs<'a>(
        &'a self,
        instance: &'a InstanceName,
        request: &'a LogRequest,
        line: &'a mut (dyn FnMut(&str) + Send),
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = (instance.clone(), request.workload.clone());
            let log = self
                .world
                .look(|realm| realm.units.get(&name).map(|unit| unit.log.clone()));
            let log = log.ok_or_else(|| unknown(&request.workload))?;
            let skipped = log.len().saturating_sub(request.tail);
            for text in &log[skipped..] {
                line(text);
            }
            if request.follow {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn exec<'a>(&'a self, instance: &'a InstanceName, request: &'a ExecRequest) -> Answer<'a, i32> {
        Box::pin(async move {
            let name = (instance.clone(), request.workload.clone());
            let is_known = self.world.look(|realm| realm.units.get(&name).is_some());
            // Every command ends well where its workload is known.
            is_known
                .then_some(0)
                .ok_or_else(|| unknown(&request.workload))
        })
    }

    fn ensure_minded<'a>(&'a self, _: &'a InstanceName) -> Answer<'a, ()> {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            self.world.look(Realm::mind);
            Ok(())
        })
    }

    fn release<'a>(&'a self, instance: &'a InstanceName) -> Answer<'a, ()> {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            let left = self.world.look(|realm| {
                let mut names = realm.units.keys();
                names.find(|(of, _)| of == instance).cloned()
            });
            match left {
                None => Ok(()),
                Some((_, name)) => {
                    let message = format!("{name} is still there");
                    Err(Fault::new("SY3020", Class::Failed, message))
                }
            }
        })
    }
}

fn unknown(workload: &WorkloadName) -> Fault {
    Fault::new("SY3016", Class::Usage, format!("{workload} was never made"))
}
