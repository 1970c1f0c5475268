//! Delivers an instance, or makes it match again.
//!
//! The intent is stored first, then the world is made to match it: killed at any point, the next
//! run finds the intent and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use model::fault::{Class, Fault};
use model::finding::{Finding, Severity};
use model::ids::{InstanceName, NodeId, VariableName};
use model::image::ImageRef;
use model::instance::{EngineKind, Instance, Layout, TemplateFiles};
use model::port::AddressRequest;
use model::secret::Secret;
use model::spec::{Spec, Value};
use model::view::{EngineView, ImageView, View};
use plan::layout::{Site, layout, node_count, review, wanted};
use template::{Document, VariableKind};

use crate::command::{Control, Reply};
use crate::converge::{Run, plan_for, policy, settle};
use crate::lock;
use crate::status::{Status, status};

/// What the user wants to be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The instance's name.
    pub name: InstanceName,
    /// The template; `None` for that of the instance there is.
    pub template: Option<TemplateChoice>,
    /// The variables that the user has set.
    pub given: BTreeMap<VariableName, String>,
    /// Those of them that stood among the arguments of a command, where all users can read them.
    pub in_arguments: BTreeSet<VariableName>,
    /// The platform; `None` for the instance's, or the best there is.
    pub engine: Option<EngineKind>,
    /// Show the plan only.
    pub dry_run: bool,
    /// How long workloads may take to come up, and then the cluster to be ready.
    pub limit: Duration,
}

/// A template that the user has chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TemplateChoice {
    /// How the user named it.
    pub named: String,
    /// Its files.
    pub files: TemplateFiles,
}

/// A delivered instance.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// How it is.
    pub status: Status,
    /// Whether it is new.
    pub created: bool,
    /// Whether anything had to be done.
    pub changed: bool,
    /// How long it took.
    pub took: Duration,
}

/// Delivers.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let began = control.hands.clock.now();
    let store = control.store()?;
    // A dry run changes nothing and needs no lock; whoever works meanwhile may overtake it.
    let _lock = if request.dry_run {
        None
    } else {
        Some(lock::take(&control.home, &request.name, "up")?)
    };
    let stored = store.load(&request.name)?;
    let created = stored.is_none();
    let (mut instance, review) = match stored {
        Some(stored) => {
            must_agree(&stored.instance, &request)?;
            (stored.instance, Vec::new())
        }
        None => design(control, &request).await?,
    };
    if request.dry_run {
        let view = control.hands.observe(&instance).await?;
        let mut plan = plan_for(&instance, &view, policy(request.limit))?;
        plan.findings.splice(..0, review);
        return Ok(Reply::Plan(plan));
    }
    // Before anything is looked at: what has died since may be on its way back already.
    control.hands.engine.ensure_minded(&instance.name).await?;
    let who = lock::Operator::me("up");
    let operation = store.begin(&instance.name, "up", &who.user)?;
    let run = Run {
        hands: &control.hands,
        approver: control.approver.as_ref(),
        journal: &operation,
        what: format!("deliver {}", instance.name),
        review,
        policy: policy(request.limit),
    };
    let converged = run.converge(&instance, || store.save(&instance)).await;
    operation.end(&match &converged {
        Ok(_) => "done".to_owned(),
        Err(fault) => format!("{}: {}", fault.code, fault.message),
    })?;
    let converged = converged?;
    if !instance.delivered {
        instance.delivered = true;
        store.save(&instance)?;
    }
    let instance = settle(control, &store, instance).await?;
    let view = control.hands.observe(&instance).await?;
    let status = status(control, &instance, &view);
    Ok(Reply::Delivered(Box::new(Delivery {
        status,
        created,
        changed: converged.changed,
        took: control.hands.clock.now().saturating_sub(began),
    })))
}

/// A new instance, with everything decided and nothing done.
async fn design(control: &Control, request: &Request) -> Result<(Instance, Vec<Finding>), Fault> {
    let Some(choice) = &request.template else {
        return Err(Fault::new(
            "SY4005",
            Class::Usage,
            format!("there is no instance {}", request.name),
        )
        .with_help(format!(
            "name a template to deliver it: shardyard up redis-cluster --name {}",
            request.name
        )));
    };
    let document = Document::read(&choice.files)?;
    must_not_expose(&document, &request.in_arguments)?;
    let mut weak = None;
    let mut generate = |length: usize| match generate_secret(length) {
        Ok(secret) => secret,
        Err(fault) => {
            weak = Some(fault);
            Secret::new(String::new())
        }
    };
    let values = document.values(&request.given, &mut generate)?;
    if let Some(fault) = weak {
        return Err(fault);
    }
    let spec = document.spec(&values)?;
    let images: BTreeSet<ImageRef> = spec.services.iter().map(|it| it.image.clone()).collect();
    let engine = control.hands.engine.observe(&request.name, &images).await?;
    must_have_images(&engine)?;
    let layout = seat(control, request, &spec, &engine).await?;
    let findings = review(&spec, &layout, &engine.hosts);
    must_be_allowed(&findings)?;
    let instance = Instance {
        name: request.name.clone(),
        engine: control.hands.engine.capabilities().kind,
        files: choice.files.clone(),
        values,
        spec,
        layout,
        delivered: false,
    };
    // A file that cannot be rendered is found before anything is stored.
    crate::converge::workloads(&instance, &View::default())?;
    Ok((instance, findings))
}

