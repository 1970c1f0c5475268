//! The real binary, with a state folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::kill;

/// The product under test.
#[derive(Debug)]
pub struct Shardyard {
    home: PathBuf,
    /// Kept for its end, which removes the folder.
    folder: Option<TempDir>,
    name: String,
    /// The platform on which a new instance comes to be.
    engine: &'static str,
}

/// What came of one run.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// What was written to stdout.
    pub stdout: String,
    /// What was written to stderr.
    pub stderr: String,
}

impl Ran {
    /// What was written to stdout, as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{}\n{}", self.stdout, self.stderr))
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Default for Shardyard {
    fn default() -> Self {
        Self::new()
    }
}

impl Shardyard {
    /// A state folder that nobody else uses, and an instance name that no other test has: the
    /// addresses of an instance follow from its name.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sy-").tempdir().unwrap();
        Self {
            home: folder.path().to_owned(),
            folder: Some(folder),
            name: fresh_name(),
            engine: "process",
        }
    }

    /// The same on Docker.
    #[must_use]
    pub fn on_docker() -> Self {
        let mut product = Self::new();
        product.engine = "docker";
        product
    }

    /// The same in a folder that is there already, such as one on a disk of its own.
    #[must_use]
    pub fn in_folder(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
            folder: None,
            name: fresh_name(),
            engine: "process",
        }
    }

    /// The instance's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The state folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of one of the instance's workloads.
    #[must_use]
    pub fn workload(&self, workload: &str) -> PathBuf {
        self.home
            .join("instances")
            .join(&self.name)
            .join("workloads")
            .join(workload)
    }

    /// The volume with a workload's data.
    #[must_use]
    pub fn data(&self, workload: &str) -> PathBuf {
        self.workload(workload).join("volumes/data")
    }

    /// The command, ready to be run, with nothing of the tester's own settings.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("SHARDYARD_HOME", &self.home)
            .env("SHARDYARD_SERVERS", server_folders())
            .env_remove("REDISCLI_AUTH")
            .env("SHARDYARD_ENGINE", self.engine)
            .env_remove("SHARDYARD_OUTPUT")
            .env_remove("SHARDYARD_SERVER")
            .env_remove("SHARDYARD_TOKEN")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(&self.command(arguments).output().unwrap())
    }

    /// Runs to a good end.
    ///
    /// # Panics
    /// Where the exit code is not 0.
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(
            ran.code,
            0,
            "shardyard {}\n{}\n{}",
            arguments.join(" "),
            ran.stdout,
            ran.stderr
        );
        ran
    }

    /// Begins a run.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Delivers the instance with these further arguments.
    pub fn up(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["up", "--name", &self.name, "--yes", "-o", "json"];
        all.extend(arguments);
        self.ok(&all).json()
    }

    /// The same with values by stdin, as secrets are given.
    #[must_use]
    pub fn up_with_values(&self, values: &str) -> Ran {
        use std::io::Write;
        let arguments = ["up", "--name", &self.name, "-f", "-", "--yes", "-o", "json"];
        let mut child = self
            .command(&arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(values.as_bytes())
            .unwrap();
        ran(&child.wait_with_output().unwrap())
    }

    /// How the instance is; its exit code may be 3.
    #[must_use]
    pub fn status(&self) -> Value {
        self.run(&["status", &self.name, "-o", "json"]).json()
    }

    /// The instance's state in one word.
    #[must_use]
    pub fn state(&self) -> String {
        self.status()["state"].as_str().unwrap().to_owned()
    }

    /// The plan of an `up` now: its steps.
    #[must_use]
    pub fn steps_left(&self) -> usize {
        let plan = self
            .ok(&["up", "--name", &self.name, "--dry-run", "-o", "json"])
            .json();
        let phases = plan["phases"].as_array().unwrap();
        phases
            .iter()
            .map(|phase| phase["steps"].as_array().unwrap().len())
            .sum()
    }

    /// The pid of a workload's process, as its supervisor noted it.
    #[must_use]
    pub fn pid(&self, workload: &str) -> u32 {
        let text = fs::read_to_string(self.workload(workload).join("state.json")).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        find_pid(&state).unwrap_or_else(|| panic!("{workload} has no process: {text}"))
    }

    /// The pid of the instance's supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Option<u32> {
        self.processes()
            .into_iter()
            .find(|(_, arguments)| arguments.iter().any(|word| word == "supervise"))
            .map(|(pid, _)| pid)
    }

    /// The processes that have to do with this state folder: its path is in their arguments.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, Vec<String>)> {
        let home = self.home.to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments: Vec<String> = text
                .split(|byte| *byte == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let ours =
                folder.starts_with(&self.home) || arguments.iter().any(|word| word.contains(&home));
            if ours && pid != std::process::id() {
                found.push((pid, arguments));
            }
        }
        found
    }

    /// The password of applications.
    #[must_use]
    pub fn password(&self) -> String {
        let status = self.status();
        let file = status["credentials"]["password_file"].as_str().unwrap();
        fs::read_to_string(file).unwrap()
    }

    /// Where clients connect, with the password.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let status = self.status();
        let password = match status["credentials"]["password_file"].as_str() {
            Some(file) => format!(":{}@", fs::read_to_string(file).unwrap()),
            None => String::new(),
        };
        let endpoints = status["endpoints"].as_array().unwrap();
        endpoints
            .iter()
            .map(|it| {
                let address = it.as_str().unwrap().trim_start_matches("redis://");
                format!("redis://{password}{address}")
            })
            .collect()
    }
}

