//! What is amiss with a daemon and its host, each with the fix. It reads, and never sets anything.
//!
//! The kernel's settings of a host that is this one are the process engine's to judge: they are the
//! same for containers. Those of another host cannot be read from here, and that is said.

use model::fault::{Code, Explain};
use model::finding::{Finding, Severity};

use super::client::{Daemon, DaemonError};

/// What is amiss with a daemon.
pub(crate) fn examine(daemon: &Daemon) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subject = format!("host {}", daemon.facts.host);
    if !daemon.is_local() {
        findings.push(Finding {
            code: Code("SY3218"),
            severity: Severity::Notice,
            subject: subject.clone(),
            message: "its kernel settings cannot be read from here: vm.overcommit_memory, \
                      transparent huge pages, net.core.somaxconn"
                .to_owned(),
            help: Some("run shardyard doctor there".to_owned()),
        });
    }
    if let super::endpoint::Endpoint::Tcp {
        certificates: None, ..
    } = daemon.endpoint
    {
        findings.push(Finding {
            code: Code("SY3221"),
            severity: Severity::Critical,
            subject: subject.clone(),
            message: format!(
                "{} is open without encryption: whoever reaches that port is root on the host",
                daemon.endpoint
            ),
            help: Some(
                "use ssh:// in DOCKER_HOST, or certificates (docs.docker.com/engine/security/\
                 protect-access)"
                    .to_owned(),
            ),
        });
    }
    findings.extend(daemon.facts.warnings.iter().map(|warning| Finding {
        code: Code("SY3219"),
        severity: Severity::Notice,
        subject: subject.clone(),
        message: format!("Docker says: {}", warning.trim_start_matches("WARNING: ")),
        help: None,
    }));
    findings
}

/// That there is no daemon is no fault of the host: processes do without.
pub(crate) fn absent(error: &DaemonError) -> Finding {
    Finding {
        code: error.code(),
        severity: Severity::Notice,
        subject: "docker".to_owned(),
        message: error.to_string(),
        help: error.help(),
    }
}
