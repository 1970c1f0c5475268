//! Faults: errors as they reach a person, and what every error of ours must be able to say.
//!
//! Each crate has error enums beside the code that detects them. At a port an enum becomes a
//! `Fault`, which carries the same facts in one shape.

use std::error::Error;
use std::fmt;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

/// A stable code such as `SY2041`, with a page of its own in docs/errors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(pub &'static str);

/// How many codes there can be: `SY` and four digits.
const CODES: usize = 10_000;

/// Every code that there can be, so that one which came from elsewhere is as good as one of ours.
static EVERY_CODE: [[u8; 6]; CODES] = {
    let mut every = [[b'S', b'Y', 0, 0, 0, 0]; CODES];
    let mut number = 0;
    while number < CODES {
        let mut rest = number;
        let mut at = 5;
        while at > 1 {
            every[number][at] = b"0123456789"[rest % 10];
            rest /= 10;
            at -= 1;
        }
        number += 1;
    }
    every
};

impl Code {
    /// Reads `SY2041`; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("SY").filter(|it| it.len() == 4)?;
        let number: usize = digits.parse().ok()?;
        let code = std::str::from_utf8(EVERY_CODE.get(number)?).ok()?;
        // A sign is no digit.
        (code == text).then_some(Self(code))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// What kind of end an error is; each has an exit code of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Class {
    /// It went wrong, or it is a bug.
    Failed,
    /// What was asked for is wrong, or a question met nobody to answer it.
    Usage,
    /// A check found something, or the instance is not healthy.
    Unhealthy,
    /// Not there yet; what was asked stays asked.
    NotConverged,
    /// An engine or a node does not answer.
    Unreachable,
    /// Refused as unsafe, or the answer was no.
    Refused,
    /// Another operator is at work.
    Busy,
    /// Ended by the user.
    Interrupted,
}

impl Class {
    /// The exit code of the command line.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unhealthy => 3,
            Self::NotConverged => 4,
            Self::Unreachable => 5,
            Self::Refused => 6,
            Self::Busy => 7,
            Self::Interrupted => 130,
        }
    }

    /// The class with this exit code.
    #[must_use]
    pub fn of_exit_code(code: u8) -> Option<Self> {
        let all = [
            Self::Failed,
            Self::Usage,
            Self::Unhealthy,
            Self::NotConverged,
            Self::Unreachable,
            Self::Refused,
            Self::Busy,
            Self::Interrupted,
        ];
        all.into_iter().find(|class| class.exit_code() == code)
    }
}

/// What every error of ours can say of itself, beside its message.
pub trait Explain: Error {
    /// Its stable code.
    fn code(&self) -> Code;

    /// What kind of end it is.
    fn class(&self) -> Class;

    /// The way out: a command where there is one.
    fn help(&self) -> Option<String>;

    /// Text that stands for itself: the place in a file, the last lines of a log.
    fn detail(&self) -> Vec<String> {
        Vec::new()
    }
}

/// An error as it reaches a person: code, facts, way out.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Fault {
    /// Its stable code.
    pub code: Code,
    /// What kind of end it is.
    pub class: Class,
    /// What happened, with the facts, as one lower-case sentence without a full stop.
    pub message: String,
    /// What brought it about, nearest first.
    pub causes: Vec<String>,
    /// Text that stands for itself: the last lines of a log, a piece of a file.
    pub detail: Vec<String>,
    /// The way out.
    pub help: Option<String>,
}

impl<E: Explain> From<E> for Fault {
    fn from(error: E) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        // A chain is as long as the code is deep; a cycle would be a bug in a library.
        while let Some(cause) = next.filter(|_| causes.len() < 16) {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self {
            code: error.code(),
            class: error.class(),
            message: error.to_string(),
            causes,
            detail: error.detail(),
            help: error.help(),
        }
    }
}

impl Fault {
    /// A fault without a cause.
    #[must_use]
    pub fn new(code: &'static str, class: Class, message: impl Into<String>) -> Self {
        Self {
            code: Code(code),
            class,
            message: message.into(),
            causes: Vec::new(),
            detail: Vec::new(),
            help: None,
        }
    }

    /// The same with a way out.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with what brought it about.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// The same with text that stands for itself.
    #[must_use]
    pub fn with_detail(mut self, lines: Vec<String>) -> Self {
        self.detail = lines;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_came_from_elsewhere_is_one_of_ours() {
        for number in 0..CODES {
            let code = format!("SY{number:04}");
            assert_eq!(Code::parse(&code).map(|it| it.0), Some(code.as_str()));
        }
        for text in [
            "", "SY", "SY204", "SY20411", "sy2041", "SY+041", "XX2041", "SY20é",
        ] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
    }
}
