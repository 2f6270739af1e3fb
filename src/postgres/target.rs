//! Whom to connect to, and which ways of protecting the connection to try.
//!
//! Several servers are tried one after the other, until one has the role that is asked for. Where
//! `sslmode` leaves it open whether a connection is encrypted, a second way is tried when
//! the first is turned down, as libpq does. Both drivers, waiting and blocking, walk the same ways.

use std::fmt;

use arc_swap::ArcSwap;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, Row};

use super::connect::{self, Place, Role, Settings};
use super::error::{Error, Kind};
use super::tls::{Mode, Tls};

/// The servers, and what is asked of a connection to one of them.
#[derive(Clone)]
pub struct Target {
    settings: Settings,
    config: Config,
    places: Vec<Place>,
    role: Role,
    tls: Tls,
}

/// The target as it is now: a password may change while a process runs.
pub(super) type Aim = ArcSwap<Target>;

impl Target {
    /// The target that these settings name. Reads no file yet, and connects nowhere.
    ///
    /// # Errors
    /// Where a setting is unknown, has a value that is not understood, or asks for protection that
    /// cannot be given. Nothing is ever connected with less than was asked for.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut config = connect::config(settings)?;
        let (places, role) = (connect::places(settings)?, connect::role(settings)?);
        let tls = Tls::new(settings)?;
        config.ssl_negotiation(tls.negotiation());
        Ok(Self { settings: settings.clone(), config, places, role, tls })
    }

    /// Whether the two come from the same settings.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings
    }

    /// The ways to connect, from the first.
    pub(super) fn ways(&self) -> Ways<'_> {
        self.ways_from(0)
    }

    /// The ways to connect, where the server at this position is the first.
    pub(super) fn ways_from(&self, first: usize) -> Ways<'_> {
        Ways { target: self, first, round: 0, place: 0, mode: 0, told: None }
    }

    /// Whether there is another server to turn to.
    pub(super) fn has_choice(&self) -> bool {
        self.places.len() > 1
    }

    fn modes(&self) -> &'static [SslMode] {
        match self.tls.mode() {
            Mode::Disable => &[SslMode::Disable],
            Mode::Allow => &[SslMode::Disable, SslMode::Prefer],
            Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

/// One way to connect, as the drivers take it.
pub(super) struct Way {
    pub(super) config: Config,
    pub(super) tls: Tls,
    role: Role,
}

/// Asked of a server that has to have a role.
pub(super) const ROLE: &str = "SELECT pg_catalog.pg_is_in_recovery() AS standby, \
    pg_catalog.current_setting('transaction_read_only')::bool AS read_only";

impl Way {
    /// Whether the server must be asked for its role.
    pub(super) fn is_choosy(&self) -> bool {
        self.role != Role::Any
    }

    /// Whether the server will do, by what [`ROLE`] gave.
    pub(super) fn judge(&self, row: &Row) -> Result<(), Error> {
        let error = |error| Error::driver("connect", error);
        let standby = row.try_get("standby").map_err(error)?;
        let read_only = row.try_get("read_only").map_err(error)?;
        if self.role.suits(standby, read_only) { Ok(()) } else { Err(Error::role()) }
    }
}

/// The ways that are left to try; there is at least one.
pub(super) struct Ways<'a> {
    target: &'a Target,
    /// The position of the server that is tried first.
    first: usize,
    round: usize,
    /// How many servers have been tried in this round.
    place: usize,
    mode: usize,
    /// The error that says most of those so far.
    told: Option<Error>,
}

impl Ways<'_> {
    /// The way to try now.
    pub(super) fn current(&self) -> Way {
        let target = self.target;
        let mut config = target.places[self.position()].of(&target.config);
        config.ssl_mode(target.modes()[self.mode]);
        Way { config, tls: target.tls.clone(), role: target.role.rounds()[self.round] }
    }

    /// The position of the server to try now.
    pub(super) fn position(&self) -> usize {
        (self.first + self.place) % self.target.places.len()
    }

    /// Turns to the next way that may succeed where this one failed.
    ///
    /// # Errors
    /// Where there is none: the error that says most.
    pub(super) fn after(&mut self, error: Error) -> Result<(), Error> {
        if self.mode + 1 < self.target.modes().len() && depends_on_protection(&error) {
            self.mode += 1;
            return Ok(());
        }
        // A server that answered says more than one that was not there.
        let told = self.told.take().filter(|told| told.is_answer() || !error.is_answer());
        self.told = Some(told.unwrap_or(error));
        self.mode = 0;
        self.place += 1;
        if self.place == self.target.places.len() {
            self.place = 0;
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
    matches!(error.kind(), Kind::Tls | Kind::Settings | Kind::Lost)
        || error.sqlstate() == Some("28000")
}
