//! Problems: what is wrong with a template or with the values it is given, and where.
//!
//! A problem shows the line it is about, as compilers do. Its message never holds the value of a
//! secret; whoever makes one sees to that.

use std::error::Error;
use std::fmt;

use model::fault::{Class, Code, Explain};

use crate::source::Place;

/// The most problems that are told; what follows them mostly follows from them.
pub(crate) const PROBLEMS_MAX: usize = 100;

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// It works, but somebody should look at it.
    Notice,
    /// Nothing can be made from it.
    Fault,
}

impl Severity {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Fault => "fault",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Its stable code.
    pub code: Code,
    /// Where it is; `None` for a value that did not come from a file.
    pub place: Option<Box<Place>>,
    /// What is wrong, with the facts, as one lower-case sentence without a full stop.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Fault,
            code,
            place: None,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn with_help_if(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    pub(crate) fn into_notice(mut self) -> Self {
        self.severity = Severity::Notice;
        self
    }

    /// The place and the line it is about, with a mark below it, one text per line.
    #[must_use]
    pub fn excerpt(&self) -> Vec<String> {
        self.place
            .as_ref()
            .map_or_else(Vec::new, |place| place.excerpt())
    }

    /// Everything that a person needs to see of it, one text per line.
    #[must_use]
    pub fn report(&self) -> Vec<String> {
        let severity = match self.severity {
            Severity::Notice => "notice",
            Severity::Fault => "error",
        };
        let mut lines = vec![format!("{severity}[{}]: {}", self.code, self.message)];
        lines.extend(self.excerpt());
        lines.extend(self.help.iter().map(|help| format!("  help: {help}")));
        lines
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl Error for Problem {}

impl Explain for Problem {
    fn code(&self) -> Code {
        self.code
    }

    fn class(&self) -> Class {
        Class::Usage
    }

    fn help(&self) -> Option<String> {
        self.help.clone()
    }

    fn detail(&self) -> Vec<String> {
        self.excerpt()
    }
}

/// Everything that keeps a template, or what it is given, from being used. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The faults of a list, in the order of their places; `Ok` where there are none.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        let faults: Vec<Problem> = in_order(problems)
            .into_iter()
            .filter(|problem| problem.severity == Severity::Fault)
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self(faults))
        }
    }

    /// The problems, in the order of their places.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    /// The problems themselves.
    #[must_use]
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => out.write_str(&only.message),
            several => {
                let first = several.first().map_or("", |first| &first.message);
                write!(out, "{} problems, the first: {first}", several.len())
            }
        }
    }
}

impl Error for Problems {}

impl Explain for Problems {
    fn code(&self) -> Code {
        // The list is never empty; the code for "not YAML" would be the honest fallback.
        self.0
            .first()
            .map_or(crate::code::YAML_SYNTAX, |first| first.code)
    }

    fn class(&self) -> Class {
        Class::Usage
    }

    fn help(&self) -> Option<String> {
        match self.0.as_slice() {
            [only] => only.help.clone(),
            _ => None,
        }
    }

    fn detail(&self) -> Vec<String> {
        match self.0.as_slice() {
            [only] => only.excerpt(),
            several => several.iter().flat_map(Problem::report).collect(),
        }
    }
}

/// Problems by file, line and column, each once, and no more than can be read.
pub(crate) fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|left, right| left.place.cmp(&right.place));
    problems.dedup();
    problems.truncate(PROBLEMS_MAX);
    problems
}

#[cfg(test)]
mod tests {
    use model::fault::Fault;

    use super::*;
    use crate::code;
    use crate::source::Source;

    fn source(text: &str) -> Source<'_> {
        Source {
            file: "template.yaml",
            text,
            shown: true,
        }
    }

    #[test]
    fn one_problem_becomes_a_fault_with_its_line() {
        let problem = Problem::new(code::UNKNOWN_FIELD, "there is no field `nmae`")
            .at(source("nmae: x\n").place(0..4))
            .with_help("did you mean `name`?");
        let fault = Fault::from(Problems::from(problem));
        assert_eq!(fault.code.0, "SY1005");
        assert_eq!(fault.class, Class::Usage);
        assert_eq!(fault.message, "there is no field `nmae`");
        assert_eq!(fault.detail[3], "  | ^^^^");
        assert_eq!(fault.help.as_deref(), Some("did you mean `name`?"));
    }

    #[test]
    fn several_problems_are_all_shown_in_the_order_of_their_places() {
        let text = "a: 1\nb: 2\n";
        let problems = vec![
            Problem::new(code::WRONG_TYPE, "second").at(source(text).place(5..6)),
            Problem::new(code::UNUSED_VARIABLE, "only a notice").into_notice(),
            Problem::new(code::BAD_NAME, "first")
                .at(source(text).place(0..1))
                .with_help("way out"),
        ];
        let problems = Problems::check(problems).unwrap_err();
        let fault = Fault::from(problems);
        assert_eq!(fault.message, "2 problems, the first: first");
        assert_eq!(fault.detail[0], "error[SY1010]: first");
        assert_eq!(fault.detail[5], "  help: way out");
        assert_eq!(fault.detail[6], "error[SY1007]: second");
        assert_eq!(fault.detail[7], "  --> template.yaml:2:1");
    }

    #[test]
    fn notices_alone_keep_nothing_from_being_used() {
        let notice = Problem::new(code::UNUSED_VARIABLE, "unused").into_notice();
        assert_eq!(Problems::check(vec![notice]), Ok(()));
    }
}
