//! The file in which a server keeps who it is and whom it knows, read and written as the servers
//! do (`clusterLoadConfig` and `clusterGenNodeDescription`, cluster.c of Redis 7.0).
//!
//! A line that a server would not take makes the whole file unreadable: a real server then ends
//! with "corrupted cluster config file".

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::slots::{Slot, SlotRange, SlotSet};
use model::view::{OpenDirection, PeerRole, StoredIdentity};

use crate::slot_table::SharedSlots;

/// What a server has stored of itself and of the nodes that it knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NodesConf {
    pub(crate) myself: Entry,
    pub(crate) others: Vec<Entry>,
    pub(crate) current_epoch: Epoch,
    pub(crate) last_vote_epoch: Epoch,
    /// The slots that the node has open.
    pub(crate) open: BTreeMap<Slot, OpenDirection>,
}

/// A node in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) role: PeerRole,
    pub(crate) epoch: Epoch,
    pub(crate) slots: SharedSlots,
}

impl NodesConf {
    /// A node that knows nobody.
    pub(crate) fn alone(id: NodeId, address: NodeAddress) -> Self {
        Self {
            myself: Entry {
                id,
                address,
                role: PeerRole::Primary,
                epoch: Epoch(0),
                slots: SharedSlots::none(),
            },
            others: Vec::new(),
            current_epoch: Epoch(0),
            last_vote_epoch: Epoch(0),
            open: BTreeMap::new(),
        }
    }

    /// Reads a file; `None` where a server would not start with it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut myself = None;
        let mut others = Vec::new();
        let mut epochs = (Epoch(0), Epoch(0));
        let mut open = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(variables) = line.strip_prefix("vars ") {
                epochs = parse_variables(variables)?;
                continue;
            }
            let (entry, is_myself, its_open) = Entry::parse(line)?;
            open.extend(its_open);
            if !is_myself {
                others.push(entry);
            } else if myself.replace(entry).is_some() {
                return None;
            }
        }
        let conf = Self {
            myself: myself?,
            others,
            current_epoch: epochs.0,
            last_vote_epoch: epochs.1,
            open,
        };
        conf.has_one_owner_for_each_slot().then_some(conf)
    }

    fn has_one_owner_for_each_slot(&self) -> bool {
        let mut owned = SlotSet::empty();
        self.entries().all(|entry| {
            let set = entry.slots.set();
            let is_free = owned.intersection(set).is_empty();
            owned = owned.union(set);
            is_free
        })
    }

    /// Every node in the file.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.myself).chain(&self.others)
    }

    /// Who the node is, as an engine reads it from the file.
    pub(crate) fn identity(&self) -> StoredIdentity {
        let primary = match self.myself.role {
            PeerRole::Primary => None,
            PeerRole::Replica(primary) => primary,
        };
        let claim = self.others.iter().find(|it| Some(it.id) == primary);
        StoredIdentity {
            id: self.myself.id,
            owns_slots: !self.myself.slots.is_empty(),
            epoch: claim.map_or(self.myself.epoch, |it| it.epoch),
        }
    }

    /// The file as a server writes it.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write;

        use model::address::BUS_PORT_OFFSET;

        let mut text = String::new();
        for entry in self.entries() {
            let myself = if entry.id == self.myself.id {
                "myself,"
            } else {
                ""
            };
            let (role, primary) = match entry.role {
                PeerRole::Primary => ("master", None),
                PeerRole::Replica(primary) => ("slave", primary),
            };
            let primary = primary.map_or_else(|| "-".to_owned(), |id| id.to_string());
            let NodeAddress { ip, port } = entry.address;
            let bus = u32::from(port) + u32::from(BUS_PORT_OFFSET);
            let Entry { id, epoch, .. } = entry;
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "{id} {ip}:{port}@{bus} {myself}{role} {primary} 0 0 {epoch} connected"
            );
            for range in entry.slots.ranges() {
                let _ = write!(text, " {range}");
            }
            let open = self.open.iter().filter(|_| !myself.is_empty());
            for (slot, direction) in open {
                let (arrow, other) = match direction {
                    OpenDirection::To(other) => ("->-", other),
                    OpenDirection::From(other) => ("-<-", other),
                };
                let _ = write!(text, " [{}{arrow}{other}]", slot.number());
            }
            text.push('\n');
        }
        let (current, vote) = (self.current_epoch, self.last_vote_epoch);
        let _ = writeln!(text, "vars currentEpoch {current} lastVoteEpoch {vote}");
        text
    }
}

fn parse_variables(text: &str) -> Option<(Epoch, Epoch)> {
    let words: Vec<&str> = text.split(' ').collect();
    let ["currentEpoch", current, "lastVoteEpoch", vote] = words[..] else {
        return None;
    };
    Some((Epoch(current.parse().ok()?), Epoch(vote.parse().ok()?)))
}

