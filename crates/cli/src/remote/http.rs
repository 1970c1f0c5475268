//! HTTP as far as a server is asked: one connection for each request, with a limit on each wait.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use model::fault::{Class, Code, Fault};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use server::wire::ProblemBody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::url::Url;

/// How long a connection may take to come about, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the head of an answer may take: a login is slow on purpose, and `ls` looks around.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The longest answer that is no stream.
const ANSWER_MAX: usize = 16 << 20;

/// Asks one server.
pub(super) struct Client {
    url: Url,
    tls: Option<TlsConnector>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Client({})", self.url.authority)
    }
}

/// A connection, whatever it is made of.
trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

impl Client {
    /// Asks the server at this place; over TLS these authorities are trusted, or the system's.
    pub(super) fn new(url: Url, authorities: Option<&Path>) -> Result<Self, Fault> {
        let tls = url.is_tls.then(|| connector(authorities)).transpose()?;
        Ok(Self { url, tls })
    }

    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request and gives the answer, where it is a good one.
    pub(super) async fn send(
        &self,
        (method, path): (Method, &str),
        head: &[(HeaderName, String)],
        body: String,
    ) -> Result<Response<Incoming>, Fault> {
        let connecting = tokio::time::timeout(CONNECT_LIMIT, self.connect());
        let mut sender = connecting.await.map_err(|_| {
            let seconds = CONNECT_LIMIT.as_secs();
            self.unreachable(format!("no connection within {seconds} s"))
        })??;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.url.authority)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in head {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| self.unreachable(error))?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, sender.send_request(request)).await;
        let answer = answer.map_err(|_| {
            let seconds = ANSWER_LIMIT.as_secs();
            self.unreachable(format!("no answer within {seconds} s"))
        })?;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(problem(answer).await)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let Url { host, port, .. } = &self.url;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        let pipe: Box<dyn Pipe> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from(host.clone());
                let name = name.map_err(|error| self.unreachable(error))?;
                let stream = tls.connect(name, stream).await;
                Box::new(stream.map_err(|error| self.untrusted(&error))?)
            }
        };
        let shaken = http1::handshake(TokioIo::new(pipe)).await;
        let (sender, connection) = shaken.map_err(|error| self.unreachable(error))?;
        // Its errors reach whoever waits for the answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn unreachable(&self, cause: impl std::fmt::Display) -> Fault {
        let message = format!("the server at {} cannot be asked", self.url.origin());
        Fault::new("SY5012", Class::Unreachable, message)
            .with_cause(cause)
            .with_help("see whether it runs there: shardyard serve; its address is --server URL")
    }

    fn untrusted(&self, error: &std::io::Error) -> Fault {
        self.unreachable(error).with_help(
            "a certificate of an authority of your own is trusted by --ca FILE; it must be for \
             the name in --server URL",
        )
    }
}

fn connector(authorities: Option<&Path>) -> Result<TlsConnector, Fault> {
    let mut roots = RootCertStore::empty();
    let trusted = match authorities {
        None => rustls_native_certs::load_native_certs().certs,
        Some(file) => certificates(file)?,
    };
    roots.add_parsable_certificates(trusted);
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let wrong = |message: String| Fault::new("SY5013", Class::Usage, message);
    let shown = file.display();
    let text = fs::read(file)
        .map_err(|error| wrong(format!("{shown} cannot be read")).with_cause(error))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| wrong(format!("{shown} is no PEM")).with_cause(error))?;
    if all.is_empty() {
        return Err(wrong(format!("{shown} holds no certificate in PEM")));
    }
    Ok(all)
}

/// The JSON of an answer.
pub(super) async fn json(answer: Response<Incoming>) -> Result<Value, Fault> {
    let text = whole(answer).await?;
    serde_json::from_slice(&text).map_err(|error| strange("it is no JSON").with_cause(error))
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Fault> {
    let body = Limited::new(answer.into_body(), ANSWER_MAX);
    let read = tokio::time::timeout(ANSWER_LIMIT, body.collect()).await;
    let read = read.map_err(|_| strange("it does not end"))?;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| strange("it broke off").with_cause(error))
}

/// What the server has against it.
async fn problem(answer: Response<Incoming>) -> Fault {
    let status = answer.status();
    let text = whole(answer).await.unwrap_or_default();
    let body: Option<ProblemBody> = serde_json::from_slice(&text).ok();
    body.and_then(fault)
        .unwrap_or_else(|| strange(&format!("it is HTTP {status}")))
}

fn fault(body: ProblemBody) -> Option<Fault> {
    Some(Fault {
        code: Code::parse(&body.code)?,
        class: Class::of_exit_code(body.exit_code)?,
        message: body.title,
        causes: body.causes,
        detail: body.detail,
        help: body.help,
    })
}

/// An answer that no server of ours gives.
pub(super) fn strange(why: &str) -> Fault {
    Fault::new(
        "SY5012",
        Class::Unreachable,
        format!("the answer is not one of Shardyard's: {why}"),
    )
    .with_help("see what listens there, and whether a proxy stands before it")
}
