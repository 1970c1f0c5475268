//! Why a template could not be rendered, in words of our own.
//!
//! The engine's messages quote the data (`no field 'X' in map[PASSWORD:…]`), so not one of them is
//! handed on. What kind of failure it was is told from the fixed part of its text, and the rest
//! from the template itself, which holds no secret.

use std::ops::Range;

use gtmpl_ng::{ErrorContext, ExecError, ParseError};
use model::fault::Code;

use super::engine::{Setting, Told};
use super::function::FUNCTIONS;
use crate::code;
use crate::source::shown;
use crate::suggestion::did_you_mean;

/// Why a template could not be rendered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// The bytes of the template that it is about.
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            code,
            range,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn with_help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// Go's own functions, for suggestions.
const GO_FUNCTIONS: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice", "urlquery",
];

/// What the engine said when it read the text.
pub(crate) fn of_parsing(error: &ParseError, text: &str) -> Failure {
    let range = if let ParseError::WithContext(context, _) = error {
        range_of(context, text)
    } else {
        0..text.len()
    };
    let told = error.to_string();
    let word = &text[range.clone()];
    if told.contains("function ") && told.ends_with(" not defined") {
        let known = FUNCTIONS.iter().map(|function| function.name);
        let message = format!("there is no function `{}`", shown(word));
        return Failure::new(code::UNKNOWN_FUNCTION, range.clone(), message)
            .with_help_if(did_you_mean(word, known.chain(GO_FUNCTIONS)));
    }
    if told.contains("undefined variable") {
        let message = format!("`{}` is not declared here", shown(word));
        return Failure::new(code::UNKNOWN_NAME, range.clone(), message).with_help(
            "a name with $ is declared by := and known to the end of its block; \
             a template's variable is written .NAME",
        );
    }
    if told.contains("nested more than") {
        return Failure::new(code::OVER_LIMIT, range, "blocks are nested too deeply");
    }
    let message = PARSE_REASONS
        .iter()
        .find(|(needle, _)| told.contains(needle))
        .map_or("this is not an action of a Go template", |(_, reason)| {
            reason
        });
    Failure::new(code::TEMPLATE_SYNTAX, range, message)
}

/// The fixed parts of the engine's messages about syntax, and what they mean. The first that
/// fits counts.
const PARSE_REASONS: [(&str, &str); 12] = [
    (
        "outside {{range}}",
        "`break` and `continue` stand within a range only",
    ),
    ("unclosed left paren", "a parenthesis is not closed"),
    ("right paren", "a parenthesis closes nothing"),
    ("missing value", "a value is missing here"),
    (
        "multiple definition",
        "a template of this name is defined twice",
    ),
    ("expected end; found", "a block has more than one `else`"),
    ("too many declarations", "too many names are declared here"),
    ("number", "this is not a number"),
    ("bad character", "a character is not allowed here"),
    ("non executable", "what stands after | is not a function"),
    (
        "unable to un",
        "a text in quotes holds an escape that does not exist",
    ),
    ("define clause", "define needs a name in quotes"),
];

/// What the engine said when it rendered the text. `told` is what one of our functions said.
pub(crate) fn of_rendering(
    error: &ExecError,
    told: Option<Told>,
    text: &str,
    setting: &Setting<'_>,
) -> Failure {
    let (range, raw) = match error.as_structured() {
        Some(structured) => (
            range_of(&structured.context, text),
            structured.message.clone(),
        ),
        None => (0..0, error.to_string()),
    };
    if let Some(told) = told {
        return Failure::new(told.code, range, told.message).with_help_if(told.help);
    }
    if let Some(rest) = raw.strip_prefix("no field `") {
        let field = rest.split('`').next().unwrap_or("");
        // What is said of it must come from the template, never from the data.
        if text[range.clone()].contains(field) {
            return of_missing_field(field, range, text, setting);
        }
    }
    let (code, message) = RENDER_REASONS
        .iter()
        .find(|(needle, ..)| raw.contains(needle))
        .map_or(
            (
                code::CALL_FAILED,
                "this cannot be computed: look at the number and the kinds of its values",
            ),
            |(_, code, reason)| (*code, *reason),
        );
    Failure::new(code, range, message)
}

/// The fixed parts of the engine's messages about values, and what they mean.
const RENDER_REASONS: [(&str, Code, &str); 14] = [
    (
        "did not finish within",
        code::OVER_LIMIT,
        "rendering takes too long",
    ),
    (
        "nesting depth",
        code::OVER_LIMIT,
        "templates call each other too deeply",
    ),
    (
        "iterations allowed",
        code::OVER_LIMIT,
        "a loop runs too often",
    ),
    (
        "bytes allowed",
        code::OVER_LIMIT,
        "the rendered text is too long",
    ),
    (
        "value larger than",
        code::OVER_LIMIT,
        "a value grows too large",
    ),
    (
        "value nested deeper",
        code::OVER_LIMIT,
        "a value is nested too deeply",
    ),
    (
        "only maps and objects have fields",
        code::UNKNOWN_NAME,
        "this value has no fields",
    ),
    ("unable to get ", code::CALL_FAILED, "there is no such item"),
    (
        "index out of range",
        code::CALL_FAILED,
        "there is no item at this index",
    ),
    (
        "not defined",
        code::UNKNOWN_NAME,
        "no template of this name is defined",
    ),
    (
        "range can't iterate",
        code::CALL_FAILED,
        "range needs a list, a map or a whole number",
    ),
    (
        "more than one variable",
        code::CALL_FAILED,
        "a range over a number has one variable only",
    ),
    (
        "argument",
        code::CALL_FAILED,
        "this takes other values than it is given here",
    ),
    (
        "incomplete or empty",
        code::TEMPLATE_SYNTAX,
        "the template holds nothing",
    ),
];

/// A field that is not there: a variable that does not exist, a secret where none may be used, or
/// a wrong field of a container.
fn of_missing_field(
    field: &str,
    range: Range<usize>,
    text: &str,
    setting: &Setting<'_>,
) -> Failure {
    if setting.hidden_secrets.iter().any(|secret| secret == field) {
        let message = format!("the secret {field} cannot be used here, where others can read it");
        return Failure::new(code::EXPOSED_SECRET, range, message)
            .with_help("put it into a config file: only the workload's user can read that");
    }
    let spelled = text[range.clone()].trim_start_matches(['$', '.']);
    let is_variable = spelled.split('.').next() == Some(field);
    let message = if is_variable {
        format!("the template has no variable {}", shown(field))
    } else {
        format!("there is no field {} here", shown(field))
    };
    let help = if is_variable {
        did_you_mean(field, setting.names.iter().map(String::as_str))
    } else {
        did_you_mean(field, super::lookup::FIELDS)
    };
    Failure::new(code::UNKNOWN_NAME, range, message).with_help_if(help)
}

/// The bytes that the engine's line, byte column and length stand for.
fn range_of(context: &ErrorContext, text: &str) -> Range<usize> {
    let line_start = text
        .split_inclusive('\n')
        .take(context.line.saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let fit = |at: usize| {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = fit(line_start + context.col.saturating_sub(1));
    start..fit(start.saturating_add(context.len))
}