async fn seat(
    control: &Control,
    request: &Request,
    spec: &Spec,
    engine: &EngineView,
) -> Result<Layout, Fault> {
    let wanted = wanted(spec);
    let wish = AddressRequest {
        instance: request.name.clone(),
        ports: wanted.clone(),
        taken: taken_addresses(control)?,
    };
    let proposed = control.hands.engine.propose_addresses(&wish).await?;
    let addresses = wanted.into_iter().map(|(name, _)| name).zip(proposed);
    let ids = fresh_ids(node_count(spec))?;
    let site = Site {
        hosts: &engine.hosts,
        addresses: &addresses.collect(),
        ids: &ids,
    };
    layout(spec, site).ok_or_else(|| {
        Fault::new(
            "SY4098",
            Class::Failed,
            "the platform names no host, or fewer addresses than were asked for; this is a bug",
        )
    })
}

/// The addresses that other instances of this state hold, whether they run or not.
pub(crate) fn taken_addresses(control: &Control) -> Result<BTreeSet<IpAddr>, Fault> {
    let store = control.store()?;
    let mut taken = BTreeSet::new();
    for name in store.names()? {
        // One that cannot be read must not keep all others from being delivered.
        if let Ok(Some(other)) = store.load(&name) {
            taken.extend(other.instance.layout.seats.values().map(|it| it.address.ip));
        }
    }
    Ok(taken)
}

/// The letters of a generated secret: none that a shell, a URL or a config file would read as
/// something else.
const SECRET_LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn generate_secret(length: usize) -> Result<Secret, Fault> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).map_err(|error| no_randomness(&error))?;
        for byte in bytes {
            // 248 is the largest multiple of 62 that a byte can reach: no letter comes more often.
            if byte < 248 && text.len() < length {
                text.push(char::from(SECRET_LETTERS[usize::from(byte % 62)]));
            }
        }
    }
    Ok(Secret::new(text))
}

pub(crate) fn fresh_ids(count: usize) -> Result<Vec<NodeId>, Fault> {
    (0..count)
        .map(|_| {
            let mut bytes = [0; 20];
            getrandom::fill(&mut bytes).map_err(|error| no_randomness(&error))?;
            Ok(NodeId::from_bytes(bytes))
        })
        .collect()
}

fn no_randomness(error: &getrandom::Error) -> Fault {
    Fault::new(
        "SY4008",
        Class::Failed,
        "the system gives no random numbers, and ids and passwords need them",
    )
    .with_cause(error)
}

/// A secret among the arguments of a command is one that every user of the host can read.
pub(crate) fn must_not_expose(
    document: &Document,
    exposed: &BTreeSet<VariableName>,
) -> Result<(), Fault> {
    let is_secret = |name: &VariableName| {
        let mut variables = document.variables().iter();
        variables.any(|it| it.name == *name && matches!(it.kind, VariableKind::Secret))
    };
    match exposed.iter().find(|name| is_secret(name)) {
        None => Ok(()),
        Some(name) => Err(Fault::new(
            "SY4015",
            Class::Usage,
            format!("{name} is a secret, and every user of this host can read arguments"),
        )
        .with_help(format!(
            "put `{name}: …` into a file of yours (-f FILE) or hand it over by stdin (-f -); if \
             this one is in use elsewhere, change it there"
        ))),
    }
}

fn must_have_images(engine: &EngineView) -> Result<(), Fault> {
    for (image, view) in &engine.images {
        if let ImageView::Missing { reason, help } = view {
            return Err(Fault::new(
                "SY2106",
                Class::Refused,
                format!("{image} is not to be had: {reason}"),
            )
            .with_help(help));
        }
    }
    Ok(())
}

fn must_be_allowed(findings: &[Finding]) -> Result<(), Fault> {
    let critical = findings
        .iter()
        .find(|finding| finding.severity == Severity::Critical);
    match critical {
        None => Ok(()),
        Some(finding) => {
            let message = format!("{}: {}", finding.subject, finding.message);
            let mut fault = Fault::new(finding.code.0, Class::Refused, message);
            fault.help.clone_from(&finding.help);
            Err(fault)
        }
    }
}

/// `up` makes an instance match what was asked for; it does not change what was asked for.
fn must_agree(instance: &Instance, request: &Request) -> Result<(), Fault> {
    let name = &instance.name;
    let differs =
        |what: String, help: String| Err(Fault::new("SY4009", Class::Usage, what).with_help(help));
    if let Some(choice) = &request.template
        && choice.files != instance.files
        && Document::read(&choice.files)?.name() != &instance.spec.template
    {
        return differs(
            format!(
                "instance {name} is made from template {}, not from {}",
                instance.spec.template, choice.named
            ),
            format!("deliver {} under another name: --name", choice.named),
        );
    }
    if let Some(engine) = request.engine.filter(|engine| *engine != instance.engine) {
        return differs(
            format!(
                "instance {name} runs on engine {}, not on {engine}",
                instance.engine
            ),
            "leave --engine out".to_owned(),
        );
    }
    let document = Document::read(&instance.files)?;
    must_not_expose(&document, &request.in_arguments)?;
    let asked = document.values(&request.given, &mut |_| Secret::new(String::new()))?;
    for variable in request.given.keys() {
        let (asked, has) = (asked.get(variable), instance.values.get(variable));
        if asked != has {
            return differs(
                format!(
                    "instance {name} was delivered with {variable}={}, and up does not change that",
                    shown(has)
                ),
                format!(
                    "leave {variable} out; to have {variable}={} deliver another instance, or \
                     take this one down with --delete-data first",
                    shown(asked)
                ),
            );
        }
    }
    Ok(())
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
