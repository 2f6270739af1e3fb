//! The evaluation counts of one flag.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often a flag returned false and true. Outlives the snapshot.
#[derive(Debug, Default)]
pub struct Counters {
    results: [AtomicU64; 2],
    /// The part of `results` that was collected already.
    taken: [AtomicU64; 2],
    /// Whether a registry collects them.
    pub(crate) registered: AtomicBool,
}

impl Counters {
    /// Nothing counted yet.
    pub(crate) const fn new() -> Self {
        Self {
            results: [const { AtomicU64::new(0) }; 2],
            taken: [const { AtomicU64::new(0) }; 2],
            registered: AtomicBool::new(false),
        }
    }

    /// Counts a result. The caller holds the GIL, so only one thread counts at a time and the count
    /// is exact without a locked instruction.
    #[inline]
    pub fn count(&self, result: bool) {
        let results = &self.results[usize::from(result)];
        results.store(results.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The numbers of false and true results since the last call.
    pub(crate) fn take(&self) -> [u64; 2] {
        [0, 1].map(|result| {
            let now = self.results[result].load(Ordering::Relaxed);
            now.wrapping_sub(self.taken[result].swap(now, Ordering::Relaxed))
        })
    }

    /// Restarts at zero in a forked child, because the parent reports what was counted so far.
    pub(crate) fn reset(&self) {
        for number in self.results.iter().chain(&self.taken) {
            number.store(0, Ordering::Relaxed);
        }
        self.registered.store(false, Ordering::Relaxed);
    }
}

/// Always equal: counts do not make two flags different.
impl PartialEq for Counters {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
