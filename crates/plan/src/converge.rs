//! Decides what brings an instance from what it is to what it should be.
//!
//! It is asked again after each plan until there is nothing left to do, so that it never needs to
//! know what was interrupted: it sees what is.

mod cluster;
mod fence;
mod leave;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::fault::Code;
use model::finding::{Finding, Severity};
use model::ids::WorkloadName;
use model::instance::Instance;
use model::spec::{Service, ServiceKind};
use model::step::{Condition, EngineStep, Phase, Plan, Promotion, Step, Wait};
use model::view::{Ending, View, WorkloadPhase};
use model::workload::Workload;

pub(crate) use self::cluster::strangers;
use crate::policy::Policy;
use crate::{ready, turn, workloads};

/// What an instance should be.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// Its workloads, ready to run.
    pub workloads: &'a BTreeMap<WorkloadName, Workload>,
}

/// The plan that brings the instance from `view` to `goal`. Empty where it is there.
#[must_use]
pub fn converge(goal: Goal<'_>, view: &View, policy: Policy) -> Plan {
    let mut plan = Plan {
        based_on: view.fingerprint(),
        phases: Vec::new(),
        findings: observations(goal, view),
    };
    let strangers = strangers(goal.instance, view);
    if !strangers.is_empty() {
        plan.findings.extend(strangers);
        return plan;
    }
    let fence = fence::fence(goal.instance, view);
    plan.findings.extend(fence.findings.iter().cloned());

    let levels: BTreeSet<u32> = start_order(goal.instance).map(level_of).collect();
    for level in levels {
        add_level(&mut plan, goal, view, policy, (level, &fence));
    }
    plan.phases.extend(fence.phases(goal, policy));
    // A cluster that we do not form may become whole by its job alone.
    let is_ours = goal.instance.layout.nodes().next().is_some();
    let mut cluster = cluster::plan(goal, view, policy, &fence);
    if let Some(hook) = turn::before_scale_in(goal, view) {
        if !is_ours {
            // Who may leave is seen once the job has emptied them.
            cluster.phases.clear();
            cluster.findings = turn::postponed(goal.instance, cluster.findings, &hook);
            cluster.goes_on = true;
        }
        plan.phases.push(hook);
    }
    plan.phases.extend(cluster.phases);
    plan.findings.extend(cluster.findings);
    let joining = turn::after_scale_out(goal, view);
    if !is_ours {
        plan.phases.extend(joining.clone());
    }

    let servers = staying_servers(goal.instance);
    let not_ready = !ready::obstacles(&asked(goal.instance, view), &view.nodes).is_empty();
    // What is critical keeps it from ever being ready, so that waiting would be of no use.
    let can_be_ready = plan
        .findings
        .iter()
        .all(|it| it.severity < Severity::Critical);
    // What is held undecided is for the next plan, once this one has something done.
    let is_last = plan.phases.is_empty() || !(fence.is_undecided() || cluster.goes_on);
    if can_be_ready && is_last {
        if !servers.is_empty() && (not_ready || !plan.phases.is_empty()) {
            let present = present_after(&plan, goal.instance, view);
            plan.phases.push(until_ready(present, policy));
        }
        plan.phases.extend(after_create(goal, view));
        plan.phases.extend(joining.filter(|_| is_ours));
    }
    plan
}

fn until_ready(servers: Vec<NodeAddress>, policy: Policy) -> Phase {
    Phase {
        title: "the cluster is ready".to_owned(),
        steps: vec![Step::Wait(Wait {
            until: Condition::Ready(servers),
            limit: policy.ready_limit,
        })],
    }
}

/// Why a workload must not start yet, and which promotion would allow it; `None` where it may.
#[must_use]
pub fn held(
    instance: &Instance,
    view: &View,
    workload: &WorkloadName,
) -> Option<(String, Option<Promotion>)> {
    fence::fence(instance, view).held(workload)
}

/// The services that start by themselves: a hook's job waits for its turn.
fn start_order(instance: &Instance) -> impl Iterator<Item = &Service> {
    let hooks = &instance.spec.hooks;
    let services = instance.spec.services.iter();
    services.filter(|service| !hooks.run(&service.name))
}

