//! Finds addresses for the workloads of a new instance: a network that clashes with nothing and an
//! address in it for each, or ports of the host where the host exposes them.
//!
//! Pure: what is taken is an argument. Which network an address belongs to follows from the
//! address, so that nothing needs to be remembered between finding it and making the network.

use std::net::{IpAddr, Ipv4Addr};

use model::address::{BUS_PORT_OFFSET, NodeAddress};
use model::fault::{Class, Code, Explain};
use model::ids::InstanceName;
use model::port::AddressRequest;
use model::workload::Fnv;

/// The first network of ours, 10.192.0.0: away from Docker's own defaults (172.17 to 172.31 and
/// 192.168) and from the low parts of 10, where people put their own.
const RANGE_FIRST: u32 = 0x0ac0_0000;

/// How many there are, up to 10.255.252.0.
const NETWORKS: u32 = 4096;

/// The length of a network's prefix: 1022 addresses, which is about what one bridge takes (the
/// kernel's `BR_MAX_PORTS` is 1024).
pub(crate) const PREFIX: u8 = 22;

/// The most workloads of one instance: the addresses of a network without its own, its gateway's
/// and the last one.
const WORKLOADS_MAX: usize = 1000;

/// The first port of the host that is given away, and how many there are. With the bus 10000 above
/// they stay below 32768, where the ports of outgoing connections begin.
const PORT_FIRST: u16 = 17_000;
const PORTS: u16 = 5_000;

/// Why there are no addresses.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// One bridge does not take so many.
    #[error("{0} workloads are more than one Docker network takes, which is {WORKLOADS_MAX}")]
    TooMany(usize),
    /// Every network is taken.
    #[error("no network of 10.192.0.0/10 is free")]
    NoNetwork,
    /// Too few ports are free.
    #[error("{found} of {wanted} ports of {host} are free from {PORT_FIRST} on")]
    NoPorts {
        /// How many are free.
        found: usize,
        /// How many are wanted.
        wanted: usize,
        /// The host's address.
        host: IpAddr,
    },
    /// Containers cannot reach each other by it.
    #[error("{0} is an address that leads each container to itself")]
    Loopback(IpAddr),
}

impl Explain for AddressError {
    fn code(&self) -> Code {
        Code("SY3220")
    }

    fn class(&self) -> Class {
        match self {
            Self::TooMany(_) | Self::Loopback(_) => Class::Usage,
            Self::NoNetwork | Self::NoPorts { .. } => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::TooMany(_) => "use fewer shards or replicas, or more hosts".to_owned(),
            Self::NoNetwork => "docker network ls   shows which can go".to_owned(),
            Self::NoPorts { .. } => "docker ps   shows who has them".to_owned(),
            Self::Loopback(_) => {
                "the nodes tell it to each other, too: name an address of the host in its network, \
                 as in --expose host=192.168.1.10"
                    .to_owned()
            }
        })
    }
}

/// An IPv4 network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Subnet {
    first: u32,
    prefix: u8,
}

impl Subnet {
    /// Reads `10.0.0.0/24`; `None` for what is no IPv4 network.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        Some(Self::around(address, prefix))
    }

    /// The network of this length that an address is in.
    pub(crate) fn around(address: Ipv4Addr, prefix: u8) -> Self {
        Self {
            first: address.to_bits() & mask(prefix),
            prefix,
        }
    }

    /// Its gateway: the first address.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + 1)
    }

    /// Whether the two have an address in common.
    pub(crate) fn clashes(self, other: Self) -> bool {
        let shorter = mask(self.prefix.min(other.prefix));
        self.first & shorter == other.first & shorter
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", Ipv4Addr::from_bits(self.first), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The network that an address of ours is in; `None` for an address of the host.
pub(crate) fn network_of(address: IpAddr) -> Option<Subnet> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let length = NETWORKS << (32 - PREFIX);
    let place = address.to_bits().checked_sub(RANGE_FIRST)?;
    (place < length).then(|| Subnet::around(address, PREFIX))
}

