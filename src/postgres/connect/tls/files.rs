//! PEM files, and where libpq looks for those that no parameter names.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::postgres::error::Error;

/// A file of the user's own `.postgresql`.
pub(super) fn of_user(name: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".postgresql").join(name))
}

/// The file's content, None where it is not there.
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

/// The certificates in a PEM file; there is at least one.
pub(super) fn certificates(
    parameter: &str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::parameters(format!("the file of {parameter} holds no certificate"))),
        Err(error) => {
            Err(Error::parameters(format!("the file of {parameter} is no PEM")).because(error))
        }
    }
}
