//! Commands that are data, as simulated servers carry them out. Each counts as one command that
//! can go wrong.

use std::time::Duration;

use model::address::NodeAddress;
use model::command::{CommandError, Key, NodeAnswer, NodeCommand};
use model::ids::NodeId;
use model::image::{ServerVersion, Software};
use model::slots::SlotSet;
use tokio::time::sleep;

use super::{SimNodes, unreachable};
use crate::hands::{ROUND_TRIP, die, struck};
use crate::mishap::How;
use crate::realm::migrate::{Migrated, Migration, Ticket};
use crate::realm::{Process, Realm};
use crate::server::{Refused, Server, keys};

/// What a command comes to.
type Said = Result<NodeAnswer, CommandError>;

/// The pause before a server that does something else is asked again.
const BUSY: Duration = Duration::from_millis(1);

/// A server's answer, or where to ask for it.
enum Step {
    Said(Said),
    Later(Ticket),
    Busy,
}

/// Sends commands, one after the other. Once an answer is lost, so is the connection: what comes
/// after it was not done.
pub(super) async fn all(
    nodes: &SimNodes,
    address: NodeAddress,
    commands: &[NodeCommand],
    limit: Duration,
) -> Vec<Said> {
    sleep(ROUND_TRIP).await;
    let until = nodes.world.now() + limit;
    let process = nodes.world.look(|realm| realm.process_at(address));
    let mut answers = Vec::with_capacity(commands.len());
    for command in commands {
        let said = match process {
            Some(process) => one(nodes, process, command, until).await,
            None => Err(lost(nodes, address)),
        };
        let is_lost = matches!(said, Err(CommandError::Lost(_)));
        answers.push(said);
        if is_lost {
            break;
        }
    }
    while answers.len() < commands.len() {
        answers.push(Err(CommandError::Lost(struck("the connection"))));
    }
    answers
}

fn lost(nodes: &SimNodes, address: NodeAddress) -> CommandError {
    CommandError::Lost(nodes.world.look(|realm| unreachable(realm, address)))
}

async fn one(nodes: &SimNodes, process: Process, command: &NodeCommand, until: Duration) -> Said {
    let world = &nodes.world;
    match world.look(|realm| realm.mishaps.command()) {
        None => carry_out(nodes, process, command, until).await,
        // A server that says that it has done what it has not is not among what can happen here.
        Some(How::FailsBefore | How::DoesNothing) => Err(CommandError::Lost(struck("a server"))),
        Some(How::FailsAfter) => {
            // Whatever it says, nobody hears of it.
            let _ = carry_out(nodes, process, command, until).await;
            Err(CommandError::Lost(struck("a server")))
        }
        Some(How::ToolDiesBefore) => die(world).await,
        Some(How::ToolDiesAfter) => {
            let _ = carry_out(nodes, process, command, until).await;
            die(world).await
        }
        Some(How::TakesLonger(by)) => {
            sleep(by).await;
            carry_out(nodes, process, command, until).await
        }
    }
}

async fn carry_out(
    nodes: &SimNodes,
    process: Process,
    command: &NodeCommand,
    until: Duration,
) -> Said {
    let world = &nodes.world;
    loop {
        let step = world.look(|realm| match realm.process_at(process.address) {
            Some(it) if it == process => begin(realm, process, command),
            Some(_) | None => Step::Said(Err(CommandError::Lost(struck("the connection")))),
        });
        match step {
            Step::Said(said) => return said,
            Step::Later(ticket) => return await_migration(nodes, process, ticket, until).await,
            Step::Busy if world.now() >= until => {
                return Err(CommandError::Lost(struck("no answer in time")));
            }
            Step::Busy => sleep(BUSY).await,
        }
    }
}

