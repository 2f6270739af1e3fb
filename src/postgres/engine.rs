//! The engine of a process: one thread that keeps a [`Live`] up to date.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use crate::impact::Impact;
use crate::live::Live;
use crate::postgres::connect::parameters::Parameters;
use crate::postgres::connect::pool::Pool;
use crate::postgres::connect::pools::Pools;
use crate::postgres::connect::target::{CurrentTarget, Target};
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::{Names, Queries};
use crate::postgres::refresh::load::{Read, load_blocking};
use crate::postgres::refresh::machine::{Machine, is_behind};
use crate::postgres::reports::impact::{self, ImpactQuery};
use crate::postgres::reports::usage::Usage;
use crate::postgres::signals::Signals;
use crate::postgres::status::{SharedStatus, StatusReport};
use crate::snapshot::Snapshot;
use crate::usage::CounterRegistry;

/// How long to wait after a fault of the engine's thread before it runs again.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What an engine is made from.
#[derive(Clone)]
pub struct Options {
    /// Connection parameters by their libpq name.
    pub parameters: Parameters,
    /// Quoted names of tables and columns.
    pub names: Names,
    /// Whether the model field decodes every value itself, plain scalars too.
    pub opaque_values: bool,
    /// Whether to ask for notifications.
    pub listen: bool,
    /// The time between two polls; it is varied by 10 %.
    pub poll_interval: Duration,
    /// The most short links at a time.
    pub pool_size: u32,
    /// The time between two flushes of what was asked; zero where that is not collected.
    pub usage_interval: Duration,
    /// How long a standby that is behind is not taken.
    pub max_staleness: Duration,
    /// This machine's name, by which an operator finds a worker.
    pub host: String,
    /// Called by the engine's thread after what somebody may want to log. Must return at once.
    pub on_event: fn(),
}

/// One thread that keeps a [`Live`] up to date.
#[derive(Debug)]
pub struct Engine {
    live: &'static Live,
    target: Arc<CurrentTarget>,
    queries: Arc<Queries>,
    status: Arc<SharedStatus>,
    signals: Arc<Signals>,
    max_staleness: Duration,
    pools: Arc<Pools>,
    registry: Arc<CounterRegistry>,
    /// Tells the thread that writes down what was asked how long its shutdown may take.
    usage: Option<Sender<Duration>>,
    ended: Mutex<Receiver<()>>,
}

impl Engine {
    /// Starts the thread. Connects in the background, so a server that is away is no error here.
    ///
    /// # Errors
    /// Where the connection parameters or names cannot be used, or there is no thread to be had.
    pub fn start(options: &Options, live: &'static Live) -> Result<Self, Error> {
        let target = Arc::new(CurrentTarget::from_pointee(Target::new(&options.parameters)?));
        let queries = Arc::new(Queries::new(&options.names, options.opaque_values)?);
        let (status, signals) =
            (Arc::new(SharedStatus::new(options.on_event)), Arc::<Signals>::default());
        let max_staleness = options.max_staleness;
        let registry = Arc::<CounterRegistry>::default();
        let machine = Machine {
            target: target.clone(),
            queries: queries.clone(),
            live,
            status: status.clone(),
            signals: signals.clone(),
            registry: registry.clone(),
            listen: options.listen,
            poll_interval: options.poll_interval,
            max_staleness,
            host: options.host.clone(),
        };
        let (end, ended) = channel();
        let pools = Arc::new(Pools::new(target.clone(), options.pool_size));
        let usage = Usage {
            live,
            registry: registry.clone(),
            pools: pools.clone(),
            queries: queries.clone(),
            status: status.clone(),
            host: options.host.clone(),
            interval: options.usage_interval,
        };
        let usage = usage.start(end.clone())?;
        let thread = thread::Builder::new().name("flagstaff".into());
        thread.spawn(move || run(&machine, end)).map_err(Error::connect)?;
        let ended = Mutex::new(ended);
        Ok(Self {
            live,
            target,
            queries,
            status,
            signals,
            max_staleness,
            pools,
            registry,
            usage,
            ended,
        })
    }

    /// What the thread last had to say.
    #[must_use]
    pub fn status(&self) -> StatusReport {
        self.status.read()
    }

    /// Connects as these parameters say from now on, and at once where there is no connection. Gives false,
    /// and does nothing, where they are those that are known already. A connection that holds is kept.
    ///
    /// # Errors
    /// Where the parameters cannot be used; those before are kept.
    pub fn reconfigure(&self, parameters: &Parameters) -> Result<bool, Error> {
        let target = Target::new(parameters)?;
        if target.is_same(&self.target.load()) {
            return Ok(false);
        }
        self.target.store(Arc::new(target));
        self.signals.wake();
        Ok(true)
    }

    /// Wakes the thread: a rest ends, a served connection loads what moved. Returns at once.
    pub fn wake(&self) {
        self.signals.wake();
    }