const fn level_of(service: &Service) -> u32 {
    service.deployment.start_level
}

/// The addresses of the workloads that hold keys.
#[must_use]
pub fn server_addresses(instance: &Instance) -> Vec<NodeAddress> {
    instance
        .layout
        .seats
        .iter()
        .filter(|(name, _)| {
            instance
                .spec
                .service(name.service())
                .is_some_and(Service::holds_keys)
        })
        .map(|(_, seat)| seat.address)
        .collect()
}

/// The servers that are to stay.
fn staying_servers(instance: &Instance) -> Vec<NodeAddress> {
    let leaves = |address: &NodeAddress| {
        let seats = &instance.layout.seats;
        seats.values().any(|it| it.leaves && it.address == *address)
    };
    let mut servers = server_addresses(instance);
    servers.retain(|address| !leaves(address));
    servers
}

/// The servers that stay, and of those that leave the ones that answer: while they are there, the
/// others know them rightly.
fn asked(instance: &Instance, view: &View) -> Vec<NodeAddress> {
    let stay: BTreeSet<NodeAddress> = staying_servers(instance).into_iter().collect();
    let answers = |address: &NodeAddress| {
        let report = view.nodes.get(address).and_then(|node| node.report());
        report.is_some()
    };
    let mut asked = server_addresses(instance);
    asked.retain(|address| stay.contains(address) || answers(address));
    asked
}

/// The servers that are there once a plan is carried out: those that leave and are not stopped by
/// it, because slots go to them first, are known to the others as before.
fn present_after(plan: &Plan, instance: &Instance, view: &View) -> Vec<NodeAddress> {
    let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
    let stopped: BTreeSet<NodeAddress> = steps
        .filter_map(|step| match step {
            Step::Engine(EngineStep::EnsureStopped(name)) => instance.layout.seats.get(name),
            Step::Engine(_) | Step::Cluster(_) | Step::Steward(_) | Step::Wait(_) => None,
        })
        .map(|seat| seat.address)
        .collect();
    let mut present = asked(instance, view);
    present.retain(|address| !stopped.contains(address));
    present
}

/// The workloads of one start level: servers run and are healthy, then jobs are done.
fn add_level(
    plan: &mut Plan,
    goal: Goal<'_>,
    view: &View,
    policy: Policy,
    (level, fence): (u32, &fence::Fence),
) {
    let of_level = |kind: ServiceKind| {
        goal.workloads.values().filter(move |workload| {
            workload.kind == kind
                && start_order(goal.instance)
                    .any(|it| it.name == *workload.name.service() && level_of(it) == level)
        })
    };
    let servers: Vec<&Workload> = of_level(ServiceKind::Server)
        .filter(|workload| !fence.holds(&workload.name))
        .filter(|workload| !leave::is_dispensable(goal.instance, view, &workload.name))
        .collect();
    let start: Vec<&Workload> = servers
        .iter()
        .filter(|workload| needs_start(view, &workload.name))
        .copied()
        .collect();
    if !start.is_empty() {
        plan.phases.push(run(&start));
    }
    let unhealthy: Vec<WorkloadName> = servers
        .iter()
        .filter(|workload| !is_healthy(view, &workload.name))
        .map(|workload| workload.name.clone())
        .collect();
    if !unhealthy.is_empty() {
        plan.phases.push(healthy(unhealthy, policy));
    }
    let jobs: Vec<Step> = of_level(ServiceKind::Job)
        .filter(|job| !goal.instance.delivered && !is_done(view, &job.name))
        .map(|job| Step::Engine(EngineStep::EnsureDone(Box::new(job.clone()))))
        .collect();
    if !jobs.is_empty() {
        plan.phases.push(Phase {
            title: format!("{} done", counted(jobs.len(), "job")),
            steps: jobs,
        });
    }
}

fn run(workloads: &[&Workload]) -> Phase {
    Phase {
        title: format!("{} running", counted(workloads.len(), "workload")),
        steps: workloads
            .iter()
            .map(|workload| Step::Engine(EngineStep::EnsureRunning(Box::new((*workload).clone()))))
            .collect(),
    }
}

