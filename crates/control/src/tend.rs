//! Changes a cluster that is known by one of its nodes, ours or not: settles slots, moves them, has
//! nodes join and go.
//!
//! Nothing is stored about it: whoever is cut off looks again and goes on from what is. Where the
//! nodes are those of an instance of ours, its lock is held meanwhile.

use std::time::Duration;

use model::address::NodeAddress;
use model::command::{NodeAnswer, NodeCommand};
use model::fault::{Class, Code, Fault};
use model::finding::{Finding, Severity};
use model::ids::InstanceName;
use model::migration::{MoveManner, SlotMove};
use model::outline::Outline;
use model::slots::SlotSet;
use model::step::{Member, Outcome, Plan, Step, StewardStep};
use model::view::ClusterView;
use plan::fix::{self, Consent};
use plan::policy::Policy;
use plan::tend::{self, Drain, Grow, Join, Named, Next, Rebalance, Refusal, Reshard, Seen};
use plan::{check, policy::USUAL_MANNER};
use serde::{Deserialize, Serialize};

use crate::approve::Question;
use crate::command::{Cluster, Control, Reply};
use crate::converge::policy;
use crate::execute::{Scene, execute};
use crate::proof::{Probe, Proof};
use crate::scale::{Measure, Pace};
use crate::trib::{ClusterInfo, NoJournal, describe, find};
use crate::word::{self, Known};
use crate::{census, lock, wait};

/// How many plans a wish may take that is planned again after each: what a fix settles can show
/// what it hid; those that leave hand over, then give, and then others take their place.
const PLANS_MAX: usize = 4;

/// How long a setting may take to be asked for.
const SETTING_LIMIT: Duration = Duration::from_secs(5);

/// What is to be done to a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wish {
    /// Settle every slot.
    Fix {
        /// Give up what only nodes have that do not answer.
        unreachable: bool,
    },
    /// Give a primary more slots.
    Reshard(Reshard),
    /// Give each primary its share.
    Rebalance {
        /// The shares.
        shares: Rebalance,
        /// By what a slot is weighed.
        by: Measure,
    },
    /// A node joins.
    Join(Join),
    /// A node goes; its server runs on.
    Leave(Named),
    /// Nodes that a platform has added come to use.
    Grow(Grow),
    /// Nodes that a platform takes away are emptied.
    Drain(Drain),
    /// The time after which a silent node counts as dead.
    SetTimeout(Duration),
}

/// The words for what can be done to a cluster.
pub(crate) const VERBS: [&str; 8] = [
    "fix",
    "reshard",
    "rebalance",
    "add-node",
    "del-node",
    "grow",
    "drain",
    "set-timeout",
];

impl Wish {
    /// The word for it, as redis-trib has it.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Fix { .. } => "fix",
            Self::Reshard(_) => "reshard",
            Self::Rebalance { .. } => "rebalance",
            Self::Join(_) => "add-node",
            Self::Leave(_) => "del-node",
            Self::Grow(_) => "grow",
            Self::Drain(_) => "drain",
            Self::SetTimeout(_) => "set-timeout",
        }
    }
}

/// How keys are moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Manner {
    /// How fast.
    pub pace: Pace,
    /// The most keys of one `MIGRATE`.
    pub batch_keys_max: Option<u32>,
    /// How long one `MIGRATE` may take.
    pub migrate_timeout: Option<Duration>,
    /// Whether a key that the target has already is overwritten.
    pub replace: bool,
}

/// A wish to change a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The cluster.
    pub cluster: Cluster,
    /// What is to be done.
    pub wish: Wish,
    /// How keys are moved.
    pub manner: Manner,
    /// Show the plan only.
    pub dry_run: bool,
    /// How long nodes may take to agree.
    pub limit: Duration,
}

/// A cluster that was tended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tended {
    /// What was done.
    #[serde(deserialize_with = "word::tending_verb")]
    pub verb: Known,
    /// The cluster as it is now.
    pub cluster: ClusterInfo,
    /// What a check notices now.
    pub findings: Vec<Finding>,
    /// Whether anything had to be done.
    pub changed: bool,
    /// How long it took.
    pub took: Duration,
    /// What a client noticed; nothing where no slot moved.
    pub proof: Option<Proof>,
}

