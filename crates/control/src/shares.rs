//! Works out `auto` for an amount of memory: a share of what the host has free.
//!
//! Half of the free memory goes to the instance, in equal parts; the other half stays for the host,
//! for what else runs there, and for growing.

use std::collections::BTreeMap;

use model::fault::{Class, Fault};
use model::ids::VariableName;
use model::size::ByteSize;
use model::spec::{Spec, Value};
use model::view::HostView;
use template::{Document, VariableKind};

/// The word that stands for a share.
const AUTO: &str = "auto";

/// The part of the free memory that is given away.
const SHARE: u64 = 2;

/// Takes the variables out that are to be worked out. Their defaults stand for them meanwhile.
pub(crate) fn take(
    document: &Document,
    given: &mut BTreeMap<VariableName, String>,
) -> Vec<VariableName> {
    let is_auto = |name: &VariableName, text: &str| {
        let mut variables = document.variables().iter();
        text.eq_ignore_ascii_case(AUTO)
            && variables.any(|it| it.name == *name && matches!(it.kind, VariableKind::Size { .. }))
    };
    let names: Vec<VariableName> = given
        .iter()
        .filter(|(name, text)| is_auto(name, text))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &names {
        given.remove(name);
    }
    names
}

/// Fills them in: the share of each workload that has a limit at all.
pub(crate) fn fill(
    document: &Document,
    names: &[VariableName],
    (spec, hosts): (&Spec, &[HostView]),
    values: &mut BTreeMap<VariableName, Value>,
) -> Result<(), Fault> {
    let limited = spec
        .services
        .iter()
        .filter(|it| it.container.memory.is_some());
    let count: u64 = limited.map(|service| u64::from(service.count)).sum();
    let free: u64 = hosts
        .iter()
        .map(|host| host.memory_available.as_bytes())
        .sum();
    let share = share(ByteSize::bytes(free), count);
    for variable in document.variables() {
        let VariableKind::Size { min, max } = &variable.kind else {
            continue;
        };
        if !names.contains(&variable.name) {
            continue;
        }
        if let Some(min) = min.filter(|min| share < *min) {
            return Err(Fault::new(
                "SY4033",
                Class::Refused,
                format!(
                    "{}=auto comes to {share} for each of {count} workloads, and {min} is the least",
                    variable.name
                ),
            )
            .with_help("ask for fewer shards or replicas, or name the amount"));
        }
        let share = max.map_or(share, |max| share.min(max));
        values.insert(variable.name.clone(), Value::Size(share));
    }
    Ok(())
}

/// The share of one of so many workloads, in whole MiB.
fn share(free: ByteSize, count: u64) -> ByteSize {
    let each = free.as_bytes() / SHARE / count.max(1);
    ByteSize::bytes(each >> 20 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_an_equal_part_of_half_of_what_is_free() {
        for (free, count, expected) in [(16_384, 6, 1_365), (1_024, 1, 512), (100, 6, 8), (1, 6, 0)]
        {
            let share = share(ByteSize::mib(free), count);
            assert_eq!(share, ByteSize::mib(expected), "{free} MiB for {count}");
        }
    }
}
