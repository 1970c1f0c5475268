//! Asks the user. Without a terminal and without `--yes` nothing is done.

use control::approve::{Approver, Question};
use model::fault::{Class, Fault};

use crate::print;
use crate::render::text;

/// Asks at the terminal, or takes the answers from the options.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// `--yes`.
    pub(crate) yes: bool,
    /// `--confirm NAME`.
    pub(crate) confirm: Option<String>,
}

impl Approver for Terminal {
    fn approve(&self, question: Question<'_>) -> Result<(), Fault> {
        match question {
            Question::Plan {
                what,
                plan,
                findings,
            } => {
                print::message(&text::plan(what, plan, findings));
                self.plan()
            }
            Question::Loss { name, lost } => {
                print::message(&text::loss(name, lost));
                self.loss(name)
            }
        }
    }
}

impl Terminal {
    fn plan(&self) -> Result<(), Fault> {
        if self.yes {
            return Ok(());
        }
        must_be_able_to_ask("--yes")?;
        match inquire::Confirm::new("Do it?").with_default(false).prompt() {
            Ok(true) => Ok(()),
            Ok(false) => Err(no()),
            Err(error) => Err(unanswered(&error)),
        }
    }

    /// `--yes` alone is not enough for what is lost for good.
    fn loss(&self, wanted: &str) -> Result<(), Fault> {
        let typed = match &self.confirm {
            Some(name) if self.yes => name.clone(),
            Some(_) | None => {
                must_be_able_to_ask(&format!("--yes --confirm {wanted}"))?;
                let question = format!("Type {wanted} to lose it:");
                inquire::Text::new(&question)
                    .prompt()
                    .map_err(|error| unanswered(&error))?
            }
        };
        if typed.trim() == wanted {
            return Ok(());
        }
        Err(Fault::new(
            "SY5003",
            Class::Refused,
            format!(
                "`{}` is not `{wanted}`; nothing was done",
                typed.trim().escape_debug()
            ),
        ))
    }
}

/// The password of a server, typed and not shown.
///
/// # Errors
/// Where nobody types one.
pub(crate) fn password(of: &str) -> Result<String, Fault> {
    secret(&format!("Password of {of}:"), "--from-password-file FILE")
}

/// A secret, typed and not shown.
///
/// # Errors
/// Where nobody types one.
pub(crate) fn secret(question: &str, instead: &str) -> Result<String, Fault> {
    must_be_able_to_ask(instead)?;
    inquire::Password::new(question)
        .without_confirmation()
        .prompt()
        .map_err(|error| unanswered(&error))
}

fn must_be_able_to_ask(instead: &str) -> Result<(), Fault> {
    if print::can_ask() {
        return Ok(());
    }
    Err(Fault::new(
        "SY5002",
        Class::Usage,
        "there is a question, and nobody at a terminal to answer it; nothing was done",
    )
    .with_help(format!("answer it beforehand: {instead}")))
}

fn no() -> Fault {
    Fault::new(
        "SY5003",
        Class::Refused,
        "the answer was no; nothing was done",
    )
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the prompt library's errors may grow"
)]
fn unanswered(error: &inquire::InquireError) -> Fault {
    match error {
        inquire::InquireError::OperationInterrupted => Fault::new(
            "SY4002",
            Class::Interrupted,
            "interrupted by the user; nothing was done",
        ),
        inquire::InquireError::OperationCanceled => no(),
        other => {
            Fault::new("SY5002", Class::Usage, "the question was not answered").with_cause(other)
        }
    }
}
