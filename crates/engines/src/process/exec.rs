//! Runs a command where a workload runs: in its folder, with its environment and its own tools.
//!
//! A container's `redis-cli` reaches the node of that container without being told where it is.
//! Here it is told. A password goes into the environment of the one command, never into its
//! arguments, which everybody can read.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use std::os::unix::process::ExitStatusExt;

use model::fault::{Class, Code, Explain};
use model::ids::WorkloadName;
use model::spec::Credentials;
use tokio::process::Command;

use super::images::{Images, MissingProgram};
use super::launch::Launch;
use super::translate::{TranslateError, place};

/// The environment variable from which the clients of Redis and Valkey take a password. Those of
/// Valkey know it as well as their own.
pub(crate) const PASSWORD_VARIABLE: &str = "REDISCLI_AUTH";

/// The clients, either of which does for either server.
const CLIENTS: [&str; 2] = ["redis-cli", "valkey-cli"];

/// Options of the clients that take a value, so that the value is not taken for the command.
const VALUE_OPTIONS: [&str; 30] = [
    "-h",
    "-p",
    "-s",
    "-u",
    "-a",
    "-r",
    "-i",
    "-n",
    "-d",
    "-D",
    "-X",
    "-t",
    "--user",
    "--pass",
    "--sni",
    "--cacert",
    "--cacertdir",
    "--cert",
    "--key",
    "--tls-ciphers",
    "--tls-ciphersuites",
    "--pipe-timeout",
    "--memkeys-samples",
    "--lru-test",
    "--rdb",
    "--functions-rdb",
    "--pattern",
    "--quoted-pattern",
    "--eval",
    "--intrinsic-latency",
];

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The workload was never started here.
    #[error("{0} does not exist on this host, or was never started")]
    Unknown(WorkloadName),
    /// There is no such program.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// A path cannot be passed on.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// The command is empty.
    #[error("there is no command to run")]
    Empty,
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Explain for ExecError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code("SY3016"),
            Self::Missing(error) => error.code(),
            Self::Translate(error) => error.code(),
            Self::Empty | Self::Failed { .. } => Code("SY3017"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Unknown(_) | Self::Empty => Class::Usage,
            Self::Missing(error) => error.class(),
            Self::Translate(error) => error.class(),
            Self::Failed { .. } => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("`status` lists the workloads of an instance".to_owned()),
            Self::Missing(error) => error.help(),
            Self::Translate(error) => error.help(),
            Self::Empty => Some("name it after `--`".to_owned()),
            Self::Failed { program, .. } => Some(format!(
                "check that {} is a program for this machine",
                program.display()
            )),
        }
    }
}

/// Runs a command on our own input and output, and gives its exit code; for one that a signal
/// ended 128 and the signal's number, as shells do.
pub(crate) async fn run(
    launch: &Launch,
    words: &[String],
    credentials: Option<&Credentials>,
    images: &Images,
) -> Result<i32, ExecError> {
    let mut command = command(launch, words, credentials, images)?;
    match command.status().await {
        Ok(status) => Ok(exit_code(status)),
        Err(source) => Err(ExecError::Failed {
            program: command.as_std().get_program().into(),
            source,
        }),
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    let signal = status.signal().unwrap_or(0);
    status.code().unwrap_or(128 + signal)
}

/// A command of a workload, ready to be started.
pub(crate) fn command(
    launch: &Launch,
    words: &[String],
    credentials: Option<&Credentials>,
    images: &Images,
) -> Result<Command, ExecError> {
    let (name, rest) = words.split_first().ok_or(ExecError::Empty)?;
    let rest = rest
        .iter()
        .map(|word| place::word(&launch.places, word))
        .collect::<Result<Vec<String>, TranslateError>>()?;
    let name = place::word(&launch.places, name)?;
    let client = is_client(&name);
    let program = if client {
        find_client(&name, &launch.program, images)
    } else {
        images.named(&name, Some(&launch.program))
    };
    let program = program.ok_or_else(|| images.missing(&name))?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(&launch.environment)
        .current_dir(&launch.folder);
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    if client {
        command.args(own_node(launch, &rest));
        if let Some(credentials) = credentials.filter(|_| !names_user(&rest)) {
            command.env(PASSWORD_VARIABLE, credentials.password.expose());
            command.args(["--user", &credentials.user]);
        }
    }
    command.args(rest);
    Ok(command)
}

/// Whether a command is a client of the servers.
pub(crate) fn is_client(name: &str) -> bool {
    CLIENTS.contains(&name.rsplit('/').next().unwrap_or(name))
}

/// The client that came with the server; the images of Valkey know it by both names.
fn find_client(name: &str, server: &Path, images: &Images) -> Option<PathBuf> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let names = [name, CLIENTS[0], CLIENTS[1]];
    let beside = names.into_iter().find_map(|name| {
        let path = server.parent()?.join(name);
        path.is_file().then_some(path)
    });
    beside.or_else(|| names.into_iter().find_map(|name| images.named(name, None)))
}

