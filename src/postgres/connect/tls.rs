//! What `sslmode` and its kin ask for, and the handshake that gives it.
//!
//! They mean what libpq means by them. Files are read anew for each handshake, so that a renewed
//! certificate needs no new process. The cryptography is a value of ours: no default is installed
//! for a process that belongs to somebody else.

mod files;
mod identity;

mod verifier;

use std::pin::Pin;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::identity::Identification;
use self::verifier::verifier;
use crate::postgres::connect::parameters::Parameters;
use crate::postgres::error::Error;

/// The parameters that are read here.
pub(crate) const TLS_PARAMETERS: &[&str] = &[
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
];

/// What the server of a `direct` handshake wants to hear.
const PROTOCOL: &[u8] = b"postgresql";

/// How safe a connection has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Where the certificates are that a server's must be signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    File(String),
    /// Those of the operating system.
    System,
    /// `root.crt` of the user, if it is there.
    Default,
}

/// What is asked of an encrypted connection.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<TlsOptions>);

#[derive(Debug)]
struct TlsOptions {
    mode: TlsMode,
    roots: Roots,
    identity: Identification,
    direct: bool,
    name_the_host: bool,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Tls {
    /// What these parameters ask for. Reads no file.
    pub(crate) fn new(parameters: &Parameters) -> Result<Self, Error> {
        let given = |name| given(parameters, name);
        let roots = match given("sslrootcert") {
            Some("system") => Roots::System,
            Some(path) => Roots::File(path.to_owned()),
            None => Roots::Default,
        };
        let otherwise = if roots == Roots::System { TlsMode::VerifyFull } else { TlsMode::Prefer };
        let mode = given("sslmode").map_or(Ok(otherwise), mode)?;
        let direct = one_of(parameters, "sslnegotiation", "postgres", "direct")?;
        if direct && mode < TlsMode::Require {
            return Err(Error::parameters("sslnegotiation=direct needs sslmode=require or more"));
        }
        if roots == Roots::System && mode < TlsMode::VerifyFull {
            return Err(Error::parameters("sslrootcert=system needs sslmode=verify-full"));
        }
        if mode == TlsMode::VerifyFull && given("host").is_none() && given("hostaddr").is_some() {
            return Err(Error::parameters("sslmode=verify-full needs a host, not only hostaddr"));
        }
        Ok(Self(Arc::new(TlsOptions {
            mode: if over_sockets_only(parameters) { TlsMode::Disable } else { mode },
            roots,
            identity: Identification::new(parameters)?,
            direct,
            name_the_host: !one_of(parameters, "sslsni", "1", "0")?,
            versions: versions(parameters)?,
        })))
    }

    pub(crate) fn mode(&self) -> TlsMode {
        self.0.mode
    }

    pub(crate) fn negotiation(&self) -> SslNegotiation {
        // A socket takes no handshake, so there is nothing to negotiate.
        let direct = self.0.direct && self.0.mode != TlsMode::Disable;
        if direct { SslNegotiation::Direct } else { SslNegotiation::Postgres }
    }

    /// The handshake's configuration, with the files as they are now.
    fn client_config(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier(self.0.mode, &self.0.roots, &provider)?;
        let identity = self.0.identity.read(&provider)?;
        let building = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.0.versions)
            .map_err(Error::handshake)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => building.with_client_cert_resolver(identity),
            None => building.with_no_client_auth(),
        };
        config.enable_sni = self.0.name_the_host;
        if self.0.direct {
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
        }
        Ok(config)
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type TlsConnect = Handshake;
    type Error = Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Error> {
        Ok(Handshake { tls: self.clone(), host: host.to_owned() })
    }
}

/// A handshake to come, with a server that has agreed to one.
pub(crate) struct Handshake {
    tls: Tls,
    host: String,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<S>>::Stream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let mut make = MakeRustlsConnect::new(self.tls.client_config()?);
            let Ok(connect) = MakeTlsConnect::<S>::make_tls_connect(&mut make, &self.host);
            connect.connect(stream).await.map_err(Error::handshake)
        })
    }
}

/// A parameter's value; an empty one is none, as in libpq.
fn given<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn mode(value: &str) -> Result<TlsMode, Error> {
    match value {
        "disable" => Ok(TlsMode::Disable),
        "allow" => Ok(TlsMode::Allow),
        "prefer" => Ok(TlsMode::Prefer),
        "require" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        _ => Err(Error::parameters(format!("sslmode={value} is not supported"))),
    }
}

/// Whether a parameter has its other value.
fn one_of(parameters: &Parameters, name: &str, usual: &str, other: &str) -> Result<bool, Error> {
    match given(parameters, name) {
        None => Ok(false),
        Some(value) if value == usual => Ok(false),
        Some(value) if value == other => Ok(true),
        Some(_) => Err(Error::parameters(format!("{name} is not {usual} or {other}"))),
    }
}

/// The versions of TLS that are let in. Below 1.2 there is none.
fn versions(parameters: &Parameters) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let minimum = "ssl_min_protocol_version";
    let newest_only = match given(parameters, minimum) {
        None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
        Some("TLSv1.3") => true,
        Some(_) => return Err(Error::parameters(format!("{minimum} is not TLSv1.2 or TLSv1.3"))),
    };
    let oldest_only = !one_of(parameters, "ssl_max_protocol_version", "TLSv1.2", "TLSv1.3")?
        && given(parameters, "ssl_max_protocol_version").is_some();
    match (newest_only, oldest_only) {
        (false, false) => Ok(vec![&TLS13, &TLS12]),
        (true, false) => Ok(vec![&TLS13]),
        (false, true) => Ok(vec![&TLS12]),
        (true, true) => Err(Error::parameters(format!("{minimum} is above the maximum"))),
    }
}

/// Unix sockets are never encrypted, whatever `sslmode` says. In a list of both kinds a socket
/// fails where encryption is required, and the next host is tried.
fn over_sockets_only(parameters: &Parameters) -> bool {
    given(parameters, "hostaddr").is_none()
        && given(parameters, "host").is_some_and(|hosts| {
            hosts.split(',').all(|host| host.starts_with('/') || host.starts_with('@'))
        })
}
