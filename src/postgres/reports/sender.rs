//! Writes what a worker has collected, each part of it once.
//!
//! A flush is one statement, which begins with `accept_flush_v1.sql`. It carries the name of this
//! sender and a sequence number, so a flush with an unknown outcome is sent again unchanged: the
//! server applies each number once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender as Stop, channel};
use std::time::{Duration, Instant, SystemTime};

use postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::boot_time::since_boot;
use crate::message::Template;
use crate::postgres::connect::pool::Task;
use crate::postgres::context::Context;
use crate::postgres::error::{Error, ErrorKind, READ_ONLY};
use crate::postgres::random;
use crate::postgres::status::{RefreshMode, StatusReport};
use crate::postgres::texts;
use crate::postgres::threads;

/// The time for the last flush of an engine that is dropped without a call of `stop`.
pub(super) const LAST_FLUSH: Duration = Duration::from_millis(600);
/// The time for a flush.
const FLUSH: Duration = Duration::from_secs(8);
/// The longest pause after a failed or refused flush, unless the interval is longer.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// The part of its time that the last flush leaves to the rest of the shutdown.
const MARGIN: Duration = Duration::from_millis(150);

/// The timeout bounds the wait for a lock.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '5s'";

/// A parameter of a statement.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// What is collected, and how it is written.
pub(super) trait Report {
    /// The parameters of one flush.
    type Columns: Send + Sync + 'static;
    /// Its kind in the register of workers.
    const KIND: &'static str;
    /// What is written, for errors.
    const NAME: &'static str;
    /// The name of the thread that writes.
    const THREAD: &'static str;
    /// Whether a flush that the server refuses is kept: what is collected meanwhile is bounded.
    const KEEPS_REFUSED: bool;
    /// How long a flush with an unknown outcome is sent again. Afterwards it is dropped, because it
    /// could be applied twice.
    const REPEATED_FOR: Duration = Duration::MAX;

    /// The time between two flushes.
    fn interval(context: &Context) -> Duration;
    /// The statement. Its first parameters are those of every report, in the order of `write`.
    fn statement(context: &Context) -> &str;
    /// The parameters after them.
    fn parameters(columns: &Self::Columns) -> Vec<Parameter<'_>>;
    /// Where the status says why nothing is written.
    fn problem(status: &mut StatusReport) -> &mut Option<&'static Template>;
    /// Whether nothing is collected.
    fn is_empty(&self) -> bool;
    /// Whether more is collected than one flush carries.
    fn exceeds_flush(&self) -> bool {
        false
    }
    /// Removes and returns what one flush carries.
    fn take(&mut self) -> Self::Columns;
    /// Called for what the server cannot read, and that is not sent again.
    fn dropped(&mut self, _columns: &Self::Columns) {}
}

/// One statement, which may be sent again.
#[derive(Debug)]
struct Flush<C> {
    sequence: i64,
    columns: C,
    /// When it was first sent, since boot.
    first_sent: Duration,
    /// Whether the engine reports that it stops.
    is_last: bool,
}

impl<C> Flush<C> {
    fn may_be_repeated<R: Report>(&self, now: Duration) -> bool {
        now.saturating_sub(self.first_sent) < R::REPEATED_FOR
    }
}

/// Identifies a sender in the register of workers. Its name is never used twice: if one thread of an
/// engine cannot be started, the others are started again later, and their numbers begin at 1.
#[derive(Debug)]
struct Writer {
    name: String,
    started: i64,
}

/// What is not written yet, and the flushes that write it.
#[derive(Debug)]
pub(super) struct Sender<R: Report> {
    pub(super) report: R,
    context: Arc<Context>,
    writer: Arc<Writer>,
    sequence: i64,
    /// A flush with an unknown outcome.
    pending: Option<Arc<Flush<R::Columns>>>,
    failures: u32,
    /// Whether the server refused the last flush.
    is_refused: bool,
}

impl<R: Report> Sender<R> {
    pub(super) fn new(context: Arc<Context>, report: R) -> Self {
        let name = format!("{:016x}{:016x}", random::bits(), random::bits());
        let writer = Arc::new(Writer { name, started: unix_seconds() });
        Self { report, context, writer, sequence: 0, pending: None, failures: 0, is_refused: false }
    }

