//! What the engine's thread last had to say. Written there, read by whoever asks for the status.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::postgres::error::Error;

/// How a worker is kept up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefreshMode {
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

/// What the engine's thread last had to say.
#[derive(Clone, Debug, Default)]
pub struct StatusReport {
    /// How the worker is kept up to date.
    pub mode: RefreshMode,
    /// Why that is not by notifications, where it is not.
    pub reason: Option<&'static str>,
    /// Loads that were published.
    pub loads: u64,
    /// How long the last of them took.
    pub load_time: Option<Duration>,
    /// Attempts that failed, since the start.
    pub failures: u64,
    /// The last error; kept after recovery, so that it can still be read.
    pub last_error: Option<Arc<Error>>,
    /// Why it is not written down what was asked, where it is not.
    pub usage_problem: Option<&'static str>,
}

/// The status, shared between the engine's thread and its readers.
#[derive(Debug)]
pub(crate) struct SharedStatus {
    status: Mutex<StatusReport>,
    /// Called after what somebody may want to log.
    on_event: fn(),
}

impl SharedStatus {
    pub(crate) fn new(on_event: fn()) -> Self {
        Self { status: Mutex::default(), on_event }
    }

    pub(crate) fn read(&self) -> StatusReport {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, change: impl FnOnce(&mut StatusReport)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn mode(&self, mode: RefreshMode, reason: Option<&'static str>) {
        let mut is_news = false;
        self.write(|status| {
            is_news = (status.mode, status.reason) != (mode, reason);
            (status.mode, status.reason) = (mode, reason);
        });
        if is_news {
            (self.on_event)();
        }
    }

    /// Notes a load that was published.
    pub(crate) fn loaded(&self, took: Duration, has_problems: bool) {
        self.write(|status| {
            status.loads += 1;
            status.load_time = Some(took);
        });
        if has_problems {
            (self.on_event)();
        }
    }

    /// Notes a failure that did not end the connection.
    pub(crate) fn failed(&self, error: Error) {
        self.write(|status| {
            status.failures += 1;
            status.last_error = Some(Arc::new(error));
        });
        (self.on_event)();
    }

    /// Notes that it is not written down what was asked, or that it is.
    pub(crate) fn usage_problem(&self, reason: Option<&'static str>) {
        let mut is_news = false;
        self.write(|status| {
            is_news = status.usage_problem != reason;
            status.usage_problem = reason;
        });
        if is_news {
            (self.on_event)();
        }
    }

    /// Notes a failure that ended the connection.
    pub(crate) fn down(&self, error: Error) {
        self.failed(error);
        self.mode(RefreshMode::Down, None);
    }
}