/// The options that stand before the client's command.
fn options(words: &[String]) -> impl Iterator<Item = &str> {
    let mut words = words.iter().map(String::as_str);
    std::iter::from_fn(move || {
        let option = words.next().filter(|word| word.starts_with('-'))?;
        if VALUE_OPTIONS.contains(&option) {
            words.next();
        }
        Some(option)
    })
}

/// Options that lead a client to the workload's own node, unless it is led elsewhere.
fn own_node(launch: &Launch, words: &[String]) -> Vec<String> {
    if leads_elsewhere(words) {
        return Vec::new();
    }
    let mut own = vec!["-h".to_owned(), launch.ip.to_string()];
    if !names_port(words) {
        own.extend(["-p".to_owned(), launch.port.to_string()]);
    }
    own
}

/// Whether a client is led to another server than its workload's own.
pub(crate) fn leads_elsewhere(words: &[String]) -> bool {
    options(words).any(|option| ["-h", "-s", "-u"].contains(&option))
}

/// Whether a client is told a port.
pub(crate) fn names_port(words: &[String]) -> bool {
    options(words).any(|option| option == "-p")
}

/// Whether a client is told by hand who logs in.
pub(crate) fn names_user(words: &[String]) -> bool {
    options(words).any(|option| ["-a", "--pass", "--user", "-u", "--no-auth"].contains(&option))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;

    use model::secret::Secret;
    use model::workload::Fingerprint;

    use super::super::launch::{Kind, Places, Print, Restart};
    use super::*;

    fn launch() -> Launch {
        Launch {
            fingerprint: Print(Fingerprint(1)),
            kind: Kind::Server,
            program: "/usr/bin/redis-server".into(),
            arguments: Vec::new(),
            environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            folder: "/".into(),
            ip: "127.64.1.1".parse().unwrap(),
            port: 7000,
            places: Places {
                volumes: vec![("/data".to_owned(), "/h/data".into())],
                files: Vec::new(),
            },
            health: None,
            restart: Restart::Always,
            stop_timeout_ms: 1,
            memory_bytes: None,
        }
    }

    fn check(words: &[&str], user: Option<&str>, expected: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let images = Images::new(
            "/own".into(),
            Vec::new(),
            OsStr::new("/usr/bin:/bin"),
            "/dev/null/programs".into(),
        );
        let credentials = user.map(|user| Credentials {
            user: user.to_owned(),
            password: Secret::new("hunter2"),
        });
        let command = command(&launch(), &words, credentials.as_ref(), &images).unwrap();
        let command = command.as_std();
        assert_eq!(
            command.get_args().collect::<Vec<_>>(),
            expected,
            "{words:?}"
        );
        let with_password = expected.contains(&"--user") && user.is_some();
        let password = command
            .get_envs()
            .find(|(name, _)| *name == PASSWORD_VARIABLE);
        assert_eq!(password.is_some(), with_password, "{words:?}");
    }

    #[test]
    fn a_client_is_led_to_its_own_node() {
        let own = ["-h", "127.64.1.1", "-p", "7000"];
        check(&["redis-cli"], None, &own);
        check(
            &["redis-cli", "get", "-h"],
            None,
            &[&own[..], &["get", "-h"]].concat(),
        );
        check(
            &["redis-cli", "-n", "-h", "x"],
            None,
            &[&own[..], &["-n", "-h", "x"]].concat(),
        );
        check(
            &["redis-cli", "-p", "1"],
            None,
            &["-h", "127.64.1.1", "-p", "1"],
        );
        for elsewhere in [["-h", "x"], ["-s", "x"], ["-u", "x"]] {
            check(&["redis-cli", elsewhere[0], elsewhere[1]], None, &elsewhere);
        }
        check(
            &["valkey-cli", "--rdb", "/data/x"],
            None,
            &[&own[..], &["--rdb", "/h/data/x"]].concat(),
        );
    }

    #[test]
    fn a_password_is_in_the_environment_of_the_client_alone() {
        let own = ["-h", "127.64.1.1", "-p", "7000"];
        check(
            &["redis-cli", "ping"],
            Some("app"),
            &[&own[..], &["--user", "app", "ping"]].concat(),
        );
        check(
            &["redis-cli", "-a", "x"],
            Some("app"),
            &[&own[..], &["-a", "x"]].concat(),
        );
        check(&["echo", "x"], Some("app"), &["x"]);
    }
}
