//! What is to be said about workloads before anything of them is made: what would lose data, what
//! cannot run, and what the host could not bear. Pure.

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::instance::Expose;
use model::size::ByteSize;
use model::spec::{RestartPolicy, ServiceKind};
use model::workload::Workload;

use super::translate::{Persistence, Role, restarts};

/// The least that a server runs with: an empty cluster node has 12 to 15 MiB resident, and its
/// first fork needs some of that again (measured with Redis 7.0 and 8.0, Valkey 8.1 and 9.1).
const MEMORY_MIN: ByteSize = ByteSize::mib(24);

/// What a host has for workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// All its memory, in bytes.
    pub(crate) memory_total: u64,
    /// The sum of the limits of what other instances run there.
    pub(crate) memory_promised: u64,
    /// How many neighbours its kernel remembers, those of all containers together
    /// (`net.ipv4.neigh.default.gc_thresh3`); `None` where that cannot be read.
    pub(crate) neighbours: Option<u64>,
    /// How many of these other instances need.
    pub(crate) neighbours_taken: u64,
}

/// The neighbours that so many nodes of one network have together: each has the others and the
/// gateway, and the host has them all.
pub(crate) const fn neighbours(nodes: u64) -> u64 {
    nodes * (nodes + 1)
}

/// What is to be said.
pub(crate) fn review(workloads: &[Workload], host: Room) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for workload in workloads {
        let role = Role::of(workload);
        findings.extend(of_server(workload, &role));
        findings.extend(of_memory(workload, &role));
    }
    // Equal workloads of a service have equal findings: one stands for all.
    findings.dedup_by(|next, first| next.code == first.code && next.subject == first.subject);
    findings.extend(of_host(workloads, host));
    findings.extend(of_neighbours(workloads, host));
    findings
}

fn subject(workload: &Workload) -> String {
    format!("service {}", workload.name.service())
}

