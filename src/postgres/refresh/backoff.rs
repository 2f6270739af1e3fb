//! How long to wait before the next attempt.
//!
//! Full jitter: each wait is drawn between nothing and a limit that doubles, so that the workers
//! of a cluster do not come back all at once. The limit's bound depends on what went wrong: a
//! server that is away must be met again soon after it returns, one that is full needs room.

use std::time::Duration;

use crate::postgres::error::Kind;

/// The limit of the first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The least wait, as a part of the bound, once the bound is reached.
const LEAST: f64 = 0.35;

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
        let (limit, bound) = (FIRST.saturating_mul(1 << self.attempts.min(16)), bound(kind));
        self.attempts = self.attempts.saturating_add(1);
        if limit < bound {
            return limit.mul_f64(draw);
        }
        // By now the workers are spread. Short waits would only be more attempts: with this, a
        // minute's outage costs about 37 of them.
        bound.mul_f64(LEAST + (1.0 - LEAST) * draw)
    }
}

fn bound(kind: Kind) -> Duration {
    Duration::from_millis(match kind {
        // Everyone is back within three seconds of the server.
        Kind::Connect | Kind::Lost | Kind::Deadline | Kind::Role => 2_800,
        Kind::Missing => 5_000,
        Kind::TooMany => 30_000,
        Kind::Auth | Kind::Permission | Kind::Settings => 60_000,
        // A lock is waited for in turns, and what follows it should be seen at once.
        Kind::Locked | Kind::Behind => 500,
        Kind::Query | Kind::Tls => 10_000,
    })
}
