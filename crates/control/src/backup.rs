//! Backs a cluster up: one RDB file for each primary, and `nodes.json`, which says what is in them.
//!
//! It changes nothing in the cluster, and nothing in a folder that is not empty. Each file is the
//! data of one shard at one moment, and those moments differ. `nodes.json` comes last: where it is,
//! the backup is whole.

mod folder;
mod manifest;
mod rdb;

use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use model::address::NodeAddress;
use model::command::{AtomicState, NodeAnswer, NodeCommand};
use model::event::Event;
use model::fault::{Class, Fault};
use model::outline::OutlinePhase;
use model::size::ByteSize;
use model::slots::SlotSet;
use model::spec::Credentials;
use model::step::Member;
use model::view::{Replication, ReplicationLink};
use plan::backup::{self as decide, Part, Parts, Refusal, Wish};
use plan::tend::Seen;
use serde::{Deserialize, Serialize};

use self::folder::Folder;
use self::rdb::Judge;
use crate::command::{Cluster, Control, Reply};
use crate::trib::{ClusterInfo, describe, find};
use crate::wait;

/// How many parts are taken at once: each makes a server fork, and all share one disk here.
const AT_ONCE: usize = 16;

/// How long a question may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// How long a replica may take to have what its primary had when the backup began. One that takes
/// longer is not asked: its primary is.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The file that says what is in the others.
const MANIFEST: &str = "nodes.json";

/// A wish for a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The cluster.
    pub cluster: Cluster,
    /// Where it goes.
    pub directory: PathBuf,
    /// What it is to consist of.
    pub wish: Wish,
}

/// A backup that was taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Backup {
    /// Where it is.
    pub directory: PathBuf,
    /// When it was begun, RFC 3339.
    pub taken_at: String,
    /// The cluster.
    pub cluster: ClusterInfo,
    /// The slots that are in no file.
    pub missing: SlotSet,
    /// The files.
    pub files: Vec<BackupFile>,
    /// How long it took.
    pub took: Duration,
}

/// A file of a backup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BackupFile {
    /// The shard.
    pub part: Part,
    /// From which of its nodes it was taken.
    pub source: NodeAddress,
    /// Its name in the folder.
    pub name: String,
    /// Its size.
    pub size: ByteSize,
    /// The version of its format.
    pub rdb_version: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its own checksum; `None` where the server writes none.
    pub crc64: Option<u64>,
}

impl Backup {
    /// What `nodes.json` says.
    #[must_use]
    pub fn manifest(&self) -> serde_json::Value {
        manifest::manifest(self)
    }
}

/// Does it.
pub(crate) async fn run(control: &Control, request: Request) -> Result<Reply, Fault> {
    let began = control.hands.clock.now();
    let taken_at = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let (nodes, parts) = look(control, &request).await?;
    let folder = Folder::new(&request.directory)?;
    let memory = parts.parts.iter().map(|it| it.memory.as_bytes()).sum();
    folder.must_have_room(ByteSize::bytes(memory))?;
    let taken = tokio::select! {
        taken = take_all(control, &request, &folder, &parts) => taken,
        () = control.hands.cancel.cancelled() => Err(wait::interrupted()),
    };
    let files = taken.map_err(|fault| with_partial(fault, &folder))?;
    let backup = Backup {
        directory: request.directory.clone(),
        taken_at,
        cluster: nodes,
        missing: parts.missing.clone(),
        files,
        took: control.hands.clock.now().saturating_sub(began),
    };
    finish(control, &request, (&folder, &parts), &backup)
        .await
        .map_err(|fault| with_partial(fault, &folder))?;
    Ok(Reply::BackedUp(Box::new(backup)))
}

/// The cluster, and what a backup of it consists of.
async fn look(control: &Control, request: &Request) -> Result<(ClusterInfo, Parts), Fault> {
    let (nodes, view) = find(control, &request.cluster).await?;
    let seen = Seen {
        nodes: &nodes,
        view: &view,
    };
    let parts = decide::parts(seen, request.wish)?;
    for part in &parts.parts {
        if let Some(slots) = atomic_moves(control, request, part.primary).await {
            let node = part.primary.address;
            return Err(Refusal::Moving { node, slots }.into());
        }
    }
    Ok((describe(&nodes, &view), parts))
}

/// The slots that a server moves by itself; they are not open.
async fn atomic_moves(control: &Control, request: &Request, node: Member) -> Option<usize> {
    let questions = [NodeCommand::SlotMigrations, NodeCommand::ImportStatus];
    let credentials = request.cluster.credentials.as_ref();
    let nodes = &control.hands.nodes;
    let answers = nodes.send(node.address, &questions, credentials, ASK_LIMIT);
    // A server that has no such migrations refuses the question.
    let known = answers.await.into_iter().filter_map(|it| match it {
        Ok(NodeAnswer::Migrations(migrations)) => Some(migrations),
        Ok(_) | Err(_) => None,
    });
    let running = known
        .flatten()
        .filter(|it| it.state == AtomicState::Running);
    let slots = running.map(|it| SlotSet::of(&it.ranges).len()).sum();
    (slots > 0).then_some(slots)
}

