//! A template: what can be asked for, read from its folder.
//!
//! Reading checks everything that does not depend on the values, by reading the services as they
//! are with the defaults. With values, the same reading gives the spec. Nothing here touches a
//! file, makes a secret, or knows an address.

use std::collections::BTreeMap;

use model::ids::{ServiceName, TemplateName, VariableName};
use model::instance::TemplateFiles;
use model::secret::Secret;
use model::spec::{Hooks, Spec, Value};

use crate::code;
use crate::declaration::read_variables;
use crate::problem::{Problem, Problems};
use crate::reader::{Actions, Fields, Reader};
use crate::reference::{read_clients, read_credentials, read_hooks};
use crate::scope::Scope;
use crate::services::{check_drafts, in_start_order, read_drafts};
use crate::source::{Source, shown};
use crate::suggestion::did_you_mean;
use crate::variable::{Fallback, Variable};
use crate::yaml::{self, Node};

/// The file that makes a folder a template.
pub const FILE_NAME: &str = "template.yaml";
/// The format that is read.
pub const API_VERSION: &str = "shardyard/v1";
const KIND: &str = "Template";

const FIELDS: [&str; 10] = [
    "apiVersion",
    "kind",
    "name",
    "title",
    "description",
    "variables",
    "services",
    "clients",
    "credentials",
    "hooks",
];

/// A template that was read and found to be in order.
#[derive(Clone, Debug)]
pub struct Document {
    name: TemplateName,
    title: String,
    description: String,
    variables: Vec<Variable>,
    service_names: Vec<ServiceName>,
    files: TemplateFiles,
    root: Node,
}

impl Document {
    /// Reads a template from the files of its folder.
    ///
    /// # Errors
    /// With everything that is wrong with it, as far as it can be told without values.
    pub fn read(files: &TemplateFiles) -> Result<Self, Problems> {
        let (document, problems) = Self::read_leniently(files);
        Problems::check(problems)?;
        document.ok_or_else(|| missing_file().into())
    }

    /// Reads as much as can be read, with all that is wrong.
    pub(crate) fn read_leniently(files: &TemplateFiles) -> (Option<Self>, Vec<Problem>) {
        let Some(text) = files.files.get(FILE_NAME) else {
            return (None, vec![missing_file()]);
        };
        let source = source(text);
        let root = match yaml::parse(&source) {
            Ok(root) => root,
            Err(problems) => return (None, problems.into_vec()),
        };
        let mut reader = Reader::new(source, Actions::AsWritten);
        let Some(fields) = reader.fields(&root, "a template", &FIELDS) else {
            return (None, reader.problems);
        };
        if !check_format(&mut reader, &fields) {
            // Of another format, everything else would be wrong as well.
            return (None, reader.problems);
        }
        let header = read_header(&mut reader, &fields);
        let before_variables = reader.problems.len();
        let variables = match fields.get("variables") {
            Some(node) => read_variables(&mut reader, node),
            None => Vec::new(),
        };
        let variables_fit = reader.problems.len() == before_variables;
        let mut problems = reader.problems;
        let document = header.map(|(name, title, description)| {
            let mut document = Self {
                name,
                title,
                description,
                variables,
                service_names: Vec::new(),
                files: files.clone(),
                root,
            };
            problems.extend(document.try_defaults(variables_fit));
            document
        });
        (document, problems)
    }

