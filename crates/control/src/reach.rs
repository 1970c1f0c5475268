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
use serde::{Deserialize, Serialize};

use crate::command::Control;
use crate::status::{Status, addresses_of};

/// How many are tried at once.
const TRIES_MAX: usize = 32;

/// A try of one address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tried {
    /// The address, as the nodes tell it to clients.
    pub address: NodeAddress,
    /// What went wrong; `None` where it answered.
    pub problem: Option<String>,
}

/// Tries what an instance most likely announces: where its seats are. It needs no view, so that it
/// can go on while one is being had.
pub(crate) async fn try_seats(control: &Control, instance: &Instance) -> Vec<Tried> {
    let seats = plan::converge::server_addresses(instance).into_iter();
    try_all(
        control,
        instance,
        seats.chain(of_clients(instance)).collect(),
    )
    .await
}

async fn try_all(
    control: &Control,
    instance: &Instance,
    addresses: BTreeSet<NodeAddress>,
) -> Vec<Tried> {
    let command = &["PING".to_owned()];
    let credentials = instance.spec.application.as_ref();
    stream::iter(addresses)
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
        .await
}

/// Adds to the status what came of a try of each announced address; `tried` are those that were
/// tried already, announced or not.
pub(crate) async fn reach(
    control: &Control,
    instance: &Instance,
    view: &View,
    (mut tried, status): (Vec<Tried>, &mut Status),
) {
    if status.state == State::Stopped {
        return;
    }
    let mut announced = announced(instance, view);
    tried.retain(|it| announced.remove(&it.address));
    tried.extend(try_all(control, instance, announced).await);
    tried.sort_by_key(|it| it.address);
    status.tried = tried;
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
    let mut addresses: BTreeSet<NodeAddress> = of_clients(instance).collect();
    for address in plan::converge::server_addresses(instance) {
        let Some(report) = view.nodes.get(&address).and_then(NodeView::report) else {
            continue;
        };
        let own = report.cluster.as_ref().and_then(|it| it.myself());
        addresses.insert(own.and_then(|it| it.address).unwrap_or(address));
    }
    addresses
}

/// The addresses of the service that clients speak to, where a template names one.
fn of_clients(instance: &Instance) -> impl Iterator<Item = NodeAddress> {
    let clients = instance.spec.clients.iter();
    clients.flat_map(|service| addresses_of(instance, service))
}
