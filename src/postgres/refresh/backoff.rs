//! How long to wait before the next attempt.
//!
//! Full jitter: each wait is drawn between nothing and a limit that doubles, so that the workers
//! of a cluster do not come back all at once. The limit's bound depends on what went wrong: a
//! server that is away must be met again soon after it returns, one that is full needs room.

use std::time::Duration;

use crate::postgres::error::ErrorKind;

/// The limit of the first wait: wide enough that the workers of a cluster, whose links all end at
/// the same moment, do not come back at the same moment.
const FIRST: Duration = Duration::from_millis(500);

/// The least wait, as a part of the bound, once the bound is reached.
const LEAST: f64 = 0.45;

/// Counts attempts that failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Starts anew: a load over the connection has proved that the server is there.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The wait after one more failure of this kind. `draw` is between 0 and 1.
    pub(super) fn next(&mut self, kind: ErrorKind, draw: f64) -> Duration {
        let (first, bound) = limits(kind);
        let limit = first.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        if limit < bound && kind != ErrorKind::TooMany {
            return limit.mul_f64(draw);
        }
        // By now the workers are spread. Short waits would only be more attempts: with this, a
        // minute's outage costs about 32 of them. And on a full server any wait is too short.
        limit.min(bound).mul_f64(LEAST + (1.0 - LEAST) * draw)
    }
}

/// The limit of the first wait, and that of all.
fn limits(kind: ErrorKind) -> (Duration, Duration) {
    let bound = Duration::from_millis;
    match kind {
        // Everyone is back within three seconds of the server.
        ErrorKind::Connect
        | ErrorKind::Lost
        | ErrorKind::Deadline
        | ErrorKind::Role
        | ErrorKind::Behind => (FIRST, bound(2_800)),
        // Somebody is making it.
        ErrorKind::Missing | ErrorKind::Database => (FIRST, bound(5_000)),
        // At most five attempts in ten seconds.
        ErrorKind::TooMany => (FIRST * 3, bound(30_000)),
        ErrorKind::Auth | ErrorKind::Permission | ErrorKind::Parameters => (FIRST, bound(60_000)),
        // A lock is waited for in turns, and what follows it should be seen at once.
        ErrorKind::Locked => (FIRST, bound(500)),
        ErrorKind::Query | ErrorKind::Tls => (FIRST, bound(10_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(kind: ErrorKind, draw: f64) -> impl Iterator<Item = Duration> {
        let mut backoff = Backoff::default();
        std::iter::repeat_with(move || backoff.next(kind, draw))
    }

    #[test]
    fn a_full_server_is_tried_at_most_five_times_in_ten_seconds() {
        let shortest: Duration = waits(ErrorKind::TooMany, 0.0).take(5).sum();
        assert!(shortest > Duration::from_secs(10), "{shortest:?}");
    }

    #[test]
    fn a_minute_without_a_server_costs_less_than_forty_attempts() {
        // The median of the draws, which so many come close to.
        let minute: Duration = waits(ErrorKind::Connect, 0.5).take(40).sum();
        assert!(minute > Duration::from_secs(66), "{minute:?}");
    }

    #[test]
    fn no_wait_for_a_server_that_is_away_is_longer_than_its_bound() {
        let longest = waits(ErrorKind::Lost, 1.0).take(30).max();
        assert_eq!(longest, Some(Duration::from_millis(2_800)));
    }

    #[test]
    fn after_a_reset_the_waits_begin_anew() {
        let mut backoff = Backoff::default();
        let first = backoff.next(ErrorKind::Lost, 1.0);
        assert!(backoff.next(ErrorKind::Lost, 1.0) > first);
        backoff.reset();
        assert_eq!(backoff.next(ErrorKind::Lost, 1.0), first);
    }
}
