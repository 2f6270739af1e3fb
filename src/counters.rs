//! Counts that evaluations add to, and a thread of the engine collects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A number that grows, and the part of it that was collected already.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    total: AtomicU64,
    taken: AtomicU64,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) const fn new() -> Self {
        Self { total: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// Adds one. The caller holds the GIL, so only one thread counts at a time and the count is
    /// exact without a locked instruction.
    #[inline]
    pub(crate) fn count(&self) {
        self.total.store(self.total.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// What was counted since the last call.
    pub(crate) fn take(&self) -> u64 {
        let now = self.total.load(Ordering::Relaxed);
        now.wrapping_sub(self.taken.swap(now, Ordering::Relaxed))
    }

    /// Restarts at zero in a forked child, because the parent reports what was counted so far.
    pub(crate) fn reset(&self) {
        self.total.store(0, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
    }
}

/// How a flag was used without an evaluation of its own that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bulk {
    /// In a response with the results of all flags. Its caller may use some of them, or none.
    All,
    /// In one with those that browsers may read, for a browser.
    ForBrowsers,
    /// By a condition of another row.
    Needed,
}

/// How often a flag returned false and true, and whether it was served in bulk. Outlives the
/// snapshot.
#[derive(Debug, Default)]
pub struct Counters {
    results: [Tally; 2],
    /// Whether each kind of `Bulk` had the flag since it was collected.
    served: [AtomicBool; 3],
    /// Whether a registry collects them.
    pub(crate) registered: AtomicBool,
}

impl Counters {
    /// Counts a result. The caller holds the GIL.
    #[inline]
    pub fn count(&self, result: bool) {
        self.results[usize::from(result)].count();
    }

    /// Notes that the flag was served in bulk, which is not counted.
    #[inline]
    pub fn serve(&self, bulk: Bulk) {
        self.served[bulk as usize].store(true, Ordering::Relaxed);
    }

    /// Which kinds of `Bulk` had the flag since the last call.
    pub(crate) fn take_served(&self) -> impl Iterator<Item = Bulk> {
        let each = [Bulk::All, Bulk::ForBrowsers, Bulk::Needed].into_iter();
        each.filter(|bulk| self.served[*bulk as usize].swap(false, Ordering::Relaxed))
    }

    /// The numbers of false and true results since the last call.
    pub(crate) fn take(&self) -> [u64; 2] {
        [0, 1].map(|result| self.results[result].take())
    }

    /// Restarts at zero in a forked child.
    pub(crate) fn reset(&self) {
        self.results.iter().for_each(Tally::reset);
        self.take_served().for_each(drop);
        self.registered.store(false, Ordering::Relaxed);
    }
}

/// How often each result of a value with rules was returned, and whether a missing user was reported.
/// Outlives the snapshot.
#[derive(Debug)]
pub struct ResultCounters {
    /// The key of the value.
    pub key: Arc<str>,
    /// The value itself, then the result of each rule.
    results: Box<[Tally]>,
    has_reported: AtomicBool,
    /// Whether a registry collects them.
    pub(crate) registered: AtomicBool,
}

impl ResultCounters {
    /// Nothing counted yet, of a value with so many rules.
    #[must_use]
    pub fn new(key: Arc<str>, rules: usize) -> Self {
        let results = (0..=rules).map(|_| Tally::new()).collect();
        let (has_reported, registered) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { key, results, has_reported, registered }
    }

    /// Whether it was reported that an evaluation lacks the user that the rules need.
    #[must_use]
    pub fn has_reported(&self) -> bool {
        self.has_reported.load(Ordering::Relaxed)
    }

    /// Notes that it was reported.
    pub fn set_reported(&self) {
        self.has_reported.store(true, Ordering::Relaxed);
    }

    /// How many rules they count.
    pub(crate) fn rules(&self) -> usize {
        self.results.len() - 1
    }

    /// Counts the result of the rule with this number, or with 0 the value itself. The caller holds
    /// the GIL.
    #[inline]
    pub fn count(&self, number: u8) {
        if let Some(tally) = self.results.get(usize::from(number)) {
            tally.count();
        }
    }

    /// The number of each result since the last call, without those that were not returned.
    pub(crate) fn take(&self) -> impl Iterator<Item = (u8, u64)> {
        let counted = self.results.iter().zip(0..).map(|(tally, number)| (number, tally.take()));
        counted.filter(|(_, count)| *count > 0)
    }

    /// Restarts at zero in a forked child.
    pub(crate) fn reset(&self) {
        self.results.iter().for_each(Tally::reset);
        self.has_reported.store(false, Ordering::Relaxed);
        self.registered.store(false, Ordering::Relaxed);
    }
}

/// Always equal: counts do not make two values different.
impl PartialEq for ResultCounters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Always equal: counts do not make two flags different.
impl PartialEq for Counters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