    /// Flushes, and returns the pause until the next flush. Blocks.
    pub(super) fn flush(&mut self) -> Duration {
        let interval = R::interval(&self.context);
        // Once an engine has written, every flush is also its heartbeat.
        if !self.is_active() {
            return interval;
        }
        let until = Instant::now() + FLUSH;
        let retried = self.pending.is_some();
        let mut outcome = self.send(false, until);
        if retried && outcome.is_ok() && !self.report.is_empty() {
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
        let interval = R::interval(&self.context);
        self.failures = self.failures.saturating_add(1);
        let doubled = interval.saturating_mul(1 << self.failures.min(16));
        let is_hopeless = is_refusal && !R::KEEPS_REFUSED;
        let pause = if is_hopeless { MAX_PAUSE } else { doubled.min(MAX_PAUSE) };
        pause.max(interval)
    }

    /// Writes the rest and reports that the engine stops. Blocks for at most `limit`.
    pub(super) fn finish(mut self, limit: Duration) {
        let until = Instant::now() + limit.saturating_sub(MARGIN);
        // Without a connection an attempt would only delay the end of the process.
        let is_down = self.context.status.read().mode == RefreshMode::Down;
        if !self.is_active() || is_down || self.is_refused {
            return;
        }
        if self.pending.is_some() && self.send(false, until).is_err() {
            return;
        }
        while self.report.exceeds_flush() {
            if self.send(false, until).is_err() {
                return;
            }
        }
        let _ = self.send(true, until);
    }

    /// Whether there was a flush.
    pub(super) fn has_begun(&self) -> bool {
        self.sequence > 0
    }

    /// Whether the last flush was written.
    pub(super) fn has_written(&self) -> bool {
        self.failures == 0
    }

    /// Whether there is something to write, or something was written before.
    fn is_active(&self) -> bool {
        self.pending.is_some() || !self.report.is_empty() || self.has_begun()
    }

    /// Sends the pending flush, or the next one. The error says whether the
    /// server refuses all writes.
    fn send(&mut self, is_last: bool, until: Instant) -> Result<(), bool> {
        let now = since_boot();
        let pending = self.pending.take().filter(|flush| flush.may_be_repeated::<R>(now));
        let flush = pending.unwrap_or_else(|| {
            self.sequence += 1;
            let columns = self.report.take();
            Arc::new(Flush { sequence: self.sequence, columns, first_sent: now, is_last })
        });
        let Err(error) = self.attempt(flush.clone(), until) else {
            self.is_refused = false;
            self.context.status.set_problem(R::problem, None);
            return Ok(());
        };
        let refusal = refusal(&error);
        self.is_refused = refusal.is_some();
        if self.is_refused {
            self.context.status.set_problem(R::problem, refusal);
        }
        // Otherwise it is dropped: a server that refuses writes would only let them pile up, and
        // one that cannot compute with the values would refuse them each time.
        let is_kept = if self.is_refused { R::KEEPS_REFUSED } else { !is_data_error(&error) };
        if is_kept {
            self.pending = Some(flush);
        } else {
            self.report.dropped(&flush.columns);
        }
        Err(self.is_refused)
    }

    fn attempt(&self, flush: Arc<Flush<R::Columns>>, until: Instant) -> Result<(), Error> {
        let (context, writer) = (self.context.clone(), self.writer.clone());
        let task = Task { thread: R::THREAD, doing: R::NAME, until };
        let work = move |client: &mut Client| write::<R>(client, &context, &writer, &flush);
        self.context.pool.run(task, &mut || false, work)
    }
}

/// Starts a thread that runs `work` until the returned sender stops it, with the time for the last
/// flush, or is dropped. The thread drops `ended` at its end.
pub(super) fn spawn(
    thread: &'static str,
    context: Arc<Context>,
    work: fn(&Arc<Context>, &Receiver<Duration>),
    ended: Stop<()>,
) -> Result<Stop<Duration>, Error> {
    let (stop, stopped) = channel();
    let work = move || {
        work(&context, &stopped);
        drop(ended);
    };
    threads::spawn(thread, "start", work)?;
    Ok(stop)
}

fn write<R: Report>(
    client: &mut Client,
    context: &Context,
    writer: &Writer,
    flush: &Flush<R::Columns>,
) -> Result<(), Error> {
    let failed = |error| Error::driver(R::NAME, error);
    let pid = i64::from(std::process::id());
    let interval = R::interval(context).as_secs_f64();
    client.batch_execute(BEGIN).map_err(failed)?;
    let mut parameters: Vec<Parameter<'_>> = vec![
        (&writer.name, Type::TEXT),
        (&R::KIND, Type::TEXT),
        (&context.host, Type::TEXT),
        (&pid, Type::INT8),
        (&writer.started, Type::INT8),
        (&interval, Type::FLOAT8),
        (&flush.sequence, Type::INT8),
        (&flush.is_last, Type::BOOL),
        (&context.release, Type::TEXT),
    ];
    parameters.extend(R::parameters(&flush.columns));
    client.query_typed(R::statement(context), &parameters).map_err(failed)?;
    client.batch_execute("COMMIT").map_err(failed)
}

/// Why the server refuses all writes, for now and some time; `None` if the error is another one.
fn refusal(error: &Error) -> Option<&'static Template> {
    match (error.kind(), error.sqlstate()) {
        (ErrorKind::Permission, _) => Some(&texts::MAY_NOT_WRITE),
        (ErrorKind::Missing, _) => Some(&texts::TABLE_MISSING),
        (_, Some(READ_ONLY)) => Some(&texts::READ_ONLY),
        _ => None,
    }
}

/// Whether the values are the reason, as in SQLSTATE's class 22: another attempt would fail, too.
fn is_data_error(error: &Error) -> bool {
    error.sqlstate().is_some_and(|code| code.starts_with("22"))
}

/// The Unix time in seconds, by this machine's clock.
pub(super) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::reports::counts::Counts;

    #[test]
    fn flush_is_repeated_only_while_the_server_knows_its_number() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let flush = Flush { sequence: 1, columns: (), first_sent: hours(5), is_last: false };
        let repeated = [5, 16, 17, 29].map(|now| flush.may_be_repeated::<Counts>(hours(now)));
        assert_eq!(repeated, [true, true, false, false]);
    }
}