/// What is left of a backup that was cut off.
fn with_partial(mut fault: Fault, folder: &Folder) -> Fault {
    let partial = folder.partial();
    let left = partial.into_iter().map(|it| format!("{it} is not whole"));
    fault.detail.extend(left);
    fault
}

async fn take_all(
    control: &Control,
    request: &Request,
    folder: &Folder,
    parts: &Parts,
) -> Result<Vec<BackupFile>, Fault> {
    let hands = &control.hands;
    let of = parts.parts.len();
    let title = match of {
        1 => "1 shard is copied".to_owned(),
        _ => format!("{of} shards are copied"),
    };
    hands.tell(Event::PhaseStarted {
        number: 1,
        of: 1,
        phase: OutlinePhase {
            title: title.clone(),
            steps: Vec::new(),
        },
    });
    let began = hands.clock.now();
    let mut taking = stream::iter(&parts.parts)
        .map(|part| take(control, request, folder, part))
        .buffered(AT_ONCE);
    let mut files = Vec::with_capacity(of);
    while let Some(file) = taking.try_next().await? {
        files.push(file);
        let done = files.len();
        hands.tell(Event::PhaseProgress { done, of });
    }
    let took = hands.clock.now().saturating_sub(began);
    hands.tell(Event::PhaseFinished { title, took });
    Ok(files)
}

/// The data of one shard, in a file that is checked and on the disk.
async fn take(
    control: &Control,
    request: &Request,
    folder: &Folder,
    part: &Part,
) -> Result<BackupFile, Fault> {
    let credentials = request.cluster.credentials.as_ref();
    let source = source(control, credentials, part).await;
    let address = part.primary.address;
    let name = format!(
        "redis-node-{}-{}-{}.rdb",
        address.ip, address.port, part.primary.id
    );
    let mut file = folder.begin(&name)?;
    let mut judge = Judge::new();
    let mut hand_on = |bytes: &[u8]| {
        judge.take(bytes);
        file.write(bytes)
    };
    let nodes = &control.hands.nodes;
    nodes.snapshot(source, credentials, &mut hand_on).await?;
    let sums = judge.end().map_err(|problem| broken(source, &problem))?;
    file.sync()?;
    Ok(BackupFile {
        part: part.clone(),
        source,
        name,
        size: ByteSize::bytes(sums.bytes),
        rdb_version: sums.version,
        sha256: sums.sha256,
        crc64: sums.crc64,
    })
}

fn broken(source: NodeAddress, problem: &str) -> Fault {
    let message = format!("what {source} handed on is no whole RDB file: {problem}");
    Fault::new("SY4056", Class::Failed, message)
        .with_help("empty the folder and run it again; if it stays so, look at the server's memory")
}

/// Who is asked for the data: the replica, once it has everything that its primary has now.
async fn source(control: &Control, credentials: Option<&Credentials>, part: &Part) -> NodeAddress {
    let primary = part.primary.address;
    let Some(replica) = part.replica else {
        return primary;
    };
    let written = replication(control, credentials, primary).await;
    let Some(written) = written.map(|it| it.offset()) else {
        return primary;
    };
    let clock = &control.hands.clock;
    let began = clock.now();
    while clock.now().saturating_sub(began) < CATCH_UP_LIMIT {
        match replication(control, credentials, replica.address).await {
            Some(Replication::Replica {
                link: ReplicationLink::Up,
                offset,
                ..
            }) if offset >= written => return replica.address,
            Some(Replication::Replica { .. }) => clock.sleep(LOOK_AGAIN).await,
            Some(Replication::Primary { .. }) | None => break,
        }
    }
    primary
}

async fn replication(
    control: &Control,
    credentials: Option<&Credentials>,
    node: NodeAddress,
) -> Option<Replication> {
    let question = [NodeCommand::Replication];
    let nodes = &control.hands.nodes;
    let mut answers = nodes.send(node, &question, credentials, ASK_LIMIT).await;
    match answers.pop()? {
        Ok(NodeAnswer::Replication(replication)) => Some(replication),
        Ok(_) | Err(_) => None,
    }
}

/// Looks whether slots have moved meanwhile, and gives the files their names.
async fn finish(
    control: &Control,
    request: &Request,
    (folder, before): (&Folder, &Parts),
    backup: &Backup,
) -> Result<(), Fault> {
    let now = look(control, request).await?.1;
    let owners = |parts: &Parts| -> Vec<(Member, SlotSet)> {
        let parts = parts.parts.iter();
        parts.map(|it| (it.primary, it.slots.clone())).collect()
    };
    if owners(&now) != owners(before) {
        let message = "slots changed their owners while the backup was taken";
        return Err(Fault::new("SY4057", Class::NotConverged, message)
            .with_help("empty the folder and run it again once the cluster is at rest"));
    }
    for file in &backup.files {
        folder.finish(&file.name)?;
    }
    let mut manifest = folder.begin(MANIFEST)?;
    let text = serde_json::to_string_pretty(&backup.manifest()).unwrap_or_default();
    manifest.write((text + "\n").as_bytes())?;
    manifest.sync()?;
    folder.sync()?;
    folder.finish(MANIFEST)?;
    folder.sync()
}
