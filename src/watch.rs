//! What a running rollout plan measures in this process: the users inside and outside of the
//! flag's rollout, how many of their requests there were, and which users failed.
//!
//! Counting needs no lock, because a process may fork while another thread holds one: requests
//! count with the GIL held, and a thread of the engine only reads. Memory is bounded.

mod arrivals;
mod failed_users;
mod seen_users;
mod unit;
mod user_requests;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::arrivals::Arrivals;
pub use self::failed_users::Failed;
use self::failed_users::{FailedUsers, MANY};
pub use self::seen_users::REGISTERS;
use self::seen_users::SeenUsers;
pub use self::unit::{Network, Unit, Visit};
use self::user_requests::UserRequests;
use crate::counters::Tally;

/// The number of a guard in the tables. The errors, which every plan counts, have 0.
pub type GuardNumber = i16;

/// The number of the guard that counts errors.
pub const ERRORS: GuardNumber = 0;

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

/// The requests at risk: those of users who had not failed a guard in this process. At most 64 of a
/// user count.
#[derive(Debug)]
struct AtRisk {
    all: Tally,
    /// Those that failed the guard.
    failed: Tally,
}

/// The counts of the requests inside or outside of the rollout.
#[derive(Debug)]
struct Side {
    requests: Tally,
    /// By the position of the guard.
    at_risk: Box<[AtRisk]>,
    dropped: Tally,
    seen: SeenUsers,
    left_out: OnceLock<SeenUsers>,
}

/// One stretch of a rollout plan, and what this process has measured of it.
#[derive(Debug)]
pub struct Watch {
    run: i64,
    salt: Box<[u8]>,
    guards: Box<[Guard]>,
    arrivals: OnceLock<Arrivals>,
    user_requests: OnceLock<UserRequests>,
    /// Outside, inside.
    sides: [Side; 2],
    pub(crate) registered: AtomicBool,
}

/// What a count is about, by its letter in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountKind {
    /// Requests and tasks.
    Requests,
    /// Those of users who had not failed the guard with this number, at most 64 of each user.
    AtRisk(GuardNumber),
    /// Those of these that failed the guard.
    Failed(GuardNumber),
    /// Failures that were left out, because too many users waited for a database that is away.
    Dropped,
}

impl CountKind {
    /// The letter and the number in the table.
    #[must_use]
    pub const fn code(self) -> (char, i16) {
        match self {
            Self::Requests => ('r', 0),
            Self::AtRisk(guard) => ('a', guard),
            Self::Failed(guard) => ('f', guard),
            Self::Dropped => ('d', 0),
        }
    }
}

/// A register of the seen users, and its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenRegister {
    /// Whether the users are inside of the rollout.
    pub inside: bool,
    /// Whether they were left out, because others of their networks came first.
    pub left_out: bool,
    /// The position of the register.
    pub register: i16,
    /// Its rank.
    pub rank: i16,
}

