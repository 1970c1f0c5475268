//! `trib` on a cluster that speaks nothing but TLS and asks its clients for a certificate.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tests::{Ran, Shardyard, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// Three servers with a certificate of one authority, and another authority that nobody knows.
struct Servers {
    children: Vec<Child>,
    addresses: Vec<String>,
    folder: TempDir,
}

impl Servers {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (authority, stranger) = (authority("ours"), authority("stranger"));
        let key = KeyPair::generate().unwrap();
        // No address stands in it, as in those of most clusters.
        let server = CertificateParams::new(vec!["redis.example".to_owned()]).unwrap();
        let certificate = server.signed_by(&key, &authority).unwrap();
        for (name, text) in [
            ("ca.crt", authority.pem()),
            ("stranger.crt", stranger.pem()),
            ("redis.crt", certificate.pem()),
            ("redis.key", key.serialize_pem()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut servers = Self {
            children: Vec::new(),
            addresses: Vec::new(),
            folder,
        };
        // An address that only this test process has.
        let part = std::process::id() % 200 + 20;
        for number in 1..=3 {
            servers.add(&format!("127.95.{part}.{number}"));
        }
        servers
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_str().unwrap().to_owned()
    }

    fn add(&mut self, ip: &str) {
        let folder = self.folder.path().join(ip);
        fs::create_dir(&folder).unwrap();
        let (ca, certificate, key) = (
            self.file("ca.crt"),
            self.file("redis.crt"),
            self.file("redis.key"),
        );
        let config = format!(
            "port 0\ntls-port 6379\nbind {ip}\ncluster-announce-ip {ip}\ntls-cluster yes\n\
             tls-replication yes\ntls-ca-cert-file {ca}\ntls-cert-file {certificate}\n\
             tls-key-file {key}\ncluster-enabled yes\nsave \"\"\n"
        );
        fs::write(folder.join("redis.conf"), config).unwrap();
        let child = Command::new("redis-server")
            .arg("redis.conf")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.children.push(child);
        let address = format!("{ip}:6379");
        wait_until("a server listens", LIMIT, || {
            TcpStream::connect(&address).is_ok()
        });
        self.addresses.push(address);
    }

    /// `trib VERB`, with these options.
    fn trib(&self, product: &Shardyard, verb: &str, nodes: &[String], options: &[&str]) -> Ran {
        let mut all = vec!["trib", verb];
        all.extend(nodes.iter().map(String::as_str));
        all.extend(options);
        product.run(&all)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn a_cluster_that_speaks_tls_alone_is_made_and_checked_by_who_it_trusts() {
    let servers = Servers::start();
    let product = Shardyard::new();
    let [ca, stranger, certificate, key] =
        ["ca.crt", "stranger.crt", "redis.crt", "redis.key"].map(|name| servers.file(name));
    let trusted = [
        "--tls",
        "--cacert",
        &ca,
        "--cert",
        &certificate,
        "--key",
        &key,
    ];
    let insecure = ["--tls", "--insecure", "--cert", &certificate, "--key", &key];
    let seed = &servers.addresses[..1];

    let create = [&trusted[..], &["--yes"]].concat();
    let made = servers.trib(&product, "create", &servers.addresses, &create);
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    let checked = servers.trib(&product, "check", seed, &trusted);
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    assert!(
        checked.stdout.contains(&servers.addresses[2]),
        "{}",
        checked.stdout
    );

    // A backup has connections of its own.
    for (name, options) in [("checked", &trusted[..]), ("insecure", &insecure)] {
        let folder = servers.file(name);
        let words = [seed[0].clone(), folder.clone()];
        let ran = servers.trib(&product, "backup", &words, options);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 4);
    }

    // Without TLS, without a certificate of ours, and by the word of an authority that is not
    // theirs there is no way in; the answer names the server.
    for options in [
        &[][..],
        &["--tls", "--cacert", &ca],
        &[
            "--tls",
            "--cacert",
            &stranger,
            "--cert",
            &certificate,
            "--key",
            &key,
        ],
    ] {
        let refused = servers.trib(&product, "check", seed, options);
        assert_eq!(
            refused.code, 5,
            "{options:?} {}{}",
            refused.stdout, refused.stderr
        );
        assert!(refused.stderr.contains(&seed[0]), "{}", refused.stderr);
    }
    assert_eq!(servers.trib(&product, "check", seed, &insecure).code, 0);
}

#[test]
fn a_certificate_that_is_none_is_told_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no.pem");
    fs::write(&file, "hello").unwrap();
    let product = Shardyard::new();
    let file = file.to_str().unwrap();
    let ran = product.run(&["trib", "check", "127.0.0.1:1", "--tls", "--cacert", file]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("no.pem holds nothing in PEM"),
        "{}",
        ran.stderr
    );
    // One half of an identity is none.
    let ran = product.run(&["trib", "check", "127.0.0.1:1", "--tls", "--cert", file]);
    assert_eq!(ran.code, 2);
}
