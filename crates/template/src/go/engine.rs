//! The engine, with limits, our functions and our messages.
//!
//! The engine's functions are plain `fn` pointers without room for data of their own, so what they
//! need (the discovered services, and a place to say why they fail) stands in a thread-local for
//! as long as one rendering runs; a guard puts the previous one back, whatever happens. Beside it
//! only what was parsed is kept, which holds no value of any variable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use gtmpl_ng::{Context, FuncError, Limits, Template, Value};
use model::fault::Code;
use model::ids::WorkloadName;

use super::failure::{Failure, of_parsing, of_rendering};
use super::function::FUNCTIONS;
use super::scan;
use crate::discovery::Discovery;

/// The longest text that is made from one template.
const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// The largest single value: `services` with the thousands of workloads of the largest instance.
const VALUE_WEIGHT_MAX: usize = 4 << 20;
/// The longest that one rendering may take. Config files need a thousandth of it.
const RENDER_TIME_MAX: Duration = Duration::from_secs(2);

/// How many parsed texts are kept: more than the config files of any template of ours.
const PARSED_MAX: usize = 32;

/// What a template sees. It has no `Debug`: it can hold passwords.
pub(crate) struct Setting<'a> {
    /// The variables as fields: an object, so that an unknown one is an error.
    pub(crate) data: &'a Value,
    /// The names of those variables, for suggestions.
    pub(crate) names: &'a [String],
    /// Secrets that exist and must not be used here.
    pub(crate) hidden_secrets: &'a [String],
    /// The addresses, where they are known already.
    pub(crate) surroundings: Option<Surroundings<'a>>,
}

/// The workloads of the instance, and the one whose file is rendered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) discovery: &'a Discovery,
    pub(crate) me: &'a WorkloadName,
}

/// Renders a text.
///
/// # Errors
/// With the first failure and its place in the text; it never holds a value of the data.
pub(crate) fn render(text: &str, setting: &Setting<'_>) -> Result<String, Failure> {
    // Without an action the text is its own result, and an empty one is no error.
    if !scan(text)?.any {
        return Ok(text.to_owned());
    }
    let template = parsed(text)?;
    let session = Session::open(setting.surroundings);
    template
        .render(&Context::from(setting.data.clone()))
        .map_err(|error| of_rendering(&error, session.told(), text, setting))
}

/// The text as the engine understands it. Parsing starts a thread each time, and a config file is
/// rendered once for each of a hundred workloads: what was parsed last is kept.
fn parsed(text: &str) -> Result<Rc<Template>, Failure> {
    if let Some(known) = PARSED.with_borrow(|parsed| parsed.get(text).cloned()) {
        return Ok(known);
    }
    let limits = Limits::default()
        .with_output_bytes(OUTPUT_BYTES_MAX)
        .with_function_output(VALUE_WEIGHT_MAX)
        .with_deadline(RENDER_TIME_MAX);
    let mut template = Template::with_limits(limits);
    for function in &FUNCTIONS {
        template.add_func(function.name, function.call);
    }
    template
        .parse(text)
        .map_err(|error| of_parsing(&error, text))?;
    let template = Rc::new(template);
    PARSED.with_borrow_mut(|parsed| {
        if parsed.len() >= PARSED_MAX {
            parsed.clear();
        }
        parsed.insert(text.to_owned(), Rc::clone(&template));
    });
    Ok(template)
}

thread_local! {
    static CURRENT: RefCell<State> = const { RefCell::new(State::EMPTY) };
    static PARSED: RefCell<BTreeMap<String, Rc<Template>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// What our functions need while a text is rendered on this thread.
struct State {
    discovery: Option<(Discovery, WorkloadName)>,
    told: Option<Told>,
}

/// What one of our functions said when it failed.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl State {
    const EMPTY: Self = Self {
        discovery: None,
        told: None,
    };
}

/// One rendering; it puts back what was there before when it ends.
struct Session {
    before: State,
}

impl Session {
    fn open(surroundings: Option<Surroundings<'_>>) -> Self {
        let state = State {
            discovery: surroundings.map(|here| (here.discovery.clone(), here.me.clone())),
            told: None,
        };
        Self {
            before: CURRENT.replace(state),
        }
    }

    fn told(&self) -> Option<Told> {
        CURRENT.with_borrow_mut(|state| state.told.take())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        CURRENT.set(std::mem::replace(&mut self.before, State::EMPTY));
    }
}

/// The workloads that the rendering on this thread knows of, and whose file it is.
pub(super) fn surroundings() -> Option<(Discovery, WorkloadName)> {
    CURRENT.with_borrow(|state| state.discovery.clone())
}

