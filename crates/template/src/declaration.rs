//! The `variables:` of a template: from its YAML to `Variable`s, checked against themselves.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use model::ids::VariableName;

use crate::code;
use crate::problem::Problem;
use crate::reader::{Fields, Reader};
use crate::source::shown;
use crate::variable::{
    Fallback, Pattern, SECRET_LENGTH_MAX, TEXT_LENGTH_MAX, Variable, VariableKind,
};
use crate::yaml::Node;

/// The most variables of a template: what a person can look through in a form.
const VARIABLES_MAX: usize = 200;
/// A secret that is made must not be guessed: 16 letters and digits are 95 bits.
const GENERATED_LENGTH_MIN: usize = 16;

/// The types, as they are written before their bounds are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Size,
    Bool,
    Text,
    Enum,
    Secret,
}

const TYPES: [(&str, Type); 6] = [
    ("int", Type::Int),
    ("size", Type::Size),
    ("bool", Type::Bool),
    ("string", Type::Text),
    ("enum", Type::Enum),
    ("secret", Type::Secret),
];

/// The fields of every variable, and those that belong to some types only.
const COMMON_FIELDS: [&str; 3] = ["name", "type", "description"];
const TYPED_FIELDS: [(&str, &[Type]); 7] = [
    (
        "default",
        &[Type::Int, Type::Size, Type::Bool, Type::Text, Type::Enum],
    ),
    ("min", &[Type::Int, Type::Size]),
    ("max", &[Type::Int, Type::Size]),
    ("choices", &[Type::Enum]),
    ("pattern", &[Type::Text]),
    ("max_length", &[Type::Text]),
    ("generate", &[Type::Secret]),
];

/// Reads the list of variables. One with a fault is left out, and the fault noted.
pub(crate) fn read_variables(reader: &mut Reader<'_>, node: &Node) -> Vec<Variable> {
    let items = reader.list(node, "`variables`");
    if items.len() > VARIABLES_MAX {
        let count = items.len();
        let message = format!("there are {count} variables, and {VARIABLES_MAX} are the most");
        reader.note(&node.range, Problem::new(code::TOO_MUCH, message));
        return Vec::new();
    }
    let known: Vec<&str> = COMMON_FIELDS
        .into_iter()
        .chain(TYPED_FIELDS.iter().map(|(field, _)| *field))
        .collect();
    let mut names = BTreeSet::new();
    let mut variables = Vec::new();
    for item in items {
        let Some(fields) = reader.fields(item, "a variable", &known) else {
            continue;
        };
        let named = read_name(reader, &fields);
        if let Some((name, node)) = &named
            && !names.insert(name.clone())
        {
            let message = format!("the variable {name} is declared twice");
            reader.note(&node.range, Problem::new(code::DUPLICATE_NAME, message));
        }
        let description = fields
            .get("description")
            .and_then(|node| reader.text(node, "`description`"))
            .unwrap_or_default();
        let kind = read_kind(reader, &fields);
        if let (Some((name, node)), Some(kind)) = (named, kind) {
            let fallback = read_fallback(reader, &fields, &name, &kind);
            variables.extend(fallback.map(|fallback| Variable {
                name,
                kind,
                fallback,
                description,
                place: node.range.clone(),
            }));
        }
    }
    variables
}

fn read_name<'n>(reader: &mut Reader<'_>, fields: &Fields<'n>) -> Option<(VariableName, &'n Node)> {
    let node = reader.required(fields, "name")?;
    let name = reader.name(node, "variable name", VariableName::new)?;
    Some((name, node))
}

