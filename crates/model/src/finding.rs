//! Findings: what a check noticed.

use std::fmt;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::fault::Code;

/// Something that a check noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Finding {
    /// A stable code with a page of its own in docs/errors.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `redis-3`, `shard 2`, `host a`.
    pub subject: String,
    /// What was noticed, with the facts.
    pub message: String,
    /// The way out, as a command where there is one.
    pub help: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Severity {
    /// Good to know.
    Notice,
    /// It works, but something that should protect it is missing.
    Warning,
    /// It does not work, or data is in danger.
    Critical,
}

impl Severity {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
