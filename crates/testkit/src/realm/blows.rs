//! The mishaps that strike the world itself, each at its time.

use model::ids::WorkloadName;
use model::slots::Slot;
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
            Blow::HandedOver(workload) => self.hand_over(workload),
            Blow::SlotOpened { slot, to, at_both } => self.open_slot(*slot, to, *at_both),
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

    fn server_process(&self, workload: &WorkloadName) -> Option<Process> {
        let unit = self.units.get(&self.find(workload)?)?;
        self.process_at(unit.address())
    }

    /// A replica takes over, or the first replica of a primary does.
    fn hand_over(&mut self, workload: &WorkloadName) -> bool {
        let Some(process) = self.server_process(workload) else {
            return false;
        };
        let asked = self.touch(process, None, |server, now, dice| {
            server.ask_for_handover(now, dice)
        });
        asked == Some(Ok(()))
    }

    fn open_slot(&mut self, slot: Slot, to: &WorkloadName, at_both: bool) -> bool {
        let target = self.server_process(to).and_then(|process| {
            let server = self.server_at(process.address)?;
            Some((process, server.id)).filter(|_| server.is_primary())
        });
        let owner = self
            .servers()
            .find(|server| server.is_primary() && server.own_slots().set().contains(slot))
            .map(|server| (server.id, server.address));
        let (Some((target, target_id)), Some((owner_id, address))) = (target, owner) else {
            return false;
        };
        let Some(owner) = self.process_at(address).filter(|it| *it != target) else {
            return false;
        };
        if at_both {
            self.touch(target, None, |server, _, _| {
                server.set_importing(slot, owner_id)
            });
        }
        let opened = self.touch(owner, None, |server, _, _| {
            server.set_migrating(slot, target_id)
        });
        opened == Some(Ok(()))
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
        let Some((_, workload)) = self.units.name_at(process.address) else {
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
