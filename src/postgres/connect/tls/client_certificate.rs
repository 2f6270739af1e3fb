//! The client's certificate and key, which a server may request.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::files::{certificates, of_user, read, unreadable};
use crate::postgres::connect::parameters::{Parameters, given, is_alternative};
use crate::postgres::error::Error;

/// The files of the certificate and its key.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    is_enabled: bool,
}

impl ClientCertificate {
    /// The files that these parameters name. Reads none.
    pub(super) fn new(parameters: &Parameters) -> Result<Self, Error> {
        let path = |name| given(parameters, name).map(PathBuf::from);
        let is_enabled = !is_alternative(parameters, "sslcertmode", "allow", "disable")?;
        Ok(Self { certificate: path("sslcert"), key: path("sslkey"), is_enabled })
    }

    /// The certificate with its key, `None` if there is none.
    pub(super) fn read(
        &self,
        provider: &CryptoProvider,
    ) -> Result<Option<Arc<dyn ResolvesClientCert>>, Error> {
        if !self.is_enabled {
            return Ok(None);
        }
        let Some(certificates) = self.certificates()? else { return Ok(None) };
        let certified =
            CertifiedKey::from_der(certificates, self.key()?, provider).map_err(|error| {
                Error::parameters("sslkey is not the key of sslcert").because(error)
            })?;
        Ok(Some(Arc::new(SingleCertAndKey::from(certified))))
    }

    fn certificates(&self) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
        let Some(path) = self.certificate.clone().or_else(|| of_user("postgresql.crt")) else {
            return Ok(None);
        };
        match read("sslcert", &path)? {
            Some(pem) => certificates("sslcert", &pem).map(Some),
            None if self.certificate.is_some() => {
                Err(Error::parameters("the file of sslcert does not exist"))
            }
            None => Ok(None),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let path = self.key.clone().or_else(|| of_user("postgresql.key"));
        let path = path.ok_or_else(missing)?;
        let pem = read("sslkey", &path)?.ok_or_else(missing)?;
        check_permissions(&path)?;
        if pem.windows(9).any(|word| word == b"ENCRYPTED") {
            return Err(Error::parameters(
                "the file of sslkey is encrypted, which is not supported: keep the key without a \
                 password, readable by its owner alone",
            ));
        }
        PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| Error::parameters("the file of sslkey holds no key").because(error))
    }
}

fn missing() -> Error {
    Error::parameters("the file of sslkey, the key of sslcert, does not exist")
}

fn check_permissions(path: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable("sslkey", error))?;
    if metadata.is_file() && !others_may_read(&metadata) {
        return Ok(());
    }
    Err(Error::parameters(
        "the file of sslkey is open to others: it must be a plain file with mode 0600, or 0640 if \
         root owns it",
    ))
}

/// The rule of libpq: the group may read a key that root owns.
#[cfg(unix)]
fn others_may_read(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    metadata.mode() & forbidden != 0
}

#[cfg(not(unix))]
fn others_may_read(_: &Metadata) -> bool {
    false
}
