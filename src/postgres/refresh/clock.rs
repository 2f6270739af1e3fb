//! When things are due on one connection.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// How often everything is loaded, whatever the tokens say: data can be restored past triggers.
const FULL: Duration = Duration::from_secs(300);
/// How often allow-lists are loaded where there are no tokens to go by.
const ALLOWED_USERS: Duration = Duration::from_secs(60);
/// How soon to try again when a table was locked.
const LOCKED: Duration = Duration::from_millis(250);

/// When things are due on one connection.
#[derive(Debug)]
pub(super) struct Clock {
    poll_interval: Duration,
    pub(super) poll: Instant,
    pub(super) full: Instant,
    pub(super) allowed_users: Instant,
    /// When the last load was over.
    pub(super) loaded: Instant,
}

impl Clock {
    /// Everything has been loaded now.
    pub(super) fn starting_now(poll_interval: Duration) -> Self {
        let now = Instant::now();
        let mut clock =
            Self { poll_interval, poll: now, full: now, allowed_users: now, loaded: now };
        clock.everything_loaded();
        clock.step_done();
        clock
    }

    pub(super) fn next_due(&self) -> Instant {
        self.poll.min(self.full)
    }

    pub(super) fn step_done(&mut self) {
        self.loaded = Instant::now();
        self.poll = self.loaded + jittered(self.poll_interval);
    }

    pub(super) fn everything_loaded(&mut self) {
        let now = Instant::now();
        self.full = now + jittered(FULL);
        self.allowed_users = now + jittered(ALLOWED_USERS);
    }

    /// Everything must be loaded, and that stays so until it is.
    pub(super) fn everything_is_due(&mut self) {
        self.full = Instant::now();
    }

    /// A table was locked, so what was due is tried again soon.
    pub(super) fn soon(&mut self) {
        let soon = Instant::now() + LOCKED.mul_f64(0.5 + random_fraction());
        self.poll = soon;
        if self.full < soon {
            self.full = soon;
        }
    }
}

/// An interval of 90 to 110 %, so that the workers of a cluster drift apart.
pub(crate) fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * random_fraction())
}

/// A number between 0 and 1. The hasher's keys are random, which is all the chance needed here.
pub(super) fn random_fraction() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}
