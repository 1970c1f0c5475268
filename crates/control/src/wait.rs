//! Waits until something is true, with a limit, and says what still keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::address::NodeAddress;
use model::event::Event;
use model::fault::{Class, Code, Fault};
use model::ids::WorkloadName;
use model::image::ImageRef;
use model::instance::Instance;
use model::port::LogRequest;
use model::spec::Credentials;
use model::step::{Condition, Wait};
use model::view::{EngineView, NodeView, WorkloadPhase};
use plan::ready::{self, Obstacle};

use crate::execute::Scene;
use crate::hands::Hands;

/// The shortest pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A pause is this part of the time waited so far: what comes soon is seen at once, and what takes
/// minutes is not asked about fifty times a second.
const PAUSE_PART: u32 = 40;

/// The pause before a node's word is passed on again. It leaves with the next tick of 100 ms, and
/// costs the pair its link, which the tick after that makes anew.
const NUDGE_PAUSE: Duration = Duration::from_millis(250);

/// How many words are passed on at once. Half of all pairs of a hundred new nodes are 5000, and
/// a server takes as many in a tenth of a second.
const NUDGES_MAX: usize = 8192;

/// How often the audience hears what is waited for.
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// How long a workload may be stopped while it is waited for. Nobody starts it but a plan: a stop
/// that was under way when the plan was made (its tool was killed, its platform carries on) is
/// seen only now.
const STOPPED_MAX: Duration = Duration::from_secs(1);

/// A workload was stopped by somebody else while it was waited for: it takes another plan.
pub(crate) const STOPPED: Code = Code("SY4025");

/// How long servers in cluster mode may be alone each where the template forms no cluster and its
/// jobs are done. Somebody's own script may be at it; nobody needs ten minutes.
const ALONE_MAX: Duration = Duration::from_secs(30);

/// After so many restarts a workload that does not come up counts as one that never will.
const RESTARTS_MAX: u32 = 3;

/// How many of a log's last lines are shown with a failure.
const LOG_LINES: usize = 10;

/// Waits.
pub(crate) async fn until(hands: &Hands, scene: Scene<'_>, wait: &Wait) -> Result<(), Fault> {
    match &wait.until {
        Condition::Healthy(workloads) => {
            healthy(hands, scene.instance()?, workloads, wait.limit).await
        }
        Condition::Agreed(nodes) => {
            let what = Goal::Agreed;
            ready(hands, scene, nodes, (what, wait.limit)).await
        }
        Condition::Ready(nodes) => {
            let what = Goal::Ready;
            ready(hands, scene, nodes, (what, wait.limit)).await
        }
    }
}

/// The pauses between looks, and the word to the audience now and then.
struct Pace<'a> {
    hands: &'a Hands,
    began: Duration,
    limit: Duration,
    told: Duration,
}

impl<'a> Pace<'a> {
    fn new(hands: &'a Hands, limit: Duration) -> Self {
        let began = hands.clock.now();
        Self {
            hands,
            began,
            limit,
            told: began,
        }
    }

