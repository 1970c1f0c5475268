//! A server's answer → data. Pure. An answer that no server gives is a problem, never a guess.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the client library's values may grow"
)]

use model::command::{
    AtomicMigration, AtomicState, Key, KeyQuestion, NodeAnswer, NodeCommand, Shape, SlotStat,
};
use model::ids::{Epoch, NodeId};
use model::slots::{Slot, SlotRange};
use model::view::ClusterReport;
use redis::Value;

use crate::cluster_nodes;
use crate::info::Info;

/// What is wrong with an answer.
type Problem = &'static str;

/// The answer to this command.
///
/// # Errors
/// With what is wrong with it.
pub(super) fn answer(command: &NodeCommand, value: Value) -> Result<NodeAnswer, Problem> {
    match command {
        NodeCommand::CountKeys(_) => number(&value).map(NodeAnswer::Number),
        NodeCommand::SlotStats => slot_stats(value).map(NodeAnswer::SlotStats),
        NodeCommand::SizeOf { .. } if value == Value::Nil => Ok(NodeAnswer::Nothing),
        NodeCommand::SizeOf { .. } => number(&value).map(NodeAnswer::Number),
        NodeCommand::KeysIn { .. } => keys(value).map(NodeAnswer::Keys),
        NodeCommand::Migrate { .. } => match text(value)?.as_str() {
            "NOKEY" => Ok(NodeAnswer::NoKey),
            _ => Ok(NodeAnswer::Done),
        },
        NodeCommand::Databases => Ok(NodeAnswer::Databases(Info::new(&text(value)?).databases())),
        NodeCommand::Scan { .. } => page(value),
        NodeCommand::Key { question, .. } => about_key(*question, value),
        NodeCommand::Replication => Info::new(&text(value)?)
            .replication()
            .map(NodeAnswer::Replication)
            .ok_or("it names no role"),
        NodeCommand::LinkAge => link_age(&text(value)?),
        NodeCommand::Cluster => cluster(&text(value)?),
        NodeCommand::SlotMigrations | NodeCommand::ImportStatus => {
            migrations(value).map(NodeAnswer::Migrations)
        }
        NodeCommand::ImportSlots(_) => text(value).map(NodeAnswer::Text),
        NodeCommand::Setting(_) => setting(value),
        NodeCommand::DumpFunctions | NodeCommand::Get { .. } => bytes(value),
        NodeCommand::SetImporting { .. }
        | NodeCommand::SetMigrating { .. }
        | NodeCommand::SetStable(_)
        | NodeCommand::SetOwner { .. }
        | NodeCommand::AddSlots(_)
        | NodeCommand::DelSlots(_)
        | NodeCommand::BumpEpoch
        | NodeCommand::Asking
        | NodeCommand::Set { .. }
        | NodeCommand::Del { .. }
        | NodeCommand::Ping
        | NodeCommand::MigrateSlots { .. }
        | NodeCommand::CancelSlotMigrations
        | NodeCommand::CancelImport(_)
        | NodeCommand::Failover
        | NodeCommand::Forget(_)
        | NodeCommand::Replicate(_)
        | NodeCommand::SetSetting { .. }
        | NodeCommand::RestoreFunctions(_) => Ok(NodeAnswer::Done),
    }
}

fn about_key(question: KeyQuestion, value: Value) -> Result<NodeAnswer, Problem> {
    match question {
        KeyQuestion::Exists => number(&value).map(NodeAnswer::Number),
        KeyQuestion::Dump | KeyQuestion::Value(Shape::Text) => bytes(value),
        KeyQuestion::Lifetime => match value {
            Value::Int(-2) => Ok(NodeAnswer::Nothing),
            Value::Int(-1) => Ok(NodeAnswer::Forever),
            other => number(&other).map(NodeAnswer::Number),
        },
        KeyQuestion::Value(Shape::List | Shape::Set | Shape::SortedSet | Shape::Hash) => {
            keys(value).map(NodeAnswer::Keys)
        }
    }
}

fn page(value: Value) -> Result<NodeAnswer, Problem> {
    let mut parts = list(value)?.into_iter();
    let (Some(next), Some(found), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it is no page of keys");
    };
    let next = text(next)?.parse().map_err(|_| "its cursor is no number")?;
    Ok(NodeAnswer::Page(next, keys(found)?))
}

fn bytes(value: Value) -> Result<NodeAnswer, Problem> {
    match value {
        Value::BulkString(bytes) => Ok(NodeAnswer::Bytes(bytes)),
        Value::Nil => Ok(NodeAnswer::Nothing),
        _ => Err("it is no text"),
    }
}

fn text(value: Value) -> Result<String, Problem> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        Value::Okay => Ok("OK".to_owned()),
        _ => Err("it is no text"),
    }
}

