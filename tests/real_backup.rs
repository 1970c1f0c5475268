//! `trib backup` on real servers: a server that starts from the files has every key, and what is no
//! whole backup does not look like one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tests::{
    BareServers, Census, Client, Ran, Shardyard, Writer, census_of, differences, kill,
    plant_on_all, wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Three primaries with a replica each, and a folder for backups.
struct Scene {
    product: Shardyard,
    cluster: BareServers,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            product: Shardyard::new(),
            cluster: BareServers::start("redis-server", 6),
            folder: tempfile::tempdir().unwrap(),
        };
        let mut create = vec!["trib", "create", "--replicas", "1", "--yes"];
        create.extend(scene.cluster.addresses(6));
        scene.product.ok(&create);
        scene
    }

    fn primaries(&self) -> Vec<String> {
        let first = self.cluster.addresses(3).into_iter();
        first.map(str::to_owned).collect()
    }

    fn urls(&self) -> Vec<String> {
        urls(&self.primaries())
    }

    fn on_each(&self, words: &[&str]) {
        for number in 1..=6 {
            self.cluster.ask::<()>(number, words);
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments<'a>(&'a self, to: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        let (seed, to) = (self.cluster.address(1), to.to_str().unwrap());
        let words = ["trib", "backup", seed, to, "-o", "json"];
        [&words[..], more].concat()
    }

    fn backup(&self, to: &Path, more: &[&str]) -> Value {
        self.product.ok(&self.arguments(to, more)).json()
    }

    fn refused(&self, to: &Path, more: &[&str], code: &str, exit: i32) -> Value {
        refused(&self.product.run(&self.arguments(to, more)), code, exit)
    }
}

fn urls(addresses: &[String]) -> Vec<String> {
    addresses.iter().map(|it| format!("redis://{it}")).collect()
}

