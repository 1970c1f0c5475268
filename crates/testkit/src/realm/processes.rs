//! How processes come and go, and who starts them again: a supervisor that may have to ask first.

use std::time::Duration;

use model::ids::InstanceName;
use model::spec::{RestartPolicy, ServiceKind};
use model::view::{Ending, ImageView};
use model::workload::Workload;

use super::{Event, Process, Realm, UnitName};
use crate::keeper::Verdict;
use crate::mishap::Fate;
use crate::server::{Server, Start};
use crate::unit::{Life, Unit};

/// How long a job runs.
const JOB_TIME: Duration = Duration::from_millis(300);

/// The signal of `kill -9`.
pub(crate) const SIGKILL: i32 = 9;

impl Realm {
    /// Puts a workload's files in place.
    pub(crate) fn define(&mut self, instance: &InstanceName, workload: &Workload) {
        let version = match self.site.image(&workload.image) {
            ImageView::Server(version) => Some(version),
            ImageView::Program | ImageView::Missing { .. } => None,
        };
        let name = (instance.clone(), workload.name.clone());
        match self.units.get_mut(&name) {
            Some(unit) => unit.define(workload, version),
            None => {
                self.units
                    .insert(name, Unit::new(workload.clone(), version));
            }
        }
    }

    /// Nothing is left of a workload.
    pub(crate) fn forget(&mut self, name: &UnitName) {
        self.units.remove(name);
    }

    /// Starts the process of a workload.
    pub(crate) fn start(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        self.boots += 1;
        let process = Process {
            address: unit.address(),
            boot: self.boots,
        };
        unit.begin(self.now, process.boot);
        let mut after = self.dice.millis(8, 25);
        if let Some((by, number)) = self.slow_starts.remove(&name.1) {
            after += by;
            self.mishaps.settle(number, Fate::Struck);
        }
        self.plan(after, Event::Listens(process));
    }

    pub(super) fn listens(&mut self, process: Process) {
        let service = self.units.name_at(process.address);
        let service = service.map(|(_, name)| name.service().to_string());
        let code = service.and_then(|it| self.site.exit_codes.get(&it).copied());
        let loading = self.dice.millis(1, 10);
        let Some(unit) = self.unit_of(process) else {
            return;
        };
        let (is_server, kind) = (unit.version.is_some(), unit.definition.kind);
        let has_data = !unit.disk.keys.is_empty();
        match kind {
            ServiceKind::Job => {
                unit.life = Life::Working;
                let ending = Ending::Exit(code.unwrap_or(0));
                self.plan(JOB_TIME, Event::Ends(process, ending));
            }
            ServiceKind::Server if is_server => {
                unit.life = Life::Loading;
                let takes = if has_data { loading } else { Duration::ZERO };
                self.plan(takes, Event::Loaded(process));
            }
            ServiceKind::Server => unit.life = Life::Working,
        }
    }

    pub(super) fn loaded(&mut self, process: Process) {
        let made_up = self.dice.node_id();
        let history = self.dice.next();
        let first_tick = self.dice.millis(1, 100);
        let Some(unit) = self.unit_of(process) else {
            return;
        };
        let Some(version) = unit.version.filter(|_| matches!(unit.life, Life::Loading)) else {
            return;
        };
        let had_conf = unit.disk.prepared.is_some() || unit.disk.conf.is_some();
        let conf = match unit.conf() {
            Some(conf) => conf,
            None if had_conf => {
                let line = "Unrecoverable error: corrupted cluster config file.";
                unit.log.push(line.to_owned());
                return self.ends(process, Ending::Exit(1));
            }
            None => crate::nodes_conf::NodesConf::alone(made_up, process.address),
        };
        let server = Server::start(Start {
            version,
            config: unit.config(),
            conf,
            keys: unit.disk.keys.clone(),
            functions: unit.disk.functions.clone(),
            history,
        });
        unit.log.push("Ready to accept connections".to_owned());
        unit.life = Life::Serving(Box::new(server));
        self.plan(first_tick, Event::Tick(process));
    }

    /// Kills the process of a workload. Gives whether there was one.
    pub(crate) fn kill(&mut self, name: &UnitName) -> bool {
        let Some(unit) = self.units.get(name).filter(|unit| unit.is_alive()) else {
            return false;
        };
        let process = Process {
            address: unit.address(),
            boot: unit.boot,
        };
        self.ends(process, Ending::Signal(SIGKILL));
        true
    }

    /// Tells a process to end; what it has is stored first.
    pub(crate) fn stop(&mut self, name: &UnitName) {
        let after = self.dice.millis(2, 30);
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        let process = Process {
            address: unit.address(),
            boot: unit.boot,
        };
        if unit.is_alive() {
            unit.end(Life::Stopping, true);
            self.part(process);
            self.plan(after, Event::Ends(process, Ending::Exit(0)));
        } else if !matches!(unit.life, Life::Over(_)) || unit.definition.kind == ServiceKind::Server
        {
            unit.life = Life::Stopped;
        }
    }

