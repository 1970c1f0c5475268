//! Texts and the places in them: which line and column a fault is about, and how to show it.
//!
//! A text that can hold a secret is a source whose lines are never shown.

use std::ops::Range;

use crate::character;
use crate::code;
use crate::problem::Problem;

/// The largest file that is read, in bytes. The largest sensible template has a hundredth of it.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;
/// The widest piece of a line that is shown, in characters.
const SHOWN_COLUMNS_MAX: usize = 120;

/// A place in a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file's path in the template's folder, or the name of a values file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of that line it is about.
    pub length: usize,
    /// The line itself, fit to be shown, and of a long one the piece around the place; `None`
    /// where it may hold a secret.
    pub text: Option<String>,
    /// How many characters of that text stand before the place.
    pub text_offset: usize,
}

/// A text and the name of the file it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
    /// Whether its lines may be shown; those of a values file can hold passwords.
    pub(crate) shown: bool,
}

impl Source<'_> {
    /// The place of these bytes. Positions come from three parsers, so one that lies outside of
    /// the text, or within a character, is moved to where it can be shown.
    pub(crate) fn place(&self, bytes: Range<usize>) -> Place {
        let start = floor_char_boundary(self.text, bytes.start);
        let end = floor_char_boundary(self.text, bytes.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].split('\n').next().unwrap_or("");
        let line_end = line_start + line.trim_end_matches('\r').len();
        let before = self.text[line_start..start].chars().count();
        let marked = &self.text[start..end.clamp(start, line_end.max(start))];
        // A line can be a megabyte, and a problem keeps its own copy.
        let is_long = line_end - line_start > SHOWN_COLUMNS_MAX;
        let skipped = if is_long {
            before.saturating_sub(SHOWN_COLUMNS_MAX / 2)
        } else {
            0
        };
        Place {
            file: self.file.to_owned(),
            line: self.text[..start].matches('\n').count() + 1,
            column: before + 1,
            length: marked.chars().count().max(1),
            text: self
                .shown
                .then(|| showable(&self.text[line_start..line_end], skipped)),
            text_offset: before - skipped,
        }
    }

    /// The place that stands for the whole file; no line of it is shown.
    pub(crate) fn beginning(&self) -> Place {
        Place {
            file: self.file.to_owned(),
            line: 1,
            column: 1,
            length: 1,
            text: None,
            text_offset: 0,
        }
    }

    /// Refuses a file that is too large to be meant.
    pub(crate) fn check_size(&self) -> Result<(), Problem> {
        let size = self.text.len();
        if size <= FILE_BYTES_MAX {
            return Ok(());
        }
        let message = format!("the file has {size} bytes, and {FILE_BYTES_MAX} are the most");
        Err(Problem::new(code::TOO_MUCH, message).at(self.beginning()))
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The piece of a line that is shown, without what a terminal would obey.
fn showable(line: &str, skipped: usize) -> String {
    let piece = line.chars().skip(skipped).take(SHOWN_COLUMNS_MAX);
    let shown: String = piece
        .map(|character| match character {
            '\t' => ' ',
            character if character::is_unsafe(character) => '\u{fffd}',
            character => character,
        })
        .collect();
    shown.trim_end().to_owned()
}

impl Place {
    /// The place, and the line it is about with a mark below it, one text per line.
    #[must_use]
    pub fn excerpt(&self) -> Vec<String> {
        let header = format!("  --> {}:{}:{}", self.file, self.line, self.column);
        let Some(text) = &self.text else {
            return vec![header];
        };
        let marks_max = SHOWN_COLUMNS_MAX.saturating_sub(self.text_offset).max(1);
        let marks = "^".repeat(self.length.clamp(1, marks_max));
        let space = " ".repeat(self.text_offset);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        vec![
            header,
            format!("{margin} |"),
            format!("{number} | {text}"),
            format!("{margin} | {space}{marks}"),
        ]
    }
}

/// A text of the user's, fit to be quoted in one line of a message.
pub(crate) fn shown(text: &str) -> String {
    const LENGTH_MAX: usize = 60;
    let mut quoted: String = text
        .chars()
        .take(LENGTH_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LENGTH_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source<'_> {
        Source {
            file: "template.yaml",
            text,
            shown: true,
        }
    }

    #[test]
    fn a_place_is_counted_in_characters_and_shown_with_a_mark() {
        let source = source("name: é\nkind: Tämplate\r\n");
        let place = source.place(15..24);
        assert_eq!((place.line, place.column, place.length), (2, 7, 8));
        assert_eq!(
            place.excerpt(),
            [
                "  --> template.yaml:2:7",
                "  |",
                "2 | kind: Tämplate",
                "  |       ^^^^^^^^",
            ]
        );
    }

    #[test]
    fn a_place_outside_of_the_text_or_within_a_character_can_be_shown() {
        let source = source("é");
        assert_eq!(source.place(1..2).column, 1);
        let beyond = source.place(70..90);
        assert_eq!((beyond.line, beyond.column, beyond.length), (1, 2, 1));
        assert_eq!(beyond.excerpt().len(), 4);
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}HERE{}", "a".repeat(5_000), "b".repeat(5_000));
        let excerpt = source(&text).place(5_000..5_004).excerpt();
        assert!(
            excerpt[2].contains("aHEREb") && excerpt[2].len() < 140,
            "{excerpt:?}"
        );
        assert_eq!(excerpt[3].find('^'), excerpt[2].find("HERE"));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let excerpt = source("a: \u{1b}[31mred").place(0..1).excerpt();
        assert!(!excerpt.concat().contains('\u{1b}'));
        assert_eq!(shown("\u{1b}[31m\n"), "\\u{1b}[31m\\n");
        assert_eq!(shown(&"x".repeat(1_000)).chars().count(), 61);
    }
}
