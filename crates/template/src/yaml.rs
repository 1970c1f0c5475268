//! YAML to a tree in which every value knows its place.
//!
//! The parser is read at the level of its events, because a fault must be shown with its line and
//! column, a document can have many, and what a scalar means (`no`, `1e3`, `0o7`) is decided by
//! the field it stands in, never by its looks. Aliases are taken within a budget; tags, merge keys
//! and several documents are not.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};

use crate::code;
use crate::problem::{PROBLEMS_MAX, Problem, Problems};
use crate::source::{Source, shown};

/// The most values of a document, copies by alias included.
const NODES_MAX: usize = 20_000;
/// The deepest nesting; a template needs seven levels.
const DEPTH_MAX: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its bytes in the text.
    pub(crate) range: Range<usize>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A text, as it stands (`plain`) or from within quotes or a block.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_range: Range<usize>,
    pub(crate) value: Node,
}

impl Node {
    /// Whether nothing was written, or an explicit null.
    pub(crate) fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Content::List(_) | Content::Map(_) => false,
        }
    }

    /// Whether it is a list without items.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.content, Content::List(items) if items.is_empty())
    }

    /// What to call it in a message.
    pub(crate) fn describe(&self) -> String {
        if self.is_null() {
            return "nothing".to_owned();
        }
        match &self.content {
            Content::Scalar { text, .. } => format!("`{}`", shown(text)),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
        }
    }

    fn weight(&self) -> usize {
        1 + match &self.content {
            Content::Scalar { .. } => 0,
            Content::List(items) => items.iter().map(Self::weight).sum(),
            Content::Map(entries) => entries.iter().map(|entry| entry.value.weight()).sum(),
        }
    }
}

/// Reads the one document of a text.
///
/// # Errors
/// With the first fault of syntax or size, or with every key that stands twice.
pub(crate) fn parse(source: &Source<'_>) -> Result<Node, Problems> {
    source.check_size()?;
    check_indentation(source)?;
    let mut options = Options::default();
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    options.disallow_directives = true;
    options.set_emit_comments(false);
    let mut builder = Builder {
        source: *source,
        parser: Parser::new_from_str_with_options(source.text, options),
        nodes_left: NODES_MAX,
        anchors: BTreeMap::new(),
        duplicates: Vec::new(),
    };
    let root = builder.document()?;
    Problems::check(builder.duplicates)?;
    Ok(root)
}

/// A tab looks like spaces and is none; parsers disagree about it, so it is named before one sees
/// it.
fn check_indentation(source: &Source<'_>) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        if problems.len() == PROBLEMS_MAX {
            break;
        }
        if let Some(tab) = line[..indentation].find('\t') {
            let message = "the line is indented with a tab, which YAML does not allow";
            problems.push(
                Problem::new(code::YAML_SYNTAX, message)
                    .at(source.place(start + tab..start + tab + 1))
                    .with_help("indent with spaces"),
            );
        }
        start += line.len();
    }
    Problems::check(problems)
}

struct Builder<'a> {
    source: Source<'a>,
    parser: Parser<'a, StrInput<'a>>,
    nodes_left: usize,
    /// Finished nodes by the number of their anchor. A node within itself is not finished, so it
    /// cannot contain itself.
    anchors: BTreeMap<usize, Node>,
    duplicates: Vec<Problem>,
}

