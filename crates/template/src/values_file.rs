//! Values files (`-f values.yaml`): a flat mapping of variables to values.
//!
//! Such a file holds passwords, so none of its lines is ever shown.

use std::collections::BTreeMap;

use model::ids::VariableName;

use crate::code;
use crate::problem::{Problem, Problems};
use crate::reader::{Actions, Reader};
use crate::source::Source;
use crate::yaml::{self, Content};

/// Reads a values file. `file` is its name, for messages.
///
/// # Errors
/// With everything that is wrong, by line and column. What the values are worth is told by
/// `Document::values`.
pub fn values_file(file: &str, text: &str) -> Result<BTreeMap<VariableName, String>, Problems> {
    let source = Source {
        file,
        text,
        shown: false,
    };
    let root = yaml::parse(&source)?;
    let Content::Map(entries) = &root.content else {
        let message = "a values file is a mapping of variables to values";
        let place = source.place(root.range);
        return Err(Problem::new(code::WRONG_TYPE, message).at(place).into());
    };
    let mut reader = Reader::new(source, Actions::AsWritten);
    let mut values = BTreeMap::new();
    for entry in entries {
        let name = match VariableName::new(&entry.key) {
            Ok(name) => name,
            Err(error) => {
                // The name is not repeated: a line without a colon may be a password.
                let message = format!("this is no variable name: {}", error.rule);
                reader.note(&entry.key_range, Problem::new(code::BAD_NAME, message));
                continue;
            }
        };
        let Content::Scalar { text, .. } = &entry.value.content else {
            let message = format!("the value of {name} is a list or a mapping");
            reader.note(&entry.value.range, Problem::new(code::WRONG_TYPE, message));
            continue;
        };
        if entry.value.is_null() {
            let message = format!("{name} has no value");
            reader.note(
                &entry.key_range,
                Problem::new(code::MISSING_FIELD, message)
                    .with_help("leave it out for its default, or write \"\" for an empty text"),
            );
            continue;
        }
        values.insert(name, text.clone());
    }
    Problems::check(reader.problems)?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_mapping_is_read_as_it_stands() {
        let values = values_file(
            "v.yaml",
            "SHARDS: 3\nAPPENDONLY: no\nMEMORY: 1gb\nLABEL: \"\"\n",
        );
        let values: Vec<String> = values
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            values,
            ["APPENDONLY=no", "LABEL=", "MEMORY=1gb", "SHARDS=3"]
        );
    }

    #[test]
    fn faults_are_named_by_line_and_never_with_their_text() {
        let text = "hunter2 hunter2: x\nA: [hunter2]\nB:\nC: hunter2\n";
        let problems = values_file("v.yaml", text).unwrap_err();
        let told: Vec<String> = problems.all().iter().flat_map(Problem::report).collect();
        assert_eq!(
            told,
            [
                "error[SY1010]: this is no variable name: it is a letter or _, then letters, \
                 digits and _, 60 at most",
                "  --> v.yaml:1:1",
                "error[SY1007]: the value of A is a list or a mapping",
                "  --> v.yaml:2:4",
                "error[SY1006]: B has no value",
                "  --> v.yaml:3:1",
                "  help: leave it out for its default, or write \"\" for an empty text",
            ]
        );
        for text in [
            "hunter2",
            "[hunter2]",
            "A: \"hunter2",
            "A: hunter2\nA: hunter2",
        ] {
            let problems = values_file("v.yaml", text).unwrap_err();
            assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
        }
    }
}