    /// Others notice that a process is gone.
    fn part(&mut self, process: Process) {
        self.end_streams_from(process);
        self.unfollow(process.address);
        self.break_links(process);
    }

    pub(super) fn ends(&mut self, process: Process, ending: Ending) {
        let (now, is_minded) = (self.now, self.is_minded);
        let Some(unit) = self.unit_of(process).filter(|unit| unit.is_alive()) else {
            return;
        };
        unit.log.push(format!("ended: {ending}"));
        let is_server = unit.definition.kind == ServiceKind::Server;
        let again = match unit.definition.restart {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => ending != Ending::Exit(0),
            RestartPolicy::Never => false,
        };
        let next = if matches!(unit.life, Life::Stopping) {
            Life::Stopped
        } else if is_server && again && is_minded {
            Life::Pausing {
                last: ending,
                until: now,
            }
        } else if is_minded {
            Life::Over(ending)
        } else {
            Life::Over(Ending::Unseen)
        };
        let is_to_run = matches!(next, Life::Pausing { .. });
        unit.end(next, false);
        self.part(process);
        if is_to_run && let Some(name) = self.units.name_at(process.address).cloned() {
            self.bring_back(&name, ending);
        }
    }

    /// A server that ended is to run again: at once, after a pause, or once somebody has agreed.
    fn bring_back(&mut self, name: &UnitName, last: Ending) {
        let now = self.now;
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        if self.has_keeper {
            let is_asked = false;
            unit.life = Life::Asking { last, is_asked };
            self.bell.notify_one();
            return;
        }
        let pause = unit.pause(now);
        let until = now + pause;
        let process = Process {
            address: unit.address(),
            boot: unit.boot,
        };
        unit.life = Life::Pausing { last, until };
        self.plan(pause, Event::Restarts(process));
    }

    /// A supervisor begins, unless there is one: what died when nobody watched is brought back.
    pub(crate) fn mind(&mut self) {
        if std::mem::replace(&mut self.is_minded, true) {
            return;
        }
        let dead: Vec<UnitName> = self
            .units
            .iter()
            .filter(|(_, unit)| {
                unit.definition.kind == ServiceKind::Server
                    && matches!(unit.life, Life::Over(Ending::Unseen))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in dead {
            self.bring_back(&name, Ending::Unseen);
        }
    }

    pub(crate) fn is_anything_alive(&self, instance: &InstanceName) -> bool {
        let mut units = self.units.iter();
        units.any(|((of, _), unit)| of == instance && unit.is_alive())
    }

    pub(super) fn restarts(&mut self, process: Process) {
        let Some(name) = self.units.name_at(process.address).cloned() else {
            return;
        };
        let Some(unit) = self.unit_of(process) else {
            return;
        };
        if matches!(unit.life, Life::Pausing { .. } | Life::Held { .. }) {
            unit.restarts += 1;
            self.start(&name);
        }
    }

    /// The workloads of which somebody has to decide whether they may start again. Each is given
    /// once.
    pub(crate) fn questions(&mut self) -> Vec<(UnitName, Ending)> {
        let mut questions = Vec::new();
        for (name, unit) in self.units.iter_mut() {
            if let Life::Asking { last, is_asked } = &mut unit.life
                && !std::mem::replace(is_asked, true)
            {
                questions.push((name.clone(), *last));
            }
        }
        questions
    }

    /// Somebody has decided.
    pub(crate) fn decided(&mut self, name: &UnitName, verdict: &Verdict) {
        let now = self.now;
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        let Life::Asking { last, .. } = unit.life else {
            return;
        };
        match verdict {
            Verdict::StartAgain => {
                let pause = unit.pause(now);
                let until = now + pause;
                let process = Process {
                    address: unit.address(),
                    boot: unit.boot,
                };
                unit.life = Life::Pausing { last, until };
                self.plan(pause, Event::Restarts(process));
            }
            Verdict::Hold { reason, .. } => {
                let reason = reason.clone();
                unit.life = Life::Held { reason };
            }
        }
    }

    /// Somebody is to be asked once more about a workload, if it is held still.
    pub(crate) fn ask_again_if_held(&mut self, name: &UnitName) {
        let unit = self.units.get(name);
        if unit.is_some_and(|unit| matches!(unit.life, Life::Held { .. })) {
            self.ask_again(name);
        }
    }

    /// Somebody is to be asked once more about a workload that is held, or ended unseen.
    pub(crate) fn ask_again(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get_mut(name) else {
            return;
        };
        let last = match &unit.life {
            Life::Held { .. } => Ending::Unseen,
            Life::Pausing { last, .. } | Life::Over(last) => *last,
            Life::Stopped
            | Life::Starting
            | Life::Loading
            | Life::Serving(_)
            | Life::Working
            | Life::Stopping
            | Life::Asking { .. } => return,
        };
        let is_asked = false;
        unit.life = Life::Asking { last, is_asked };
        self.bell.notify_one();
    }
}
