//! Bad input and faults on a real Docker daemon: each is said with its way out, nothing of others
//! is touched, and what was begun can be finished.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tests::{Ran, Shardyard, docker, inspect, is_docker_there, try_docker};

const TINY: [&str; 6] = ["--shards", "1", "--replicas", "0", "--memory", "48MiB"];

/// Runs `up` against this daemon.
fn up_at(product: &Shardyard, host: &str, arguments: &[&str]) -> Ran {
    let all = [&["up", "--name", product.name(), "--yes"], arguments].concat();
    let ran = product
        .command(&all)
        .env("DOCKER_HOST", host)
        .output()
        .unwrap();
    Ran {
        code: ran.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

fn up(product: &Shardyard, arguments: &[&str]) -> Ran {
    product.run(&[&["up", "--name", product.name(), "--yes"], arguments].concat())
}

/// What was said, and with which exit code.
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{word} is not in:\n{}",
            ran.stderr
        );
    }
}

#[test]
fn without_a_daemon_it_says_where_it_looked_and_what_to_do() {
    let product = Shardyard::on_docker();
    let ran = up_at(&product, "unix:///nowhere/docker.sock", &TINY);
    says(
        &ran,
        5,
        &["SY3201", "unix:///nowhere/docker.sock", "--engine process"],
    );
    let ran = up_at(&product, "tcp://127.0.0.1:1", &TINY);
    says(&ran, 5, &["SY3201", "tcp://127.0.0.1:1"]);
    let ran = up_at(&product, "carrier-pigeon://loft", &TINY);
    says(&ran, 2, &["SY3204", "carrier-pigeon"]);
}

#[test]
fn a_socket_of_others_says_which_group_may_use_it_and_what_that_means() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("docker.sock");
    let _daemon = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).unwrap();
    chown(&socket, Some(0), Some(1)).unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(65_534), Some(65_534)).unwrap();
    let product = Shardyard::in_folder(&home);
    let command = product.command(&[
        "up",
        "--name",
        product.name(),
        "--engine",
        "docker",
        "--yes",
    ]);
    let binary = command.get_program().to_owned();
    let copy = folder.path().join("shardyard");
    fs::copy(binary, &copy).unwrap();
    let ran = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .args(command.get_args())
        .env("SHARDYARD_HOME", &home)
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(5), "{said}");
    for word in ["SY3202", "group daemon", "root on this host"] {
        assert!(said.contains(word), "{said}");
    }
}

/// What an old daemon answers: its version, and nothing else is asked.
#[test]
fn a_daemon_that_is_too_old_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = r#"{"Version":"18.09.1","ApiVersion":"1.39","MinAPIVersion":"1.12"}"#;
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let product = Shardyard::on_docker();
    let ran = up_at(&product, &format!("unix://{}", socket.display()), &TINY);
    says(&ran, 5, &["SY3203", "1.39", "1.41"]);
}

/// A way to the daemon that can be cut and given back, as a daemon that is restarted looks from
/// outside. The daemon itself belongs to others as well.
struct Way {
    socket: PathBuf,
    cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
    _folder: tempfile::TempDir,
}

