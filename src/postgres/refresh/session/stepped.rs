//! A worker without a thread, which loads when a test asks for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::clock::Clock;
use super::super::connection::RefreshConnection;
use super::super::load::Scope;
use super::{Kept, Session};
use crate::postgres::context::Context;
use crate::postgres::error::{Error, ErrorKind};
use crate::snapshot::Snapshot;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(100_000);

/// Why a worker loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A notification.
    Notification,
    /// The time of a poll.
    Poll,
    /// The time of a load of everything.
    Everything,
}

/// A worker without a thread. Its connections stay open.
pub struct SteppedWorker {
    context: &'static Arc<Context>,
    session: Session<'static>,
}

impl SteppedWorker {
    /// Connects, and loads everything.
    pub(crate) async fn start(context: &'static Arc<Context>) -> Result<Self, Error> {
        Ok(Self { context, session: Self::connect(context).await? })
    }

    async fn connect(context: &'static Arc<Context>) -> Result<Session<'static>, Error> {
        let wake = Arc::new(Notify::new());
        let connection = RefreshConnection::open(&context.target.load(), 0, wake).await?;
        let connection: &'static RefreshConnection = Box::leak(Box::new(connection));
        let kept = Box::leak(Box::new(Kept::new(context)));
        let mut session = Session::open(context, connection, false, kept).await?;
        session.load_everything().await?;
        Ok(session)
    }

    /// Loads what is due.
    ///
    /// # Errors
    /// If the load fails.
    pub async fn step(&mut self, cause: Cause) -> Result<(), Error> {
        // No load is due by time, unless this step makes it due.
        let clock = &mut self.session.clock;
        if clock.full > Instant::now() {
            // As after a load of everything.
            *clock = Clock::starting_now(NEVER);
            clock.full = Instant::now() + NEVER;
        }
        if cause == Cause::Everything {
            clock.everything_is_due();
        }
        let is_woken = cause == Cause::Notification || !self.has_tokens();
        match self.session.load_due(is_woken).await {
            // A worker connects again after a column is gone.
            Err(error) if error.kind() == ErrorKind::Missing => {
                self.session = Self::connect(self.context).await?;
                Ok(())
            }
            loaded => loaded,
        }
    }

    /// Reads everything as a new worker does, and publishes nothing.
    ///
    /// # Errors
    /// If the load fails.
    pub async fn read_afresh(&mut self, tokens: bool) -> Result<Snapshot, Error> {
        let Self { context, session } = self;
        let identification = session.connection.identify_for_poll(&context.queries).await?;
        session.has_changed(identification)?;
        let (queries, scope) = (&session.load_queries, Scope::Everything { tokens });
        Ok(session
            .connection
            .load(queries, scope, None, None, context.load_timeout)
            .await?
            .snapshot)
    }

    /// Lets the next load read whole tables.
    pub fn read_whole_tables(&mut self) {
        let queries = &mut self.session.load_queries;
        queries.tables.iter_mut().chain(&mut queries.groups).for_each(|table| table.of_keys = None);
    }

    /// Whether the last step has read single rows: everything is verified soon.
    #[must_use]
    pub fn has_read_rows(&self) -> bool {
        let full = self.session.clock.full;
        full > Instant::now() && full < Instant::now() + Duration::from_secs(61)
    }

    /// Whether the database has change tokens.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.session.server.has_tokens()
    }

    /// Whether some rows cannot be read alone because of triggers, columns or tables.
    #[must_use]
    pub fn finds_odd_catalog(&self) -> bool {
        let Session { server, load_queries, .. } = &self.session;
        let inherits = || {
            let tables = self.session.loaded_tables();
            tables.is_some_and(|tables| tables.len() > load_queries.names.len())
        };
        !server.has_tokens()
            || !server.names_rows()
            || server.key_arguments.iter().any(|arguments| arguments.len() == 2)
            || inherits()
    }

    /// The row that a load of everything has found changed although no token has named it.
    pub fn take_unnoticed(&mut self) -> Option<String> {
        self.session.verification.unnoticed.take().map(|message| message.to_string())
    }
}