async fn await_migration(
    nodes: &SimNodes,
    process: Process,
    ticket: Ticket,
    until: Duration,
) -> Said {
    let world = &nodes.world;
    sleep(ticket.look_at.saturating_sub(world.now())).await;
    loop {
        let end = world.look(|realm| {
            let is_there = realm.process_at(process.address) == Some(process);
            match realm.migrated(ticket.number) {
                Some(migrated) => Some(told(migrated)),
                None if is_there => None,
                None => Some(Err(CommandError::Lost(struck("the connection")))),
            }
        });
        match end {
            Some(said) => return said,
            None if world.now() >= until => {
                return Err(CommandError::Lost(struck("no answer in time")));
            }
            None => sleep(BUSY * 5).await,
        }
    }
}

fn told(migrated: Migrated) -> Said {
    match migrated {
        Migrated::Done => Ok(NodeAnswer::Done),
        Migrated::NoKey => Ok(NodeAnswer::NoKey),
        Migrated::Refused(words) => Err(CommandError::Refused(words)),
    }
}

fn begin(realm: &mut Realm, process: Process, command: &NodeCommand) -> Step {
    let is_busy = realm
        .server_at(process.address)
        .is_some_and(|server| server.migrating.is_some());
    if is_busy {
        return Step::Busy;
    }
    match command {
        NodeCommand::Migrate {
            to,
            keys,
            timeout,
            replace,
            ..
        } => migrate(realm, process, (*to, keys), (*timeout, *replace)),
        NodeCommand::MigrateSlots { ranges, to } => {
            let target = peer(realm, process, *to);
            Step::Said(job(realm, process, has_migrateslots, |realm| {
                let target = target.ok_or_else(|| "ERR Unknown node".to_owned())?;
                realm.begin_job(process, target, ranges)
            }))
        }
        NodeCommand::ImportSlots(ranges) => {
            let source = owner_of(realm, process, &SlotSet::of(ranges));
            Step::Said(job(realm, process, has_import, |realm| {
                let source = source.ok_or_else(|| "ERR Slots have several owners".to_owned())?;
                realm.begin_job(source, process, ranges)
            }))
        }
        NodeCommand::SlotMigrations => Step::Said(jobs(realm, process, has_migrateslots)),
        NodeCommand::ImportStatus => Step::Said(jobs(realm, process, has_import)),
        NodeCommand::CancelSlotMigrations => {
            Step::Said(job(realm, process, has_migrateslots, |realm| {
                realm.cancel_jobs(process, None);
                Ok(())
            }))
        }
        NodeCommand::CancelImport(id) => Step::Said(job(realm, process, has_import, |realm| {
            realm.cancel_jobs(process, Some(id));
            Ok(())
        })),
        NodeCommand::SetImporting { .. }
        | NodeCommand::SetMigrating { .. }
        | NodeCommand::SetStable(_)
        | NodeCommand::SetOwner { .. }
        | NodeCommand::AddSlots(_)
        | NodeCommand::DelSlots(_)
        | NodeCommand::BumpEpoch
        | NodeCommand::Failover
        | NodeCommand::Forget(_)
        | NodeCommand::Replicate(_)
        | NodeCommand::SetSetting { .. }
        // Clients of the simulation write by other means; it refuses these.
        | NodeCommand::Databases
        | NodeCommand::Scan { .. }
        | NodeCommand::Key { .. }
        | NodeCommand::Asking
        | NodeCommand::Set { .. }
        | NodeCommand::Get { .. }
        | NodeCommand::Del { .. }
        | NodeCommand::RestoreFunctions(_) => Step::Said(order(realm, process, command)),
        NodeCommand::CountKeys(_)
        | NodeCommand::SlotStats
        | NodeCommand::KeysIn { .. }
        | NodeCommand::SizeOf { .. }
        | NodeCommand::Replication
        | NodeCommand::LinkAge
        | NodeCommand::Cluster
        | NodeCommand::Ping
        | NodeCommand::Setting(_)
        | NodeCommand::DumpFunctions => Step::Said(question(realm, process, command)),
    }
}

fn migrate(
    realm: &mut Realm,
    process: Process,
    (to, names): (NodeAddress, &[Key]),
    (timeout, replace): (Duration, bool),
) -> Step {
    let migration = Migration {
        to,
        keys: names.iter().filter_map(|it| keys::number(it)).collect(),
        timeout,
        replace,
    };
    match realm.migrate(process, &migration) {
        Ok(ticket) => Step::Later(ticket),
        Err(migrated) => Step::Said(told(migrated)),
    }
}

