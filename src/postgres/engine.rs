//! The engine of a process: one thread that keeps a [`Live`] up to date, one that writes usage, one
//! that writes what rollout plans measure, and one that writes the exposures of experiments.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::boot_time::since_boot;
use crate::live::Live;
use crate::postgres::connect::parameters::Parameters;
use crate::postgres::connect::pool::Pool;
use crate::postgres::connect::target::{CurrentTarget, Target};
use crate::postgres::context::Context;
use crate::postgres::deadline;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::{Names, Queries};
use crate::postgres::refresh::machine;
use crate::postgres::refresh::stepped::SteppedWorker;
use crate::postgres::reports::{exposures, measurements, usage};
use crate::postgres::signals::Signals;
use crate::postgres::status::{RefreshMode, SharedStatus, StatusReport};
use crate::postgres::suspension;
use crate::postgres::threads;
use crate::usage::CounterRegistry;
use crate::watch_registry::WatchRegistry;

/// The longest time in which a load receives nothing.
pub const LOAD_TIMEOUT: Duration = deadline::LOAD;
/// The pause after a panic of the engine's thread, before it runs again.
const AFTER_PANIC: Duration = Duration::from_secs(1);
/// How long after its time a poll is overdue.
const LATE_POLL: Duration = Duration::from_secs(1);
/// How long requests wait for a poll that is overdue.
const WAIT_FOR_POLL: Duration = Duration::from_millis(300);
/// The time between two attempts to start the threads.
const RETRY: Duration = Duration::from_secs(2);

/// What an engine is made from.
#[derive(Clone)]
pub struct Options {
    /// Connection parameters by their libpq name.
    pub parameters: Parameters,
    /// Quoted names of tables and columns.
    pub names: Names,
    /// Whether to ask for notifications.
    pub listen: bool,
    /// The time between two polls; it varies by 10 %.
    pub poll_interval: Duration,
    /// The longest time in which a load receives nothing: [`LOAD_TIMEOUT`], less in tests.
    pub load_timeout: Duration,
    /// The maximum number of pooled connections.
    pub pool_size: u32,
    /// How long one of them is kept for the next flush; zero if none is.
    pub pool_idle: Duration,
    /// The time between two flushes of usage; zero if usage is not collected.
    pub usage_interval: Duration,
    /// The time between two flushes of what rollout plans measure, and of exposures.
    pub measure_interval: Duration,
    /// How long the snapshot is preferred to a standby that is behind it.
    pub max_staleness: Duration,
    /// The name of this machine, which identifies the worker to operators.
    pub host: String,
    /// The build of the project that this worker runs, empty without one.
    pub release: String,
    /// How the primary is reached from behind replication; `None` with the same parameters.
    pub report_parameters: Option<Parameters>,
    /// The region of this worker, empty without one.
    pub region: String,
    /// Called by the engine's threads after an event that may be logged, and after a load of values.
    /// Must return at once.
    pub on_event: fn(),
}

/// The threads of one process that keep a [`Live`] up to date, and write what was counted.
#[derive(Debug)]
pub struct Engine {
    context: Arc<Context>,
    /// Empty as long as the process can start no thread.
    threads: OnceLock<Threads>,
    /// When the threads may be started. Locked while a caller starts them.
    next_attempt: Mutex<Instant>,
    /// When a poll was last asked for because it was overdue, since boot.
    asked: Mutex<Duration>,
}

/// The threads of an engine.
#[derive(Debug)]
struct Threads {
    /// Stop the threads that write, with the time for their last flush.
    stop_reports: Vec<Sender<Duration>>,
    /// Disconnected once all threads have ended.
    ended: Mutex<Receiver<()>>,
}

