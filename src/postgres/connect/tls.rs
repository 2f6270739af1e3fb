//! The TLS handshake that `sslmode` and its companions require.
//!
//! They mean what they mean in libpq. Files are read at each handshake, so a renewed certificate
//! needs no restart. No default cryptography provider is installed: the process is not ours.

mod client_certificate;
mod files;
mod mode;
mod options;
mod roots;
mod validity;
mod verifier;

use std::pin::Pin;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::options::TlsOptions;
use self::verifier::verifier;
use crate::postgres::connect::parameters::Parameters;
use crate::postgres::error::Error;

/// The protocol name that a server requires in a `direct` handshake.
const PROTOCOL: &[u8] = b"postgresql";

/// Makes TLS handshakes for the drivers.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<TlsOptions>);

impl Tls {
    /// The TLS options of these parameters. Reads no file.
    pub(crate) fn new(parameters: &Parameters) -> Result<Self, Error> {
        Ok(Self(Arc::new(TlsOptions::new(parameters)?)))
    }

    /// The modes of the driver to try in turn.
    pub(crate) fn driver_modes(&self) -> &'static [SslMode] {
        self.0.mode.driver_modes()
    }

    /// How the handshake begins.
    pub(crate) fn negotiation(&self) -> SslNegotiation {
        if self.0.is_direct() { SslNegotiation::Direct } else { SslNegotiation::Postgres }
    }

    /// A handshake with the server of this name.
    pub(crate) fn handshake(&self, host: &str) -> Handshake {
        Handshake { tls: self.clone(), host: host.to_owned() }
    }

    /// The configuration of a handshake, with the current content of the files.
    fn client_config(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier(self.0.mode, &self.0.roots, &provider)?;
        let certificate = self.0.client_certificate.read(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.0.versions)
            .map_err(Error::handshake)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match certificate {
            Some(certificate) => builder.with_client_cert_resolver(certificate),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.0.sends_host_name;
        if self.0.is_direct() {
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
        }
        Ok(config)
    }
}

/// A handshake with a server that has agreed to encrypt.
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