/// How a function of ours fails. The message must not hold a value, which can be a secret.
pub(super) fn fail(code: Code, message: impl Into<String>, help: Option<String>) -> FuncError {
    let told = Told {
        code,
        message: message.into(),
        help,
    };
    CURRENT.with_borrow_mut(|state| state.told = Some(told));
    FuncError::Generic(String::new())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::code;

    /// An object of these fields.
    pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    fn render_with(text: &str) -> Result<String, Failure> {
        let data = object([
            ("SHARDS", Value::from(3)),
            ("NAME", Value::from("x")),
            ("PASSWORD", Value::from("hunter2")),
        ]);
        let names = [
            "SHARDS".to_owned(),
            "NAME".to_owned(),
            "PASSWORD".to_owned(),
        ];
        render(
            text,
            &Setting {
                data: &data,
                names: &names,
                hidden_secrets: &["TOKEN".to_owned()],
                surroundings: None,
            },
        )
    }

    fn check_failure(text: &str, code: Code, at: &str, message: &str) {
        let failure = render_with(text).unwrap_err();
        assert_eq!(failure.code, code, "{text}: {failure:?}");
        assert_eq!(&text[failure.range.clone()], at, "{text}: {failure:?}");
        assert_eq!(failure.message, message, "{text}");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }

    #[test]
    fn a_text_without_actions_stays_as_it_is() {
        assert_eq!(render_with("").as_deref(), Ok(""));
        assert_eq!(render_with("a }} b").as_deref(), Ok("a }} b"));
    }

    #[test]
    fn names_that_do_not_exist_are_shown_with_the_nearest_one() {
        check_failure(
            "é {{ .SHARD }}",
            code::UNKNOWN_NAME,
            ".SHARD",
            "the template has no variable SHARD",
        );
        let failure = render_with("a\n{{ $.SHARD }}").unwrap_err();
        assert_eq!(failure.help.as_deref(), Some("did you mean `SHARDS`?"));
        check_failure(
            "{{ .NAME.FIRST }}",
            code::UNKNOWN_NAME,
            ".NAME.FIRST",
            "this value has no fields",
        );
        check_failure(
            "{{ .TOKEN }}",
            code::EXPOSED_SECRET,
            ".TOKEN",
            "the secret TOKEN cannot be used here, where others can read it",
        );
        check_failure(
            "{{ $x }}",
            code::UNKNOWN_NAME,
            "$x",
            "`$x` is not declared here",
        );
        check_failure(
            "{{ uper .NAME }}",
            code::UNKNOWN_FUNCTION,
            "uper",
            "there is no function `uper`",
        );
        let failure = render_with("{{ uper .NAME }}").unwrap_err();
        assert_eq!(failure.help.as_deref(), Some("did you mean `upper`?"));
    }

    #[test]
    fn a_syntax_fault_is_shown_where_it_is() {
        let text = "port 1\nx {{ break }}";
        let failure = render_with(text).unwrap_err();
        assert_eq!(failure.code, code::TEMPLATE_SYNTAX);
        assert_eq!(
            failure.message,
            "`break` and `continue` stand within a range only"
        );
        let failure = render_with("{{ (1 }}").unwrap_err();
        assert_eq!(failure.message, "a parenthesis is not closed");
    }

    #[test]
    fn loops_growth_and_recursion_have_limits() {
        for text in [
            "{{range 1000000000}}x{{end}}",
            "{{range 9999}}{{range 9999}}{{end}}{{end}}",
            "{{$s := \"x\"}}{{range 60}}{{$s = print $s $s}}{{end}}",
            "{{define \"r\"}}{{template \"r\" .}}{{end}}{{template \"r\" .}}",
            "{{range 9999}}{{printf \"%999d\" 1}}{{end}}",
            "{{range 9999}}{{len (printf \"%999999d\" 1)}}{{end}}",
        ] {
            let failure = render_with(text).unwrap_err();
            assert_eq!(failure.code, code::OVER_LIMIT, "{text}: {failure:?}");
        }
    }

    #[test]
    fn what_is_taken_does_not_overflow_the_stack_of_a_thread() {
        let parentheses = format!("{}1{}", "(".repeat(32), ")".repeat(32));
        let nested = format!("{{{{if {parentheses}}}}}").repeat(48);
        let text = format!("{nested}x{}", "{{end}}".repeat(48));
        assert_eq!(render_with(&text).as_deref(), Ok("x"));
        let chain = format!("{{{{else if {parentheses}}}}}x").repeat(47);
        let text = format!("{{{{if 0}}}}{chain}{{{{end}}}}");
        assert_eq!(render_with(&text).as_deref(), Ok("x"));
    }

    #[test]
    fn no_failure_quotes_a_value() {
        for text in [
            "{{ .X }}",
            "{{ .PASSWORD.x }}",
            "{{ index . \"X\" }}",
            "{{ index .PASSWORD 99 }}",
            "{{ range .PASSWORD }}{{ end }}",
            "{{ len 1 .PASSWORD }}",
            "{{ call .PASSWORD }}",
            "{{ .PASSWORD 1 }}",
            "{{ slice .PASSWORD 5 1 }}",
            "{{ add .PASSWORD 1 }}",
            "{{ bytes .PASSWORD }}",
            "{{ service .PASSWORD }}",
            "{{ replace .PASSWORD }}",
            "{{ maxmemory .PASSWORD }}",
            "{{ template \"x\" .PASSWORD }}",
        ] {
            let failure = render_with(text).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
            assert!(!failure.message.is_empty(), "{text}");
        }
    }

    #[test]
    fn nothing_of_a_rendering_is_left_when_it_ends() {
        let (discovery, me) = crate::discovery::tests::two_hosts();
        let setting = Setting {
            data: &object([]),
            names: &[],
            hidden_secrets: &[],
            surroundings: Some(Surroundings {
                discovery: &discovery,
                me: &me,
            }),
        };
        assert_eq!(
            render("{{ (self).Name }}", &setting).as_deref(),
            Ok("redis-1")
        );
        assert!(surroundings().is_none());
        assert!(render("{{ div 1 0 }}", &setting).is_err());
        assert!(surroundings().is_none());
    }

    #[test]
    fn a_failure_on_one_thread_is_not_told_on_another() {
        let texts = ["{{ div 1 0 }}", "{{ upper 1 }}"];
        std::thread::scope(|scope| {
            for text in texts {
                scope.spawn(move || {
                    let expected = render_with(text).unwrap_err();
                    for _ in 0..200 {
                        assert_eq!(render_with(text), Err(expected.clone()));
                    }
                });
            }
        });
    }
}
