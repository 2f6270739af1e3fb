//! The state machine of the engine's thread: connect, identify, listen, load, serve, rest.
//!
//! LISTEN is a hint, the poll is the guarantee: a lost notification costs at most one interval.
//! LISTEN comes before the first load, every new link loads everything, and a load that failed
//! never swaps.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use crate::live::Live;
use crate::postgres::error::{Error, Kind};
use crate::postgres::listen::{Link, Nature};
use crate::postgres::queries::Queries;
use crate::postgres::report::{Mode, Shared};
use crate::postgres::signals::Signals;
use crate::postgres::target::Target;
use crate::snapshot::Snapshot;

/// The least time between two loads that notifications asked for. The first notification is
/// answered at once; a storm of them costs a load per gap.
const GAP: Duration = Duration::from_millis(20);
/// How often everything is loaded, whatever the tokens say: data can be restored past triggers.
const FULL: Duration = Duration::from_secs(300);
/// How soon to try again when a table was locked.
const LOCKED: Duration = Duration::from_millis(250);
/// How long a link must have held before a failure counts as the first one.
const SETTLED: Duration = Duration::from_secs(10);

/// What the engine's thread runs.
#[derive(Debug)]
pub(in crate::postgres) struct Machine {
    pub(in crate::postgres) target: Target,
    pub(in crate::postgres) queries: Arc<Queries>,
    pub(in crate::postgres) live: &'static Live,
    pub(in crate::postgres) report: Arc<Shared>,
    pub(in crate::postgres) signals: Arc<Signals>,
    pub(in crate::postgres) listen: bool,
    pub(in crate::postgres) poll_interval: Duration,
}

/// When things are due on one link.
struct Clock {
    poll: Instant,
    full: Instant,
    load: Instant,
}

impl Machine {
    /// Runs until it is told to stop.
    pub(in crate::postgres) async fn run(&self) {
        let mut backoff = Backoff::default();
        while !self.signals.stopped() {
            let started = Instant::now();
            let Err(error) = Box::pin(self.session()).await else { break };
            if self.signals.stopped() {
                break;
            }
            if started.elapsed() > SETTLED {
                backoff.reset();
            }
            let rest = backoff.next(error.kind(), draw());
            self.report.down(error);
            self.rest(rest).await;
        }
    }

    /// One link, from connecting to its end. `Ok` where the machine was told to stop.
    async fn session(&self) -> Result<(), Error> {
        let opening = Link::open(&self.target, self.signals.wake());
        let link = self.signals.unless_stopped(opening).await?;
        let outcome = self.signals.unless_stopped(Box::pin(self.serve(&link))).await;
        link.close().await;
        outcome
    }

    async fn serve(&self, link: &Link) -> Result<(), Error> {
        let mut nature = self.identify(link).await?;
        let listening = self.listen(link, nature).await?;
        self.load(link, nature, Scope::Everything).await?;
        let mut clock = Clock::starting_now(self.poll_interval);
        while !self.signals.stopped() {
            self.report.mode(mode(nature, listening));
            let woken = self.wait(&clock).await;
            if self.signals.stopped() {
                break;
            }
            if link.is_lost() {
                return Err(Error::lost("listen"));
            }
            let outcome = self.step(link, &mut nature, &mut clock, woken).await;
            self.tolerate(outcome, &mut clock)?;
        }
        Ok(())
    }

    async fn identify(&self, link: &Link) -> Result<Nature, Error> {
        let nature = link.identify(&self.queries).await?;
        self.signals.set_tokens(nature.tokens);
        Ok(nature)
    }