    /// How long it has been waited.
    const fn waited(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// Pauses; an error where the limit is over or the user wants to stop. `looked` is when the
    /// last look began: looking never takes more than half of the time.
    async fn pause(&mut self, looked: Duration, on: &str) -> Result<(), Fault> {
        let now = self.hands.clock.now();
        let since = now.saturating_sub(self.began);
        if self.hands.cancel.is_cancelled() {
            return Err(interrupted());
        }
        if since >= self.limit {
            return Err(Fault::new(
                "SY4001",
                Class::NotConverged,
                format!("not there after {} s: {on}", self.limit.as_secs()),
            )
            .with_help("what was asked for stays asked for: run it again to go on waiting"));
        }
        if now.saturating_sub(self.told) >= TELL_PAUSE {
            self.told = now;
            self.hands.tell(Event::Waiting {
                on: on.to_owned(),
                since,
            });
        }
        // Looking costs the servers more than it costs us: never more than a third of the time.
        let spent = now.saturating_sub(looked) * 2;
        let pause = (since / PAUSE_PART).clamp(PAUSE_MIN, PAUSE_MAX);
        self.hands.clock.sleep(pause.max(spent)).await;
        Ok(())
    }
}

pub(crate) fn interrupted() -> Fault {
    Fault::new("SY4002", Class::Interrupted, "interrupted by the user")
        .with_help("run it again: it goes on from where it is")
}

async fn healthy(
    hands: &Hands,
    instance: &Instance,
    workloads: &[WorkloadName],
    limit: Duration,
) -> Result<(), Fault> {
    let images: BTreeSet<ImageRef> = BTreeSet::new();
    let servers = plan::converge::server_addresses(instance);
    let mut pace = Pace::new(hands, limit);
    let mut stopped = Stopped::default();
    loop {
        let looked = hands.clock.now();
        let engine = hands.engine(instance)?;
        let engine = engine.observe(&instance.name, &images).await?;
        stopped.check(looked, &engine, workloads)?;
        let mut pending = None;
        let mut up = Vec::new();
        for name in workloads {
            let workload = engine.workloads.get(name);
            match workload.map(|it| (&it.phase, it.restarts)) {
                Some((WorkloadPhase::Running { healthy: true }, _)) => {
                    let address = instance.layout.seats.get(name).map(|seat| seat.address);
                    up.extend(address.filter(|it| servers.contains(it)));
                }
                Some((WorkloadPhase::Ended(ending), _)) => {
                    return Err(died(hands, instance, name, &ending.to_string()).await);
                }
                Some((WorkloadPhase::Restarting { last, .. }, restarts))
                    if restarts >= RESTARTS_MAX =>
                {
                    return Err(died(hands, instance, name, &last.to_string()).await);
                }
                Some((WorkloadPhase::Held { reason }, _)) => {
                    pending = Some(format!("{name} is kept from starting: {reason}"));
                }
                Some((WorkloadPhase::Restarting { .. }, _)) => {
                    pending = Some(format!("{name} starts again"));
                }
                Some((WorkloadPhase::Running { .. } | WorkloadPhase::Stopped, _)) | None => {
                    pending = Some(format!("{name} is not up yet"));
                }
            }
        }
        if pending.is_none() {
            pending = unanswering(hands, instance, &up).await?;
        }
        match pending {
            None => return Ok(()),
            Some(on) => pace.pause(looked, &on).await?,
        }
    }
}

/// Since when a workload that is waited for has been stopped.
#[derive(Default)]
struct Stopped {
    since: Option<Duration>,
}

impl Stopped {
    /// An error where one of the workloads has been stopped for too long.
    fn check(
        &mut self,
        now: Duration,
        engine: &EngineView,
        workloads: &[WorkloadName],
    ) -> Result<(), Fault> {
        let is_stopped = |name: &&WorkloadName| match engine.workloads.get(name) {
            None => true,
            Some(it) => it.phase == WorkloadPhase::Stopped,
        };
        let Some(name) = workloads.iter().find(is_stopped) else {
            self.since = None;
            return Ok(());
        };
        if now.saturating_sub(*self.since.get_or_insert(now)) < STOPPED_MAX {
            return Ok(());
        }
        let message = format!("{name} was stopped while it was waited for");
        Err(Fault::new(STOPPED.0, Class::NotConverged, message)
            .with_help("is somebody else at work on it? run it again to start it"))
    }
}

/// The first of the servers that does not answer yet.
async fn unanswering(
    hands: &Hands,
    instance: &Instance,
    servers: &[NodeAddress],
) -> Result<Option<String>, Fault> {
    let credentials = instance.spec.operator.as_ref();
    let view = hands.nodes.observe(servers, credentials).await;
    for (address, node) in &view {
        match node {
            NodeView::Answering(_) => {}
            NodeView::Silent { reason } => return Ok(Some(reason.clone())),
            NodeView::Loading => return Ok(Some(format!("{address} is loading its data"))),
            NodeView::Refusing { reason } => {
                return Err(Fault::new(
                    "SY2002",
                    Class::Refused,
                    format!("{address} does not let us in: {reason}"),
                )
                .with_help("its configuration names another password than the instance has"));
            }
        }
    }
    Ok(None)
}

async fn died(hands: &Hands, instance: &Instance, name: &WorkloadName, how: &str) -> Fault {
    let request = LogRequest {
        workload: name.clone(),
        tail: LOG_LINES,
        follow: false,
    };
    let mut lines = Vec::new();
    let mut take = |line: &str| lines.push(line.to_owned());
    if let Ok(engine) = hands.engine(instance) {
        let _ = engine.logs(&instance.name, &request, &mut take).await;
    }
    Fault::new(
        "SY4003",
        Class::Failed,
        format!("{name} does not stay up: {how}"),
    )
    .with_detail(lines)
    .with_help(format!("shardyard logs {} {name}", instance.name))
}

/// What of a cluster is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// All nodes have heard of each other.
    Agreed,
    /// It is ready.
    Ready,
}

