//! Writes to stdout and stderr. A reader that has gone away (`| head`) is no error.

use std::io::{self, IsTerminal, Write};

/// Writes a result to stdout, with a line break at its end.
pub(crate) fn result(text: &str) {
    write(&mut io::stdout().lock(), text);
}

/// Writes a message to stderr, with a line break at its end.
pub(crate) fn message(text: &str) {
    write(&mut io::stderr().lock(), text);
}

/// Writes what stands before an input.
pub(crate) fn prompt(text: &str) {
    let mut out = io::stdout().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

fn write(out: &mut dyn Write, text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    // The only error that is left to a program whose output nobody takes is to stop writing.
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Whether a person sits at both ends: to be asked, and to answer.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether stderr is a terminal that can be drawn on.
pub(crate) fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether stdout is a terminal that can be drawn on.
pub(crate) fn can_draw_result() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether colours are wanted on stderr (no-color.org).
pub(crate) fn coloured() -> bool {
    can_draw() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}
