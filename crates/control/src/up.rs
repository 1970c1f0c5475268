//! Delivers an instance, or makes it match again.
//!
//! The intent is stored first, then the world is made to match it: killed at any point, the next
//! run finds the intent and goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::fault::{Class, Fault};
use model::finding::{Finding, Severity};
use model::ids::{InstanceName, NodeId, VariableName};
use model::image::ImageRef;
use model::instance::{EngineKind, Expose, Instance, Layout, TemplateFiles};
use model::outline::Outline;
use model::port::{AddressRequest, Engine, Fetch};
use model::secret::Secret;
use model::spec::{Spec, Value};
use model::view::{View, WorkloadPhase};
use model::workload::Workload;
use plan::layout::{Site, layout, node_count, review, wanted};
use serde::{Deserialize, Serialize};
use template::{Document, VariableKind};

use crate::command::{Control, Reply};
use crate::converge::{Run, plan_for, policy, settle};
use crate::engines::{self, Choice, Need, choose};
use crate::status::{Status, status};
use crate::{lock, oversee, reach, shares};

/// What the user wants to be delivered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The instance's name.
    pub name: InstanceName,
    /// The template; `None` for that of the instance there is.
    pub template: Option<TemplateChoice>,
    /// The variables that the user has set.
    pub given: BTreeMap<VariableName, String>,
    /// Those of them that stood among the arguments of a command, where all users can read them.
    pub in_arguments: BTreeSet<VariableName>,
    /// On what it is to run.
    pub platform: Platform,
    /// Show the plan only.
    pub dry_run: bool,
    /// How long workloads may take to come up, and then the cluster to be ready.
    pub limit: Duration,
}

/// On what an instance is to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Platform {
    /// The platform; `None` for the instance's, or the best there is.
    pub engine: Option<EngineKind>,
    /// Which addresses clients are told; `None` for the instance's, or those of its network.
    pub expose: Option<ExposeWish>,
    /// What is done about images that the platform does not have.
    pub fetch: Fetch,
    /// Whether workloads may have folders of the host.
    pub host_access: bool,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            engine: None,
            expose: None,
            fetch: Fetch::Missing,
            host_access: false,
        }
    }
}

/// Which addresses clients are to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExposeWish {
    /// Those of the instance's own network.
    Network,
    /// An address of the host; `None` for the one that its platform names.
    Host(Option<IpAddr>),
}

/// A template that the user has chosen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TemplateChoice {
    /// How the user named it.
    pub named: String,
    /// Its files.
    pub files: TemplateFiles,
}

/// A delivered instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
        return Ok(Reply::Plan(Outline::from(&plan)));
    }
    let engine = control.hands.engine(&instance)?;
    // Before anything is looked at: what has died since may be on its way back already.
    engine.ensure_minded(&instance.name).await?;
    if !created {
        let images = images_of(&instance.spec);
        engines::fetch(&control.hands, engine, &images, request.platform.fetch).await?;
    }
    if store.was_cut_off(&instance.name, "down")? {
        await_stops(control, &instance).await?;
    }
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
    let converging = run.converge(&instance, || store.save(&instance));
    let converged = oversee::heeding(control, &instance.name, converging).await?;
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
    let mut status = status(control, &instance, &view);
    reach::reach(control, &instance, &view, (Vec::new(), &mut status)).await;
    Ok(Reply::Delivered(Box::new(Delivery {
        status,
        created,
        changed: converged.changed,
        took: control.hands.clock.now().saturating_sub(began),
    })))
}

/// How long a platform takes to pass on the stops that it was asked for.
const STOPS_LIMIT: Duration = Duration::from_secs(2);

/// The pause between two looks at what stops.
const STOPS_PAUSE: Duration = Duration::from_millis(100);

/// A `down` that was cut off has asked the platform for stops that are still on their way: what
/// looks ready now is stopped a moment later, and nobody would start it again.
async fn await_stops(control: &Control, instance: &Instance) -> Result<(), Fault> {
    let clock = &control.hands.clock;
    let until = clock.now() + STOPS_LIMIT;
    let engine = control.hands.engine(instance)?;
    while clock.now() < until && !control.hands.cancel.is_cancelled() {
        let seen = engine.observe(&instance.name, &BTreeSet::new()).await?;
        let mut workloads = seen.workloads.values();
        if workloads.all(|it| it.phase == WorkloadPhase::Stopped) {
            break;
        }
        clock.sleep(STOPS_PAUSE).await;
    }
    Ok(())
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
    let mut given = request.given.clone();
    let shares = shares::take(&document, &mut given);
    let mut values = document.values(&given, &mut generate)?;
    if let Some(fault) = weak {
        return Err(fault);
    }
    let mut spec = document.spec(&values)?;
    must_not_touch_the_host(&spec, request.platform.host_access)?;
    let images = images_of(&spec);
    let need = Need {
        instance: &request.name,
        images: &images,
        fetch: fetch_of(request),
    };
    let chosen = choose(&control.hands, request.platform.engine, need).await?;
    if !shares.is_empty() {
        shares::fill(&document, &shares, (&spec, &chosen.view.hosts), &mut values)?;
        spec = document.spec(&values)?;
    }
    let expose = expose(&chosen.engine, request.platform.expose).await?;
    let layout = seat(control, request, &spec, (&chosen, expose)).await?;
    let mut findings: Vec<Finding> = chosen.why.into_iter().collect();
    findings.extend(review(&spec, &layout, &chosen.view.hosts));
    must_be_allowed(&findings)?;
    let instance = Instance {
        name: request.name.clone(),
        engine: chosen.engine.capabilities().kind,
        expose,
        files: choice.files.clone(),
        values,
        spec,
        layout,
        delivered: false,
        change: None,
    };
    // What cannot be rendered, or not be run there, is found before anything is stored.
    let workloads = crate::converge::workloads(&instance, &View::default())?;
    let workloads: Vec<Workload> = workloads.into_values().collect();
    findings.extend(chosen.engine.review(&instance.name, &workloads).await?);
    must_be_allowed(&findings)?;
    Ok((instance, findings))
}

