//! `trib import` on real servers: the keys of a single server come into a cluster, each with its
//! value and its time to live, and none is lost however it is cut off.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::{
    BareServers, Census, Client, Ran, Shardyard, census_of, differences, kill, plant_on, servers,
    wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// How much later a key may expire than before, and how many milliseconds of a command's way count.
const DRIFT_MS_MAX: i64 = 20_000;

/// Three primaries with a replica each, and a server that is in no cluster.
struct Scene {
    product: Shardyard,
    cluster: BareServers,
    single: BareServers,
}

impl Scene {
    fn new(program: &str) -> Self {
        let product = Shardyard::new();
        let cluster = BareServers::start(program, 6);
        let mut create = vec!["trib", "create", "--replicas", "1", "--yes"];
        create.extend(cluster.addresses(6));
        product.ok(&create);
        Self {
            product,
            cluster,
            single: BareServers::start_single(program),
        }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let (seed, from) = (self.cluster.address(1), self.single.address(1));
        let words = ["trib", "import", seed, "--cluster-from", from];
        [&words[..], &["--yes", "-o", "json"], more].concat()
    }

    fn import(&self, more: &[&str]) -> Value {
        self.product.ok(&self.arguments(more)).json()
    }

    fn refused(&self, more: &[&str], code: &str, exit: i32) -> Value {
        let ran = self.product.run(&self.arguments(more));
        refused(&ran, code, exit);
        ran.json()["error"].clone()
    }

    fn source(&self) -> Census {
        self.single_client(|client, address| census_of(client, &[address.to_owned()]))
    }

    fn target(&self) -> Census {
        let addresses = owned(&self.cluster, 3);
        census_of(&mut Client::new(&urls(&addresses)), &addresses)
    }

    /// The keys that the cluster has.
    fn arrived(&self) -> u64 {
        let sizes = (1..=3).map(|it| self.cluster.ask::<u64>(it, &["DBSIZE"]));
        sizes.sum()
    }

    fn single_client<T>(&self, with: impl FnOnce(&mut Client, &str) -> T) -> T {
        let addresses = owned(&self.single, 1);
        with(&mut Client::new(&urls(&addresses)), &addresses[0])
    }

    /// So many small keys at the source, some of which expire in an hour.
    fn fill(&self, count: u32) {
        self.single_client(|client, address| {
            let mut pipe = redis::pipe();
            for number in 0..count {
                pipe.cmd("SET").arg(format!("key:{number}")).arg(number);
                if number % 7 == 0 {
                    pipe.arg("EX").arg(3600);
                }
            }
            let _: () = pipe.query(client.node(address)).unwrap();
        });
    }
}

fn owned(servers: &BareServers, count: usize) -> Vec<String> {
    let first = servers.addresses(count).into_iter();
    first.map(str::to_owned).collect()
}

fn urls(addresses: &[String]) -> Vec<String> {
    addresses.iter().map(|it| format!("redis://{it}")).collect()
}

fn refused(ran: &Ran, code: &str, exit: i32) {
    assert_eq!(ran.code, exit, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["error"]["code"], code, "{}", ran.stdout);
}

fn numbers(body: &Value) -> [u64; 3] {
    ["keys_before", "keys_moved", "keys_left"].map(|it| body[it].as_u64().unwrap())
}

