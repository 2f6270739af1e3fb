//! The row of a worker behind replication, which it writes at the primary.
//!
//! The log-in may take long, so each report has a thread of its own, and no load waits for it.

use std::mem::take;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use postgres::Client;
use tokio::time::Instant;

use super::register_row::{RegisterRow, Shown};
use crate::boot_time::since_boot;
use crate::postgres::connect::pool::Task;
use crate::postgres::context::{Context, REGION_GAP};
use crate::postgres::error::Error;
use crate::postgres::queries::Queries;
use crate::postgres::random::jittered;
use crate::postgres::threads;

/// The time after which another report, such as that of usage, writes the row over its connection. It is
/// short, so that both soon come together: usage is written as often as the row.
const SHARED_AFTER: Duration = Duration::from_secs(20);
/// The time after which the row is written alone, if another report has written the last one: that of
/// usage is never later.
const MAX_GAP: Duration = Duration::from_secs(135);
/// For how long a worker is expected after a report.
const EXPECTED: f64 = 300.0;
/// The time for a report.
const REPORT: Duration = Duration::from_secs(8);
/// The pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// The time for the last report.
const END: Duration = Duration::from_millis(500);
const THREAD: &str = "flagstaff-report";
const DOING: &str = "report";

/// The echo that a report has found at the primary, and when the report began, since boot.
pub(super) type Sent = (i64, Duration);

type Outcome = Result<Option<i64>, Error>;

/// The reports of one worker.
#[derive(Debug, Default)]
pub(super) struct RegionReport {
    /// What the last report has shown, and when.
    written: Option<(Shown, Instant)>,
    in_flight: Option<(Shown, Duration, Receiver<Outcome>)>,
    /// Whether the report in flight waits for another one, or was written by it.
    is_shared: bool,
    paused_until: Option<Instant>,
    gap: Duration,
    may_have_row: bool,
}

impl RegionReport {
    /// Begins a report if one is due, or lets another report write it, if it is due soon. Does not block;
    /// the engine's thread is woken at its end.
    pub(super) fn report(&mut self, row: RegisterRow, shown: Shown, context: &Arc<Context>) {
        if self.is_shared && self.in_flight.is_some() && context.pool.take_back() {
            self.in_flight = None;
        }
        if self.in_flight.is_some() {
            return;
        }
        let due = self.due(shown);
        let now = Instant::now();
        self.is_shared = now < due;
        if self.is_shared && self.written.is_none_or(|(_, at)| now < at + SHARED_AFTER) {
            return;
        }
        let (row, used) = (row.of_region(EXPECTED), context.clone());
        let work = move |client: &mut Client| {
            write(client, &row, &used.queries)?;
            Ok(number_of_echo(client, &used.queries))
        };
        self.may_have_row = true;
        let outcome =
            if self.is_shared { Ok(offer(context, work)) } else { begin(context, REPORT, work) };
        match outcome {
            Ok(outcome) => self.in_flight = Some((shown, since_boot(), outcome)),
            Err(_) => self.paused_until = Some(Instant::now() + AFTER_FAILURE),
        }
    }

    /// When a report is due that shows this.
    fn due(&self, shown: Shown) -> Instant {
        let now = Instant::now();
        let due = self.written.map_or(now, |(before, at)| {
            if shown.is_awaited_after(before) { now } else { at + self.gap }
        });
        self.paused_until.map_or(due, |until| due.max(until))
    }

    /// The outcome of a report that has ended since the last call.
    pub(super) fn ended(&mut self) -> Option<Result<Option<Sent>, Error>> {
        let (shown, began, receiver) = self.in_flight.take()?;
        let outcome = match receiver.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => {
                self.in_flight = Some((shown, began, receiver));
                return None;
            }
            Err(TryRecvError::Disconnected) => Err(Error::lost(DOING)),
        };
        match &outcome {
            Ok(_) => {
                (self.written, self.paused_until) = (Some((shown, Instant::now())), None);
                self.gap = if self.is_shared { MAX_GAP } else { jittered(REGION_GAP) };
            }
            Err(_) => self.paused_until = Some(Instant::now() + jittered(AFTER_FAILURE)),
        }
        Some(outcome.map(|number| number.map(|number| (number, began))))
    }

    /// Deletes the row, because the worker ends. Blocks for half a second at most.
    pub(super) fn end(&mut self, row: RegisterRow, context: &Arc<Context>) {
        // Another report would write the row again.
        context.pool.take_back();
        if !take(&mut self.may_have_row) {
            return;
        }
        let (row, used) = (row.of_region(EXPECTED), context.clone());
        let work = move |client: &mut Client| write(client, &row, &used.queries);
        if let Ok(ended) = begin(context, END, work) {
            drop(ended.recv_timeout(END));
        }
    }
}