fn images_of(spec: &Spec) -> BTreeSet<ImageRef> {
    spec.services.iter().map(|it| it.image.clone()).collect()
}

/// A dry run fetches nothing.
const fn fetch_of(request: &Request) -> Fetch {
    match request.platform.fetch {
        Fetch::Missing | Fetch::Always if request.dry_run => Fetch::Look,
        same @ (Fetch::Look | Fetch::Missing | Fetch::Always | Fetch::Never) => same,
    }
}

async fn expose(engine: &Arc<dyn Engine>, wish: Option<ExposeWish>) -> Result<Expose, Fault> {
    match wish {
        None | Some(ExposeWish::Network) => Ok(Expose::Network),
        Some(ExposeWish::Host(address)) => {
            // It is asked in any case: a platform without such addresses says so.
            let own = engine.outside_address().await?;
            Ok(Expose::Host(address.unwrap_or(own)))
        }
    }
}

/// A folder of the host in a workload's hands is power over the host.
fn must_not_touch_the_host(spec: &Spec, allowed: bool) -> Result<(), Fault> {
    let mut folders = spec.services.iter().flat_map(|service| {
        let volumes = service.container.volumes.iter();
        volumes.filter_map(|it| Some((&service.name, it.host_folder.as_ref()?)))
    });
    match folders.next() {
        Some((service, folder)) if !allowed => Err(Fault::new(
            "SY4032",
            Class::Refused,
            format!("service {service} asks for {folder} of the host"),
        )
        .with_help(
            "--allow-host-access gives it that: whoever gets into the workload can then read and \
             change what is there, and a socket of Docker is as good as being root on the host",
        )),
        Some(_) | None => Ok(()),
    }
}

async fn seat(
    control: &Control,
    request: &Request,
    spec: &Spec,
    (choice, expose): (&Choice, Expose),
) -> Result<Layout, Fault> {
    let wanted = wanted(spec);
    let wish = AddressRequest {
        instance: request.name.clone(),
        ports: wanted.clone(),
        without_bus: spec.without_bus(),
        taken: taken_addresses(control)?,
        expose,
    };
    let proposed = choice.engine.propose_addresses(&wish).await?;
    let addresses = wanted.into_iter().map(|(name, _)| name).zip(proposed);
    let ids = fresh_ids(node_count(spec))?;
    let site = Site {
        hosts: &choice.view.hosts,
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

/// A number that nothing else has.
pub(crate) fn fresh_number() -> Result<u64, Fault> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| no_randomness(&error))?;
    Ok(u64::from_be_bytes(bytes))
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

pub(crate) fn must_be_allowed(findings: &[Finding]) -> Result<(), Fault> {
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
    let wish = request.platform;
    if let Some(engine) = wish.engine.filter(|engine| *engine != instance.engine) {
        return differs(
            format!(
                "instance {name} runs on engine {}, not on {engine}",
                instance.engine
            ),
            "leave --engine out".to_owned(),
        );
    }
    let same = match (wish.expose, instance.expose) {
        (None, _)
        | (Some(ExposeWish::Network), Expose::Network)
        | (Some(ExposeWish::Host(None)), Expose::Host(_)) => true,
        (Some(ExposeWish::Host(Some(asked))), Expose::Host(has)) => asked == has,
        (Some(ExposeWish::Network), Expose::Host(_))
        | (Some(ExposeWish::Host(_)), Expose::Network) => false,
    };
    if !same {
        return differs(
            format!("instance {name} is exposed in another way, and up does not change that"),
            "leave --expose out, or deliver another instance".to_owned(),
        );
    }
    let document = Document::read(&instance.files)?;
    must_not_expose(&document, &request.in_arguments)?;
    let mut given = request.given.clone();
    // The share of the host that it took once stays what it is.
    shares::take(&document, &mut given);
    let asked = document.values(&given, &mut |_| Secret::new(String::new()))?;
    for variable in given.keys() {
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
