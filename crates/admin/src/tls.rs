//! TLS to servers: whom we trust and who we are.
//!
//! As with redis-cli, a server's certificate must come from a trusted authority, and the name in it
//! is not compared: nodes of a cluster are known by address, and their certificates seldom name it.

mod verify;

use std::fmt;
use std::sync::Arc;

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// How to speak TLS.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The authorities that are trusted, as PEM; `None` for those of this system.
    pub authorities: Option<Vec<u8>>,
    /// Our certificate and its key, as PEM, where the servers ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether any certificate will do, so that anybody in between could read along.
    pub trusts_anybody: bool,
}

impl fmt::Debug for Tls {
    /// A key is a secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tls")
    }
}

impl Tls {
    /// Where a server answers.
    pub(crate) const fn address(&self, host: String, port: u16) -> ConnectionAddr {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: self.trusts_anybody,
            tls_params: None,
        }
    }

    /// A client for a connection to such an address.
    ///
    /// # Errors
    /// Where a certificate or a key is none.
    pub(crate) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        let identity = self.identity.clone();
        let certificates = TlsCertificates {
            client_tls: identity.map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: self.authorities.clone(),
        };
        let client = Client::build_with_tls(info, certificates)?;
        let info = client.get_connection_info().clone();
        let mut address = info.addr().clone();
        address.set_danger_accept_invalid_hostnames(!self.trusts_anybody);
        Client::open(info.set_addr(address))
    }

    /// What makes a connection of one's own.
    ///
    /// # Errors
    /// Where a certificate or a key is none, in words.
    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        // It settles which provider the program has, and the verifier asks for that one.
        let builder = ClientConfig::builder();
        let verifier = match self.trusts_anybody {
            true => verify::anybody(),
            false => verify::any_name(self.roots()?),
        };
        let verifier = verifier.ok_or("no certificate can be checked")?;
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|it| it.to_string())?;
                let chain = certificates(certificate)?;
                let known = config.with_client_auth_cert(chain, key);
                known.map_err(|error| error.to_string())?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Whose word is taken.
    fn roots(&self) -> Result<RootCertStore, String> {
        let authorities = match &self.authorities {
            Some(pem) => certificates(pem)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        Ok(roots)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.map_err(|error| error.to_string())
}
