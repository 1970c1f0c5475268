//! The verbs: each makes its command, hands it to the driver, and shows the reply.

mod backup;
mod import;
mod instance;
mod login;
mod redis_trib;
mod scale;
mod serve;
pub(crate) mod supervise;
mod templates;
mod tend;
mod terminal;
mod trib;

use std::process::ExitCode;
use std::sync::Arc;

use clap::CommandFactory;
use control::cancel::Cancel;
use control::{Command, Control, Reply};
use model::fault::{Class, Fault};
use model::finding::Severity;

use crate::args::{Arguments, General, Output, Verb};
use crate::ask::Terminal;
use crate::progress::Progress;
use crate::remote::{Listener, Remote};
use crate::render::{json, text};
use crate::settings::Settings;
use crate::{print, read};

/// What all verbs share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) output: Output,
    pub(crate) yes: bool,
    pub(crate) settings: Settings,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Arc<Progress>,
    /// The server that runs the commands; `None` where they run here.
    pub(crate) remote: Option<Remote>,
}

impl Session {
    /// A session with these options. Interrupts are caught once a command runs.
    pub(crate) fn new(general: &General) -> Self {
        Self {
            output: general.output,
            yes: general.yes,
            settings: Settings::new(general),
            cancel: Cancel::new(),
            progress: Arc::new(Progress::new()),
            remote: None,
        }
    }

    /// The same, with the server that the options name. Verbs that are about this machine alone
    /// have no use for one.
    fn with_server(mut self, general: &General) -> Result<Self, Fault> {
        self.remote = Remote::new(general, &self.settings)?;
        Ok(self)
    }

    /// Runs a command to its end. The first Ctrl-C lets what is under way come to its end, the
    /// second ends the program.
    pub(crate) async fn run(
        &self,
        command: Command,
        confirm: Option<String>,
    ) -> Result<Reply, Fault> {
        let cancel = self.cancel.clone();
        let interrupts = tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if cancel.is_cancelled() {
                    std::process::exit(i32::from(Class::Interrupted.exit_code()));
                }
                print::message("Interrupted: what is under way is brought to its end.");
                cancel.cancel();
            }
        });
        let reply = self.carried_out(command, confirm).await;
        interrupts.abort();
        self.progress.finish();
        reply
    }

    /// Runs a command that has the terminal for itself: Ctrl-C is its own affair.
    pub(crate) async fn run_attached(&self, command: Command) -> Result<Reply, Fault> {
        let ignored = tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
        let reply = self.carried_out(command, None).await;
        ignored.abort();
        reply
    }

    /// Runs a command here, or has the server run it.
    async fn carried_out(&self, command: Command, confirm: Option<String>) -> Result<Reply, Fault> {
        let approver = self.terminal(confirm);
        if let Some(remote) = &self.remote {
            let listener = Listener {
                audience: self.progress.as_ref(),
                approver: &approver,
                cancel: &self.cancel,
            };
            return remote.run(&command, listener).await;
        }
        let hands = self
            .settings
            .hands(self.progress.clone(), self.cancel.clone())?;
        let control = Control::new(self.settings.home()?, hands, Arc::new(approver));
        control.run(command).await
    }

    /// Who answers questions.
    pub(crate) const fn terminal(&self, confirm: Option<String>) -> Terminal {
        Terminal {
            yes: self.yes,
            confirm,
        }
    }

    /// Writes a result in the form that was asked for.
    pub(crate) fn show(
        &self,
        text: impl FnOnce() -> String,
        body: impl FnOnce() -> serde_json::Value,
    ) {
        match self.output {
            Output::Text => print::result(&text()),
            Output::Json => print::result(&json::document(body())),
        }
    }
}

impl Session {
    /// Writes one line while a verb goes on.
    fn show_line(&self, text: impl FnOnce() -> String, body: impl FnOnce() -> serde_json::Value) {
        match self.output {
            Output::Text => print::result(&(text() + "\n")),
            Output::Json => print::result(&(json::line(body()) + "\n")),
        }
    }
}

