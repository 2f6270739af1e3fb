//! The engine of a process: one thread that keeps a [`Live`] up to date.

mod impact;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use super::connect::Settings;
use super::error::Error;
use super::load::{Read, load_blocking};
use super::pool::Pool;
use super::pools::Pools;
use super::queries::{Names, Queries};
use super::refresh::machine::{Machine, is_behind};
use super::report::{Report, Shared};
use super::signals::Signals;
use super::target::{Aim, Target};
use super::usage::Usage;
use crate::live::Live;
use crate::snapshot::Snapshot;
use crate::usage::Register;

pub use impact::Question;

/// How long to wait after a fault of the engine's thread before it runs again.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// What an engine is made from.
#[derive(Clone)]
pub struct Options {
    /// Connection settings by their libpq name.
    pub settings: Settings,
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
    pub tell: fn(),
}

/// One thread that keeps a [`Live`] up to date.
#[derive(Debug)]
pub struct Engine {
    live: &'static Live,
    aim: Arc<Aim>,
    queries: Arc<Queries>,
    report: Arc<Shared>,
    signals: Arc<Signals>,
    max_staleness: Duration,
    pools: Arc<Pools>,
    register: Arc<Register>,
    /// Tells the thread that writes down what was asked how long its farewell may take.
    usage: Option<Sender<Duration>>,
    ended: Mutex<Receiver<()>>,
}

impl Engine {
    /// Starts the thread. Connects in the background, so a server that is away is no error here.
    ///
    /// # Errors
    /// Where the connection settings or names cannot be used, or there is no thread to be had.
    pub fn start(options: &Options, live: &'static Live) -> Result<Self, Error> {
        let aim = Arc::new(Aim::from_pointee(Target::new(&options.settings)?));
        let queries = Arc::new(Queries::new(&options.names, options.opaque_values)?);
        let (report, signals) = (Arc::new(Shared::new(options.tell)), Arc::<Signals>::default());
        let max_staleness = options.max_staleness;
        let register = Arc::<Register>::default();
        let machine = Machine {
            aim: aim.clone(),
            queries: queries.clone(),
            live,
            report: report.clone(),
            signals: signals.clone(),
            register: register.clone(),
            listen: options.listen,
            poll_interval: options.poll_interval,
            max_staleness,
            host: options.host.clone(),
        };
        let (end, ended) = channel();
        let pools = Arc::new(Pools::new(aim.clone(), options.pool_size));
        let usage = Usage {
            live,
            register: register.clone(),
            pools: pools.clone(),
            queries: queries.clone(),
            report: report.clone(),
            host: options.host.clone(),
            interval: options.usage_interval,
        };
        let usage = usage.start(end.clone())?;
        let thread = thread::Builder::new().name("flagstaff".into());
        thread.spawn(move || run(&machine, end)).map_err(Error::connect)?;
        let ended = Mutex::new(ended);
        Ok(Self {
            live,
            aim,
            queries,
            report,
            signals,
            max_staleness,
            pools,
            register,
            usage,
            ended,
        })
    }

    /// What the thread last had to say.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.read()
    }

    /// Connects as these settings say from now on, and at once where there is no link. Gives false,
    /// and does nothing, where they are those that are known already. A link that holds is kept.
    ///
    /// # Errors
    /// Where the settings cannot be used; those before are kept.
    pub fn reconfigure(&self, settings: &Settings) -> Result<bool, Error> {
        let target = Target::new(settings)?;
        if target.is_same(&self.aim.load()) {
            return Ok(false);
        }
        self.aim.store(Arc::new(target));
        self.signals.kick();
        Ok(true)
    }

    /// Wakes the thread: a rest ends, a served link loads what moved. Returns at once.
    pub fn kick(&self) {
        self.signals.kick();
    }

    /// Loads everything over a short link of the pool. Afterwards the snapshot holds all that was
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
            let (held, read) = (base.as_deref(), loaded.fingerprint.as_ref());
            if standby && is_behind(self.live, self.max_staleness, held, read) {
                return Err(Error::behind());
            }
            let next = held.unwrap_or(&Snapshot::default()).next(loaded);
            let has_problems = next.problems().next().is_some();
            self.register.watch(&next);
            if self.signals.stopped() {
                return Err(Error::lost("refresh"));
            }
            if self.live.publish(base.as_ref(), next, asked) {
                self.report.loaded(asked.elapsed(), has_problems);
                return Ok(());
            }
            // A load over the link came between. Where it began after the call it is as good.
            if self.live.is_known_since(called) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Error::deadline("refresh"));
            }
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
        // The settings hold a password.
        f.debug_struct("Options").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// The thread's body. `_end` tells the owner that it is over, by being dropped.
fn run(machine: &Machine, _end: Sender<()>) {
    while !machine.signals.stopped() {
        // A fault of ours must not leave a worker with a stale snapshot that says it is live.
        let served = catch_unwind(AssertUnwindSafe(|| serve(machine)));
        if let Err(error) = served.unwrap_or_else(|_| Err(Error::lost("engine"))) {
            machine.report.down(error);
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
