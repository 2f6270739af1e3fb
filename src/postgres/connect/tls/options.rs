//! The TLS parameters of libpq → the options of a handshake.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::client_certificate::ClientCertificate;
use super::mode::TlsMode;
use super::roots::Roots;
use crate::postgres::connect::parameters::{Parameters, given, is_alternative};
use crate::postgres::error::Error;

/// The options of a handshake.
#[derive(Debug)]
pub(super) struct TlsOptions {
    pub(super) mode: TlsMode,
    pub(super) roots: Roots,
    pub(super) client_certificate: ClientCertificate,
    pub(super) sends_host_name: bool,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    direct: bool,
}

impl TlsOptions {
    /// The options of these parameters. Reads no file.
    pub(super) fn new(parameters: &Parameters) -> Result<Self, Error> {
        let roots = Roots::new(parameters);
        let default = if roots == Roots::System { TlsMode::VerifyFull } else { TlsMode::Prefer };
        let mode = given(parameters, "sslmode").map_or(Ok(default), TlsMode::parse)?;
        let direct = is_alternative(parameters, "sslnegotiation", "postgres", "direct")?;
        check(parameters, mode, &roots, direct)?;
        Ok(Self {
            mode: if uses_sockets_only(parameters) { TlsMode::Disable } else { mode },
            roots,
            client_certificate: ClientCertificate::new(parameters)?,
            sends_host_name: !is_alternative(parameters, "sslsni", "1", "0")?,
            versions: versions(parameters)?,
            direct,
        })
    }

    /// Whether the handshake begins without PostgreSQL's own negotiation. A socket has none.
    pub(super) fn is_direct(&self) -> bool {
        self.direct && self.mode != TlsMode::Disable
    }
}

/// Rejects parameters that contradict each other.
fn check(parameters: &Parameters, mode: TlsMode, roots: &Roots, direct: bool) -> Result<(), Error> {
    let has_host = given(parameters, "host").is_some();
    let has_address = given(parameters, "hostaddr").is_some();
    if direct && mode < TlsMode::Require {
        return Err(Error::parameters("sslnegotiation=direct needs sslmode=require or more"));
    }
    if *roots == Roots::System && mode < TlsMode::VerifyFull {
        return Err(Error::parameters("sslrootcert=system needs sslmode=verify-full"));
    }
    if mode == TlsMode::VerifyFull && !has_host && has_address {
        return Err(Error::parameters("sslmode=verify-full needs a host, not only hostaddr"));
    }
    Ok(())
}

/// The accepted TLS versions; 1.2 is the oldest that is supported.
fn versions(parameters: &Parameters) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let (minimum, maximum) = ("ssl_min_protocol_version", "ssl_max_protocol_version");
    let newest_only = match given(parameters, minimum) {
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
        Some("TLSv1.3") => true,
        Some(_) => return Err(Error::parameters(format!("{minimum} is not TLSv1.2 or TLSv1.3"))),
    };
    let oldest_only = !is_alternative(parameters, maximum, "TLSv1.2", "TLSv1.3")?
        && given(parameters, maximum).is_some();
    match (newest_only, oldest_only) {
        (false, false) => Ok(vec![&TLS13, &TLS12]),
        (true, false) => Ok(vec![&TLS13]),
        (false, true) => Ok(vec![&TLS12]),
        (true, true) => Err(Error::parameters(format!("{minimum} is above the maximum"))),
    }
}

/// Whether all hosts are Unix sockets, which are never encrypted. In a mixed list a socket fails if
/// encryption is required, and the next host is tried.
fn uses_sockets_only(parameters: &Parameters) -> bool {
    given(parameters, "hostaddr").is_none()
        && given(parameters, "host").is_some_and(|hosts| {
            hosts.split(',').all(|host| host.starts_with('/') || host.starts_with('@'))
        })
}
