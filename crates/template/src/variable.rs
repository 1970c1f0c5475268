//! A template's variables: what can be asked for, and what a given text is worth.
//!
//! A value is checked once, here. After that it is a number, a size, a switch or a line of text
//! that cannot add a line to anything.

use std::fmt::Display;
use std::ops::Range;

use model::ids::VariableName;
use model::secret::Secret;
use model::size::{ByteSize, SizeError};
use model::spec::Value;
use regex_lite::Regex;

use crate::character;
use crate::code;
use crate::problem::Problem;
use crate::reader::{SIZE_HELP, parse_yes_no, whole_number};
use crate::source::shown;
use crate::suggestion::did_you_mean;

/// The longest text that a variable can hold, in characters.
pub const TEXT_LENGTH_MAX: usize = 4_096;
/// The longest secret, in characters. The servers take more; nobody needs it.
pub const SECRET_LENGTH_MAX: usize = 512;

/// A variable as a template declares it.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: VariableName,
    /// What it holds.
    pub kind: VariableKind,
    /// What it is when nobody says.
    pub fallback: Fallback,
    /// What it is for, for people.
    pub description: String,
    /// The bytes of template.yaml that hold its name.
    pub(crate) place: Range<usize>,
}

/// What a variable is when nobody says. Every variable is something, so that no template can be
/// rendered with a hole in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fallback {
    /// This value.
    Default(Value),
    /// A secret of this many characters, made anew for each instance.
    Generated {
        /// How many characters.
        length: usize,
    },
}

/// What a variable holds, and within which bounds.
#[derive(Clone, Debug)]
pub enum VariableKind {
    /// A whole number.
    Int {
        /// The least.
        min: Option<i64>,
        /// The most.
        max: Option<i64>,
    },
    /// An amount of memory.
    Size {
        /// The least.
        min: Option<ByteSize>,
        /// The most.
        max: Option<ByteSize>,
    },
    /// Yes or no.
    Bool,
    /// A line of text.
    Text {
        /// What the whole text must look like.
        pattern: Option<Pattern>,
        /// The most characters.
        max_length: usize,
    },
    /// One of several words.
    Enum {
        /// The words.
        choices: Vec<String>,
    },
    /// A text that must not be seen.
    Secret,
}

/// A regular expression that a whole text must match. Matching takes linear time.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    whole: Regex,
}

impl Pattern {
    /// Reads an expression; `None` where it is none.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let whole = Regex::new(&format!("^(?:{text})$")).ok()?;
        // What is wrong alone can be right within the brackets: `a)(b`.
        Regex::new(text).ok()?;
        Some(Self {
            text: text.to_owned(),
            whole,
        })
    }

    /// The expression as the template has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl VariableKind {
    /// The name of the type, as a template writes it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Int { .. } => "int",
            Self::Size { .. } => "size",
            Self::Bool => "bool",
            Self::Text { .. } => "string",
            Self::Enum { .. } => "enum",
            Self::Secret => "secret",
        }
    }

    /// Whether a value is of this type.
    pub(crate) const fn takes(&self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Int { .. }, Value::Int(_))
                | (Self::Size { .. }, Value::Size(_))
                | (Self::Bool, Value::Bool(_))
                | (Self::Text { .. } | Self::Enum { .. }, Value::Text(_))
                | (Self::Secret, Value::Secret(_))
        )
    }

    /// What a text that is given for the variable of this name is worth. The problem quotes it,
    /// unless it is a secret's.
    pub(crate) fn read(&self, name: &VariableName, text: &str) -> Result<Value, Problem> {
        match self {
            Self::Int { min, max } => read_int(name, text, *min, *max).map(Value::Int),
            Self::Size { min, max } => read_size(name, text, *min, *max).map(Value::Size),
            Self::Bool => read_bool(name, text).map(Value::Bool),
            Self::Text {
                pattern,
                max_length,
            } => {
                check_line(name, text, *max_length)?;
                check_pattern(name, text, pattern.as_ref())?;
                Ok(Value::Text(text.to_owned()))
            }
            Self::Enum { choices } => {
                check_choice(name, text, choices)?;
                Ok(Value::Text(text.to_owned()))
            }
            Self::Secret => {
                check_line(name, text, SECRET_LENGTH_MAX)?;
                check_not_empty(name, text)?;
                Ok(Value::Secret(Secret::new(text)))
            }
        }
    }
}

