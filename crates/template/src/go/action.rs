//! The actions (`{{ … }}`) of a template, looked at before the engine sees them.
//!
//! It finds what the engine would answer with a crash or with a wrong text: blocks and parentheses
//! nested so deeply that its recursion ends the process, and the few literals it misreads. It also
//! tells which names a template uses. It does not judge anything else.

use std::collections::BTreeSet;
use std::ops::Range;

use super::failure::Failure;
use crate::code;

/// How deeply blocks may nest; each `else if` counts, since the engine recurses for it. The
/// engine's own limit of 64 does not count those.
const BLOCK_DEPTH_MAX: usize = 48;
/// How deeply parentheses may nest; the engine has no limit and overflows its stack.
const PARENTHESES_MAX: usize = 32;

/// The names that a template's actions use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Actions {
    /// Whether there are any.
    pub(crate) any: bool,
    /// Identifiers, fields (without their dot) and texts: everything that can name a variable.
    pub(crate) names: BTreeSet<String>,
}

/// Looks through a template.
///
/// # Errors
/// With the first part that the engine would crash on or misread.
pub(crate) fn scan(text: &str) -> Result<Actions, Failure> {
    let mut scanner = Scanner {
        text,
        at: 0,
        blocks: Vec::new(),
        actions: Actions::default(),
    };
    while let Some(start) = text[scanner.at..].find("{{") {
        scanner.at += start;
        scanner.action()?;
    }
    match scanner.blocks.last() {
        Some(open) => Err(syntax(
            open.range.clone(),
            format!("`{}` is not closed", open.keyword),
        )
        .with_help("each if, with, range, define and block ends with {{end}}")),
        None => Ok(scanner.actions),
    }
}

/// A block that is open, and by how much it deepens the nesting.
struct Block {
    keyword: &'static str,
    range: Range<usize>,
    depth: usize,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    blocks: Vec<Block>,
    actions: Actions,
}

