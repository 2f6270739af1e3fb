//! The work over one connection: identify the server, listen, load, then poll.

pub mod stepped;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::clock::{Clock, SLOW_GROUPS};
use super::connection::RefreshConnection;
use super::echo::Echo;
use super::load::Scope;
use super::lost_changes::LostChanges;
use super::pace::Pace;
use super::publish::Cycle;
use super::read::Loaded;
use super::register::{GAP, GAP_BEFORE_LOAD, Register};
use super::server_info::{Identification, ServerInfo};
use crate::boot_time::since_boot;
use crate::message::Message;
use crate::postgres::connect::parameters::APPLICATION_NAME;
use crate::postgres::context::Context;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::LoadQueries;
use crate::postgres::status::RefreshMode;
use crate::postgres::suspension;
use crate::postgres::texts;
use crate::snapshot::Snapshot;

/// What is known about one connection.
pub(super) struct Session<'a> {
    context: &'a Arc<Context>,
    connection: &'a RefreshConnection,
    server: ServerInfo,
    /// The statements of a load from this server.
    load_queries: LoadQueries,
    /// Whether the target has other servers.
    has_alternatives: bool,
    listening: bool,
    loaded: bool,
    pace: Pace,
    clock: Clock,
    /// The token table that the session's name shows.
    named: Option<u32>,
    kept: &'a mut Kept,
    /// The triggers and tables of which the server has said what it is.
    catalog: Option<i64>,
    verification: Verification,
}

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) register: Register,
    echo: Echo,
    lost_changes: LostChanges,
}

/// What a load of everything has said about the loads before it.
struct Verification {
    /// Whether the snapshot was read with the present statements: others may read fewer columns.
    reads_the_same: bool,
    /// A row that has changed although no token has named it.
    unnoticed: Option<Message>,
}

/// What a load must read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The tables that changed.
    Changed,
    /// All tables.
    Everything,
    /// All tables but those that may be large.
    WithoutLargeTables,
}

impl Kept {
    /// At the start of an engine.
    pub(super) fn new(context: &Context) -> Self {
        let lost_changes = LostChanges::since(context.live.snapshot());
        Self { register: Register::new(), echo: Echo::default(), lost_changes }
    }
}

impl<'a> Session<'a> {
    /// Identifies the server, and configures the session unless a pooler shares it.
    pub(super) async fn open(
        context: &'a Arc<Context>,
        connection: &'a RefreshConnection,
        has_alternatives: bool,
        kept: &'a mut Kept,
    ) -> Result<Self, Error> {
        let Identification { server, catalog, .. } =
            connection.identify(&context.queries, "identify").await?;
        if !server.pooled {
            connection
                .configure_session(&context.queries, server.has_tokens())
                .await
                .or_else(unless_refused)?;
        }
        kept.register.connected();
        kept.echo.connected();
        kept.lost_changes.server = connection.server_id().await;
        let mut session = Self {
            context,
            connection,
            load_queries: context.queries.load_from(&server.key_arguments)?,
            server,
            has_alternatives,
            listening: false,
            loaded: false,
            pace: Pace::default(),
            clock: Clock::starting_now(context.poll_interval),
            named: None,
            kept,
            catalog,
            verification: Verification { reads_the_same: true, unnoticed: None },
        };
        session.set_name().await?;
        Ok(session)
    }

    /// Keeps the snapshot up to date until the connection ends or the engine is stopped.
    pub(super) async fn serve(&mut self) -> Result<(), Error> {
        self.clock.everything_is_due();
        while !self.context.signals.is_stopped() {
            let woken = self.wait().await;
            if self.context.signals.is_stopped() {
                break;
            }
            if self.connection.is_lost() {
                return Err(Error::lost("listen"));
            }
            let outcome = self.step(woken).await;
            self.tolerate(outcome)?;
            if self.loaded {
                let (mode, reason) = self.mode();
                self.context.status.set_mode(mode, reason);
                self.set_name().await?;
                self.report(GAP).await;
                self.read_echo().await;
                let problems = self.verification.unnoticed.clone().into_iter();
                let problems = problems.chain(self.kept.register.problem.clone());
                let problems = problems.chain(self.kept.echo.problem.clone());
                self.context.status.set_problems(problems.collect());
            }
        }
        Ok(())
    }

