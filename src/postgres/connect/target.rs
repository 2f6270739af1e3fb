//! Whom to connect to, and which attempts of protecting the connection to try.
//!
//! Several servers are tried one after the other, until one has the role that is asked for. Where
//! `sslmode` leaves it open whether a connection is encrypted, a second attempt is tried when
//! the first is turned down, as libpq does. Both drivers, waiting and blocking, walk the same attempts.

use std::fmt;

use arc_swap::ArcSwap;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, Row};

use crate::postgres::connect::parameters::{self, Parameters, Role, Server};
use crate::postgres::connect::tls::{Tls, TlsMode};
use crate::postgres::error::{Error, ErrorKind};

/// The servers, and what is asked of a connection to one of them.
#[derive(Clone)]
pub struct Target {
    parameters: Parameters,
    config: Config,
    servers: Vec<Server>,
    role: Role,
    tls: Tls,
}

/// The target as it is now: a password may change while a process runs.
pub(crate) type CurrentTarget = ArcSwap<Target>;

impl Target {
    /// The target that these parameters name. Reads no file yet, and connects nowhere.
    ///
    /// # Errors
    /// Where a parameter is unknown, has a value that is not understood, or asks for protection that
    /// cannot be given. Nothing is ever connected with less than was asked for.
    pub fn new(parameters: &Parameters) -> Result<Self, Error> {
        let mut config = parameters::config(parameters)?;
        let (servers, role) = (parameters::servers(parameters)?, parameters::role(parameters)?);
        let tls = Tls::new(parameters)?;
        config.ssl_negotiation(tls.negotiation());
        Ok(Self { parameters: parameters.clone(), config, servers, role, tls })
    }

    /// Whether the two come from the same parameters.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.parameters == other.parameters
    }

    /// The attempts to connect, from the first.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        self.attempts_from(0)
    }

    /// The attempts to connect, where the server at this position is the first.
    pub(crate) fn attempts_from(&self, first: usize) -> Attempts<'_> {
        Attempts { target: self, first, round: 0, server: 0, mode: 0, told: None }
    }

    /// Whether there is another server to turn to.
    pub(crate) fn has_choice(&self) -> bool {
        self.servers.len() > 1
    }

    fn modes(&self) -> &'static [SslMode] {
        match self.tls.mode() {
            TlsMode::Disable => &[SslMode::Disable],
            TlsMode::Allow => &[SslMode::Disable, SslMode::Prefer],
            TlsMode::Prefer => &[SslMode::Prefer, SslMode::Disable],
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => &[SslMode::Require],
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

/// One attempt to connect, as the drivers take it.
pub(crate) struct Attempt {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    role: Role,
}

/// Asked of a server that has to have a role.
pub(crate) const ROLE: &str = "SELECT pg_catalog.pg_is_in_recovery() AS standby, \
    pg_catalog.current_setting('transaction_read_only')::bool AS read_only";

impl Attempt {
    /// Whether the server must be asked for its role.
    pub(crate) fn requires_role(&self) -> bool {
        self.role != Role::Any
    }

    /// Whether the server will do, by what [`ROLE`] gave.
    pub(crate) fn check_role(&self, row: &Row) -> Result<(), Error> {
        let error = |error| Error::driver("connect", error);
        let standby = row.try_get("standby").map_err(error)?;
        let read_only = row.try_get("read_only").map_err(error)?;
        if self.role.suits(standby, read_only) { Ok(()) } else { Err(Error::role()) }
    }
}

/// The attempts that are left to try; there is at least one.
pub(crate) struct Attempts<'a> {
    target: &'a Target,
    /// The position of the server that is tried first.
    first: usize,
    round: usize,
    /// How many servers have been tried in this round.
    server: usize,
    mode: usize,
    /// The error that says most of those so far.
    told: Option<Error>,
}

impl Attempts<'_> {
    /// The attempt to try now.
    pub(crate) fn current(&self) -> Attempt {
        let target = self.target;
        let mut config = target.servers[self.position()].of(&target.config);
        config.ssl_mode(target.modes()[self.mode]);
        Attempt { config, tls: target.tls.clone(), role: target.role.rounds()[self.round] }
    }

    /// The position of the server to try now.
    pub(crate) fn position(&self) -> usize {
        (self.first + self.server) % self.target.servers.len()
    }

    /// Turns to the next attempt that may succeed where this one failed.
    ///
    /// # Errors
    /// Where there is none: the error that says most.
    pub(crate) fn after(&mut self, error: Error) -> Result<(), Error> {
        if self.mode + 1 < self.target.modes().len() && depends_on_protection(&error) {
            self.mode += 1;
            return Ok(());
        }
        // A server that answered says more than one that was not there.
        let told = self.told.take().filter(|told| told.is_answer() || !error.is_answer());
        self.told = Some(told.unwrap_or(error));
        self.mode = 0;
        self.server += 1;
        if self.server == self.target.servers.len() {
            self.server = 0;
            self.round += 1;
        }
        if self.round < self.target.role.rounds().len() {
            return Ok(());
        }
        self.told.take().map_or(Ok(()), Err)
    }
}

/// Whether the connection failed for being encrypted, or for not being so. `Lost` is a server that
/// ends the handshake. 28000 is its "no `pg_hba.conf` entry for … no encryption"; a wrong password
/// is not tried twice.
fn depends_on_protection(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Tls | ErrorKind::Parameters | ErrorKind::Lost)
        || error.sqlstate() == Some("28000")
}
