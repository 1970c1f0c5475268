//! Tries each address that an instance announces, as a client does that comes from outside: the
//! addresses are those that the nodes tell clients, and the login is the applications'.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream;
use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::instance::Instance;
use model::view::{NodeView, View};
use plan::check::State;

use crate::command::Control;
use crate::status::{Status, addresses_of};

/// How many are tried at once.
const TRIES_MAX: usize = 32;

/// A try of one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// The address, as the nodes tell it to clients.
    pub address: NodeAddress,
    /// What went wrong; `None` where it answered.
    pub problem: Option<String>,
}

/// Tries them, and adds to the status what came of it.
pub(crate) async fn reach(
    control: &Control,
    instance: &Instance,
    view: &View,
    status: &mut Status,
) {
    if status.state == State::Stopped {
        return;
    }
    let command = &["PING".to_owned()];
    let credentials = instance.spec.application.as_ref();
    status.tried = stream::iter(announced(instance, view))
        .map(|address| async move {
            let answer = control.hands.nodes.call(address, command, credentials);
            // Any answer will do: also one of a node that is loading its data.
            Tried {
                address,
                problem: answer.await.err().map(|fault| fault.message),
            }
        })
        .buffered(TRIES_MAX)
        .collect()
        .await;
    let problems = status.tried.iter().filter(|it| it.problem.is_some());
    for tried in problems {
        status.findings.push(Finding {
            code: Code("SY4034"),
            severity: Severity::Warning,
            subject: tried.address.to_string(),
            message: format!(
                "clients are told this address, and it does not answer from here: {}",
                tried.problem.as_deref().unwrap_or("")
            ),
            help: Some(
                "clients elsewhere need --expose host; see also whether a firewall is between"
                    .to_owned(),
            ),
        });
    }
}

/// What the nodes tell clients: their own word where they are in a cluster, else where they are.
/// And where clients speak to another service, its addresses.
fn announced(instance: &Instance, view: &View) -> BTreeSet<NodeAddress> {
    let clients = instance.spec.clients.iter();
    let mut addresses: BTreeSet<NodeAddress> = clients
        .flat_map(|service| addresses_of(instance, service))
        .collect();
    for address in plan::converge::server_addresses(instance) {
        let Some(report) = view.nodes.get(&address).and_then(NodeView::report) else {
            continue;
        };
        let own = report.cluster.as_ref().and_then(|it| it.myself());
        addresses.insert(own.and_then(|it| it.address).unwrap_or(address));
    }
    addresses
}
