//! A server's answer as redis-cli writes it, read back: the port to the servers gives text. It
//! reads that notation only, and decides nothing.

/// One answer, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Several of them; a map is its keys and values in turn.
    List(Vec<Self>),
    /// Nothing.
    Nothing,
}

impl Part {
    /// The answer that this text is. What is no notation of ours is a text.
    pub(crate) fn read(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        match lines.first() {
            Some(_) => part(&lines, &mut at, 0, 0),
            None => Self::Text(String::new()),
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::List(_) | Self::Nothing => None,
        }
    }

    pub(crate) const fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) | Self::List(_) | Self::Nothing => None,
        }
    }

    /// Its items; what is no list has none.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Text(_) | Self::Number(_) | Self::Nothing => &[],
        }
    }
}

/// How deep an answer may be nested; those of the servers have four levels at most.
const DEPTH_MAX: usize = 32;

/// The part that begins at this column of this line. `at` is left on the line after it.
fn part(lines: &[&str], at: &mut usize, column: usize, depth: usize) -> Part {
    let rest = lines[*at].get(column..).unwrap_or_default();
    if head(rest).is_none() || depth == DEPTH_MAX {
        *at += 1;
        return scalar(rest);
    }
    let mut items = Vec::new();
    while let Some(length) = lines
        .get(*at)
        .and_then(|line| head_at(line, column, &items))
    {
        items.push(part(lines, at, column + length, depth + 1));
    }
    Part::List(items)
}

/// How long the head of the next item is: the first one stands behind the heads of its parents,
/// each further one behind blanks.
fn head_at(line: &str, column: usize, before: &[Part]) -> Option<usize> {
    let (margin, rest) = line.split_at_checked(column)?;
    let is_next = before.is_empty() || margin.bytes().all(|it| it == b' ');
    head(rest).filter(|(number, _)| is_next && *number == before.len() + 1)?;
    head(rest).map(|it| it.1)
}

/// `12) `: the number, and how long it is.
fn head(text: &str) -> Option<(usize, usize)> {
    let (number, _) = text.split_once(") ")?;
    Some((number.parse().ok()?, number.len() + 2))
}

fn scalar(text: &str) -> Part {
    if let Some(number) = text.strip_prefix("(integer) ") {
        return number.parse().map_or(Part::Nothing, Part::Number);
    }
    let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match (text, inner) {
        ("(nil)", _) => Part::Nothing,
        ("(empty array)", _) => Part::List(Vec::new()),
        (_, Some(inner)) => Part::Text(plain(inner)),
        (text, None) => Part::Text(text.to_owned()),
    }
}

/// A quoted text without its escapes.
fn plain(quoted: &str) -> String {
    let mut out = String::new();
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match rest.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('0') => out.push('\0'),
            Some('u') => {
                let digits: String = rest.by_ref().take_while(|it| *it != '}').collect();
                let code = u32::from_str_radix(digits.trim_start_matches('{'), 16);
                out.extend(code.ok().and_then(char::from_u32));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    #[test]
    fn a_nested_answer_is_read_back() {
        let read = Part::read(
            "1) 1) (integer) 7\n   2) 1) \"key-count\"\n      2) (integer) 0\n\
             2) 1) (integer) 8\n   2) (empty array)\n3) \"a\\\"b\\n\\u{1b}\\\\\"\n4) (nil)",
        );
        let list = Part::List;
        let counts = list(vec![text("key-count"), Part::Number(0)]);
        let expected = list(vec![
            list(vec![Part::Number(7), counts]),
            list(vec![Part::Number(8), list(Vec::new())]),
            text("a\"b\n\u{1b}\\"),
            Part::Nothing,
        ]);
        assert_eq!(read, expected);
    }

    #[test]
    fn ten_items_and_more_are_read_though_their_heads_are_longer() {
        let lines: Vec<String> = (1..=11)
            .map(|it| {
                format!(
                    "{it}) 1) \"x\"\n{}2) (integer) {it}",
                    " ".repeat(2 + it.to_string().len())
                )
            })
            .collect();
        let read = Part::read(&lines.join("\n"));
        assert_eq!(read.items().len(), 11);
        assert_eq!(read.items()[10].items()[1], Part::Number(11));
    }

    #[test]
    fn what_is_no_list_is_a_text_and_never_a_panic() {
        assert_eq!(Part::read("OK"), text("OK"));
        assert_eq!(Part::read(""), text(""));
        assert_eq!(Part::read("2) \"x\""), Part::List(Vec::new()));
        for odd in [
            "1) ",
            "1) é",
            "1) 1) \"é\"\n ééé2) x",
            "9999999999999999999999) x",
        ] {
            let _ = Part::read(odd);
        }
    }
}
