//! One connection, from its first question to its end: identify, listen, load, and then poll.

use std::time::{Duration, Instant as StdInstant};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::clock::Clock;
use super::machine::{Machine, is_behind};
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::refresh::connection::RefreshConnection;
use crate::postgres::refresh::load::{Read, Scope};
use crate::postgres::refresh::server_info::{Identification, ServerInfo};
use crate::postgres::refresh::worker_name;
use crate::postgres::status::RefreshMode;
use crate::snapshot::Snapshot;
use crate::token_set::TokenSet;

/// The least time between two loads that notifications asked for. The first notification is
/// answered at once; a storm of them costs a load per gap.
const GAP: Duration = Duration::from_millis(20);
/// The same once it has gone on for a while.
const GAP_IN_STORM: Duration = Duration::from_millis(100);
/// The same where each such load reads all that there is.
const GAP_WITHOUT_TOKENS: Duration = Duration::from_secs(1);
/// How many busy gaps in a row are a storm.
const STORM: u32 = 10;
/// The most notifications since the load before, for the gap not to be busy.
const CALM: u32 = 2;

/// What is known of one connection.
pub(super) struct Session<'a> {
    machine: &'a Machine,
    connection: &'a RefreshConnection,
    server: ServerInfo,
    /// Whether there is another server to turn to.
    has_alternatives: bool,
    listening: bool,
    loaded: bool,
    busy_gaps: u32,
    clock: Clock,
    announced: String,
}

/// What a load must read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The tables that moved.
    Moved,
    /// All tables.
    Everything,
    /// All tables but the allow-lists.
    WithoutAllowedUsers,
}

impl<'a> Session<'a> {
    /// Asks the server what it is, and makes the session ours where it is that.
    pub(super) async fn open(
        machine: &'a Machine,
        connection: &'a RefreshConnection,
        has_alternatives: bool,
    ) -> Result<Self, Error> {
        let Identification { server, .. } =
            connection.identify(&machine.queries, "identify").await?;
        if !server.pooled {
            connection.configure_session(&machine.queries).await.or_else(unless_refused)?;
        }
        let mut session = Self {
            machine,
            connection,
            server,
            has_alternatives,
            listening: false,
            loaded: false,
            busy_gaps: 0,
            clock: Clock::starting_now(machine.poll_interval),
            announced: String::new(),
        };
        session.announce().await?;
        Ok(session)
    }

    /// Keeps up with the server until the connection ends or the machine is told to stop.
    pub(super) async fn serve(&mut self) -> Result<(), Error> {
        self.clock.everything_is_due();
        while !self.machine.signals.stopped() {
            let woken = self.wait().await;
            if self.machine.signals.stopped() {
                break;
            }
            if self.connection.is_lost() {
                return Err(Error::lost("listen"));
            }
            let outcome = self.step(woken).await;
            self.tolerate(outcome)?;
            if self.loaded {
                let (mode, why) = self.mode();
                self.machine.status.mode(mode, why);
                self.announce().await?;
            }
        }
        Ok(())
    }

    /// Whether this connection has brought the tables, so that the server is there.
    pub(super) fn has_loaded(&self) -> bool {
        self.loaded
    }

    /// Waits for a notification, true, or until something is due, false.
    async fn wait(&self) -> bool {
        tokio::select! {
            () = self.machine.signals.woken() => true,
            () = sleep_until(self.clock.next_due()) => false,
        }
    }

    async fn step(&mut self, woken: bool) -> Result<(), Error> {
        if woken && self.loaded {
            self.keep_the_gap().await;
        }
        if woken && self.loaded && self.server.has_tokens() && Instant::now() < self.clock.full {
            self.load_moved().await?;
        } else {
            self.poll(woken).await?;
        }
        self.clock.step_done();
        Ok(())
    }

    /// Waits where the last load is too recent for another one.
    async fn keep_the_gap(&mut self) {
        let gap = match self.busy_gaps {
            _ if !self.server.has_tokens() => GAP_WITHOUT_TOKENS,
            0..STORM => GAP,
            _ => GAP_IN_STORM,
        };
        sleep_until(self.clock.loaded + gap).await;
        let is_busy = self.connection.notifications() > CALM;
        self.busy_gaps = if is_busy { self.busy_gaps.saturating_add(1) } else { 0 };
        // What came during the gap is covered by the load that follows.
        let _ = self.machine.signals.woken().now_or_never();
    }

    /// The tables that moved. Asks after the load whether the server still is what it was: the
    /// name that follows stands for all that committed before its token, and what was written past
    /// the triggers has moved nothing. Asked before, it could miss what came in between.
    async fn load_moved(&mut self) -> Result<(), Error> {
        self.load(Wanted::Moved).await?;
        let identity = self.connection.identify(&self.machine.queries, "load").await?;
        if self.is_another(identity) { self.load_everything().await } else { Ok(()) }
    }

    /// Whether the server is not what it was. Then everything is due.
    fn is_another(&mut self, identity: Identification) -> bool {
        if identity.server == self.server && identity.listening == self.listening {
            return false;
        }
        self.server = identity.server;
        self.listening = identity.listening;
        self.clock.everything_is_due();
        true
    }