fn same(before: &Census, after: &Census) {
    let differences = differences(before, after, DRIFT_MS_MAX);
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn every_key_comes_in_with_its_value_and_its_time_to_live() {
    for copies in [false, true] {
        let scene = Scene::new("redis-server");
        scene.single_client(plant_on);
        let before = scene.source();
        assert!(before.len() > 150, "{}", before.len());
        let total = before.len() as u64;
        let how: &[&str] = if copies { &["--cluster-copy"] } else { &[] };

        let plan = scene.import(&[how, &["--dry-run"]].concat());
        let step = &plan["phases"][0]["steps"][0];
        assert_eq!(step["kind"], "ensure_imported", "{plan:#}");
        assert_eq!(scene.arrived(), 0);

        let body = scene.import(how);
        let left = if copies { total } else { 0 };
        assert_eq!(numbers(&body), [total, total, left], "{body:#}");
        assert_eq!(body["changed"], true);
        same(&before, &scene.target());
        assert_eq!(scene.single.ask::<u64>(1, &["DBSIZE"]), left);
        let functions = scene.cluster.ask::<redis::Value>(2, &["FUNCTION", "LIST"]);
        assert!(format!("{functions:?}").contains("census"), "{functions:?}");

        let again = scene.import(how);
        assert_eq!(numbers(&again), [left, 0, left], "{again:#}");
        assert_eq!(again["changed"], false);
    }
}

#[test]
fn a_run_that_is_killed_is_finished_by_the_next_and_nothing_is_lost() {
    const KEYS: u32 = 20_000;
    for how in [&[][..], &["--copy"]] {
        let scene = Scene::new("redis-server");
        scene.fill(KEYS);
        let before = scene.source();
        // Slow enough to be caught in the middle.
        let slow = [how, &["--max-rate", "5000", "--pipeline", "50"]].concat();
        let mut child = scene.product.start(&scene.arguments(&slow));
        wait_until("some keys have come in", LIMIT, || scene.arrived() > 2000);
        kill(child.id(), Signal::KILL);
        child.wait().unwrap();
        let halfway = scene.arrived();
        assert!(halfway < u64::from(KEYS), "it was too quick to be killed");

        let body = scene.import(how);
        let [had, moved, left] = numbers(&body);
        assert!(moved > 0 && moved < u64::from(KEYS), "{body:#}");
        match how {
            [] => assert_eq!((had, left), (moved, 0), "{body:#}"),
            _ => assert_eq!((had, left), (u64::from(KEYS), u64::from(KEYS)), "{body:#}"),
        }
        same(&before, &scene.target());
    }
}

#[test]
fn a_key_that_the_cluster_has_with_another_value_stops_it_before_anything_is_moved() {
    let scene = Scene::new("redis-server");
    scene.fill(3000);
    let other = |key: &str, value: &str| {
        let addresses = owned(&scene.cluster, 3);
        let mut set = redis::cmd("SET");
        set.arg(key).arg(value);
        let mut client = Client::new(&urls(&addresses));
        let _: () = client.ask(key.as_bytes(), &set).unwrap();
    };
    other("key:2001", "another");
    // The same value, but it would live for ever.
    other("key:7", "7");
    // This one is the same, as somebody who was cut off leaves it.
    other("key:2003", "2003");
    let error = scene.refused(&[], "SY3317", 6);
    let detail = error["detail"].to_string();
    for name in ["key:2001", "key:7\""] {
        assert!(detail.contains(name), "{error:#}");
    }
    assert!(!detail.contains("key:2003"), "{error:#}");
    assert!(
        error["message"].as_str().unwrap().starts_with("2 keys"),
        "{error:#}"
    );
    assert_eq!(scene.source().len(), 3000);
    assert_eq!(scene.target().len(), 3);

    let before = scene.source();
    let body = scene.import(&["--cluster-replace"]);
    assert_eq!(numbers(&body), [3000, 3000, 0], "{body:#}");
    same(&before, &scene.target());
}

#[test]
fn a_key_on_both_sides_with_one_value_leaves_its_source() {
    let scene = Scene::new("redis-server");
    // A hash table has no order, and each server puts its own into a dump.
    let fields = (0..2000).flat_map(|it| [format!("field:{it}"), format!("value:{it}")]);
    let mut words = vec!["HSET".to_owned(), "table".to_owned()];
    words.extend(fields);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    scene.single.ask::<()>(1, &words);
    let before = scene.source();
    scene.import(&["--copy"]);
    let body = scene.import(&[]);
    assert_eq!(numbers(&body), [1, 1, 0], "{body:#}");
    same(&before, &scene.target());
}

#[test]
fn what_cannot_go_well_is_refused_with_the_way_out_and_nothing_is_moved() {
    let scene = Scene::new("redis-server");
    scene.fill(2000);
    let (seed, second) = (scene.cluster.address(1), scene.cluster.address(2));
    let from = |from: &str| {
        let words = [
            "trib", "import", seed, "--from", from, "--yes", "-o", "json",
        ];
        scene.product.run(&words)
    };
    // A node of a cluster, a server that is not there, a word that is no address.
    refused(&from(second), "SY2442", 6);
    refused(&from("127.0.0.1:1"), "SY2441", 5);
    refused(&from("nonsense"), "SY5001", 2);
    scene.refused(&["--from-user", "app"], "SY5001", 2);
    scene.refused(&["--from-pass", "secret"], "SY5001", 2);
    scene.refused(&["--from-askpass"], "SY5002", 2);

    // A cluster takes no other database than 0.
    scene.single.ask::<()>(1, &["MOVE", "key:1", "3"]);
    let error = scene.refused(&[], "SY2443", 6);
    assert!(error["message"].to_string().contains("1 in 3"), "{error:#}");
    scene.single.ask::<()>(1, &["SWAPDB", "0", "3"]);
    scene.single.ask::<()>(1, &["MOVE", "key:1", "3"]);
    scene.single.ask::<()>(1, &["SWAPDB", "0", "3"]);

    // More than there is room for.
    let large = "x".repeat(20 << 20);
    scene.single.ask::<()>(1, &["SET", "large", &large]);
    scene
        .cluster
        .ask::<()>(2, &["CONFIG", "SET", "maxmemory", "6mb"]);
    let error = scene.refused(&[], "SY2444", 6);
    assert!(error["message"].to_string().contains(second), "{error:#}");
    scene
        .cluster
        .ask::<()>(2, &["CONFIG", "SET", "maxmemory", "0"]);

    // A replica takes no write.
    let (ip, port) = seed.split_once(':').unwrap();
    scene.single.ask::<()>(1, &["REPLICAOF", ip, port]);
    scene.refused(&[], "SY2442", 6);
    scene.single.ask::<()>(1, &["REPLICAOF", "NO", "ONE"]);
    assert_eq!(scene.arrived(), 0);
}

#[test]
fn a_cluster_with_open_slots_or_without_some_takes_no_key() {
    let scene = Scene::new("redis-server");
    scene.fill(100);
    let first = scene.cluster.ask::<String>(1, &["CLUSTER", "MYID"]);
    let open = ["CLUSTER", "SETSLOT", "100", "IMPORTING", &first];
    scene.cluster.ask::<()>(2, &open);
    scene.refused(&[], "SY2431", 6);
    scene
        .cluster
        .ask::<()>(2, &["CLUSTER", "SETSLOT", "100", "STABLE"]);
    for number in 1..=6 {
        scene
            .cluster
            .ask::<()>(number, &["CLUSTER", "DELSLOTS", "9"]);
    }
    scene.refused(&[], "SY2431", 6);
    assert_eq!(scene.source().len(), 100);
}

#[test]
fn each_side_has_a_login_of_its_own() {
    let scene = Scene::new("redis-server");
    scene.fill(500);
    for number in 1..=6 {
        let user = ["ACL", "SETUSER", "default", "resetpass", ">of-the-cluster"];
        scene
            .cluster
            .ask::<()>(number, &["CONFIG", "SET", "masterauth", "of-the-cluster"]);
        scene.cluster.ask::<()>(number, &user);
    }
    let user = [
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">of-the-source",
        "~*",
        "+@all",
    ];
    scene.single.ask::<()>(1, &user);
    scene
        .single
        .ask::<()>(1, &["CONFIG", "SET", "requirepass", "nobody-knows"]);
    let file = scene.product.home().join("from");
    std::fs::write(&file, "of-the-source\n").unwrap();
    let file = file.to_str().unwrap();
    let login = ["--cluster-from-user", "app", "--from-password-file", file];
    let run = |password: &str, login: &[&str]| {
        let mut command = scene.product.command(&scene.arguments(login));
        let output = command.env("REDISCLI_AUTH", password).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.contains("of-the-"), "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(run("wrong", &login)["error"]["code"], "SY2002");
    assert_eq!(run("of-the-cluster", &[])["error"]["code"], "SY2441");
    let body = run("of-the-cluster", &login);
    assert_eq!(numbers(&body), [500, 500, 0], "{body:#}");
}

#[test]
fn a_cluster_of_an_older_version_is_told_so_before_anything_is_moved() {
    let Some(later) = later_server() else {
        return;
    };
    let mut scene = Scene::new("redis-server");
    scene.single = BareServers::start_single(&later);
    scene.fill(100);
    scene.refused(&[], "SY3318", 6);
    assert_eq!(scene.source().len(), 100);
}

/// A server whose dumps the one of this system cannot read.
fn later_server() -> Option<String> {
    servers().contains(&"redis:8").then(|| {
        let root = std::env::var_os("SHARDYARD_SERVERS").map(PathBuf::from);
        let program = root.unwrap().join("redis-8.0/bin/redis-server");
        program.to_str().unwrap().to_owned()
    })
}
