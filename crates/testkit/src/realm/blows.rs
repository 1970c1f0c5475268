//! The mishaps that strike the world itself, each at its time.

use model::ids::WorkloadName;
use model::view::Ending;

use super::{Event, Process, Realm, UnitName};
use crate::mishap::{Blow, Fate, Mishap};
use crate::server::Keys;
use crate::unit::Life;

impl Realm {
    /// Plans a mishap.
    pub(crate) fn plan_mishap(&mut self, mishap: Mishap) {
        let at = match &mishap {
            Mishap::Blow { at, .. } => Some(*at),
            Mishap::Call { .. } | Mishap::Command { .. } => None,
        };
        let number = self.mishaps.plan(mishap);
        if let Some(at) = at {
            self.plan(at.saturating_sub(self.now), Event::Strikes(number));
        }
    }

    pub(super) fn strikes(&mut self, number: usize) {
        let Some(Mishap::Blow { what, .. }) = self.mishaps.get(number).cloned() else {
            return;
        };
        let has_struck = match &what {
            Blow::ProcessDies(workload) => self.strike_process(workload, |_| {}),
            Blow::DataLost(workload) => self.strike_process(workload, |unit| {
                unit.disk.keys = Keys::new();
                unit.disk.functions.clear();
            }),
            Blow::DiskLost(workload) => self.lose_disk(workload),
            Blow::PowerLost => self.lose_power(),
            Blow::SupervisorDies => self.lose_supervisor(),
            Blow::LinkCut { between, lasting } => {
                let address = |name| {
                    let unit = self.units.get(&self.find(name)?)?;
                    Some(unit.address())
                };
                match (address(&between.0), address(&between.1)) {
                    (Some(one), Some(other)) => {
                        self.network.cut((one, other), self.now + *lasting);
                        true
                    }
                    (_, _) => false,
                }
            }
            Blow::SlowStart { workload, by } => {
                // It strikes with the next start.
                self.slow_starts.insert(workload.clone(), (*by, number));
                return;
            }
            Blow::HandshakeLost(workload) => {
                // It strikes once somebody introduces himself.
                self.forgetful.push(workload.clone());
                return;
            }
        };
        let fate = if has_struck {
            Fate::Struck
        } else {
            Fate::Missed
        };
        self.mishaps.settle(number, fate);
    }

    fn strike_process(
        &mut self,
        workload: &WorkloadName,
        also: impl FnOnce(&mut crate::unit::Unit),
    ) -> bool {
        let Some(name) = self.find(workload) else {
            return false;
        };
        let has_struck = self.kill(&name);
        if let Some(unit) = self.units.get_mut(&name).filter(|_| has_struck) {
            also(unit);
        }
        has_struck
    }

    fn lose_disk(&mut self, workload: &WorkloadName) -> bool {
        let Some(name) = self.find(workload) else {
            return false;
        };
        self.kill(&name);
        self.forget(&name);
        true
    }

    /// The supervisor is gone; what runs goes on, and what ends is not started again.
    fn lose_supervisor(&mut self) -> bool {
        for unit in self.units.values_mut() {
            if let Life::Asking { .. } | Life::Pausing { .. } = unit.life {
                unit.life = Life::Over(Ending::Unseen);
            }
        }
        std::mem::replace(&mut self.is_minded, false)
    }

    /// Nothing runs any more, and nobody is there to start it again.
    fn lose_power(&mut self) -> bool {
        let names: Vec<UnitName> = self.units.keys().cloned().collect();
        self.lose_supervisor();
        let mut has_struck = false;
        for name in names {
            has_struck |= self.kill(&name);
        }
        has_struck
    }

    /// The acquaintance of a process with a newcomer was one-sided.
    pub(super) fn newcomer_was_forgotten(&mut self, process: Process) {
        let Some((_, workload)) = self.by_address.get(&process.address) else {
            return;
        };
        let planned = self.mishaps.fates().iter().position(|(mishap, fate)| {
            let Mishap::Blow { what, .. } = mishap else {
                return false;
            };
            *fate == Fate::Pending && *what == Blow::HandshakeLost(workload.clone())
        });
        if let Some(number) = planned {
            self.mishaps.settle(number, Fate::Struck);
        }
    }
}
