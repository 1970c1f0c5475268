//! Translates what a daemon shows of a container into what the core knows. Pure.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum};
use model::address::NodeAddress;
use model::ids::WorkloadName;
use model::view::{Ending, Storage, WorkloadPhase, WorkloadView};
use model::workload::Fingerprint;

use super::names;
use crate::process::observe::dataset::Loads;

/// A container of ours, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) workload: WorkloadName,
    pub(crate) activity: Activity,
    pub(crate) is_job: bool,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) restarts: u32,
    pub(crate) loads: Loads,
    /// The address that a try of ours connects to.
    pub(crate) probe: Option<NodeAddress>,
    /// The port of its server inside.
    pub(crate) port: Option<u16>,
    /// Where it sees its own volumes of data.
    pub(crate) data: Vec<String>,
}

/// What a container does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    /// It was made, and never ran.
    Made,
    /// It runs.
    Runs(Health),
    /// Its processes are frozen.
    Paused,
    /// It ended, and Docker starts it again.
    Restarting(i32),
    /// It ended.
    Ended(i32),
}

/// What Docker's own check says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Health {
    /// There is none.
    Unchecked,
    /// It has not said yet.
    Unknown,
    /// It passes.
    Good,
    /// It fails.
    Bad,
}

/// Reads a container; `None` where it is no workload.
pub(crate) fn seen(container: &ContainerInspectResponse) -> Option<Seen> {
    let labels = container.config.as_ref()?.labels.as_ref()?;
    let label = |name: &str| labels.get(name).map(String::as_str);
    if label(names::PART) != Some(names::Part::Workload.as_str()) {
        return None;
    }
    let probe = label(names::PROBE).and_then(NodeAddress::parse);
    Some(Seen {
        id: container.id.clone()?,
        workload: WorkloadName::parse(label(names::WORKLOAD)?)?,
        activity: activity(container),
        is_job: label(names::KIND) == Some("job"),
        fingerprint: label(names::FINGERPRINT).and_then(Fingerprint::parse),
        restarts: container
            .restart_count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        loads: loads(labels),
        probe,
        port: label(names::PORT).and_then(|it| it.parse().ok()),
        data: data(container),
    })
}

pub(crate) fn loads(labels: &HashMap<String, String>) -> Loads {
    match labels.get(names::LOADS).map(String::as_str) {
        Some("log") => Loads::AppendOnlyFiles,
        Some("dump") => Loads::Dump,
        Some(_) | None => Loads::Either,
    }
}

/// Where a container sees volumes that are its own data.
fn data(container: &ContainerInspectResponse) -> Vec<String> {
    let mounts = container.mounts.iter().flatten();
    mounts
        .filter(|mount| {
            let name = mount.name.as_deref().unwrap_or("");
            name.starts_with("shardyard_") && !name.contains("__files")
        })
        .filter_map(|mount| mount.destination.clone())
        .collect()
}

fn activity(container: &ContainerInspectResponse) -> Activity {
    let Some(state) = &container.state else {
        return Activity::Made;
    };
    let code = state.exit_code.and_then(|it| i32::try_from(it).ok());
    let code = code.unwrap_or(-1);
    let health = match state.health.as_ref().and_then(|it| it.status) {
        None | Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) => Health::Unchecked,
        Some(HealthStatusEnum::STARTING) => Health::Unknown,
        Some(HealthStatusEnum::HEALTHY) => Health::Good,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Bad,
    };
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) => Activity::Runs(health),
        Some(ContainerStateStatusEnum::PAUSED) => Activity::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => Activity::Restarting(code),
        Some(
            ContainerStateStatusEnum::EXITED
            | ContainerStateStatusEnum::DEAD
            | ContainerStateStatusEnum::REMOVING,
        ) => Activity::Ended(code),
        Some(ContainerStateStatusEnum::CREATED | ContainerStateStatusEnum::EMPTY)
        | Some(ContainerStateStatusEnum::STOPPING)
        | None => Activity::Made,
    }
}

impl Seen {
    /// Whether its processes live.
    pub(crate) const fn is_alive(&self) -> bool {
        matches!(self.activity, Activity::Runs(_) | Activity::Paused)
    }

    /// Whether a try of ours must say how it is, because Docker's own check does not.
    pub(crate) const fn needs_try(&self) -> Option<NodeAddress> {
        match self.activity {
            Activity::Runs(Health::Unchecked | Health::Unknown) => self.probe,
            Activity::Runs(Health::Good | Health::Bad)
            | Activity::Made
            | Activity::Paused
            | Activity::Restarting(_)
            | Activity::Ended(_) => None,
        }
    }