fn read_int(
    name: &VariableName,
    text: &str,
    min: Option<i64>,
    max: Option<i64>,
) -> Result<i64, Problem> {
    let number = whole_number(text).ok_or_else(|| {
        let message = format!("{name} is `{}`, which is no whole number", shown(text));
        Problem::new(code::UNFIT_VALUE, message)
    })?;
    let least = min.unwrap_or(i64::MIN);
    let most = max.unwrap_or(i64::MAX);
    if number < least.into() {
        return Err(outside(name, number, "least", least));
    }
    i64::try_from(number)
        .ok()
        .filter(|number| *number <= most)
        .ok_or_else(|| outside(name, number, "most", most))
}

fn read_size(
    name: &VariableName,
    text: &str,
    min: Option<ByteSize>,
    max: Option<ByteSize>,
) -> Result<ByteSize, Problem> {
    // Templates compute with signed numbers.
    let size = ByteSize::parse(text).and_then(|size| {
        i64::try_from(size.as_bytes())
            .map(|_| size)
            .map_err(|_| SizeError::TooLarge)
    });
    let size = size.map_err(|error| {
        let message = format!("{name} is `{}`: {error}", shown(text));
        Problem::new(code::UNFIT_VALUE, message).with_help(SIZE_HELP)
    })?;
    if let Some(least) = min.filter(|least| size < *least) {
        return Err(outside(name, size, "least", least));
    }
    if let Some(most) = max.filter(|most| size > *most) {
        return Err(outside(name, size, "most", most));
    }
    Ok(size)
}

fn outside(name: &VariableName, given: impl Display, end: &str, bound: impl Display) -> Problem {
    let message = format!("{name} is {given}, and {bound} is the {end}");
    Problem::new(code::VALUE_OUT_OF_BOUNDS, message)
}

fn read_bool(name: &VariableName, text: &str) -> Result<bool, Problem> {
    parse_yes_no(text).ok_or_else(|| {
        let message = format!("{name} is `{}`, which is not yes or no", shown(text));
        Problem::new(code::UNFIT_VALUE, message)
    })
}

fn check_pattern(
    name: &VariableName,
    text: &str,
    pattern: Option<&Pattern>,
) -> Result<(), Problem> {
    let Some(pattern) = pattern.filter(|pattern| !pattern.whole.is_match(text)) else {
        return Ok(());
    };
    let (given, wanted) = (shown(text), shown(pattern.as_str()));
    let message = format!("{name} is `{given}`, which does not match {wanted}");
    Err(Problem::new(code::VALUE_OUT_OF_BOUNDS, message))
}

fn check_choice(name: &VariableName, text: &str, choices: &[String]) -> Result<(), Problem> {
    if choices.iter().any(|choice| choice == text) {
        return Ok(());
    }
    let message = format!("{name} is `{}`, which is no choice", shown(text));
    let help = did_you_mean(text, choices.iter().map(String::as_str));
    Err(Problem::new(code::VALUE_OUT_OF_BOUNDS, message).with_help_if(help))
}

fn check_not_empty(name: &VariableName, text: &str) -> Result<(), Problem> {
    if !text.is_empty() {
        return Ok(());
    }
    let message = format!("the secret {name} is empty");
    Err(Problem::new(code::VALUE_OUT_OF_BOUNDS, message).with_help("leave it out, and one is made"))
}