/// What was measured since the last call of [`Watch::take`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The run that all of it belongs to.
    pub run: i64,
    /// Numbers by side and kind.
    pub counts: Vec<(bool, CountKind, u64)>,
    /// The registers of the seen users that have risen.
    pub seen: Vec<SeenRegister>,
    /// The users who failed a guard for the first time.
    pub failed: Vec<(GuardNumber, Failed)>,
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
        Self {
            run,
            salt: salt.into(),
            guards,
            arrivals: OnceLock::new(),
            user_requests: OnceLock::new(),
            sides,
            registered: AtomicBool::new(false),
        }
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

    /// The network of a client, by any text that identifies it.
    #[must_use]
    pub fn network(&self, name: &[u8]) -> Network {
        Network::new(&self.salt, name)
    }

    /// Counts a request of a user. The caller holds the GIL.
    pub(crate) fn count(&self, visit: Visit, outcome: Outcome) {
        let side = &self.sides[usize::from(visit.inside)];
        side.requests.count();
        let admit = |network| self.arrivals.get_or_init(Arrivals::new).admit(visit.unit, network);
        let counts = visit.network.is_none_or(admit);
        let seen = if counts { &side.seen } else { side.left_out.get_or_init(SeenUsers::new) };
        seen.add(visit.unit);
        if !counts {
            return;
        }
        let may_be_at_risk = self.user_requests.get_or_init(UserRequests::new).admit(visit.unit);
        for (guard, at_risk) in self.guards.iter().zip(&side.at_risk) {
            let failed = guard.is_failed_by(outcome);
            if may_be_at_risk && !guard.has_failed(visit.unit) {
                at_risk.count(failed);
            }
            if failed && !guard.failed.get_or_init(FailedUsers::new).add(visit) {
                side.dropped.count();
            }
        }
    }

    /// Whether many failing users wait for [`take`](Self::take).
    pub(crate) fn has_many(&self) -> bool {
        self.guards.iter().filter_map(|guard| guard.failed.get()).any(|it| it.waiting() >= MANY)
    }

    /// What was measured since the last call.
    #[must_use]
    pub fn take(&self) -> Measured {
        let mut measured = Measured { run: self.run, ..Measured::default() };
        for (inside, side) in [false, true].into_iter().zip(&self.sides) {
            for (left_out, users) in [(false, Some(&side.seen)), (true, side.left_out.get())] {
                let raised = users.map(SeenUsers::take).unwrap_or_default().into_iter();
                measured.seen.extend(raised.map(|(register, rank)| SeenRegister {
                    inside,
                    left_out,
                    register,
                    rank,
                }));
            }
            let counts = side.take(&self.guards).into_iter().filter(|(_, count)| *count > 0);
            measured.counts.extend(counts.map(|(kind, count)| (inside, kind, count)));
        }
        for guard in &self.guards {
            let failed = guard.failed.get().map(FailedUsers::take).unwrap_or_default();
            measured.failed.extend(failed.into_iter().map(|user| (guard.number, user)));
        }
        measured
    }

    /// Forgets everything, in a forked child: the parent reports what was measured so far.
    pub(crate) fn reset(&self) {
        self.registered.store(false, Ordering::Relaxed);
        self.sides.iter().for_each(Side::reset);
        let failed = self.guards.iter().filter_map(|guard| guard.failed.get());
        failed.for_each(FailedUsers::reset);
        self.arrivals.get().into_iter().for_each(Arrivals::reset);
        self.user_requests.get().into_iter().for_each(UserRequests::reset);
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

    /// Whether this process remembers that a user failed it.
    fn has_failed(&self, unit: Unit) -> bool {
        self.failed.get().is_some_and(|failed| failed.knows(unit))
    }
}

impl AtRisk {
    fn new() -> Self {
        Self { all: Tally::new(), failed: Tally::new() }
    }

    fn count(&self, failed: bool) {
        self.all.count();
        if failed {
            self.failed.count();
        }
    }

    fn tallies(&self) -> [&Tally; 2] {
        [&self.all, &self.failed]
    }
}

impl Side {
    fn new(guards: usize) -> Self {
        Self {
            requests: Tally::new(),
            at_risk: (0..guards).map(|_| AtRisk::new()).collect(),
            dropped: Tally::new(),
            seen: SeenUsers::new(),
            left_out: OnceLock::new(),
        }
    }

    fn take(&self, guards: &[Guard]) -> Vec<(CountKind, u64)> {
        let at_risk = guards.iter().zip(&self.at_risk).flat_map(|(guard, at_risk)| {
            let [all, failed] = at_risk.tallies().map(Tally::take);
            [(CountKind::AtRisk(guard.number), all), (CountKind::Failed(guard.number), failed)]
        });
        let others = [
            (CountKind::Requests, self.requests.take()),
            (CountKind::Dropped, self.dropped.take()),
        ];
        others.into_iter().chain(at_risk).collect()
    }

