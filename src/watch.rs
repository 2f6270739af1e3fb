//! What a running rollout plan measures in this process: the users inside and outside of the
//! flag's rollout, how many of their requests there were, and which users failed.
//!
//! Counting needs no lock, because a process may fork while another thread holds one: requests
//! count with the GIL held, and a thread of the engine only reads. Memory is bounded.

mod failed_users;
mod seen_users;
mod unit;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::failed_users::FailedUsers;
use self::seen_users::SeenUsers;
pub use self::unit::Unit;
use crate::counters::Tally;

/// The number of a guard in the tables. The errors, which every plan counts, have 0.
pub type GuardNumber = i16;

/// The number of the guard that counts errors.
pub const ERRORS: GuardNumber = 0;

/// The number of latency buckets. Bucket `b` holds what took longer than 2^(b/2) ms, and at most
/// 2^((b+1)/2) ms; the first one and the last one also hold what is faster and slower.
const LATENCY_BUCKETS: u8 = 40;

/// How a request or task ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Whether it failed.
    pub failed: bool,
    /// How long it took.
    pub took: Duration,
}

/// A guard that the workers measure.
#[derive(Debug)]
struct Guard {
    number: GuardNumber,
    /// A slower request fails the guard; `None` if an error does.
    limit: Option<Duration>,
    failed: OnceLock<FailedUsers>,
}

/// The counts of the requests inside or outside of the rollout.
#[derive(Debug)]
struct Side {
    requests: Tally,
    /// By the position of the guard.
    failed: Box<[Tally]>,
    latency: Box<[Tally]>,
    dropped: Tally,
    seen: SeenUsers,
}

/// One stretch of a rollout plan, and what this process has measured of it.
#[derive(Debug)]
pub struct Watch {
    run: i64,
    salt: Box<[u8]>,
    guards: Box<[Guard]>,
    /// Outside, inside.
    sides: [Side; 2],
    pub(crate) registered: AtomicBool,
}

/// What a count is about, by its letter in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountKind {
    /// Requests and tasks.
    Requests,
    /// Those that failed the guard with this number.
    Failed(GuardNumber),
    /// Those in the latency bucket with this number.
    Latency(i16),
    /// Users who were left out, because memory is bounded.
    Dropped,
}

impl CountKind {
    /// The letter and the number in the table.
    #[must_use]
    pub const fn code(self) -> (char, i16) {
        match self {
            Self::Requests => ('r', 0),
            Self::Failed(guard) => ('f', guard),
            Self::Latency(bucket) => ('l', bucket),
            Self::Dropped => ('d', 0),
        }
    }
}

/// What was measured since the last call of [`Watch::take`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The run that all of it belongs to.
    pub run: i64,
    /// Numbers by side and kind.
    pub counts: Vec<(bool, CountKind, u64)>,
    /// The registers of the seen users that have risen, by side, with their ranks.
    pub seen: Vec<(bool, i16, i16)>,
    /// The users who failed a guard for the first time, with their side.
    pub failed: Vec<(GuardNumber, i64, bool)>,
}

impl Watch {
    /// Nothing measured yet. `salt` keeps hashes from being compared between plans, and `limits`
    /// are those of the latency guards by number.
    #[must_use]
    pub fn new(
        run: i64,
        salt: &[u8],
        limits: impl IntoIterator<Item = (GuardNumber, Duration)>,
    ) -> Self {
        let limits = limits.into_iter().map(|(number, limit)| (number, Some(limit)));
        let guards: Box<[_]> = [(ERRORS, None)]
            .into_iter()
            .chain(limits)
            .map(|(number, limit)| Guard { number, limit, failed: OnceLock::new() })
            .collect();
        let sides = [(); 2].map(|()| Side::new(guards.len()));
        Self { run, salt: salt.into(), guards, sides, registered: AtomicBool::new(false) }
    }

    /// The id of the run that is measured.
    #[must_use]
    pub fn run(&self) -> i64 {
        self.run
    }

    /// Whether it measures the same as one with these arguments of [`new`](Self::new).
    #[must_use]
    pub fn measures(&self, run: i64, salt: &[u8], limits: &[(GuardNumber, Duration)]) -> bool {
        let own = self.guards.iter().filter_map(|guard| Some((guard.number, guard.limit?)));
        self.run == run && *self.salt == *salt && own.eq(limits.iter().copied())
    }

    /// The unit of a user, by the text that is also hashed for its bucket.
    #[must_use]
    pub fn unit(&self, text: &str) -> Unit {
        Unit::new(&self.salt, text)
    }

