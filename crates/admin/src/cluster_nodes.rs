//! Reads the answer of CLUSTER NODES, in the forms of Redis 5 to 8 and Valkey 7.2 to 9.
//!
//! A line is `id ip:port@bus,hostname,key=value… flags primary ping pong epoch link slot…`
//! (`clusterGenNodeDescription`, cluster.c of Redis 7.0).

use model::address::NodeAddress;
use model::ids::{Epoch, NodeId};
use model::slots::{Slot, SlotRange};
use model::view::{OpenDirection, OpenSlot, Peer, PeerHealth, PeerRole};

/// The nodes of an answer, and which of them gave it.
///
/// # Errors
/// With what is wrong, where a line is none that a server writes.
pub(crate) fn read(text: &str) -> Result<(NodeId, Vec<Peer>), String> {
    let mut myself = None;
    let mut peers = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (peer, is_myself) =
            read_line(line).ok_or_else(|| format!("no line of CLUSTER NODES: {}", shown(line)))?;
        if is_myself {
            myself = Some(peer.id);
        }
        peers.push(peer);
    }
    let myself = myself.ok_or("no line says `myself`")?;
    Ok((myself, peers))
}

/// A line as far as a message can hold it.
fn shown(line: &str) -> String {
    line.chars().take(80).flat_map(char::escape_debug).collect()
}

fn read_line(line: &str) -> Option<(Peer, bool)> {
    let mut words = line.split(' ');
    let id = NodeId::parse(words.next()?)?;
    let address = read_address(words.next()?);
    let flags = words.next()?;
    let primary = words.next()?;
    let (_ping, _pong) = (words.next()?, words.next()?);
    let epoch = Epoch(words.next()?.parse().ok()?);
    let linked = words.next()? == "connected";
    let mut peer = Peer {
        id,
        address,
        role: PeerRole::Primary,
        health: PeerHealth::Reached,
        in_handshake: false,
        epoch,
        linked,
        slots: Vec::new(),
        open_slots: Vec::new(),
    };
    let mut is_myself = false;
    for flag in flags.split(',') {
        match flag {
            "myself" => is_myself = true,
            "slave" => peer.role = PeerRole::Replica(NodeId::parse(primary)),
            "fail?" => peer.health = PeerHealth::Suspected,
            "fail" => peer.health = PeerHealth::Failed,
            "handshake" => peer.in_handshake = true,
            "noaddr" => peer.address = None,
            // `master`, `nofailover`, `noflags`, and what newer servers add.
            _ => {}
        }
    }
    for word in words.filter(|word| !word.is_empty()) {
        read_slots(word, &mut peer)?;
    }
    if let PeerRole::Replica(_) = peer.role {
        // What a replica of Valkey 8.0 and later shows as open is open at its primary, and cannot
        // be closed here ("Please use SETSLOT only with masters").
        peer.open_slots.clear();
    }
    Some((peer, is_myself))
}

/// `10.0.0.4:6379@16379,host,shard-id=…`; without an address the IP is empty.
fn read_address(word: &str) -> Option<NodeAddress> {
    let address = word.split(['@', ',']).next()?;
    let (ip, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    Some(NodeAddress::new(ip.parse().ok()?, port))
}

/// `0-5460`, `7`, `[93->-id]` on its way out, `[93-<-id]` on its way in.
fn read_slots(word: &str, peer: &mut Peer) -> Option<()> {
    let slot = |text: &str| Slot::new(text.parse().ok()?);
    if let Some(open) = word.strip_prefix('[') {
        let open = open.strip_suffix(']')?;
        let (number, direction) = if let Some((number, id)) = open.split_once("->-") {
            (number, OpenDirection::To(NodeId::parse(id)?))
        } else {
            let (number, id) = open.split_once("-<-")?;
            (number, OpenDirection::From(NodeId::parse(id)?))
        };
        peer.open_slots.push(OpenSlot {
            slot: slot(number)?,
            direction,
        });
    } else {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        peer.slots.push(SlotRange::new(slot(first)?, slot(last)?)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
    const B: &str = "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca";

    #[test]
    fn the_lines_of_old_and_new_servers_are_read() {
        let text = format!(
            "{A} 127.0.0.1:30004@31004 slave {B} 0 1426238317239 4 connected\n\
             {B} 127.0.0.1:30001@31001,host.example,tls-port=0,shard-id=0a1b myself,master - 0 0 \
             1 connected 0-5460 7000 [93->-{A}] [94-<-{A}]\n"
        );
        let (myself, peers) = read(&text).unwrap();
        assert_eq!(myself.to_string(), B);
        assert_eq!(peers[0].role, PeerRole::Replica(NodeId::parse(B)));
        assert_eq!(peers[0].address, NodeAddress::parse("127.0.0.1:30004"));
        assert_eq!(peers[1].slots.len(), 2);
        assert_eq!(peers[1].slots[0].to_string(), "0-5460");
        assert_eq!(peers[1].open_slots.len(), 2);
        assert_eq!(
            peers[1].open_slots[1].direction,
            OpenDirection::From(NodeId::parse(A).unwrap())
        );
    }

    /// `up` told replicas of Valkey to close what their primaries were moving, and was refused.
    #[test]
    fn what_a_replica_shows_as_open_is_its_primarys() {
        let text = format!(
            "{A} 127.0.0.1:30004@31004 myself,slave {B} 0 0 4 connected [93->-{B}] [94-<-{B}]\n\
             {B} 127.0.0.1:30001@31001 master - 0 0 4 connected 0-5460\n"
        );
        assert_eq!(read(&text).unwrap().1[0].open_slots, []);
    }

    #[test]
    fn a_node_that_is_lost_half_known_or_dead_is_told_apart() {
        let check = |address: &str, flags: &str, link: &str| {
            let text = format!(
                "{A} :0@0 myself,master - 0 0 0 connected\n{B} {address} {flags} - 0 0 0 {link}\n"
            );
            read(&text).unwrap().1.remove(1)
        };
        let lost = check(":0@0", "master,noaddr", "disconnected");
        assert_eq!((lost.address, lost.linked), (None, false));
        assert!(check("10.0.0.4:1@2", "handshake", "connected").in_handshake);
        let suspected = check("[::1]:1@2", "master,fail?", "connected");
        assert_eq!(suspected.health, PeerHealth::Suspected);
        let failed = check("10.0.0.4:1@2", "slave,fail", "connected");
        assert_eq!(failed.health, PeerHealth::Failed);
        assert_eq!(failed.role, PeerRole::Replica(None));
    }

    #[test]
    fn an_ipv6_address_is_read_with_and_without_brackets() {
        // The servers write it bare: `::1:7000@17000`.
        let address = read_address("::1:7000@17000").unwrap();
        assert_eq!(address.to_string(), "[::1]:7000");
    }

    #[test]
    fn what_no_server_writes_is_refused_with_the_line() {
        for text in [
            "hello",
            "",
            &format!("{A} 10.0.0.4:1@2 master - 0 0 0 connected\n"),
            &format!("{A} 10.0.0.4:1@2 myself,master - 0 0 0 connected 5-3\n"),
            &format!("{A} 10.0.0.4:1@2 myself,master - 0 0 0 connected 16384\n"),
            &format!("{A} 10.0.0.4:1@2 myself,master - 0 0 x connected\n"),
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
