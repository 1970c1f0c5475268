//! Finds addresses for the workloads of a new instance.
//!
//! All of 127.0.0.0/8 is this host's own, so each workload can have an address with the port that
//! its template names, as a container would. An address is proposed only if its ports can be bound
//! now; nothing is kept open, and which address is whose is remembered by the driver.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use model::address::{BUS_PORT_OFFSET, NodeAddress};
use model::fault::{Class, Code, Explain};
use model::ids::{InstanceName, WorkloadName};
use model::port::AddressRequest;
use model::workload::Fnv;

use super::listeners::{self, Listener, Port, PortHolder, try_port};

/// The first address of the range, 127.64.0.0/10: away from 127.0.0.0/16, where people and
/// distributions put things (127.0.0.53, 127.0.1.1).
const RANGE_FIRST: u32 = 0x7f40_0000;

/// The number of addresses in the range.
const RANGE_LENGTH: u32 = 1 << 22;

/// An instance begins at one of these. Two instances of different users meet if their beginnings
/// are within each other's length; with 16384 blocks that is rare.
const BLOCK_LENGTH: u32 = 256;

/// The most workloads of one instance: 1000 nodes are the most that Redis Cluster is made for,
/// and as many again for what stands beside them.
const WORKLOADS_MAX: usize = 2000;

/// The most addresses that are tried. Each costs two sockets, some 20 µs in all; an instance that
/// finds no room in that many has a neighbour of a kind that we know nothing of.
const TRIES_MAX: u32 = 20_000;

/// Why no addresses can be proposed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is more than one host should run.
    #[error("{0} workloads are more than one host takes, which is {WORKLOADS_MAX}")]
    TooMany(usize),
    /// The bus port may be taken by any outgoing connection at any time.
    #[error(
        "port {port} needs the cluster bus port {bus}, and the system gives ports {} to {} to \
         outgoing connections", range.0, range.1
    )]
    BusPort {
        /// The client port.
        port: u16,
        /// Its bus port.
        bus: u16,
        /// `net.ipv4.ip_local_port_range`.
        range: (u16, u16),
    },
    /// Somebody listens on that port of every address.
    #[error("port {port} is taken at every address: {holder}")]
    TakenEverywhere {
        /// The port.
        port: u16,
        /// By whom.
        holder: Box<PortHolder>,
    },
    /// The port cannot be had for another reason.
    #[error("port {0} may only be used by root")]
    Forbidden(u16),
    /// Too many addresses are taken.
    #[error("only {found} of {wanted} addresses are free from {first} on")]
    Exhausted {
        /// How many are free.
        found: usize,
        /// How many are wanted.
        wanted: usize,
        /// The first that was tried.
        first: Ipv4Addr,
    },
    /// Ports cannot be tried.
    #[error("cannot try whether a port is free")]
    System(#[source] io::Error),
}