/// Lets another report do the work over its connection. Wakes the engine's thread at its end.
fn offer<T: Send + 'static>(
    context: &Arc<Context>,
    work: impl FnOnce(&mut Client) -> Result<T, Error> + Send + 'static,
) -> Receiver<Result<T, Error>> {
    let (sender, outcome) = channel();
    let used = context.clone();
    context.pool.offer(move |client| {
        drop(sender.send(work(client)));
        used.signals.wake();
    });
    outcome
}

/// Begins work at the primary, in a thread of its own: a connection cannot be closed by one that runs
/// asynchronous tasks. Wakes the engine's thread at its end.
fn begin<T: Send + 'static>(
    context: &Arc<Context>,
    limit: Duration,
    work: impl FnOnce(&mut Client) -> Result<T, Error> + Clone + Send + 'static,
) -> Result<Receiver<Result<T, Error>>, Error> {
    let (sender, outcome) = channel();
    let context = context.clone();
    let task = Task { thread: THREAD, doing: DOING, until: std::time::Instant::now() + limit };
    threads::spawn(THREAD, DOING, move || {
        drop(sender.send(context.pool.run(task, &mut || false, work)));
        context.signals.wake();
    })?;
    Ok(outcome)
}

fn write(client: &mut Client, row: &RegisterRow, queries: &Queries) -> Result<(), Error> {
    let written = client.query_typed(&queries.register_in_region, &row.parameters());
    written.map(drop).map_err(|error| Error::driver(DOING, error))
}

/// The number of the echo at the primary, if it can be read.
fn number_of_echo(client: &mut Client, queries: &Queries) -> Option<i64> {
    let rows = client.query_typed(&queries.echo, &[]).ok()?;
    rows.first()?.try_get("number").ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::postgres::status::RefreshMode;

    const SHOWN: Shown = Shown { mode: RefreshMode::Poll, barrier: 5, token: 7, nonce: 1 };

    #[tokio::test(start_paused = true)]
    async fn report_is_due_for_a_barrier_at_once_and_for_another_token_after_the_gap() {
        let mut report = RegionReport { gap: REGION_GAP, ..RegionReport::default() };
        let due_in = |report: &RegionReport, shown| {
            report.due(shown).saturating_duration_since(Instant::now())
        };
        assert_eq!(due_in(&report, SHOWN), Duration::ZERO);
        report.written = Some((SHOWN, Instant::now()));
        assert_eq!(due_in(&report, Shown { token: 8, ..SHOWN }), REGION_GAP);
        assert_eq!(due_in(&report, Shown { barrier: 8, token: 8, ..SHOWN }), Duration::ZERO);
        report.paused_until = Some(Instant::now() + AFTER_FAILURE);
        assert_eq!(due_in(&report, Shown { barrier: 8, token: 8, ..SHOWN }), AFTER_FAILURE);
        advance(REGION_GAP).await;
        assert_eq!(due_in(&report, SHOWN), Duration::ZERO);
    }

    #[test]
    fn outcome_of_a_report_is_read_once_it_is_there() {
        let (sender, receiver) = channel();
        let in_flight = Some((SHOWN, Duration::ZERO, receiver));
        let mut report = RegionReport { in_flight, is_shared: true, ..RegionReport::default() };
        assert!(report.ended().is_none());
        assert!(sender.send(Ok(Some(7))).is_ok());
        assert!(matches!(report.ended(), Some(Ok(Some((7, Duration::ZERO))))));
        assert_eq!(report.gap, MAX_GAP);
    }
}