fn finding(
    (code, severity): (&'static str, Severity),
    subject: String,
    message: String,
    help: &str,
) -> Finding {
    Finding {
        code: Code(code),
        severity,
        subject,
        message,
        help: Some(help.to_owned()),
    }
}

fn of_server(workload: &Workload, role: &Role) -> Option<Finding> {
    let Role::Server { settings, .. } = role else {
        return None;
    };
    if settings.persistence == Persistence::Off && workload.restart != RestartPolicy::Never {
        return Some(finding(
            ("SY3212", Severity::Critical),
            subject(workload),
            "it keeps nothing on disk and is started again when it ends: a primary would come back \
             empty, and its replicas would copy that"
                .to_owned(),
            "switch appendonly on, or set `restart: never` in the template's deployment",
        ));
    }
    if restarts(workload, role) != workload.restart {
        return Some(finding(
            ("SY3214", Severity::Notice),
            subject(workload),
            "a node that dies is not started again by Docker, because it would come back with its \
             last snapshot before its replica is elected; `up` starts it"
                .to_owned(),
            "with appendonly it keeps each write, and is started again at once",
        ));
    }
    None
}

fn of_memory(workload: &Workload, role: &Role) -> Option<Finding> {
    let is_server = matches!(role, Role::Server { .. });
    match workload.memory() {
        Some(memory) if is_server && memory < MEMORY_MIN => Some(finding(
            ("SY3213", Severity::Critical),
            subject(workload),
            format!("it may use {memory}, and a server needs {MEMORY_MIN} before its first key"),
            "give it more: 64MiB is a small server",
        )),
        None if workload.kind == ServiceKind::Server => Some(finding(
            ("SY3215", Severity::Warning),
            subject(workload),
            "it has no memory limit, and can take all that the host has".to_owned(),
            "name one in the template: container: {memory: 256MiB}",
        )),
        Some(_) | None => None,
    }
}

fn of_host(workloads: &[Workload], host: Room) -> Option<Finding> {
    let own: u64 = workloads
        .iter()
        .filter_map(Workload::memory)
        .fold(0, |sum, memory| sum.saturating_add(memory.as_bytes()));
    let all = own.saturating_add(host.memory_promised);
    // What is too much for the host by itself is refused elsewhere.
    if all <= host.memory_total || host.memory_promised == 0 {
        return None;
    }
    let show = ByteSize::bytes;
    Some(finding(
        ("SY3216", Severity::Warning),
        "host".to_owned(),
        format!(
            "with this instance the limits of all come to {}, and the host has {}",
            show(all),
            show(host.memory_total)
        ),
        "when all use what they may, the kernel ends one of them: ask for less (--memory, --shards, \
         --replicas)",
    ))
}

/// Each node of a cluster speaks to each other one, and the kernel has one table for the neighbours
/// of all containers. Where it is full, packets to whoever is not in it are dropped, and nodes take
/// each other for dead: 100 nodes never came together with the default of 1024 (Linux 6.18).
fn of_neighbours(workloads: &[Workload], host: Room) -> Option<Finding> {
    let is_node = |it: &&Workload| it.kind == ServiceKind::Server && it.expose == Expose::Network;
    let nodes = workloads.iter().filter(is_node).count() as u64;
    let needed = neighbours(nodes) + host.neighbours_taken;
    let room = host.neighbours.filter(|it| *it < needed && nodes > 0)?;
    let wanted = needed.next_power_of_two() * 2;
    Some(finding(
        ("SY3222", Severity::Critical),
        "host".to_owned(),
        format!(
            "the kernel remembers {room} neighbours, and the containers of this and the other \
             instances, which speak to each other, need {needed}; those beyond do not reach each \
             other"
        ),
        &format!(
            "for threshold in 1 2 3; do echo net.ipv4.neigh.default.gc_thresh$threshold={wanted}; \
             done | sudo tee /etc/sysctl.d/61-shardyard.conf && sudo sysctl --system"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::address::NodeAddress;
    use model::ids::WorkloadName;
    use model::image::ImageRef;
    use model::secret::Secret;
    use model::spec::Container;
    use model::workload::{Existing, PlacedFile};

    use super::*;

    const ROOMY: Room = Room {
        memory_total: 16 << 30,
        memory_promised: 0,
        neighbours: Some(1024),
        neighbours_taken: 0,
    };

    fn workload(
        number: u32,
        config: &str,
        memory: Option<u64>,
        restart: RestartPolicy,
    ) -> Workload {
        Workload {
            name: WorkloadName::parse(&format!("redis-{number}")).unwrap(),
            kind: ServiceKind::Server,
            image: ImageRef::parse("redis:7").unwrap(),
            address: NodeAddress::parse("10.192.0.2:6379").unwrap(),
            expose: Expose::Network,
            container: Container {
                memory: memory.map(ByteSize::mib),
                ..Container::default()
            },
            files: vec![PlacedFile {
                target: "/c/r.conf".to_owned(),
                text: Secret::new(config),
                existing: Existing::Replace,
            }],
            health: None,
            restart,
            stop_timeout: Duration::from_secs(1),
        }
    }

    fn check(workloads: &[Workload], host: Room, expected: &[(&str, Severity)]) {
        let found = review(workloads, host);
        let found: Vec<(&str, Severity)> =
            found.iter().map(|it| (it.code.0, it.severity)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_restart_without_persistence_is_refused() {
        use RestartPolicy::{Always, Never, OnFailure};
        let off = "appendonly no\nsave \"\"\n";
        let critical = [("SY3212", Severity::Critical)];
        check(&[workload(1, off, Some(64), Always)], ROOMY, &critical);
        check(&[workload(1, off, Some(64), OnFailure)], ROOMY, &critical);
        check(&[workload(1, off, Some(64), Never)], ROOMY, &[]);
        check(
            &[workload(1, "appendonly yes\nsave \"\"", Some(64), Always)],
            ROOMY,
            &[],
        );
    }

    #[test]
    fn a_node_that_only_saves_from_time_to_time_is_left_down_and_that_is_said_once() {
        let text = "cluster-enabled yes\n";
        let nodes = [1, 2].map(|number| workload(number, text, Some(64), RestartPolicy::Always));
        check(&nodes, ROOMY, &[("SY3214", Severity::Notice)]);
    }

    #[test]
    fn too_little_memory_no_limit_and_an_over_committed_host_are_said() {
        let log = |memory| workload(1, "appendonly yes", memory, RestartPolicy::Always);
        check(&[log(Some(8))], ROOMY, &[("SY3213", Severity::Critical)]);
        check(&[log(None)], ROOMY, &[("SY3215", Severity::Warning)]);
        let full = Room {
            memory_total: 1 << 30,
            memory_promised: 1000 << 20,
            ..ROOMY
        };
        check(&[log(Some(64))], full, &[("SY3216", Severity::Warning)]);
        check(&[log(Some(24))], full, &[]);
    }

    #[test]
    fn more_containers_than_the_kernel_remembers_neighbours_for_are_refused() {
        let nodes = |count: u32| -> Vec<Workload> {
            let text = "appendonly yes";
            (1..=count)
                .map(|number| workload(number, text, Some(64), RestartPolicy::Always))
                .collect()
        };
        check(&nodes(31), ROOMY, &[]);
        let critical = [("SY3222", Severity::Critical)];
        check(&nodes(32), ROOMY, &critical);
        let shared = Room {
            neighbours_taken: neighbours(25),
            ..ROOMY
        };
        check(&nodes(18), shared, &[]);
        check(&nodes(20), shared, &critical);
        let unknown = Room {
            neighbours: None,
            ..ROOMY
        };
        check(&nodes(100), unknown, &[]);
        // By way of the host each has one neighbour.
        let exposed = nodes(100).into_iter().map(|it| Workload {
            expose: Expose::Host("192.0.2.1".parse().unwrap()),
            ..it
        });
        check(&exposed.collect::<Vec<_>>(), ROOMY, &[]);
    }
}