/// Does it.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let began = control.hands.clock.now();
    let seed = request.cluster.seed;
    must_be_its_own(&request.wish, instance_at(control, seed)?.as_ref())?;
    let _lock = if request.dry_run {
        None
    } else {
        lock_of_ours(control, seed, request.wish.verb())?
    };
    let mut notices = Vec::new();
    let mut done = Done::default();
    for _ in 0..rounds(&request.wish) {
        let (nodes, view) = find(control, &request.cluster).await?;
        let seen = Seen {
            nodes: &nodes,
            view: &view,
        };
        let plan = plan_for(control, &request, seen).await?;
        if request.dry_run {
            return Ok(Reply::Plan(Outline::from(&plan)));
        }
        if plan.is_empty() {
            // Why nothing is done about what is left: a person has to decide.
            notices.extend(plan.findings);
            break;
        }
        ask(control, &request, &plan)?;
        done.proof = carry_out(control, &request, &plan, &view)
            .await?
            .or(done.proof);
        done.changed = true;
        if let Wish::SetTimeout(_) = request.wish {
            notices = rewrite(control, &request.cluster, &nodes).await;
        }
    }
    let (nodes, view) = find(control, &request.cluster).await?;
    let mut findings = check::check(&nodes, &view, None);
    notices.retain(|it| !findings.contains(it));
    findings.extend(notices);
    Ok(Reply::Tended(Box::new(Tended {
        verb: request.wish.verb(),
        cluster: describe(&nodes, &view),
        findings: check::worst_first(findings),
        changed: done.changed,
        took: control.hands.clock.now().saturating_sub(began),
        proof: done.proof,
    })))
}

/// What was done so far.
#[derive(Default)]
struct Done {
    changed: bool,
    proof: Option<Proof>,
}

const fn rounds(wish: &Wish) -> usize {
    match wish {
        Wish::Fix { .. } | Wish::Grow(_) | Wish::Drain(_) => PLANS_MAX,
        Wish::Reshard(_)
        | Wish::Rebalance { .. }
        | Wish::Join(_)
        | Wish::Leave(_)
        | Wish::SetTimeout(_) => 1,
    }
}

/// The lock of the instance whose node this is.
pub(crate) fn lock_of_ours(
    control: &Control,
    node: NodeAddress,
    verb: &'static str,
) -> Result<Option<lock::Lock>, Fault> {
    let ours = instance_at(control, node)?;
    ours.map(|name| lock::take(&control.home, &name, verb))
        .transpose()
}