impl Threads {
    fn start(context: &Arc<Context>) -> Result<Self, Error> {
        let (sender, ended) = channel();
        let usage = usage::start(context.clone(), sender.clone())?;
        let measurements = measurements::start(context.clone(), sender.clone())?;
        let exposures = exposures::start(context.clone(), sender.clone())?;
        let stop_reports = [usage, measurements, exposures].into_iter().flatten().collect();
        let shared = context.clone();
        threads::spawn("flagstaff", "start", move || run(&shared, sender))?;
        Ok(Self { stop_reports, ended: Mutex::new(ended) })
    }
}

impl Engine {
    /// Starts the threads. They connect in the background, so an unreachable server is no error.
    /// Neither is a process that can start no thread: see [`ensure_running`](Self::ensure_running).
    ///
    /// # Errors
    /// If the connection parameters or the names cannot be used.
    pub fn start(options: &Options, live: &'static Live) -> Result<Self, Error> {
        let engine = Self::without_threads(options, live)?;
        engine.ensure_running();
        Ok(engine)
    }

    fn without_threads(options: &Options, live: &'static Live) -> Result<Self, Error> {
        let target = Arc::new(Target::new(&options.parameters)?);
        let report_target = Arc::new(CurrentTarget::new(target.clone()));
        let primary = options.report_parameters.as_ref().map(Target::new).transpose()?;
        let context = Arc::new(Context {
            live,
            pool: Pool::new(report_target.clone(), options.pool_size, options.pool_idle),
            target: CurrentTarget::new(target),
            report_target,
            primary: primary.map(CurrentTarget::from_pointee),
            queries: Queries::new(&options.names)?,
            status: SharedStatus::new(options.on_event),
            signals: Signals::default(),
            registry: CounterRegistry::default(),
            watches: WatchRegistry::default(),
            listen: options.listen,
            poll_interval: options.poll_interval,
            // The interval varies by 10 %.
            overdue: options.poll_interval.mul_f64(1.1) + LATE_POLL,
            load_timeout: options.load_timeout,
            usage_interval: options.usage_interval,
            measure_interval: options.measure_interval,
            max_staleness: options.max_staleness,
            host: options.host.clone(),
            release: options.release.clone(),
            region: options.region.clone(),
        });
        let next_attempt = Mutex::new(Instant::now());
        Ok(Self { context, threads: OnceLock::new(), next_attempt, asked: Mutex::default() })
    }

    /// An engine for tests whose thread is the caller's: its worker loads when it is asked to.
    ///
    /// # Errors
    /// If the options cannot be used, or the first load fails.
    #[doc(hidden)]
    pub async fn stepped(options: &Options, live: &'static Live) -> Result<SteppedWorker, Error> {
        let engine: &'static Self = Box::leak(Box::new(Self::without_threads(options, live)?));
        SteppedWorker::start(&engine.context).await
    }

    /// Starts the threads unless they run, at most every few seconds. Returns whether they run; if
    /// not, the status says why. Returns at once.
    pub fn ensure_running(&self) -> bool {
        if self.is_running() {
            return true;
        }
        // Another caller is starting them.
        let Ok(mut next_attempt) = self.next_attempt.try_lock() else { return false };
        if self.is_running() || Instant::now() < *next_attempt {
            return self.is_running();
        }
        *next_attempt = Instant::now() + RETRY;
        match Threads::start(&self.context) {
            Ok(threads) => drop(self.threads.set(threads)),
            Err(error) => self.context.status.down(error),
        }
        self.is_running()
    }

