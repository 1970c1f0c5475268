//! The corpus of awkward keys: what a mover has been seen to lose, to spoil or to choke on.

use std::time::Duration;

use redis::Cmd;

use crate::client::Client;
use crate::shardyard::Shardyard;

/// Each awkward key is there so often, under names that fall into different slots: growing from
/// three shards to six moves every second one.
const COPIES: u32 = 8;

/// How many elements a huge collection has. A million, as of the field's worst, takes the servers of
/// a small machine longer to be filled than a test may run.
const ELEMENTS: u32 = 50_000;

/// How many are given to a server at once.
const ELEMENTS_AT_ONCE: u32 = 10_000;

/// How long a key lives that is to expire later than the test ends.
const LONG: Duration = Duration::from_hours(10);

/// A library of functions, as each primary is to have it.
const LIBRARY: &str = "#!lua name=census\nredis.register_function('one', function() return 1 end)";

/// Puts the corpus into a cluster; the keys expire in an hour or later, or never.
///
/// # Panics
/// Where a server does not take it.
pub fn plant(product: &Shardyard) {
    let mut client = Client::new(&product.urls());
    plant_keys(&mut client);
    for address in product.primaries() {
        plant_library(&mut client, &address);
    }
}

/// The same on one server that is in no cluster.
///
/// # Panics
/// Where it does not take it.
pub fn plant_on(client: &mut Client, address: &str) {
    plant_keys(client);
    plant_library(client, address);
}

/// The same in a cluster with these primaries.
///
/// # Panics
/// Where a server does not take it.
pub fn plant_on_all(client: &mut Client, primaries: &[String]) {
    plant_keys(client);
    for address in primaries {
        plant_library(client, address);
    }
}

fn plant_keys(client: &mut Client) {
    for copy in 0..COPIES {
        for (key, command) in texts(copy).into_iter().chain(collections(copy)) {
            let _: redis::Value = client.ask(&key, &command).unwrap();
        }
    }
    for copy in 0..3 {
        huge(client, copy);
    }
}

fn plant_library(client: &mut Client, address: &str) {
    let mut load = redis::cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(LIBRARY);
    let _: String = client.ask_node(address, &load).unwrap();
}

/// Keys that expire within the next seconds, wherever they are by then.
///
/// # Panics
/// Where a server does not take it.
pub fn plant_mayflies(product: &Shardyard, lives: Duration) {
    let mut client = Client::new(&product.urls());
    for number in 0..64 {
        let key = format!("mayfly:{number}").into_bytes();
        let mut set = with(&["SET"], &key, &["x", "PX"]);
        set.arg(lives.as_millis().to_string());
        let _: String = client.ask(&key, &set).unwrap();
    }
}

/// The primaries that lack the library of functions.
///
/// # Panics
/// Where one does not answer.
#[must_use]
pub fn without_functions(product: &Shardyard) -> Vec<String> {
    let mut client = Client::new(&product.urls());
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST");
    let lacks = |address: &String| {
        let said: redis::Value = client.ask_node(address, &list).unwrap();
        !format!("{said:?}").contains("census")
    };
    product.primaries().into_iter().filter(lacks).collect()
}

fn with(before: &[&str], key: &[u8], after: &[&str]) -> Cmd {
    let mut made = redis::cmd(before[0]);
    made.arg(&before[1..]).arg(key).arg(after);
    made
}

fn named(copy: u32, name: &str) -> Vec<u8> {
    format!("{name}:{copy}").into_bytes()
}