impl Entry {
    /// Reads `id ip:port@bus,… flags primary ping pong epoch link slot…`, whether it is the node
    /// itself, and what it has open.
    fn parse(line: &str) -> Option<(Self, bool, OpenSlots)> {
        let mut words = line.split(' ');
        let id = NodeId::parse(words.next()?)?;
        let (address, rest) = words.next()?.split_once('@')?;
        let address = NodeAddress::parse(address)?;
        let bus: u16 = rest.split(',').next()?.parse().ok()?;
        if address.bus_port() != Some(bus) {
            return None;
        }
        let flags: Vec<&str> = words.next()?.split(',').collect();
        let primary = words.next()?;
        let role = match (flags.contains(&"master"), flags.contains(&"slave"), primary) {
            (true, false, "-") => PeerRole::Primary,
            (false, true, "-") => PeerRole::Replica(None),
            (false, true, primary) => PeerRole::Replica(Some(NodeId::parse(primary)?)),
            (_, _, _) => return None,
        };
        let (_ping, _pong) = (words.next()?, words.next()?);
        let epoch = Epoch(words.next()?.parse().ok()?);
        let _link = words.next()?;
        let (open, owned): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('['));
        let open: Option<OpenSlots> = open.into_iter().map(parse_open).collect();
        let ranges: Option<Vec<SlotRange>> = owned.into_iter().map(parse_range).collect();
        let entry = Self {
            id,
            address,
            role,
            epoch,
            slots: SharedSlots::new(SlotSet::of(&ranges?)),
        };
        Some((entry, flags.contains(&"myself"), open?))
    }
}

/// What a node has open.
type OpenSlots = Vec<(Slot, OpenDirection)>;

/// `[7->-id]` on its way to a node, `[7-<-id]` from one.
fn parse_open(word: &str) -> Option<(Slot, OpenDirection)> {
    let inner = word.strip_prefix('[')?.strip_suffix(']')?;
    let (slot, rest) = inner.split_once('-')?;
    let slot = Slot::new(slot.parse().ok()?)?;
    let other = |text: &str| NodeId::parse(text);
    match rest.split_once('-')? {
        (">", id) => Some((slot, OpenDirection::To(other(id)?))),
        ("<", id) => Some((slot, OpenDirection::From(other(id)?))),
        (_, _) => None,
    }
}

/// `0-5460`, or `7`.
fn parse_range(word: &str) -> Option<SlotRange> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let slot = |text: &str| Slot::new(text.parse().ok()?);
    SlotRange::new(slot(first)?, slot(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
    const B: &str = "67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1";

    fn file() -> String {
        format!(
            "{A} 127.64.0.1:6379@16379 master - 0 0 7 connected 0-5460 5462\n\
             {B} 127.64.0.2:6379@16379 myself,slave {A} 0 0 1 connected\n\
             vars currentEpoch 9 lastVoteEpoch 3\n"
        )
    }

    #[test]
    fn what_is_written_is_read_again() {
        let conf = NodesConf::parse(&file()).unwrap();
        assert_eq!(NodesConf::parse(&conf.text()), Some(conf.clone()));
        assert_eq!(
            (conf.current_epoch, conf.last_vote_epoch),
            (Epoch(9), Epoch(3))
        );
        let identity = conf.identity();
        assert_eq!(identity.id.to_string(), B);
        assert_eq!((identity.owns_slots, identity.epoch), (false, Epoch(7)));
    }

    #[test]
    fn the_form_of_later_servers_is_read() {
        let text = file().replace("@16379 ", "@16379,,tls-port=0,shard-id=abc ");
        assert_eq!(NodesConf::parse(&text), NodesConf::parse(&file()));
    }

    #[test]
    fn open_slots_are_read_and_written() {
        let open = format!(" [7->-{B}] [9-<-{A}]");
        let text = file().replace("connected\nvars", &format!("connected{open}\nvars"));
        let conf = NodesConf::parse(&text).unwrap();
        assert_eq!(conf.open.len(), 2);
        assert!(conf.text().contains(&open));
        assert_eq!(NodesConf::parse(&text.replace("->-", "->")), None);
    }

    #[test]
    fn what_a_server_would_not_start_with_is_refused() {
        for (part, instead) in [
            ("myself,", ""),
            ("master", "myself,master"),
            ("@16379 ", "@16380 "),
            ("@16379", ""),
            ("0-5460", "0-16384"),
            ("slave", "noflags"),
            ("slave 0", "slave x"),
            ("currentEpoch", "epoch"),
            (" 0 0 7 connected 0-5460 5462", ""),
        ] {
            let text = file().replacen(part, instead, 1);
            assert_ne!(text, file(), "{part} is not in the file");
            assert_eq!(NodesConf::parse(&text), None, "{part} -> {instead}");
        }
        let twice = file().replace("connected\nvars", "connected 5000\nvars");
        assert_eq!(NodesConf::parse(&twice), None, "a slot with two owners");
        assert_eq!(NodesConf::parse(""), None);
    }
}
