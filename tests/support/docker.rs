//! A real Docker daemon, by its own client: what the tests look at and break on purpose. Only what
//! carries the name of the test's own instance is touched.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Shardyard;

/// Whether there is a daemon; a test without one is skipped.
///
/// # Panics
/// Where there is none and SHARDYARD_REQUIRE_REAL is set.
#[must_use]
pub fn is_docker_there() -> bool {
    let asked = Command::new("docker")
        .arg("info")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = asked.is_ok_and(|status| status.success());
    let required = std::env::var_os("SHARDYARD_REQUIRE_REAL").is_some();
    assert!(
        there || !required,
        "no Docker daemon: tools/install dockerd"
    );
    if !there {
        eprintln!("skipped: no Docker daemon answers; tools/install dockerd starts one");
    }
    there
}

/// Runs Docker's own client to a good end, and gives what it wrote.
///
/// # Panics
/// Where it fails.
pub fn docker(arguments: &[&str]) -> String {
    let ran = Command::new("docker").args(arguments).output().unwrap();
    assert!(
        ran.status.success(),
        "docker {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8_lossy(&ran.stdout).trim().to_owned()
}

/// The same where it does not matter whether it fails.
pub fn try_docker(arguments: &[&str]) {
    let _ = Command::new("docker").args(arguments).output().unwrap();
}

/// What Docker says of something, as JSON.
#[must_use]
pub fn inspect(kind: &str, name: &str) -> Value {
    let text = docker(&[kind, "inspect", name]);
    let all: Value = serde_json::from_str(&text).unwrap();
    all[0].clone()
}

impl Shardyard {
    /// The name of a workload's container.
    #[must_use]
    pub fn container(&self, workload: &str) -> String {
        format!("shardyard_{}_{workload}", self.name())
    }

    /// The names of everything of this instance that is on the daemon.
    #[must_use]
    pub fn left_on_docker(&self) -> Vec<String> {
        let label = format!("label=shardyard.instance={}", self.name());
        let lists: [&[&str]; 3] = [
            &["ps", "-a", "--format", "{{.Names}}"],
            &["volume", "ls", "--format", "{{.Name}}"],
            &["network", "ls", "--format", "{{.Name}}"],
        ];
        lists
            .into_iter()
            .flat_map(|list| {
                let all = docker(&[list, &["--filter", &label]].concat());
                all.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }
}