    /// Counts a request of a user. The caller holds the GIL.
    pub(crate) fn count(&self, unit: Unit, inside: bool, outcome: Outcome) {
        let side = &self.sides[usize::from(inside)];
        side.requests.count();
        side.latency[usize::from(latency_bucket(outcome.took))].count();
        side.seen.add(unit);
        for (guard, failed) in self.guards.iter().zip(&side.failed) {
            if !guard.is_failed_by(outcome) {
                continue;
            }
            failed.count();
            if !guard.failed.get_or_init(FailedUsers::new).add(unit, inside) {
                side.dropped.count();
            }
        }
    }

    /// What was measured since the last call.
    #[must_use]
    pub fn take(&self) -> Measured {
        let mut measured = Measured { run: self.run, ..Measured::default() };
        for (inside, side) in [false, true].into_iter().zip(&self.sides) {
            let seen = side.seen.take().into_iter();
            measured.seen.extend(seen.map(|(register, rank)| (inside, register, rank)));
            let counts = side.take(&self.guards).into_iter().filter(|(_, count)| *count > 0);
            measured.counts.extend(counts.map(|(kind, count)| (inside, kind, count)));
        }
        for guard in &self.guards {
            let failed = guard.failed.get().map(FailedUsers::take).unwrap_or_default();
            let failed = failed.into_iter().map(|(unit, inside)| (guard.number, unit, inside));
            measured.failed.extend(failed);
        }
        measured
    }

    /// Forgets everything, in a forked child: the parent reports what was measured so far.
    pub(crate) fn reset(&self) {
        self.registered.store(false, Ordering::Relaxed);
        self.sides.iter().for_each(Side::reset);
        let failed = self.guards.iter().filter_map(|guard| guard.failed.get());
        failed.for_each(FailedUsers::reset);
    }
}

/// Always equal if they measure the same run: what was measured makes no difference to a flag.
impl PartialEq for Watch {
    fn eq(&self, other: &Self) -> bool {
        self.run == other.run
    }
}

impl Guard {
    fn is_failed_by(&self, outcome: Outcome) -> bool {
        self.limit.map_or(outcome.failed, |limit| outcome.took > limit)
    }
}

impl Side {
    fn new(guards: usize) -> Self {
        let tallies = |number| (0..number).map(|_| Tally::new()).collect();
        Self {
            requests: Tally::new(),
            failed: tallies(guards),
            latency: tallies(LATENCY_BUCKETS.into()),
            dropped: Tally::new(),
            seen: SeenUsers::new(),
        }
    }

    fn take(&self, guards: &[Guard]) -> Vec<(CountKind, u64)> {
        let failed = guards.iter().zip(&self.failed);
        let failed = failed.map(|(guard, count)| (CountKind::Failed(guard.number), count.take()));
        let latency = (0..).zip(&self.latency);
        let latency = latency.map(|(bucket, count)| (CountKind::Latency(bucket), count.take()));
        let others = [
            (CountKind::Requests, self.requests.take()),
            (CountKind::Dropped, self.dropped.take()),
        ];
        others.into_iter().chain(failed).chain(latency).collect()
    }

    fn reset(&self) {
        let all = self.failed.iter().chain(&self.latency).chain([&self.requests, &self.dropped]);
        all.for_each(Tally::reset);
        self.seen.reset();
    }
}