    /// What the core sees of it. `tried` is what a try of ours came to, where one was made.
    pub(crate) fn view(&self, tried: Option<bool>, storage: Storage) -> WorkloadView {
        WorkloadView {
            phase: self.phase(tried),
            fingerprint: self.fingerprint,
            restarts: self.restarts,
            memory: None,
            storage,
        }
    }

    fn phase(&self, tried: Option<bool>) -> WorkloadPhase {
        match self.activity {
            Activity::Made => WorkloadPhase::Stopped,
            Activity::Runs(health) => WorkloadPhase::Running {
                healthy: match (tried, health) {
                    (Some(passes), _) => passes,
                    (None, Health::Unchecked | Health::Good) => true,
                    (None, Health::Unknown | Health::Bad) => false,
                },
            },
            Activity::Paused => WorkloadPhase::Running { healthy: false },
            Activity::Restarting(code) => WorkloadPhase::Restarting {
                last: ending(code),
                // Docker does not tell how long its pause is.
                pause: Duration::ZERO,
            },
            // A server that ends well was told to.
            Activity::Ended(0) if !self.is_job => WorkloadPhase::Stopped,
            Activity::Ended(code) => WorkloadPhase::Ended(ending(code)),
        }
    }
}

/// Docker gives 128 and the signal's number for what a signal ended.
pub(crate) const fn ending(code: i32) -> Ending {
    match code {
        129..=192 => Ending::Signal(code - 128),
        _ => Ending::Exit(code),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerState, Health as DockerHealth};

    use super::*;

    fn container(status: ContainerStateStatusEnum, code: i64) -> ContainerInspectResponse {
        let labels = [
            (names::PART, "workload"),
            (names::WORKLOAD, "redis-1"),
            (names::KIND, "server"),
            (names::FINGERPRINT, "000000000000002a"),
            (names::PROBE, "10.0.0.1:6379"),
            (names::LOADS, "log"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        ContainerInspectResponse {
            id: Some("c".to_owned()),
            config: Some(ContainerConfig {
                labels: Some(labels.into()),
                ..ContainerConfig::default()
            }),
            state: Some(ContainerState {
                status: Some(status),
                exit_code: Some(code),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn what_a_container_does_becomes_a_phase() {
        use ContainerStateStatusEnum::{CREATED, EXITED, PAUSED, RESTARTING, RUNNING};
        let running = |healthy| WorkloadPhase::Running { healthy };
        for (status, code, expected) in [
            (CREATED, 0, WorkloadPhase::Stopped),
            (RUNNING, 0, running(true)),
            (PAUSED, 0, running(false)),
            (EXITED, 0, WorkloadPhase::Stopped),
            (EXITED, 1, WorkloadPhase::Ended(Ending::Exit(1))),
            (EXITED, 137, WorkloadPhase::Ended(Ending::Signal(9))),
            (
                RESTARTING,
                1,
                WorkloadPhase::Restarting {
                    last: Ending::Exit(1),
                    pause: Duration::ZERO,
                },
            ),
        ] {
            let seen = seen(&container(status, code)).unwrap();
            let view = seen.view(None, Storage::default());
            assert_eq!(view.phase, expected, "{status:?} {code}");
            assert_eq!(view.fingerprint, Some(Fingerprint(42)));
        }
    }

    #[test]
    fn a_job_that_ended_well_is_over_and_not_stopped() {
        let mut job = container(ContainerStateStatusEnum::EXITED, 0);
        let labels = job.config.as_mut().unwrap().labels.as_mut().unwrap();
        labels.insert(names::KIND.to_owned(), "job".to_owned());
        let phase = seen(&job).unwrap().view(None, Storage::default()).phase;
        assert_eq!(phase, WorkloadPhase::Ended(Ending::Exit(0)));
    }

    #[test]
    fn a_try_is_made_until_docker_has_looked_itself() {
        let mut container = container(ContainerStateStatusEnum::RUNNING, 0);
        for (health, tried) in [
            (HealthStatusEnum::STARTING, true),
            (HealthStatusEnum::HEALTHY, false),
            (HealthStatusEnum::UNHEALTHY, false),
        ] {
            container.state.as_mut().unwrap().health = Some(DockerHealth {
                status: Some(health),
                ..DockerHealth::default()
            });
            let seen = seen(&container).unwrap();
            assert_eq!(seen.needs_try().is_some(), tried, "{health:?}");
        }
    }

    #[test]
    fn what_is_no_workload_is_not_seen() {
        let mut other = container(ContainerStateStatusEnum::RUNNING, 0);
        let labels = other.config.as_mut().unwrap().labels.as_mut().unwrap();
        labels.insert(names::PART.to_owned(), "look".to_owned());
        assert_eq!(seen(&other), None);
        assert_eq!(seen(&ContainerInspectResponse::default()), None);
    }
}