type Step<'a> = (Event<'a>, Span);

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::StreamEnd {
                break;
            }
            if matches!(event, Event::DocumentStart(..)) {
                if root.is_some() {
                    return Err(self.refuse(&span, "the file holds more than one document"));
                }
                let first = self.next()?;
                root = Some(self.node(first, 0)?);
            }
        }
        match root {
            Some(root) if !root.is_null() => Ok(root),
            Some(_) | None => {
                let place = self.source.beginning();
                Err(Problem::new(code::YAML_SYNTAX, "the file is empty").at(place))
            }
        }
    }

    fn next(&mut self) -> Result<Step<'a>, Problem> {
        match self.parser.next_event() {
            Some(Ok(step)) => Ok(step),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                // The parser can quote a character of the text, which may be a password's.
                let message = if self.source.shown {
                    format!("this is not YAML: {}", error.kind())
                } else {
                    "this is not YAML".to_owned()
                };
                Err(Problem::new(code::YAML_SYNTAX, message).at(self.source.place(at..at + 1)))
            }
            None => Err(Problem::new(code::YAML_SYNTAX, "the file ends too early")
                .at(self.source.beginning())),
        }
    }

    fn node(&mut self, (event, span): Step<'a>, depth: usize) -> Result<Node, Problem> {
        let mut range = bytes(&span);
        self.spend(1, &range)?;
        if depth >= DEPTH_MAX {
            let message = format!("values are nested more than {DEPTH_MAX} levels deep");
            return Err(Problem::new(code::TOO_MUCH, message).at(self.source.place(range)));
        }
        if event.tag().is_some() {
            let tag = span.tag_span().unwrap_or(span);
            return Err(self.refuse(&tag, "a tag (`!…`) is not taken here"));
        }
        let (content, anchor) = if let Event::Scalar(text, style, anchor, _) = event {
            let plain = style == ScalarStyle::Plain;
            let text = text.into_owned();
            (Content::Scalar { text, plain }, anchor)
        } else if let Event::SequenceStart(_, anchor, _) = event {
            (self.list(depth, &mut range)?, anchor)
        } else if let Event::MappingStart(_, anchor, _) = event {
            (self.map(depth, &mut range)?, anchor)
        } else if let Event::Alias(anchor) = event {
            return self.copy(anchor, &span);
        } else {
            return Err(self.refuse(&span, "a value is expected here"));
        };
        let node = Node { range, content };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize, range: &mut Range<usize>) -> Result<Content, Problem> {
        let mut items = Vec::new();
        loop {
            let step = self.next()?;
            if step.0 == Event::SequenceEnd {
                range.end = range.end.max(bytes(&step.1).end);
                return Ok(Content::List(items));
            }
            items.push(self.node(step, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize, range: &mut Range<usize>) -> Result<Content, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut first_places: BTreeMap<String, usize> = BTreeMap::new();
        loop {
            let step = self.next()?;
            if step.0 == Event::MappingEnd {
                range.end = range.end.max(bytes(&step.1).end);
                return Ok(Content::Map(entries));
            }
            let key_node = self.node(step, depth + 1)?;
            let key_range = key_node.range;
            let Content::Scalar { text: key, .. } = key_node.content else {
                return Err(Problem::new(code::YAML_SYNTAX, "a key is a single text")
                    .at(self.source.place(key_range)));
            };
            let step = self.next()?;
            let value = self.node(step, depth + 1)?;
            match first_places.get(&key) {
                Some(first) => self.note_duplicate(&key, &key_range, *first),
                None => {
                    first_places.insert(key.clone(), key_range.start);
                    entries.push(Entry {
                        key,
                        key_range,
                        value,
                    });
                }
            }
        }
    }

    fn note_duplicate(&mut self, key: &str, range: &Range<usize>, first: usize) {
        if self.duplicates.len() == PROBLEMS_MAX {
            return;
        }
        let first_line = self.source.place(first..first).line;
        self.duplicates.push(
            Problem::new(
                code::DUPLICATE_KEY,
                format!("`{}` stands twice", shown(key)),
            )
            .at(self.source.place(range.clone()))
            .with_help(format!(
                "it stands in line {first_line} already; keep one of them"
            )),
        );
    }

    fn copy(&mut self, anchor: usize, span: &Span) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.refuse(span, "a value cannot contain itself"));
        };
        // The budget is checked before the copy is kept, so that aliases of aliases stop early.
        self.spend(node.weight(), &bytes(span))?;
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, range: &Range<usize>) -> Result<(), Problem> {
        match self.nodes_left.checked_sub(nodes) {
            Some(left) => {
                self.nodes_left = left;
                Ok(())
            }
            None => {
                let message = format!("the file holds more than {NODES_MAX} values");
                Err(Problem::new(code::TOO_MUCH, message).at(self.source.place(range.clone())))
            }
        }
    }

    fn refuse(&self, span: &Span, message: &str) -> Problem {
        Problem::new(code::YAML_SYNTAX, message).at(self.source.place(bytes(span)))
    }
}

