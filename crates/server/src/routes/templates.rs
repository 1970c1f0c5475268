//! Templates: list, show, save, lint, render. Nothing is delivered here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use control::home::Home;
use control::preview::rendered;
use model::instance::TemplateFiles;
use template::{Document, Fallback, Variable, VariableKind, builtin};

use super::instances::{usage, variables};
use super::{Answer, Path};
use crate::door::{Operator, Viewer};
use crate::server::Server;
use crate::shelf;
use crate::wire::{
    LintList, LintProblem, RenderBody, RenderedFile, RenderedList, TemplateDetail,
    TemplateFilesBody, TemplateList, TemplateRow, VariableBody,
};

pub(super) async fn list(State(server): State<Arc<Server>>, _: Viewer) -> Json<TemplateList> {
    let named = shelf::names(&server.home).into_iter();
    let rows = named.filter_map(|(name, builtin)| {
        // One that somebody broke by hand does not hide the others.
        let files = shelf::choice(&server.home, &name).ok()?.files;
        let document = Document::read(&files).ok()?;
        Some(TemplateRow {
            name,
            title: document.title().to_owned(),
            description: document.description().to_owned(),
            builtin,
        })
    });
    Json(TemplateList {
        templates: rows.collect(),
    })
}

pub(super) async fn get(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path(name): Path<String>,
) -> Answer<Json<TemplateDetail>> {
    Ok(Json(detail(&server.home, &name)?))
}

pub(super) async fn save(
    State(server): State<Arc<Server>>,
    _: Operator,
    Path(name): Path<String>,
    body: Result<Json<TemplateFilesBody>, JsonRejection>,
) -> Answer<Json<TemplateDetail>> {
    let Json(body) = body?;
    shelf::save(&server.home, &name, &TemplateFiles { files: body.files })?;
    Ok(Json(detail(&server.home, &name)?))
}

fn detail(home: &Home, name: &str) -> Answer<TemplateDetail> {
    let files = shelf::choice(home, name)?.files;
    let document = Document::read(&files).map_err(model::fault::Fault::from)?;
    let services = document.service_names().iter();
    Ok(TemplateDetail {
        name: name.to_owned(),
        title: document.title().to_owned(),
        description: document.description().to_owned(),
        builtin: builtin::files(name).is_some(),
        services: services.map(|it| it.as_str().to_owned()).collect(),
        variables: document.variables().iter().map(variable).collect(),
        files: files.files,
    })
}

fn variable(variable: &Variable) -> VariableBody {
    let mut body = VariableBody {
        name: variable.name.to_string(),
        kind: variable.kind.type_name().to_owned(),
        default: match &variable.fallback {
            Fallback::Default(_) if matches!(variable.kind, VariableKind::Secret) => None,
            Fallback::Default(value) => Some(value.to_string()),
            Fallback::Generated { .. } => None,
        },
        min: None,
        max: None,
        choices: None,
        pattern: None,
        description: variable.description.clone(),
    };
    match &variable.kind {
        VariableKind::Int { min, max } => (body.min, body.max) = (*min, *max),
        VariableKind::Size { min, max } => {
            let bytes = |it: &model::size::ByteSize| i64::try_from(it.as_bytes()).ok();
            body.min = min.as_ref().and_then(bytes);
            body.max = max.as_ref().and_then(bytes);
        }
        VariableKind::Enum { choices } => body.choices = Some(choices.clone()),
        VariableKind::Text { pattern, .. } => {
            body.pattern = pattern.as_ref().map(|it| it.as_str().to_owned());
        }
        VariableKind::Bool | VariableKind::Secret => {}
    }
    body
}

pub(super) async fn lint(
    _: Viewer,
    body: Result<Json<TemplateFilesBody>, JsonRejection>,
) -> Answer<Json<LintList>> {
    let Json(body) = body?;
    let files = TemplateFiles { files: body.files };
    shelf::must_be_small(&files)?;
    let found = tokio::task::spawn_blocking(move || template::lint(&files)).await;
    let found = found.map_err(|_| super::instances::odd())?;
    let problems = found.iter().map(|problem| LintProblem {
        severity: problem.severity.as_str().to_owned(),
        code: problem.code.to_string(),
        file: problem.place.as_ref().map(|it| it.file.clone()),
        line: problem.place.as_ref().map(|it| it.line),
        column: problem.place.as_ref().map(|it| it.column),
        message: problem.message.clone(),
        help: problem.help.clone(),
    });
    Ok(Json(LintList {
        problems: problems.collect(),
    }))
}

pub(super) async fn render(
    State(server): State<Arc<Server>>,
    _: Viewer,
    body: Result<Json<RenderBody>, JsonRejection>,
) -> Answer<Json<RenderedList>> {
    let Json(body) = body?;
    let files = match (body.template, body.files) {
        (Some(named), None) => shelf::choice(&server.home, &named)?.files,
        (None, Some(files)) => TemplateFiles { files },
        _ => return Err(usage("say either `template` or `files`").into()),
    };
    shelf::must_be_small(&files)?;
    let given = variables(&body.set)?;
    let made = tokio::task::spawn_blocking(move || {
        let document = Document::read(&files)?;
        rendered(&document, &given)
    });
    let made = made.await.map_err(|_| super::instances::odd())??;
    let files = made.into_iter().map(|file| RenderedFile {
        path: file.path,
        workloads: file.workloads.iter().map(ToString::to_string).collect(),
        text: file.text,
    });
    Ok(Json(RenderedList {
        files: files.collect(),
    }))
}