impl Way {
    fn to(daemon: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (told, kept) = (cut.clone(), open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if told.load(Ordering::SeqCst) {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                }
                let server = UnixStream::connect(daemon).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    kept.lock().unwrap().push(from.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        Self {
            socket,
            cut,
            open,
            _folder: folder,
        }
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn give_back(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_daemon_that_goes_away_in_the_middle_of_up_is_waited_for() {
    if !is_docker_there() {
        return;
    }
    let way = Way::to("/var/run/docker.sock");
    let product = Shardyard::on_docker();
    let host = format!("unix://{}", way.socket.display());
    let arguments = [
        "up",
        "--name",
        product.name(),
        "--memory",
        "48MiB",
        "--yes",
        "-o",
        "json",
    ];
    let child = product
        .command(&arguments)
        .env("DOCKER_HOST", &host)
        .spawn()
        .unwrap();
    // In the midst of making containers: the first ones are there.
    tests::wait_until("the first container", Duration::from_secs(30), || {
        !product.left_on_docker().is_empty()
    });
    way.cut();
    std::thread::sleep(Duration::from_secs(2));
    way.give_back();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert_eq!(product.state(), "ready");
}

#[test]
fn names_of_others_are_refused_and_left_as_they_are() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let (container, network) = (
        product.container("redis-1"),
        format!("shardyard_{}", product.name()),
    );
    let volume = format!("{container}_data");

    docker(&["create", "--name", &container, "redis:7"]);
    says(
        &up(&product, &TINY),
        6,
        &["SY3206", &container, "docker container inspect"],
    );
    assert_eq!(
        inspect("container", &container)["State"]["Status"],
        "created"
    );
    docker(&["rm", &container]);

    docker(&[
        "volume",
        "create",
        "--label",
        "shardyard.instance=other",
        &volume,
    ]);
    says(
        &up(&product, &TINY),
        6,
        &["SY3206", &volume, "docker volume inspect"],
    );
    docker(&["volume", "rm", &volume]);

    product.ok(&[
        "down",
        product.name(),
        "--delete-data",
        "--yes",
        "--confirm",
        product.name(),
    ]);
    docker(&["network", "create", &network]);
    says(
        &up(&product, &TINY),
        6,
        &["SY3206", &network, "docker network inspect"],
    );
    docker(&["network", "rm", &network]);
    assert_eq!(product.up(&TINY)["state"], "ready");
}

#[test]
fn addresses_and_ports_that_others_took_meanwhile_are_named() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let status = product.up(&TINY);
    let endpoint = status["endpoints"][0].as_str().unwrap();
    let third: Vec<&str> = endpoint.trim_start_matches("redis://").split('.').collect();
    product.ok(&["down", product.name(), "--yes"]);
    docker(&["network", "rm", &format!("shardyard_{}", product.name())]);
    let other = format!("{}-other", product.name());
    let subnet = format!("{}.{}.{}.0/24", third[0], third[1], third[2]);
    docker(&["network", "create", "--subnet", &subnet, &other]);
    let ran = up(&product, &[]);
    docker(&["network", "rm", &other]);
    says(&ran, 1, &["SY3207", "docker network ls"]);
    assert_eq!(product.up(&[])["state"], "ready");

    let exposed = Shardyard::on_docker();
    let status = exposed.up(&[&TINY[..], &["--expose", "host"]].concat());
    let address = status["endpoints"][0]
        .as_str()
        .unwrap()
        .trim_start_matches("redis://");
    let address = address.to_owned();
    exposed.ok(&["down", exposed.name(), "--yes"]);
    let holder = TcpListener::bind(&address).unwrap();
    let ran = up(&exposed, &[]);
    drop(holder);
    says(&ran, 1, &["SY3208", &address, "ss -ltnp"]);
    assert_eq!(exposed.up(&[])["state"], "ready");
}

#[test]
fn an_image_that_is_no_use_is_said_before_anything_is_made() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let prefix = format!("{}-image", product.name());
    let folder = tempfile::tempdir().unwrap();
    let (empty, foreign) = (format!("{prefix}/redis:1"), format!("{prefix}/redis:2"));
    let archive = folder.path().join("empty.tar");
    fs::write(&archive, [0; 1024]).unwrap();
    let archive = archive.to_str().unwrap();
    docker(&["import", archive, &empty]);
    load_foreign(folder.path(), &foreign);
    let missing = format!("{prefix}/redis:3");
    let cases: [(&str, &[&str], &[&str]); 4] = [
        (&empty, &[], &["SY2106", "no redis-server in it"]),
        (&foreign, &[], &["SY2106", "it is made for"]),
        (
            &missing,
            &["--pull", "never"],
            &["SY2106", "does not have it"],
        ),
        (&missing, &[], &["SY3210", "docker load"]),
    ];
    for (image, pull, words) in cases {
        let variable = format!("IMAGE={image}");
        let ran = up(&product, &[&TINY[..], &["--set", &variable], pull].concat());
        says(&ran, 6, words);
        assert_eq!(product.left_on_docker(), Vec::<String>::new());
    }
    try_docker(&["rmi", &empty, &foreign]);
}

/// Loads an image of one empty layer that says it is for another machine.
fn load_foreign(folder: &Path, name: &str) {
    // The digest of the empty archive that is the layer: 1024 bytes of zero.
    let layer = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    let other = match std::env::consts::ARCH {
        "x86_64" => "arm64",
        _ => "amd64",
    };
    let config = format!(
        r#"{{"architecture":"{other}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}},"history":[{{"created_by":"a test"}}]}}"#
    );
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":["empty.tar"]}}]"#);
    fs::write(folder.join("config.json"), config).unwrap();
    fs::write(folder.join("manifest.json"), manifest).unwrap();
    let archive = folder.join("foreign.tar");
    let packed = std::process::Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(folder)
        .args(["manifest.json", "config.json", "empty.tar"])
        .status()
        .unwrap();
    assert!(packed.success());
    docker(&["load", "--input", archive.to_str().unwrap()]);
}

fn template(folder: &Path, container: &str, config: &str, restart: &str) -> String {
    let text = format!(
        "apiVersion: shardyard/v1\nkind: Template\nname: own\ntitle: Own\ndescription: Own.\n\
         services:\n  - name: redis\n    image: redis:7\n    container:\n      \
         command: [/c/redis.conf]\n      ports: [6379]\n{container}    \
         files: [{{template: redis.conf, target: /c/redis.conf}}]\n    \
         health: {{tcp: 6379, interval: 1s, timeout: 1s, retries: 3, start_period: 10s}}\n    \
         deployment: {{restart: {restart}}}\n"
    );
    fs::write(folder.join("template.yaml"), text).unwrap();
    fs::write(folder.join("redis.conf"), config).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[test]
fn what_would_lose_data_or_cannot_run_is_refused_before_anything_is_made() {
    if !is_docker_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = "      memory: 48MiB\n      volumes: [{name: data, target: /data}]\n";
    let small = "      memory: 8MiB\n      volumes: [{name: data, target: /data}]\n";
    let log = "port 6379\nappendonly yes\n";
    for (container, config, restart, code) in [
        (
            data,
            "port 6379\nappendonly no\nsave \"\"\n",
            "always",
            "SY3212",
        ),
        (small, log, "always", "SY3213"),
    ] {
        let product = Shardyard::on_docker();
        let template = template(folder.path(), container, config, restart);
        says(&up(&product, &[&template]), 6, &[code]);
        assert_eq!(product.left_on_docker(), Vec::<String>::new());
    }
    let product = Shardyard::on_docker();
    let template = template(folder.path(), data, log, "always");
    assert_eq!(product.up(&[&template])["state"], "ready");
}

#[test]
fn more_containers_than_the_kernel_knows_neighbours_for_are_refused() {
    if !is_docker_there() {
        return;
    }
    let table = fs::read_to_string("/proc/sys/net/ipv4/neigh/default/gc_thresh3").unwrap();
    let table: u64 = table.trim().parse().unwrap();
    let shards = (table.isqrt() + 1).to_string();
    let product = Shardyard::on_docker();
    let many = ["--shards", &shards, "--replicas", "0", "--memory", "32MiB"];
    // So many may be too many for the memory as well; what is refused first is said.
    let ran = up(&product, &[&many[..], &["--dry-run"]].concat());
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    if !ran.stderr.contains("SY2104") {
        says(&ran, 6, &["SY3222", "gc_thresh", "sysctl --system"]);
    }
    assert_eq!(product.left_on_docker(), Vec::<String>::new());
}

#[test]
fn folders_of_the_host_and_powers_over_it_are_refused_unless_they_are_allowed() {
    if !is_docker_there() {
        return;
    }
    let (folder, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(shared.path().join("note"), "from the host").unwrap();
    let product = Shardyard::on_docker();
    for power in ["privileged: true", "devices: [/dev/sda]", "cap_add: [ALL]"] {
        let template = template(
            folder.path(),
            &format!("      {power}\n"),
            "port 6379\n",
            "always",
        );
        let ran = up(&product, &[&template]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("is not taken"), "{}", ran.stderr);
    }
    let volumes = format!(
        "      memory: 48MiB\n      volumes:\n        - {{name: data, target: /data}}\n        \
         - {{name: host, target: /host, host_folder: {}}}\n",
        shared.path().display()
    );
    let template = template(
        folder.path(),
        &volumes,
        "port 6379\nappendonly yes\n",
        "always",
    );
    says(
        &up(&product, &[&template]),
        6,
        &["SY4032", "--allow-host-access", "being root"],
    );
    assert_eq!(product.left_on_docker(), Vec::<String>::new());
    let status = product.up(&[&template, "--allow-host-access"]);
    assert_eq!(status["state"], "ready");
    let mounts = inspect("container", &product.container("redis-1"))["Mounts"].clone();
    let mounts = mounts.as_array().unwrap();
    assert!(
        mounts
            .iter()
            .any(|it| it["Type"] == "bind" && it["Destination"] == "/host")
    );
}

#[test]
fn an_address_that_leads_a_container_to_itself_is_not_announced() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let ran = up(
        &product,
        &[&TINY[..], &["--expose", "host=127.0.0.1"]].concat(),
    );
    says(&ran, 2, &["SY3220", "--expose host="]);
    assert_eq!(product.left_on_docker(), Vec::<String>::new());
}

#[test]
fn the_doctor_says_what_it_cannot_see_and_that_an_open_port_is_root() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    let ran = product
        .command(&["doctor", "-o", "json"])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("SY3201"), "{said}");
    let said = product.run(&["doctor", "-o", "json"]).stdout;
    assert!(!said.contains("SY3201"), "{said}");
}

/// A small file system in place of a volume's folder, full to the last block.
struct FullDisk(String);

impl FullDisk {
    fn over(folder: &str) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", "size=4k", "tmpfs", folder];
        if !tool("mount", &options) {
            let required = std::env::var_os("SHARDYARD_REQUIRE_REAL").is_some();
            assert!(!required, "a file system can be mounted by root alone");
            return None;
        }
        let disk = Self(folder.to_owned());
        let mut rest = fs::File::create(Path::new(folder).join("rest")).unwrap();
        while rest.write_all(&[0; 4096]).is_ok() {}
        Some(disk)
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        assert!(tool("umount", &[&self.0]), "{} stays mounted", self.0);
    }
}

fn tool(program: &str, arguments: &[&str]) -> bool {
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .status()
        .is_ok_and(|it| it.success())
}

#[test]
fn a_full_disk_of_the_daemon_is_said_and_the_next_up_goes_on_with_the_data() {
    if !is_docker_there() {
        return;
    }
    let product = Shardyard::on_docker();
    product.up(&TINY);
    let address = product.address("redis-1");
    let login = format!("auth {}\n", product.password());
    assert_eq!(
        product.say(&address, &format!("{login}set key value\n")),
        ["OK", "OK"]
    );
    product.ok(&["down", product.name(), "--yes"]);
    let volume = format!("{}__files1", product.container("redis-1"));
    let folder = inspect("volume", &volume)["Mountpoint"]
        .as_str()
        .unwrap()
        .to_owned();
    let Some(disk) = FullDisk::over(&folder) else {
        return;
    };
    let ran = up(&product, &[]);
    assert_ne!(ran.code, 0);
    says(&ran, ran.code, &["no space left on device", "redis-1"]);
    drop(disk);
    assert_eq!(product.up(&[])["state"], "ready");
    assert_eq!(
        product.say(&address, &format!("{login}get key\n")),
        ["OK", "value"]
    );
}