fn refused(ran: &Ran, code: &str, exit: i32) -> Value {
    assert_eq!(ran.code, exit, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["error"]["code"], code, "{}", ran.stdout);
    ran.json()["error"].clone()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The first word that a command writes.
fn said(program: &str, file: &Path) -> String {
    let output = Command::new(program).arg(file).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The keys of servers that start from the files of a backup.
fn restored(folder: &Path, manifest: &Value) -> Census {
    let files = manifest["files"].as_array().unwrap();
    let servers: Vec<BareServers> = files
        .iter()
        .map(|it| folder.join(it["file"].as_str().unwrap()))
        .map(|file| BareServers::start_from("redis-server", &file))
        .collect();
    let addresses: Vec<String> = servers.iter().map(|it| it.address(1).to_owned()).collect();
    census_of(&mut Client::new(&urls(&addresses)), &addresses)
}

#[test]
fn servers_that_start_from_a_backup_have_every_key() {
    let scene = Scene::new();
    scene.on_each(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let mut client = Client::new(&scene.urls());
    plant_on_all(&mut client, &scene.primaries());
    let before = census_of(&mut client, &scene.primaries());
    assert!(before.len() > 150, "{}", before.len());
    for (name, more) in [
        ("from-replicas", &[][..]),
        ("from-primaries", &["--from-primaries"]),
    ] {
        let writer = Writer::start(scene.urls());
        // What was acknowledged before is in it.
        let late: Vec<String> = (0..60).map(|it| format!("late:{name}:{it}")).collect();
        for key in &late {
            let mut set = redis::cmd("SET");
            set.arg(key).arg("x");
            let _: () = client.ask(key.as_bytes(), &set).unwrap();
        }
        let folder = scene.folder(name);
        let body = scene.backup(&folder, more);
        assert!(writer.stop().acknowledged.len() > 10);

        let text = fs::read_to_string(folder.join("nodes.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["files"], body["files"]);
        assert_eq!(manifest["slots_missing"], "");
        assert_eq!(manifest["nodes"].as_array().unwrap().len(), 6);
        assert_eq!(names(&folder).len(), 4, "{:?}", names(&folder));
        let primaries = scene.primaries();
        for file in manifest["files"].as_array().unwrap() {
            let path = folder.join(file["file"].as_str().unwrap());
            let about = fs::metadata(&path).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, 0o600);
            assert_eq!(file["bytes"], about.len());
            assert_eq!(file["sha256"], said("sha256sum", &path));
            said("redis-check-rdb", &path);
            let source = file["taken_from"].as_str().unwrap().to_owned();
            assert_eq!(primaries.contains(&source), !more.is_empty(), "{file:#}");
            assert_eq!(file["server"], "redis 7.0.15");
        }
        let mut after = restored(&folder, &manifest);
        for key in &late {
            assert!(after.contains_key(key.as_bytes()), "{key} is not in it");
        }
        // The writer's own keys came and went meanwhile.
        after.retain(|key, _| before.contains_key(key));
        assert_eq!(differences(&before, &after, 0), Vec::<String>::new());
    }
}

#[test]
fn a_backup_that_is_cut_off_does_not_look_like_one() {
    let scene = Scene::new();
    let folder = scene.folder("killed");
    // Servers wait for more replicas before they fork.
    scene.on_each(&["CONFIG", "SET", "repl-diskless-sync-delay", "20"]);
    let is_begun = |folder: &Path| folder.exists() && names(folder).len() == 3;
    let whole = |folder: &Path| {
        let names = names(folder);
        names
            .into_iter()
            .filter(|it| !it.ends_with(".rdb.partial"))
            .collect::<Vec<_>>()
    };
    let mut child = scene.product.start(&scene.arguments(&folder, &[]));
    wait_until("it has begun", LIMIT, || is_begun(&folder));
    kill(child.id(), Signal::KILL);
    child.wait().unwrap();
    assert_eq!(whole(&folder), Vec::<String>::new());
    scene.refused(&folder, &[], "SY4053", 6);

    // A server that dies in the middle; what is left is named.
    let mut scene = scene;
    let folder = scene.folder("dead");
    let child = scene.product.start(&scene.arguments(&folder, &[]));
    wait_until("it has begun", LIMIT, || is_begun(&folder));
    for number in 4..=6 {
        scene.cluster.kill(number);
    }
    let output = child.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &error["error"];
    assert_eq!(error["code"], "SY2001", "{error:#}");
    assert_eq!(error["detail"].as_array().unwrap().len(), 3, "{error:#}");
    assert_eq!(whole(&folder), Vec::<String>::new());

    // Interrupted by the user, the same; and once more it is well, from the primaries alone.
    let folder = scene.folder("interrupted");
    let child = scene.product.start(&scene.arguments(&folder, &[]));
    wait_until("it has begun", LIMIT, || is_begun(&folder));
    kill(child.id(), Signal::INT);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(whole(&folder), Vec::<String>::new());
    for number in 1..=3 {
        let sooner = ["CONFIG", "SET", "repl-diskless-sync-delay", "0"];
        scene.cluster.ask::<()>(number, &sooner);
    }
    let folder = scene.folder("again");
    let body = scene.backup(&folder, &[]);
    let sources = body["files"].as_array().unwrap().iter();
    let sources: Vec<&str> = sources
        .map(|it| it["taken_from"].as_str().unwrap())
        .collect();
    assert_eq!(sources, scene.cluster.addresses(3));
}

#[test]
fn what_would_be_no_backup_is_refused() {
    let scene = Scene::new();
    scene.on_each(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let folder = scene.folder("full");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("theirs"), "x").unwrap();
    scene.refused(&folder, &[], "SY4053", 6);
    scene.refused(&scene.folder("nowhere/deep"), &[], "SY4055", 1);
    scene.refused(&folder.join("theirs"), &[], "SY4055", 1);

    // A slot on its way.
    let first = scene.cluster.ask::<String>(1, &["CLUSTER", "MYID"]);
    let open = ["CLUSTER", "SETSLOT", "100", "IMPORTING", &first];
    scene.cluster.ask::<()>(2, &open);
    let folder = scene.folder("moving");
    scene.refused(&folder, &[], "SY2451", 6);
    assert!(!folder.exists());
    scene
        .cluster
        .ask::<()>(2, &["CLUSTER", "SETSLOT", "100", "STABLE"]);

    // Slots that nobody owns.
    scene.on_each(&["CLUSTER", "DELSLOTSRANGE", "7", "9"]);
    let error = scene.refused(&folder, &[], "SY2452", 6);
    assert!(error["message"].to_string().contains("7-9"), "{error:#}");
    let body = scene.backup(&folder, &["--allow-missing"]);
    assert_eq!(body["slots_missing"], "7-9", "{body:#}");
    assert_eq!(names(&folder).len(), 4);
}
