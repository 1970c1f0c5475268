//! Runs a command in a container, on the caller's own input and output.
//!
//! A password goes into the environment of the one command, never into its arguments: those are in
//! the daemon's events and in what it shows of the command, its environment is in neither.

use std::io::IsTerminal;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt;
use model::fault::{Class, Code, Explain};
use model::ids::WorkloadName;
use model::port::ExecRequest;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::client::{Daemon, DaemonError};
use super::observe::Seen;
use crate::process::exec::{PASSWORD_VARIABLE, is_client, leads_elsewhere, names_port, names_user};

/// How much of the input is sent at once.
const INPUT_BYTES: usize = 8 << 10;

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The daemon does not do what it is asked for.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The workload has no container.
    #[error("{0} has no container")]
    Unknown(WorkloadName),
    /// Its container does not run.
    #[error("{0} does not run")]
    NotRunning(WorkloadName),
    /// The command is empty.
    #[error("there is no command to run")]
    Empty,
    /// Input or output fails.
    #[error("the input or output of the command fails")]
    Stream(#[from] std::io::Error),
}

impl Explain for ExecError {
    fn code(&self) -> Code {
        match self {
            Self::Daemon(error) => error.code(),
            Self::Unknown(_) => Code("SY3016"),
            Self::NotRunning(_) | Self::Empty | Self::Stream(_) => Code("SY3017"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Daemon(error) => error.class(),
            Self::Unknown(_) | Self::Empty => Class::Usage,
            Self::NotRunning(_) => Class::Unhealthy,
            Self::Stream(_) => Class::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Daemon(error) => error.help(),
            Self::Unknown(_) => Some("`status` lists the workloads of an instance".to_owned()),
            Self::NotRunning(_) => Some("shardyard up --name NAME   starts it".to_owned()),
            Self::Empty => Some("name it after `--`".to_owned()),
            Self::Stream(_) => None,
        }
    }
}

/// Runs a command to its end and gives its exit code.
pub(crate) async fn run(
    daemon: &Daemon,
    seen: &Seen,
    request: &ExecRequest,
) -> Result<i32, ExecError> {
    let (words, environment) = command(seen, request)?;
    if !seen.is_alive() {
        return Err(ExecError::NotRunning(seen.workload.clone()));
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal),
        env: Some(environment),
        cmd: Some(words),
        ..CreateExecOptions::default()
    };
    let question = daemon.docker.create_exec(&seen.id, options);
    let id = daemon.ask("run a command", question).await?.id;
    let options = StartExecOptions {
        tty: terminal,
        ..StartExecOptions::default()
    };
    let question = daemon.docker.start_exec(&id, Some(options));
    let started = daemon.ask("run a command", question).await?;
    if let StartExecResults::Attached { mut output, input } = started {
        // Put back when it is dropped.
        let _raw = terminal.then(RawTerminal::begin).flatten();
        let sizes = terminal.then(|| tokio::spawn(follow_size(daemon.docker.clone(), id.clone())));
        let sending = tokio::spawn(send_input(input));
        while let Some(piece) = output.next().await {
            let piece = piece.map_err(|error| daemon.failure("run a command", error))?;
            show(piece).await?;
        }
        sending.abort();
        if let Some(sizes) = sizes {
            sizes.abort();
        }
    }
    let question = daemon.docker.inspect_exec(&id);
    let ended = daemon.ask("run a command", question).await?;
    let code = ended.exit_code.and_then(|code| i32::try_from(code).ok());
    Ok(code.unwrap_or(-1))
}