fn healthy(workloads: Vec<WorkloadName>, policy: Policy) -> Phase {
    Phase {
        title: format!("{} healthy", counted(workloads.len(), "workload")),
        steps: vec![Step::Wait(Wait {
            until: Condition::Healthy(workloads),
            limit: policy.healthy_limit,
        })],
    }
}

/// The job of the hook `after_create`, until the instance has been ready once.
fn after_create(goal: Goal<'_>, view: &View) -> Option<Phase> {
    let hook = goal.instance.spec.hooks.after_create.as_ref()?;
    let steps: Vec<Step> = goal
        .workloads
        .values()
        .filter(|job| job.name.service() == hook)
        .filter(|job| !goal.instance.delivered && !is_done(view, &job.name))
        .map(|job| Step::Engine(EngineStep::EnsureDone(Box::new(job.clone()))))
        .collect();
    (!steps.is_empty()).then(|| Phase {
        title: format!("{hook} done, after the creation"),
        steps,
    })
}

/// Whether a workload must be started. One that ended by itself is its supervisor's to restart.
fn needs_start(view: &View, name: &WorkloadName) -> bool {
    match view.engine.workloads.get(name).map(|it| &it.phase) {
        None | Some(WorkloadPhase::Stopped | WorkloadPhase::Ended(_)) => true,
        Some(
            WorkloadPhase::Running { .. }
            | WorkloadPhase::Restarting { .. }
            | WorkloadPhase::Held { .. },
        ) => false,
    }
}

fn is_healthy(view: &View, name: &WorkloadName) -> bool {
    let workload = view.engine.workloads.get(name);
    workload.is_some_and(|it| it.phase == WorkloadPhase::Running { healthy: true })
}

fn is_done(view: &View, name: &WorkloadName) -> bool {
    let workload = view.engine.workloads.get(name);
    workload.is_some_and(|it| it.phase == WorkloadPhase::Ended(Ending::Exit(0)))
}

/// What the engine's view says that a person should know.
fn observations(goal: Goal<'_>, view: &View) -> Vec<Finding> {
    let mut findings = Vec::new();
    if view.engine.unattended {
        findings.push(Finding {
            code: Code("SY2216"),
            severity: Severity::Warning,
            subject: "supervisor".to_owned(),
            message: "it is gone; what dies now is not started again, and no replica follows on \
                      at once"
                .to_owned(),
            help: Some(format!("shardyard up --name {}", goal.instance.name)),
        });
    }
    for (name, workload) in &view.engine.workloads {
        match &workload.phase {
            WorkloadPhase::Restarting { last, pause } => findings.push(Finding {
                code: Code("SY2214"),
                severity: Severity::Warning,
                subject: name.to_string(),
                message: format!(
                    "it ended with {last} and is started again in {} ms",
                    pause.as_millis()
                ),
                help: Some(format!("shardyard logs {} {name}", goal.instance.name)),
            }),
            WorkloadPhase::Held { reason } => findings.push(Finding {
                code: Code("SY2213"),
                severity: Severity::Critical,
                subject: name.to_string(),
                message: format!("it is kept from starting: {reason}"),
                help: Some(format!("shardyard logs {} {name}", goal.instance.name)),
            }),
            WorkloadPhase::Running { .. } => {
                let wanted = goal.workloads.get(name).map(Workload::fingerprint);
                if wanted.is_some() && workload.fingerprint != wanted {
                    findings.push(Finding {
                        code: Code("SY2215"),
                        severity: Severity::Notice,
                        subject: name.to_string(),
                        message: "it runs with an older definition until its next start".to_owned(),
                        help: None,
                    });
                }
            }
            WorkloadPhase::Stopped | WorkloadPhase::Ended(_) => {}
        }
    }
    findings
}

/// "1 workload", "6 workloads".
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Whether the instance has never kept anything (see `workloads::is_new`).
fn is_new(goal: Goal<'_>, view: &View) -> bool {
    workloads::is_new(goal.instance, view)
}
