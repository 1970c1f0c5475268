//! Decides where workloads sit: which host, which address, and which place in the cluster.
//!
//! Copy k of shard s sits on host (s + k) mod H. With hosts enough no two copies of a shard share
//! one, and the primaries are spread so evenly that no host has a majority where three exist.

use std::collections::BTreeMap;

use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{HostName, NodeId, ShardIndex, WorkloadName};
use model::instance::{Layout, NodeSeat, PlannedRole, Seat};
use model::size::ByteSize;
use model::spec::{ClusterPart, Service, Spec, Strategy};
use model::view::HostView;

/// What a layout is made from, beside the spec.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The machines.
    pub hosts: &'a [HostView],
    /// The address of each workload.
    pub addresses: &'a BTreeMap<WorkloadName, NodeAddress>,
    /// A fresh node id for each node of the cluster that the steward forms.
    pub ids: &'a [NodeId],
}

/// The workloads of a spec, each with the port on which it answers (0 where it has none).
#[must_use]
pub fn wanted(spec: &Spec) -> Vec<(WorkloadName, u16)> {
    let mut wanted = Vec::new();
    for service in &spec.services {
        let port = service.container.ports.first().copied().unwrap_or(0);
        for number in 1..=service.count {
            wanted.push((WorkloadName::new(service.name.clone(), number), port));
        }
    }
    wanted
}

/// How many nodes the steward forms into a cluster: so many fresh ids a layout needs.
#[must_use]
pub fn node_count(spec: &Spec) -> usize {
    let managed = spec.services.iter().filter(|it| it.cluster.is_some());
    managed.map(|service| service.count as usize).sum()
}

/// Seats every workload; `None` where the site lacks a host, an address or an id.
#[must_use]
pub fn layout(spec: &Spec, site: Site<'_>) -> Option<Layout> {
    let mut ids = site.ids.iter().copied();
    let mut seats = BTreeMap::new();
    for service in &spec.services {
        for index in 0..service.count {
            let workload = WorkloadName::new(service.name.clone(), index + 1);
            let (host, node) = match service.cluster {
                Some(part) => {
                    let (shard, copy) = place_in_cluster(part, index)?;
                    let node = NodeSeat {
                        id: ids.next()?,
                        shard: ShardIndex(shard),
                        role: if copy == 0 {
                            PlannedRole::Primary
                        } else {
                            PlannedRole::Replica
                        },
                    };
                    let turn = usize::from(shard) + usize::from(copy);
                    (host(site.hosts, turn)?, Some(node))
                }
                None => (host(site.hosts, turn_of(service, index))?, None),
            };
            let address = *site.addresses.get(&workload)?;
            seats.insert(
                workload,
                Seat {
                    host,
                    address,
                    node,
                    leaves: false,
                },
            );
        }
    }
    Some(Layout {
        seats,
        owners: BTreeMap::new(),
    })
}

/// The shard and the copy of the workload with this index: first come all primaries, then all
/// first replicas, and so on, as `redis-cli --cluster create` has it.
fn place_in_cluster(part: ClusterPart, index: u32) -> Option<(u16, u16)> {
    let shards = u32::from(part.shards);
    let shard = u16::try_from(index.checked_rem(shards)?).ok()?;
    let copy = u16::try_from(index / shards).ok()?;
    Some((shard, copy))
}

pub(crate) fn host(hosts: &[HostView], turn: usize) -> Option<HostName> {
    let index = turn.checked_rem(hosts.len())?;
    hosts.get(index).map(|host| host.name.clone())
}

pub(crate) fn turn_of(service: &Service, index: u32) -> usize {
    match service.deployment.strategy {
        Strategy::Spread => index as usize,
        Strategy::Pack => 0,
    }
}

/// What is to be said about a spec before it is delivered. A critical finding forbids it.
#[must_use]
pub fn review(spec: &Spec, layout: &Layout, hosts: &[HostView]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &spec.services {
        if let Some(part) = service.cluster {
            findings.extend(review_cluster(service, part));
        }
    }
    findings.extend(review_memory(spec, layout, hosts));
    if hosts.len() == 1 && spec.services.iter().any(has_replicas) {
        findings.push(Finding {
            code: Code("SY2105"),
            severity: Severity::Notice,
            subject: format!("host {}", hosts[0].name),
            message: "every copy of every shard is on this host; when it is lost, so is the data"
                .to_owned(),
            help: None,
        });
    }
    findings
}

fn has_replicas(service: &Service) -> bool {
    service.cluster.is_some_and(|part| part.replicas > 0)
}

fn review_cluster(service: &Service, part: ClusterPart) -> Vec<Finding> {
    let mut findings = Vec::new();
    if part.shards < 3 {
        let shards = if part.shards == 1 {
            "1 shard"
        } else {
            "2 shards"
        };
        findings.push(Finding {
            code: Code("SY2101"),
            severity: Severity::Warning,
            subject: format!("service {}", service.name),
            message: format!(
                "with {shards} no replica can be elected when a primary dies, because a majority \
                 of all primaries must vote; the shard is back only once the primary is, and the \
                 last second of writes may be gone"
            ),
            help: Some("3 shards are the fewest that survive the loss of a primary".to_owned()),
        });
    }
    if part.replicas == 0 {
        findings.push(Finding {
            code: Code("SY2102"),
            severity: Severity::Warning,
            subject: format!("service {}", service.name),
            message:
                "without replicas each shard has one copy; a node that is lost takes its keys \
                      with it"
                    .to_owned(),
            help: Some("--replicas 1".to_owned()),
        });
    }
    findings
}

fn review_memory(spec: &Spec, layout: &Layout, hosts: &[HostView]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in hosts {
        let asked: u64 = layout
            .seats
            .iter()
            .filter(|(_, seat)| seat.host == host.name)
            .filter_map(|(workload, _)| spec.service(workload.service())?.container.memory)
            .fold(0, |sum, memory| sum.saturating_add(memory.as_bytes()));
        let asked = ByteSize::bytes(asked);
        let subject = format!("host {}", host.name);
        let help = Some("ask for less: --memory, --shards, --replicas".to_owned());
        if asked > host.memory_total {
            findings.push(Finding {
                code: Code("SY2104"),
                severity: Severity::Critical,
                subject,
                message: format!(
                    "the workloads are to have {asked} together, and the host has {}",
                    host.memory_total
                ),
                help,
            });
        } else if asked > host.memory_available {
            findings.push(Finding {
                code: Code("SY2103"),
                severity: Severity::Warning,
                subject,
                message: format!(
                    "the workloads may use {asked} together, and {} are free now",
                    host.memory_available
                ),
                help,
            });
        }
    }
    findings
}