/// Texts: empty, of one byte, large, a number, of bits, with a time to live; and names that a
/// careless mover takes for something else.
fn texts(copy: u32) -> Vec<(Vec<u8>, Cmd)> {
    let large = "x".repeat(1 << 20);
    let mut all = Vec::new();
    let mut add = |key: Vec<u8>, words: &[&str], after: &[&str]| {
        let command = with(words, &key, after);
        all.push((key, command));
    };
    add(named(copy, "empty"), &["SET"], &[""]);
    add(named(copy, "byte"), &["SET"], &["\0"]);
    add(named(copy, "large"), &["SET"], &[&large]);
    add(named(copy, "number"), &["SET"], &["-9223372036854775808"]);
    add(named(copy, "bits"), &["SETBIT"], &["65535", "1"]);
    add(named(copy, "guesses"), &["PFADD"], &["a", "b", "c"]);
    let lives = LONG.as_millis().to_string();
    add(named(copy, "lives"), &["SET"], &["x", "PX", &lives]);
    // A name of three bytes that are no text, with a line's end and a nought in it.
    let mut bytes = vec![0, 255, b'\r', b'\n', b' ', b'"'];
    bytes.push(u8::try_from(copy).unwrap());
    add(bytes, &["SET"], &["bytes"]);
    add(format!("{{}}braces:{copy}").into_bytes(), &["SET"], &["x"]);
    add(format!("{{a{copy}}}{{b}}").into_bytes(), &["SET"], &["x"]);
    add(format!("{{{{a{copy}}}}}").into_bytes(), &["SET"], &["x"]);
    add(format!("größe:{copy}").into_bytes(), &["SET"], &["ü"]);
    let long = format!("{}:{copy}", "k".repeat(10_000));
    add(long.into_bytes(), &["SET"], &["x"]);
    if copy == 0 {
        // There is one key without a name.
        add(Vec::new(), &["SET"], &["nameless"]);
    }
    all
}

/// Small collections of each type and encoding, and a stream whose readers are in the middle of it.
fn collections(copy: u32) -> Vec<(Vec<u8>, Cmd)> {
    let mut all = Vec::new();
    let mut add = |name: &str, words: &[&str], after: &[&str]| {
        let key = named(copy, name);
        let command = with(words, &key, after);
        all.push((key, command));
    };
    add("integers", &["SADD"], &["1", "2", "3"]);
    add("members", &["SADD"], &["a", "", "\r\n"]);
    add("fields", &["HSET"], &["a", "1", "", "empty"]);
    add(
        "scores",
        &["ZADD"],
        &["inf", "a", "-inf", "b", "1e-300", "c"],
    );
    add(
        "places",
        &["GEOADD"],
        &["13.361389", "38.115556", "Palermo"],
    );
    add("items", &["RPUSH"], &["1", "two", ""]);
    add("events", &["XADD"], &["1-1", "field", "value"]);
    add("events", &["XADD"], &["1-2", "field", "value"]);
    add("events", &["XADD"], &["2-1", "gone", "value"]);
    add("events", &["XDEL"], &["2-1"]);
    add("events", &["XGROUP", "CREATE"], &["readers", "0"]);
    add("events", &["XGROUP", "CREATE"], &["later", "$"]);
    let key = String::from_utf8(named(copy, "events")).unwrap();
    let mut read = redis::cmd("XREADGROUP");
    read.arg(&[
        "GROUP", "readers", "alice", "COUNT", "1", "STREAMS", &key, ">",
    ]);
    all.push((key.into_bytes(), read));
    all
}

fn huge(client: &mut Client, copy: u32) {
    for first in (0..ELEMENTS).step_by(usize::try_from(ELEMENTS_AT_ONCE).unwrap()) {
        for (name, command) in [
            ("huge-hash", "HSET"),
            ("huge-scores", "ZADD"),
            ("huge-list", "RPUSH"),
            ("huge-set", "SADD"),
        ] {
            let key = named(copy, name);
            let mut made = redis::cmd(command);
            made.arg(&key);
            for number in first..first + ELEMENTS_AT_ONCE {
                made.arg(number);
                if matches!(command, "HSET" | "ZADD") {
                    made.arg(format!("value-{number}"));
                }
            }
            let _: u64 = client.ask(&key, &made).unwrap();
        }
    }
}
