//! What a failed handshake means, and which connection parameter it is about.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::message::Template;
use crate::postgres::texts;

/// The driver's text for a server that refuses the request for TLS.
const NOT_OFFERED: &str = "server does not support TLS";
/// The driver's text for a log-in without channel binding.
const NOT_BOUND: &str = "server did not use channel binding";

/// The meaning of an error about the protection of the connection; `None` for other errors.
pub(super) fn meaning(error: &(dyn StdError + 'static)) -> Option<&'static Template> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = of_rustls(error) {
            return Some(meaning_of(error));
        }
        match error.to_string().as_str() {
            NOT_OFFERED => return Some(&texts::NO_TLS),
            NOT_BOUND => return Some(&texts::NOT_BOUND),
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

fn meaning_of(error: &Error) -> &'static Template {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => &texts::CLIENT_CERTIFICATE,
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            &texts::TLS_VERSION
        }
        Error::NoApplicationProtocol
        | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => &texts::NO_DIRECT_TLS,
        _ => &texts::HANDSHAKE,
    }
}

fn of_certificate(error: &CertificateError) -> &'static Template {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => &texts::UNKNOWN_ISSUER,
        CertificateError::NotValidForName => &texts::OTHER_HOST,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => &texts::EXPIRED,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            &texts::NOT_VALID_YET
        }
        CertificateError::Other(error) if format!("{error:?}").contains("CaUsedAsEndEntity") => {
            &texts::AUTHORITY
        }
        CertificateError::Other(_) => &texts::UNSUPPORTED_CERTIFICATE,
        _ => &texts::NO_SERVER_CERTIFICATE,
    }
}
