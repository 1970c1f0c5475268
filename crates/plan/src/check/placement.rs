//! Judges where the nodes of an instance sit: no two copies of a shard on one host while there are
//! hosts enough, and no host with a majority of the primaries where three exist (invariant 9 of
//! ARCHITECTURE.md).

use std::collections::{BTreeMap, BTreeSet};

use model::finding::{Finding, Severity};
use model::ids::HostName;
use model::instance::Instance;
use model::view::View;

use super::finding;
use crate::shards::{Node, acting};

/// With fewer hosts one of them always has half of the primaries or more.
const HOSTS_MIN: usize = 3;

/// What is amiss with the places. `view` says which hosts there are, and who acts as primary.
#[must_use]
pub fn placement(instance: &Instance, view: &View) -> Vec<Finding> {
    let layout = &instance.layout;
    let hosts = view.engine.hosts.len();
    let mut findings = Vec::new();
    let mut primaries: BTreeMap<HostName, usize> = BTreeMap::new();
    let mut all = 0;
    for shard in layout.shards() {
        let nodes = layout.shard(shard);
        let staying: Vec<&Node<'_>> = nodes.iter().filter(|node| !node.1.leaves).collect();
        let used: BTreeSet<&HostName> = staying.iter().map(|node| &node.1.host).collect();
        if used.len() < staying.len().min(hosts) {
            let names: Vec<String> = staying
                .iter()
                .map(|(name, seat, _)| format!("{name} on {}", seat.host))
                .collect();
            let message = format!("copies of it share a host: {}", names.join(", "));
            findings.push(finding("SY2222", Severity::Warning, shard, message));
        }
        if let Some(primary) = acting(layout, view, shard).filter(|_| !staying.is_empty()) {
            *primaries.entry(primary.1.host.clone()).or_default() += 1;
            all += 1;
        }
    }
    let crowded = primaries
        .into_iter()
        .filter(|(_, count)| hosts >= HOSTS_MIN && all > 1 && count * 2 > all);
    findings.extend(crowded.map(|(host, count)| {
        let message = format!("it holds {count} of {all} primaries");
        let help = format!("shardyard failover {} --spread", instance.name);
        Finding {
            help: Some(help),
            ..finding("SY2223", Severity::Warning, format!("host {host}"), message)
        }
    }));
    findings
}
