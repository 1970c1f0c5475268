//! Fields that people know from other formats: what they are called here, or why they are not.

use crate::code;
use crate::problem::Problem;

/// Fields that would give a workload power over its host, and what is done instead.
const POWERS: [(&[&str], &str); 5] = [
    (
        &[
            "privileged",
            "cap_add",
            "capabilities",
            "security_opt",
            "devices",
            "device_cgroup_rules",
        ],
        "a workload has the rights of a plain process and no others",
    ),
    (
        &[
            "host_path",
            "hostPath",
            "bind",
            "mount",
            "mounts",
            "source",
            "volumes_from",
        ],
        "a volume is the instance's own; a folder or a socket of the host cannot be given to it",
    ),
    (
        &[
            "network_mode",
            "network",
            "networks",
            "host_network",
            "hostNetwork",
            "extra_hosts",
        ],
        "the engine gives an instance a network of its own",
    ),
    (
        &[
            "pid",
            "ipc",
            "uts",
            "userns_mode",
            "cgroup_parent",
            "hostPID",
            "hostIPC",
        ],
        "a workload has namespaces of its own",
    ),
    (
        &["secrets", "configs", "env_file"],
        "a config file under `files` carries what must stay unread by others",
    ),
];

/// Fields of other formats, and what stands for them here.
const TRANSLATIONS: [(&[&str], &str); 13] = [
    (&["env", "environments", "variables"], "environment"),
    (
        &[
            "healthcheck",
            "health_check",
            "livenessProbe",
            "readinessProbe",
        ],
        "health",
    ),
    (&["replicas", "scale", "instances"], "count"),
    (
        &["mem", "mem_limit", "memory_limit", "limits", "resources"],
        "memory",
    ),
    (&["cpu", "cpu_count", "cpu_limit"], "cpus"),
    (&["entrypoint", "args", "cmd"], "command"),
    (&["depends_on", "after", "requires"], "start_after"),
    (&["restart_policy", "restartPolicy"], "restart"),
    (
        &["stop_grace_period", "terminationGracePeriodSeconds"],
        "stop_timeout",
    ),
    (&["placement", "constraints", "nodeSelector"], "host_labels"),
    (&["read_only", "readOnlyRootFilesystem"], "read_only_root"),
    (&["path", "mountPath", "destination"], "target"),
    (&["source", "src", "from"], "template"),
];

/// What to say of a field that is not known here, where more can be said than that.
pub(crate) fn explain(field: &str, known: &[&str]) -> Option<Problem> {
    if let Some(name) = find(&TRANSLATIONS, field).filter(|name| known.contains(name)) {
        let message = format!("there is no field `{field}` here");
        return Some(
            Problem::new(code::UNKNOWN_FIELD, message).with_help(format!("it is called `{name}`")),
        );
    }
    find(&POWERS, field).map(|reason| {
        Problem::new(code::HOST_ACCESS, format!("`{field}` is not taken")).with_help(reason)
    })
}

fn find<'a>(table: &[(&[&str], &'a str)], field: &str) -> Option<&'a str> {
    table
        .iter()
        .find(|(names, _)| names.contains(&field))
        .map(|(_, told)| *told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_refused_and_other_names_translated() {
        let problem = explain("privileged", &["name"]).unwrap();
        assert_eq!(problem.code, code::HOST_ACCESS);
        let problem = explain("depends_on", &["start_after"]).unwrap();
        assert_eq!(problem.help.as_deref(), Some("it is called `start_after`"));
        assert_eq!(explain("depends_on", &["image"]), None);
        let problem = explain("source", &["template", "target"]).unwrap();
        assert_eq!(problem.code, code::UNKNOWN_FIELD);
        let problem = explain("source", &["name", "target"]).unwrap();
        assert_eq!(problem.code, code::HOST_ACCESS);
        assert_eq!(explain("nmae", &["name"]), None);
    }
}
