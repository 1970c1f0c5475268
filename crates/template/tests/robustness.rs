//! Whatever text comes in, something sensible comes out: no crash, a place for each fault, and no
//! secret in any of it.

use std::collections::BTreeMap;

use model::ids::{VariableName, WorkloadName};
use model::secret::Secret;
use model::spec::{FileTemplate, Value};
use proptest::prelude::*;
use template::{Discovery, Document, Problem, builtin, render, values_file};

/// Pieces of templates: put together at random they come closer to the engine's corners than
/// random characters do.
const PIECES: [&str; 36] = [
    "{{",
    "}}",
    "{{- ",
    " -}}",
    " ",
    "\n",
    "\"",
    "`",
    "'",
    "\\",
    "(",
    ")",
    "|",
    ".",
    "$x",
    ":=",
    ".PASSWORD",
    ".PASSWORD.x",
    "if ",
    "else ",
    "end",
    "range ",
    "with ",
    "define \"a\"",
    "template \"a\" .",
    "index ",
    "slice ",
    "printf \"%d\" ",
    "len ",
    "service ",
    "replace ",
    "join ",
    "bytes ",
    "nil",
    "é",
    "99999999999999999999",
];

proptest! {
    #[test]
    fn any_config_file_is_rendered_or_refused_without_a_secret(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..16)
    ) {
        let file = FileTemplate {
            source: "redis.conf".to_owned(),
            text: pieces.concat(),
            target: "/etc/redis.conf".to_owned(),
keep: false,
        };
        let values = BTreeMap::from([(
            VariableName::new("PASSWORD").unwrap(),
            Value::Secret(Secret::new("hunter2")),
        )]);
        let me = WorkloadName::parse("redis-1").unwrap();
        if let Err(problem) = render(&file, &values, &Discovery::default(), &me) {
            prop_assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
            prop_assert!(problem.place.is_some() && problem.report().len() > 1);
        }
    }

    #[test]
    fn any_damage_to_a_template_is_told_with_its_place(
        at in 0..4_000_usize,
        cut in 0..60_usize,
        put in "[ -~\n\té\u{2028}]{0,12}",
    ) {
        let mut files = builtin::files("redis-cluster").unwrap();
        let text = files.files.get_mut("template.yaml").unwrap();
        let mut characters: Vec<char> = text.chars().collect();
        let start = at.min(characters.len());
        let end = (start + cut).min(characters.len());
        characters.splice(start..end, put.chars());
        *text = characters.into_iter().collect();
        let told = |problems: &[Problem]| problems.iter().all(|problem| problem.place.is_some());
        // A file as a template, and the same as a file of values.
        let as_values = values_file("values.yaml", text).err();
        prop_assert!(as_values.is_none_or(|problems| told(problems.all())));
        let as_template = Document::read(&files).err();
        prop_assert!(as_template.is_none_or(|problems| told(problems.all())));
    }
}
