//! Writes down from time to time what was asked, over short links, by a thread that no question
//! waits for.
//!
//! A flush is one statement. It carries the name of this engine and a number that grows, so a flush
//! whose outcome is not known is sent again as it was: the server takes each number once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::types::Type;

use crate::live::Live;
use crate::postgres::connect::pools::Pools;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::queries::Queries;
use crate::postgres::refresh::clock::jittered;
use crate::postgres::reports::counts::{Columns, Counts, left_of_hour};
use crate::postgres::status::{RefreshMode, SharedStatus};
use crate::usage::CounterRegistry;

/// How long a flush may take.
const FLUSH: Duration = Duration::from_secs(8);
/// The longest rest after a flush that failed or was refused, where the interval is not longer.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// What the shutdown leaves of its time to the rest of the end.
const MARGIN: Duration = Duration::from_millis(150);

/// What a standby answers, and a role that may only read by default.
const READ_ONLY: &str = "25006";
/// A lock that somebody holds is waited for no longer than this.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '5s'";

/// Writes down what was asked.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) live: &'static Live,
    pub(crate) registry: Arc<CounterRegistry>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) status: Arc<SharedStatus>,
    pub(crate) host: String,
    pub(crate) interval: Duration,
}

/// One statement, which may be sent again.
#[derive(Debug)]
struct Flush {
    sequence: i64,
    columns: Columns,
    shutdown: bool,
}

/// Who flushes: an engine of a process, never the same twice.
#[derive(Debug)]
struct Writer {
    name: String,
    host: String,
    interval: f64,
    since: i64,
}

impl Usage {
    /// Starts the thread, and gives the sender that ends it; none where nothing is collected.
    pub(crate) fn start(self, ended: Sender<()>) -> Result<Option<Sender<Duration>>, Error> {
        if self.interval.is_zero() {
            self.status.usage_problem(Some("USAGE_INTERVAL is 0"));
            return Ok(None);
        }
        if let Some(inherited) = self.live.snapshot() {
            self.registry.add(&inherited);
        }
        let (end, told) = channel();
        let thread = thread::Builder::new().name("flagstaff-usage".into());
        let work = move || {
            self.run(&told);
            drop(ended);
        };
        thread.spawn(work).map_err(Error::connect)?;
        Ok(Some(end))
    }

    /// Runs until it is told how long the shutdown may take, or the engine is dropped.
    fn run(&self, end: &Receiver<Duration>) {
        let mut buffer = UsageBuffer::new(self);
        let mut due = Instant::now() + jittered(self.interval);
        loop {
            let left = Duration::from_secs(left_of_hour(seconds()));
            let wait = due.saturating_duration_since(Instant::now()).min(left);
            let told = end.recv_timeout(wait);
            buffer.counts.add(self.registry.take(self.live.unknown_keys()), seconds());
            match told {
                Ok(limit) => return buffer.shutdown(limit),
                Err(RecvTimeoutError::Disconnected) => return buffer.shutdown(MARGIN * 4),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= due {
                let rest = buffer.flush();
                due = Instant::now() + jittered(rest);
            }
        }
    }
}

/// What is still to be written, and what may have been.
#[derive(Debug)]
struct UsageBuffer<'a> {
    usage: &'a Usage,
    writer: Arc<Writer>,
    counts: Counts,
    sequence: i64,
    /// A flush whose outcome is not known.
    pending: Option<Arc<Flush>>,
    failures: u32,
}

impl<'a> UsageBuffer<'a> {
    fn new(usage: &'a Usage) -> Self {
        let name = format!("{:016x}{:016x}", random(), random());
        let (host, interval) = (usage.host.clone(), usage.interval.as_secs_f64());
        let writer = Arc::new(Writer { name, host, interval, since: seconds() });
        Self { usage, writer, counts: Counts::default(), sequence: 0, pending: None, failures: 0 }
    }

    /// Flushes, and says how long to rest then.
    fn flush(&mut self) -> Duration {
        let interval = self.usage.interval;
        // Who has been notifications of says that it still lives. Who was never asked says nothing.
        if self.pending.is_none() && self.counts.is_empty() && self.sequence == 0 {
            return interval;
        }
        let until = Instant::now() + FLUSH;
        let retried = self.pending.is_some();
        let mut outcome = self.send(false, until);
        if retried && outcome.is_ok() && !self.counts.is_empty() {
            outcome = self.send(false, until);
        }
        match outcome {
            Ok(()) => {
                self.failures = 0;
                interval
            }
            Err(is_refusal) => {
                self.failures = self.failures.saturating_add(1);
                let doubled = interval.saturating_mul(1 << self.failures.min(16));
                let rest = if is_refusal { LONGEST_REST } else { doubled.min(LONGEST_REST) };
                rest.max(interval)
            }
        }
    }