    /// Whether the threads have been started.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.threads.get().is_some()
    }

    /// The current status report.
    #[must_use]
    pub fn status(&self) -> StatusReport {
        self.context.status.read()
    }

    /// Uses these parameters from now on, and those for reports. Reconnects at once if there is no
    /// connection; a working connection is kept. Returns whether the parameters have changed.
    ///
    /// # Errors
    /// If the parameters cannot be used; the earlier ones stay in use.
    pub fn reconfigure(
        &self,
        parameters: &Parameters,
        report_parameters: Option<&Parameters>,
    ) -> Result<bool, Error> {
        let target = Target::new(parameters)?;
        if let Some((primary, parameters)) = self.context.primary.as_ref().zip(report_parameters) {
            let target = Target::new(parameters)?;
            if !target.is_same(&primary.load()) {
                primary.store(Arc::new(target));
            }
        }
        if target.is_same(&self.context.target.load()) {
            return Ok(false);
        }
        let target = Arc::new(target);
        let of_reports = &self.context.report_target;
        if Arc::ptr_eq(&of_reports.load(), &self.context.target.load()) {
            of_reports.store(target.clone());
        }
        self.context.target.store(target);
        self.wake();
        Ok(true)
    }

    /// Wakes the thread: it connects without further delay, or loads what changed. Does not block.
    pub fn wake(&self) {
        self.context.signals.wake();
    }

    /// Whether polls have confirmed nothing for too long, as after the process was suspended.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.context.is_overdue()
    }

    /// Asks for a poll that is overdue. Returns whether a request should wait for it: true for 0.3 s
    /// after the first call. All threads wait together, and again only after a later outage, or after
    /// the process was suspended.
    #[must_use]
    pub fn ask_for_poll(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = since_boot();
        if self.context.live.is_current_since(*asked) || suspension::is_after(*asked) {
            *asked = now;
            self.wake();
        }
        now < *asked + WAIT_FOR_POLL
    }

    /// Loads everything over the engine's connection. The snapshot then contains all that was committed
    /// before this call. Blocks for at most `limit`, or until `interrupted` returns true.
    ///
    /// # Errors
    /// If the load fails or takes longer, or why there is no connection; the snapshot is then unchanged.
    pub fn refresh(
        &self,
        limit: Duration,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        let (until, failures) = (Instant::now() + limit, self.status().failures);
        let requested = self.context.signals.request_load();
        match deadline::receive(&requested.result, until, "refresh", interrupted) {
            Err(error) if error.kind() == ErrorKind::Deadline => {
                let StatusReport { mode, failures: now, last_error, .. } = self.status();
                let cause = last_error.filter(|_| mode == RefreshMode::Down || now > failures);
                Err(cause.map_or(error, |cause| Error::clone(&cause)))
            }
            outcome => outcome,
        }
    }

    /// Stops the threads, closes their connections and writes the remaining usage. Blocks for at
    /// most `limit`, or until `interrupted` returns true. Returns whether the threads have ended.
    pub fn stop(&self, limit: Duration, interrupted: &mut dyn FnMut() -> bool) -> bool {
        let until = Instant::now() + limit;
        self.context.signals.stop();
        self.context.pool.keep_no_more();
        let Some(threads) = self.threads.get() else { return true };
        for stop in &threads.stop_reports {
            // Fails if the thread has ended already.
            let _ = stop.send(limit);
        }
        let ended = threads.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // The threads send nothing: their end drops the senders, which disconnects the channel.
        let outcome = deadline::received(&ended, until, interrupted);
        let have_ended = !matches!(outcome, Err(RecvTimeoutError::Timeout));
        self.context.pool.close();
        have_ended
    }
}

impl Drop for Engine {
    /// Stops the threads, which nothing else could stop. Does not wait.
    fn drop(&mut self) {
        self.context.signals.stop();
        self.context.pool.close();
    }
}

impl fmt::Debug for Options {
    /// Leaves out the parameters, which hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// The body of the engine's thread. Dropping `_ended` tells the owner that the thread has ended.
fn run(context: &Arc<Context>, _ended: Sender<()>) {
    // An earlier attempt to start this thread may have failed.
    context.status.set_mode(RefreshMode::Starting, None);
    while !context.signals.is_stopped() {
        // After a panic the worker must not stay on a stale snapshot that claims to be live.
        let served = catch_unwind(AssertUnwindSafe(|| {
            threads::block_on("start", async {
                machine::run(context).await;
                Ok(())
            })
        }));
        if let Err(error) = served.unwrap_or_else(|_| Err(Error::lost("engine"))) {
            context.status.down(error);
            thread::sleep(AFTER_PANIC);
        }
    }
}