/// What is there already.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Taken {
    /// Networks of the daemon and routes of its host.
    pub(crate) subnets: Vec<Subnet>,
    /// The network that this instance has.
    pub(crate) own: Option<Subnet>,
    /// The addresses of this instance's workloads.
    pub(crate) own_addresses: Vec<NodeAddress>,
    /// Ports of the host.
    pub(crate) ports: Vec<u16>,
}

/// Addresses in a network of the instance's own.
pub(crate) fn in_network(
    request: &AddressRequest,
    taken: &Taken,
) -> Result<Vec<NodeAddress>, AddressError> {
    let wanted = request.ports.len();
    if wanted + taken.own_addresses.len() > WORKLOADS_MAX {
        return Err(AddressError::TooMany(wanted + taken.own_addresses.len()));
    }
    let subnet = match taken.own {
        Some(own) => own,
        None => free_subnet(request, taken).ok_or(AddressError::NoNetwork)?,
    };
    // After the network's own address and its gateway's.
    let addresses = (subnet.first + 2..).map(Ipv4Addr::from_bits);
    let free = addresses.filter(|address| {
        let ip = IpAddr::V4(*address);
        // A job that has not run yet has no container, and holds its address all the same.
        let mut held = taken.own_addresses.iter();
        !held.any(|it| it.ip == ip) && !request.taken.contains(&ip)
    });
    Ok(free
        .zip(&request.ports)
        .map(|(address, (_, port))| NodeAddress::new(address.into(), *port))
        .collect())
}

/// The first free network from where the instance's name leads, so that the same name comes to the
/// same one where it can.
fn free_subnet(request: &AddressRequest, taken: &Taken) -> Option<Subnet> {
    let first = start(&request.instance) % NETWORKS;
    let others: Vec<Subnet> = request
        .taken
        .iter()
        .filter_map(|address| network_of(*address))
        .collect();
    (0..NETWORKS)
        .map(|turn| (first + turn) % NETWORKS)
        .map(|index| Subnet {
            first: RANGE_FIRST + (index << (32 - PREFIX)),
            prefix: PREFIX,
        })
        .find(|subnet| {
            let mut held = taken.subnets.iter().chain(&others);
            !held.any(|it| it.clashes(*subnet))
        })
}