    /// Writes what is left, and that nothing more will come.
    fn shutdown(mut self, limit: Duration) {
        let until = Instant::now() + limit.saturating_sub(MARGIN);
        let is_asked = self.pending.is_some() || !self.counts.is_empty() || self.sequence > 0;
        // Without a connection an attempt would only keep the process from its end.
        let status = self.usage.status.read();
        if !is_asked || status.mode == RefreshMode::Down || status.usage_problem.is_some() {
            return;
        }
        if self.pending.is_some() && self.send(false, until).is_err() {
            return;
        }
        let _ = self.send(true, until);
    }

    /// Sends the pending flush, or one with all that is left. An error says whether the server
    /// refuses to write anything at all.
    fn send(&mut self, shutdown: bool, until: Instant) -> Result<(), bool> {
        let flush = self.pending.take().unwrap_or_else(|| {
            self.sequence += 1;
            let columns = self.counts.take();
            Arc::new(Flush { sequence: self.sequence, columns, shutdown })
        });
        let Err(error) = self.attempt(flush.clone(), until) else {
            self.usage.status.usage_problem(None);
            return Ok(());
        };
        let refusal = error.refusal_to_write();
        if refusal.is_some() {
            // The statement is undone, and what it had is given up: it would only pile up.
            self.usage.status.usage_problem(refusal);
        } else {
            self.pending = Some(flush);
        }
        Err(refusal.is_some())
    }

    /// One attempt, on a thread of its own: the driver for short links has no deadline.
    fn attempt(&self, flush: Arc<Flush>, until: Instant) -> Result<(), Error> {
        let Usage { pools, queries, .. } = self.usage;
        let (pools, queries, writer) = (pools.clone(), queries.clone(), self.writer.clone());
        let (answer, answered) = channel();
        let work = move || drop(answer.send(write(&pools, &queries, &writer, &flush, until)));
        let thread = thread::Builder::new().name("flagstaff-flush".into());
        thread.spawn(work).map_err(Error::connect)?;
        let patience = until.saturating_duration_since(Instant::now());
        answered.recv_timeout(patience).unwrap_or_else(|_| Err(Error::deadline("usage")))
    }
}

fn write(
    pools: &Pools,
    queries: &Queries,
    writer: &Writer,
    flush: &Flush,
    until: Instant,
) -> Result<(), Error> {
    let pool = pools.pool();
    let outcome = pool
        .get(until.saturating_duration_since(Instant::now()))
        .and_then(|mut client| flush_over(&mut client, queries, writer, flush));
    if outcome.as_ref().is_err_and(|error| !error.is_answer()) {
        pools.discard(&pool);
    }
    outcome
}

fn flush_over(
    client: &mut postgres::Client,
    queries: &Queries,
    writer: &Writer,
    flush: &Flush,
) -> Result<(), Error> {
    let failed = |error| Error::driver("usage", error);
    let pid = i64::from(std::process::id());
    let Columns { hours, keys, defined, false_counts, true_counts, last } = &flush.columns;
    client.batch_execute(BEGIN).map_err(failed)?;
    let written = client.query_typed(
        &queries.flush_usage,
        &[
            (&writer.name, Type::TEXT),
            (&writer.host, Type::TEXT),
            (&pid, Type::INT8),
            (&writer.since, Type::INT8),
            (&writer.interval, Type::FLOAT8),
            (&flush.sequence, Type::INT8),
            (&flush.shutdown, Type::BOOL),
            (hours, Type::INT8_ARRAY),
            (keys, Type::TEXT_ARRAY),
            (defined, Type::BOOL_ARRAY),
            (false_counts, Type::INT8_ARRAY),
            (true_counts, Type::INT8_ARRAY),
            (last, Type::INT8_ARRAY),
        ],
    );
    written.and_then(|_| client.batch_execute("COMMIT")).map_err(failed)
}

impl Error {
    /// Why nothing can be written here, now and for some time.
    fn refusal_to_write(&self) -> Option<&'static str> {
        match (self.kind(), self.sqlstate()) {
            (ErrorKind::Permission, _) => Some("the role may not write it"),
            (ErrorKind::Missing, _) => Some("its table is missing, run \"manage.py migrate\""),
            (_, Some(READ_ONLY)) => Some("the connection is read-only"),
            _ => None,
        }
    }
}

/// Seconds since 1970, by this machine's clock.
fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// 64 bits of chance: the hasher's keys are random.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
