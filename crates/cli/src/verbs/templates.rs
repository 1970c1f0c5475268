//! Verbs on templates. They start nothing and keep nothing.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use control::preview::rendered;
use model::fault::{Class, Fault};
use model::ids::{TemplateName, WorkloadName};
use serde_json::json;
use template::{Document, Fallback, Severity, Variable, VariableKind, builtin};

use super::Session;
use crate::args::{TemplateVerb, VariableArguments};
use crate::render::text::{columns, lines};
use crate::{print, read};

pub(super) fn run(session: &Session, verb: TemplateVerb) -> Result<ExitCode, Fault> {
    match verb {
        TemplateVerb::Ls => list(session),
        TemplateVerb::Show { template } => show(session, &template),
        TemplateVerb::New { folder } => new(session, &folder),
        TemplateVerb::Lint { template } => lint(session, &template),
        TemplateVerb::Render {
            template,
            variables,
        } => render(session, &template, &variables),
    }
}

fn list(session: &Session) -> Result<ExitCode, Fault> {
    let mut known = Vec::new();
    for name in builtin::names() {
        if let Some(files) = builtin::files(name) {
            known.push((name, Document::read(&files)?));
        }
    }
    session.show(
        || {
            let mut table = columns(&["NAME", "TITLE"]);
            for (name, document) in &known {
                table.add_row([(*name).to_owned(), document.title().to_owned()]);
            }
            lines(&table)
        },
        || {
            let rows = known
                .iter()
                .map(|(name, document)| json!({ "name": name, "title": document.title() }));
            json!({ "templates": rows.collect::<Vec<_>>() })
        },
    );
    Ok(ExitCode::SUCCESS)
}

fn show(session: &Session, named: &str) -> Result<ExitCode, Fault> {
    let document = Document::read(&read::template(named)?.files)?;
    let services: Vec<&str> = document
        .service_names()
        .iter()
        .map(model::ids::ServiceName::as_str)
        .collect();
    session.show(
        || {
            let mut table = columns(&["VARIABLE", "TYPE", "DEFAULT", "ALLOWED", "DESCRIPTION"]);
            for variable in document.variables() {
                table.add_row([
                    variable.name.to_string(),
                    variable.kind.type_name().to_owned(),
                    default_of(variable),
                    allowed(&variable.kind),
                    variable.description.clone(),
                ]);
            }
            format!(
                "{}: {}\n\n{}\nServices: {}\n\n{}",
                document.name(),
                document.title(),
                document.description(),
                services.join(", "),
                lines(&table)
            )
        },
        || {
            let variables = document.variables().iter().map(|variable| {
                json!({
                    "name": variable.name.as_str(),
                    "type": variable.kind.type_name(),
                    "default": default_of(variable),
                    "allowed": allowed(&variable.kind),
                    "description": variable.description,
                })
            });
            json!({
                "name": document.name().as_str(),
                "title": document.title(),
                "description": document.description(),
                "services": services,
                "variables": variables.collect::<Vec<_>>(),
            })
        },
    );
    Ok(ExitCode::SUCCESS)
}

fn default_of(variable: &Variable) -> String {
    match &variable.fallback {
        Fallback::Default(value) => value.to_string(),
        Fallback::Generated { .. } => "(generated)".to_owned(),
    }
}

/// The bounds of a variable: `1..1000`, `from 32 MiB`, the choices.
fn allowed(kind: &VariableKind) -> String {
    fn bounds<T: ToString>(min: Option<&T>, max: Option<&T>) -> String {
        match (min, max) {
            (Some(min), Some(max)) => format!("{}..{}", min.to_string(), max.to_string()),
            (Some(min), None) => format!("from {}", min.to_string()),
            (None, Some(max)) => format!("to {}", max.to_string()),
            (None, None) => "-".to_owned(),
        }
    }
    match kind {
        VariableKind::Int { min, max } => bounds(min.as_ref(), max.as_ref()),
        VariableKind::Size { min, max } => bounds(min.as_ref(), max.as_ref()),
        VariableKind::Bool => "yes, no".to_owned(),
        VariableKind::Enum { choices } => choices.join(", "),
        VariableKind::Text { pattern, .. } => pattern
            .as_ref()
            .map_or_else(|| "-".to_owned(), |it| it.as_str().to_owned()),
        VariableKind::Secret => "-".to_owned(),
    }
}

