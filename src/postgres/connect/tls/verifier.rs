//! Whether a server's certificate is good enough for `sslmode`.
//!
//! Beside rustls' own judgement there are three of libpq's. The name counts for `verify-full`
//! alone. A certificate that is itself among the roots is trusted, though it be a CA's: that is what
//! `openssl req -x509` makes. And a root has an end, too.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::files::{certificates, of_user, read};
use super::{Roots, TlsMode};
use crate::postgres::error::Error;

/// The judge of a server's certificate.
pub(super) fn verifier(
    mode: TlsMode,
    roots: &Roots,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let algorithms = provider.signature_verification_algorithms;
    // Where encryption itself is left open, libpq drops it for a certificate that it dislikes. An
    // encrypted connection to who knows whom is the better one.
    let roots = if mode < TlsMode::Require { None } else { trusted(mode, roots)? };
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

/// The certificates to trust, None where any will do.
fn trusted(mode: TlsMode, roots: &Roots) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
    let found = match roots {
        Roots::System => of_system()?,
        Roots::File(path) => match read("sslrootcert", path.as_ref())? {
            Some(pem) => certificates("sslrootcert", &pem)?,
            // libpq goes on without, where sslmode is require. Whoever names a file wants it used.
            None => return Err(Error::parameters("the file of sslrootcert does not exist")),
        },
        Roots::Default => match default_roots()? {
            Some(pem) => certificates("sslrootcert", &pem)?,
            None if mode == TlsMode::Require => return Ok(None),
            None => return Err(no_roots()),
        },
    };
    refuse_revocations()?;
    let now = UnixTime::now();
    // rustls takes a root for ever, libpq does not.
    let is_current = |root: &CertificateDer<'_>| {
        !matches!(dates(root, now), Err(CertificateError::Expired | CertificateError::NotValidYet))
    };
    let current: Vec<_> = found.into_iter().filter(is_current).collect();
    if current.is_empty() {
        return Err(Error::parameters("no certificate of sslrootcert is valid today"));
    }
    Ok(Some(current))
}

fn default_roots() -> Result<Option<Vec<u8>>, Error> {
    of_user("root.crt").map_or(Ok(None), |path| read("sslrootcert", &path))
}

fn of_system() -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(Error::parameters(
            "sslrootcert=system finds no certificates, install ca-certificates or name a file",
        ));
    }
    Ok(found.certs)
}

fn no_roots() -> Error {
    Error::parameters(
        "sslmode asks for a verified certificate, but there is no ~/.postgresql/root.crt: name a \
         file, or system, by sslrootcert",
    )
}

/// libpq reads this file unasked. It is not read here, and must not seem to be.
fn refuse_revocations() -> Result<(), Error> {
    match of_user("root.crl") {
        Some(path) if path.exists() => {
            Err(Error::parameters("~/.postgresql/root.crl is there, but sslcrl is not supported"))
        }
        _ => Ok(()),
    }
}

/// Takes any certificate whose key the server has. Channel binding needs that much.
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

/// Takes a certificate that leads to a root, or is one.
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
        // The name is looked at last, so that for whom it is wrong all else is right.
        match verified {
            Err(error) if !is_about_the_name(&error) => Err(error),
            // Said anew: rustls' own text would name the host.
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
    dates(certificate, now)?;
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

fn is_about_the_name(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};

    matches!(
        error,
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

/// Whether a certificate's time has come, and is not over.
fn dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.tbs_certificate.validity;
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet);
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired);
    }
    Ok(())
}
