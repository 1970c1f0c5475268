//! `login`: makes oneself known to a server once, and keeps a token for it.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use model::fault::{Class, Fault};
use model::secret::Secret;
use serde_json::json;

use super::Session;
use crate::args::LoginArguments;
use crate::ask;
use crate::remote::Person;

/// The longest line that is read; a password has 256 bytes at most.
const LINE_MAX: u64 = 4096;

pub(super) async fn run(session: &Session, arguments: LoginArguments) -> Result<ExitCode, Fault> {
    let Some(remote) = &session.remote else {
        return Err(
            Fault::new("SY5013", Class::Usage, "no server is named to log in to")
                .with_help("shardyard login --server http://127.0.0.1:7470"),
        );
    };
    let person = match arguments.user {
        Some(user) => {
            let password = secret(&format!("Password of {user}:"))?;
            Person::Named(user, password)
        }
        None => Person::First(secret("One-time token:")?),
    };
    let file = remote.log_in(person, &session.settings).await?;
    session.show(
        || format!("You are logged in; the token is in {file}, for you alone.\n"),
        || json!({ "token_file": file }),
    );
    Ok(ExitCode::SUCCESS)
}

/// Asks at the terminal; without one it is the first line of stdin.
fn secret(question: &str) -> Result<Secret, Fault> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return ask::secret(question, "give it on stdin").map(Secret::new);
    }
    let mut line = String::new();
    let mut limited = std::io::Read::take(stdin.lock(), LINE_MAX);
    limited.read_line(&mut line).map_err(|error| {
        Fault::new("SY5001", Class::Usage, "stdin cannot be read").with_cause(error)
    })?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
