//! When the work on one connection is due.

use std::time::Duration;

use tokio::time::Instant;

use super::read::Loaded;
use crate::postgres::random::{fraction, jittered};

/// How often everything is loaded regardless of the tokens: a restore may bypass the triggers.
const FULL: Duration = Duration::from_secs(300);
/// When everything is loaded after a load of rows, at the earliest.
const AFTER_ROWS: Duration = Duration::from_secs(15);
/// The longest random delay after that: all workers load rows at once.
const SPREAD_AFTER_ROWS: Duration = Duration::from_secs(45);
/// The least delay before another attempt to read groups that could not be read.
const GROUPS: Duration = Duration::from_secs(2);
/// The longest that it takes to find out that groups cannot be read.
pub(super) const SLOW_GROUPS: Duration = Duration::from_secs(5);
/// How often the members of groups are read at the latest: SQL changes them without a token.
const MEMBERS: Duration = Duration::from_secs(60);
/// The least time between two such reads, as a multiple of the duration of the last one.
const PER_READ_OF_MEMBERS: u32 = 50;
/// How often tables that may be large are loaded if there are no tokens.
const LARGE_TABLES: Duration = Duration::from_secs(60);
/// The delay before another attempt after a locked table.
const LOCKED: Duration = Duration::from_millis(250);

/// When the work on one connection is due.
#[derive(Debug)]
pub(super) struct Clock {
    poll_interval: Duration,
    pub(super) poll: Instant,
    pub(super) full: Instant,
    /// When all members of groups are read, if rules read groups.
    pub(super) members: Instant,
    pub(super) large_tables: Instant,
    /// When the last step ended.
    pub(super) last_step: Instant,
    /// Whether the next load of everything is due because of a load of rows.
    verifies_rows: bool,
}

impl Clock {
    /// A clock for which everything was loaded now.
    pub(super) fn starting_now(poll_interval: Duration) -> Self {
        let now = Instant::now();
        let mut clock = Self {
            poll_interval,
            poll: now,
            full: now,
            members: now + MEMBERS,
            large_tables: now,
            last_step: now,
            verifies_rows: false,
        };
        clock.everything_loaded();
        clock.step_done();
        clock
    }

    pub(super) fn next_due(&self) -> Instant {
        self.poll.min(self.full).min(self.members)
    }

    pub(super) fn step_done(&mut self) {
        self.last_step = Instant::now();
        self.poll = self.last_step + jittered(self.poll_interval);
        if self.members <= self.last_step {
            // No rule reads groups.
            self.members = self.last_step + MEMBERS;
        }
    }

    pub(super) fn everything_loaded(&mut self) {
        let now = Instant::now();
        self.full = now + jittered(FULL);
        self.large_tables = now + jittered(LARGE_TABLES);
        self.verifies_rows = false;
    }

    /// Makes a full load due, until one succeeds.
    pub(super) fn everything_is_due(&mut self) {
        self.full = Instant::now();
    }

    /// Notes what a load has read.
    pub(super) fn loaded(&mut self, loaded: Loaded) {
        // Drawn once: the least of many draws would be too early.
        if loaded.by_rows && !self.verifies_rows {
            let pause = AFTER_ROWS + SPREAD_AFTER_ROWS.mul_f64(fraction());
            self.full = self.full.min(Instant::now() + pause);
            self.verifies_rows = true;
        }
        if let Some(took) = loaded.members {
            let pause = MEMBERS.mul_f64(0.9 + 0.1 * fraction()).max(took * PER_READ_OF_MEMBERS);
            self.members = Instant::now() + pause;
        }
        self.retry_groups(loaded.failed_groups);
    }

    /// Makes a full load due if groups could not be read. The longer it took to find out, the later
    /// it is due, so that changes of flags rarely wait for it.
    pub(super) fn retry_groups(&mut self, failed: Option<Duration>) {
        if let Some(took) = failed {
            let pause = GROUPS.max(10 * took);
            self.full = self.full.min(Instant::now() + jittered(pause));
        }
    }

