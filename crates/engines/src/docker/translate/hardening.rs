//! What a container may do and use: as little as a server needs. The items of the CIS Docker
//! Benchmark that concern a container (section 5) are held against real ones in the tests.

use std::collections::HashMap;

use bollard::models::{
    HostConfig, HostConfigLogConfig, ResourcesUlimits, RestartPolicy as DockerRestart,
    RestartPolicyNameEnum,
};
use model::spec::RestartPolicy;
use model::workload::Workload;

use super::{Ground, Role, restarts};

/// How many processes and threads a container may have. A server has about ten, its child as many
/// again, and each command that is run beside it one or two.
const PROCESSES_MAX: i64 = 512;

/// How many processors a container may keep busy where its template names no number: one for its
/// one thread that matters, and one for the child that saves.
const PROCESSORS: u32 = 2;

/// The weight of a container against others where processors are scarce: it stands here because
/// an explicit weight is what the benchmark asks for, and 1024 means "not set".
const PROCESSOR_WEIGHT: i64 = 1000;

/// Where programs may put what they do not keep; 64 MiB of memory, which count as the container's.
const SCRATCH: (&str, &str) = ("/tmp", "rw,noexec,nosuid,nodev,size=64m,mode=1777");

/// A log is kept in three files of 10 MB: unless told so, Docker keeps all of it for ever.
const LOG_FILE_SIZE: &str = "10m";
const LOG_FILES: &str = "3";

/// How often Docker starts something again that ends badly, where that is all it should do.
const FAILURES_MAX: i64 = 10;

/// Everything but network, mounts and ports.
pub(super) fn host_config(workload: &Workload, role: &Role, ground: Ground) -> HostConfig {
    let container = &workload.container;
    let memory = workload
        .memory()
        .and_then(|memory| i64::try_from(memory.as_bytes()).ok());
    let read_only = container.read_only_root
        || (matches!(role, Role::Server { .. }) && !container.volumes.is_empty());
    HostConfig {
        memory,
        // The same number for both leaves no swap. A daemon that cannot limit swap would only
        // complain about it.
        memory_swap: memory.filter(|_| ground.limits_swap),
        nano_cpus: Some(nano_processors(container.cpu_millis, ground.processors)),
        cpu_shares: Some(PROCESSOR_WEIGHT),
        pids_limit: Some(PROCESSES_MAX),
        ulimits: ulimits(workload).filter(|_| ground.with_ulimits),
        sysctls: Some(container.sysctls.clone().into_iter().collect()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        privileged: Some(false),
        readonly_rootfs: Some(read_only),
        tmpfs: read_only.then(|| HashMap::from([(SCRATCH.0.to_owned(), SCRATCH.1.to_owned())])),
        ipc_mode: Some("private".to_owned()),
        init: Some(false),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_FILE_SIZE.to_owned()),
                ("max-file".to_owned(), LOG_FILES.to_owned()),
            ])),
        }),
        restart_policy: Some(restart_policy(restarts(workload, role))),
        ..HostConfig::default()
    }
}

/// Never more than there are: Docker refuses that.
fn nano_processors(asked: Option<u32>, there: u32) -> i64 {
    let there = there.max(1).saturating_mul(1000);
    let millis = asked.unwrap_or(PROCESSORS * 1000).min(there);
    i64::from(millis) * 1_000_000
}

fn ulimits(workload: &Workload) -> Option<Vec<ResourcesUlimits>> {
    let own = workload.container.ulimits.iter();
    let limits: Vec<ResourcesUlimits> = own
        .map(|(name, limit)| {
            let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
            ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(limit),
                hard: Some(limit),
            }
        })
        .collect();
    (!limits.is_empty()).then_some(limits)
}

/// What was stopped by our wish stays stopped when the daemon starts anew.
fn restart_policy(policy: RestartPolicy) -> DockerRestart {
    let (name, count) = match policy {
        RestartPolicy::Always => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure => (RestartPolicyNameEnum::ON_FAILURE, Some(FAILURES_MAX)),
        RestartPolicy::Never => (RestartPolicyNameEnum::NO, None),
    };
    DockerRestart {
        name: Some(name),
        maximum_retry_count: count,
    }
}