    fn reset(&self) {
        let at_risk = self.at_risk.iter().flat_map(AtRisk::tallies);
        at_risk.chain([&self.requests, &self.dropped]).for_each(Tally::reset);
        [&self.seen].into_iter().chain(self.left_out.get()).for_each(SeenUsers::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome { failed: false, took: Duration::from_millis(10) };
    const FAILED: Outcome = Outcome { failed: true, ..OK };

    fn watch() -> Watch {
        Watch::new(7, b"salt", [(2, Duration::from_millis(500))])
    }

    fn visit(watch: &Watch, user: &str, inside: bool) -> Visit {
        Visit { unit: watch.unit(user), inside, network: None, drawn_at: None }
    }

    #[test]
    fn request_counts_for_its_side_only() {
        let watch = watch();
        watch.count(visit(&watch, "1", true), OK);
        watch.count(visit(&watch, "1", true), OK);
        watch.count(visit(&watch, "2", false), OK);
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
        let visit = visit(&watch, "1", true);
        watch.count(visit, FAILED);
        watch.count(visit, FAILED);
        let measured = watch.take();
        assert!(measured.counts.contains(&(true, CountKind::Requests, 2)));
        assert!(measured.counts.contains(&(true, CountKind::Failed(ERRORS), 1)));
        assert_eq!(measured.failed.len(), 1);
        watch.count(visit, FAILED);
        assert!(watch.take().failed.is_empty());
    }

    #[test]
    fn requests_of_a_user_are_at_risk_up_to_the_first_failure() {
        let watch = watch();
        let visit = visit(&watch, "1", false);
        for outcome in [OK, OK, FAILED, OK, FAILED] {
            watch.count(visit, outcome);
        }
        let counts = watch.take().counts;
        assert!(counts.contains(&(false, CountKind::AtRisk(ERRORS), 3)));
        assert!(counts.contains(&(false, CountKind::Failed(ERRORS), 1)));
        // Nothing failed the other guard.
        assert!(counts.contains(&(false, CountKind::AtRisk(2), 5)));
    }

    #[test]
    fn no_user_makes_more_than_64_requests_at_risk_and_nobody_hides_the_others() {
        let watch = watch();
        let at_risk = || -> u64 {
            let counts = watch.take().counts.into_iter();
            counts.filter(|found| found.1 == CountKind::AtRisk(ERRORS)).map(|found| found.2).sum()
        };
        let bot = visit(&watch, "bot", true);
        (0..200_000).for_each(|_| watch.count(bot, OK));
        assert_eq!(at_risk(), 64);
        let users: Vec<_> = (0..500).map(|user| visit(&watch, &user.to_string(), true)).collect();
        for _ in 0..200 {
            for user in &users {
                watch.count(*user, OK);
            }
            watch.count(bot, FAILED);
        }
        // Two users may share a slot, and the count starts again at half of what it may reach.
        assert!(at_risk() > 500 * 190);
        assert_eq!(watch.take().counts, []);
    }

    #[test]
    fn slow_request_fails_the_latency_guard_only() {
        let watch = watch();
        let slow =
            |milliseconds| Outcome { failed: false, took: Duration::from_millis(milliseconds) };
        watch.count(visit(&watch, "1", false), slow(500));
        watch.count(visit(&watch, "2", true), slow(501));
        let measured = watch.take();
        let [(guard, Failed { inside, .. })] = measured.failed[..] else { panic!("{measured:?}") };
        assert_eq!((guard, inside), (2, true));
    }

    #[test]
    fn users_are_dropped_only_while_too_many_wait_and_fail_again_afterwards() {
        let watch = watch();
        let fail = |users: std::ops::Range<u32>| {
            for user in users {
                watch.count(visit(&watch, &user.to_string(), user.is_multiple_of(2)), FAILED);
            }
        };
        let dropped = |measured: &Measured| -> u64 {
            let counts = measured.counts.iter();
            counts.filter(|(_, kind, _)| *kind == CountKind::Dropped).map(|(.., count)| count).sum()
        };
        fail(0..4000);
        assert!(!watch.has_many());
        fail(0..5000);
        assert!(watch.has_many());
        fail(0..20_000);
        let measured = watch.take();
        assert_eq!((measured.failed.len(), dropped(&measured)), (16_384, 20_000 - 16_384));
        fail(16_384..20_000);
        let measured = watch.take();
        assert_eq!((measured.failed.len(), dropped(&measured)), (20_000 - 16_384, 0));
        // No number of users keeps the next one from counting.
        for thousand in 20..60 {
            fail(thousand * 1000..(thousand + 1) * 1000);
            assert_eq!(watch.take().failed.len(), 1000);
        }
    }

    #[test]
    fn other_salt_gives_other_units_and_networks() {
        let other = Watch::new(7, b"other", []);
        assert_ne!(watch().unit("1"), other.unit("1"));
        assert_eq!(watch().unit("1"), watch().unit("1"));
        assert_ne!(watch().network(b"1"), other.network(b"1"));
        assert_eq!(watch().network(b"1"), watch().network(b"1"));
    }

    #[test]
    fn first_users_of_a_network_count_on_both_sides_and_the_others_are_left_out() {
        let watch = watch();
        let network = Some(watch.network(b"192.0.2.0/24"));
        let count = |user: u32, outcome| {
            let visit = visit(&watch, &user.to_string(), user.is_multiple_of(2));
            watch.count(Visit { network, ..visit }, outcome);
        };
        (0..100).for_each(|user| count(user, OK));
        // Users of other networks and tasks are not limited by it.
        watch.count(Visit { network: Some(watch.network(b"2")), ..visit(&watch, "a", true) }, OK);
        watch.count(visit(&watch, "b", true), OK);
        let seen = watch.take().seen;
        let number = |inside, left_out| {
            seen.iter().filter(|one| (one.inside, one.left_out) == (inside, left_out)).count()
        };
        assert_eq!((number(false, false), number(true, false)), (2, 4));
        // Some users have a register in common.
        assert!(number(false, true) > 44 && number(true, true) > 44);
        // Who is left out is neither seen nor failing; who counts, counts again.
        count(3, FAILED);
        count(99, FAILED);
        let failed = watch.take().failed;
        let [(ERRORS, Failed { unit, network, .. })] = failed[..] else { panic!("{failed:?}") };
        assert_eq!(unit & !3, (watch.unit("3").0 & !3).cast_signed());
        assert!(network.is_some());
        watch.reset();
        count(99, FAILED);
        assert_eq!(watch.take().failed.len(), 1);
    }

    #[test]
    fn failed_user_keeps_the_origin_of_the_first_failure() {
        let watch = watch();
        let network = Some(watch.network(b"192.0.2.0/24"));
        let first = Visit { network, drawn_at: Some(u32::MAX), ..visit(&watch, "1", true) };
        watch.count(first, FAILED);
        watch.count(visit(&watch, "1", true), FAILED);
        watch.count(visit(&watch, "2", true), FAILED);
        let mut found: Vec<_> = watch.take().failed.into_iter().map(|(_, one)| one).collect();
        found.sort_by_key(|one| one.drawn_at);
        let [other, one] = found[..] else { panic!("{found:?}") };
        assert_eq!((other.network, other.drawn_at), (None, None));
        assert_eq!(one.network, network.map(|Network(hash)| hash.cast_signed()));
        assert_eq!(one.drawn_at, Some(u32::MAX));
    }

    #[test]
    fn child_after_a_fork_starts_at_zero() {
        let watch = watch();
        watch.count(visit(&watch, "1", true), FAILED);
        watch.reset();
        assert_eq!(watch.take(), Measured { run: 7, ..Measured::default() });
        watch.count(visit(&watch, "1", true), FAILED);
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
            (CountKind::AtRisk(3), ('a', 3)),
            (CountKind::Failed(3), ('f', 3)),
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
        // Both are in the same places.
        let (first, second) = (u64::MAX, u64::MAX >> 1);
        for (hash, inside) in
            [(first, true), (second, false), (second, true), (0, true), (3, false)]
        {
            assert!(failed.add(Visit { unit: Unit(hash), inside, network: None, drawn_at: None }));
        }
        let hash = |hash: u64| (hash & !3).cast_signed();
        let expected = [(hash(first), true), (hash(second), false), (4, true)];
        assert_eq!(
            failed.take().iter().map(|one| (one.unit, one.inside)).collect::<Vec<_>>(),
            expected
        );
    }
}
