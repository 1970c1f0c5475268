//! Replication: how data gets from a primary to its replicas, also where there is none.
//!
//! What a process has written to a socket arrives even if the process dies right after, and what
//! is written while the way is cut arrives once it is whole again: the kernels see to that.

use std::time::Duration;

use model::address::NodeAddress;
use model::view::ReplicaLink;

use super::{Event, Process, Realm, Write};
use crate::server::{Keys, Role, Server, Stream};

/// What a write adds to the replication stream.
const WRITE_BYTES: u64 = 40;

impl Realm {
    /// A replica without a stream asks its primary for a copy.
    pub(super) fn follow_primary(&mut self, replica: Process) {
        let Some(server) = self.server_of(replica) else {
            return;
        };
        let Role::Replica {
            of,
            stream: Stream::Down { since },
        } = server.role
        else {
            return;
        };
        let Some(source) = server.address_of(of).and_then(|it| self.process_at(it)) else {
            return;
        };
        if self.cut_until(replica, source).is_some() {
            return;
        }
        let continues = self
            .server_of(source)
            .is_some_and(|it| it.history == server.history && it.offset >= server.offset);
        self.streams += 1;
        let number = self.streams;
        self.set_stream(replica, Stream::Copying { number, since });
        let delay = if continues {
            Duration::ZERO
        } else {
            self.sync_delay(source)
        };
        self.begin_copy(replica, source, number, delay);
        if !continues {
            self.begin_all_copies_if_enough(source);
        }
    }

    fn begin_copy(&mut self, replica: Process, source: Process, number: u64, delay: Duration) {
        let takes = delay + self.dice.millis(4, 20);
        let event = Event::Copied {
            replica,
            source,
            number,
        };
        self.plan(takes, event);
    }

    fn sync_delay(&self, source: Process) -> Duration {
        let server = self.server_of(source);
        server.map_or(Duration::ZERO, |it| it.settings.sync_delay)
    }

    /// A primary that waits for more replicas begins once it has them all.
    fn begin_all_copies_if_enough(&mut self, source: Process) {
        let Some(server) = self.server_of(source) else {
            return;
        };
        let (id, most) = (server.id, server.config.sync_replicas_max);
        let waiting: Vec<(Process, u64)> = self
            .followers(id)
            .filter_map(|(process, stream)| match stream {
                Stream::Copying { number, .. } => Some((process, number)),
                Stream::Down { .. } | Stream::Up { .. } => None,
            })
            .collect();
        if most > 0 && waiting.len() >= most {
            for (replica, number) in waiting {
                self.begin_copy(replica, source, number, Duration::ZERO);
            }
        }
    }

