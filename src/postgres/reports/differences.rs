//! The thread that writes how results of another library differ from ours.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Stop};
use std::time::Duration;

use tokio_postgres::types::Type;

use super::sender::{LAST_FLUSH, Parameter, Report, Sender, spawn};
use crate::message::Template;
use crate::postgres::context::Context;
use crate::postgres::error::Error;
use crate::postgres::random::jittered;
use crate::postgres::status::StatusReport;

/// The longest time between two flushes: people watch the page while they change over.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes what the process has counted.
#[derive(Debug)]
struct Counts {
    context: Arc<Context>,
}

/// The same as columns, the parameters of one statement.
#[derive(Debug, Default)]
struct Columns {
    kinds: Vec<Box<str>>,
    names: Vec<Box<str>>,
    causes: Vec<Box<str>>,
    theirs: Vec<bool>,
    ours: Vec<bool>,
    counts: Vec<i64>,
    users: Vec<Box<str>>,
    paths: Vec<Box<str>>,
}

impl Report for Counts {
    type Columns = Columns;
    const KIND: &'static str = "differences";
    const NAME: &'static str = "differences from another library";
    const THREAD: &'static str = "flagstaff-differ";
    const KEEPS_REFUSED: bool = false;

    fn interval(context: &Context) -> Duration {
        context.measure_interval.max(INTERVAL)
    }

    fn statement(context: &Context) -> &str {
        context.queries.flush_differences.as_deref().unwrap_or_default()
    }

    fn parameters(columns: &Columns) -> Vec<Parameter<'_>> {
        vec![
            (&columns.kinds, Type::TEXT_ARRAY),
            (&columns.names, Type::TEXT_ARRAY),
            (&columns.causes, Type::TEXT_ARRAY),
            (&columns.theirs, Type::BOOL_ARRAY),
            (&columns.ours, Type::BOOL_ARRAY),
            (&columns.counts, Type::INT8_ARRAY),
            (&columns.users, Type::TEXT_ARRAY),
            (&columns.paths, Type::TEXT_ARRAY),
        ]
    }

    fn problem(status: &mut StatusReport) -> &mut Option<&'static Template> {
        &mut status.difference_problem
    }

    fn is_empty(&self) -> bool {
        self.context.live.differences().is_empty()
    }

    fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        for (comparison, count) in self.context.live.differences().take() {
            columns.kinds.push(comparison.kind);
            columns.names.push(comparison.name);
            columns.causes.push(comparison.cause);
            columns.theirs.push(comparison.theirs);
            columns.ours.push(comparison.ours);
            columns.counts.push(count.count);
            columns.users.push(count.user);
            columns.paths.push(count.path);
        }
        columns
    }
}

/// Starts the thread. Returns the sender that stops it and carries the time for the last flush;
/// `None` if the project compares nothing. The thread drops `ended` at its end.
pub(crate) fn start(
    context: Arc<Context>,
    ended: Stop<()>,
) -> Result<Option<Stop<Duration>>, Error> {
    if context.queries.flush_differences.is_none() {
        return Ok(None);
    }
    spawn("flagstaff-differences", context, run, ended).map(Some)
}

fn run(context: &Arc<Context>, stopped: &Receiver<Duration>) {
    let mut sender = Sender::new(context.clone(), Counts { context: context.clone() });
    let mut pause = Counts::interval(context);
    loop {
        match stopped.recv_timeout(jittered(pause)) {
            Ok(limit) => return sender.finish(limit),
            Err(RecvTimeoutError::Disconnected) => return sender.finish(LAST_FLUSH),
            Err(RecvTimeoutError::Timeout) => pause = sender.flush(),
        }
    }
}
