//! A command that is data → the words that a server reads. Pure.

use model::command::{KeyQuestion, NodeCommand, Shape, TargetLogin};
use model::ids::NodeId;
use model::slots::{Slot, SlotRange};
use model::spec::Credentials;
use redis::Cmd;

/// The database of every cluster.
const DATABASE: u32 = 0;

/// How long a key that is set stays: longer than any change of size, and no longer.
const SET_SECONDS: u32 = 3600;

/// The words of a command.
pub(super) fn words(command: &NodeCommand, credentials: Option<&Credentials>) -> Cmd {
    let mut words = Cmd::new();
    for part in name(command).split(' ') {
        words.arg(part);
    }
    arguments(command, credentials, &mut words);
    words
}

/// A command's name and sub-command, without its arguments.
pub(super) const fn name(command: &NodeCommand) -> &'static str {
    match command {
        NodeCommand::SetImporting { .. }
        | NodeCommand::SetMigrating { .. }
        | NodeCommand::SetStable(_)
        | NodeCommand::SetOwner { .. } => "CLUSTER SETSLOT",
        NodeCommand::AddSlots(_) => "CLUSTER ADDSLOTSRANGE",
        NodeCommand::DelSlots(_) => "CLUSTER DELSLOTSRANGE",
        NodeCommand::BumpEpoch => "CLUSTER BUMPEPOCH",
        NodeCommand::CountKeys(_) => "CLUSTER COUNTKEYSINSLOT",
        NodeCommand::SlotStats => "CLUSTER SLOT-STATS SLOTSRANGE 0 16383",
        NodeCommand::KeysIn { .. } => "CLUSTER GETKEYSINSLOT",
        NodeCommand::SizeOf { .. } => "MEMORY USAGE",
        NodeCommand::Migrate { .. } => "MIGRATE",
        NodeCommand::LinkAge => "CLIENT LIST",
        NodeCommand::Replication => "INFO replication",
        NodeCommand::Databases => "INFO keyspace",
        NodeCommand::Scan { .. } => "SCAN",
        NodeCommand::Key { question, .. } => match question {
            KeyQuestion::Exists => "EXISTS",
            KeyQuestion::Dump => "DUMP",
            KeyQuestion::Lifetime => "PTTL",
            KeyQuestion::Value(Shape::Text) => "GET",
            KeyQuestion::Value(Shape::List) => "LRANGE",
            KeyQuestion::Value(Shape::Set) => "SMEMBERS",
            KeyQuestion::Value(Shape::SortedSet) => "ZRANGE",
            KeyQuestion::Value(Shape::Hash) => "HGETALL",
        },
        NodeCommand::Cluster => "CLUSTER NODES",
        NodeCommand::Asking => "ASKING",
        NodeCommand::Set { .. } => "SET",
        NodeCommand::Get { .. } => "GET",
        NodeCommand::Del { .. } => "DEL",
        NodeCommand::Ping => "PING",
        NodeCommand::MigrateSlots { .. } => "CLUSTER MIGRATESLOTS",
        NodeCommand::SlotMigrations => "CLUSTER GETSLOTMIGRATIONS",
        NodeCommand::CancelSlotMigrations => "CLUSTER CANCELSLOTMIGRATIONS",
        NodeCommand::ImportSlots(_) | NodeCommand::ImportStatus | NodeCommand::CancelImport(_) => {
            "CLUSTER MIGRATION"
        }
        NodeCommand::Failover => "CLUSTER FAILOVER",
        NodeCommand::Forget(_) => "CLUSTER FORGET",
        NodeCommand::Replicate(_) => "CLUSTER REPLICATE",
        NodeCommand::Setting(_) => "CONFIG GET",
        NodeCommand::SetSetting { .. } => "CONFIG SET",
        NodeCommand::DumpFunctions => "FUNCTION DUMP",
        NodeCommand::RestoreFunctions(_) => "FUNCTION RESTORE",
    }
}