    /// The servers that copy this node.
    fn followers(
        &self,
        primary: model::ids::NodeId,
    ) -> impl Iterator<Item = (Process, Stream)> + '_ {
        self.units.values().filter_map(move |unit| {
            let server = unit.server()?;
            let process = Process {
                address: server.address,
                boot: unit.boot,
            };
            match server.role {
                Role::Replica { of, stream } if of == primary => Some((process, stream)),
                Role::Replica { .. } | Role::Primary => None,
            }
        })
    }

    fn set_stream(&mut self, replica: Process, to: Stream) {
        self.touch(replica, None, |server, _, _| {
            if let Role::Replica { stream, .. } = &mut server.role {
                *stream = to;
            }
        });
    }

    pub(super) fn copied(&mut self, replica: Process, source: Process, number: u64) {
        let Some(Stream::Copying {
            number: current,
            since,
        }) = self.server_of(replica).and_then(stream_of)
        else {
            return;
        };
        if current != number {
            return;
        }
        let is_cut = self.cut_until(replica, source).is_some();
        let copy = self.server_of(source).filter(|_| !is_cut);
        let copy = copy.map(|it| {
            let keys = (it.keys.clone(), it.staged.clone());
            (keys, it.functions.clone(), it.offset, it.history)
        });
        let Some((keys, functions, offset, history)) = copy else {
            self.set_stream(replica, Stream::Down { since });
            return;
        };
        self.touch(replica, None, |server, _, _| {
            ((server.keys, server.staged), server.functions) = (keys, functions);
            (server.offset, server.history) = (offset, history);
        });
        self.is_followed(source, replica, offset);
        self.set_stream(replica, Stream::Up { number });
        // What copies the replica in turn has to begin anew.
        self.end_streams_from(replica);
    }

    /// A write at a primary; `None` deletes the key.
    pub(super) fn write(&mut self, primary: Process, key: u32, value: Option<u64>) {
        self.touch(primary, None, |server, _, _| {
            change(&mut server.keys, key, value);
            server.offset += WRITE_BYTES;
        });
        self.pass_on(primary, (key, value), false);
        self.forward(primary, key, value);
    }

    /// The replicas of a process hear of a write that changes nothing where it was made.
    pub(super) fn only_pass_on(
        &mut self,
        primary: Process,
        write: (u32, Option<u64>),
        is_staged: bool,
    ) {
        self.touch(primary, None, |server, _, _| server.offset += WRITE_BYTES);
        self.pass_on(primary, write, is_staged);
    }

    /// A primary knows who copies it, and how far it is.
    fn is_followed(&mut self, source: Process, replica: Process, offset: u64) {
        self.touch(source, None, |server, _, _| {
            let link = ReplicaLink {
                address: Some(replica.address),
                online: true,
                offset,
            };
            server.followers.insert(replica.address, link);
        });
    }

    /// A replica tells its primary how far it is: once a second (`replicationSendAck`).
    pub(super) fn acknowledge(&mut self, replica: Process) {
        let Some(server) = self.server_of(replica) else {
            return;
        };
        let Role::Replica {
            of,
            stream: Stream::Up { number },
        } = server.role
        else {
            return;
        };
        let offset = server.offset;
        let Some(primary) = server.address_of(of).and_then(|it| self.process_at(it)) else {
            return;
        };
        let after = self.transit(replica, primary, number);
        let event = Event::Acknowledged {
            primary,
            replica: replica.address,
            offset,
        };
        self.plan(after, event);
    }

    pub(super) fn acknowledged(&mut self, primary: Process, replica: NodeAddress, offset: u64) {
        self.touch(primary, None, |server, _, _| {
            if let Some(link) = server.followers.get_mut(&replica) {
                link.offset = link.offset.max(offset);
            }
        });
    }

    /// Nobody counts this process as a replica any more.
    pub(super) fn unfollow(&mut self, replica: NodeAddress) {
        for unit in self.units.values_mut() {
            if let Some(server) = unit.server_mut() {
                server.followers.remove(&replica);
            }
        }
    }

    fn pass_on(&mut self, from: Process, (key, value): (u32, Option<u64>), is_staged: bool) {
        let Some(server) = self.server_of(from) else {
            return;
        };
        let offset = server.offset;
        let write = Write {
            key,
            value,
            is_staged,
            offset,
        };
        let streams: Vec<(Process, Stream)> = self.followers(server.id).collect();
        for (replica, stream) in streams {
            if let Stream::Up { number } = stream {
                let after = self.transit(from, replica, number);
                let event = Event::Streamed {
                    replica,
                    number,
                    write,
                };
                self.plan(after, event);
            }
        }
    }

    /// How long something takes over a stream: the same for all, so that nothing overtakes.
    fn transit(&self, from: Process, to: Process, number: u64) -> Duration {
        let delay = Duration::from_millis(1 + number % 3);
        let cut = self.cut_until(from, to);
        cut.map_or(delay, |until| until.saturating_sub(self.now) + delay)
    }

    /// When two addresses that do not reach each other will again.
    pub(super) fn cut_between(&self, one: NodeAddress, other: NodeAddress) -> Option<Duration> {
        self.network.cut_until(self.now, one, other)
    }

    fn cut_until(&self, one: Process, other: Process) -> Option<Duration> {
        self.network.cut_until(self.now, one.address, other.address)
    }

    pub(super) fn streamed(&mut self, replica: Process, number: u64, write: Write) {
        let stream = self.server_of(replica).and_then(stream_of);
        if stream != Some(Stream::Up { number }) {
            return;
        }
        self.touch(replica, None, |server, _, _| {
            if write.is_staged {
                change(&mut server.staged, write.key, write.value);
            } else {
                change(&mut server.keys, write.key, write.value);
                server.staged.remove(&write.key);
            }
            server.offset = write.offset;
        });
        self.note_copy(replica, write);
        self.pass_on(replica, (write.key, write.value), write.is_staged);
    }

    /// Whoever copies this process is going to notice that it is gone, or no primary any more.
    pub(super) fn end_streams_from(&mut self, source: Process) {
        let Some(unit) = self.unit_at(source.address) else {
            return;
        };
        let id = match unit.server() {
            Some(server) => Some(server.id),
            None => unit.disk.conf.as_ref().map(|conf| conf.myself.id),
        };
        let Some(id) = id else {
            return;
        };
        let streams: Vec<(Process, Stream)> = self.followers(id).collect();
        for (replica, stream) in streams {
            if let Stream::Up { number } = stream {
                let after = self.transit(source, replica, number);
                self.plan(after, Event::StreamEnds { replica, number });
            }
        }
    }

    pub(super) fn stream_ends(&mut self, replica: Process, number: u64) {
        let stream = self.server_of(replica).and_then(stream_of);
        if stream == Some(Stream::Up { number }) {
            let since = Some(self.now);
            self.set_stream(replica, Stream::Down { since });
        }
    }
}

fn change(keys: &mut Keys, key: u32, value: Option<u64>) {
    match value {
        Some(value) => keys.insert(key, value),
        None => keys.remove(&key),
    };
}

const fn stream_of(server: &Server) -> Option<Stream> {
    match server.role {
        Role::Primary => None,
        Role::Replica { stream, .. } => Some(stream),
    }
}
