//! What a template's config files look like before anything is delivered. It asks no platform.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::{HostName, NodeId, VariableName, WorkloadName};
use model::secret::Secret;
use model::size::ByteSize;
use model::spec::{Spec, Value};
use model::view::HostView;
use plan::layout::{Site, layout, node_count, wanted};
use template::{Discovery, Document};

/// What stands for a secret in what is shown.
const MASK: &str = "********";

/// A rendered file, and the workloads for which it has this text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The workloads.
    pub workloads: Vec<WorkloadName>,
    /// Where it goes in a workload.
    pub path: String,
    /// The text.
    pub text: String,
}

/// The config files of a template with these variables set: sample addresses, and a mask for each
/// secret.
///
/// # Errors
/// Where the template or a variable is wrong.
pub fn rendered(
    document: &Document,
    given: &BTreeMap<VariableName, String>,
) -> Result<Vec<Rendered>, Fault> {
    let mut values = document.values(given, &mut |_| Secret::new(MASK))?;
    for value in values.values_mut() {
        if matches!(value, Value::Secret(_)) {
            *value = Value::Secret(Secret::new(MASK));
        }
    }
    let spec = document.spec(&values)?;
    let discovery = sample_discovery(&spec)?;
    let mut files: Vec<Rendered> = Vec::new();
    for (workload, _) in wanted(&spec) {
        let Some(service) = spec.service(workload.service()) else {
            continue;
        };
        for file in &service.files {
            let text = template::render(file, &values, &discovery, &workload)?;
            let same = files.iter_mut().find(|it| {
                it.path == file.target
                    && it.text == text
                    && it.workloads[0].service() == workload.service()
            });
            match same {
                Some(same) => same.workloads.push(workload.clone()),
                None => files.push(Rendered {
                    workloads: vec![workload.clone()],
                    path: file.target.clone(),
                    text,
                }),
            }
        }
    }
    Ok(files)
}

/// Addresses as an engine would give them, from 10.0.0.2 on.
fn sample_discovery(spec: &Spec) -> Result<Discovery, Fault> {
    let first = Ipv4Addr::new(10, 0, 0, 2).to_bits();
    let addresses: BTreeMap<WorkloadName, NodeAddress> = wanted(spec)
        .into_iter()
        .zip(first..)
        .map(|((workload, port), bits)| {
            let ip = IpAddr::V4(Ipv4Addr::from_bits(bits));
            (workload, NodeAddress::new(ip, port))
        })
        .collect();
    let ids = vec![NodeId::from_bytes([0; 20]); node_count(spec)];
    let host = HostView {
        name: HostName::new("host-1"),
        memory_total: ByteSize::bytes(u64::MAX),
        memory_available: ByteSize::bytes(u64::MAX),
    };
    let site = Site {
        hosts: &[host],
        addresses: &addresses,
        ids: &ids,
    };
    let layout = layout(spec, site).ok_or_else(|| {
        Fault::new(
            "SY4098",
            Class::Failed,
            "the sample has no place for each workload; this is a bug",
        )
    })?;
    Ok(Discovery::of(spec, &layout, &BTreeMap::new()))
}