    /// Finds out whether changes of the primary still arrive, behind replication.
    async fn read_echo(&mut self) {
        let Self { context, connection, server, kept, .. } = self;
        if let Some(sent) = kept.register.take_sent() {
            kept.echo.reported(sent);
        }
        if let Some(arrival) = kept.echo.read(&context.queries, connection, server).await {
            context.status.set_arrival(arrival);
        }
    }

    /// Writes the worker's row if it is due.
    async fn report(&mut self, gap: Duration) {
        let Self { context, connection, server, kept, .. } = self;
        context.set_report_target(server.is_behind_replication());
        let (mode, _) = server.mode(context.listen, self.listening);
        kept.register.server_id.clone_from(&kept.lost_changes.server);
        let later = kept.register.report(context, connection, server, mode, gap).await;
        self.clock.poll = later.map_or(self.clock.poll, |due| due.min(self.clock.poll));
    }

    /// Whether this connection has loaded everything once.
    pub(super) fn has_loaded(&self) -> bool {
        self.loaded
    }

    /// Waits for a notification, and returns true, or until work is due, and returns false.
    async fn wait(&self) -> bool {
        let woken = self.context.signals.woken();
        suspension::wait_until(self.clock.next_due(), woken).await.0.is_some()
    }

    async fn step(&mut self, woken: bool) -> Result<(), Error> {
        if woken && self.loaded {
            self.keep_gap().await;
        }
        self.load_due(woken).await?;
        self.clock.step_done();
        Ok(())
    }

    /// Loads what is due after a notification, or at a poll.
    async fn load_due(&mut self, woken: bool) -> Result<(), Error> {
        if self.context.signals.is_load_requested() {
            self.clock.everything_is_due();
        }
        // After a silence, the connection may be lost, which a poll finds out sooner than a load.
        let is_on_time = Instant::now() < self.clock.full && !self.context.is_overdue();
        if woken && self.loaded && self.server.has_tokens() && is_on_time {
            return self.load_changed().await;
        }
        self.poll(woken).await
    }

    /// Waits if the last load was too recent.
    async fn keep_gap(&mut self) {
        let gap = self.pace.gap(self.server.has_tokens());
        suspension::wait_until(self.clock.last_step + gap, pending::<()>()).await;
        self.pace.gap_ended(self.connection.notifications());
        // The load that follows covers the notifications during the gap.
        let _ = self.context.signals.woken().now_or_never();
    }

    /// Loads what has changed. If the load saw other triggers or tables than the last identification,
    /// identifies the server again.
    ///
    /// In this order: the reported token stands for all that committed before its token, and a
    /// write while triggers were disabled has left no token. Identifying first could miss such a
    /// write. A table that inherited only during the load is not among the tables of the server.
    async fn load_changed(&mut self) -> Result<(), Error> {
        let loaded = self.load(Wanted::Changed).await?;
        self.clock.loaded(loaded);
        if self.loaded_catalog() == self.catalog {
            return Ok(());
        }
        let identification = self.connection.identify(&self.context.queries, "load").await?;
        let same_tables = self.loaded_tables().is_none_or(|tables| tables == identification.tables);
        if self.has_changed(identification)? || !same_tables {
            return self.load_everything().await;
        }
        Ok(())
    }

    /// The triggers and tables that the last load has seen.
    fn loaded_catalog(&self) -> Option<i64> {
        let snapshot = self.context.live.snapshot()?;
        snapshot.read_point().map(|read_point| read_point.catalog)
    }

    /// The tables that the last load has read.
    fn loaded_tables(&self) -> Option<Vec<u32>> {
        let snapshot = self.context.live.snapshot()?;
        snapshot.token_set().map(|token_set| token_set.tables().to_vec())
    }