    /// Asks for notifications, where they are wanted and to be had.
    async fn listen(&self, link: &Link, nature: Nature) -> Result<bool, Error> {
        if !self.listen || nature.standby {
            return Ok(false);
        }
        match link.listen().await {
            Ok(()) => Ok(true),
            // A pooler or a proxy may refuse it. Polling still works there.
            Err(error) if error.kind() == Kind::Query => {
                self.report.failed(error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for a notification, true, or until something is due, false.
    async fn wait(&self, clock: &Clock) -> bool {
        let due = clock.poll.min(clock.full);
        tokio::select! {
            () = self.signals.woken() => true,
            () = sleep_until(due) => false,
        }
    }

    async fn step(
        &self,
        link: &Link,
        nature: &mut Nature,
        clock: &mut Clock,
        woken: bool,
    ) -> Result<(), Error> {
        let now = Instant::now();
        if now >= clock.full || !nature.tokens {
            *nature = self.identify(link).await?;
            self.load(link, *nature, Scope::Everything).await?;
            clock.full = now + jittered(FULL);
        } else if woken {
            sleep_until(clock.load + GAP).await;
            // What came during the gap is covered by the load that follows.
            let _ = self.signals.woken().now_or_never();
            self.load(link, *nature, Scope::Moved).await?;
        } else {
            self.poll(link, *nature).await?;
        }
        clock.load = Instant::now();
        clock.poll = clock.load + jittered(self.poll_interval);
        Ok(())
    }

    /// A locked table is no reason to give up the link, anything else is.
    fn tolerate(&self, outcome: Result<(), Error>, clock: &mut Clock) -> Result<(), Error> {
        match outcome {
            Err(error) if error.kind() == Kind::Locked => {
                self.report.failed(error);
                let soon = Instant::now() + LOCKED.mul_f64(0.5 + draw());
                clock.poll = soon;
                Ok(())
            }
            other => other,
        }
    }

    /// Compares the tokens, and loads where they differ.
    async fn poll(&self, link: &Link, nature: Nature) -> Result<(), Error> {
        let asked = std::time::Instant::now();
        let fingerprint = link.poll(&self.queries).await?;
        let snapshot = self.live.snapshot();
        if snapshot.as_deref().and_then(Snapshot::fingerprint) == Some(&fingerprint) {
            self.live.confirm(asked);
            return Ok(());
        }
        self.load(link, nature, Scope::Moved).await
    }

    async fn load(&self, link: &Link, nature: Nature, scope: Scope) -> Result<(), Error> {
        loop {
            let base = self.live.snapshot();
            let known = base.as_deref().filter(|_| scope == Scope::Moved);
            let asked = std::time::Instant::now();
            let loaded = link.load(&self.queries, known, nature.tokens).await?;
            let next = base.as_deref().unwrap_or(&Snapshot::default()).next(loaded);
            // A successor may publish already, and this engine's moment is not among its own.
            if self.signals.stopped() {
                return Ok(());
            }
            if self.live.publish(base.as_ref(), next, asked) {
                self.report.loaded();
                return Ok(());
            }
            // Where nobody answers any more, reading again would go on for ever.
            if !self.live.is_open() {
                return Ok(());
            }
            // Somebody published meanwhile: what was read may be older, so it is read again.
        }
    }

    /// Waits before the next attempt, unless somebody asks for one.
    async fn rest(&self, time: Duration) {
        // The lost link has left a wake-up behind, which must not cut the rest short.
        let _ = self.signals.woken().now_or_never();
        if self.signals.stopped() {
            return;
        }
        tokio::select! {
            () = self.signals.woken() => {}
            () = sleep(time) => {}
        }
    }
}

/// What a load must read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The tables that moved.
    Moved,
    /// All tables.
    Everything,
}

impl Clock {
    fn starting_now(poll_interval: Duration) -> Self {
        let now = Instant::now();
        Self { poll: now + jittered(poll_interval), full: now + jittered(FULL), load: now }
    }
}

fn mode(nature: Nature, listening: bool) -> Mode {
    match (nature.tokens, listening) {
        (false, _) => Mode::Reload,
        (true, true) => Mode::Live,
        (true, false) => Mode::Poll,
    }
}

/// An interval of 90 to 110 %, so that the workers of a cluster drift apart.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * draw())
}

/// A number between 0 and 1. The hasher's keys are random, which is all the chance needed here.
fn draw() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}