impl Explain for AddressError {
    fn code(&self) -> Code {
        match self {
            Self::TakenEverywhere { .. } | Self::Forbidden(_) => Code("SY3005"),
            Self::BusPort { .. } => Code("SY3007"),
            Self::TooMany(_) | Self::Exhausted { .. } | Self::System(_) => Code("SY3008"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::TooMany(_) | Self::BusPort { .. } => Class::Usage,
            Self::TakenEverywhere { .. }
            | Self::Forbidden(_)
            | Self::Exhausted { .. }
            | Self::System(_) => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::TooMany(_) => Some("use fewer shards or replicas, or more hosts".to_owned()),
            Self::BusPort { range, .. } => Some(format!(
                "use a port below {}, such as 6379",
                range.0.saturating_sub(BUS_PORT_OFFSET)
            )),
            Self::TakenEverywhere { holder, .. } => Some(holder.way_out()),
            Self::Forbidden(_) => Some("use a port from 1024 on".to_owned()),
            Self::Exhausted { .. } => Some(
                "see what runs there (ss -ltn src 127.64.0.0/10), or take another name for the \
                 instance: its addresses begin elsewhere then"
                    .to_owned(),
            ),
            Self::System(_) => None,
        }
    }
}

/// An address for each workload, in the order asked for.
pub(crate) fn propose(
    home: &Path,
    request: &AddressRequest,
) -> Result<Vec<NodeAddress>, AddressError> {
    let wanted = request.ports.len();
    if wanted > WORKLOADS_MAX {
        return Err(AddressError::TooMany(wanted));
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    check_bus_ports(request, parse_range(&range.unwrap_or_default()))?;
    let first = first_offset(home, &request.instance);
    let mut free = Vec::new();
    let mut tried = candidates(first).take(TRIES_MAX as usize);
    let mut listening = None;
    for (workload, port) in &request.ports {
        // The next free one: what is passed over for one port is not tried for the others, so the
        // addresses of an instance stay in order.
        let found = tried.find_map(|ip| {
            let ports = ports_of(request, workload, *port);
            try_address(ip, &ports, request, &mut listening)
        });
        match found {
            Some(outcome) => free.push(NodeAddress::new(outcome?, *port)),
            None => {
                return Err(AddressError::Exhausted {
                    found: free.len(),
                    wanted,
                    first: Ipv4Addr::from(RANGE_FIRST + first),
                });
            }
        }
    }
    Ok(free)
}

/// Where an instance begins in the range. The state folder counts too, so that two users with an
/// instance of the same name do not meet.
fn first_offset(home: &Path, instance: &InstanceName) -> u32 {
    use std::hash::{Hash, Hasher};
    let mut hash = Fnv::new();
    (home, instance.as_str()).hash(&mut hash);
    let block = hash.finish() % u64::from(RANGE_LENGTH / BLOCK_LENGTH);
    // Less than 2^14 by the line above.
    u32::try_from(block).unwrap_or(0) * BLOCK_LENGTH
}

/// The addresses of the range from there on and round again, without those that look like the
/// address or the broadcast of a network.
fn candidates(first: u32) -> impl Iterator<Item = Ipv4Addr> {
    (0..RANGE_LENGTH)
        .map(move |step| Ipv4Addr::from(RANGE_FIRST + (first + step) % RANGE_LENGTH))
        .filter(|ip| !matches!(ip.octets()[3], 0 | 255))
}

/// The address if it can be had, an error if no address can, `None` if another one may.
fn try_address(
    ip: Ipv4Addr,
    ports: &[u16],
    request: &AddressRequest,
    listening: &mut Option<Vec<Listener>>,
) -> Option<Result<IpAddr, AddressError>> {
    let ip = IpAddr::V4(ip);
    if request.taken.contains(&ip) {
        return None;
    }
    for port in ports.iter().copied() {
        let address = SocketAddr::new(ip, port);
        match try_port(address) {
            Ok(Port::Free) => {}
            Ok(Port::Elsewhere) => return None,
            Ok(Port::Forbidden) => return Some(Err(AddressError::Forbidden(port))),
            Ok(Port::Taken) => {
                let listening = listening.get_or_insert_with(listeners::all);
                let holder = listeners::blocking(listening, address)?;
                return holder.address.ip().is_unspecified().then(|| {
                    let holder = Box::new(PortHolder::of(holder));
                    Err(AddressError::TakenEverywhere { port, holder })
                });
            }
            Err(error) => return Some(Err(AddressError::System(error))),
        }
    }
    Some(Ok(ip))
}

/// The ports that a workload may listen on: its own and its bus port. A workload without a port
/// has none.
fn ports_of(request: &AddressRequest, workload: &WorkloadName, port: u16) -> Vec<u16> {
    let has_bus = !request.without_bus.contains(workload.service());
    let bus = port.checked_add(BUS_PORT_OFFSET).filter(|_| has_bus);
    let ports = [Some(port), bus].into_iter().flatten();
    ports.filter(|_| port != 0).collect()
}

fn check_bus_ports(request: &AddressRequest, range: (u16, u16)) -> Result<(), AddressError> {
    for (workload, port) in &request.ports {
        // The second is the port of the bus, where there is one.
        if let [_, bus] = ports_of(request, workload, *port)[..]
            && (range.0..=range.1).contains(&bus)
        {
            return Err(AddressError::BusPort {
                port: *port,
                bus,
                range,
            });
        }
    }
    Ok(())
}

/// The ports of outgoing connections; an empty range where the system does not say.
fn parse_range(text: &str) -> (u16, u16) {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first, last),
        _ => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use model::instance::Expose;

    use super::*;

    fn request(name: &str, ports: &[u16]) -> AddressRequest {
        let workload = |number| WorkloadName::parse(&format!("redis-{number}")).unwrap();
        AddressRequest {
            instance: InstanceName::new(name).unwrap(),
            ports: ports
                .iter()
                .zip(1..)
                .map(|(port, n)| (workload(n), *port))
                .collect(),
            without_bus: BTreeSet::new(),
            taken: BTreeSet::new(),
            expose: Expose::Network,
        }
    }

    #[test]
    fn addresses_are_in_a_row_and_the_same_each_time() {
        let home = Path::new("/home/a");
        let asked = request("in-a-row", &[6391; 300]);
        let found = propose(home, &asked).unwrap();
        assert_eq!(found, propose(home, &asked).unwrap());
        let ips: BTreeSet<IpAddr> = found.iter().map(|address| address.ip).collect();
        assert_eq!(ips.len(), 300);
        let first = first_offset(home, &asked.instance);
        let expected: Vec<_> = candidates(first).take(300).map(IpAddr::V4).collect();
        assert_eq!(
            found.iter().map(|each| each.ip).collect::<Vec<_>>(),
            expected
        );
        assert!(expected.iter().all(|ip| !ip.to_string().ends_with(".0")));
        assert!(expected.iter().all(|ip| !ip.to_string().ends_with(".255")));
    }

    #[test]
    fn what_others_hold_or_listen_on_is_passed_over() {
        let home = Path::new("/home/b");
        let mut asked = request("passed-over", &[6392, 6392]);
        let free = propose(home, &asked).unwrap();
        asked.taken.insert(free[0].ip);
        let _listens = TcpListener::bind((free[1].ip, 16392)).unwrap();
        let found = propose(home, &asked).unwrap();
        assert!(found.iter().all(|each| each.ip > free[1].ip), "{found:?}");
    }

    #[test]
    fn who_listens_on_all_addresses_is_named() {
        let _everywhere = TcpListener::bind("0.0.0.0:6393").unwrap();
        let error = propose(Path::new("/home/c"), &request("all", &[6393])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("pid {}", std::process::id())),
            "{text}"
        );
        assert!(text.ends_with("listens on 0.0.0.0:6393"), "{text}");
        assert!(error.help().unwrap().contains("bind 127.0.0.1"));
    }