impl Scanner<'_> {
    /// One action, from its `{{` on.
    fn action(&mut self) -> Result<(), Failure> {
        let start = self.at;
        self.at += 2;
        self.actions.any = true;
        if self.comment(start)? {
            return Ok(());
        }
        let mut open_parentheses = 0_usize;
        loop {
            let rest = &self.text[self.at..];
            let Some(next) = rest.chars().next() else {
                return Err(syntax(start..start + 2, "the action is not closed")
                    .with_help("an action ends with }}"));
            };
            if rest.starts_with("}}") {
                self.at += 2;
                return self.keyword(start);
            }
            match next {
                '"' | '\'' => self.literal(next)?,
                '`' => self.raw_literal()?,
                '(' => {
                    open_parentheses += 1;
                    if open_parentheses > PARENTHESES_MAX {
                        return Err(self.too_deep("parentheses", PARENTHESES_MAX));
                    }
                    self.at += 1;
                }
                ')' => {
                    open_parentheses = open_parentheses.saturating_sub(1);
                    self.at += 1;
                }
                _ if is_word(next) => self.word(),
                _ => self.at += next.len_utf8(),
            }
        }
    }

    /// Passes over `{{/* … */}}`, with or without trim marks.
    fn comment(&mut self, start: usize) -> Result<bool, Failure> {
        let inside = &self.text[self.at..];
        let trimmed = match inside.strip_prefix('-') {
            Some(rest) if rest.starts_with([' ', '\t', '\r', '\n']) => &rest[1..],
            Some(_) | None => inside,
        };
        if !trimmed.starts_with("/*") {
            return Ok(false);
        }
        let body = self.text.len() - trimmed.len() + 2;
        match self.text[body..].find("*/") {
            Some(length) => {
                self.at = body + length + 2;
                Ok(true)
            }
            None => Err(syntax(start..body, "the comment is not closed")
                .with_help("a comment ends with */}}")),
        }
    }

    fn word(&mut self) {
        let (word, _) = split_word(&self.text[self.at..]);
        self.at += word.len();
        self.actions.names.insert(word.to_owned());
    }

    /// A text in double quotes, or a character in single ones.
    fn literal(&mut self, quote: char) -> Result<(), Failure> {
        let start = self.at;
        let mut characters = self.text[start + 1..].char_indices();
        while let Some((offset, character)) = characters.next() {
            let at = start + 1 + offset;
            match character {
                '\n' => break,
                '\\' => {
                    let escaped = characters.next().map(|(_, escaped)| escaped);
                    self.check_escape(at, escaped, quote)?;
                }
                _ if character == quote => {
                    self.at = at + 1;
                    let inside = self.text[start + 1..at].to_owned();
                    self.actions.names.insert(inside);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(syntax(start..start + 1, "the text in quotes is not closed"))
    }

    /// The engine reads `\x41`, `\u00e9` and `\101` wrongly where more text follows, and takes a
    /// quote after `\\` for an escaped one.
    fn check_escape(&self, at: usize, escaped: Option<char>, quote: char) -> Result<(), Failure> {
        match escaped {
            Some('x' | 'u' | 'U' | '0'..='7') => Err(syntax(
                at..at + 2,
                "numbered escapes are not taken in texts",
            )
            .with_help("write the character itself, or printf \"%c\" with its number")),
            Some('\\') if self.text[at + 2..].starts_with(quote) => {
                Err(syntax(at..at + 2, "a text cannot end with a backslash")
                    .with_help("write printf \"%c\" 92 for a backslash"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A text in back quotes. Go takes it as it stands; the engine reads escapes in it.
    fn raw_literal(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let Some(length) = self.text[start + 1..].find('`') else {
            return Err(syntax(
                start..start + 1,
                "the text in back quotes is not closed",
            ));
        };
        let inside = &self.text[start + 1..start + 1 + length];
        if let Some(backslash) = inside.find('\\') {
            let at = start + 1 + backslash;
            return Err(
                syntax(at..at + 1, "a backslash is not taken in back quotes")
                    .with_help("write the text in double quotes, with \\\\ for a backslash"),
            );
        }
        self.actions.names.insert(inside.to_owned());
        self.at = start + 1 + length + 1;
        Ok(())
    }

    /// Keeps count of the open blocks. A keyword stands first: `.end` and `$if` are names.
    fn keyword(&mut self, start: usize) -> Result<(), Failure> {
        let range = start..self.at;
        let inside = &self.text[start + 2..self.at - 2];
        let inside = inside.strip_prefix('-').unwrap_or(inside).trim_start();
        let (keyword, rest) = split_word(inside);
        if let Some(keyword) = OPENERS.into_iter().find(|opener| *opener == keyword) {
            self.blocks.push(Block {
                keyword,
                range,
                depth: 1,
            });
        } else if keyword == "else" {
            let (next, _) = split_word(rest.trim_start());
            let chained = matches!(next, "if" | "with");
            match self.blocks.last_mut() {
                Some(block) => block.depth += usize::from(chained),
                None => return Err(syntax(range, "`else` stands outside of a block")),
            }
        } else if keyword == "end" && self.blocks.pop().is_none() {
            return Err(syntax(range, "`end` closes nothing"));
        }
        let depth: usize = self.blocks.iter().map(|block| block.depth).sum();
        if depth > BLOCK_DEPTH_MAX {
            return Err(self.too_deep("blocks", BLOCK_DEPTH_MAX));
        }
        Ok(())
    }

    fn too_deep(&self, what: &str, limit: usize) -> Failure {
        Failure::new(
            code::OVER_LIMIT,
            self.at.saturating_sub(1)..self.at,
            format!("{what} are nested more than {limit} deep"),
        )
    }
}

const OPENERS: [&str; 5] = ["if", "with", "range", "define", "block"];

/// The word with which a text begins, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn syntax(range: Range<usize>, message: impl Into<String>) -> Failure {
    Failure::new(code::TEMPLATE_SYNTAX, range, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(text: &str, at: &str, message: &str) {
        let failure = scan(text).unwrap_err();
        assert_eq!(failure.message, message, "{text}");
        assert_eq!(&text[failure.range.clone()], at, "{text}");
    }

    #[test]
    fn the_names_of_actions_are_found_and_nothing_else() {
        let text =
            "PORT {{ .PORT }} {{- index . \"MEMORY\" | size -}} {{/* SHARDS */}} NODES {{`X`}}";
        let names: Vec<String> = scan(text).unwrap().names.into_iter().collect();
        assert_eq!(names, ["MEMORY", "PORT", "X", "index", "size"]);
        assert!(!scan("maxmemory 1gb }} {").unwrap().any);
        assert!(scan("{{ \"}}\" }}").unwrap().names.contains("}}"));
    }

    #[test]
    fn what_is_not_closed_is_shown_where_it_opens() {
        check_refused("a\n{{ .A \n", "{{", "the action is not closed");
        check_refused(
            "{{if .A}}\n{{range .B}}x{{end}}",
            "{{if .A}}",
            "`if` is not closed",
        );
        check_refused(
            "{{define \"a\"}}",
            "{{define \"a\"}}",
            "`define` is not closed",
        );
        check_refused("x{{end}}", "{{end}}", "`end` closes nothing");
        check_refused("{{else}}", "{{else}}", "`else` stands outside of a block");
        check_refused("{{ \"a }}", "\"", "the text in quotes is not closed");
        check_refused("{{ `a }}", "`", "the text in back quotes is not closed");
        check_refused("{{/* a }}", "{{/*", "the comment is not closed");
    }

    #[test]
    fn a_keyword_is_one_only_where_it_stands_first() {
        for text in [
            "{{ .end }}",
            "{{ $if }}",
            "{{ print `x` .else }}",
            "{{- (.range) -}}",
        ] {
            assert!(scan(text).is_ok(), "{text}");
        }
        for text in [
            "{{if 1}}{{end}}",
            "{{- if 1 -}}{{- end -}}",
            "{{\nif 1}}{{\nend\n}}",
        ] {
            assert!(scan(text).is_ok(), "{text}");
            assert!(scan(&text.replace("end", "print")).is_err(), "{text}");
        }
    }

    #[test]
    fn what_the_engine_would_misread_is_refused() {
        check_refused(
            "{{ \"a\\u00e9\" }}",
            "\\u",
            "numbered escapes are not taken in texts",
        );
        check_refused(
            "{{ \"\\101\" }}",
            "\\1",
            "numbered escapes are not taken in texts",
        );
        check_refused(
            "{{ \"a\\\\\" }}",
            "\\\\",
            "a text cannot end with a backslash",
        );
        check_refused(
            "{{ `a\\n` }}",
            "\\",
            "a backslash is not taken in back quotes",
        );
        assert!(scan("{{ \"\\\\ \\\" \\n\" }}{{ '\\n' }}").is_ok());
    }

    #[test]
    fn what_would_overflow_the_stack_is_refused() {
        let parentheses = |depth: usize| format!("{{{{ {} }}}}", "(".repeat(depth));
        assert_eq!(scan(&parentheses(33)).unwrap_err().code, code::OVER_LIMIT);
        assert!(scan(&parentheses(32)).is_ok());
        let chain = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(20_000));
        assert_eq!(scan(&chain).unwrap_err().code, code::OVER_LIMIT);
        let nested = "{{if 1}}".repeat(1_000) + &"{{end}}".repeat(1_000);
        assert_eq!(scan(&nested).unwrap_err().code, code::OVER_LIMIT);
        let many_after_each_other = "{{if 1}}{{else if 2}}{{end}}".repeat(1_000);
        assert!(scan(&many_after_each_other).is_ok());
    }
}