fn new(session: &Session, folder: &Path) -> Result<ExitCode, Fault> {
    let last = folder.file_name().map(|it| it.to_string_lossy());
    let name = TemplateName::new(last.as_deref().unwrap_or_default())
        .map_err(|error| Fault::new("SY5001", Class::Usage, error.to_string()))?;
    let cannot = |error: &std::io::Error| {
        Fault::new(
            "SY5006",
            Class::Failed,
            format!("the folder {} cannot be made", folder.display()),
        )
        .with_cause(error)
        .with_help("name a folder that does not exist yet")
    };
    // It fails where the folder is there: nobody's work is overwritten.
    fs::create_dir(folder).map_err(|error| cannot(&error))?;
    let files = builtin::starter(&name).files;
    for (path, text) in &files {
        fs::write(folder.join(path), text).map_err(|error| cannot(&error))?;
    }
    let shown = folder.display();
    session.show(
        || {
            format!(
                "{shown} holds a template to begin with: {}\n\n\
                 shardyard template lint {shown}\nshardyard template render {shown}\n\
                 shardyard up {shown}\n",
                files.keys().cloned().collect::<Vec<_>>().join(", ")
            )
        },
        || json!({ "name": name.as_str(), "files": files.keys().collect::<Vec<_>>() }),
    );
    Ok(ExitCode::SUCCESS)
}

fn lint(session: &Session, named: &str) -> Result<ExitCode, Fault> {
    let problems = template::lint(&read::template(named)?.files);
    session.show(
        || {
            let reports: Vec<String> = problems
                .iter()
                .map(|problem| problem.report().join("\n"))
                .collect();
            match reports.len() {
                0 => format!("{named}: nothing to say against it"),
                _ => reports.join("\n\n"),
            }
        },
        || {
            let found = problems.iter().map(|problem| {
                json!({
                    "severity": problem.severity.as_str(),
                    "code": problem.code.to_string(),
                    "file": problem.place.as_ref().map(|it| it.file.clone()),
                    "line": problem.place.as_ref().map(|it| it.line),
                    "column": problem.place.as_ref().map(|it| it.column),
                    "message": problem.message,
                    "help": problem.help,
                })
            });
            json!({ "problems": found.collect::<Vec<_>>() })
        },
    );
    let sound = problems.iter().all(|it| it.severity == Severity::Notice);
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Class::Unhealthy.exit_code())
    })
}

fn render(
    session: &Session,
    named: &str,
    variables: &VariableArguments,
) -> Result<ExitCode, Fault> {
    let document = Document::read(&read::template(named)?.files)?;
    let given = read::variables(variables)?.values;
    let files = rendered(&document, &given)?;
    session.show(
        || {
            let mut text = String::new();
            for file in &files {
                let _ = writeln!(text, "--- {} of {}", file.path, names(&file.workloads));
                text.push_str(&file.text);
                if !file.text.ends_with('\n') {
                    text.push('\n');
                }
            }
            text
        },
        || {
            let files = files.iter().map(|file| {
                let workloads = file.workloads.iter().map(ToString::to_string);
                json!({
                    "path": file.path,
                    "workloads": workloads.collect::<Vec<_>>(),
                    "text": file.text,
                })
            });
            json!({ "files": files.collect::<Vec<_>>() })
        },
    );
    if files.is_empty() {
        print::message("The template has no config files.");
    }
    Ok(ExitCode::SUCCESS)
}

/// `redis-1`, or `redis-1 … redis-6`.
fn names(workloads: &[WorkloadName]) -> String {
    match (workloads.first(), workloads.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} … {last}"),
        (Some(first), _) => first.to_string(),
        (None, _) => String::new(),
    }
}
