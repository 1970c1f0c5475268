//! Takes an instance down. Its data stays unless the user has said otherwise and named it.

use model::fault::Fault;
use model::ids::InstanceName;
use model::instance::Instance;
use model::outline::Outline;
use model::size::ByteSize;
use model::step::{Outcome, Plan};
use model::view::View;
use plan::stop::{Data, stop};
use serde::{Deserialize, Serialize};

use crate::approve::Question;
use crate::command::{Control, Reply};
use crate::execute::{Scene, execute};
use crate::{converge, lock, wait};

/// What the user wants to be taken down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The instance.
    pub name: InstanceName,
    /// Whether its data goes too.
    pub delete_data: bool,
    /// Show the plan only.
    pub dry_run: bool,
}

/// Takes it down.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let store = control.store()?;
    control.instance(&request.name)?;
    let _lock = if request.dry_run {
        None
    } else {
        Some(lock::take(&control.home, &request.name, "down")?)
    };
    let instance = control.instance(&request.name)?.instance;
    let view = control.hands.observe(&instance).await?;
    let data = if request.delete_data {
        Data::Delete
    } else {
        Data::Keep
    };
    let workloads = converge::workloads(&instance, &view)?;
    let plan = stop(&instance, &workloads, &view, data);
    if request.dry_run {
        return Ok(Reply::Plan(Outline::from(&plan)));
    }
    let changed = !plan.is_empty();
    ask(control, &instance, &view, &plan, data)?;
    let who = lock::Operator::me("down");
    let operation = store.begin(&instance.name, "down", &who.user)?;
    let scene = Scene::Instance(&instance);
    let outcome = execute(&control.hands, scene, &plan, &operation).await?;
    operation.end(match &outcome {
        Outcome::Done => "done",
        Outcome::Failed(fault) => &fault.message,
        Outcome::Interrupted => "interrupted",
    })?;
    match outcome {
        Outcome::Done => {}
        Outcome::Failed(fault) => return Err(fault),
        Outcome::Interrupted => return Err(wait::interrupted()),
    }
    if data == Data::Delete {
        let engine = control.hands.engine(&instance)?;
        engine.release(&instance.name).await?;
        store.forget(&instance.name)?;
        store.audit(&who.user, &instance.name, "data deleted")?;
        remove_folder(control, &instance.name);
    }
    Ok(Reply::Down {
        instance: instance.name,
        deleted: data == Data::Delete,
        changed,
    })
}

fn ask(
    control: &Control,
    instance: &Instance,
    view: &View,
    plan: &Plan,
    data: Data,
) -> Result<(), Fault> {
    match data {
        Data::Delete => control.approver.approve(Question::Loss {
            name: instance.name.as_str(),
            lost: &lost(instance, view),
        }),
        Data::Keep if plan.is_empty() => Ok(()),
        Data::Keep => control.approver.approve(Question::Plan {
            what: &format!("stop {}", instance.name),
            plan: &Outline::from(plan),
            findings: &[],
        }),
    }
}

/// What deleting loses, in words and numbers.
fn lost(instance: &Instance, view: &View) -> Vec<String> {
    let primaries =
        plan::ready::primaries(&plan::converge::server_addresses(instance), &view.nodes);
    let keys: u64 = primaries
        .iter()
        .filter_map(|(member, _)| view.nodes.get(&member.address)?.report())
        .map(|report| report.keys)
        .sum();
    let stored: u64 = view
        .engine
        .workloads
        .values()
        .map(|workload| workload.storage.size.as_bytes())
        .sum();
    let count = view.engine.workloads.len();
    let mut lost = Vec::new();
    if primaries.is_empty() {
        lost.push("all keys; how many cannot be said, because no server answers".to_owned());
    } else {
        lost.push(format!("{keys} keys"));
    }
    // A platform that has to read everything to tell a size does not tell it.
    lost.push(match stored {
        0 => format!("the data of {count} workloads"),
        _ => format!(
            "the data of {count} workloads, {} on disk",
            ByteSize::bytes(stored)
        ),
    });
    lost.push("its passwords, logs and configuration".to_owned());
    lost
}

/// The instance's own folder, once nothing but our lock is in it. What else lies there stays.
fn remove_folder(control: &Control, name: &InstanceName) {
    let _ = std::fs::remove_file(control.home.lock(name));
    let _ = std::fs::remove_dir(control.home.instance(name));
}
