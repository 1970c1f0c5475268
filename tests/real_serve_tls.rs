//! `shardyard serve` over TLS: who trusts it gets in, whoever speaks in clear or not at all does not
//! and keeps nobody waiting, and a new certificate is taken up without a restart.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tests::{Ran, Shardyard, kill, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// An authority that makes certificates into a folder.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(parameters, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn file(&self, name: &str) -> String {
        let file = self.folder.path().join(name);
        file.to_str().unwrap().to_owned()
    }

    /// Makes a certificate for these names, and its key.
    fn certify(&self, name: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(names).unwrap();
        let made = made.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{name}.crt")), made.pem()).unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A server that speaks TLS.
struct Served {
    child: Child,
    port: u16,
    token: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        kill(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Served {
    fn start(shardyard: &Shardyard, authority: &Authority) -> Self {
        let (certificate, key) = (authority.file("server.crt"), authority.file("server.key"));
        let mut child = shardyard.start(&[
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
            "-o",
            "json",
        ]);
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["url"].as_str().unwrap();
        let address = url.strip_prefix("https://").unwrap().trim_end_matches('/');
        let address: SocketAddr = address.parse().unwrap();
        Self {
            child,
            port: address.port(),
            token: said["token"].as_str().unwrap().to_owned(),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }
}

/// Runs the command line with this on stdin.
fn given(own: &Shardyard, arguments: &[&str], text: &str) -> Ran {
    let mut command = own.command(arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn who_trusts_the_certificate_gets_in_from_anywhere_and_nobody_else() {
    let (here, own) = (Shardyard::new(), Shardyard::new());
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.certify("server", &["127.0.0.1"]);
    let served = Served::start(&here, &authority);
    let url = served.url("127.0.0.1");
    let (ca, other) = (authority.file("ca.crt"), stranger.file("ca.crt"));
    let token = format!("{}\n", served.token);

    let refused = |arguments: &[&str], part: &str| {
        let ran = given(&own, arguments, &token);
        assert_eq!(ran.code, 5, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("error[SY5012]"), "{}", ran.stderr);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    };
    refused(&["login", "--server", &url], "--ca FILE");
    refused(&["login", "--server", &url, "--ca", &other], "--ca FILE");
    let named = served.url("localhost");
    refused(&["login", "--server", &named, "--ca", &ca], "--ca FILE");

    let login = given(&own, &["login", "--server", &url, "--ca", &ca], &token);
    assert_eq!(login.code, 0, "{}", login.stderr);
    own.ok(&["ls", "--server", &url, "--ca", &ca]);

    // In clear nobody is answered.
    let mut clear = served.connect();
    let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    clear.write_all(request).unwrap();
    let mut heard = Vec::new();
    let _ = clear.read_to_end(&mut heard);
    assert!(
        !String::from_utf8_lossy(&heard).contains("HTTP/"),
        "{heard:?}"
    );

    // Another certificate, for another name, counts from now on.
    authority.certify("server", &["localhost"]);
    wait_until("the new certificate is taken up", LIMIT, || {
        let arguments = ["ls", "--server", &named, "--ca", &ca];
        // It is another name, for which nobody has logged in: that is the server's own answer.
        own.run(&arguments).stderr.contains("error[SY6001]")
    });
    refused(&["login", "--server", &url, "--ca", &ca], "--ca FILE");
}

#[test]
fn a_handshake_that_does_not_go_on_keeps_nobody_waiting_and_is_ended() {
    let (here, own) = (Shardyard::new(), Shardyard::new());
    let authority = Authority::new();
    authority.certify("server", &["127.0.0.1"]);
    let served = Served::start(&here, &authority);
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = (0..64).map(|_| served.connect()).collect();
    for stream in &mut silent {
        // The beginning of a record that never ends.
        stream.write_all(&[22, 3, 1]).unwrap();
    }
    let (url, ca) = (served.url("127.0.0.1"), authority.file("ca.crt"));
    let ran = own.run(&["ls", "--server", &url, "--ca", &ca]);
    assert!(ran.stderr.contains("error[SY6001]"), "{}", ran.stderr);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    for stream in &mut silent {
        let mut rest = Vec::new();
        // Ended by the server, whether with a word or without.
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn what_cannot_be_served_is_told_before_it_is() {
    let own = Shardyard::new();
    let authority = Authority::new();
    authority.certify("server", &["127.0.0.1"]);
    authority.certify("other", &["127.0.0.1"]);
    let check = |arguments: &[&str], code: i32, error: &str| {
        let ran = own.run(&[&["serve", "--listen"], arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(error), "{arguments:?}: {}", ran.stderr);
    };
    let (certificate, key) = (authority.file("server.crt"), authority.file("server.key"));
    let others = authority.file("other.key");
    let none = Path::new(&certificate).with_extension("none");
    let none = none.to_str().unwrap();
    check(&["0.0.0.0:0"], 6, "error[SY6016]");
    check(&["0.0.0.0:0", "--tls-cert", &certificate], 2, "--tls-key");
    let both = |certificate, key| ["0.0.0.0:0", "--tls-cert", certificate, "--tls-key", key];
    check(&both(&certificate, &others), 2, "error[SY6020]");
    check(&both(none, &key), 2, "error[SY6020]");
    check(&both(&key, &key), 2, "error[SY6020]");
}
