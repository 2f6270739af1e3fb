//! PEM files, and libpq's default places for them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::postgres::error::Error;

/// The path of a file in the user's `.postgresql`.
pub(super) fn of_user(name: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".postgresql").join(name))
}

/// The content of a file, `None` if it does not exist.
pub(super) fn read(parameter: &str, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(parameter, error)),
    }
}

pub(super) fn unreadable(parameter: &str, error: std::io::Error) -> Error {
    Error::parameters(format!("the file of {parameter} cannot be read")).because(error)
}

/// The certificates in a PEM file; at least one.
pub(super) fn certificates(
    parameter: &str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::parameters(format!("the file of {parameter} holds no certificate"))),
        Err(error) => {
            let detail = format!("the file of {parameter} is not a PEM file");
            Err(Error::parameters(detail).because(error))
        }
    }
}
