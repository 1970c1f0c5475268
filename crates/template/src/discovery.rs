//! What a config file can find out: the workloads of its instance and where they answer.
//!
//! Nothing is asked of the world here. Every address is decided before anything runs, and the
//! layout that holds the decisions is handed in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::address::NodeAddress;
use model::ids::{HostName, ServiceName, WorkloadName};
use model::instance::Layout;
use model::size::ByteSize;
use model::spec::Spec;

/// The workloads of an instance by service. Cheap to clone: each rendering keeps one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Discovery {
    services: Arc<BTreeMap<ServiceName, Vec<Peer>>>,
}

/// A workload as others see it: a container, in the words of a config file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its name: `.Name`, and `.Index`, which is its number from 0.
    pub name: WorkloadName,
    /// Where it answers: `.IPAddr` and `.Port`; port 0 where the service has none.
    pub address: NodeAddress,
    /// The name by which others on its network reach it: `.Hostname`.
    pub hostname: String,
    /// Its memory limit: `.Memory`, 0 without one.
    pub memory: Option<ByteSize>,
    /// The machine that runs it: `.Host.Name`.
    pub host_name: HostName,
    /// The address of that machine: `.Host.IPAddr`.
    pub host_ip: IpAddr,
}

impl Discovery {
    /// These workloads, in the order of their names. A service without any is known all the same.
    #[must_use]
    pub fn new(mut services: BTreeMap<ServiceName, Vec<Peer>>) -> Self {
        for peers in services.values_mut() {
            peers.sort_by(|left, right| left.name.cmp(&right.name));
        }
        Self {
            services: Arc::new(services),
        }
    }

    /// The workloads of a layout. `hosts` are the addresses of the machines; where one is missing,
    /// the workload's own address stands for it, as it does where all run on one machine.
    #[must_use]
    pub fn of(spec: &Spec, layout: &Layout, hosts: &BTreeMap<HostName, IpAddr>) -> Self {
        let peers = |service: &model::spec::Service| {
            layout
                .seats
                .iter()
                .filter(|(workload, _)| *workload.service() == service.name)
                .map(|(workload, seat)| Peer {
                    name: workload.clone(),
                    address: seat.address,
                    hostname: workload.to_string(),
                    memory: service.container.memory,
                    host_name: seat.host.clone(),
                    host_ip: hosts.get(&seat.host).copied().unwrap_or(seat.address.ip),
                })
                .collect()
        };
        Self::new(
            spec.services
                .iter()
                .map(|service| (service.name.clone(), peers(service)))
                .collect(),
        )
    }

    /// The services by name, each with its workloads by number.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &[Peer])> {
        self.services
            .iter()
            .map(|(name, peers)| (name, peers.as_slice()))
    }

    /// One workload.
    #[must_use]
    pub fn peer(&self, name: &WorkloadName) -> Option<&Peer> {
        self.services
            .get(name.service())?
            .iter()
            .find(|peer| peer.name == *name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use model::instance::Seat;

    use super::*;

    /// Two `redis` workloads on two hosts and an `init` job, seen by `redis-1`.
    pub(crate) fn two_hosts() -> (Discovery, WorkloadName) {
        let peer = |name: &str, last: u8, port: u16, memory: Option<u64>, host: u8| Peer {
            name: WorkloadName::parse(name).unwrap(),
            address: NodeAddress::new(IpAddr::from([10, 0, 0, last]), port),
            hostname: name.to_owned(),
            memory: memory.map(ByteSize::mib),
            host_name: HostName::new(["host-a", "host-b"][usize::from(host) - 1]),
            host_ip: IpAddr::from([10, 9, 0, host]),
        };
        let services = BTreeMap::from([
            (
                ServiceName::new("redis").unwrap(),
                vec![
                    peer("redis-2", 3, 6379, Some(256), 2),
                    peer("redis-1", 2, 6379, Some(256), 1),
                ],
            ),
            (
                ServiceName::new("init").unwrap(),
                vec![peer("init-1", 4, 0, None, 1)],
            ),
        ]);
        (
            Discovery::new(services),
            WorkloadName::parse("redis-1").unwrap(),
        )
    }

    #[test]
    fn the_workloads_of_a_layout_are_found_by_their_services() {
        let files = crate::builtin::files("redis-sharding").unwrap();
        let document = crate::Document::read(&files).unwrap();
        let spec = document.spec(&document.sample_values()).unwrap();
        let seat = |last: u8, host: &str| Seat {
            host: HostName::new(host),
            address: NodeAddress::new(IpAddr::from([10, 0, 0, last]), 6379),
            node: None,
            leaves: false,
        };
        let name = |name: &str| WorkloadName::parse(name).unwrap();
        let layout = Layout {
            seats: BTreeMap::from([
                (name("redis-10"), seat(11, "host-a")),
                (name("redis-2"), seat(3, "host-b")),
            ]),
            owners: BTreeMap::new(),
        };
        let hosts = BTreeMap::from([(HostName::new("host-a"), IpAddr::from([10, 9, 0, 1]))]);
        let discovery = Discovery::of(&spec, &layout, &hosts);
        let told: Vec<String> = discovery
            .services()
            .flat_map(|(_, peers)| peers)
            .map(|peer| format!("{} {} {}", peer.hostname, peer.address, peer.host_ip))
            .collect();
        // The host whose address nobody knows is that of its workload.
        let expected = [
            "redis-2 10.0.0.3:6379 10.0.0.3",
            "redis-10 10.0.0.11:6379 10.9.0.1",
        ];
        assert_eq!(told, expected);
        let services: Vec<&str> = discovery
            .services()
            .map(|(name, _)| name.as_str())
            .collect();
        let jobs = ["redis-trib", "redis-trib-drain", "redis-trib-reshard"];
        assert_eq!(services, [&["redis"], &jobs[..]].concat());
    }

    #[test]
    fn workloads_are_in_the_order_of_their_numbers() {
        let (discovery, me) = two_hosts();
        let names: Vec<String> = discovery
            .services()
            .flat_map(|(_, peers)| peers)
            .map(|peer| peer.name.to_string())
            .collect();
        assert_eq!(names, ["init-1", "redis-1", "redis-2"]);
        assert_eq!(
            discovery.peer(&me).map(|peer| peer.address.port),
            Some(6379)
        );
        assert_eq!(
            discovery.peer(&WorkloadName::parse("redis-3").unwrap()),
            None
        );
    }
}