    /// Delays the due work briefly, because a table is locked.
    pub(super) fn retry_soon(&mut self) {
        let soon = Instant::now() + LOCKED.mul_f64(0.5 + fraction());
        self.poll = soon;
        self.full = self.full.max(soon);
        self.members = self.members.max(soon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn groups_are_read_again_after_ten_times_the_failure_and_no_later() {
        let mut clock = Clock::starting_now(Duration::from_secs(5));
        let (least, most) = (Duration::from_secs(45), Duration::from_secs(55));
        clock.retry_groups(Some(SLOW_GROUPS));
        let due = clock.full - Instant::now();
        assert!(least <= due && due <= most, "{due:?}");
        let first = clock.full;
        tokio::time::advance(Duration::from_secs(30)).await;
        clock.retry_groups(Some(SLOW_GROUPS));
        assert!(clock.full <= first);
        clock.retry_groups(None);
        assert!(clock.full <= first);
    }

    #[tokio::test(start_paused = true)]
    async fn members_are_read_every_minute_or_after_fifty_times_the_last_read() {
        let mut clock = Clock::starting_now(Duration::from_secs(3600));
        for (took, least, most) in [(0, 54, 60), (1, 54, 60), (2, 100, 100)] {
            clock.loaded(Loaded { members: Some(Duration::from_secs(took)), ..Loaded::default() });
            clock.step_done();
            let due = (clock.next_due() - Instant::now()).as_secs_f64();
            assert!(f64::from(least) <= due && due <= f64::from(most), "{due}");
        }
        // Without a rule that reads groups, nothing is read then.
        tokio::time::advance(Duration::from_secs(100)).await;
        clock.step_done();
        assert_eq!(clock.next_due() - Instant::now(), MEMBERS);
    }

    const ROWS: Loaded = Loaded { by_rows: true, members: None, failed_groups: None };
    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn full_load_is_due_within_a_minute_of_the_first_load_of_rows() {
        let mut clock = Clock::starting_now(Duration::from_secs(5));
        let first = Instant::now();
        for _ in 0..70 {
            clock.loaded(ROWS);
            clock.step_done();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // Later loads make it neither later nor earlier.
        let due = clock.full - first;
        assert!(AFTER_ROWS <= due && due <= MINUTE, "{due:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn load_of_tables_delays_no_full_load_and_makes_none_due() {
        let mut clock = Clock::starting_now(Duration::from_secs(5));
        let before = clock.full;
        clock.loaded(Loaded::default());
        assert_eq!(clock.full, before);
        clock.loaded(ROWS);
        let after_rows = clock.full;
        clock.loaded(Loaded::default());
        assert!(after_rows < before && clock.full == after_rows);
    }

    #[tokio::test(start_paused = true)]
    async fn full_load_makes_the_next_one_due_in_five_minutes_until_rows_are_loaded() {
        let mut clock = Clock::starting_now(Duration::from_secs(5));
        clock.loaded(ROWS);
        clock.everything_loaded();
        assert!(clock.full - Instant::now() >= FULL.mul_f64(0.9));
        clock.loaded(ROWS);
        assert!(clock.full - Instant::now() <= MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn full_loads_after_rows_are_spread_over_a_minute() {
        let due = || {
            let mut clock = Clock::starting_now(Duration::from_secs(5));
            clock.loaded(ROWS);
            clock.full - Instant::now()
        };
        let due: Vec<_> = (0..200).map(|_| due()).collect();
        assert!(due.iter().any(|due| *due < MINUTE / 2) && due.iter().any(|due| *due > MINUTE / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn full_load_that_is_due_earlier_stays_due_after_a_load_of_rows() {
        let mut clock = Clock::starting_now(Duration::from_secs(5));
        clock.everything_is_due();
        let due = clock.full;
        clock.loaded(ROWS);
        assert_eq!(clock.full, due);
    }
}