/// What changes one server alone.
fn order(realm: &mut Realm, process: Process, command: &NodeCommand) -> Said {
    let done = realm.touch(process, None, |server, now, dice| match command {
        NodeCommand::SetImporting { slot, from } => server.set_importing(*slot, *from),
        NodeCommand::SetMigrating { slot, to } => server.set_migrating(*slot, *to),
        NodeCommand::SetStable(slot) => server.set_stable(*slot),
        NodeCommand::SetOwner { slot, owner } => server.set_owner(*slot, *owner, now, dice),
        NodeCommand::AddSlots(ranges) => server.add_slots(&SlotSet::of(ranges), now),
        NodeCommand::DelSlots(ranges) => server.del_slots(&SlotSet::of(ranges), now),
        NodeCommand::BumpEpoch => {
            server.bump_epoch();
            Ok(())
        }
        NodeCommand::Failover => server.ask_for_handover(now, dice),
        NodeCommand::Forget(id) => server.forget(*id, now, dice),
        NodeCommand::Replicate(id) => server.replicate(*id),
        NodeCommand::SetSetting { name, value } => {
            let is_set = server.settings.set(name, value);
            is_set
                .then_some(())
                .ok_or(Refused("ERR Unknown option or bad value"))
        }
        NodeCommand::RestoreFunctions(payload) => {
            let libraries = payload.get(PAYLOAD_HEAD..).unwrap_or_default();
            server.functions.extend(libraries);
            Ok(())
        }
        NodeCommand::CountKeys(_)
        | NodeCommand::SlotStats
        | NodeCommand::Databases
        | NodeCommand::Scan { .. }
        | NodeCommand::Key { .. }
        | NodeCommand::KeysIn { .. }
        | NodeCommand::SizeOf { .. }
        | NodeCommand::Migrate { .. }
        | NodeCommand::Replication
        | NodeCommand::LinkAge
        | NodeCommand::Cluster
        | NodeCommand::Asking
        | NodeCommand::Set { .. }
        | NodeCommand::Get { .. }
        | NodeCommand::Del { .. }
        | NodeCommand::Ping
        | NodeCommand::MigrateSlots { .. }
        | NodeCommand::SlotMigrations
        | NodeCommand::CancelSlotMigrations
        | NodeCommand::ImportSlots(_)
        | NodeCommand::ImportStatus
        | NodeCommand::CancelImport(_)
        | NodeCommand::Setting(_)
        | NodeCommand::DumpFunctions => Err(Refused("ERR unknown command")),
    });
    match done {
        Some(Ok(())) => Ok(NodeAnswer::Done),
        Some(Err(refusal)) => Err(CommandError::Refused(refusal.0.to_owned())),
        None => Err(CommandError::Lost(unreachable(realm, process.address))),
    }
}

/// Links of the simulation are old: an election of a moment ago is no trap here.
const LINK_AGE_SECONDS: u64 = 86_400;

/// The bytes of a dump of functions beside the libraries: its version and its checksum.
const PAYLOAD_HEAD: usize = 10;

