//! Decides when the job of a hook has its turn in a change of size, and what it is told of it.
//!
//! Before anything leaves its job runs, and what it fails at stays. After workloads have joined,
//! its job runs once they are up. That a job was done is seen, as everything is: its definition
//! holds the number of the change, so that a job of an earlier one does not count.

use std::collections::{BTreeMap, BTreeSet};

use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::{ServiceName, WorkloadName};
use model::instance::{Change, Instance};
use model::step::{EngineStep, Phase, Step};
use model::view::{Ending, View, WorkloadPhase};
use model::workload::Workload;

use crate::converge::Goal;

/// The instance after a change of size, with the turns that its hooks have in it. `number` is one
/// that no other change has.
#[must_use]
pub fn with_turns(before: &Instance, mut after: Instance, number: u64) -> Instance {
    // What is under way goes on as it began.
    if before.change.is_some() || crate::shards::is_under_way(before) {
        return after;
    }
    let had = &before.layout.seats;
    let joined: BTreeSet<WorkloadName> = after
        .layout
        .seats
        .keys()
        .filter(|name| !had.contains_key(*name))
        .cloned()
        .collect();
    let leaves = after.layout.seats.values().any(|seat| seat.leaves);
    let hooks = &after.spec.hooks;
    let has_turn = (hooks.after_scale_out.is_some() && !joined.is_empty())
        || (hooks.before_scale_in.is_some() && leaves);
    if has_turn {
        after.change = Some(Change { number, joined });
    }
    after
}

/// What the job of a hook finds in its environment: its turn, and the addresses of those that have
/// joined and of those that leave. A job that has both turns in one change has the first one alone.
pub(crate) fn environment(instance: &Instance, job: &ServiceName) -> BTreeMap<String, String> {
    let Some(change) = &instance.change else {
        return BTreeMap::new();
    };
    let hooks = &instance.spec.hooks;
    let seats = &instance.layout.seats;
    let leaving: Vec<String> = seats
        .values()
        .filter(|seat| seat.leaves)
        .map(|seat| seat.address.to_string())
        .collect();
    let joined: Vec<String> = change
        .joined
        .iter()
        .filter_map(|name| Some(seats.get(name)?.address.to_string()))
        .collect();
    let turn = if !leaving.is_empty() && hooks.before_scale_in.as_ref() == Some(job) {
        "before_scale_in"
    } else if hooks.after_scale_out.as_ref() == Some(job) {
        "after_scale_out"
    } else {
        return BTreeMap::new();
    };
    let pairs = [
        ("SHARDYARD_HOOK", turn.to_owned()),
        ("SHARDYARD_CHANGE", format!("{:016x}", change.number)),
        ("SHARDYARD_JOINED", joined.join(" ")),
        ("SHARDYARD_LEAVING", leaving.join(" ")),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The job that has to be done before anything leaves; `None` where there is none, or it is done.
pub(crate) fn before_scale_in(goal: Goal<'_>, view: &View) -> Option<Phase> {
    let instance = goal.instance;
    instance.change.as_ref()?;
    let leaves = instance.layout.seats.values().any(|seat| seat.leaves);
    let hook = instance.spec.hooks.before_scale_in.as_ref()?;
    leaves.then(|| phase(goal, view, hook, "before anything leaves"))?
}

/// The job that has to be done once those that have joined are up; `None` as above.
pub(crate) fn after_scale_out(goal: Goal<'_>, view: &View) -> Option<Phase> {
    let change = goal.instance.change.as_ref()?;
    let hook = goal.instance.spec.hooks.after_scale_out.as_ref()?;
    let joined = !change.joined.is_empty();
    joined.then(|| phase(goal, view, hook, "for those that have joined"))?
}

fn phase(goal: Goal<'_>, view: &View, hook: &ServiceName, when: &str) -> Option<Phase> {
    let jobs = goal.workloads.values();
    let steps: Vec<Step> = jobs
        .filter(|job| job.name.service() == hook && !is_done(view, job))
        .map(|job| Step::Engine(EngineStep::EnsureDone(Box::new(job.clone()))))
        .collect();
    (!steps.is_empty()).then(|| Phase {
        title: format!("{hook} done, {when}"),
        steps,
    })
}

/// Whether a job came to a good end with this very definition.
fn is_done(view: &View, job: &Workload) -> bool {
    let found = view.engine.workloads.get(&job.name);
    found.is_some_and(|it| {
        it.phase == WorkloadPhase::Ended(Ending::Exit(0))
            && it.fingerprint == Some(job.fingerprint())
    })
}

/// What is said of those that leave, while the job is yet to empty them: that they do afterwards,
/// instead of what keeps them now. `findings` are those of a plan without the job.
pub(crate) fn postponed(
    instance: &Instance,
    mut findings: Vec<Finding>,
    hook: &Phase,
) -> Vec<Finding> {
    findings.retain(|finding| finding.code != Code("SY2414"));
    let leaving = instance.layout.seats.iter().filter(|(_, seat)| seat.leaves);
    findings.extend(leaving.map(|(name, _)| Finding {
        code: Code("SY4040"),
        severity: Severity::Notice,
        subject: name.to_string(),
        message: format!("it is stopped once the job has emptied it ({})", hook.title),
        help: None,
    }));
    findings
}
