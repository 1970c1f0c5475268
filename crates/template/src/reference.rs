//! The parts of a template that point at others: credentials at secrets, hooks at jobs, clients at
//! a service.

use std::collections::BTreeMap;

use model::ids::{ServiceName, VariableName};
use model::spec::{Credentials, Hooks, ServiceKind, Value};

use crate::code;
use crate::problem::Problem;
use crate::reader::{Fields, Reader};
use crate::service::Draft;
use crate::source::shown;
use crate::suggestion::did_you_mean;
use crate::yaml::Node;

const CREDENTIALS_FIELDS: [&str; 2] = ["application", "operator"];
const USER_FIELDS: [&str; 2] = ["user", "password"];
const HOOK_FIELDS: [&str; 4] = [
    "after_create",
    "after_scale_out",
    "before_scale_in",
    "before_delete",
];

/// Reads with which users applications and Shardyard itself log in.
pub(crate) fn read_credentials(
    reader: &mut Reader<'_>,
    node: &Node,
    values: &BTreeMap<VariableName, Value>,
) -> (Option<Credentials>, Option<Credentials>) {
    let Some(fields) = reader.fields(node, "`credentials`", &CREDENTIALS_FIELDS) else {
        return (None, None);
    };
    let mut read = |name: &str| {
        let node = fields.get(name)?;
        read_user(reader, node, values)
    };
    (read("application"), read("operator"))
}

fn read_user(
    reader: &mut Reader<'_>,
    node: &Node,
    values: &BTreeMap<VariableName, Value>,
) -> Option<Credentials> {
    let fields = reader.fields(node, "a user", &USER_FIELDS)?;
    let user = reader
        .required(&fields, "user")
        .and_then(|node| read_user_name(reader, node));
    let password_node = reader.required(&fields, "password")?;
    let named = reader.text(password_node, "`password`")?;
    let value = values.iter().find(|(name, _)| name.as_str() == named);
    match value {
        Some((_, Value::Secret(password))) => Some(Credentials {
            user: user?,
            password: password.clone(),
        }),
        Some(_) => {
            let message = format!("the variable {} is no secret", shown(&named));
            reader.refuse(password_node, code::DANGLING_REFERENCE, message)
        }
        None => {
            let secrets = values
                .iter()
                .filter(|(_, value)| matches!(value, Value::Secret(_)));
            let help = did_you_mean(&named, secrets.map(|(name, _)| name.as_str()));
            let message = format!("the template has no variable {}", shown(&named));
            let problem = Problem::new(code::DANGLING_REFERENCE, message);
            reader.note(&password_node.range, problem.with_help_if(help));
            None
        }
    }
}

/// A user as the servers' ACL files can name it: without spaces (acl.c, `ACLStringHasSpaces`).
fn read_user_name(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let user = reader.line(node, "`user`")?;
    if !user.is_empty() && user.chars().all(|c| c.is_ascii_graphic()) {
        return Some(user);
    }
    let message = format!("`{}` is no name of a user", shown(&user));
    reader.refuse(node, code::BAD_NAME, message)
}

/// Reads the jobs that turns of the instance's life run.
pub(crate) fn read_hooks(reader: &mut Reader<'_>, node: &Node, drafts: &[Draft]) -> Hooks {
    let Some(fields) = reader.fields(node, "`hooks`", &HOOK_FIELDS) else {
        return Hooks::default();
    };
    let mut read = |name: &str| read_hook(reader, &fields, name, drafts);
    Hooks {
        after_create: read("after_create"),
        after_scale_out: read("after_scale_out"),
        before_scale_in: read("before_scale_in"),
        before_delete: read("before_delete"),
    }
}

fn read_hook(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    hook: &str,
    drafts: &[Draft],
) -> Option<ServiceName> {
    let node = fields.get(hook)?;
    read_named(reader, node, (hook, ServiceKind::Job), drafts)
}

/// Reads which service clients speak to.
pub(crate) fn read_clients(
    reader: &mut Reader<'_>,
    node: &Node,
    drafts: &[Draft],
) -> Option<ServiceName> {
    let name = read_named(reader, node, ("clients", ServiceKind::Server), drafts)?;
    let mut services = drafts.iter().map(|draft| &draft.service);
    let listens = services.any(|it| it.name == name && !it.container.ports.is_empty());
    if listens {
        return Some(name);
    }
    let message = format!("`clients` names {name}, which listens on no port");
    reader.refuse(node, code::DANGLING_REFERENCE, message)
}

/// The service or job that a field names.
fn read_named(
    reader: &mut Reader<'_>,
    node: &Node,
    (field, kind): (&str, ServiceKind),
    drafts: &[Draft],
) -> Option<ServiceName> {
    let noun = match kind {
        ServiceKind::Job => "job",
        ServiceKind::Server => "service",
    };
    let named = reader.text(node, &format!("`{field}`"))?;
    let services = || drafts.iter().map(|draft| &draft.service);
    if let Some(service) = services().find(|service| service.name.as_str() == named) {
        if service.kind == kind {
            return Some(service.name.clone());
        }
        let message = format!("`{field}` names {}, which is no {noun}", service.name);
        return reader.refuse(node, code::DANGLING_REFERENCE, message);
    }
    let known = services().filter(|service| service.kind == kind);
    let help = did_you_mean(&named, known.map(|it| it.name.as_str()));
    let message = format!(
        "`{field}` names `{}`, and there is no such {noun}",
        shown(&named)
    );
    let problem = Problem::new(code::DANGLING_REFERENCE, message);
    reader.note(&node.range, problem.with_help_if(help));
    None
}
