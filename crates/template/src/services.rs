//! The list of `services:` as a whole: each entry read, then what only shows side by side.

use std::collections::{BTreeMap, BTreeSet};

use model::instance::TemplateFiles;
use model::spec::{Service, Spec};

use crate::code;
use crate::problem::Problem;
use crate::reader::{Fields, Reader};
use crate::service::{Draft, read_service};
use crate::start_order::{Starter, levels};
use crate::suggestion::did_you_mean;

/// The most services: what a person can look through in a plan.
const SERVICES_MAX: usize = 100;

/// The services that could be read, and whether those are all.
pub(crate) fn read_drafts(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    files: &TemplateFiles,
) -> (Vec<Draft>, bool) {
    let Some(node) = reader.required(fields, "services") else {
        return (Vec::new(), false);
    };
    let items = reader.list(node, "`services`");
    if node.is_empty_list() {
        let message = "a template needs at least one service";
        reader.note(&node.range, Problem::new(code::MISSING_FIELD, message));
    }
    if items.len() > SERVICES_MAX {
        let count = items.len();
        let message = format!("there are {count} services, and {SERVICES_MAX} are the most");
        reader.note(&node.range, Problem::new(code::TOO_MUCH, message));
    }
    let drafts: Vec<Draft> = items
        .iter()
        .take(SERVICES_MAX)
        .filter_map(|item| read_service(reader, item, files))
        .collect();
    let all_read = drafts.len() == items.len();
    (drafts, all_read)
}

/// What only shows when the services are seen side by side; whether their names tell them apart.
pub(crate) fn check_drafts(reader: &mut Reader<'_>, drafts: &[Draft]) -> bool {
    let mut names = BTreeSet::new();
    let mut clusters = 0;
    for draft in drafts {
        let name = &draft.service.name;
        if !names.insert(name) {
            let message = format!("two services are called {name}");
            reader.note(
                &draft.name_range,
                Problem::new(code::DUPLICATE_NAME, message),
            );
        }
        clusters += usize::from(draft.service.cluster.is_some());
        if draft.service.cluster.is_some() && clusters > 1 {
            let message = format!("{name} is a second cluster, and an instance has one at most");
            reader.note(
                &draft.name_range,
                Problem::new(code::UNFIT_CLUSTER, message)
                    .with_help("make a template of its own for it"),
            );
        }
    }
    names.len() == drafts.len()
}

/// The services in the order in which they start, each with its level. Jobs that a hook runs have
/// no turn and come last.
pub(crate) fn in_start_order(
    reader: &mut Reader<'_>,
    drafts: Vec<Draft>,
    spec: &Spec,
) -> Vec<Service> {
    let before = reader.problems.len();
    for draft in &drafts {
        check_start_after(reader, draft, &drafts, spec);
    }
    let starters: Vec<Starter<'_>> = drafts
        .iter()
        .filter(|draft| !spec.hooks.run(&draft.service.name))
        .map(|draft| Starter {
            name: &draft.service.name,
            turn: &draft.turn,
        })
        .collect();
    let levels = match levels(&starters) {
        Ok(levels) => levels,
        Err(ring) if reader.problems.len() == before => {
            let message = format!("services wait for each other: {}", ring.told);
            reader.note(&ring.range, Problem::new(code::START_ORDER, message));
            BTreeMap::new()
        }
        Err(_) => BTreeMap::new(),
    };
    let mut services: Vec<Service> = drafts.into_iter().map(|draft| draft.service).collect();
    for service in &mut services {
        service.deployment.start_level = levels.get(&service.name).copied().unwrap_or(0);
    }
    services.sort_by_key(|service| {
        (
            spec.hooks.run(&service.name),
            service.deployment.start_level,
        )
    });
    services
}

fn check_start_after(reader: &mut Reader<'_>, draft: &Draft, drafts: &[Draft], spec: &Spec) {
    for (name, range) in &draft.turn.after {
        let known = drafts.iter().map(|other| other.service.name.as_str());
        if !known.clone().any(|known| known == name.as_str()) {
            let message = format!("there is no service {name} to start after");
            reader.note(
                range,
                Problem::new(code::DANGLING_REFERENCE, message)
                    .with_help_if(did_you_mean(name.as_str(), known)),
            );
        } else if spec.hooks.run(name) {
            let message = format!("{name} is run by a hook and has no place in the start order");
            reader.note(range, Problem::new(code::START_ORDER, message));
        }
    }
}
