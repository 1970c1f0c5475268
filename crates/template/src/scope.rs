//! What a template sees of the variables.

use std::collections::BTreeMap;

use gtmpl_ng::Value as GoValue;
use model::ids::VariableName;
use model::spec::Value;

use crate::go::{Failure, Setting, Surroundings, render};

/// The variables as fields of a Go template. It has no `Debug`: it can hold passwords.
pub(crate) struct Scope {
    data: GoValue,
    names: Vec<String>,
    hidden_secrets: Vec<String>,
}

impl Scope {
    /// All variables: for config files, which only the workload's user can read.
    pub(crate) fn with_secrets(values: &BTreeMap<VariableName, Value>) -> Self {
        Self::new(values, |_| true)
    }

    /// All variables but the secrets: for what is shown, stored and handed to engines. A secret
    /// cannot get there, because it is not in the data.
    pub(crate) fn without_secrets(values: &BTreeMap<VariableName, Value>) -> Self {
        Self::new(values, |value| !matches!(value, Value::Secret(_)))
    }

    fn new(values: &BTreeMap<VariableName, Value>, seen: impl Fn(&Value) -> bool) -> Self {
        let (visible, hidden): (Vec<_>, Vec<_>) = values.iter().partition(|(_, value)| seen(value));
        let data = visible
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), go_value(value)))
            .collect();
        let names_of = |pairs: Vec<(&VariableName, &Value)>| {
            pairs
                .into_iter()
                .map(|(name, _)| name.as_str().to_owned())
                .collect()
        };
        Self {
            data: GoValue::Object(data),
            names: names_of(visible),
            hidden_secrets: names_of(hidden),
        }
    }

    /// Renders a text; without surroundings the addresses are not known yet.
    pub(crate) fn render(
        &self,
        text: &str,
        surroundings: Option<Surroundings<'_>>,
    ) -> Result<String, Failure> {
        render(
            text,
            &Setting {
                data: &self.data,
                names: &self.names,
                hidden_secrets: &self.hidden_secrets,
                surroundings,
            },
        )
    }
}

/// A variable's value as a template sees it: a size is its number of bytes.
fn go_value(value: &Value) -> GoValue {
    match value {
        Value::Int(number) => GoValue::from(*number),
        Value::Size(size) => GoValue::from(size.as_bytes()),
        Value::Bool(given) => GoValue::from(*given),
        Value::Text(text) => GoValue::from(text.as_str()),
        Value::Secret(secret) => GoValue::from(secret.expose()),
    }
}