    #[test]
    fn a_bus_port_among_the_outgoing_ports_is_refused() {
        for (port, refused) in [
            (6379, false),
            (22_768, true),
            (50_999, true),
            (51_000, false),
        ] {
            let outcome = check_bus_ports(&request("bus", &[port]), (32_768, 60_999));
            assert_eq!(outcome.is_err(), refused, "{port}");
        }
        assert!(check_bus_ports(&request("bus", &[0]), (1, 65_535)).is_ok());
        assert_eq!(parse_range("32768\t60999\n"), (32_768, 60_999));
        assert_eq!(parse_range(""), (1, 0));
    }

    #[test]
    fn more_than_a_host_takes_is_refused_and_no_port_needs_no_room() {
        let many = request("many", &[6394; WORKLOADS_MAX + 1]);
        let error = propose(Path::new("/h"), &many).unwrap_err();
        assert!(matches!(error, AddressError::TooMany(_)));
        assert_eq!(
            propose(Path::new("/h"), &request("job", &[0]))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn the_range_ends_in_its_beginning() {
        let last = candidates(RANGE_LENGTH - 2).next().unwrap();
        assert_eq!(last, Ipv4Addr::new(127, 127, 255, 254));
        let next = candidates(RANGE_LENGTH - 2).nth(1).unwrap();
        assert_eq!(next, Ipv4Addr::new(127, 64, 0, 1));
    }
}
