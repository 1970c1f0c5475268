//! The start order: from priorities and `start_after` to levels, and the cycle where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use model::ids::ServiceName;

use crate::deployment::Turn;

/// A service and its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starter<'a> {
    pub(crate) name: &'a ServiceName,
    pub(crate) turn: &'a Turn,
}

/// Why there is no order: services that wait for each other in a ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ring {
    /// The ring in words, service by service.
    pub(crate) told: String,
    /// Where one of its services says what it waits for.
    pub(crate) range: Range<usize>,
}

/// Why a service waits for another.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Reason {
    StartAfter,
    Priority { own: u32, other: u32 },
}

struct Edge<'a> {
    from: &'a ServiceName,
    to: &'a ServiceName,
    reason: Reason,
    range: Range<usize>,
}

/// The level of each service: 0 starts first, equal ones start together.
///
/// # Errors
/// With a ring of services that wait for each other.
pub(crate) fn levels(starters: &[Starter<'_>]) -> Result<BTreeMap<ServiceName, u32>, Ring> {
    let edges = edges(starters);
    let mut levels: BTreeMap<ServiceName, u32> = BTreeMap::new();
    let mut waiting: BTreeSet<&ServiceName> = starters.iter().map(|starter| starter.name).collect();
    // Each round settles what waits for nothing that is unsettled, so that the number of rounds is
    // at most the number of services.
    for level in 0_u32.. {
        let ready: Vec<&ServiceName> = waiting
            .iter()
            .copied()
            .filter(|name| {
                !edges
                    .iter()
                    .any(|edge| edge.from == *name && waiting.contains(edge.to))
            })
            .collect();
        if ready.is_empty() {
            break;
        }
        for name in ready {
            waiting.remove(name);
            levels.insert(name.clone(), level);
        }
    }
    match waiting.first() {
        None => Ok(levels),
        Some(first) => Err(find_ring(first, &edges, &waiting)),
    }
}

fn edges<'a>(starters: &[Starter<'a>]) -> Vec<Edge<'a>> {
    let mut edges = Vec::new();
    for starter in starters {
        edges.extend(starter.turn.after.iter().map(|(to, range)| Edge {
            from: starter.name,
            to,
            reason: Reason::StartAfter,
            range: range.clone(),
        }));
        let Some((own, range)) = &starter.turn.priority else {
            continue;
        };
        for earlier in starters {
            if let Some((other, _)) = &earlier.turn.priority
                && other < own
            {
                edges.push(Edge {
                    from: starter.name,
                    to: earlier.name,
                    reason: Reason::Priority {
                        own: *own,
                        other: *other,
                    },
                    range: range.clone(),
                });
            }
        }
    }
    edges
}

/// Follows what a service waits for until one comes up again: all that is left waits for something
/// that is left, so the walk cannot end otherwise.
fn find_ring(first: &ServiceName, edges: &[Edge<'_>], waiting: &BTreeSet<&ServiceName>) -> Ring {
    let mut walked: Vec<&Edge<'_>> = Vec::new();
    let mut at = first;
    while !walked.iter().any(|edge| edge.from == at) {
        let Some(edge) = edges
            .iter()
            .find(|edge| edge.from == at && waiting.contains(edge.to))
        else {
            break;
        };
        walked.push(edge);
        at = edge.to;
    }
    let start = walked.iter().position(|edge| edge.from == at).unwrap_or(0);
    let ring = &walked[start..];
    let told: Vec<String> = ring.iter().map(|edge| tell(edge)).collect();
    let shown = ring
        .iter()
        .find(|edge| edge.reason == Reason::StartAfter)
        .or(ring.first());
    Ring {
        told: told.join(", "),
        range: shown.map_or(0..0, |edge| edge.range.clone()),
    }
}

fn tell(edge: &Edge<'_>) -> String {
    let (from, to) = (edge.from, edge.to);
    match edge.reason {
        Reason::StartAfter => format!("{from} starts after {to}"),
        Reason::Priority { own, other } => {
            format!("{from} (priority {own}) starts after {to} (priority {other})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Services as `name:priority` or `name`, each with what it starts after.
    fn check(services: &[(&str, &[&str])], expected: &str) {
        let name = |text: &str| ServiceName::new(text).unwrap();
        let turns: Vec<(ServiceName, Turn)> = services
            .iter()
            .map(|(service, after)| {
                let (service, priority) = match service.split_once(':') {
                    Some((service, priority)) => (service, priority.parse().ok()),
                    None => (*service, None),
                };
                let turn = Turn {
                    priority: priority.map(|priority| (priority, 0..1)),
                    after: after.iter().map(|after| (name(after), 2..3)).collect(),
                };
                (name(service), turn)
            })
            .collect();
        let starters: Vec<Starter<'_>> = turns
            .iter()
            .map(|(name, turn)| Starter { name, turn })
            .collect();
        let told = match levels(&starters) {
            Ok(levels) => levels
                .iter()
                .map(|(name, level)| format!("{name}={level}"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(ring) => ring.told,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn without_a_wish_all_start_together() {
        check(&[("a", &[]), ("b", &[])], "a=0 b=0");
        check(&[], "");
    }

    #[test]
    fn start_after_and_priorities_make_levels() {
        check(&[("a", &["b"]), ("b", &["c"]), ("c", &[])], "a=2 b=1 c=0");
        check(
            &[("a:20", &[]), ("b:10", &[]), ("c:10", &[])],
            "a=1 b=0 c=0",
        );
        check(
            &[("a:10", &["x"]), ("b:20", &[]), ("x", &[])],
            "a=1 b=2 x=0",
        );
    }

    #[test]
    fn a_ring_is_named_service_by_service() {
        check(
            &[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])],
            "b starts after c, c starts after b",
        );
        check(&[("a", &["a"])], "a starts after a");
    }

    #[test]
    fn a_ring_between_start_after_and_priorities_is_named() {
        check(
            &[("app:10", &["redis"]), ("redis:20", &[])],
            "app starts after redis, redis (priority 20) starts after app (priority 10)",
        );
    }
}