fn arguments(command: &NodeCommand, credentials: Option<&Credentials>, words: &mut Cmd) {
    match command {
        NodeCommand::SetImporting { slot, from } => set(*slot, "IMPORTING", Some(*from), words),
        NodeCommand::SetMigrating { slot, to } => set(*slot, "MIGRATING", Some(*to), words),
        NodeCommand::SetStable(slot) => set(*slot, "STABLE", None, words),
        NodeCommand::SetOwner { slot, owner } => set(*slot, "NODE", Some(*owner), words),
        NodeCommand::AddSlots(slots) | NodeCommand::DelSlots(slots) => ranges(slots, words),
        NodeCommand::CountKeys(slot) => {
            words.arg(slot.number());
        }
        NodeCommand::KeysIn { slot, count } => {
            words.arg(slot.number()).arg(*count);
        }
        NodeCommand::SizeOf { key, samples } => {
            words.arg(key.as_slice()).arg("SAMPLES").arg(*samples);
        }
        NodeCommand::Set { key, value } => {
            words.arg(key.as_slice()).arg(value.as_slice());
            words.arg("EX").arg(SET_SECONDS);
        }
        NodeCommand::Get { key } | NodeCommand::Del { key } => {
            words.arg(key.as_slice());
        }
        NodeCommand::Migrate { .. } => migrate(command, credentials, words),
        NodeCommand::LinkAge => {
            words.arg("TYPE").arg("master");
        }
        NodeCommand::Scan { cursor, count } => {
            words.arg(*cursor).arg("COUNT").arg(*count);
        }
        NodeCommand::Key { key, question } => ask(key, *question, words),
        NodeCommand::MigrateSlots { ranges: slots, to } => {
            words.arg("SLOTSRANGE");
            ranges(slots, words);
            words.arg("NODE").arg(to.to_string());
        }
        NodeCommand::ImportSlots(slots) => {
            words.arg("IMPORT");
            ranges(slots, words);
        }
        NodeCommand::ImportStatus => {
            words.arg("STATUS").arg("ALL");
        }
        NodeCommand::CancelImport(id) => {
            words.arg("CANCEL").arg("ID").arg(id);
        }
        NodeCommand::Forget(node) | NodeCommand::Replicate(node) => {
            words.arg(node.to_string());
        }
        NodeCommand::Setting(name) => {
            words.arg(name);
        }
        NodeCommand::SetSetting { name, value } => {
            words.arg(name).arg(value);
        }
        NodeCommand::RestoreFunctions(payload) => {
            words.arg(payload.as_slice()).arg("APPEND");
        }
        NodeCommand::BumpEpoch
        | NodeCommand::SlotStats
        | NodeCommand::Replication
        | NodeCommand::Databases
        | NodeCommand::Cluster
        | NodeCommand::Asking
        | NodeCommand::Ping
        | NodeCommand::SlotMigrations
        | NodeCommand::CancelSlotMigrations
        | NodeCommand::Failover
        | NodeCommand::DumpFunctions => {}
    }
}

/// A question about a key, and how much of its value is asked for: all.
fn ask(key: &[u8], question: KeyQuestion, words: &mut Cmd) {
    words.arg(key);
    match question {
        KeyQuestion::Exists
        | KeyQuestion::Dump
        | KeyQuestion::Lifetime
        | KeyQuestion::Value(Shape::Text | Shape::Set | Shape::Hash) => {}
        KeyQuestion::Value(Shape::List) => {
            words.arg(0).arg(-1);
        }
        KeyQuestion::Value(Shape::SortedSet) => {
            words.arg(0).arg(-1).arg("WITHSCORES");
        }
    }
}

/// What becomes of a slot, and towards whom.
fn set(slot: Slot, what: &str, node: Option<NodeId>, words: &mut Cmd) {
    words.arg(slot.number()).arg(what);
    if let Some(node) = node {
        words.arg(node.to_string());
    }
}

/// `MIGRATE host port "" 0 timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password] KEYS key…`.
fn migrate(command: &NodeCommand, credentials: Option<&Credentials>, words: &mut Cmd) {
    let NodeCommand::Migrate {
        to,
        keys,
        timeout,
        replace,
        copies,
        login,
    } = command
    else {
        return;
    };
    let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    words
        .arg(to.ip.to_string())
        .arg(to.port)
        .arg("")
        .arg(DATABASE);
    words.arg(timeout);
    if *copies {
        words.arg("COPY");
    }
    if *replace {
        words.arg("REPLACE");
    }
    let login = match login {
        TargetLogin::AsHere => credentials,
        TargetLogin::Other(other) => other.as_ref(),
    };
    match login {
        None => {}
        // Servers before 6 know no users and take the password alone.
        Some(login) if login.user == "default" => {
            words.arg("AUTH").arg(login.password.expose());
        }
        Some(login) => {
            words.arg("AUTH2").arg(&login.user);
            words.arg(login.password.expose());
        }
    }
    words.arg("KEYS");
    for key in keys {
        words.arg(key.as_slice());
    }
}