fn number(value: &Value) -> Result<u64, Problem> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| "it is below zero"),
        _ => Err("it is no number"),
    }
}

fn list(value: Value) -> Result<Vec<Value>, Problem> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        _ => Err("it is no list"),
    }
}

fn keys(value: Value) -> Result<Vec<Key>, Problem> {
    let bytes = |item| match item {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err("it is no list of keys"),
    };
    list(value)?.into_iter().map(bytes).collect()
}

/// A list of slots, each with a list of names and numbers; a map in RESP 3.
fn slot_stats(value: Value) -> Result<Vec<SlotStat>, Problem> {
    let slots = list(value)?.into_iter();
    slots.map(slot_stat).collect()
}

fn slot_stat(value: Value) -> Result<SlotStat, Problem> {
    let mut parts = list(value)?.into_iter();
    let (Some(slot), Some(figures)) = (parts.next(), parts.next()) else {
        return Err("a slot has no figures");
    };
    let slot = u16::try_from(number(&slot)?).ok().and_then(Slot::new);
    let figures = pairs(figures)?;
    let figure = |name: &str| {
        let found = figures.iter().find(|(it, _)| it == name);
        found.and_then(|(_, value)| value.parse().ok())
    };
    Ok(SlotStat {
        slot: slot.ok_or("it is no slot")?,
        cpu_usec: figure("cpu-usec"),
        memory_bytes: figure("memory-bytes"),
    })
}

/// The epoch and the state are not in CLUSTER NODES; who needs them observes.
fn cluster(nodes: &str) -> Result<NodeAnswer, Problem> {
    let (id, peers) = cluster_nodes::read(nodes).map_err(|_| "a line is none of CLUSTER NODES")?;
    let epochs = peers.iter().map(|peer| peer.epoch);
    let current_epoch = epochs.max().unwrap_or(Epoch(0));
    Ok(NodeAnswer::Cluster(Box::new(ClusterReport {
        id,
        serves: false,
        current_epoch,
        peers,
    })))
}

/// The age of the youngest link: there is one, but for a moment in which a replica links anew.
fn link_age(clients: &str) -> Result<NodeAnswer, Problem> {
    let fields = clients.split_ascii_whitespace();
    let ages = fields.filter_map(|field| field.strip_prefix("age="));
    let ages: Result<Vec<u64>, _> = ages.map(str::parse).collect();
    let youngest = ages.map_err(|_| "an age is no number")?.into_iter().min();
    Ok(youngest.map_or(NodeAnswer::Nothing, NodeAnswer::Number))
}

fn setting(value: Value) -> Result<NodeAnswer, Problem> {
    let value = match value {
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, value)| value),
        other => list(other)?.into_iter().nth(1),
    };
    match value {
        Some(value) => text(value).map(NodeAnswer::Text),
        None => Ok(NodeAnswer::Nothing),
    }
}

/// Jobs of Valkey 9 and tasks of Redis 8.4: a list of maps, which RESP 2 writes as lists.
fn migrations(value: Value) -> Result<Vec<AtomicMigration>, Problem> {
    list(value)?.into_iter().map(migration).collect()
}

fn migration(value: Value) -> Result<AtomicMigration, Problem> {
    let pairs = pairs(value)?;
    let field = |names: &[&str]| {
        let found = pairs
            .iter()
            .find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    };
    let ranges = field(&["slot_ranges", "slots"]).ok_or("a migration has no slots")?;
    let operation = field(&["operation"]).ok_or("a migration has no operation")?;
    let state = field(&["state"]).ok_or("a migration has no state")?;
    Ok(AtomicMigration {
        id: field(&["name", "id"]).unwrap_or_default().to_owned(),
        is_export: matches!(operation, "EXPORT" | "migrate"),
        ranges: read_ranges(ranges).ok_or("a migration's slots cannot be read")?,
        source: field(&["source_node", "source"]).and_then(NodeId::parse),
        target: field(&["target_node", "dest"]).and_then(NodeId::parse),
        state: read_state(state),
        message: field(&["message", "last_error"])
            .unwrap_or_default()
            .to_owned(),
    })
}

fn pairs(value: Value) -> Result<Vec<(String, String)>, Problem> {
    let shown = |value: Value| match value {
        Value::Int(number) => number.to_string(),
        other => text(other).unwrap_or_default(),
    };
    if let Value::Map(pairs) = value {
        let pairs = pairs.into_iter();
        return Ok(pairs
            .map(|(name, value)| (shown(name), shown(value)))
            .collect());
    }
    let items = list(value)?;
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        pairs.push((shown(name), shown(value)));
    }
    Ok(pairs)
}

/// `0-100 200-300` (Valkey) or with commas between them (Redis).
fn read_ranges(text: &str) -> Option<Vec<SlotRange>> {
    let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
    parts.map(SlotRange::parse).collect()
}