/// Waits until the cluster of these servers is ready, or agreed: by their own word, all of them,
/// and for ready by a write to each slot.
async fn ready(
    hands: &Hands,
    scene: Scene<'_>,
    nodes: &[NodeAddress],
    (goal, limit): (Goal, Duration),
) -> Result<(), Fault> {
    let credentials = scene.credentials();
    let mut pace = Pace::new(hands, limit);
    let mut stopped = Stopped::default();
    let forms_itself = scene.instance().is_ok_and(|it| {
        let services = &it.spec.services;
        services.iter().all(|service| service.cluster.is_none())
    });
    let mut nudged: Option<Duration> = None;
    loop {
        let looked = hands.clock.now();
        let view = hands.nodes.observe(nodes, credentials).await;
        let mut obstacles = ready::obstacles(nodes, &view);
        if let Some(refusing) = obstacles.iter().find(|it| is_final(it)) {
            let message = refusing.to_string();
            return Err(Fault::new("SY2002", Class::Refused, message));
        }
        if goal == Goal::Agreed {
            obstacles.retain(ready::is_disagreement);
        }
        if obstacles.iter().any(is_silence) {
            still_run(hands, scene, (nodes, looked), &mut stopped).await?;
        }
        let alone = pace.waited(looked) >= ALONE_MAX && obstacles.iter().any(is_unowned);
        if forms_itself && alone && all_alone(&view) {
            return Err(nobody_forms());
        }
        let on = match (obstacles.first(), goal) {
            (Some(obstacle), _) => obstacle.to_string(),
            (None, Goal::Agreed) => return Ok(()),
            (None, Goal::Ready) => {
                let primaries = ready::primaries(nodes, &view);
                match hands.nodes.probe(&primaries, credentials).await {
                    Ok(()) => return Ok(()),
                    Err(fault) => fault.message,
                }
            }
        };
        if nudged.is_none_or(|at| looked.saturating_sub(at) >= NUDGE_PAUSE) {
            nudge(hands, &obstacles, credentials).await;
            nudged = Some(looked);
        }
        pace.pause(looked, &on).await?;
    }
}

/// An error where one of these servers has been stopped for too long.
async fn still_run(
    hands: &Hands,
    scene: Scene<'_>,
    (nodes, now): (&[NodeAddress], Duration),
    stopped: &mut Stopped,
) -> Result<(), Fault> {
    let Scene::Instance(instance) = scene else {
        return Ok(());
    };
    let workloads: Vec<WorkloadName> = nodes
        .iter()
        .filter_map(|node| instance.layout.workload_at(*node).cloned())
        .collect();
    let engine = hands.engine(instance)?;
    let engine = engine.observe(&instance.name, &BTreeSet::new()).await?;
    stopped.check(now, &engine, &workloads)
}

/// Whether each node that answers knows itself alone.
fn all_alone(view: &BTreeMap<NodeAddress, NodeView>) -> bool {
    let clusters = view.values().filter_map(|it| it.report()?.cluster.as_ref());
    clusters.into_iter().all(|it| it.peers.len() <= 1)
}

fn nobody_forms() -> Fault {
    let message = "the servers run in cluster mode, each alone, and nothing in the template forms \
                   a cluster of them";
    Fault::new("SY4026", Class::Unhealthy, message).with_help(
        "give the service a `cluster:` part or the template a job that forms it (as in \
         redis-sharding); for now: shardyard trib create HOST:PORT …",
    )
}

const fn is_unowned(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Unowned { .. })
}

const fn is_silence(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Silent { .. })
}

/// Whether waiting is of no use.
const fn is_final(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Refusing { .. })
}

/// Has nodes tell others what those have not heard. One that fails is tried again with the next.
async fn nudge(hands: &Hands, obstacles: &[Obstacle], credentials: Option<&Credentials>) {
    let steps = ready::nudges(obstacles);
    let words = steps
        .iter()
        .take(NUDGES_MAX)
        .map(|step| hands.nodes.apply(step, credentials));
    futures::future::join_all(words).await;
}
