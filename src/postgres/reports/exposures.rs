//! The thread that writes the exposures of experiments. No request waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Stop};
use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::types::Type;

use super::sender::{LAST_FLUSH, Parameter, Report, Sender, spawn};
use crate::experiment::ExperimentState;
use crate::exposures::Exposure;
use crate::message::Template;
use crate::postgres::context::Context;
use crate::postgres::error::Error;
use crate::postgres::random::jittered;
use crate::postgres::status::StatusReport;

/// So many exposures are written at once, so that little is left for the end of the process.
const MANY: usize = 1000;
/// The time between two looks at their number.
const CHECK: Duration = Duration::from_secs(1);
/// The same before the first flush, which is written at the first exposure: afterwards the report
/// counts a process that is killed.
const FIRST_CHECK: Duration = Duration::from_millis(200);
/// The most exposures in one flush. One with all that may wait would take longer than a statement
/// may, and at the end of the process nothing of it would be written.
const MAX_FLUSHED: usize = 10_000;

/// The exposures that were lost, and the units that were left out, by the primary key of the
/// experiment.
type Counts = BTreeMap<String, (i64, i64)>;

/// Writes what waits in the queue of the process.
#[derive(Debug)]
struct Exposures {
    context: Arc<Context>,
    /// What the server could not read of earlier flushes.
    unreadable: Counts,
}

/// The same as columns, the parameters of one statement.
#[derive(Debug, Default)]
struct Columns {
    experiments: Vec<String>,
    runs: Vec<i32>,
    variants: Vec<Box<str>>,
    units: Vec<Box<str>>,
    users: Vec<Option<Box<str>>>,
    times: Vec<f64>,
    returned: Vec<bool>,
    losing: Vec<String>,
    lost: Vec<i64>,
    left_out: Vec<i64>,
}

impl Columns {
    fn add(&mut self, exposure: Exposure) {
        let at = exposure.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.experiments.push(exposure.experiment.pk.to_string());
        self.runs.push(exposure.run);
        self.variants.push(exposure.variant);
        self.units.push(exposure.unit);
        self.users.push(exposure.user);
        self.times.push(at.as_secs_f64());
        self.returned.push(exposure.returned);
    }
}

impl Report for Exposures {
    type Columns = Columns;
    const KIND: &'static str = "exposures";
    const NAME: &'static str = "exposures of experiments";
    const THREAD: &'static str = "flagstaff-expose";
    const KEEPS_REFUSED: bool = true;

    fn interval(context: &Context) -> Duration {
        context.measure_interval
    }

    fn statement(context: &Context) -> &str {
        context.queries.flush_exposures.as_deref().unwrap_or_default()
    }

    fn parameters(columns: &Columns) -> Vec<Parameter<'_>> {
        vec![
            (&columns.experiments, Type::TEXT_ARRAY),
            (&columns.runs, Type::INT4_ARRAY),
            (&columns.variants, Type::TEXT_ARRAY),
            (&columns.units, Type::TEXT_ARRAY),
            (&columns.users, Type::TEXT_ARRAY),
            (&columns.times, Type::FLOAT8_ARRAY),
            (&columns.losing, Type::TEXT_ARRAY),
            (&columns.lost, Type::INT8_ARRAY),
            (&columns.returned, Type::BOOL_ARRAY),
            (&columns.left_out, Type::INT8_ARRAY),
        ]
    }

    fn problem(status: &mut StatusReport) -> &mut Option<&'static Template> {
        &mut status.exposure_problem
    }

    fn is_empty(&self) -> bool {
        self.context.live.exposures().is_empty() && self.unreadable.is_empty()
    }

    fn exceeds_flush(&self) -> bool {
        self.context.live.exposures().len() > MAX_FLUSHED
    }

    fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        let taken = self.context.live.exposures().take(MAX_FLUSHED);
        for exposure in taken {
            columns.add(exposure);
        }
        for (experiment, (lost, left_out)) in self.take_counts() {
            columns.losing.push(experiment);
            columns.lost.push(lost);
            columns.left_out.push(left_out);
        }
        columns
    }

    fn dropped(&mut self, columns: &Columns) {
        for experiment in &columns.experiments {
            add(&mut self.unreadable, experiment, 1, 0);
        }
        let counts = columns.lost.iter().zip(&columns.left_out);
        for (experiment, (&lost, &left_out)) in columns.losing.iter().zip(counts) {
            add(&mut self.unreadable, experiment, lost, left_out);
        }
    }
}

fn add(counts: &mut Counts, experiment: &str, lost: i64, left_out: i64) {
    let found = counts.entry(experiment.to_owned()).or_default();
    *found = (found.0 + lost, found.1 + left_out);
}

impl Exposures {
    /// How many exposures were lost since the last call, and how many units were left out, by the
    /// primary key of the experiment.
    fn take_counts(&mut self) -> Counts {
        let mut all = std::mem::take(&mut self.unreadable);
        let snapshot = self.context.live.snapshot();
        for experiment in snapshot.iter().flat_map(|snapshot| snapshot.experiments()) {
            let identity = &experiment.identity;
            let counts = [identity.take_lost(), identity.take_left_out()];
            let [lost, left_out] = counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
            if lost > 0 || left_out > 0 {
                add(&mut all, &identity.pk.to_string(), lost, left_out);
            }
        }
        all
    }
}

/// Starts the thread. Returns the sender that stops it and carries the time for the last flush;
/// `None` if the project has no experiments. The thread drops `ended` at its end.
pub(crate) fn start(
    context: Arc<Context>,
    ended: Stop<()>,
) -> Result<Option<Stop<Duration>>, Error> {
    if context.queries.flush_exposures.is_none() {
        return Ok(None);
    }
    spawn("flagstaff-experiments", context, run, ended).map(Some)
}

fn may_record(context: &Context) -> bool {
    let snapshot = context.live.snapshot();
    let mut experiments = snapshot.iter().flat_map(|snapshot| snapshot.experiments());
    experiments.any(|experiment| experiment.state == ExperimentState::Running)
}

fn run(context: &Arc<Context>, stopped: &Receiver<Duration>) {
    let report = Exposures { context: context.clone(), unreadable: Counts::new() };
    let mut sender = Sender::new(context.clone(), report);
    let mut due = Instant::now() + jittered(context.measure_interval);
    loop {
        let (waiting, has_begun) = (context.live.exposures().len(), sender.has_begun());
        // Not while the database fails: then the pauses grow.
        let is_full = sender.has_written() && waiting >= if has_begun { MANY } else { 1 };
        let check = if has_begun || !may_record(context) { CHECK } else { FIRST_CHECK };
        let left = due.saturating_duration_since(Instant::now());
        match stopped.recv_timeout(if is_full { Duration::ZERO } else { left.min(check) }) {
            Ok(limit) => return sender.finish(limit),
            Err(RecvTimeoutError::Disconnected) => return sender.finish(LAST_FLUSH),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if is_full || Instant::now() >= due {
            due = Instant::now() + jittered(sender.flush());
        }
    }
}