/// Every state but the ends is on the way (`slotMigrationJobStateToString`, Valkey 9.1).
fn read_state(text: &str) -> AtomicState {
    match text {
        "success" | "completed" => AtomicState::Succeeded,
        "failed" => AtomicState::Failed,
        "cancelled" | "canceled" => AtomicState::Cancelled,
        _ => AtomicState::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_job_of_valkey_and_a_task_of_redis_are_read_alike() {
        let valkey = [
            "name",
            "j1",
            "operation",
            "EXPORT",
            "slot_ranges",
            "0-10 12-12",
        ];
        let more = ["state", "snapshotting", "message", ""];
        let redis = ["id", "j1", "slots", "0-10,12", "operation", "migrate"];
        let rest = ["state", "send-stream", "last_error", ""];
        for words in [[valkey.as_slice(), &more], [redis.as_slice(), &rest]] {
            let fields = words.concat().iter().map(|it| bulk(it)).collect();
            let read = migrations(Value::Array(vec![Value::Array(fields)])).unwrap();
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].id, "j1");
            assert!(read[0].is_export);
            assert_eq!(read[0].ranges.len(), 2);
            assert_eq!(read[0].state, AtomicState::Running);
        }
    }

    #[test]
    fn the_figures_of_slots_are_read_as_far_as_they_are_counted() {
        let entry = |slot: i64, words: Vec<Value>| {
            Value::Array(vec![Value::Int(slot), Value::Array(words)])
        };
        let costs = vec![
            bulk("key-count"),
            Value::Int(3),
            bulk("cpu-usec"),
            Value::Int(90),
        ];
        let answered = Value::Array(vec![entry(7, costs), entry(8, Vec::new())]);
        let Ok(NodeAnswer::SlotStats(stats)) = answer(&NodeCommand::SlotStats, answered) else {
            panic!("they are not read");
        };
        let shown: Vec<(u16, Option<u64>, Option<u64>)> = stats
            .iter()
            .map(|it| (it.slot.number(), it.cpu_usec, it.memory_bytes))
            .collect();
        assert_eq!(shown, [(7, Some(90), None), (8, None, None)]);
        let bad = Value::Array(vec![entry(16_384, Vec::new())]);
        assert!(answer(&NodeCommand::SlotStats, bad).is_err());
    }

    #[test]
    fn the_age_of_a_link_is_that_of_the_youngest() {
        let line = "id=3 addr=127.0.0.1:7001 name= age=42 idle=1 flags=M cmd=ping";
        let two = format!("{line}\n{}\n", line.replace("age=42", "age=7"));
        let read = |text: &str| answer(&NodeCommand::LinkAge, bulk(text));
        assert_eq!(read(&two), Ok(NodeAnswer::Number(7)));
        assert_eq!(read(""), Ok(NodeAnswer::Nothing));
        assert!(read("id=3 age=soon").is_err());
    }

    #[test]
    fn an_answer_that_no_server_gives_is_a_problem() {
        let count = NodeCommand::CountKeys(Slot::new(1).unwrap());
        assert_eq!(answer(&count, Value::Int(3)), Ok(NodeAnswer::Number(3)));
        assert!(answer(&count, Value::Int(-1)).is_err());
        assert!(answer(&count, bulk("3")).is_err());
        assert!(answer(&NodeCommand::Cluster, bulk("x")).is_err());
        assert!(answer(&NodeCommand::SlotMigrations, Value::Okay).is_err());
    }

    #[test]
    fn a_page_of_keys_and_a_lifetime_are_read() {
        let scan = NodeCommand::Scan {
            cursor: 0,
            count: 9,
        };
        let found = Value::Array(vec![bulk("a"), bulk("")]);
        let said = Value::Array(vec![bulk("18446744073709551615"), found]);
        let keys = vec![b"a".to_vec(), Vec::new()];
        assert_eq!(answer(&scan, said), Ok(NodeAnswer::Page(u64::MAX, keys)));
        assert!(answer(&scan, Value::Array(vec![bulk("x"), Value::Array(vec![])])).is_err());
        let lives = NodeCommand::Key {
            key: Vec::new(),
            question: KeyQuestion::Lifetime,
        };
        for (said, meant) in [
            (-2, NodeAnswer::Nothing),
            (-1, NodeAnswer::Forever),
            (7, NodeAnswer::Number(7)),
        ] {
            assert_eq!(answer(&lives, Value::Int(said)), Ok(meant));
        }
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        let key = Vec::new();
        let size = NodeCommand::SizeOf { key, samples: 0 };
        assert_eq!(answer(&size, Value::Nil), Ok(NodeAnswer::Nothing));
        let setting = NodeCommand::Setting("x".to_owned());
        assert_eq!(
            answer(&setting, Value::Array(vec![])),
            Ok(NodeAnswer::Nothing)
        );
    }
}
