//! The state machine of the engine's thread: connect, serve one link, rest, and again.
//!
//! LISTEN is a hint, the poll is the guarantee: a lost notification costs at most one interval.
//! LISTEN comes before the first load, every new link loads everything, and a load that failed
//! never swaps.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use super::backoff::Backoff;
use super::clock::draw;
use super::session::Session;
use crate::fingerprint::Fingerprint;
use crate::live::Live;
use crate::postgres::error::{Error, Kind};
use crate::postgres::listen::Link;
use crate::postgres::queries::Queries;
use crate::postgres::report::Shared;
use crate::postgres::signals::Signals;
use crate::postgres::target::{Aim, Target};
use crate::snapshot::Snapshot;
use crate::usage::Register;

/// What the engine's thread runs.
#[derive(Debug)]
pub(in crate::postgres) struct Machine {
    pub(in crate::postgres) aim: Arc<Aim>,
    pub(in crate::postgres) queries: Arc<Queries>,
    pub(in crate::postgres) live: &'static Live,
    pub(in crate::postgres) report: Arc<Shared>,
    pub(in crate::postgres) signals: Arc<Signals>,
    pub(in crate::postgres) register: Arc<Register>,
    pub(in crate::postgres) listen: bool,
    pub(in crate::postgres) poll_interval: Duration,
    pub(in crate::postgres) max_staleness: Duration,
    pub(in crate::postgres) host: String,
}

impl Machine {
    /// Runs until it is told to stop.
    pub(in crate::postgres) async fn run(&self) {
        let mut backoff = Backoff::default();
        // The server to begin with: the first of the list, or the next after one that is behind.
        let mut first = 0;
        while !self.signals.stopped() {
            let target = self.aim.load_full();
            let session = Box::pin(self.session(&target, &mut first, &mut backoff));
            let Err(error) = session.await else { break };
            if self.signals.stopped() {
                break;
            }
            let rest = backoff.next(error.kind(), draw());
            self.report.down(error);
            self.rest(rest, &target).await;
        }
    }

    /// One link, from connecting to its end. `Ok` where the machine was told to stop.
    async fn session(
        &self,
        target: &Target,
        first: &mut usize,
        backoff: &mut Backoff,
    ) -> Result<(), Error> {
        let opening = Link::open(target, take(first), self.signals.wake());
        let link = self.signals.unless_stopped(opening).await?;
        let serving = Box::pin(self.serve(&link, target.has_choice(), backoff));
        let outcome = self.signals.unless_stopped(serving).await;
        if outcome.as_ref().is_err_and(|error| error.kind() == Kind::Behind) {
            *first = link.position() + 1;
        }
        link.close().await;
        outcome
    }

    async fn serve(&self, link: &Link, choice: bool, backoff: &mut Backoff) -> Result<(), Error> {
        let mut session = Session::open(self, link, choice).await?;
        let outcome = session.serve().await;
        if session.has_loaded() {
            backoff.reset();
        }
        outcome
    }

    /// Waits before the next attempt, unless somebody asks for one or says how it would succeed.
    async fn rest(&self, time: Duration, tried: &Arc<Target>) {
        // The lost link has left a wake-up behind, which must not cut the rest short.
        let _ = self.signals.woken().now_or_never();
        if self.signals.stopped() || !Arc::ptr_eq(tried, &self.aim.load()) {
            return;
        }
        tokio::select! {
            () = self.signals.woken() => {}
            () = sleep(time) => {}
        }
    }
}

/// Whether what a standby shows is older than what is held, and that not too old to hold on to.
pub(in crate::postgres) fn is_behind(
    live: &Live,
    max_staleness: Duration,
    held: Option<&Snapshot>,
    read: Option<&Fingerprint>,
) -> bool {
    let newest = |fingerprint: Option<&Fingerprint>| fingerprint.map_or(0, Fingerprint::newest);
    newest(read) < newest(held.and_then(Snapshot::fingerprint))
        && live.age().is_some_and(|age| age < max_staleness)
}
