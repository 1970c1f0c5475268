//! From a YAML tree to typed values, with every fault collected.
//!
//! What a scalar means is decided here, by the field it stands in: `no` is a text for a text and
//! false for a switch. A reader never stops at a fault; it notes it and goes on.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use model::fault::Code;
use model::ids::NameError;
use model::size::ByteSize;

use crate::character;
use crate::code;
use crate::foreign;
use crate::go::Failure;
use crate::problem::{PROBLEMS_MAX, Problem};
use crate::scope::Scope;
use crate::source::{Source, shown};
use crate::suggestion::{closest, did_you_mean};
use crate::yaml::{Content, Entry, Node};

/// What becomes of the template actions in a scalar.
#[derive(Clone, Copy)]
pub(crate) enum Actions<'a> {
    /// They are no actions here, just text.
    AsWritten,
    /// They are rendered.
    Rendered(&'a Scope),
    /// A scalar with actions is passed over: the variables themselves are at fault.
    PassedOver,
}

/// Reads nodes of one source and collects what is wrong with them.
pub(crate) struct Reader<'a> {
    pub(crate) source: Source<'a>,
    actions: Actions<'a>,
    pub(crate) problems: Vec<Problem>,
}

/// The fields of a mapping.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    /// What the mapping is, for messages: `a service`.
    what: &'static str,
    range: Range<usize>,
    entries: BTreeMap<&'n str, &'n Entry>,
}

impl<'n> Fields<'n> {
    /// The value of a field, if it is given and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        let entry = self.entries.get(name)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// The place of a field's name.
    pub(crate) fn key_range(&self, name: &str) -> Option<Range<usize>> {
        self.entries.get(name).map(|entry| entry.key_range.clone())
    }
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(source: Source<'a>, actions: Actions<'a>) -> Self {
        Self {
            source,
            actions,
            problems: Vec::new(),
        }
    }

    /// The same reader, with its problems, for another part of the source.
    pub(crate) fn with_actions(mut self, actions: Actions<'a>) -> Self {
        self.actions = actions;
        self
    }

    /// Notes a problem at these bytes, unless there are more than anybody reads already.
    pub(crate) fn note(&mut self, range: &Range<usize>, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            let place = self.source.place(range.clone());
            self.problems.push(problem.at(place));
        }
    }

    /// Notes a fault at a node, and gives nothing in its stead.
    pub(crate) fn refuse<T>(
        &mut self,
        node: &Node,
        code: Code,
        message: impl Into<String>,
    ) -> Option<T> {
        self.note(&node.range, Problem::new(code, message));
        None
    }

    /// The fields of a mapping that may have these and no others.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &'static str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let Content::Map(entries) = &node.content else {
            let message = format!("{what} is a mapping, and {} is given", node.describe());
            return self.refuse(node, code::WRONG_TYPE, message);
        };
        for entry in entries {
            let key = entry.key.as_str();
            if !known.contains(&key) {
                let problem = foreign::explain(key, known).unwrap_or_else(|| {
                    let message = format!("{what} has no field `{}`", shown(key));
                    Problem::new(code::UNKNOWN_FIELD, message)
                        .with_help_if(did_you_mean(key, known.iter().copied()))
                });
                self.note(&entry.key_range, problem);
            } else if entry.value.is_null() {
                let message = format!("`{key}` has no value");
                self.note(&entry.key_range, Problem::new(code::MISSING_FIELD, message));
            }
        }
        Some(Fields {
            what,
            range: first_line(node),
            entries: entries
                .iter()
                .map(|entry| (entry.key.as_str(), entry))
                .collect(),
        })
    }

    /// A field that must be there.
    pub(crate) fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
        // A field without a value has been noted already.
        if !fields.entries.contains_key(name) {
            let message = format!("{} needs the field `{name}`", fields.what);
            self.note(&fields.range, Problem::new(code::MISSING_FIELD, message));
        }
        fields.get(name)
    }

    /// The items of a list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.content {
            Content::List(items) => items,
            Content::Scalar { .. } | Content::Map(_) => {
                let message = format!("{what} is a list, and {} is given", node.describe());
                self.note(&node.range, Problem::new(code::WRONG_TYPE, message));
                &[]
            }
        }
    }

    /// A text, with its actions rendered.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let Content::Scalar { text, .. } = &node.content else {
            let message = format!("{what} is a single value, and {} is given", node.describe());
            return self.refuse(node, code::WRONG_TYPE, message);
        };
        if node.is_null() {
            let message = format!("{what} has no value");
            self.note(
                &node.range,
                Problem::new(code::MISSING_FIELD, message)
                    .with_help("write \"\" for an empty text"),
            );
            return None;
        }
        match self.actions {
            Actions::Rendered(scope) => match scope.render(text, None) {
                Ok(rendered) => Some(rendered),
                Err(failure) => {
                    self.note_failure(node, text, failure);
                    None
                }
            },
            Actions::PassedOver if text.contains("{{") => None,
            Actions::AsWritten | Actions::PassedOver => Some(text.clone()),
        }
    }

    /// A text of one line.
    pub(crate) fn line(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node, what)?;
        match character::first_unsafe(&text) {
            Some(found) => {
                let message = format!("{what} holds {}", character::describe(found));
                self.refuse(node, code::CONTROL_CHARACTER, message)
            }
            None => Some(text),
        }
    }

    fn note_failure(&mut self, node: &Node, text: &str, failure: Failure) {
        // Where the text stands in the file as it is, the place within it can be shown.
        let written = &self.source.text[node.range.clone()];
        let range = match written.find(text) {
            Some(offset) => {
                let start = node.range.start + offset;
                start + failure.range.start..start + failure.range.end
            }
            None => node.range.clone(),
        };
        let problem = Problem::new(failure.code, failure.message).with_help_if(failure.help);
        self.note(&range, problem);
    }

    /// A name, checked by its own type.
    pub(crate) fn name<T>(
        &mut self,
        node: &Node,
        what: &str,
        new: impl Fn(&str) -> Result<T, NameError>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match new(&text) {
            Ok(name) => Some(name),
            Err(error) => {
                let message = format!("`{}` is no {what}: {}", error.given, error.rule);
                self.refuse(node, code::BAD_NAME, message)
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn whole<T>(
        &mut self,
        node: &Node,
        what: &str,
        bounds: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: TryFrom<i128> + Into<i128> + Copy + Display,
    {
        let text = self.text(node, what)?;
        let Some(number) = whole_number(&text) else {
            let message = format!("{what} is a whole number, and `{}` is given", shown(&text));
            return self.refuse(node, code::WRONG_TYPE, message);
        };
        let (least, most) = (*bounds.start(), *bounds.end());
        if number < least.into() {
            let message = format!("{what} is {number}, and {least} is the least");
            return self.refuse(node, code::OUT_OF_RANGE, message);
        }
        if number > most.into() {
            let message = format!("{what} is {number}, and {most} is the most");
            return self.refuse(node, code::OUT_OF_RANGE, message);
        }
        T::try_from(number).ok()
    }

    /// An amount of memory.
    pub(crate) fn size(&mut self, node: &Node, what: &str) -> Option<ByteSize> {
        let text = self.text(node, what)?;
        match ByteSize::parse(&text) {
            Ok(size) => Some(size),
            Err(error) => {
                let message = format!("{what} is an amount of memory: {error}");
                self.note(
                    &node.range,
                    Problem::new(code::WRONG_TYPE, message).with_help(SIZE_HELP),
                );
                None
            }
        }
    }

    /// A time with its unit.
    pub(crate) fn duration(
        &mut self,
        node: &Node,
        what: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(node, what)?;
        let Some(duration) = parse_duration(&text) else {
            let message = format!("{what} is a time, and `{}` is given", shown(&text));
            self.note(
                &node.range,
                Problem::new(code::WRONG_TYPE, message)
                    .with_help("write a whole number and ms, s, m or h, as in 500ms or 30s"),
            );
            return None;
        };
        if bounds.contains(&duration) {
            return Some(duration);
        }
        let (least, most) = (bounds.start(), bounds.end());
        let message = format!("{what} is {duration:?}, and {least:?} to {most:?} are possible");
        self.refuse(node, code::OUT_OF_RANGE, message)
    }

    /// A switch.
    pub(crate) fn yes_no(&mut self, node: &Node, what: &str) -> Option<bool> {
        let text = self.text(node, what)?;
        parse_yes_no(&text).or_else(|| {
            let message = format!("{what} is yes or no, and `{}` is given", shown(&text));
            self.refuse(node, code::WRONG_TYPE, message)
        })
    }

    /// One of several words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(node, what)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let (all, given) = (words.join(", "), shown(&text));
            let message = format!("{what} is one of {all}, and `{given}` is given");
            let help = closest(&text, words).map(|near| format!("did you mean `{near}`?"));
            let problem = Problem::new(code::WRONG_TYPE, message);
            self.note(&node.range, problem.with_help_if(help));
        }
        found.map(|(_, choice)| *choice)
    }

    /// A mapping of free names to values.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.content {
            Content::Map(entries) => entries,
            Content::Scalar { .. } | Content::List(_) => {
                let message = format!("{what} is a mapping, and {} is given", node.describe());
                self.note(&node.range, Problem::new(code::WRONG_TYPE, message));
                &[]
            }
        }
    }
}