/// What changes nothing.
fn question(realm: &Realm, process: Process, command: &NodeCommand) -> Said {
    let now = realm.now;
    let Some(server) = realm.server_at(process.address) else {
        return Err(CommandError::Lost(unreachable(realm, process.address)));
    };
    Ok(match command {
        NodeCommand::CountKeys(slot) => NodeAnswer::Number(server.count_keys(*slot)),
        NodeCommand::KeysIn { slot, count } => {
            let found = server.keys_in(*slot).take(*count as usize);
            NodeAnswer::Keys(found.map(keys::name).collect())
        }
        // As a server before Valkey 8.0.
        NodeCommand::SlotStats => {
            let words = "ERR Unknown subcommand or wrong number of arguments for 'SLOT-STATS'";
            return Err(CommandError::Refused(words.to_owned()));
        }
        NodeCommand::SizeOf { key, .. } => keys::number(key)
            .and_then(|key| server.size_of(key))
            .map_or(NodeAnswer::Nothing, NodeAnswer::Number),
        NodeCommand::Replication => NodeAnswer::Replication(server.replication(now)),
        // Its replicas take a vote of long ago for nobody's.
        NodeCommand::LinkAge => NodeAnswer::Number(LINK_AGE_SECONDS),
        NodeCommand::Cluster => NodeAnswer::Cluster(Box::new(server.cluster_report())),
        NodeCommand::Setting(name) => server
            .settings
            .get(name)
            .map_or(NodeAnswer::Nothing, NodeAnswer::Text),
        NodeCommand::DumpFunctions => {
            let mut dump = vec![0; PAYLOAD_HEAD];
            dump.extend(&server.functions);
            NodeAnswer::Bytes(dump)
        }
        NodeCommand::Ping
        | NodeCommand::Databases
        | NodeCommand::Scan { .. }
        | NodeCommand::Key { .. }
        | NodeCommand::Asking
        | NodeCommand::Set { .. }
        | NodeCommand::Get { .. }
        | NodeCommand::Del { .. }
        | NodeCommand::SetImporting { .. }
        | NodeCommand::SetMigrating { .. }
        | NodeCommand::SetStable(_)
        | NodeCommand::SetOwner { .. }
        | NodeCommand::AddSlots(_)
        | NodeCommand::DelSlots(_)
        | NodeCommand::BumpEpoch
        | NodeCommand::Migrate { .. }
        | NodeCommand::MigrateSlots { .. }
        | NodeCommand::SlotMigrations
        | NodeCommand::CancelSlotMigrations
        | NodeCommand::ImportSlots(_)
        | NodeCommand::ImportStatus
        | NodeCommand::CancelImport(_)
        | NodeCommand::Failover
        | NodeCommand::Forget(_)
        | NodeCommand::Replicate(_)
        | NodeCommand::SetSetting { .. }
        | NodeCommand::RestoreFunctions(_) => NodeAnswer::Done,
    })
}

/// Something about migrations of whole slots, where the version knows them.
fn job(
    realm: &mut Realm,
    process: Process,
    is_known: fn(ServerVersion) -> bool,
    act: impl FnOnce(&mut Realm) -> Result<(), String>,
) -> Said {
    must_know(realm, process, is_known)?;
    act(realm)
        .map(|()| NodeAnswer::Done)
        .map_err(CommandError::Refused)
}

fn jobs(realm: &Realm, process: Process, is_known: fn(ServerVersion) -> bool) -> Said {
    must_know(realm, process, is_known)?;
    Ok(NodeAnswer::Migrations(realm.jobs_of(process)))
}

fn must_know(
    realm: &Realm,
    process: Process,
    is_known: fn(ServerVersion) -> bool,
) -> Result<(), CommandError> {
    let version = realm.server_at(process.address).map(|it| it.version);
    if version.is_some_and(is_known) {
        return Ok(());
    }
    let words = "ERR unknown subcommand. Try CLUSTER HELP.";
    Err(CommandError::Refused(words.to_owned()))
}

fn has_migrateslots(version: ServerVersion) -> bool {
    version.software == Software::Valkey && version.major >= 9
}

fn has_import(version: ServerVersion) -> bool {
    version.software == Software::Redis && (version.major, version.minor) >= (8, 4)
}

/// The process of a node that another one knows.
fn peer(realm: &Realm, of: Process, id: NodeId) -> Option<Process> {
    let address = realm.server_at(of.address)?.address_of(id)?;
    realm.process_at(address)
}

/// The one owner of these slots, as a process has it.
fn owner_of(realm: &Realm, of: Process, slots: &SlotSet) -> Option<Process> {
    let server: &Server = realm.server_at(of.address)?;
    let owner = server.owner_of_all(slots)?;
    peer(realm, of, owner)
}