/// The type with its bounds.
fn read_kind(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<VariableKind> {
    let node = reader.required(fields, "type")?;
    let type_of = reader.choice(node, "`type`", &TYPES)?;
    let before = reader.problems.len();
    check_fields(reader, fields, type_of);
    let kind = match type_of {
        Type::Int => {
            let (min, max) = read_bounds(reader, fields, |reader, node, what| {
                reader.whole(node, what, i64::MIN..=i64::MAX)
            });
            VariableKind::Int { min, max }
        }
        Type::Size => {
            let (min, max) =
                read_bounds(reader, fields, |reader, node, what| reader.size(node, what));
            VariableKind::Size { min, max }
        }
        Type::Bool => VariableKind::Bool,
        Type::Text => VariableKind::Text {
            pattern: read_pattern(reader, fields),
            max_length: read_max_length(reader, fields),
        },
        Type::Enum => VariableKind::Enum {
            choices: read_choices(reader, fields),
        },
        Type::Secret => VariableKind::Secret,
    };
    (reader.problems.len() == before).then_some(kind)
}

/// Refuses fields that say nothing about a variable of this type.
fn check_fields(reader: &mut Reader<'_>, fields: &Fields<'_>, type_of: Type) {
    for (field, types) in TYPED_FIELDS {
        let Some(range) = fields
            .key_range(field)
            .filter(|_| !types.contains(&type_of))
        else {
            continue;
        };
        let problem = if (field, type_of) == ("default", Type::Secret) {
            Problem::new(code::CONTRADICTION, "a secret has no default")
                .with_help("every instance would have the same one; `generate: 32` makes one each")
        } else {
            let message = format!("`{field}` says nothing about a variable of this type");
            let belongs = TYPES.iter().filter(|(_, known)| types.contains(known));
            let belongs: Vec<&str> = belongs.map(|(name, _)| *name).collect();
            Problem::new(code::CONTRADICTION, message)
                .with_help(format!("it belongs to: {}", belongs.join(", ")))
        };
        reader.note(&range, problem);
    }
}

fn read_bounds<T: PartialOrd + Copy>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    mut read: impl FnMut(&mut Reader<'_>, &Node, &str) -> Option<T>,
) -> (Option<T>, Option<T>) {
    let min = fields
        .get("min")
        .and_then(|node| read(reader, node, "`min`"));
    let max = fields
        .get("max")
        .and_then(|node| read(reader, node, "`max`"));
    if let (Some(least), Some(most), Some(range)) = (min, max, fields.key_range("max"))
        && least > most
    {
        let message = "`min` is larger than `max`, so that nothing fits";
        reader.note(&range, Problem::new(code::CONTRADICTION, message));
    }
    (min, max)
}

fn read_pattern(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Pattern> {
    let node = fields.get("pattern")?;
    let text = reader.line(node, "`pattern`")?;
    Pattern::new(&text).or_else(|| {
        let message = format!("`{}` is no regular expression", shown(&text));
        reader.refuse(node, code::WRONG_TYPE, message)
    })
}

fn read_max_length(reader: &mut Reader<'_>, fields: &Fields<'_>) -> usize {
    fields
        .get("max_length")
        .and_then(|node| read_length(reader, node, "`max_length`", 1..=TEXT_LENGTH_MAX))
        .unwrap_or(TEXT_LENGTH_MAX)
}

fn read_length(
    reader: &mut Reader<'_>,
    node: &Node,
    what: &str,
    bounds: RangeInclusive<usize>,
) -> Option<usize> {
    let [least, most] = [*bounds.start(), *bounds.end()].map(u64::try_from);
    let length = reader.whole(node, what, least.ok()?..=most.ok()?)?;
    usize::try_from(length).ok()
}

fn read_choices(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<String> {
    let Some(node) = reader.required(fields, "choices") else {
        return Vec::new();
    };
    let items = reader.list(node, "`choices`");
    let mut choices: Vec<String> = Vec::new();
    for item in items {
        let Some(choice) = reader.line(item, "a choice") else {
            continue;
        };
        if choices.contains(&choice) {
            let message = format!("the choice `{}` stands twice", shown(&choice));
            reader.note(&item.range, Problem::new(code::DUPLICATE_NAME, message));
        }
        choices.push(choice);
    }
    if node.is_empty_list() {
        let message = "`choices` is empty, so that nothing fits";
        reader.note(&node.range, Problem::new(code::CONTRADICTION, message));
    }
    choices
}

/// What the variable is when nobody says. A default is read as if somebody had given it, so that
/// it keeps to its own bounds.
fn read_fallback(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: &VariableName,
    kind: &VariableKind,
) -> Option<Fallback> {
    if matches!(kind, VariableKind::Secret) {
        let node = reader.required(fields, "generate")?;
        let bounds = GENERATED_LENGTH_MIN..=SECRET_LENGTH_MAX;
        let length = read_length(reader, node, "`generate`", bounds)?;
        return Some(Fallback::Generated { length });
    }
    let node = reader.required(fields, "default")?;
    let text = reader.text(node, "`default`")?;
    match kind.read(name, &text) {
        Ok(value) => Some(Fallback::Default(value)),
        Err(problem) => {
            let message = format!("the default does not fit: {}", problem.message);
            reader.note(
                &node.range,
                Problem::new(code::CONTRADICTION, message).with_help_if(problem.help),
            );
            None
        }
    }
}