    /// Whether the server differs from the one identified before. If so, a full load is due.
    fn has_changed(&mut self, identification: Identification) -> Result<bool, Error> {
        let Identification { server, listening, catalog, .. } = identification;
        if server == self.server && listening == self.listening {
            self.catalog = catalog.or(self.catalog);
            return Ok(false);
        }
        self.catalog = catalog;
        let queries = &self.context.queries;
        self.load_queries = queries.load_from(&server.key_arguments)?;
        self.server = server;
        self.listening = listening;
        self.verification.reads_the_same = false;
        self.clock.everything_is_due();
        Ok(true)
    }

    /// Reads the tokens and identifies the server, then loads what is due.
    async fn poll(&mut self, woken: bool) -> Result<(), Error> {
        let read_at = since_boot();
        let (queries, connection) = (&self.context.queries, self.connection);
        let (identification, tokens) = if self.server.has_tokens() {
            // Pipelined: one round trip instead of two.
            let (identification, tokens) =
                tokio::join!(connection.identify_for_poll(queries), connection.poll(queries));
            (identification?, Some(tokens))
        } else {
            (connection.identify_for_poll(queries).await?, None)
        };
        let tables = identification.tables.clone();
        self.has_changed(identification)?;
        let now = Instant::now();
        let large_due = tokens.is_none() && (woken || now >= self.clock.large_tables);
        if now >= self.clock.full || large_due {
            return self.load_everything().await;
        }
        let Some(mut tokens) = tokens.transpose()? else {
            let loaded = self.load(Wanted::WithoutLargeTables).await?;
            self.clock.loaded(loaded);
            return Ok(());
        };
        tokens.token_set.set_tables(tables);
        let snapshot = self.context.live.snapshot();
        let is_current = |snapshot: &Snapshot| {
            // Groups that could not be read are left to a full load.
            snapshot.token_set() == Some(&tokens.token_set)
                && snapshot.read_point().map(|read_point| read_point.catalog) == self.catalog
                && (!snapshot.must_read_groups() || snapshot.has_unreadable_groups())
                && !(snapshot.reads_groups() && now >= self.clock.members)
        };
        if snapshot.as_deref().is_some_and(is_current) {
            if snapshot.as_deref().is_some_and(Snapshot::has_unreadable_groups) {
                // refresh() could not read them, and sets no time for the next attempt.
                self.clock.retry_groups(Some(SLOW_GROUPS));
            }
            self.context.live.confirm(read_at);
            return Ok(());
        }
        self.load_changed().await
    }

    /// Loads everything, and answers the requests that came before.
    async fn load_everything(&mut self) -> Result<(), Error> {
        let signals = &self.context.signals;
        let requests = signals.take_requests();
        let outcome = self.listen_and_load_everything().await;
        if outcome.as_ref().is_err_and(|error| !error.is_reply()) {
            // The next connection answers them.
            signals.return_requests(requests);
        } else {
            for request in requests {
                request.reply(outcome.clone());
            }
        }
        outcome
    }

    /// LISTEN comes first, so that no change is missed.
    async fn listen_and_load_everything(&mut self) -> Result<(), Error> {
        self.listening = self.listening || self.listen().await?;
        let loaded = self.load(Wanted::Everything).await?;
        (self.loaded, self.verification.reads_the_same) = (true, true);
        self.clock.everything_loaded();
        self.clock.loaded(loaded);
        Ok(())
    }