    /// Asks what moved, and whether the server still is what it was.
    async fn poll(&mut self, told_to: bool) -> Result<(), Error> {
        let asked = StdInstant::now();
        let (identity, tokens) = if self.server.has_tokens() {
            // Both are sent before the first is answered: one round trip instead of two.
            let (queries, connection) = (&self.machine.queries, self.connection);
            let (identity, tokens) =
                tokio::join!(connection.identify(queries, "poll"), connection.poll(queries));
            (identity?, Some(tokens))
        } else {
            (self.connection.identify(&self.machine.queries, "poll").await?, None)
        };
        self.is_another(identity);
        let now = Instant::now();
        if now >= self.clock.full
            || (tokens.is_none() && (told_to || now >= self.clock.allowed_users))
        {
            return self.load_everything().await;
        }
        let Some(tokens) = tokens.transpose()? else {
            return self.load(Wanted::WithoutAllowedUsers).await;
        };
        let snapshot = self.machine.live.snapshot();
        if snapshot.as_deref().and_then(Snapshot::token_set) == Some(&tokens.token_set) {
            self.machine.live.confirm(asked);
            return Ok(());
        }
        self.load_moved().await
    }

    /// Everything anew. Notifications are asked for before, so that no change falls in between.
    async fn load_everything(&mut self) -> Result<(), Error> {
        self.machine.signals.set_tokens(self.server.has_tokens());
        self.listening = self.listening || self.listen().await?;
        self.load(Wanted::Everything).await?;
        self.loaded = true;
        self.clock.everything_loaded();
        Ok(())
    }

    /// Asks for notifications, where they are wanted and to be had.
    async fn listen(&self) -> Result<bool, Error> {
        if !self.machine.listen || !self.server.takes_listen() {
            return Ok(false);
        }
        match self.connection.listen().await {
            Ok(()) => Ok(true),
            // A proxy may refuse it. Polling still works there.
            Err(error) if error.kind() == ErrorKind::Query => {
                self.machine.status.failed(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn load(&self, wanted: Wanted) -> Result<(), Error> {
        let Machine { live, queries, status, signals, registry, .. } = self.machine;
        loop {
            let base = live.snapshot();
            let scope = self.scope(wanted, base.as_deref());
            let asked = StdInstant::now();
            let Read { loaded, standby } = self.connection.load(queries, scope).await?;
            if standby {
                self.accept(base.as_deref(), loaded.token_set.as_ref())?;
            }
            let next = base.as_deref().unwrap_or(&Snapshot::default()).next(loaded);
            let has_problems = next.problems().next().is_some();
            registry.add(&next);
            // A successor may publish already, and this engine's moment is not among its own.
            if signals.stopped() {
                return Ok(());
            }
            if live.publish(base.as_ref(), next, asked) {
                status.loaded(asked.elapsed(), has_problems);
                return Ok(());
            }
            // Where nobody answers any more, reading again would go on for ever.
            if !live.is_started() {
                return Ok(());
            }
            // Somebody published meanwhile: what was read may be older, so it is read again.
        }
    }

    fn scope<'s>(&self, wanted: Wanted, base: Option<&'s Snapshot>) -> Scope<'s> {
        match (wanted, base) {
            (Wanted::Moved, Some(base)) => Scope::MovedSince(base),
            (Wanted::WithoutAllowedUsers, Some(_)) => Scope::WithoutAllowedUsers,
            _ => Scope::Everything { tokens: self.server.has_tokens() },
        }
    }

    /// Whether a standby's moment may take the server of the one that is held. One that is behind
    /// may not, until what is held is too old to hold on to.
    fn accept(&self, held: Option<&Snapshot>, read: Option<&TokenSet>) -> Result<(), Error> {
        let Machine { live, max_staleness, .. } = self.machine;
        if is_behind(live, *max_staleness, held, read) { Err(Error::behind()) } else { Ok(()) }
    }

    /// A locked table is no reason to give up the connection, and a standby that is behind is one only
    /// where there is another server to turn to.
    fn tolerate(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::Locked => {
                self.machine.status.failed(error);
                self.clock.soon();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Behind && !self.has_alternatives => {
                self.machine.status.failed(error);
                // What was due stays so, and is looked at again with the next poll.
                self.clock.step_done();
                self.clock.full = self.clock.poll;
                Ok(())
            }
            other => other,
        }
    }

    fn mode(&self) -> (RefreshMode, Option<&'static str>) {
        self.server.mode(self.machine.listen, self.listening)
    }

    /// Says what is applied, where the session is ours alone.
    async fn announce(&mut self) -> Result<(), Error> {
        if self.server.pooled {
            return Ok(());
        }
        let snapshot = self.machine.live.snapshot();
        let token_set = snapshot.as_deref().and_then(Snapshot::token_set);
        let (token_set, state) = match (self.loaded, self.mode().0) {
            (false, _) => (None, 'S'),
            (true, RefreshMode::Live) => (token_set, 'L'),
            (true, RefreshMode::Reload) => (token_set, 'R'),
            (true, _) => (token_set, 'P'),
        };
        let name = worker_name::applied(token_set, state, &self.machine.host);
        if name != self.announced {
            self.connection.announce(&name).await.or_else(unless_refused)?;
            self.announced = name;
        }
        Ok(())
    }
}

/// A proxy may refuse what only makes things better.
fn unless_refused(error: Error) -> Result<(), Error> {
    if error.kind() == ErrorKind::Query { Ok(()) } else { Err(error) }
}
