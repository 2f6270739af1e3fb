//! The status report of an engine: its threads write it, `status()` reads it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::message::{Message, Template};
use crate::postgres::change_signal::CHANGE_SIGNAL;
use crate::postgres::error::Error;

/// How a worker is kept up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshMode {
    /// The first load is under way.
    #[default]
    Starting,
    /// Notifications arrive, and the change tokens are polled.
    Live,
    /// No notifications: the change tokens are polled.
    Poll,
    /// No change tokens: every poll loads everything.
    Reload,
    /// No connection: the last good snapshot stays in use.
    Down,
}

impl RefreshMode {
    /// The word that `status()` shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Poll => "poll",
            Self::Reload => "reload",
            Self::Down => "down",
        }
    }
}

/// Whether the changes of the primary arrive at the server that the worker reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrival {
    /// The server is the primary, or its copy changes.
    #[default]
    Certain,
    /// Nothing has arrived since this time since boot.
    SilentSince(Duration),
    /// No worker at the primary writes what would arrive.
    Unknown,
}

impl Arrival {
    /// The age of the snapshot, if `age` is the time since it equalled what the server has; `None` if it
    /// is not known.
    #[must_use]
    pub fn age(self, age: Duration, now: Duration) -> Option<Duration> {
        match self {
            Self::Certain => Some(age),
            Self::SilentSince(since) => Some(age.max(now.saturating_sub(since))),
            Self::Unknown => None,
        }
    }
}

/// The status report of an engine.
#[derive(Clone, Debug, Default)]
pub struct StatusReport {
    /// How the worker is kept up to date.
    pub mode: RefreshMode,
    /// Why the mode is not `Live`.
    pub reason: Option<Message>,
    /// Whether the changes of the primary arrive.
    pub arrival: Arrival,
    /// The number of published loads.
    pub loads: u64,
    /// How long the last of them took.
    pub load_time: Option<Duration>,
    /// The number of failed attempts since the start.
    pub failures: u64,
    /// How often the database lacked changes that the worker had seen.
    pub lost_changes: u64,
    /// What was said about it the last time.
    pub last_lost_changes: Option<Message>,
    /// The last error. Kept after recovery.
    pub last_error: Option<Arc<Error>>,
    /// Why usage is not written, `None` if it is.
    pub usage_problem: Option<&'static Template>,
    /// Why what rollout plans measure is not written.
    pub measure_problem: Option<&'static Template>,
    /// Why the exposures of experiments are not written.
    pub exposure_problem: Option<&'static Template>,
    /// What is missing in the schema, and what follows.
    pub schema_problems: Vec<Message>,
}

/// The field of the report that says why something is not written.
pub(crate) type ProblemField = fn(&mut StatusReport) -> &mut Option<&'static Template>;

/// The status report, shared between the threads of an engine and its readers.
#[derive(Debug)]
pub(crate) struct SharedStatus {
    report: Mutex<StatusReport>,
    /// Called after an event that may be logged, and after a load of values.
    on_event: fn(),
}

impl SharedStatus {
    pub(crate) fn new(on_event: fn()) -> Self {
        Self { report: Mutex::default(), on_event }
    }

    pub(crate) fn read(&self) -> StatusReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update<T>(&self, change: impl FnOnce(&mut StatusReport) -> T) -> T {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the mode, and why it is not `Live`.
    pub(crate) fn set_mode(&self, mode: RefreshMode, reason: Option<Message>) {
        let (is_other_mode, changed) = self.update(|report| {
            let is_other_mode = report.mode != mode;
            let changed = is_other_mode || report.reason != reason;
            (report.mode, report.reason) = (mode, reason);
            (is_other_mode, changed)
        });
        if is_other_mode {
            CHANGE_SIGNAL.send();
        }
        if changed {
            (self.on_event)();
        }
    }

    /// Sets whether the changes of the primary arrive.
    pub(crate) fn set_arrival(&self, arrival: Arrival) {
        self.update(|report| report.arrival = arrival);
    }

    /// Notes a published load, and whether it is an event.
    pub(crate) fn loaded(&self, took: Duration, is_event: bool) {
        self.update(|report| {
            report.loads += 1;
            report.load_time = Some(took);
        });
        if is_event {
            (self.on_event)();
        }
    }

    /// Notes that the database lacks changes that the worker has seen.
    pub(crate) fn lost_changes(&self, message: Message) {
        self.update(|report| {
            report.lost_changes += 1;
            report.last_lost_changes = Some(message);
        });
        (self.on_event)();
    }

    /// Notes a failure that did not end the connection.
    pub(crate) fn failed(&self, error: Error) {
        self.update(|report| {
            report.failures += 1;
            report.last_error = Some(Arc::new(error));
        });
        (self.on_event)();
    }

    /// Notes a failure that ended the connection.
    pub(crate) fn down(&self, error: Error) {
        self.failed(error);
        self.set_mode(RefreshMode::Down, None);
    }

    /// Sets what is missing in the schema.
    pub(crate) fn set_problems(&self, problems: Vec<Message>) {
        let changed = self.update(|report| {
            let changed = report.schema_problems != problems;
            report.schema_problems = problems;
            changed
        });
        if changed {
            (self.on_event)();
        }
    }

    /// Sets why something that the worker collects is not written, or that it is.
    pub(crate) fn set_problem(&self, of: ProblemField, problem: Option<&'static Template>) {
        let changed = self.update(|report| std::mem::replace(of(report), problem) != problem);
        if changed {
            (self.on_event)();
        }
    }
}
