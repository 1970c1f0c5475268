//! Hands the primary's part of a shard over to another of its nodes, without losing a write.

use std::time::Duration;

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::{InstanceName, WorkloadName};
use model::instance::Instance;
use model::outline::Outline;
use model::slots::SlotSet;
use model::step::{Outcome, Promotion};
use model::view::{NodeView, View};
use plan::handover;
use serde::{Deserialize, Serialize};

use crate::approve::Question;
use crate::command::{Control, Reply};
use crate::converge::policy;
use crate::execute::{Scene, execute};
use crate::proof::Probe;
use crate::scale::Changed;
use crate::status::status;
use crate::{lock, wait};

/// Which handovers the user wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Handover {
    /// A replica takes over from its primary; a primary gives way to its best replica.
    Of(WorkloadName),
    /// The same, for the node at an address.
    At(NodeAddress),
    /// The primaries are back where they were planned.
    Spread,
}

/// A wish for handovers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The instance.
    pub name: InstanceName,
    /// Which.
    pub which: Handover,
    /// Show the plan only.
    pub dry_run: bool,
    /// How long the cluster may take to be ready afterwards.
    pub limit: Duration,
}

/// Hands over.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let began = control.hands.clock.now();
    let store = control.store()?;
    let _lock = if request.dry_run {
        None
    } else {
        Some(lock::take(&control.home, &request.name, "failover")?)
    };
    let instance = control.instance(&request.name)?.instance;
    let view = control.hands.observe(&instance).await?;
    let promotions = promotions(&instance, &view, &request.which)?;
    let slots = concerned(&view, &promotions);
    let servers = plan::converge::server_addresses(&instance);
    let plan = handover::plan(promotions, servers, &view, policy(request.limit));
    if request.dry_run {
        return Ok(Reply::Plan(Outline::from(&plan)));
    }
    let changed = !plan.is_empty();
    let mut proof = None;
    if changed {
        control.approver.approve(Question::Plan {
            what: &format!("failover {}", instance.name),
            plan: &Outline::from(&plan),
            findings: &[],
        })?;
        let who = lock::Operator::me("failover");
        let operation = store.begin(&instance.name, "failover", &who.user)?;
        let login = instance.spec.operator.as_ref();
        let probe = Probe::new(&control.hands, login, &slots, &view.nodes);
        let scene = Scene::Instance(&instance);
        let work = execute(&control.hands, scene, &plan, &operation);
        let (outcome, seen) = probe.beside(work).await;
        let outcome = outcome?;
        operation.end(match &outcome {
            Outcome::Done => "done",
            Outcome::Failed(fault) => &fault.message,
            Outcome::Interrupted => "interrupted",
        })?;
        match outcome {
            Outcome::Done => proof = Some(seen),
            Outcome::Failed(fault) => return Err(fault),
            Outcome::Interrupted => return Err(wait::interrupted()),
        }
    }
    let view = control.hands.observe(&instance).await?;
    Ok(Reply::Changed(Box::new(Changed {
        status: status(control, &instance, &view),
        changed,
        took: control.hands.clock.now().saturating_sub(began),
        proof,
    })))
}

fn promotions(instance: &Instance, view: &View, which: &Handover) -> Result<Vec<Promotion>, Fault> {
    let address = match which {
        Handover::Spread => return Ok(handover::spread(instance, view)),
        Handover::At(address) => *address,
        Handover::Of(workload) => {
            let seat = instance.layout.seats.get(workload);
            let seat = seat.filter(|it| it.node.is_some());
            seat.ok_or_else(|| no_node(instance, workload))?.address
        }
    };
    Ok(vec![handover::handover(address, &view.nodes)?])
}

fn no_node(instance: &Instance, workload: &WorkloadName) -> Fault {
    let message = format!("{workload} is no node of instance {}", instance.name);
    Fault::new("SY4006", Class::Usage, message).with_help(format!(
        "shardyard status {}   shows its nodes",
        instance.name
    ))
}

/// The slots whose primary changes.
fn concerned(view: &View, promotions: &[Promotion]) -> SlotSet {
    let owned = |it: &Promotion| {
        let cluster = view
            .nodes
            .get(&it.instead_of.address)
            .and_then(NodeView::cluster)?;
        Some(SlotSet::of(&cluster.myself()?.slots))
    };
    let owned = promotions.iter().filter_map(owned);
    owned.fold(SlotSet::empty(), |all, slots| all.union(&slots))
}
