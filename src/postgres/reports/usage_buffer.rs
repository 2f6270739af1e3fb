//! The usage that is not written yet, and the flushes that write it.
//!
//! A flush is one statement. It carries the name of this engine and a sequence number, so a flush
//! with an unknown outcome is sent again unchanged: the server applies each number once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::counts::{Columns, Counts};
use crate::postgres::connect::pool::Task;
use crate::postgres::context::Context;
use crate::postgres::error::{Error, ErrorKind};
use crate::postgres::random;
use crate::postgres::status::RefreshMode;
use crate::usage::KeyUsage;

/// The time for a flush.
const FLUSH: Duration = Duration::from_secs(8);
/// The longest pause after a failed or refused flush, unless the interval is longer.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// The part of its time that the last flush leaves to the rest of the shutdown.
const MARGIN: Duration = Duration::from_millis(150);

/// The SQLSTATE of a standby, and of a role that may only read.
const READ_ONLY: &str = "25006";
/// The timeout bounds the wait for a lock.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '5s'";

/// One statement, which may be sent again.
#[derive(Debug)]
struct Flush {
    sequence: i64,
    columns: Columns,
    /// Whether the engine reports that it stops.
    is_last: bool,
}

/// Identifies an engine in the usage tables. The name is never used twice.
#[derive(Debug)]
struct Writer {
    name: String,
    started: i64,
}

/// The usage that is not written yet.
#[derive(Debug)]
pub(super) struct UsageBuffer {
    context: Arc<Context>,
    writer: Arc<Writer>,
    counts: Counts,
    sequence: i64,
    /// A flush with an unknown outcome.
    pending: Option<Arc<Flush>>,
    failures: u32,
}

impl UsageBuffer {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let name = format!("{:016x}{:016x}", random::bits(), random::bits());
        let writer = Arc::new(Writer { name, started: unix_seconds() });
        let counts = Counts::default();
        Self { context, writer, counts, sequence: 0, pending: None, failures: 0 }
    }

    /// Adds what was collected up to now.
    pub(super) fn add(&mut self, usage: Vec<KeyUsage>) {
        self.counts.add(usage, unix_seconds());
    }

    /// Flushes, and returns the pause until the next flush. Blocks.
    pub(super) fn flush(&mut self) -> Duration {
        let interval = self.context.usage_interval;
        // Once an engine has written, every flush is also its heartbeat.
        if !self.is_active() {
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
            Err(is_refusal) => self.pause_after_failure(is_refusal),
        }
    }

    fn pause_after_failure(&mut self, is_refusal: bool) -> Duration {
        let interval = self.context.usage_interval;
        self.failures = self.failures.saturating_add(1);
        let doubled = interval.saturating_mul(1 << self.failures.min(16));
        let pause = if is_refusal { MAX_PAUSE } else { doubled.min(MAX_PAUSE) };
        pause.max(interval)
    }

    /// Writes the rest and reports that the engine stops. Blocks for at most `limit`.
    pub(super) fn finish(mut self, limit: Duration) {
        let until = Instant::now() + limit.saturating_sub(MARGIN);
        // Without a connection an attempt would only delay the end of the process.
        let status = self.context.status.read();
        let is_hopeless = status.mode == RefreshMode::Down || status.usage_problem.is_some();
        if !self.is_active() || is_hopeless {
            return;
        }
        if self.pending.is_some() && self.send(false, until).is_err() {
            return;
        }
        let _ = self.send(true, until);
    }

    /// Whether there is something to write, or something was written before.
    fn is_active(&self) -> bool {
        self.pending.is_some() || !self.counts.is_empty() || self.sequence > 0
    }

    /// Sends the pending flush, or one with all counts. The error says whether the server refuses
    /// all writes.
    fn send(&mut self, is_last: bool, until: Instant) -> Result<(), bool> {
        let flush = self.pending.take().unwrap_or_else(|| {
            self.sequence += 1;
            let columns = self.counts.take();
            Arc::new(Flush { sequence: self.sequence, columns, is_last })
        });
        let Err(error) = self.attempt(flush.clone(), until) else {
            self.context.status.set_usage_problem(None);
            return Ok(());
        };
        let refusal = refusal(&error);
        if refusal.is_some() {
            // The counts are dropped: a server that refuses writes would only let them pile up.
            self.context.status.set_usage_problem(refusal);
        } else {
            self.pending = Some(flush);
        }
        Err(refusal.is_some())
    }

    fn attempt(&self, flush: Arc<Flush>, until: Instant) -> Result<(), Error> {
        let (context, writer) = (self.context.clone(), self.writer.clone());
        let pool = &self.context.pool;
        let task = Task { thread: "flagstaff-flush", doing: "usage", until };
        pool.run(task, &mut || false, async move |client: &Client| {
            write(client, &context, &writer, &flush).await
        })
    }
}

async fn write(
    client: &Client,
    context: &Context,
    writer: &Writer,
    flush: &Flush,
) -> Result<(), Error> {
    let failed = |error| Error::driver("usage", error);
    let pid = i64::from(std::process::id());
    let interval = context.usage_interval.as_secs_f64();
    let Columns { hours, keys, defined, false_counts, true_counts, last } = &flush.columns;
    client.batch_execute(BEGIN).await.map_err(failed)?;
    let parameters: [(&(dyn ToSql + Sync), Type); 13] = [
        (&writer.name, Type::TEXT),
        (&context.host, Type::TEXT),
        (&pid, Type::INT8),
        (&writer.started, Type::INT8),
        (&interval, Type::FLOAT8),
        (&flush.sequence, Type::INT8),
        (&flush.is_last, Type::BOOL),
        (hours, Type::INT8_ARRAY),
        (keys, Type::TEXT_ARRAY),
        (defined, Type::BOOL_ARRAY),
        (false_counts, Type::INT8_ARRAY),
        (true_counts, Type::INT8_ARRAY),
        (last, Type::INT8_ARRAY),
    ];
    client.query_typed(&context.queries.flush_usage, &parameters).await.map_err(failed)?;
    client.batch_execute("COMMIT").await.map_err(failed)
}

/// Why the server refuses all writes, for now and some time; `None` if the error is another one.
fn refusal(error: &Error) -> Option<&'static str> {
    match (error.kind(), error.sqlstate()) {
        (ErrorKind::Permission, _) => Some("the role may not write it"),
        (ErrorKind::Missing, _) => Some("its table is missing, run \"manage.py migrate\""),
        (_, Some(READ_ONLY)) => Some("the connection is read-only"),
        _ => None,
    }
}

/// The Unix time in seconds, by this machine's clock.
pub(super) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}