/// The words of a command and its environment. A client of the server is led to the server of its
/// container, and logs in, unless it is told otherwise.
fn command(seen: &Seen, request: &ExecRequest) -> Result<(Vec<String>, Vec<String>), ExecError> {
    let (name, rest) = request.command.split_first().ok_or(ExecError::Empty)?;
    let mut words = vec![name.clone()];
    let mut environment = Vec::new();
    if let Ok(terminal) = std::env::var("TERM") {
        environment.push(format!("TERM={terminal}"));
    }
    if is_client(name) {
        if let Some(port) = seen
            .port
            .filter(|_| !leads_elsewhere(rest) && !names_port(rest))
        {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(credentials) = request.credentials.as_ref().filter(|_| !names_user(rest)) {
            let password = credentials.password.expose();
            environment.push(format!("{PASSWORD_VARIABLE}={password}"));
            words.extend(["--user".to_owned(), credentials.user.clone()]);
        }
    }
    words.extend(rest.iter().cloned());
    Ok((words, environment))
}

async fn show(piece: LogOutput) -> std::io::Result<()> {
    match piece {
        LogOutput::StdErr { message } => {
            let mut out = tokio::io::stderr();
            out.write_all(&message).await?;
            out.flush().await
        }
        LogOutput::StdOut { message }
        | LogOutput::Console { message }
        | LogOutput::StdIn { message } => {
            let mut out = tokio::io::stdout();
            out.write_all(&message).await?;
            out.flush().await
        }
    }
}

async fn send_input(mut input: std::pin::Pin<Box<dyn AsyncWrite + Send>>) {
    let mut own = tokio::io::stdin();
    let mut bytes = vec![0; INPUT_BYTES];
    // It ends with the input, or with the command.
    while let Ok(count) = own.read(&mut bytes).await {
        if count == 0 || input.write_all(&bytes[..count]).await.is_err() {
            break;
        }
        let _ = input.flush().await;
    }
    let _ = input.shutdown().await;
}

/// Tells the command how large the terminal is, now and whenever that changes.
async fn follow_size(docker: bollard::Docker, exec: String) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else {
        return;
    };
    // It is ended from outside, with the command.
    loop {
        if let Ok(size) = tcgetwinsize(std::io::stdout()) {
            let options = ResizeExecOptions {
                height: size.ws_row,
                width: size.ws_col,
            };
            let _ = docker.resize_exec(&exec, options).await;
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// A terminal that hands on each key as it is pressed, until this is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use model::secret::Secret;
    use model::spec::Credentials;

    use super::super::observe::{Activity, Health};
    use super::*;
    use crate::process::observe::dataset::Loads;

    fn check(words: &[&str], user: Option<&str>, expected: &[&str], has_password: bool) {
        let seen = Seen {
            id: "c".to_owned(),
            workload: WorkloadName::parse("redis-1").unwrap(),
            activity: Activity::Runs(Health::Good),
            is_job: false,
            fingerprint: None,
            restarts: 0,
            loads: Loads::Either,
            probe: None,
            port: Some(7000),
            data: Vec::new(),
        };
        let request = ExecRequest {
            workload: seen.workload.clone(),
            command: words.iter().map(|it| (*it).to_owned()).collect(),
            credentials: user.map(|user| Credentials {
                user: user.to_owned(),
                password: Secret::new("hunter2"),
            }),
        };
        let (found, environment) = command(&seen, &request).unwrap();
        assert_eq!(found, expected);
        assert!(!found.iter().any(|it| it.contains("hunter2")));
        let password = environment.iter().any(|it| it == "REDISCLI_AUTH=hunter2");
        assert_eq!(password, has_password, "{words:?}");
    }

    #[test]
    fn a_client_is_led_to_its_server_and_logs_in_unless_it_is_told_otherwise() {
        let own = ["redis-cli", "-p", "7000", "--user", "app", "ping"];
        check(&["redis-cli", "ping"], Some("app"), &own, true);
        check(
            &["redis-cli", "-p", "1"],
            None,
            &["redis-cli", "-p", "1"],
            false,
        );
        check(
            &["redis-cli", "-h", "x"],
            None,
            &["redis-cli", "-h", "x"],
            false,
        );
        let own = ["valkey-cli", "-p", "7000", "-a", "x"];
        check(&["valkey-cli", "-a", "x"], Some("app"), &own, false);
        check(&["id"], Some("app"), &["id"], false);
    }
}
