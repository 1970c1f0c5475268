//! Characters that a text from people must not hold, because they would change the lines or the
//! look of what the text is put into.

/// Whether a character ends a line, is obeyed rather than shown, or turns the direction of the
/// text around it.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Line and paragraph separators; byte order mark; the marks that turn text around,
            // with which a value can look like another one.
            '\u{2028}' | '\u{2029}' | '\u{feff}'
            | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The first such character of a text.
pub(crate) fn first_unsafe(text: &str) -> Option<char> {
    text.chars().find(|character| is_unsafe(*character))
}

/// What to call such a character in a message.
pub(crate) fn describe(character: char) -> String {
    match character {
        '\n' | '\r' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        '\0' => "a NUL".to_owned(),
        other => format!("the character U+{:04X}", u32::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_add_a_line_or_hide_one_is_found() {
        for text in [
            "a\nb",
            "a\rb",
            "\0",
            "tab\t",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{2029}",
            "\u{202e}",
            "\u{1b}[2K",
        ] {
            assert!(first_unsafe(text).is_some(), "{text:?}");
        }
        for text in ["", "pässwörd", "a b", "\\n", "集群", "😀", "\"'#"] {
            assert_eq!(first_unsafe(text), None, "{text:?}");
        }
        assert_eq!(describe('\u{2028}'), "the character U+2028");
    }
}