/// Runs a verb: one that is about this machine alone here, others where the options say.
pub(crate) async fn run(
    session: Session,
    general: &General,
    verb: Verb,
) -> Result<ExitCode, Fault> {
    match verb {
        Verb::Template(verb) => templates::run(&session, verb),
        Verb::Serve(arguments) => serve::run(&session, arguments).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "shardyard", &mut script);
            print::result(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Verb::Supervise { name } => supervise::run(&session, &name),
        Verb::RedisTrib { file } => redis_trib::run(&session, &file).await,
        verb => command(session.with_server(general)?, verb).await,
    }
}

/// Runs a verb that makes a command.
async fn command(session: Session, verb: Verb) -> Result<ExitCode, Fault> {
    match verb {
        Verb::Up(arguments) => instance::up(&session, &arguments).await,
        Verb::Down(arguments) => instance::down(&session, &arguments).await,
        Verb::Scale(arguments) => scale::scale(&session, &arguments).await,
        Verb::Rebalance(arguments) => scale::rebalance(&session, &arguments).await,
        Verb::Failover(arguments) => scale::failover(&session, &arguments).await,
        Verb::Pause(arguments) => scale::tell(&session, &arguments, Command::Pause).await,
        Verb::Resume(arguments) => scale::tell(&session, &arguments, Command::Resume).await,
        Verb::Cancel(arguments) => scale::cancel(&session, &arguments).await,
        Verb::Ls => list(&session).await,
        Verb::Status(arguments) => instance::status(&session, &arguments).await,
        Verb::Logs(arguments) => instance::logs(&session, &arguments).await,
        Verb::Exec(arguments) => {
            let workload = Some(read::workload(&arguments.workload)?);
            instance::exec(&session, &arguments.name, workload, arguments.command).await
        }
        Verb::Cli(arguments) => match &session.remote {
            Some(remote) => terminal::run(&session, remote, arguments).await,
            None => {
                let mut command = vec!["redis-cli".to_owned(), "-c".to_owned()];
                command.extend(arguments.command);
                instance::exec(&session, &arguments.name, None, command).await
            }
        },
        Verb::Trib(verb) => trib::run(session, verb).await,
        Verb::Doctor => doctor(&session).await,
        Verb::Login(arguments) => login::run(&session, arguments).await,
        Verb::Template(_)
        | Verb::Serve(_)
        | Verb::Completions { .. }
        | Verb::Supervise { .. }
        | Verb::RedisTrib { .. } => Err(Fault::new(
            "SY5099",
            Class::Failed,
            "a verb about this machine was taken for a command; this is a bug",
        )),
    }
}

async fn list(session: &Session) -> Result<ExitCode, Fault> {
    match session.run(Command::List, None).await? {
        Reply::List(rows) => session.show(|| text::list(&rows), || json::list(&rows)),
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn doctor(session: &Session) -> Result<ExitCode, Fault> {
    let findings = match session.run(Command::Doctor, None).await? {
        Reply::Findings(findings) => findings,
        other => return Err(odd(&other)),
    };
    session.show(
        || {
            let mut lines: String = findings.iter().map(text::finding).collect();
            if findings.is_empty() {
                lines.push_str("This host is fit: nothing was found.\n");
            }
            lines
        },
        || serde_json::json!({ "findings": json::findings(&findings) }),
    );
    let serious = findings.iter().any(|it| it.severity > Severity::Notice);
    Ok(if serious {
        ExitCode::from(Class::Unhealthy.exit_code())
    } else {
        ExitCode::SUCCESS
    })
}

/// A reply that does not belong to its command.
pub(crate) fn odd(reply: &Reply) -> Fault {
    Fault::new(
        "SY5099",
        Class::Failed,
        "the driver gave another reply than the command has; this is a bug",
    )
    .with_cause(format!("{reply:?}").chars().take(80).collect::<String>())
}
