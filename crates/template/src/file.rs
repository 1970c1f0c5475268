//! One config file of one workload, rendered.

use std::collections::BTreeMap;

use model::ids::{VariableName, WorkloadName};
use model::spec::{FileTemplate, Value};

use crate::code;
use crate::discovery::Discovery;
use crate::go::Surroundings;
use crate::problem::Problem;
use crate::scope::Scope;
use crate::source::Source;

/// What Go's text/template and its printf write where a value is missing or of the wrong kind.
const SIGNS_OF_NOTHING: [&str; 2] = ["<no value>", "%!"];

/// Renders a config file for one workload. The text can hold passwords.
///
/// # Errors
/// With the first failure and its place in the file. No value is quoted, and no line of the
/// rendered text.
pub fn render(
    file: &FileTemplate,
    values: &BTreeMap<VariableName, Value>,
    discovery: &Discovery,
    me: &WorkloadName,
) -> Result<String, Problem> {
    let source = Source {
        file: &file.source,
        text: &file.text,
        shown: true,
    };
    source.check_size()?;
    let rendered = Scope::with_secrets(values)
        .render(&file.text, Some(Surroundings { discovery, me }))
        .map_err(|failure| {
            Problem::new(failure.code, failure.message)
                .with_help_if(failure.help)
                .at(source.place(failure.range))
        })?;
    refuse_nothing(&rendered, file, values).map_err(|problem| problem.at(source.beginning()))?;
    Ok(rendered)
}

/// Refuses a text with a hole in it. A sign that the template or a value brought along is none.
fn refuse_nothing(
    rendered: &str,
    file: &FileTemplate,
    values: &BTreeMap<VariableName, Value>,
) -> Result<(), Problem> {
    for sign in SIGNS_OF_NOTHING {
        let meant = file.text.contains(sign)
            || values.values().any(|value| match value {
                Value::Text(text) => text.contains(sign),
                Value::Secret(secret) => secret.expose().contains(sign),
                Value::Int(_) | Value::Size(_) | Value::Bool(_) => false,
            });
        if meant {
            continue;
        }
        if let Some(at) = rendered.find(sign) {
            let line = rendered[..at].matches('\n').count() + 1;
            let message = format!("line {line} of the rendered text would hold `{sign}`");
            return Err(Problem::new(code::NOTHING_RENDERED, message)
                .with_help("give the action a value, or `default` one"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::secret::Secret;

    use super::*;
    use crate::discovery::tests::two_hosts;

    fn render_text(text: &str) -> Result<String, Problem> {
        let file = FileTemplate {
            source: "redis.conf".to_owned(),
            text: text.to_owned(),
            target: "/etc/redis.conf".to_owned(),
            keep: false,
        };
        let name = |name: &str| VariableName::new(name).unwrap();
        let values = BTreeMap::from([
            (name("APPENDONLY"), Value::Bool(true)),
            (name("SHARDS"), Value::Int(3)),
            (name("LABEL"), Value::Text("{{ .PASSWORD }}".to_owned())),
            (name("PASSWORD"), Value::Secret(Secret::new("hunter2"))),
        ]);
        let (discovery, me) = two_hosts();
        render(&file, &values, &discovery, &me)
    }

    #[test]
    fn variables_and_neighbours_are_filled_in() {
        let text = "{{ .SHARDS }} {{ if .APPENDONLY }}yes{{ else }}no{{ end }} \
                    {{ range (service \"redis\").Containers }}{{ .IPAddr }};{{ end }} \
                    {{ .PASSWORD }}";
        assert_eq!(
            render_text(text).unwrap(),
            "3 yes 10.0.0.2;10.0.0.3; hunter2"
        );
    }

    #[test]
    fn a_value_that_looks_like_a_template_is_not_rendered() {
        assert_eq!(render_text("{{ .LABEL }}").unwrap(), "{{ .PASSWORD }}");
    }

    #[test]
    fn a_hole_in_the_text_is_refused() {
        for text in [
            "a\n{{ define \"n\" }}[{{ . }}]{{ end }}{{ template \"n\" }}",
            "a\n{{ printf \"%d\" \"x\" }}",
            "a\n{{ nil | and true }}",
        ] {
            let problem = render_text(text).unwrap_err();
            assert!(
                [code::NOTHING_RENDERED, code::CALL_FAILED].contains(&problem.code),
                "{problem:?}"
            );
        }
        assert_eq!(render_text("%! {{ .SHARDS }}").unwrap(), "%! 3");
    }

    #[test]
    fn a_failure_shows_the_line_of_the_template_and_no_value() {
        let problem = render_text("port 1\nmasterauth {{ .PASWORD }}\n").unwrap_err();
        assert_eq!(problem.message, "the template has no variable PASWORD");
        assert_eq!(problem.help.as_deref(), Some("did you mean `PASSWORD`?"));
        assert_eq!(
            problem.excerpt(),
            [
                "  --> redis.conf:2:15",
                "  |",
                "2 | masterauth {{ .PASWORD }}",
                "  |               ^^^^^^^^",
            ]
        );
        assert!(!format!("{problem:?}").contains("hunter2"));
    }

    #[test]
    fn a_file_of_more_than_a_megabyte_is_refused() {
        let problem = render_text(&"x".repeat((1 << 20) + 1)).unwrap_err();
        assert_eq!(problem.code, code::TOO_MUCH);
    }
}
