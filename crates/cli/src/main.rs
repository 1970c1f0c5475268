//! The binary: what the user typed becomes a command, its reply becomes text or JSON, an error
//! becomes an exit code. This is the only place where all crates meet, and the only one that
//! prints.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "replies that a verb cannot have are one arm"
)]

mod args;
mod ask;
mod print;
mod progress;
mod read;
mod remote;
mod render;
mod settings;
mod verbs;

use std::process::ExitCode;

use clap::Parser;
use model::fault::{Class, Fault};

use crate::args::{Arguments, Output, Verb};
use crate::render::{json, text};
use crate::verbs::Session;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = arguments.general.output;
    match run(arguments) {
        Ok(code) => code,
        Err(fault) => {
            match output {
                Output::Text => print::message(&text::fault(&fault)),
                Output::Json => print::result(&json::document(json::fault(&fault))),
            }
            ExitCode::from(fault.class.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Fault> {
    let session = Session::new(&arguments.general);
    if let Verb::Supervise { name } = &arguments.verb {
        return verbs::supervise::run(&session, name);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Fault::new(
                "SY5004",
                Class::Failed,
                "the program cannot start its threads",
            )
            .with_cause(error)
        })?;
    let ended = runtime.block_on(verbs::run(session, &arguments.general, arguments.verb));
    // A connection that is still trying must not keep the user waiting.
    runtime.shutdown_background();
    ended
}