fn ranges(slots: &[SlotRange], words: &mut Cmd) {
    for range in slots {
        words.arg(range.first().number()).arg(range.last().number());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::address::NodeAddress;
    use model::secret::Secret;
    use model::slots::even_split;
    use redis::Arg;

    use super::*;

    const ID: &str = "07c37dfeb235213a872192d90877d0cd55635b91";

    fn line(command: &NodeCommand, credentials: Option<&Credentials>) -> String {
        let words = words(command, credentials);
        let words = words.args_iter().filter_map(|word| {
            let Arg::Simple(bytes) = word else {
                return None;
            };
            Some(String::from_utf8_lossy(bytes).into_owned())
        });
        words.collect::<Vec<String>>().join(" ")
    }

    #[test]
    fn commands_are_written_as_the_manual_names_them() {
        let id = NodeId::parse(ID).unwrap();
        let slot = Slot::new(7).unwrap();
        let check = |command: NodeCommand, expected: &str| {
            assert_eq!(line(&command, None).replace(ID, "ID"), expected);
        };
        check(
            NodeCommand::SetImporting { slot, from: id },
            "CLUSTER SETSLOT 7 IMPORTING ID",
        );
        check(
            NodeCommand::SetOwner { slot, owner: id },
            "CLUSTER SETSLOT 7 NODE ID",
        );
        check(
            NodeCommand::MigrateSlots {
                ranges: even_split(3),
                to: id,
            },
            "CLUSTER MIGRATESLOTS SLOTSRANGE 0 5460 5461 10922 10923 16383 NODE ID",
        );
        check(
            NodeCommand::CancelImport("x".to_owned()),
            "CLUSTER MIGRATION CANCEL ID x",
        );
        check(NodeCommand::Replication, "INFO replication");
        check(NodeCommand::LinkAge, "CLIENT LIST TYPE master");
        let (key, value) = (b"k".to_vec(), b"v".to_vec());
        check(NodeCommand::Set { key, value }, "SET k v EX 3600");
        let key = b"k".to_vec();
        let question = KeyQuestion::Value(Shape::SortedSet);
        check(
            NodeCommand::Key { key, question },
            "ZRANGE k 0 -1 WITHSCORES",
        );
        let (cursor, count) = (17, 100);
        check(NodeCommand::Scan { cursor, count }, "SCAN 17 COUNT 100");
        check(
            NodeCommand::SizeOf {
                key: b"a b".to_vec(),
                samples: 0,
            },
            "MEMORY USAGE a b SAMPLES 0",
        );
    }

    #[test]
    fn keys_move_with_the_login_that_their_target_has() {
        let migrate = |copies, login| NodeCommand::Migrate {
            to: NodeAddress::parse("127.0.0.1:6379").unwrap(),
            keys: vec![b"k".to_vec(), Vec::new()],
            timeout: Duration::from_secs(2),
            replace: true,
            copies,
            login,
        };
        let login = |user: &str| Credentials {
            user: user.to_owned(),
            password: Secret::new("pw"),
        };
        let command = migrate(false, TargetLogin::AsHere);
        let head = "MIGRATE 127.0.0.1 6379  0 2000 REPLACE";
        assert_eq!(line(&command, None), format!("{head} KEYS k "));
        assert_eq!(
            line(&command, Some(&login("default"))),
            format!("{head} AUTH pw KEYS k ")
        );
        assert_eq!(
            line(&command, Some(&login("op"))),
            format!("{head} AUTH2 op pw KEYS k ")
        );
        // The password of the source is none of the target's business.
        let elsewhere = |other| migrate(true, TargetLogin::Other(other));
        let head = "MIGRATE 127.0.0.1 6379  0 2000 COPY REPLACE";
        assert_eq!(
            line(&elsewhere(None), Some(&login("op"))),
            format!("{head} KEYS k ")
        );
        assert_eq!(
            line(&elsewhere(Some(login("to"))), Some(&login("op"))),
            format!("{head} AUTH2 to pw KEYS k ")
        );
    }
}
