//! Whom to connect to, and which ways of protecting the connection to try.
//!
//! Where `sslmode` leaves it open whether a connection is encrypted, a second way is tried when
//! the first is turned down, as libpq does. Both drivers, waiting and blocking, walk the same ways.

use std::fmt;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::connect::{self, Settings};
use super::error::{Error, Kind};
use super::tls::{Mode, Tls};

/// The server, and what is asked of a connection to it.
#[derive(Clone)]
pub struct Target {
    config: Config,
    tls: Tls,
}

impl Target {
    /// The target that these settings name. Reads no file yet, and connects nowhere.
    ///
    /// # Errors
    /// Where a setting is unknown, has a value that is not understood, or asks for protection that
    /// cannot be given. Nothing is ever connected with less than was asked for.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut config = connect::config(settings)?;
        let tls = Tls::new(settings)?;
        config.ssl_negotiation(tls.negotiation());
        Ok(Self { config, tls })
    }

    /// The ways to connect, from the first.
    pub(super) fn ways(&self) -> Ways<'_> {
        let modes: &[SslMode] = match self.tls.mode() {
            Mode::Disable => &[SslMode::Disable],
            Mode::Allow => &[SslMode::Disable, SslMode::Prefer],
            Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
        };
        Ways { target: self, modes }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

/// The ways that are left to try; there is at least one.
pub(super) struct Ways<'a> {
    target: &'a Target,
    modes: &'static [SslMode],
}

impl Ways<'_> {
    /// The way to try now, as the drivers take it.
    pub(super) fn current(&self) -> (Config, Tls) {
        let mut config = self.target.config.clone();
        config.ssl_mode(self.modes[0]);
        (config, self.target.tls.clone())
    }

    /// Turns to the next way if it may succeed where this one failed.
    pub(super) fn after(&mut self, error: Error) -> Result<(), Error> {
        match self.modes {
            [_, rest @ ..] if !rest.is_empty() && depends_on_protection(&error) => {
                self.modes = rest;
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// Whether the connection failed for being encrypted, or for not being so. `Lost` is a server that
/// ends the handshake. 28000 is its "no `pg_hba.conf` entry for … no encryption"; a wrong password
/// is not tried twice.
fn depends_on_protection(error: &Error) -> bool {
    matches!(error.kind(), Kind::Tls | Kind::Settings | Kind::Lost)
        || error.sqlstate() == Some("28000")
}
