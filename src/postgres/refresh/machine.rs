//! The state machine of the engine's thread: connect, serve one connection, rest, and again.
//!
//! LISTEN is a hint, the poll is the guarantee: a lost notification costs at most one interval.
//! LISTEN comes before the first load, every new connection loads everything, and a load that failed
//! never swaps.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::clock::random_fraction;
use super::session::Session;
use crate::live::Live;
use crate::postgres::connect::target::{CurrentTarget, Target};
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::Queries;
use crate::postgres::refresh::connection::RefreshConnection;
use crate::postgres::signals::Signals;
use crate::postgres::status::SharedStatus;
use crate::snapshot::Snapshot;
use crate::token_set::TokenSet;
use crate::usage::CounterRegistry;

/// What the engine's thread runs.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) target: Arc<CurrentTarget>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) live: &'static Live,
    pub(crate) status: Arc<SharedStatus>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) registry: Arc<CounterRegistry>,
    pub(crate) listen: bool,
    pub(crate) poll_interval: Duration,
    pub(crate) max_staleness: Duration,
    pub(crate) host: String,
}

impl Machine {
    /// Runs until it is told to stop.
    pub(crate) async fn run(&self) {
        let mut backoff = Backoff::default();
        // The server to begin with: the first of the list, or the next after one that is behind.
        let mut first = 0;
        while !self.signals.stopped() {
            let target = self.target.load_full();
            let session = Box::pin(self.session(&target, &mut first, &mut backoff));
            let Err(error) = session.await else { break };
            if self.signals.stopped() {
                break;
            }
            let rest = backoff.next(error.kind(), random_fraction());
            self.status.down(error);
            self.rest(rest, &target).await;
        }
    }

    /// One connection, from connecting to its end. `Ok` where the machine was told to stop.
    async fn session(
        &self,
        target: &Target,
        first: &mut usize,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        let opening = RefreshConnection::open(target, take(first), self.signals.notifier());
        let connection = self.signals.unless_stopped(opening).await?;
        let serving = Box::pin(self.serve(&connection, target.has_choice(), backoff));
        let outcome = self.signals.unless_stopped(serving).await;
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Behind) {
            *first = connection.position() + 1;
        }
        connection.close().await;
        outcome
    }

    async fn serve(
        &self,
        connection: &RefreshConnection,
        has_alternatives: bool,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        let mut session = Session::open(self, connection, has_alternatives).await?;
        let outcome = session.serve().await;
        if session.has_loaded() {
            backoff.reset();
        }
        outcome
    }

    /// Waits before the next attempt, unless somebody asks for one or says how it would succeed.
    async fn rest(&self, time: Duration, tried: &Arc<Target>) {
        // The lost connection has left a wake-up behind, which must not cut the rest short.
        let _ = self.signals.woken().now_or_never();
        if self.signals.stopped() || !Arc::ptr_eq(tried, &self.target.load()) {
            return;
        }
        tokio::select! {
            () = self.signals.woken() => {}
            () = sleep(time) => {}
        }
    }
}

/// Whether what a standby shows is older than what is held, and that not too old to hold on to.
pub(crate) fn is_behind(
    live: &Live,
    max_staleness: Duration,
    held: Option<&Snapshot>,
    read: Option<&TokenSet>,
) -> bool {
    let newest = |token_set: Option<&TokenSet>| token_set.map_or(0, TokenSet::newest);
    newest(read) < newest(held.and_then(Snapshot::token_set))
        && live.age().is_some_and(|age| age < max_staleness)
}
