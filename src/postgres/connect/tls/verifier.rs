//! Whether a server's certificate satisfies `sslmode`.
//!
//! Three rules of libpq come on top of rustls'. The name counts for `verify-full` only. A
//! certificate that is itself a root is trusted, even if it is a CA's: `openssl req -x509` makes
//! such a one. A root expires too.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::mode::TlsMode;
use super::roots::Roots;
use super::validity::check_dates;
use crate::postgres::error::Error;

/// The verifier of a server's certificate.
pub(super) fn verifier(
    mode: TlsMode,
    roots: &Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let algorithms = provider.signature_verification_algorithms;
    // With sslmode below require, libpq falls back to no encryption if it rejects the certificate.
    // An encrypted connection to an unverified server is safer.
    let roots = if mode < TlsMode::Require { None } else { roots.trusted(mode)? };
    let Some(roots) = roots else { return Ok(Arc::new(AcceptAny { algorithms })) };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let chain = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
        .build()
        .map_err(|error| {
            Error::parameters("no certificate of sslrootcert is usable").because(error)
        })?;
    Ok(Arc::new(TrustedRoots { chain, roots, checks_name: mode == TlsMode::VerifyFull }))
}

/// Accepts any certificate whose key the server has, which channel binding needs.
#[derive(Debug)]
struct AcceptAny {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Accepts a certificate that a root has signed, or that is a root.
#[derive(Debug)]
struct TrustedRoots {
    chain: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl TrustedRoots {
    fn is_root(&self, certificate: &CertificateDer<'_>) -> bool {
        self.roots.iter().any(|root| root == certificate)
    }
}

impl ServerCertVerifier for TrustedRoots {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = if self.is_root(certificate) {
            verify_root(certificate, name, now)
        } else {
            self.chain.verify_server_cert(certificate, others, name, ocsp, now)
        };
        // The name is checked last: with a wrong name everything else must still be valid.
        match verified {
            Err(error) if !is_name_mismatch(&error) => Err(error),
            // A new error: the text of rustls would name the host.
            Err(_) if self.checks_name => Err(CertificateError::NotValidForName.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn verify_root(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    check_dates(certificate, now)?;
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

fn is_name_mismatch(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};

    matches!(
        error,
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}
