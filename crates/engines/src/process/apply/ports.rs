//! Checks that the ports of a workload are free before it starts, so that whoever has one is named.

use std::net::SocketAddr;

use model::ids::WorkloadName;
use model::spec::ServiceKind;
use model::workload::Workload;

use super::ApplyError;
use crate::process::listeners::{self, Port, PortHolder, try_port};
use crate::process::translate::Program;

/// The ports that must be free. A job listens nowhere; a server of Redis or Valkey has its bus
/// port too, but for a sentinel.
pub(super) fn ports(workload: &Workload, program: &Program) -> Vec<SocketAddr> {
    let address = workload.address;
    if workload.kind == ServiceKind::Job || address.port == 0 {
        return Vec::new();
    }
    let has_bus = program.server.is_some() && !workload.container.runs_sentinel();
    let bus = address.bus_port().filter(|_| has_bus);
    let ports = [Some(address.port), bus];
    ports
        .into_iter()
        .flatten()
        .map(|port| SocketAddr::new(address.ip, port))
        .collect()
}

/// Checks that a workload can listen there. It does not run, so whoever does is somebody else.
pub(super) fn check(workload: &WorkloadName, ports: &[SocketAddr]) -> Result<(), ApplyError> {
    for address in ports {
        let unfit = |why: String| ApplyError::AddressUnfit {
            workload: workload.clone(),
            address: *address,
            why,
        };
        match try_port(*address) {
            Ok(Port::Free) => {}
            Ok(Port::Elsewhere) => {
                return Err(unfit(
                    "no interface of this host has this address".to_owned(),
                ));
            }
            Ok(Port::Forbidden) => return Err(unfit("only root may use this port".to_owned())),
            Ok(Port::Taken) => {
                let listeners = listeners::all();
                let holder = listeners::blocking(&listeners, *address);
                let holder = holder.map(|holder| Box::new(PortHolder::of(holder)));
                return Err(ApplyError::PortTaken {
                    workload: workload.clone(),
                    address: *address,
                    holder,
                });
            }
            Err(error) => return Err(unfit(error.to_string())),
        }
    }
    Ok(())
}
