//! `cli` on an instance of a server elsewhere: one command, or line after line. The server sends
//! them by its own terminal's rules; programs are not run on its hosts.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use control::approve::{Approver, Question};
use model::fault::{Class, Fault};
use model::ids::InstanceName;
use serde_json::{Value, json};

use super::Session;
use crate::args::CliArguments;
use crate::remote::Remote;
use crate::{print, read};

/// The code of what may be lost, and whose name was not typed yet.
const UNCONFIRMED: &str = "SY6007";

/// The longest command that is read from a line.
const LINE_MAX: u64 = 1 << 20;

pub(super) async fn run(
    session: &Session,
    remote: &Remote,
    arguments: CliArguments,
) -> Result<ExitCode, Fault> {
    let terminal = Terminal {
        session,
        remote,
        name: read::instance(&arguments.name)?,
    };
    if arguments.command.is_empty() {
        return terminal.line_by_line().await;
    }
    let answer = terminal.send(&arguments.command).await?;
    session.show(|| text_of(&answer).to_owned(), || answer.clone());
    Ok(ExitCode::SUCCESS)
}

struct Terminal<'a> {
    session: &'a Session,
    remote: &'a Remote,
    name: InstanceName,
}

impl Terminal<'_> {
    /// Sends line after line, up to `exit` or the end of stdin. A mistake ends nothing.
    async fn line_by_line(&self) -> Result<ExitCode, Fault> {
        let is_person = std::io::stdin().is_terminal();
        loop {
            if is_person {
                print::prompt(&format!("{}> ", self.name));
            }
            let Some(line) = next_line()? else {
                return Ok(ExitCode::SUCCESS);
            };
            let Some(words) = words(&line) else {
                print::message("Invalid argument(s)");
                continue;
            };
            match words.first().map(String::as_str) {
                None => {}
                Some("exit" | "quit") => return Ok(ExitCode::SUCCESS),
                Some(_) => match self.send(&words).await {
                    Ok(answer) => print::result(text_of(&answer)),
                    Err(fault) if ends(&fault) => return Err(fault),
                    Err(fault) => print::message(&crate::render::text::fault(&fault)),
                },
            }
        }
    }

    /// Sends a command; what may lose something asks for the instance's name first.
    async fn send(&self, command: &[String]) -> Result<Value, Fault> {
        let path = format!("/api/v1/instances/{}/exec", self.name);
        let body = json!({ "command": command });
        let fault = match self.remote.ask(&path, &body).await {
            Ok(answer) => return Ok(answer),
            Err(fault) if fault.code.0 == UNCONFIRMED => fault,
            Err(fault) => return Err(fault),
        };
        if !print::can_ask() {
            return Err(fault.with_help("at a terminal its name is asked for, and typed"));
        }
        let question = Question::Loss {
            name: self.name.as_str(),
            lost: &fault.detail,
        };
        tokio::task::block_in_place(|| self.session.terminal(None).approve(question))?;
        let body = json!({ "command": command, "confirm": self.name.as_str() });
        self.remote.ask(&path, &body).await
    }
}

/// What the next line would meet just the same.
fn ends(fault: &Fault) -> bool {
    matches!(fault.code.0, "SY6001" | "SY6002" | "SY4005")
        || fault.code.0.starts_with("SY50") && fault.class == Class::Unreachable
}

fn text_of(answer: &Value) -> &str {
    answer["text"].as_str().unwrap_or_default()
}

fn next_line() -> Result<Option<String>, Fault> {
    let mut line = String::new();
    let mut limited = std::io::Read::take(std::io::stdin().lock(), LINE_MAX);
    let length = limited.read_line(&mut line).map_err(|error| {
        Fault::new("SY5001", Class::Usage, "stdin cannot be read").with_cause(error)
    })?;
    Ok((length > 0).then_some(line))
}

/// The words of a line, as redis-cli takes them: with blanks between, or in quotes. `None` where a
/// quote is not closed, or is followed by anything but a blank.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => quoted(&rest[1..], first)?,
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Some(words)
}

/// What stands up to the quote's end, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, it)) = chars.next() {
        match it {
            '\\' if quote == '"' => word.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            '\\' if text[at + 1..].starts_with('\'') => word.push(chars.next()?.1),
            it if it == quote => {
                let after = &text[at + 1..];
                let is_end = after.is_empty() || after.starts_with(char::is_whitespace);
                return is_end.then_some((word, after));
            }
            it => word.push(it),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_into_words_as_redis_cli_does() {
        let check = |line: &str, wanted: Option<&[&str]>| {
            let found = words(line);
            let found: Option<Vec<&str>> = found
                .as_ref()
                .map(|it| it.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), wanted, "{line}");
        };
        check("  get   a \n", Some(&["get", "a"]));
        check("set a \"two words\"", Some(&["set", "a", "two words"]));
        check(r#"set a "a\"b\n""#, Some(&["set", "a", "a\"b\n"]));
        check(r"set a 'it\'s'", Some(&["set", "a", "it's"]));
        check("set a \"\"", Some(&["set", "a", ""]));
        check("", Some(&[]));
        check("set a \"open", None);
        check("set a \"b\"c", None);
    }
}
