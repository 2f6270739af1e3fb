//! The thread that writes what rollout plans measure. No request waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Stop};
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::sender::{LAST_FLUSH, Parameter, Report, Sender, spawn};
use crate::message::Template;
use crate::postgres::context::Context;
use crate::postgres::error::Error;
use crate::postgres::random::jittered;
use crate::postgres::status::StatusReport;
use crate::watch::{Measured, SeenRegister};

/// The time between two looks at what waits.
const CHECK: Duration = Duration::from_secs(1);

/// What was measured and is not written yet. Bounded: each user, register and kind of count of a
/// run is in it once.
#[derive(Debug, Default)]
struct Measurements(Vec<Measured>);

/// The same as columns, the parameters of one statement.
#[derive(Debug, Default)]
struct Columns {
    counts: CountColumns,
    seen: SeenColumns,
    failed: FailedColumns,
}

#[derive(Debug, Default)]
struct CountColumns {
    runs: Vec<i64>,
    inside: Vec<bool>,
    kinds: Vec<String>,
    numbers: Vec<i16>,
    counts: Vec<i64>,
}

#[derive(Debug, Default)]
struct SeenColumns {
    runs: Vec<i64>,
    inside: Vec<bool>,
    left_out: Vec<bool>,
    registers: Vec<i16>,
    ranks: Vec<i16>,
}

#[derive(Debug, Default)]
struct FailedColumns {
    runs: Vec<i64>,
    guards: Vec<i16>,
    units: Vec<i64>,
    inside: Vec<bool>,
    networks: Vec<Option<i32>>,
    drawn_at: Vec<Option<i64>>,
}

impl Columns {
    fn add(&mut self, Measured { run, counts, seen, failed }: Measured) {
        for (inside, kind, count) in counts {
            let (letter, number) = kind.code();
            self.counts.runs.push(run);
            self.counts.inside.push(inside);
            self.counts.kinds.push(letter.into());
            self.counts.numbers.push(number);
            self.counts.counts.push(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for SeenRegister { inside, left_out, register, rank } in seen {
            self.seen.runs.push(run);
            self.seen.inside.push(inside);
            self.seen.left_out.push(left_out);
            self.seen.registers.push(register);
            self.seen.ranks.push(rank);
        }
        for (guard, user) in failed {
            self.failed.runs.push(run);
            self.failed.guards.push(guard);
            self.failed.units.push(user.unit);
            self.failed.inside.push(user.inside);
            self.failed.networks.push(user.network);
            self.failed.drawn_at.push(user.drawn_at.map(Into::into));
        }
    }
}

impl Report for Measurements {
    type Columns = Columns;
    const KIND: &'static str = "measurements";
    const NAME: &'static str = "measurements of rollout plans";
    const THREAD: &'static str = "flagstaff-measure";
    // Without it a step could pass although failures are missing.
    const KEEPS_REFUSED: bool = true;

    fn interval(context: &Context) -> Duration {
        context.measure_interval
    }

    fn statement(context: &Context) -> &str {
        context.queries.flush_measurements.as_deref().unwrap_or_default()
    }

    fn parameters(Columns { counts, seen, failed }: &Columns) -> Vec<Parameter<'_>> {
        vec![
            (&counts.runs, Type::INT8_ARRAY),
            (&counts.inside, Type::BOOL_ARRAY),
            (&counts.kinds, Type::TEXT_ARRAY),
            (&counts.numbers, Type::INT2_ARRAY),
            (&counts.counts, Type::INT8_ARRAY),
            (&seen.runs, Type::INT8_ARRAY),
            (&seen.inside, Type::BOOL_ARRAY),
            (&seen.left_out, Type::BOOL_ARRAY),
            (&seen.registers, Type::INT2_ARRAY),
            (&seen.ranks, Type::INT2_ARRAY),
            (&failed.runs, Type::INT8_ARRAY),
            (&failed.guards, Type::INT2_ARRAY),
            (&failed.units, Type::INT8_ARRAY),
            (&failed.inside, Type::BOOL_ARRAY),
            (&failed.networks, Type::INT4_ARRAY),
            (&failed.drawn_at, Type::INT8_ARRAY),
        ]
    }

    fn problem(status: &mut StatusReport) -> &mut Option<&'static Template> {
        &mut status.measure_problem
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        for measured in std::mem::take(&mut self.0) {
            columns.add(measured);
        }
        columns
    }
}

/// Starts the thread. Returns the sender that stops it and carries the time for the last flush;
/// `None` if the project has no rollout plans. The thread drops `ended` at its end.
pub(crate) fn start(
    context: Arc<Context>,
    ended: Stop<()>,
) -> Result<Option<Stop<Duration>>, Error> {
    if context.queries.flush_measurements.is_none() {
        return Ok(None);
    }
    if let Some(inherited) = context.live.snapshot() {
        context.watches.add(&inherited);
    }
    spawn("flagstaff-plans", context, run, ended).map(Some)
}

/// Collects before each flush, because the watches themselves are bounded while a flush is pending.
/// Flushes early if many users fail, so that none is lost, and the first time, so that no step passes
/// before it is known that this build counts for it.
fn run(context: &Arc<Context>, stopped: &Receiver<Duration>) {
    let mut sender = Sender::new(context.clone(), Measurements::default());
    let mut due = Instant::now() + jittered(context.measure_interval);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        let signal = stopped.recv_timeout(left.min(CHECK));
        let is_end = !matches!(signal, Err(RecvTimeoutError::Timeout));
        // Not while the database fails: then the pauses grow.
        let is_full = sender.has_written() && context.watches.have_many();
        let mut is_due = is_full || Instant::now() >= due;
        if is_end || ((is_due || !sender.has_begun()) && sender.report.0.is_empty()) {
            sender.report.0.extend(context.watches.take());
            is_due |= !sender.report.0.is_empty();
        }
        match signal {
            Ok(limit) => return sender.finish(limit),
            Err(RecvTimeoutError::Disconnected) => return sender.finish(LAST_FLUSH),
            Err(RecvTimeoutError::Timeout) if is_due => {
                due = Instant::now() + jittered(sender.flush());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