fn bytes(span: &Span) -> Range<usize> {
    let start = span.start.byte_offset().unwrap_or(0);
    start..span.end.byte_offset().unwrap_or(start).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FILE_BYTES_MAX;

    fn read(text: &str) -> Result<Node, Problems> {
        parse(&Source {
            file: "t.yaml",
            text,
            shown: true,
        })
    }

    fn check_refused(text: &str, expected: &str) {
        let problems = read(text).unwrap_err();
        let told: Vec<String> = problems
            .all()
            .iter()
            .map(|problem| {
                let place = problem.place.as_ref().unwrap();
                let (line, column) = (place.line, place.column);
                format!("{} {line}:{column} {}", problem.code, problem.message)
            })
            .collect();
        assert_eq!(told.join("\n"), expected, "{text:.60}");
    }

    #[test]
    fn scalars_keep_their_looks_and_their_places() {
        let text = "a: no\nb: \"no\"\nc: [1e3, 0o7, 1_000, .inf]\n";
        let root = read(text).unwrap();
        let Content::Map(entries) = &root.content else {
            panic!("a mapping");
        };
        let Content::List(numbers) = &entries[2].value.content else {
            panic!("a list");
        };
        let looks: Vec<String> = entries[..2]
            .iter()
            .map(|entry| &entry.value)
            .chain(numbers)
            .map(|node| format!("{}={}", &text[node.range.clone()], node.describe()))
            .collect();
        assert_eq!(
            looks,
            [
                "no=`no`",
                "\"no\"=`no`",
                "1e3=`1e3`",
                "0o7=`0o7`",
                "1_000=`1_000`",
                ".inf=`.inf`"
            ]
        );
    }

    #[test]
    fn what_is_written_as_nothing_is_nothing() {
        for text in ["a:", "a: ~", "a: null"] {
            let root = read(text).unwrap();
            let Content::Map(entries) = &root.content else {
                panic!("a mapping");
            };
            assert!(entries[0].value.is_null(), "{text}");
        }
        assert!(!read("\"\"").unwrap().is_null());
    }

    #[test]
    fn syntax_faults_have_a_place() {
        check_refused("", "SY1001 1:1 the file is empty");
        check_refused("# only a comment\n", "SY1001 1:1 the file is empty");
        check_refused(
            "a: 1\n---\nb: 2\n",
            "SY1001 2:1 the file holds more than one document",
        );
        check_refused(
            "a: !!python/object:os.system x\n",
            "SY1001 1:4 a tag (`!…`) is not taken here",
        );
        check_refused("? [a]\n: 1\n", "SY1001 1:3 a key is a single text");
        check_refused("a: &x [*x]\n", "SY1001 1:8 a value cannot contain itself");
    }

    #[test]
    fn every_tab_in_an_indentation_is_named() {
        let expected = "SY1001 2:1 the line is indented with a tab, which YAML does not allow\n\
                        SY1001 3:2 the line is indented with a tab, which YAML does not allow";
        check_refused("a:\n\tb: 1\n \tc: 2\nd: \"x\ty\"\n", expected);
    }

    #[test]
    fn every_key_that_stands_twice_is_named() {
        let expected = "SY1003 3:1 `a` stands twice\nSY1003 4:11 `x` stands twice";
        check_refused("a: 1\nb: 2\na: 3\nc: {x: 1, x: 2}\n", expected);
    }

    #[test]
    fn aliases_are_taken_within_a_budget() {
        let root = read("a: &one {x: 1}\nb: *one\n").unwrap();
        assert_eq!(root.weight(), 5);
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(","));
        }
        let problems = read(&bomb).unwrap_err();
        assert_eq!(problems.all()[0].code, code::TOO_MUCH);
        assert!(
            problems.all()[0]
                .place
                .as_ref()
                .is_some_and(|place| place.line > 3)
        );
    }

    #[test]
    fn a_file_that_is_all_faults_is_told_in_a_readable_number() {
        for text in [
            "\t\n".repeat(500_000),
            format!("{{{}}}", "a: 1, ".repeat(9_000)),
        ] {
            assert_eq!(read(&text).unwrap_err().all().len(), PROBLEMS_MAX);
        }
    }

    #[test]
    fn depth_size_and_number_are_limited() {
        for text in [
            "[".repeat(1_000_000),
            "- ".repeat(500_000),
            "{a: ".repeat(1_000),
        ] {
            let problems = read(&text).unwrap_err();
            assert!(problems.all()[0].place.is_some(), "{:?}", problems.all()[0]);
        }
        let long = format!("a: {}", "x".repeat(FILE_BYTES_MAX));
        check_refused(
            &long,
            "SY1002 1:1 the file has 1048579 bytes, and 1048576 are the most",
        );
        let many = format!("[{}]", "1,".repeat(30_000));
        check_refused(
            &many,
            "SY1002 1:40000 the file holds more than 20000 values",
        );
    }

    #[test]
    fn a_text_that_may_hold_a_password_is_not_quoted() {
        let source = Source {
            file: "values.yaml",
            text: "PASSWORD: \"hunter2\nX: @hunter2",
            shown: false,
        };
        let problems = parse(&source).unwrap_err();
        assert!(!format!("{problems:?}").contains("hunter2"));
    }
}
