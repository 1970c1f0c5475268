//! Templates as they go over the wire. What they mean is the template crate's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The templates.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TemplateList {
    /// Built-in ones and those that users saved.
    pub templates: Vec<TemplateRow>,
}

/// A template in one line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TemplateRow {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Whether it came along.
    pub builtin: bool,
}

/// A template.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TemplateDetail {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Whether it came along.
    pub builtin: bool,
    /// Its services.
    pub services: Vec<String>,
    /// What can be set.
    pub variables: Vec<VariableBody>,
    /// Its files by path.
    pub files: BTreeMap<String, String>,
}

/// A variable of a template.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VariableBody {
    /// Its name.
    pub name: String,
    /// `int`, `size`, `bool`, `string`, `enum`, `secret`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is when nobody says; null for a secret, which is made anew.
    pub default: Option<String>,
    /// The least, for a number (bytes for a size).
    pub min: Option<i64>,
    /// The most.
    pub max: Option<i64>,
    /// The words of an enum.
    pub choices: Option<Vec<String>>,
    /// What a whole text must look like.
    pub pattern: Option<String>,
    /// What it is for.
    pub description: String,
}

/// A template's files.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateFilesBody {
    /// The files by path; `template.yaml` among them.
    pub files: BTreeMap<String, String>,
}

/// What is to be rendered: a template by name, or files.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenderBody {
    /// A template's name.
    pub template: Option<String>,
    /// Or its files.
    pub files: Option<BTreeMap<String, String>>,
    /// The variables that are set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

/// Rendered config files, with sample addresses and masked secrets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RenderedList {
    /// The files.
    pub files: Vec<RenderedFile>,
}

/// A rendered config file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RenderedFile {
    /// Where it goes in the workload.
    pub path: String,
    /// The workloads for which it has this text.
    pub workloads: Vec<String>,
    /// The text.
    pub text: String,
}

/// What is wrong with a template.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LintList {
    /// All of it.
    pub problems: Vec<LintProblem>,
}

/// One thing that is wrong with a template.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LintProblem {
    /// `notice`, `fault`.
    pub severity: String,
    /// A code with a page in docs/errors.
    pub code: String,
    /// The file.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The column, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}
