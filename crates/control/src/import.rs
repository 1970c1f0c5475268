//! Brings the keys of a server that is in no cluster into one.
//!
//! Nothing is stored about it: whoever is cut off looks again and goes on from what is. It never
//! takes a key from its source that the cluster has not acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::address::NodeAddress;
use model::command::{CommandError, NodeAnswer, NodeCommand};
use model::event::{Audience, Event};
use model::fault::{Class, Code, Fault};
use model::finding::{Finding, Severity};
use model::outline::Outline;
use model::step::Outcome;
use model::view::NodeView;
use plan::import::{self as decide, Source};
use plan::tend::Seen;
use serde::{Deserialize, Serialize};

use crate::approve::Question;
use crate::approve::refused;
use crate::command::{Cluster, Control, Reply};
use crate::execute::{Scene, execute};
use crate::hands::Hands;
use crate::tend::{Manner, lock_of_ours, policy_of};
use crate::trib::{ClusterInfo, NoJournal, describe, find};
use crate::wait;

/// How long a server may take to say how many keys it has.
const COUNT_LIMIT: Duration = Duration::from_secs(5);

/// A wish to bring keys into a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The cluster.
    pub cluster: Cluster,
    /// The server whose keys come in.
    pub source: Cluster,
    /// Whether they stay there as well.
    pub copies: bool,
    /// How they move.
    pub manner: Manner,
    /// Show the plan only.
    pub dry_run: bool,
    /// How long nodes may take to agree.
    pub limit: Duration,
}

/// Keys that were brought in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// Where they come from.
    pub source: NodeAddress,
    /// Whether they stay there as well.
    pub copies: bool,
    /// How many there were.
    pub keys_before: u64,
    /// How many came in now.
    pub keys_moved: u64,
    /// How many are there now.
    pub keys_left: u64,
    /// The cluster as it is now.
    pub cluster: ClusterInfo,
    /// What should be known.
    pub findings: Vec<Finding>,
    /// Whether anything was done.
    pub changed: bool,
    /// How long it took.
    pub took: Duration,
}

/// Does it.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let began = control.hands.clock.now();
    let _lock = if request.dry_run {
        None
    } else {
        lock_of_ours(control, request.cluster.seed, "import")?
    };
    let (nodes, view) = find(control, &request.cluster).await?;
    let seen = Seen {
        nodes: &nodes,
        view: &view,
    };
    let source = look(control, &request.source).await;
    let databases = match source.report() {
        Some(_) => databases(control, &request.source).await?,
        None => BTreeMap::new(),
    };
    let named = Source {
        address: request.source.seed,
        view: &source,
        databases: &databases,
    };
    let wish = decide::Wish {
        copies: request.copies,
        manner: policy_of(request.manner, request.limit).manner,
    };
    let plan = decide::import(seen, named, wish).map_err(refused)?;
    if request.dry_run {
        return Ok(Reply::Plan(Outline::from(&plan)));
    }
    let keys_before = databases.values().sum();
    let mut keys_moved = 0;
    if !plan.is_empty() {
        control.approver.approve(Question::Plan {
            what: &format!(
                "import {} into the cluster of {}",
                request.source.seed, request.cluster.seed
            ),
            plan: &Outline::from(&plan),
            findings: &[],
        })?;
        keys_moved = carry_out(control, &request, &plan).await?;
    }
    let keys_left = self::databases(control, &request.source).await?;
    let keys_left = keys_left.values().sum();
    let (nodes, view) = find(control, &request.cluster).await?;
    Ok(Reply::Imported(Box::new(Imported {
        source: request.source.seed,
        copies: request.copies,
        keys_before,
        keys_moved,
        keys_left,
        cluster: describe(&nodes, &view),
        findings: still_there(&request, keys_left),
        changed: keys_moved > 0,
        took: control.hands.clock.now().saturating_sub(began),
    })))
}

async fn look(control: &Control, source: &Cluster) -> NodeView {
    let credentials = source.credentials.as_ref();
    let nodes = &control.hands.nodes;
    let mut seen = nodes.observe(&[source.seed], credentials).await;
    seen.remove(&source.seed).unwrap_or(NodeView::Silent {
        reason: "nothing came of it".to_owned(),
    })
}

/// The keys of each database of a server.
async fn databases(control: &Control, source: &Cluster) -> Result<BTreeMap<u32, u64>, Fault> {
    let credentials = source.credentials.as_ref();
    let question = [NodeCommand::Databases];
    let nodes = &control.hands.nodes;
    let sent = nodes.send(source.seed, &question, credentials, COUNT_LIMIT);
    let why = match sent.await.pop() {
        Some(Ok(NodeAnswer::Databases(databases))) => return Ok(databases),
        Some(Err(CommandError::Lost(fault))) => return Err(fault),
        Some(Err(CommandError::Refused(words))) => words,
        Some(Ok(_)) | None => "an answer of another kind came".to_owned(),
    };
    let message = format!("{} refused INFO keyspace: {why}", source.seed);
    Err(Fault::new("SY2004", Class::Failed, message))
}

/// How many keys have come in.
async fn carry_out(
    control: &Control,
    request: &Request,
    plan: &model::step::Plan,
) -> Result<u64, Fault> {
    let counter = Arc::new(Counter {
        audience: control.hands.audience.clone(),
        keys: Mutex::default(),
    });
    let hands = Hands {
        audience: counter.clone(),
        ..control.hands.clone()
    };
    let scene = Scene::Import {
        cluster: request.cluster.credentials.as_ref(),
        source: request.source.credentials.as_ref(),
    };
    match execute(&hands, scene, plan, &NoJournal).await? {
        Outcome::Done => Ok(counter.keys()),
        Outcome::Failed(fault) => Err(fault),
        Outcome::Interrupted => Err(wait::interrupted()),
    }
}

/// Counts the keys that come in on the way to who hears of them.
struct Counter {
    audience: Arc<dyn Audience>,
    keys: Mutex<u64>,
}

impl Counter {
    fn keys(&self) -> u64 {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience for Counter {
    fn tell(&self, event: Event) {
        if let Event::Moving(progress) = &event {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            *keys = progress.keys_done;
        }
        self.audience.tell(event);
    }
}

/// Keys that somebody wrote to the source meanwhile, or that have expired and are still counted.
fn still_there(request: &Request, keys_left: u64) -> Vec<Finding> {
    if request.copies || keys_left == 0 {
        return Vec::new();
    }
    vec![Finding {
        code: Code("SY4052"),
        severity: Severity::Warning,
        subject: request.source.seed.to_string(),
        message: format!("{keys_left} keys are there that were not when it was looked through"),
        help: Some("have its clients stop writing there, and run it again".to_owned()),
    }]
}
