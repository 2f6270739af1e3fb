//! What a failed handshake means, and which connection parameter it is about.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The driver's text for a server that refuses the request for TLS.
const NOT_OFFERED: &str = "server does not support TLS";
/// The driver's text for a log-in without channel binding.
const NOT_BOUND: &str = "server did not use channel binding";

/// The meaning of an error about the protection of the connection; `None` for other errors.
pub(super) fn meaning(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = of_rustls(error) {
            return Some(meaning_of(error));
        }
        match error.to_string().as_str() {
            NOT_OFFERED => return Some("the server offers no TLS, see sslmode"),
            NOT_BOUND => return Some("the log-in was not bound to TLS, see channel_binding"),
            _ => {}
        }
        cause = error.source();
    }
    None
}

/// The error of rustls, which an error of the operating system may wrap.
fn of_rustls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref())
}

fn meaning_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => "the server does not accept the client's certificate, see sslcert",
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the server supports no accepted version of TLS, see ssl_min_protocol_version"
        }
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server does not support a direct handshake, see sslnegotiation"
        }
        _ => "the handshake failed",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not signed by one of sslrootcert"
        }
        CertificateError::NotValidForName => {
            "the server's certificate does not name HOST among its alternative names, see HOST, \
             or sslmode if that is known"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        CertificateError::Other(error) if format!("{error:?}").contains("CaUsedAsEndEntity") => {
            "the server's certificate is an authority's own, and not one of sslrootcert"
        }
        CertificateError::Other(_) => {
            "the server's certificate is of an unsupported kind, such as X.509 version 1"
        }
        _ => "the server's certificate is not one for a server",
    }
}