/// The latency bucket of a request.
fn latency_bucket(took: Duration) -> u8 {
    // 2^(b/2) ms < took  ⟺  10⁶ · 2^b < took² in µs²
    let square = took.as_micros().min(u32::MAX.into()).pow(2);
    let bucket = (square.saturating_sub(1) / 1_000_000).checked_ilog2().unwrap_or_default();
    u8::try_from(bucket).unwrap_or(u8::MAX).min(LATENCY_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome { failed: false, took: Duration::from_millis(10) };
    const FAILED: Outcome = Outcome { failed: true, ..OK };

    fn watch() -> Watch {
        Watch::new(7, b"salt", [(2, Duration::from_millis(500))])
    }

    #[test]
    fn request_counts_for_its_side_only() {
        let watch = watch();
        watch.count(watch.unit("1"), true, OK);
        watch.count(watch.unit("1"), true, OK);
        watch.count(watch.unit("2"), false, OK);
        let measured = watch.take();
        let requests = |inside| (inside, CountKind::Requests);
        let count = |(side, kind)| {
            measured.counts.iter().find(|found| (found.0, found.1) == (side, kind)).map(|c| c.2)
        };
        assert_eq!((count(requests(true)), count(requests(false))), (Some(2), Some(1)));
        assert_eq!(measured.run, 7);
        assert_eq!(measured.seen.len(), 2);
        assert!(measured.failed.is_empty());
        assert_eq!(watch.take(), Measured { run: 7, ..Measured::default() });
    }

    #[test]
    fn user_who_fails_twice_counts_as_one_user() {
        let watch = watch();
        let unit = watch.unit("1");
        watch.count(unit, true, FAILED);
        watch.count(unit, true, FAILED);
        let measured = watch.take();
        assert!(measured.counts.contains(&(true, CountKind::Failed(ERRORS), 2)));
        assert_eq!(measured.failed.len(), 1);
        watch.count(unit, true, FAILED);
        assert!(watch.take().failed.is_empty());
    }

    #[test]
    fn slow_request_fails_the_latency_guard_only() {
        let watch = watch();
        let slow =
            |milliseconds| Outcome { failed: false, took: Duration::from_millis(milliseconds) };
        watch.count(watch.unit("1"), false, slow(500));
        watch.count(watch.unit("2"), true, slow(501));
        let measured = watch.take();
        let [(guard, _, inside)] = measured.failed[..] else { panic!("{measured:?}") };
        assert_eq!((guard, inside), (2, true));
    }

    #[test]
    fn users_over_the_maximum_are_counted_as_dropped() {
        let watch = watch();
        for user in 0..20_000 {
            watch.count(watch.unit(&user.to_string()), user % 2 == 0, FAILED);
        }
        let measured = watch.take();
        assert_eq!(measured.failed.len(), 16_384);
        let dropped = measured.counts.iter().filter(|(_, kind, _)| *kind == CountKind::Dropped);
        assert_eq!(dropped.map(|(.., count)| count).sum::<u64>(), 20_000 - 16_384);
    }

    #[test]
    fn other_salt_gives_other_units() {
        let other = Watch::new(7, b"other", []);
        assert_ne!(watch().unit("1"), other.unit("1"));
        assert_eq!(watch().unit("1"), watch().unit("1"));
    }

    #[test]
    fn child_after_a_fork_starts_at_zero() {
        let watch = watch();
        watch.count(watch.unit("1"), true, FAILED);
        watch.reset();
        assert_eq!(watch.take(), Measured { run: 7, ..Measured::default() });
        watch.count(watch.unit("1"), true, FAILED);
        assert_eq!(watch.take().failed.len(), 1);
    }

    #[test]
    fn two_watches_are_equal_if_they_measure_the_same_run() {
        assert_eq!(watch(), Watch::new(7, b"other", []));
        assert_ne!(watch(), Watch::new(8, b"salt", []));
    }

    #[test]
    fn each_kind_of_count_has_a_letter_and_a_number() {
        let kinds = [
            (CountKind::Requests, ('r', 0)),
            (CountKind::Failed(3), ('f', 3)),
            (CountKind::Latency(5), ('l', 5)),
            (CountKind::Dropped, ('d', 0)),
        ];
        for (kind, code) in kinds {
            assert_eq!(kind.code(), code);
        }
    }

    #[test]
    fn register_keeps_the_highest_rank_of_its_users() {
        let seen = SeenUsers::new();
        // The lowest 12 bits select the register, the others give the rank.
        let users = [3 | 1 << 62, 3 | 1 << 61, 3 | 1 << 63, 1 << 12, 4095 | 1 << 63];
        for hash in users {
            seen.add(Unit(hash));
        }
        assert_eq!(seen.take(), [(0, 52), (3, 3), (4095, 1)]);
        seen.add(Unit(5));
        assert_eq!(seen.take(), [(5, 53)]);
    }

    #[test]
    fn failed_users_differ_by_their_hashes_without_the_lowest_bits() {
        let failed = FailedUsers::new();
        // The search for both begins at the last slot, and goes on at the first one.
        let (first, second) = (u64::MAX, u64::MAX >> 1);
        for (hash, inside) in
            [(first, true), (second, false), (second, true), (0, true), (3, false)]
        {
            assert!(failed.add(Unit(hash), inside));
        }
        let hash = |hash: u64| (hash & !3).cast_signed();
        let expected = [(hash(second), false), (4, true), (hash(first), true)];
        assert_eq!(failed.take(), expected);
    }

    #[test]
    fn latency_buckets_grow_by_the_root_of_two() {
        let bucket = |micros| latency_bucket(Duration::from_micros(micros));
        assert_eq!([0, 1, 999, 1000, 1414].map(bucket), [0; 5]);
        assert_eq!([1415, 2000, 2001, 2828, 2829].map(bucket), [1, 1, 2, 2, 3]);
        assert_eq!(bucket(1_024_000), 19);
        assert_eq!(latency_bucket(Duration::from_secs(86_400)), 39);
    }
}
