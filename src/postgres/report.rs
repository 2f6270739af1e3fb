//! What the engine's thread last had to say. Written there, read by whoever asks for the status.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::Error;

/// How a worker is kept up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The first load has not come yet.
    #[default]
    Starting,
    /// Notifications arrive, and the tokens are polled besides.
    Live,
    /// No notifications: the tokens are polled.
    Poll,
    /// No tokens: every poll loads everything.
    Reload,
    /// No connection: the last good snapshot answers.
    Down,
}

impl Mode {
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

/// What the engine's thread last had to say.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How the worker is kept up to date.
    pub mode: Mode,
    /// Why that is not by notifications, where it is not.
    pub why: Option<&'static str>,
    /// Loads that were published.
    pub loads: u64,
    /// How long the last of them took.
    pub load_time: Option<Duration>,
    /// Attempts that failed, since the start.
    pub failures: u64,
    /// The last error; kept after recovery, so that it can still be read.
    pub last_error: Option<Arc<Error>>,
    /// Why it is not written down what was asked, where it is not.
    pub uncollected: Option<&'static str>,
}

/// The report, shared between the engine's thread and its readers.
#[derive(Debug)]
pub(super) struct Shared {
    report: Mutex<Report>,
    /// Called after what somebody may want to log.
    tell: fn(),
}

impl Shared {
    pub(super) fn new(tell: fn()) -> Self {
        Self { report: Mutex::default(), tell }
    }

    pub(super) fn read(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn mode(&self, mode: Mode, why: Option<&'static str>) {
        let mut is_news = false;
        self.write(|report| {
            is_news = (report.mode, report.why) != (mode, why);
            (report.mode, report.why) = (mode, why);
        });
        if is_news {
            (self.tell)();
        }
    }

    /// Notes a load that was published.
    pub(super) fn loaded(&self, took: Duration, has_problems: bool) {
        self.write(|report| {
            report.loads += 1;
            report.load_time = Some(took);
        });
        if has_problems {
            (self.tell)();
        }
    }

    /// Notes a failure that did not end the link.
    pub(super) fn failed(&self, error: Error) {
        self.write(|report| {
            report.failures += 1;
            report.last_error = Some(Arc::new(error));
        });
        (self.tell)();
    }

    /// Notes that it is not written down what was asked, or that it is.
    pub(super) fn uncollected(&self, why: Option<&'static str>) {
        let mut is_news = false;
        self.write(|report| {
            is_news = report.uncollected != why;
            report.uncollected = why;
        });
        if is_news {
            (self.tell)();
        }
    }

    /// Notes a failure that ended the link.
    pub(super) fn down(&self, error: Error) {
        self.failed(error);
        self.mode(Mode::Down, None);
    }
}
