//! A census: each key of a cluster with its type, a digest of its value, and when it expires. Values
//! are read by type and not by DUMP, which tells of encodings and of the order in a hash table, and
//! both may differ after a move.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use redis::{Cmd, Value};

use crate::append::APPENDED;
use crate::client::Client;
use crate::shardyard::Shardyard;

/// How many keys one SCAN looks at.
const SCAN_COUNT: u32 = 1000;

/// One key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its type.
    pub kind: String,
    /// A digest of its value.
    pub digest: u64,
    /// When it expires, in milliseconds since 1970; -1 where it does not.
    pub expires_ms: i64,
}

/// The keys of a cluster.
pub type Census = BTreeMap<Vec<u8>, Entry>;

/// All keys that do not belong to a client that writes.
///
/// # Panics
/// Where two primaries have the same key, or one cannot be read.
#[must_use]
pub fn census(product: &Shardyard) -> Census {
    census_of(&mut Client::new(&product.urls()), &product.primaries())
}

/// The same of the keys at these addresses.
///
/// # Panics
/// Where two of them have the same key, or one cannot be read.
#[must_use]
pub fn census_of(client: &mut Client, addresses: &[String]) -> Census {
    let mut all = Census::new();
    for address in addresses {
        for key in keys(client, address) {
            if key.starts_with(APPENDED.as_bytes()) {
                continue;
            }
            // It may expire between two looks.
            let Some(entry) = entry(client, address, &key) else {
                continue;
            };
            let shown = String::from_utf8_lossy(&key).into_owned();
            assert_eq!(all.insert(key, entry), None, "{shown} is on two primaries");
        }
    }
    all
}

/// How two censuses differ, where a key may expire later by so much, and never earlier.
#[must_use]
pub fn differences(before: &Census, after: &Census, drift_ms_max: i64) -> Vec<String> {
    let mut found = Vec::new();
    for key in before.keys().chain(after.keys()) {
        let (old, new) = (before.get(key), after.get(key));
        let same = match (old, new) {
            (Some(old), Some(new)) => {
                let drift = new.expires_ms - old.expires_ms;
                old.kind == new.kind
                    && old.digest == new.digest
                    && (old.expires_ms < 0) == (new.expires_ms < 0)
                    && (0..=drift_ms_max).contains(&drift)
            }
            (None, Some(_)) | (Some(_), None) | (None, None) => false,
        };
        if !same {
            let name = String::from_utf8_lossy(key);
            found.push(format!("{name}: {old:?} became {new:?}"));
        }
    }
    found
}

fn keys(client: &mut Client, address: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("COUNT").arg(SCAN_COUNT);
        let (next, found): (u64, Vec<Vec<u8>>) = client.ask_node(address, &scan).unwrap();
        all.extend(found);
        if next == 0 {
            all.sort();
            all.dedup();
            return all;
        }
        cursor = next;
    }
}

fn entry(client: &mut Client, address: &str, key: &[u8]) -> Option<Entry> {
    let kind: String = client.ask_node(address, &about("TYPE", key)).unwrap();
    let digest = digest(client, address, key, &kind)?;
    let expires_ms = client
        .ask_node(address, &about("PEXPIRETIME", key))
        .unwrap();
    (expires_ms != -2).then_some(Entry {
        kind,
        digest,
        expires_ms,
    })
}

fn about(command: &str, key: &[u8]) -> Cmd {
    let mut made = redis::cmd(command);
    made.arg(key);
    made
}

/// A digest of the value; nothing where the key is gone.
fn digest(client: &mut Client, address: &str, key: &[u8], kind: &str) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let mut take = |words: &[&str]| -> Value {
        let mut made = redis::cmd(words[0]);
        made.arg(key).arg(&words[1..]);
        client.ask_node(address, &made).unwrap()
    };
    match kind {
        "none" => return None,
        "string" => text(&take(&["GET"])).hash(&mut hasher),
        "list" => text(&take(&["LRANGE", "0", "-1"])).hash(&mut hasher),
        "zset" => text(&take(&["ZRANGE", "0", "-1", "WITHSCORES"])).hash(&mut hasher),
        "set" => sorted(&take(&["SMEMBERS"]), 1).hash(&mut hasher),
        "hash" => sorted(&take(&["HGETALL"]), 2).hash(&mut hasher),
        "stream" => stream(client, address, key).hash(&mut hasher),
        other => panic!("{other} is a type that the census does not read"),
    }
    Some(hasher.finish())
}

/// A stream's entries, its groups, and what is pending in the group that the corpus makes.
fn stream(client: &mut Client, address: &str, key: &[u8]) -> Vec<String> {
    let mut info = redis::cmd("XINFO");
    info.arg("GROUPS").arg(key);
    let mut range = redis::cmd("XRANGE");
    range.arg(key).arg("-").arg("+");
    let mut pending = redis::cmd("XPENDING");
    pending.arg(key).arg("readers");
    [range, info, pending]
        .iter()
        .map(|command| text(&client.ask_node(address, command).unwrap()))
        .collect()
}

fn text(value: &Value) -> String {
    format!("{value:?}")
}

/// A reply without the order that a hash table gives it.
fn sorted(value: &Value, width: usize) -> Vec<String> {
    let Value::Array(items) = value else {
        panic!("no collection: {value:?}");
    };
    let mut shown: Vec<String> = items.chunks(width).map(|it| format!("{it:?}")).collect();
    shown.sort();
    shown
}