fn start(instance: &InstanceName) -> u32 {
    use std::hash::{Hash, Hasher};
    let mut hash = Fnv::new();
    instance.as_str().hash(&mut hash);
    let [.., a, b, c, d] = hash.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Ports of the host, each with room for its bus port.
pub(crate) fn on_host(
    request: &AddressRequest,
    host: IpAddr,
    is_free: impl Fn(u16) -> bool,
) -> Result<Vec<NodeAddress>, AddressError> {
    if host.is_loopback() || host.is_unspecified() {
        return Err(AddressError::Loopback(host));
    }
    let free = |port: &u16| is_free(*port) && is_free(*port + BUS_PORT_OFFSET);
    let mut ports = (PORT_FIRST..PORT_FIRST + PORTS).filter(free);
    let mut addresses = Vec::new();
    for (_, inside) in &request.ports {
        // What answers on no port needs none of the host's.
        let port = match inside {
            0 => 0,
            _ => ports.next().ok_or(AddressError::NoPorts {
                found: addresses.len(),
                wanted: request.ports.len(),
                host,
            })?,
        };
        addresses.push(NodeAddress::new(host, port));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::ids::WorkloadName;
    use model::instance::Expose;

    use super::*;

    fn request(name: &str, count: usize) -> AddressRequest {
        let workload = |number: usize| WorkloadName::parse(&format!("redis-{number}")).unwrap();
        AddressRequest {
            instance: InstanceName::new(name).unwrap(),
            ports: (1..=count).map(|number| (workload(number), 6379)).collect(),
            without_bus: BTreeSet::new(),
            taken: BTreeSet::new(),
            expose: Expose::Network,
        }
    }

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    #[test]
    fn networks_clash_where_they_have_an_address_in_common() {
        for (left, right, expected) in [
            ("10.0.0.0/8", "10.192.4.0/22", true),
            ("10.192.4.0/22", "10.192.7.255/32", true),
            ("10.192.4.0/22", "10.192.8.0/22", false),
            ("0.0.0.0/0", "10.192.4.0/22", true),
            ("192.168.0.0/16", "10.192.4.0/22", false),
        ] {
            assert_eq!(
                subnet(left).clashes(subnet(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                subnet(right).clashes(subnet(left)),
                expected,
                "{right} {left}"
            );
        }
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/8", ""] {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_same_name_comes_to_the_same_network_and_passes_over_what_is_taken() {
        let first = in_network(&request("orders", 6), &Taken::default()).unwrap();
        assert_eq!(
            first,
            in_network(&request("orders", 6), &Taken::default()).unwrap()
        );
        let own = network_of(first[0].ip).unwrap();
        assert_eq!(first[0].ip, IpAddr::V4(Ipv4Addr::from_bits(own.first + 2)));
        assert!(
            first
                .iter()
                .all(|it| network_of(it.ip) == Some(own) && it.port == 6379)
        );
        let taken = Taken {
            subnets: vec![own],
            ..Taken::default()
        };
        let second = in_network(&request("orders", 6), &taken).unwrap();
        assert_ne!(network_of(second[0].ip), Some(own));
        let mut asked = request("orders", 6);
        asked.taken.insert(first[3].ip);
        let third = in_network(&asked, &Taken::default()).unwrap();
        assert_ne!(network_of(third[0].ip), Some(own));
    }

    #[test]
    fn an_instance_that_grows_stays_in_its_network() {
        let own = subnet("10.200.8.0/22");
        let held = |last: u8| NodeAddress::new(Ipv4Addr::new(10, 200, 8, last).into(), 6379);
        let taken = Taken {
            subnets: vec![own],
            own: Some(own),
            own_addresses: vec![held(2), held(4)],
            ports: Vec::new(),
        };
        let found = in_network(&request("orders", 2), &taken).unwrap();
        assert_eq!(found, [held(3), held(5)]);
        // A job that has not run yet has an address and no container.
        let mut asked = request("orders", 2);
        asked.taken.insert(held(3).ip);
        let found = in_network(&asked, &taken).unwrap();
        assert_eq!(found, [held(5), held(6)]);
    }

    #[test]
    fn too_many_and_none_left_are_said() {
        let many = in_network(&request("orders", 1001), &Taken::default());
        assert_eq!(many, Err(AddressError::TooMany(1001)));
        let taken = Taken {
            subnets: vec![subnet("10.0.0.0/8")],
            ..Taken::default()
        };
        assert_eq!(
            in_network(&request("orders", 1), &taken),
            Err(AddressError::NoNetwork)
        );
    }

    #[test]
    fn ports_of_the_host_are_free_with_their_bus_and_never_on_loopback() {
        let host: IpAddr = "192.0.2.2".parse().unwrap();
        let free = |port: u16| ![17_000, 27_002].contains(&port);
        let mut asked = request("orders", 3);
        asked.ports[1].1 = 0;
        let found = on_host(&asked, host, free).unwrap();
        let ports: Vec<u16> = found.iter().map(|it| it.port).collect();
        assert_eq!(ports, [17_001, 0, 17_003]);
        let none = on_host(&asked, host, |_| false);
        assert!(matches!(none, Err(AddressError::NoPorts { found: 0, .. })));
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let error = on_host(&asked, loopback, free).unwrap_err();
        assert_eq!(error, AddressError::Loopback(loopback));
    }

    #[test]
    fn an_address_of_the_host_is_in_no_network_of_ours() {
        for text in ["10.191.255.255", "11.0.0.1", "192.0.2.2", "::1", "9.0.0.1"] {
            assert_eq!(network_of(text.parse().unwrap()), None, "{text}");
        }
        let last = network_of("10.255.255.1".parse().unwrap()).unwrap();
        assert_eq!(last.to_string(), "10.255.252.0/22");
    }
}
