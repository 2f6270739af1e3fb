//! `sslrootcert`: the certificates that must have signed the server's certificate.

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::files::{certificates, of_user, read};
use super::mode::TlsMode;
use super::validity::check_dates;
use crate::postgres::connect::parameters::{Parameters, given};
use crate::postgres::error::Error;

/// Where the root certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Roots {
    File(String),
    /// The certificates of the operating system.
    System,
    /// The user's `root.crt`, if it exists.
    Default,
}

impl Roots {
    /// The place that these parameters name.
    pub(super) fn new(parameters: &Parameters) -> Self {
        match given(parameters, "sslrootcert") {
            Some("system") => Self::System,
            Some(path) => Self::File(path.to_owned()),
            None => Self::Default,
        }
    }

    /// The certificates to trust, `None` if any certificate is accepted.
    pub(super) fn trusted(
        &self,
        mode: TlsMode,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
        let found = match self {
            Self::System => of_system()?,
            Self::File(path) => match read("sslrootcert", path.as_ref())? {
                Some(pem) => certificates("sslrootcert", &pem)?,
                // Stricter than libpq with sslmode=require: a file that is named must be used.
                None => return Err(Error::parameters("the file of sslrootcert does not exist")),
            },
            Self::Default => match of_home()? {
                Some(pem) => certificates("sslrootcert", &pem)?,
                None if mode == TlsMode::Require => return Ok(None),
                None => return Err(no_roots()),
            },
        };
        reject_revocation_list()?;
        let now = UnixTime::now();
        // rustls trusts an expired root, libpq does not.
        let is_current = |root: &CertificateDer<'_>| {
            let expired = [CertificateError::Expired, CertificateError::NotValidYet];
            check_dates(root, now).map_or_else(|error| !expired.contains(&error), |()| true)
        };
        let current: Vec<_> = found.into_iter().filter(is_current).collect();
        if current.is_empty() {
            return Err(Error::parameters("no certificate of sslrootcert is valid today"));
        }
        Ok(Some(current))
    }
}

fn of_home() -> Result<Option<Vec<u8>>, Error> {
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

/// libpq reads this file by default. It is not supported here, and must not be ignored silently.
fn reject_revocation_list() -> Result<(), Error> {
    match of_user("root.crl") {
        Some(path) if path.exists() => {
            Err(Error::parameters("~/.postgresql/root.crl is there, but sslcrl is not supported"))
        }
        _ => Ok(()),
    }
}
