//! The wait before the next attempt to connect.
//!
//! Full jitter: each wait is random between zero and a limit that doubles, so that the workers of a
//! cluster do not reconnect at once. The bound of the limit depends on the error: a server that is
//! away must be reached soon after its return, a full server needs room.

use std::time::Duration;

use crate::postgres::error::ErrorKind;

/// The limit of the first wait. Wide enough to spread the workers of a cluster, whose connections
/// end at the same time.
const FIRST: Duration = Duration::from_millis(500);

/// The shortest wait at the bound, as a part of the bound.
const LEAST: f64 = 0.45;

/// Counts failed attempts.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Starts again at the first limit, after a load has succeeded.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The wait after another failure of this kind. `random` is between 0 and 1.
    pub(super) fn next(&mut self, kind: ErrorKind, random: f64) -> Duration {
        let (first, bound) = limits(kind);
        let limit = first.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        if limit < bound && kind != ErrorKind::TooMany {
            return limit.mul_f64(random);
        }
        // The workers are spread by now, and short waits only cost attempts: an outage of a minute
        // costs about 32. On a full server no wait may be short.
        limit.min(bound).mul_f64(LEAST + (1.0 - LEAST) * random)
    }
}

/// The limit of the first wait, and the bound of all limits.
fn limits(kind: ErrorKind) -> (Duration, Duration) {
    let bound = Duration::from_millis;
    match kind {
        // All workers reconnect within three seconds of the server's return.
        ErrorKind::Connect
        | ErrorKind::Resources
        | ErrorKind::Lost
        | ErrorKind::Deadline
        | ErrorKind::Role
        | ErrorKind::Behind => (FIRST, bound(2_800)),
        // A migration or a deploy may be creating it.
        ErrorKind::Missing | ErrorKind::Database => (FIRST, bound(5_000)),
        // At most five attempts in ten seconds.
        ErrorKind::TooMany => (FIRST * 3, bound(30_000)),
        ErrorKind::Auth
        | ErrorKind::Iterations
        | ErrorKind::Permission
        | ErrorKind::RowSecurity
        | ErrorKind::Encoding
        | ErrorKind::Parameters => (FIRST, bound(60_000)),
        // The change behind a lock should be seen at once.
        ErrorKind::Locked => (FIRST, bound(500)),
        ErrorKind::Query | ErrorKind::Tls => (FIRST, bound(10_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(kind: ErrorKind, random: f64) -> impl Iterator<Item = Duration> {
        let mut backoff = Backoff::default();
        std::iter::repeat_with(move || backoff.next(kind, random))
    }

    #[test]
    fn full_server_gets_at_most_five_attempts_in_ten_seconds() {
        let shortest: Duration = waits(ErrorKind::TooMany, 0.0).take(5).sum();
        assert!(shortest > Duration::from_secs(10), "{shortest:?}");
    }

    #[test]
    fn outage_of_a_minute_costs_less_than_forty_attempts() {
        // The median of the random numbers.
        let minute: Duration = waits(ErrorKind::Connect, 0.5).take(40).sum();
        assert!(minute > Duration::from_secs(66), "{minute:?}");
    }

    #[test]
    fn wait_for_a_lost_server_never_exceeds_its_bound() {
        let longest = waits(ErrorKind::Lost, 1.0).take(30).max();
        assert_eq!(longest, Some(Duration::from_millis(2_800)));
    }

    #[test]
    fn reset_restarts_at_the_first_limit() {
        let mut backoff = Backoff::default();
        let first = backoff.next(ErrorKind::Lost, 1.0);
        assert!(backoff.next(ErrorKind::Lost, 1.0) > first);
        backoff.reset();
        assert_eq!(backoff.next(ErrorKind::Lost, 1.0), first);
    }
}