/// Checks a text without quoting it: it can be a secret's.
fn check_line(name: &VariableName, text: &str, length_max: usize) -> Result<(), Problem> {
    if let Some(found) = character::first_unsafe(text) {
        let found = character::describe(found);
        let message = format!("the value of {name} holds {found}");
        return Err(Problem::new(code::CONTROL_CHARACTER, message));
    }
    let length = text.chars().count();
    if length > length_max {
        let message = format!("{name} has {length} characters, and {length_max} are the most");
        return Err(Problem::new(code::VALUE_OUT_OF_BOUNDS, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text given for a variable X of this kind is worth so much, or is refused so.
    fn check(kind: &VariableKind, text: &str, expected: Result<Value, &str>) {
        let given = kind.read(&VariableName::new("X").unwrap(), text);
        let given = given.as_ref().map_err(|problem| problem.message.as_str());
        let expected = expected.as_ref().map_err(|message| *message);
        assert_eq!(given, expected, "{text:?}");
    }

    fn refused(kind: &VariableKind, text: &str) -> Problem {
        kind.read(&VariableName::new("X").unwrap(), text)
            .unwrap_err()
    }

    fn ten_characters(pattern: Option<&str>) -> VariableKind {
        VariableKind::Text {
            pattern: pattern.map(|pattern| Pattern::new(pattern).unwrap()),
            max_length: 10,
        }
    }

    #[test]
    fn numbers_are_held_within_their_bounds() {
        let shards = VariableKind::Int {
            min: Some(1),
            max: Some(1_000),
        };
        check(&shards, "1", Ok(Value::Int(1)));
        check(&shards, "1000", Ok(Value::Int(1_000)));
        check(&shards, "0", Err("X is 0, and 1 is the least"));
        check(&shards, "-1", Err("X is -1, and 1 is the least"));
        check(&shards, "1001", Err("X is 1001, and 1000 is the most"));
        let beyond = "X is 18446744073709551616, and 1000 is the most";
        check(&shards, "18446744073709551616", Err(beyond));
        for text in ["", "three", "3.0", "1e3", "0x3", " 3", "3\n", "NaN"] {
            assert_eq!(refused(&shards, text).code, code::UNFIT_VALUE, "{text:?}");
        }
        let any = VariableKind::Int {
            min: None,
            max: None,
        };
        check(&any, "9223372036854775807", Ok(Value::Int(i64::MAX)));
        let beyond = "X is 9223372036854775808, and 9223372036854775807 is the most";
        check(&any, "9223372036854775808", Err(beyond));
    }

    #[test]
    fn sizes_are_held_within_their_bounds() {
        let memory = VariableKind::Size {
            min: Some(ByteSize::mib(32)),
            max: Some(ByteSize::mib(2_048)),
        };
        check(&memory, "1gb", Ok(Value::Size(ByteSize::mib(1_024))));
        check(
            &memory,
            "16MiB",
            Err("X is 16 MiB, and 32 MiB is the least"),
        );
        check(&memory, "3gb", Err("X is 3 GiB, and 2 GiB is the most"));
        check(
            &memory,
            "10 apples",
            Err("X is `10 apples`: `apples` is no unit of memory"),
        );
        let beyond = "X is `16777215tb`: this is more memory than can be counted";
        check(&memory, "16777215tb", Err(beyond));
    }

    #[test]
    fn texts_keep_to_one_line_their_length_and_their_pattern() {
        let label = ten_characters(Some("[a-z]*|[0-9]+"));
        check(&label, "", Ok(Value::Text(String::new())));
        check(
            &label,
            "abcdefghij",
            Ok(Value::Text("abcdefghij".to_owned())),
        );
        check(&label, "abc", Ok(Value::Text("abc".to_owned())));
        check(
            &label,
            "abc1",
            Err("X is `abc1`, which does not match [a-z]*|[0-9]+"),
        );
        check(&label, "abc\n", Err("the value of X holds a line break"));
        check(&label, "a\0", Err("the value of X holds a NUL"));
        check(
            &label,
            "abcdefghijk",
            Err("X has 11 characters, and 10 are the most"),
        );
        assert!(Pattern::new("a)(b").is_none());
        assert!(Pattern::new("[").is_none());
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        let policy = VariableKind::Enum {
            choices: vec!["noeviction".to_owned(), "allkeys-lru".to_owned()],
        };
        check(
            &policy,
            "allkeys-lru",
            Ok(Value::Text("allkeys-lru".to_owned())),
        );
        check(
            &policy,
            "allkeys-lur",
            Err("X is `allkeys-lur`, which is no choice"),
        );
        let help = refused(&policy, "allkeys-lur").help;
        assert_eq!(help.as_deref(), Some("did you mean `allkeys-lru`?"));
    }

    #[test]
    fn a_secret_is_never_quoted() {
        let secret = VariableKind::Secret;
        for text in [
            "hunter2\nrequirepass x",
            "hunter2\u{2028}",
            &"hunter2".repeat(200),
        ] {
            let problem = refused(&secret, text);
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
        }
        check(&secret, "", Err("the secret X is empty"));
        let given = "it's \"#\" \\";
        check(&secret, given, Ok(Value::Secret(Secret::new(given))));
    }

    proptest! {
        #[test]
        fn no_text_that_is_taken_can_add_a_line(text in "\\PC*|[ -~\\x00-\\x1f\u{85}\u{2028}]*") {
            let name = VariableName::new("X").unwrap();
            if let Ok(Value::Text(taken)) = ten_characters(None).read(&name, &text) {
                let ends_a_line = taken.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']);
                prop_assert!(!ends_a_line && !taken.contains('\0'));
            }
        }
    }
}
