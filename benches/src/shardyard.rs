//! The two that are compared: our binary, and the tool that people use today.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Our binary with a state folder of its own.
#[derive(Debug)]
pub struct Shardyard {
    home: TempDir,
}

impl Default for Shardyard {
    fn default() -> Self {
        Self::new()
    }
}

impl Shardyard {
    /// A fresh state folder.
    ///
    /// # Panics
    /// Where there is no room for one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            home: tempfile::Builder::new().prefix("sy-").tempdir().unwrap(),
        }
    }

    /// The command, ready to be run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let built = std::env::var_os("SHARDYARD_BIN").map_or_else(
            || {
                PathBuf::from(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/../target/release/shardyard"
                ))
            },
            PathBuf::from,
        );
        let mut command = Command::new(built);
        command
            .args(arguments)
            .env("SHARDYARD_HOME", self.home.path())
            .env_remove("SHARDYARD_SERVERS")
            .env("SHARDYARD_ENGINE", "process")
            .stdin(Stdio::null());
        command
    }

    /// Runs to a good end.
    ///
    /// # Panics
    /// Where it ends otherwise.
    pub fn run(&self, arguments: &[&str]) -> Output {
        finished(self.command(arguments))
    }

    /// Runs to a good end, and reads what it says as JSON.
    ///
    /// # Panics
    /// Where it ends otherwise.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        serde_json::from_slice(&self.run(&all).stdout).unwrap()
    }

    /// The state folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Deletes an instance.
    pub fn delete(&self, name: &str) {
        self.run(&["down", name, "--delete-data", "--yes", "--confirm", name]);
    }
}

/// redis-cli with these arguments, to a good end.
///
/// # Panics
/// Where it ends otherwise.
pub fn redis_cli(arguments: &[&str]) -> Output {
    peer(Path::new("redis-cli"), arguments)
}

/// Another program with these arguments, to a good end.
///
/// # Panics
/// Where it ends otherwise.
pub fn peer(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    finished(command)
}

fn finished(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