impl Shardyard {
    /// The addresses of the primaries.
    #[must_use]
    pub fn primaries(&self) -> Vec<String> {
        let status = self.status();
        let shards = status["shards"].as_array().unwrap();
        shards
            .iter()
            .map(|shard| shard["primary"]["address"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Shardyard {
    fn drop(&mut self) {
        if std::env::var_os("SHARDYARD_KEEP").is_some() {
            // What runs goes on too: for a person who wants to look at it, and end it.
            let _ = self.folder.take().map(TempDir::keep);
            eprintln!("kept: {}", self.home.display());
            return;
        }
        let list = self.run(&["ls", "-o", "json"]);
        let known: Value = serde_json::from_str(&list.stdout).unwrap_or_default();
        for instance in known["instances"].as_array().into_iter().flatten() {
            if let Some(name) = instance["name"].as_str() {
                let _ = self.run(&["down", name, "--delete-data", "--yes", "--confirm", name]);
            }
        }
        // A supervisor first, or it would start again what is ended.
        for (pid, arguments) in self.processes() {
            if arguments.iter().any(|word| word == "supervise") {
                kill(pid, Signal::KILL);
            }
        }
        for (pid, _) in self.processes() {
            kill(pid, Signal::KILL);
        }
    }
}

fn fresh_name() -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{number}", std::process::id())
}

/// What a finished run wrote.
fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The number under the first field called `pid`, however deep.
fn find_pid(value: &Value) -> Option<u32> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, inner)| {
            if name == "pid" {
                u32::try_from(inner.as_u64()?).ok()
            } else {
                find_pid(inner)
            }
        }),
        Value::Array(items) => items.iter().find_map(find_pid),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The binary: `make test` names the one that is delivered; a plain `cargo nextest` takes the one
/// that stands beside the tests.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("SHARDYARD_BIN") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("shardyard");
    assert!(
        built.exists(),
        "build it first: cargo build --bin shardyard, or name one by SHARDYARD_BIN"
    );
    built
}

/// The folders of the unpacked servers: SHARDYARD_SERVERS names the folder that holds them all.
fn server_folders() -> std::ffi::OsString {
    let root = std::env::var_os("SHARDYARD_SERVERS").map(PathBuf::from);
    let folders = ["redis-8.0", "valkey-8.1", "valkey-9.1"];
    let all = root
        .iter()
        .flat_map(|root| folders.map(|name| root.join(name).join("bin")));
    std::env::join_paths(all).unwrap()
}

/// The images whose servers are at hand; all of them where CI says so.
///
/// # Panics
/// Where one is missing and SHARDYARD_REQUIRE_REAL is set.
#[must_use]
pub fn servers() -> Vec<&'static str> {
    let root = std::env::var_os("SHARDYARD_SERVERS").map(PathBuf::from);
    let required = std::env::var_os("SHARDYARD_REQUIRE_REAL").is_some();
    let mut images = vec!["redis:7"];
    for (image, program) in [
        ("redis:8", "redis-8.0/bin/redis-server"),
        ("valkey/valkey:8", "valkey-8.1/bin/valkey-server"),
        ("valkey/valkey:9", "valkey-9.1/bin/valkey-server"),
    ] {
        if root
            .as_ref()
            .is_some_and(|root| root.join(program).exists())
        {
            images.push(image);
        } else {
            assert!(!required, "{image} is missing: tests/fetch-servers FOLDER");
            eprintln!("skipped: {image} is missing; tests/fetch-servers FOLDER gets it");
        }
    }
    images
}
