//! Checks the certificates of servers to which we make a connection of our own, as the client
//! library does on its own ones.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Takes a certificate of these authorities, whatever name is in it.
pub(super) fn any_name(roots: RootCertStore) -> Option<Arc<dyn ServerCertVerifier>> {
    let inner = WebPkiServerVerifier::builder(Arc::new(roots))
        .build()
        .ok()?;
    Some(Arc::new(Verifier {
        algorithms: algorithms()?,
        authorities: Some(inner),
    }))
}

/// Takes any certificate.
pub(super) fn anybody() -> Option<Arc<dyn ServerCertVerifier>> {
    Some(Arc::new(Verifier {
        algorithms: algorithms()?,
        authorities: None,
    }))
}

/// Those of the program's one TLS provider.
fn algorithms() -> Option<WebPkiSupportedAlgorithms> {
    CryptoProvider::get_default().map(|it| it.signature_verification_algorithms)
}

#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        match authorities.verify_server_cert(certificate, chain, name, ocsp, now) {
            // The chain is good, and the name is not asked for.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
