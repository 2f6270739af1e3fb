//! How long to wait before the next attempt.
//!
//! Full jitter: each wait is drawn between nothing and a limit that doubles, so that the workers
//! of a cluster do not come back all at once. The limit's bound depends on what went wrong: a
//! full server needs more room than one that restarts.

use std::time::Duration;

use crate::postgres::error::Kind;

/// The limit of the first wait.
const FIRST: Duration = Duration::from_millis(100);

/// Counts attempts that failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Starts anew: the link has held for a while.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The wait after one more failure of this kind. `draw` is between 0 and 1.
    pub(super) fn next(&mut self, kind: Kind, draw: f64) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.attempts.min(16)).min(bound(kind));
        self.attempts += 1;
        limit.mul_f64(draw)
    }
}

fn bound(kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Missing => 5,
        Kind::TooMany => 30,
        Kind::Auth | Kind::Permission | Kind::Settings => 60,
        _ => 10,
    })
}
