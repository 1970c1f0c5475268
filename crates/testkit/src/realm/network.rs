//! Which nodes do not reach each other at present.

use std::time::Duration;

use model::address::NodeAddress;

/// The cuts between nodes. Nothing of ours is cut off: the tool and the client reach everybody.
#[derive(Debug, Default)]
pub(super) struct Network {
    cuts: Vec<Cut>,
}

#[derive(Debug)]
struct Cut {
    between: (NodeAddress, NodeAddress),
    until: Duration,
}

impl Network {
    pub(super) fn cut(&mut self, between: (NodeAddress, NodeAddress), until: Duration) {
        self.cuts.push(Cut { between, until });
    }

    /// When two nodes that do not reach each other will again; `None` where they do.
    pub(super) fn cut_until(
        &self,
        now: Duration,
        one: NodeAddress,
        other: NodeAddress,
    ) -> Option<Duration> {
        self.cuts
            .iter()
            .filter(|cut| cut.until > now)
            .filter(|cut| cut.between == (one, other) || cut.between == (other, one))
            .map(|cut| cut.until)
            .max()
    }
}
