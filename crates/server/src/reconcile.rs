//! Keeps each instance as it was asked for: what `up` does, again and again, where something is
//! amiss. It never agrees to a loss, leaves alone what somebody works on or took down, and tries
//! ever less often what fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::command::{Platform, UpRequest};
use control::store::Store;
use control::{Command, Reply, lock};
use model::fault::Fault;
use model::finding::Severity;
use model::ids::InstanceName;

use crate::server::{Server, Task, Typed};
use crate::wire::{EventBody, FindingBody};

/// How often all instances are looked at.
const PAUSE: Duration = Duration::from_secs(5);
/// How long one that failed is left alone: this at first, twice as long each time, this at most.
const BACK_OFF: Duration = Duration::from_secs(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(600);
/// How often something must be amiss in a row: a look in the middle of an election heals nothing.
const SEEN_BEFORE: u32 = 2;
/// How long an instance may take to be ready.
const LIMIT: Duration = Duration::from_secs(600);

/// Who does it, for the operations.
const USER: &str = "reconcile";

#[derive(Debug, Default)]
struct Patience {
    failed: u32,
    not_before: Option<Instant>,
    amiss: u32,
}

/// Reconciles for ever.
pub(crate) async fn reconcile(server: Arc<Server>) {
    let mut patience: BTreeMap<InstanceName, Patience> = BTreeMap::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        let names = Store::open(&server.home).and_then(|it| it.names());
        let names = names.unwrap_or_default();
        patience.retain(|name, _| names.contains(name));
        for name in names {
            let known = patience.entry(name.clone()).or_default();
            if known.not_before.is_some_and(|it| Instant::now() < it) {
                continue;
            }
            match one(&server, &name, known).await {
                Ok(()) => known.failed = 0,
                Err(fault) => {
                    let wait = BACK_OFF * 2_u32.saturating_pow(known.failed.min(10));
                    known.failed += 1;
                    known.not_before = Some(Instant::now() + wait.min(BACK_OFF_MAX));
                    tell(&server, &name, &fault);
                }
            }
        }
    }
}

async fn one(server: &Arc<Server>, name: &InstanceName, known: &mut Patience) -> Result<(), Fault> {
    let is_busy = || {
        server.operations.running(name.as_str()).is_some()
            || lock::holder(&server.home, name).is_some()
    };
    // A `down` that was cut off must not be undone: whoever asked for it asks again.
    let is_down = server.accounts.last_verb(name.as_str())?.as_deref() == Some("down");
    if is_down || is_busy() {
        known.amiss = 0;
        return Ok(());
    }
    let Reply::Plan(plan) = server.ask(Command::Up(request(name, true))).await? else {
        return Ok(());
    };
    let steps = plan.phases.iter().map(|it| it.steps.len()).sum();
    server.samples.note_steps(name.as_str(), steps);
    let is_grave = plan
        .findings
        .iter()
        .any(|it| it.severity == Severity::Critical);
    if steps == 0 || is_grave {
        // What cannot be decided safely stands in the instance's findings and asks for a person.
        known.amiss = 0;
        return Ok(());
    }
    known.amiss += 1;
    if known.amiss < SEEN_BEFORE || is_busy() {
        return Ok(());
    }
    known.amiss = 0;
    let approver = Typed {
        name: None,
        by_itself: true,
    };
    let command = Command::Up(request(name, false));
    let task = Task {
        name,
        verb: "up",
        user: USER,
        is_alone: true,
    };
    let begun = server.begin(task, command, approver)?;
    ended(server, &begun.id).await
}

fn request(name: &InstanceName, dry_run: bool) -> UpRequest {
    UpRequest {
        name: name.clone(),
        template: None,
        given: BTreeMap::new(),
        in_arguments: BTreeSet::new(),
        platform: Platform::default(),
        dry_run,
        limit: LIMIT,
    }
}

/// How often an operation is looked at until it has ended.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Waits for the end of an operation; the driver's own limits end it.
async fn ended(server: &Server, id: &str) -> Result<(), Fault> {
    loop {
        let Some(body) = server.operations.get(id) else {
            return Ok(());
        };
        if body.state != "running" {
            return match body.problem {
                None => Ok(()),
                Some(problem) => Err(failed(&problem.title)),
            };
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn failed(title: &str) -> Fault {
    Fault::new(
        "SY6015",
        model::fault::Class::NotConverged,
        format!("the server could not bring the instance to what was asked for: {title}"),
    )
    .with_help("see the plan that it would carry out: shardyard up --name NAME --dry-run")
}

fn tell(server: &Server, name: &InstanceName, fault: &Fault) {
    let finding = FindingBody {
        code: fault.code.to_string(),
        severity: Severity::Warning.as_str().to_owned(),
        subject: name.to_string(),
        message: fault.message.clone(),
        help: fault.help.clone(),
    };
    let instance = name.to_string();
    server
        .hub
        .tell(name.as_str(), EventBody::Finding { instance, finding });
}