    /// Reads the services with the defaults, which finds all that is wrong with them whatever the
    /// values are. Where a variable is at fault, what uses one is passed over.
    fn try_defaults(&mut self, variables_fit: bool) -> Vec<Problem> {
        let values = self.sample_values();
        let scope = Scope::without_secrets(&values);
        let actions = if variables_fit {
            Actions::Rendered(&scope)
        } else {
            Actions::PassedOver
        };
        let (spec, problems) = self.read_spec(actions, &values);
        self.service_names = spec.services.into_iter().map(|one| one.name).collect();
        problems
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &TemplateName {
        &self.name
    }

    /// What to call it in a list.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Its variables, in the order in which a form asks for them.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Its services and jobs, in the order in which they start.
    #[must_use]
    pub fn service_names(&self) -> &[ServiceName] {
        &self.service_names
    }

    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    pub(crate) const fn files(&self) -> &TemplateFiles {
        &self.files
    }

    /// The value of each variable: the given ones, checked; for the others the default, or a
    /// secret made by `generate`, which is told how many characters it is to have.
    ///
    /// # Errors
    /// With every given value that has no variable or does not fit. A secret is never quoted.
    pub fn values(
        &self,
        given: &BTreeMap<VariableName, String>,
        generate: &mut dyn FnMut(usize) -> Secret,
    ) -> Result<BTreeMap<VariableName, Value>, Problems> {
        let mut problems = self.check_known(given.keys());
        let mut values = BTreeMap::new();
        for variable in &self.variables {
            let name = &variable.name;
            let read = match given.get(name) {
                Some(text) => variable.kind.read(name, text),
                None => Ok(value_of_nobody(variable, generate)),
            };
            match read {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        Problems::check(problems)?;
        Ok(values)
    }

    /// What an instance with these values is to be.
    ///
    /// # Errors
    /// With every variable that has no value of its type, and with everything in the services that
    /// these values make wrong.
    pub fn spec(&self, values: &BTreeMap<VariableName, Value>) -> Result<Spec, Problems> {
        let mut problems = self.check_known(values.keys());
        for variable in &self.variables {
            let name = &variable.name;
            match values.get(name) {
                Some(value) if variable.kind.takes(value) => {}
                Some(_) => {
                    let wanted = variable.kind.type_name();
                    let message = format!("the value of {name} is not of type {wanted}");
                    problems.push(Problem::new(code::UNFIT_VALUE, message));
                }
                None => {
                    let message = format!("the variable {name} has no value");
                    problems.push(Problem::new(code::NO_VALUE, message));
                }
            }
        }
        Problems::check(problems)?;
        let scope = Scope::without_secrets(values);
        let (spec, problems) = self.read_spec(Actions::Rendered(&scope), values);
        Problems::check(problems)?;
        Ok(spec)
    }

    fn check_known<'a>(&self, names: impl Iterator<Item = &'a VariableName>) -> Vec<Problem> {
        let known = || self.variables.iter().map(|variable| variable.name.as_str());
        names
            .filter(|name| !known().any(|known| known == name.as_str()))
            .map(|name| {
                let message = format!("the template {} has no variable {name}", self.name);
                Problem::new(code::UNKNOWN_VARIABLE, message)
                    .with_help_if(did_you_mean(name.as_str(), known()))
            })
            .collect()
    }

    /// The defaults, and a stand-in for each secret.
    pub(crate) fn sample_values(&self) -> BTreeMap<VariableName, Value> {
        let mut stand_in = |length| Secret::new("x".repeat(length));
        self.variables
            .iter()
            .map(|variable| {
                let value = value_of_nobody(variable, &mut stand_in);
                (variable.name.clone(), value)
            })
            .collect()
    }

    /// Reads everything below the variables. The spec holds what could be read; it is whole where
    /// there is no problem.
    pub(crate) fn read_spec(
        &self,
        actions: Actions<'_>,
        values: &BTreeMap<VariableName, Value>,
    ) -> (Spec, Vec<Problem>) {
        let text = self.files.files.get(FILE_NAME).map_or("", String::as_str);
        let mut spec = Spec {
            template: self.name.clone(),
            services: Vec::new(),
            application: None,
            operator: None,
            hooks: Hooks::default(),
            clients: None,
        };
        let mut reader = Reader::new(source(text), Actions::AsWritten);
        let Some(fields) = reader.fields(&self.root, "a template", &FIELDS) else {
            return (spec, reader.problems);
        };
        let mut reader = reader.with_actions(actions);
        let (drafts, all_read) = read_drafts(&mut reader, &fields, &self.files);
        // Names that point at others are written out, so that they can be told without values.
        let mut reader = reader.with_actions(Actions::AsWritten);
        let named_once = check_drafts(&mut reader, &drafts);
        if let Some(node) = fields.get("hooks").filter(|_| all_read) {
            spec.hooks = read_hooks(&mut reader, node, &drafts);
        }
        if let Some(node) = fields.get("clients").filter(|_| all_read) {
            spec.clients = read_clients(&mut reader, node, &drafts);
        }
        let known_values = !matches!(actions, Actions::PassedOver);
        if let Some(node) = fields.get("credentials").filter(|_| known_values) {
            (spec.application, spec.operator) = read_credentials(&mut reader, node, values);
        }
        spec.services = if all_read && named_once {
            in_start_order(&mut reader, drafts, &spec)
        } else {
            drafts.into_iter().map(|draft| draft.service).collect()
        };
        (spec, reader.problems)
    }
}

fn source(text: &str) -> Source<'_> {
    Source {
        file: FILE_NAME,
        text,
        shown: true,
    }
}

fn missing_file() -> Problem {
    Problem::new(
        code::FILE_MISSING,
        format!("the template's folder has no file {FILE_NAME}"),
    )
    .with_help("shardyard template new NAME makes a folder to begin with")
}

fn value_of_nobody(variable: &Variable, generate: &mut dyn FnMut(usize) -> Secret) -> Value {
    match &variable.fallback {
        Fallback::Default(value) => value.clone(),
        Fallback::Generated { length } => Value::Secret(generate(*length)),
    }
}

/// Whether the document is of the format and version that is read here.
fn check_format(reader: &mut Reader<'_>, fields: &Fields<'_>) -> bool {
    let mut fits = true;
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let Some(node) = reader.required(fields, field) else {
            fits = false;
            continue;
        };
        let given = reader.text(node, field);
        if given.as_deref() != Some(expected) {
            fits = false;
            let given = given.unwrap_or_default();
            let message = format!("`{field}` is `{}`, and {expected} is read", shown(&given));
            reader.note(&node.range, Problem::new(code::OTHER_FORMAT, message));
        }
    }
    fits
}

fn read_header(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
) -> Option<(TemplateName, String, String)> {
    let name = reader
        .required(fields, "name")
        .and_then(|node| reader.name(node, "template name", TemplateName::new));
    let title = reader
        .required(fields, "title")
        .and_then(|node| reader.line(node, "`title`"));
    let description = match fields.get("description") {
        Some(node) => reader.text(node, "`description`"),
        None => Some(String::new()),
    };
    Some((name?, title?, description?))
}
