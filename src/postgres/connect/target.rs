//! The servers to connect to, and the attempts to make at each.
//!
//! Servers are tried in order until one has the required role. If `sslmode` permits connections
//! with and without encryption, both are tried, as in libpq.

use std::fmt;

use arc_swap::ArcSwap;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::postgres::connect::parameters::{self, Parameters};
use crate::postgres::connect::role::Role;
use crate::postgres::connect::servers::{Server, servers};
use crate::postgres::connect::tls::Tls;
use crate::postgres::error::{Error, ErrorKind};

/// The servers of the connection parameters, and what a connection to them requires.
#[derive(Clone)]
pub struct Target {
    parameters: Parameters,
    config: Config,
    servers: Vec<Server>,
    role: Role,
    tls: Tls,
}

/// The target in use. It is replaced when the parameters change, such as a rotated password.
pub type CurrentTarget = ArcSwap<Target>;

impl Target {
    /// The target of these parameters. Reads no file and does not connect.
    ///
    /// # Errors
    /// If a parameter is unknown, has an invalid value, or requires protection that is not
    /// supported. A connection never gets less protection than the parameters require.
    pub fn new(parameters: &Parameters) -> Result<Self, Error> {
        let mut config = parameters::config(parameters)?;
        let (servers, role) = (servers(parameters)?, Role::new(parameters)?);
        let tls = Tls::new(parameters)?;
        config.ssl_negotiation(tls.negotiation());
        Ok(Self { parameters: parameters.clone(), config, servers, role, tls })
    }

    /// Whether both targets have the same parameters.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.parameters == other.parameters
    }

    /// The attempts, from the first server on.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        self.attempts_from(0)
    }

    /// The attempts, from the server at position `first` on.
    pub(crate) fn attempts_from(&self, first: usize) -> Attempts<'_> {
        Attempts { target: self, first, round: 0, tried: 0, mode: 0, error: None }
    }

    /// Whether there is more than one server.
    pub(crate) fn has_alternatives(&self) -> bool {
        self.servers.len() > 1
    }
}

impl fmt::Debug for Target {
    /// Shows nothing: the parameters hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

/// One attempt to connect, as the driver takes it.
pub(crate) struct Attempt {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    /// The role that the server must have, `None` if any role is accepted.
    pub(crate) required_role: Option<Role>,
}

/// The remaining attempts; there is at least one.
pub(crate) struct Attempts<'a> {
    target: &'a Target,
    /// The position of the first server.
    first: usize,
    /// The index of the role that is tried.
    round: usize,
    /// The number of servers that were tried in this round.
    tried: usize,
    /// The index of the TLS mode that is tried.
    mode: usize,
    /// The most informative error so far.
    error: Option<Error>,
}

impl Attempts<'_> {
    /// The attempt to make now.
    pub(crate) fn current(&self) -> Attempt {
        let target = self.target;
        let mut config = target.config.clone();
        target.servers[self.position()].name_in(&mut config);
        config.ssl_mode(self.modes()[self.mode]);
        let role = target.role.rounds()[self.round];
        let required_role = (role != Role::Any).then_some(role);
        Attempt { config, tls: target.tls.clone(), required_role }
    }

    /// The position of the server to try now.
    pub(crate) fn position(&self) -> usize {
        (self.first + self.tried) % self.target.servers.len()
    }

    /// Goes to the next attempt that may succeed after this error.
    ///
    /// # Errors
    /// The most informative error so far, if no attempt is left.
    pub(crate) fn after(&mut self, error: Error) -> Result<(), Error> {
        if self.mode + 1 < self.modes().len() && depends_on_encryption(&error) {
            self.mode += 1;
            return Ok(());
        }
        // The error of a server that replied says more than that of an unreachable one.
        let earlier = self.error.take().filter(|held| held.is_reply() || !error.is_reply());
        self.error = Some(earlier.unwrap_or(error));
        self.mode = 0;
        self.tried += 1;
        if self.tried == self.target.servers.len() {
            self.tried = 0;
            self.round += 1;
        }
        if self.round < self.target.role.rounds().len() {
            return Ok(());
        }
        self.error.take().map_or(Ok(()), Err)
    }

    fn modes(&self) -> &'static [SslMode] {
        self.target.tls.driver_modes()
    }
}

/// Whether another TLS mode may succeed. `Lost` is a server that ends the handshake; 28000 is "no
/// `pg_hba.conf` entry for … no encryption". A wrong password (28P01) is not tried twice.
fn depends_on_encryption(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Tls | ErrorKind::Parameters | ErrorKind::Lost)
        || error.sqlstate() == Some("28000")
}