/// The instance whose node this is.
fn instance_at(control: &Control, node: NodeAddress) -> Result<Option<InstanceName>, Fault> {
    let store = control.store()?;
    for name in store.names()? {
        // One that cannot be read is not the one that we work on.
        if let Ok(Some(stored)) = store.load(&name) {
            let mut seats = stored.instance.layout.seats.values();
            if seats.any(|it| it.address == node) {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}

/// Which nodes an instance has is stored with it: one that joined beside it would be taken for a
/// stranger's, and one that left would be brought back.
fn must_be_its_own(wish: &Wish, instance: Option<&InstanceName>) -> Result<(), Fault> {
    let (Some(name), Wish::Join(_) | Wish::Leave(_) | Wish::Grow(_) | Wish::Drain(_)) =
        (instance, wish)
    else {
        return Ok(());
    };
    let message = format!(
        "the nodes of this cluster are those of instance {name}; {} would not last",
        wish.verb()
    );
    let help = format!("shardyard scale {name} --shards S --replicas R   grows and shrinks it");
    Err(Fault::new("SY4051", Class::Refused, message).with_help(help))
}

async fn plan_for(control: &Control, request: &Request, seen: Seen<'_>) -> Result<Plan, Fault> {
    let policy = policy_of(request.manner, request.limit);
    let credentials = request.cluster.credentials.as_ref();
    match &request.wish {
        Wish::Fix { unreachable } => {
            let held = census::of_disorder(control, credentials, seen.nodes, seen.view).await?;
            let consent = Consent {
                unreachable: *unreachable,
                manner: policy.manner,
            };
            let fix = fix::fix(seen.nodes, seen.view, &held, consent);
            Ok(tend::settled(seen, fix, policy))
        }
        Wish::Reshard(wish) => {
            let moves = tend::reshard(seen, wish)?;
            moved(control, request, seen, (moves, policy)).await
        }
        Wish::Rebalance { shares: wanted, by } => {
            let shares = seen.shares().into_iter();
            let primaries: Vec<(Member, SlotSet)> =
                shares.map(|it| (it.member, it.slots)).collect();
            let loads = census::weighed(control, credentials, &primaries, *by).await?;
            let moves = tend::rebalance(seen, wanted, loads.as_ref())?;
            moved(control, request, seen, (moves, policy)).await
        }
        Wish::Join(wish) => {
            let asked = [wish.node];
            let newcomer = control.hands.nodes.observe(&asked, credentials).await;
            let newcomer = newcomer.get(&wish.node);
            let newcomer = newcomer.ok_or(Refusal::NotAnswering(wish.node))?;
            Ok(tend::join(seen, newcomer, wish, policy)?)
        }
        Wish::Leave(named) => Ok(tend::leave(seen, named, policy)?),
        Wish::Grow(wish) => {
            let mut asked = wish.joining.clone();
            asked.retain(|it| !seen.nodes.contains(it));
            let newcomers = control.hands.nodes.observe(&asked, credentials).await;
            let next = tend::grow(seen, &newcomers, wish, policy)?;
            planned(control, request, seen, (next, policy)).await
        }
        Wish::Drain(wish) => {
            let next = tend::drain(seen, wish, policy)?;
            planned(control, request, seen, (next, policy)).await
        }
        Wish::SetTimeout(timeout) => {
            let value = timeout.as_millis().to_string();
            Ok(tend::set(seen, "cluster-node-timeout", &value))
        }
    }
}

async fn planned(
    control: &Control,
    request: &Request,
    seen: Seen<'_>,
    (next, policy): (Next, Policy),
) -> Result<Plan, Fault> {
    match next {
        Next::Plan(plan) => Ok(plan),
        Next::Moves(moves) => moved(control, request, seen, (moves, policy)).await,
    }
}

pub(crate) fn policy_of(manner: Manner, limit: Duration) -> Policy {
    let mut moves = MoveManner {
        keys_per_second_max: manner.pace.keys_per_second_max,
        replace: manner.replace,
        ..USUAL_MANNER
    };
    if let Some(budget) = manner.pace.latency_max {
        moves.latency_max = Some(budget).filter(|it| !it.is_zero());
    }
    moves.batch_keys_max = manner.batch_keys_max.unwrap_or(moves.batch_keys_max);
    moves.migrate_timeout = manner.migrate_timeout.unwrap_or(moves.migrate_timeout);
    Policy {
        manner: moves,
        ..policy(limit)
    }
}

async fn moved(
    control: &Control,
    request: &Request,
    seen: Seen<'_>,
    (moves, policy): (Vec<SlotMove>, Policy),
) -> Result<Plan, Fault> {
    let credentials = request.cluster.credentials.as_ref();
    let mut stay = Vec::new();
    for member in tend::drained(seen, &moves) {
        let question = [NodeCommand::Setting(tend::REPLICA_MIGRATION.to_owned())];
        let nodes = &control.hands.nodes;
        let answers = nodes
            .send(member.address, &question, credentials, SETTING_LIMIT)
            .await;
        if let Some(Ok(NodeAnswer::Text(value))) = answers.into_iter().next()
            && value == "yes"
        {
            stay.push(member);
        }
    }
    Ok(tend::moved(seen, moves, &stay, policy))
}

fn ask(control: &Control, request: &Request, plan: &Plan) -> Result<(), Fault> {
    let seed = request.cluster.seed;
    control.approver.approve(Question::Plan {
        what: &format!("{} the cluster of {seed}", request.wish.verb()),
        plan: &Outline::from(plan),
        findings: &[],
    })?;
    let lost: Vec<String> = plan
        .findings
        .iter()
        .filter(|it| it.code == GIVEN_UP)
        .map(|it| it.message.clone())
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    control.approver.approve(Question::Loss {
        name: &seed.to_string(),
        lost: &lost,
    })
}

/// What a fix gives up (`plan::fix`).
const GIVEN_UP: Code = Code("SY2501");

/// Carries out a plan, with a client beside it that notices what other clients would.
async fn carry_out(
    control: &Control,
    request: &Request,
    plan: &Plan,
    view: &ClusterView,
) -> Result<Option<Proof>, Fault> {
    let hands = &control.hands;
    let credentials = request.cluster.credentials.as_ref();
    let moving = moving(plan);
    let work = execute(hands, Scene::Servers(credentials), plan, &NoJournal);
    let (outcome, proof) = if moving.is_empty() {
        (work.await?, None)
    } else {
        let probe = Probe::new(hands, credentials, &moving, view);
        let (outcome, proof) = probe.beside(work).await;
        (outcome?, Some(proof))
    };
    match outcome {
        Outcome::Done => Ok(proof),
        Outcome::Failed(fault) => Err(fault),
        Outcome::Interrupted => Err(wait::interrupted()),
    }
}

/// The slots that a plan moves.
pub(crate) fn moving(plan: &Plan) -> SlotSet {
    let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
    let mut moving = SlotSet::empty();
    for step in steps {
        if let Step::Steward(StewardStep::EnsureMoved { moves, .. }) = step {
            for each in moves {
                moving = moving.union(&each.slots);
            }
        }
    }
    moving
}

/// Has each server write its setting into its own configuration, so that it outlives a restart.
async fn rewrite(control: &Control, cluster: &Cluster, nodes: &[NodeAddress]) -> Vec<Finding> {
    let command = ["CONFIG".to_owned(), "REWRITE".to_owned()];
    let credentials = cluster.credentials.as_ref();
    let mut findings = Vec::new();
    for node in nodes {
        let written = control.hands.nodes.call(*node, &command, credentials).await;
        if let Err(fault) = written {
            findings.push(Finding {
                code: Code("SY4050"),
                severity: Severity::Notice,
                subject: node.to_string(),
                message: format!(
                    "the setting is lost with its next restart: {}",
                    fault.message
                ),
                help: Some("write it into the configuration file of the server".to_owned()),
            });
        }
    }
    findings
}
