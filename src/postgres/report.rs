//! What the engine's thread last had to say. Written there, read by whoever asks for the status.

use std::sync::{Arc, Mutex, PoisonError};

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
    /// Loads that were published.
    pub loads: u64,
    /// Attempts that failed, since the start.
    pub failures: u64,
    /// The last error; kept after recovery, so that it can still be read.
    pub last_error: Option<Arc<Error>>,
}

/// The report, shared between the engine's thread and its readers.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<Report>);

impl Shared {
    pub(super) fn read(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn mode(&self, mode: Mode) {
        self.write(|report| report.mode = mode);
    }

    pub(super) fn loaded(&self) {
        self.write(|report| report.loads += 1);
    }

    /// Notes a failure that did not end the link.
    pub(super) fn failed(&self, error: Error) {
        self.write(|report| {
            report.failures += 1;
            report.last_error = Some(Arc::new(error));
        });
    }

    /// Notes a failure that ended the link.
    pub(super) fn down(&self, error: Error) {
        self.mode(Mode::Down);
        self.failed(error);
    }
}
