//! The cluster bus: links between nodes and the letters that go over them.
//!
//! A link is a TCP connection: letters arrive in order, and a process that ends breaks all of its
//! own. While two nodes do not reach each other, letters between them wait: the kernel sends them
//! again, and they arrive once there is a way. A node that hears nothing meanwhile gives its link
//! up, and what was on its way over that is lost.

use std::time::Duration;

use model::address::NodeAddress;

use super::{Delivery, Event, Process, Realm};
use crate::letter::{Letter, Message};

/// A link that is made.
#[derive(Debug)]
pub(super) struct Connection {
    to: Process,
    /// The same for all letters, so that none overtakes another.
    delay: Duration,
}

impl Realm {
    /// A node makes a link. Where nobody listens it is refused, where the way is cut it hangs until
    /// there is one.
    pub(super) fn connect(&mut self, owner: Process, link: u64, to: NodeAddress) {
        let delay = self.dice.millis(1, 4);
        let cut = self.cut_for(owner.address, to);
        if !cut.is_zero() {
            self.plan(cut + delay, Event::Connects(owner, link, to));
            return;
        }
        let Some(target) = self.process_at(to) else {
            self.plan(delay, Event::Unlinked(owner, link));
            return;
        };
        let connection = Connection { to: target, delay };
        self.links.insert((owner, link), connection);
        self.plan(delay, Event::Linked(owner, link));
    }

    /// For how long two nodes will not reach each other from now on.
    fn cut_for(&self, one: NodeAddress, other: NodeAddress) -> Duration {
        let until = self.network.cut_until(self.now, one, other);
        until.unwrap_or_default().saturating_sub(self.now)
    }

    pub(super) fn linked(&mut self, owner: Process, link: u64) {
        if self.links.contains_key(&(owner, link)) {
            self.touch(owner, None, |server, now, dice| {
                server.linked(link, now, dice)
            });
        }
    }

    pub(super) fn unlinked(&mut self, owner: Process, link: u64) {
        self.links.remove(&(owner, link));
        self.touch(owner, None, |server, now, _| server.unlinked(link, now));
    }

    /// A letter over a link of the sender's own.
    pub(super) fn send(&mut self, owner: Process, link: u64, letter: Letter) {
        if let Some(connection) = self.links.get(&(owner, link)) {
            let (to, delay) = (connection.to, connection.delay);
            self.post(owner, to, (owner, link, delay), letter);
        }
    }

    /// A letter back over a link that somebody else made.
    pub(super) fn answer(&mut self, from: Process, over: (Process, u64), letter: Letter) {
        let (owner, link) = over;
        if let Some(connection) = self.links.get(&over) {
            let delay = connection.delay;
            self.post(from, owner, (owner, link, delay), letter);
        }
    }

    fn post(
        &mut self,
        from: Process,
        to: Process,
        (owner, link, delay): (Process, u64, Duration),
        letter: Letter,
    ) {
        let letter = Box::new(letter);
        let delivery = Delivery {
            owner,
            link,
            to,
            letter,
        };
        let cut = self.cut_for(from.address, to.address);
        self.plan(cut + delay, Event::Arrives(delivery));
    }

    pub(super) fn arrives(&mut self, delivery: Delivery) {
        let Delivery {
            owner,
            link,
            to,
            letter,
        } = delivery;
        let back_over = (owner == to).then_some(link);
        self.touch(to, Some((owner, link)), |server, now, dice| {
            server.hear(&letter, back_over, now, dice);
        });
        if let Message::Meet = letter.message {
            self.maybe_forget(to);
        }
        self.follow_primary(to);
    }

    /// A node that was planned to does forget who has just introduced itself.
    fn maybe_forget(&mut self, process: Process) {
        let Some((_, workload)) = self.units.name_at(process.address) else {
            return;
        };
        let planned = self.forgetful.iter().position(|it| it == workload);
        if let Some(index) = planned {
            let forgot = self.touch(process, None, |server, _, _| server.forget_newcomer());
            if forgot == Some(true) {
                self.forgetful.remove(index);
                self.newcomer_was_forgotten(process);
            }
        }
    }

    /// All links of and to a process that has ended break.
    pub(super) fn break_links(&mut self, ended: Process) {
        let to_it: Vec<(Process, u64, Duration)> = self
            .links
            .iter()
            .filter(|(_, connection)| connection.to == ended)
            .map(|((owner, link), connection)| (*owner, *link, connection.delay))
            .collect();
        self.links.retain(|(owner, _), _| *owner != ended);
        for (owner, link, delay) in to_it {
            let cut = self.cut_for(owner.address, ended.address);
            self.plan(cut + delay, Event::Unlinked(owner, link));
        }
    }
}