/// How sizes are written.
pub(crate) const SIZE_HELP: &str =
    "write a whole number and a unit, as in 256MiB or 1gb; mb is 2^20 bytes, m is a million";

/// A decimal number without anything around it: `1e3`, `0x10`, `1_000` and `+1` are none.
pub(crate) fn whole_number(text: &str) -> Option<i128> {
    const DIGITS_MAX: usize = 30;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let fits = (1..=DIGITS_MAX).contains(&digits.len());
    (fits && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// The words of redis.conf and of YAML for yes and no.
pub(crate) fn parse_yes_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// Where a mapping begins: what is missing in it is shown there, not below all of its lines.
fn first_line(node: &Node) -> Range<usize> {
    match &node.content {
        Content::Map(entries) => entries
            .first()
            .map_or(node.range.clone(), |entry| entry.key_range.clone()),
        Content::Scalar { .. } | Content::List(_) => node.range.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-17", Some(-17)),
            ("007", Some(7)),
            (
                "340282366920938463463374607431",
                Some(340_282_366_920_938_463_463_374_607_431),
            ),
            ("", None),
            ("-", None),
            ("+1", None),
            (" 1", None),
            ("1e3", None),
            ("0o7", None),
            ("0x10", None),
            ("1_000", None),
            (".inf", None),
            ("190:20:30", None),
            ("١", None),
        ] {
            assert_eq!(whole_number(text), expected, "{text:?}");
        }
        assert_eq!(whole_number(&"9".repeat(1_000)), None);
    }

    #[test]
    fn times_need_a_unit() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(
                parse_duration(text),
                expected.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }

    #[test]
    fn yes_and_no_have_many_spellings_and_not_more() {
        for text in ["yes", "true", "on", "Yes", "TRUE"] {
            assert_eq!(parse_yes_no(text), Some(true), "{text}");
        }
        for text in ["no", "false", "off", "No"] {
            assert_eq!(parse_yes_no(text), Some(false), "{text}");
        }
        for text in ["", "1", "y", "yes ", "nope"] {
            assert_eq!(parse_yes_no(text), None, "{text}");
        }
    }
}