    /// Loads everything over a short connection of the pool. Afterwards the snapshot holds all that was
    /// committed before this call. Blocks for at most `limit`.
    ///
    /// # Errors
    /// Where the load fails or takes longer; the snapshot is then what it was.
    pub fn refresh(self: &Arc<Self>, limit: Duration) -> Result<(), Error> {
        let (answer, answered) = channel();
        let called = Instant::now();
        let until = called + limit;
        // The driver for short links has no deadline of its own. A server that hangs keeps this
        // thread, not the caller.
        let engine = self.clone();
        let work = move || drop(answer.send(engine.load_over_pool(called, until)));
        let thread = thread::Builder::new().name("flagstaff-refresh".into());
        thread.spawn(work).map_err(Error::connect)?;
        // A little longer than the work has, so that its own error comes first: it says more.
        let patience = limit + Duration::from_millis(100);
        answered.recv_timeout(patience).unwrap_or_else(|_| Err(Error::deadline("refresh")))
    }

    fn load_over_pool(&self, called: Instant, until: Instant) -> Result<(), Error> {
        let pool = self.pools.pool();
        let outcome = self.load_over(&pool, called, until);
        if outcome.is_err() {
            self.pools.discard(&pool);
        }
        outcome
    }

    fn load_over(&self, pool: &Pool, called: Instant, until: Instant) -> Result<(), Error> {
        loop {
            let mut client = pool.get(until.saturating_duration_since(Instant::now()))?;
            let base = self.live.snapshot();
            let asked = Instant::now();
            let Read { loaded, standby } =
                load_blocking(&mut client, &self.queries, self.signals.tokens())?;
            let (held, read) = (base.as_deref(), loaded.token_set.as_ref());
            if standby && is_behind(self.live, self.max_staleness, held, read) {
                return Err(Error::behind());
            }
            let next = held.unwrap_or(&Snapshot::default()).next(loaded);
            let has_problems = next.problems().next().is_some();
            self.registry.add(&next);
            if self.signals.stopped() {
                return Err(Error::lost("refresh"));
            }
            if self.live.publish(base.as_ref(), next, asked) {
                self.status.loaded(asked.elapsed(), has_problems);
                return Ok(());
            }
            // A load over the connection came between. Where it began after the call it is as good.
            if self.live.is_current_since(called) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Error::deadline("refresh"));
            }
        }
    }

    /// Counts for whom the answer would change. Blocks for at most `limit`.
    ///
    /// `None` where this connection cannot tell: there is no such flag that can be evaluated, or
    /// the users are not here, or not for us to read.
    ///
    /// # Errors
    /// Where the database fails or takes longer.
    pub fn impact(&self, query: ImpactQuery, limit: Duration) -> Result<Option<Impact>, Error> {
        let (answer, answered) = channel();
        let until = Instant::now() + limit;
        // As with a refresh: a server that hangs keeps this thread, not the caller.
        let pools = self.pools.clone();
        let work = move || drop(answer.send(impact::count_over_pool(&pools, &query, until)));
        let thread = thread::Builder::new().name("flagstaff-impact".into());
        thread.spawn(work).map_err(Error::connect)?;
        let patience = limit + Duration::from_millis(100);
        let late = || Err(Error::deadline(impact::DOING));
        match answered.recv_timeout(patience).unwrap_or_else(|_| late()) {
            Err(error) if matches!(error.kind(), ErrorKind::Missing | ErrorKind::Permission) => {
                Ok(None)
            }
            outcome => outcome,
        }
    }

    /// Ends the threads and their connections; what was asked is written down. Waits for that, but
    /// not longer than `limit`. True where it has ended.
    pub fn stop(&self, limit: Duration) -> bool {
        self.signals.stop();
        if let Some(usage) = &self.usage {
            // It may have ended already.
            let _ = usage.send(limit);
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // The senders are dropped with the threads, which ends the wait as a message would.
        !matches!(ended.recv_timeout(limit), Err(std::sync::mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Engine {
    /// Nobody can stop it any more, so it stops by itself.
    fn drop(&mut self) {
        self.signals.stop();
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The parameters hold a password.
        f.debug_struct("Options").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// The thread's body. `_end` tells the owner that it is over, by being dropped.
fn run(machine: &Machine, _end: Sender<()>) {
    while !machine.signals.stopped() {
        // A fault of ours must not leave a worker with a stale snapshot that says it is live.
        let served = catch_unwind(AssertUnwindSafe(|| serve(machine)));
        if let Err(error) = served.unwrap_or_else(|_| Err(Error::lost("engine"))) {
            machine.status.down(error);
            thread::sleep(AFTER_FAULT);
        }
    }
}

/// Runs until it is told to stop. An error where there is not even a runtime to run on.
fn serve(machine: &Machine) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::connect)?;
    runtime.block_on(machine.run());
    // A name look-up that hangs must not hold up the end.
    runtime.shutdown_background();
    Ok(())
}