    /// Subscribes to notifications if they are wanted and supported. Returns whether it has.
    async fn listen(&self) -> Result<bool, Error> {
        if !self.context.listen || !self.server.supports_listen() {
            return Ok(false);
        }
        match self.connection.listen().await {
            Ok(()) => Ok(true),
            // A proxy may refuse LISTEN. Polling still works.
            Err(error) if error.kind() == ErrorKind::Query => {
                self.context.status.failed(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Loads what is wanted.
    async fn load(&mut self, wanted: Wanted) -> Result<Loaded, Error> {
        if self.server.pooled && self.kept.register.may_have_row() {
            // No session shows that the worker is connected, so it would be lost during a long load.
            self.report(GAP_BEFORE_LOAD).await;
        }
        let cycle = Cycle::begin(self.context);
        let scope = self.scope(wanted, cycle.base());
        let limit = self.context.load_timeout;
        let is_other_server = wanted == Wanted::Everything || self.server.pooled;
        let question = self.kept.lost_changes.question(is_other_server, cycle.base());
        let mut read =
            self.connection.load(&self.load_queries, scope, cycle.base(), question, limit).await?;
        if wanted == Wanted::Everything {
            let base = cycle.base().filter(|_| self.verification.reads_the_same);
            self.verification.unnoticed = unnoticed_changes(base, &read.snapshot);
        }
        let (loaded, answer) = (read.loaded, read.answer.take());
        cycle.publish(read)?;
        if let Some(published) = self.context.live.snapshot()
            && let Some(message) =
                self.kept.lost_changes.note(published, answer, self.server.role())
        {
            self.context.status.lost_changes(message);
        }
        Ok(loaded)
    }

    fn scope<'s>(&self, wanted: Wanted, base: Option<&'s Snapshot>) -> Scope<'s> {
        match (wanted, base) {
            (Wanted::Changed, Some(base)) => {
                let with_keys = self.catalog.filter(|_| self.server.names_rows());
                let members = Instant::now() >= self.clock.members;
                Scope::ChangedSince { base, with_keys, whole: false, members }
            }
            (Wanted::WithoutLargeTables, Some(_)) => Scope::WithoutLargeTables,
            _ => Scope::Everything { tokens: self.server.has_tokens() },
        }
    }

    /// Keeps the connection after a locked table, and with a standby that is behind if the target
    /// has no other server.
    fn tolerate(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::Locked => {
                self.context.status.failed(error);
                self.clock.retry_soon();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Behind && !self.has_alternatives => {
                self.context.status.failed(error);
                // The full load stays due, and is tried again with the next poll.
                self.clock.step_done();
                self.clock.full = self.clock.poll;
                Ok(())
            }
            other => other,
        }
    }

    fn mode(&self) -> (RefreshMode, Option<Message>) {
        self.server.mode(self.context.listen, self.listening)
    }

    /// Names the session after its project and process, unless a pooler shares it: in the list of
    /// sessions, a worker that does not report is known by this name only.
    async fn set_name(&mut self) -> Result<(), Error> {
        let Some(table) = self.server.token_table.filter(|_| !self.server.pooled) else {
            return Ok(());
        };
        if self.named != Some(table) {
            let (pid, host) = (std::process::id(), &self.context.host);
            let name = format!("{APPLICATION_NAME} {table} {pid} {host}");
            self.connection.set_name(&name).await.or_else(unless_refused)?;
            self.named = Some(table);
        }
        Ok(())
    }
}

/// The differences between two snapshots with the same tokens. Groups need no token.
fn unnoticed_changes(before: Option<&Snapshot>, now: &Snapshot) -> Option<Message> {
    // A row that could not be used may be usable now, although nothing has changed.
    let before = before.filter(|before| before.problems().next().is_none());
    let before = before.filter(|before| {
        let is_same =
            before.read_point().map(|it| it.catalog) == now.read_point().map(|it| it.catalog);
        is_same && before.token_set().is_some() && before.token_set() == now.token_set()
    })?;
    let rows = now.differences(before);
    let (first, number) = (rows.first()?.clone(), rows.len());
    Some(texts::UNNOTICED.with([("number", number.into()), ("row", first.into())]))
}

/// Ignores that a proxy refuses a statement which is only an optimisation.
fn unless_refused(error: Error) -> Result<(), Error> {
    if error.kind() == ErrorKind::Query { Ok(()) } else { Err(error) }
}
