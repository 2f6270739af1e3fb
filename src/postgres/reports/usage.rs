//! The thread that collects usage and writes it from time to time. No evaluation waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Stop};
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::counts::{Columns, Counts, left_of_hour};
use super::sender::{LAST_FLUSH, Parameter, Report, Sender, spawn, unix_seconds};
use crate::message::Template;
use crate::postgres::context::{Context, REGION_GAP};
use crate::postgres::error::Error;
use crate::postgres::random::jittered;
use crate::postgres::status::StatusReport;
use crate::postgres::texts;

impl Report for Counts {
    type Columns = Columns;
    const KIND: &'static str = "usage";
    const NAME: &'static str = "usage";
    const THREAD: &'static str = "flagstaff-flush";
    const KEEPS_REFUSED: bool = false;
    // `run-jobs` forgets the number of a flush a day after it was accepted.
    const REPEATED_FOR: Duration = Duration::from_secs(12 * 3600);

    fn interval(context: &Context) -> Duration {
        let least = if context.reports_from_region() { REGION_GAP } else { Duration::ZERO };
        context.usage_interval.max(least)
    }

    fn statement(context: &Context) -> &str {
        &context.queries.flush_usage
    }

    fn parameters(columns: &Columns) -> Vec<Parameter<'_>> {
        vec![
            (&columns.hours, Type::INT8_ARRAY),
            (&columns.keys, Type::TEXT_ARRAY),
            (&columns.results, Type::TEXT_ARRAY),
            (&columns.counts, Type::INT8_ARRAY),
            (&columns.last, Type::INT8_ARRAY),
        ]
    }

    fn problem(status: &mut StatusReport) -> &mut Option<&'static Template> {
        &mut status.usage_problem
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    fn take(&mut self) -> Columns {
        Self::take(self)
    }
}

/// Starts the thread. Returns the sender that stops it and carries the time for the last flush;
/// `None` if usage is not collected. The thread drops `ended` at its end.
pub(crate) fn start(
    context: Arc<Context>,
    ended: Stop<()>,
) -> Result<Option<Stop<Duration>>, Error> {
    if context.usage_interval.is_zero() {
        context.status.set_problem(Counts::problem, Some(&texts::USAGE_OFF));
        return Ok(None);
    }
    if let Some(inherited) = context.live.snapshot() {
        context.registry.add(&inherited);
    }
    spawn("flagstaff-usage", context, run, ended).map(Some)
}

/// Collects at every flush and at the end of every hour, until it is stopped or the engine is
/// dropped.
fn run(context: &Arc<Context>, stopped: &Receiver<Duration>) {
    let mut sender = Sender::new(context.clone(), Counts::since(unix_seconds()));
    let mut due = Instant::now() + jittered(context.usage_interval);
    loop {
        let left = Duration::from_secs(left_of_hour(unix_seconds()));
        let wait = due.saturating_duration_since(Instant::now()).min(left);
        let signal = stopped.recv_timeout(wait);
        sender.report.add(context.registry.take(context.live.unknown_keys()), unix_seconds());
        match signal {
            Ok(limit) => return sender.finish(limit),
            Err(RecvTimeoutError::Disconnected) => return sender.finish(LAST_FLUSH),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= due {
            due = Instant::now() + jittered(sender.flush());
        }
    }
}
