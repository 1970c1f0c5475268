//! What can go wrong, and whether it did.
//!
//! Each mishap is planned before a run and keeps its fate, so that a test can say that what it
//! planned really happened: a test whose faults never strike proves nothing.

use std::time::Duration;

use model::ids::WorkloadName;
use model::slots::Slot;

/// Something that is planned to go wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mishap {
    /// With this call of `apply`, of the engine and the nodes together, counted from 1.
    Call {
        /// Which call.
        number: u32,
        /// What goes wrong with it.
        how: How,
    },
    /// With this command to a server, counted from 1. A call of `apply` sends several, of which
    /// only those that change something count.
    Command {
        /// Which command.
        number: u32,
        /// What goes wrong with it.
        how: How,
    },
    /// At this time.
    Blow {
        /// When.
        at: Duration,
        /// What happens.
        what: Blow,
    },
}

/// What goes wrong with something that the tool does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// It fails, and nothing is done.
    FailsBefore,
    /// It is done, and the answer is lost.
    FailsAfter,
    /// The tool is killed, and nothing is done.
    ToolDiesBefore,
    /// It is done, and the tool is killed.
    ToolDiesAfter,
    /// The answer is yes, and nothing is done.
    DoesNothing,
    /// It takes that much longer.
    TakesLonger(Duration),
}

/// What happens to the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Blow {
    /// A process is killed.
    ProcessDies(WorkloadName),
    /// A process is killed, and its data set is gone; it still knows who it is.
    DataLost(WorkloadName),
    /// A process is killed, and nothing is left of its workload.
    DiskLost(WorkloadName),
    /// Whoever starts processes again is killed; the processes go on.
    SupervisorDies,
    /// All processes are killed, and with them whoever would start them again.
    PowerLost,
    /// Two workloads do not reach each other for a while.
    LinkCut {
        /// The two.
        between: (WorkloadName, WorkloadName),
        /// For how long.
        lasting: Duration,
    },
    /// The workload's next process listens that much later.
    SlowStart {
        /// The workload.
        workload: WorkloadName,
        /// By how much.
        by: Duration,
    },
    /// Somebody has a replica take over from its primary (`CLUSTER FAILOVER`).
    HandedOver(WorkloadName),
    /// Somebody else has begun to move a slot between the primaries of two shards, and gone away:
    /// it is open at its owner, and at its target too or not.
    SlotOpened {
        /// The slot.
        slot: Slot,
        /// A node of the shard that is to get it.
        to: WorkloadName,
        /// Whether the target has heard of it.
        at_both: bool,
    },
    /// The next time that another node introduces itself to this one, this one forgets it again:
    /// the acquaintance stays one-sided.
    HandshakeLost(WorkloadName),
}

/// What became of a mishap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fate {
    /// Its moment has not come.
    Pending,
    /// It happened.
    Struck,
    /// Its moment came, and there was nothing that it could strike.
    Missed,
}

/// The mishaps of a world.
#[derive(Debug, Default)]
pub(crate) struct Mishaps {
    planned: Vec<(Mishap, Fate)>,
    calls: u32,
    commands: u32,
}

impl Mishaps {
    /// Plans one. Gives its number.
    pub(crate) fn plan(&mut self, mishap: Mishap) -> usize {
        self.planned.push((mishap, Fate::Pending));
        self.planned.len() - 1
    }

    /// How many calls and commands there were so far.
    pub(crate) const fn counted(&self) -> (u32, u32) {
        (self.calls, self.commands)
    }

    /// What has not struck the tool yet never will.
    pub(crate) fn spare(&mut self) {
        for (mishap, fate) in &mut self.planned {
            let is_of_tool = matches!(mishap, Mishap::Call { .. } | Mishap::Command { .. });
            if is_of_tool && *fate == Fate::Pending {
                *fate = Fate::Missed;
            }
        }
    }

    pub(crate) fn fates(&self) -> &[(Mishap, Fate)] {
        &self.planned
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Mishap> {
        self.planned.get(number).map(|(mishap, _)| mishap)
    }

    pub(crate) fn settle(&mut self, number: usize, fate: Fate) {
        if let Some((_, before)) = self.planned.get_mut(number) {
            *before = fate;
        }
    }

    /// The tool calls `apply`. Gives what goes wrong with it.
    pub(crate) fn call(&mut self) -> Option<How> {
        self.calls += 1;
        let count = self.calls;
        self.strike(|mishap| match mishap {
            Mishap::Call { number, how } if *number == count => Some(*how),
            Mishap::Call { .. } | Mishap::Command { .. } | Mishap::Blow { .. } => None,
        })
    }

    /// The tool sends a command that changes something. Gives what goes wrong with it.
    pub(crate) fn command(&mut self) -> Option<How> {
        self.commands += 1;
        let count = self.commands;
        self.strike(|mishap| match mishap {
            Mishap::Command { number, how } if *number == count => Some(*how),
            Mishap::Call { .. } | Mishap::Command { .. } | Mishap::Blow { .. } => None,
        })
    }

    fn strike(&mut self, due: impl Fn(&Mishap) -> Option<How>) -> Option<How> {
        let (how, fate) = self
            .planned
            .iter_mut()
            .filter(|(_, fate)| *fate == Fate::Pending)
            .find_map(|(mishap, fate)| Some((due(mishap)?, fate)))?;
        *fate = Fate::Struck;
        Some(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_that_was_named_is_struck_and_no_other() {
        let mut mishaps = Mishaps::default();
        let how = How::FailsAfter;
        mishaps.plan(Mishap::Call { number: 2, how });
        mishaps.plan(Mishap::Command { number: 9, how });
        assert_eq!(mishaps.command(), None);
        assert_eq!(
            (mishaps.call(), mishaps.call(), mishaps.call()),
            (None, Some(how), None)
        );
        assert_eq!(mishaps.counted(), (3, 1));
        let fates: Vec<Fate> = mishaps.fates().iter().map(|(_, fate)| *fate).collect();
        assert_eq!(fates, [Fate::Struck, Fate::Pending]);
    }
}
