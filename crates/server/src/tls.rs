//! TLS at the door: the certificate with its key, taken up anew when their files change, and a
//! listener on which a handshake that does not go on keeps nobody else waiting.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::serve::Listener;
use model::fault::{Class, Fault};
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take: one is two turns of the network.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How many are under way at most: each holds a connection and some KiB.
const HANDSHAKES_MAX: usize = 512;
/// The pause after which the next connection is waited for where none could be taken, as when there
/// are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether the files have changed.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// The largest file that is read: a chain and a key have some KiB.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// A certificate and its key, and the files that they come from.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    now: RwLock<Now>,
}

/// What is in use.
#[derive(Clone)]
struct Now {
    config: Arc<ServerConfig>,
    /// The server's own certificate, which says for which names it is.
    own: CertificateDer<'static>,
    /// By what a change of the files is seen.
    seen: Seen,
}

/// The number, size and time of each of the two files.
type Seen = [(u64, u64, i64, i64); 2];

impl std::fmt::Debug for Tls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Tls({})", self.certificate.display())
    }
}

impl Tls {
    /// Reads a certificate, with those between it and its authority after it, and its key, in PEM.
    ///
    /// # Errors
    /// Where they cannot be read, or do not belong to each other.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, Fault> {
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            now: RwLock::new(load(certificate, key)?),
        })
    }

    fn now(&self) -> Now {
        self.now
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the certificate is for the name of a `Host` head line.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
            Some(_) | None => host,
        };
        let name = ServerName::try_from(name.trim_matches(['[', ']']));
        let own = self.now().own;
        let parsed = ParsedCertificate::try_from(&own);
        matches!((name, parsed), (Ok(name), Ok(own)) if verify_server_name(&own, &name).is_ok())
    }

    /// Takes the files up where they have changed. What cannot be used is left, and what was in use
    /// goes on. Gives whether anything was tried, and what came of it.
    fn refresh(&self) -> Option<Result<(), Fault>> {
        let seen = seen(&self.certificate, &self.key).ok()?;
        if seen == self.now().seen {
            return None;
        }
        let loaded = load(&self.certificate, &self.key);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        Some(match loaded {
            Ok(new) => {
                *now = new;
                Ok(())
            }
            Err(fault) => {
                // The same files are not tried again.
                now.seen = seen;
                Err(fault)
            }
        })
    }

    /// Looks at the files for ever, and tells what came of a change.
    pub(crate) async fn watch(&self, tell: impl Fn(Result<(), Fault>)) {
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            if let Some(came) = self.refresh() {
                tell(came);
            }
        }
    }

    /// Takes connections, and gives those whose handshake is done.
    pub(crate) fn listen(self: &Arc<Self>, listener: TcpListener) -> Shaken {
        let address = listener.local_addr();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(shake(self.clone(), listener, sender));
        Shaken { receiver, address }
    }
}

/// A connection, and where it comes from.
type Guest = (TlsStream<TcpStream>, SocketAddr);

async fn shake(tls: Arc<Tls>, listener: TcpListener, sender: mpsc::Sender<Guest>) {
    let under_way = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while !sender.is_closed() {
        let Ok(permit) = under_way.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(tls.now().config);
        let sender = sender.clone();
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
            drop(permit);
            // Who does not speak TLS, or not in time, is not let in, and that is all.
            if let Ok(Ok(stream)) = shaken {
                let _ = sender.send((stream, from)).await;
            }
        });
    }
}

/// The connections whose handshake is done.
#[derive(Debug)]
pub(crate) struct Shaken {
    receiver: mpsc::Receiver<Guest>,
    address: io::Result<SocketAddr>,
}

impl Listener for Shaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.receiver.recv().await {
            Some(guest) => guest,
            // The task that shakes hands ends with the program alone.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::from(error.kind())),
        }
    }
}

fn seen(certificate: &Path, key: &Path) -> io::Result<Seen> {
    let mark = |file: &Path| {
        let it = fs::metadata(file)?;
        io::Result::Ok((it.ino(), it.len(), it.mtime(), it.mtime_nsec()))
    };
    Ok([mark(certificate)?, mark(key)?])
}

fn load(certificate: &Path, key: &Path) -> Result<Now, Fault> {
    // Before they are read: what changes meanwhile is read again.
    let seen = seen(certificate, key).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        unusable(format!("{certificate} and {key} cannot both be found")).with_cause(error)
    })?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let shown = certificate.display();
    let chain = chain.map_err(|error| unusable(format!("{shown} is no PEM")).with_cause(error))?;
    let own = chain
        .first()
        .cloned()
        .ok_or_else(|| unusable(format!("{shown} holds no certificate in PEM")))?;
    let shown = key.display();
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| unusable(format!("{shown} holds no key in PEM")).with_cause(error))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret);
    let mut config = config.map_err(|error| {
        let certificate = certificate.display();
        unusable(format!("{certificate} and {shown} cannot be used together")).with_cause(error)
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Now {
        config: Arc::new(config),
        own,
        seen,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let shown = file.display();
    let cannot = |error: io::Error| unusable(format!("{shown} cannot be read")).with_cause(error);
    if fs::metadata(file).map_err(cannot)?.len() > FILE_SIZE_MAX {
        return Err(unusable(format!(
            "{shown} is too large for what it should be"
        )));
    }
    fs::read(file).map_err(cannot)
}

fn unusable(message: String) -> Fault {
    Fault::new("SY6020", Class::Usage, message).with_help(
        "--tls-cert is the server's certificate, followed by those between it and its authority, \
         and --tls-key its key, both in PEM",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_where_the_certificate_is_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
        let write = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            fs::write(&certificate, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        };
        write(&["ops.example", "10.0.0.4", "::1"]);
        let tls = Tls::open(&certificate, &key).unwrap();
        for host in [
            "ops.example",
            "OPS.example:7470",
            "10.0.0.4:7470",
            "[::1]:7470",
        ] {
            assert!(tls.is_for(host), "{host}");
        }
        for host in [
            "",
            ":",
            "evil.test",
            "10.0.0.5:7470",
            "ops.example.evil.test",
        ] {
            assert!(!tls.is_for(host), "{host}");
        }
        assert!(tls.refresh().is_none(), "nothing has changed");

        write(&["another.example"]);
        assert_eq!(tls.refresh(), Some(Ok(())));
        assert!(tls.is_for("another.example") && !tls.is_for("ops.example"));
        fs::write(&key, "no key").unwrap();
        let code = |it: Result<(), Fault>| it.map_err(|fault| fault.code.0);
        assert_eq!(tls.refresh().map(code), Some(Err("SY6020")));
        assert!(
            tls.refresh().is_none(),
            "the same files are not tried again"
        );
        assert!(tls.is_for("another.example"), "what was in use goes on");
    }

    #[test]
    fn files_that_do_not_belong_together_are_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let made = || rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let certificate = write("one.crt", &one.cert.pem());
        let key = write("one.key", &one.signing_key.serialize_pem());
        let others = write("other.key", &other.signing_key.serialize_pem());
        let empty = write("empty", "");
        assert!(Tls::open(&certificate, &key).is_ok());
        for (certificate, key, part) in [
            (&certificate, &others, "cannot be used together"),
            (&certificate, &certificate, "holds no key"),
            (&empty, &key, "holds no certificate"),
            (
                &certificate,
                &folder.path().join("none"),
                "cannot both be found",
            ),
        ] {
            let fault = Tls::open(certificate, key).unwrap_err();
            assert_eq!(fault.code.0, "SY6020");
            assert!(fault.message.contains(part), "{fault}");
        }
    }
}
