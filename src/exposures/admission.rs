//! Which new units are recorded: a bounded number of them per hour.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::seen::Seen;

const HOUR: u64 = 3600;

/// The new units of the present hour, and those that were left out. The caller holds the GIL.
#[derive(Debug)]
pub(super) struct Admission {
    limit: AtomicU32,
    /// The hour since 1970 that `admitted` counts.
    hour: AtomicU64,
    admitted: AtomicU32,
    left_out: Seen,
}

impl Admission {
    pub(super) const fn new() -> Self {
        Self {
            limit: AtomicU32::new(u32::MAX),
            hour: AtomicU64::new(0),
            admitted: AtomicU32::new(0),
            left_out: Seen::new(),
        }
    }

    pub(super) fn begin(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
        self.admitted.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn has_left_out(&self, mark: u64) -> bool {
        self.left_out.contains(mark)
    }

    /// Whether one more new unit is recorded in this hour. Counts it if it is.
    pub(super) fn admits(&self, at: SystemTime) -> bool {
        let hour = hour_of(at);
        if self.hour.swap(hour, Ordering::Relaxed) != hour {
            self.admitted.store(0, Ordering::Relaxed);
        }
        let admitted = self.admitted.load(Ordering::Relaxed);
        let is_admitted = admitted < self.limit.load(Ordering::Relaxed);
        if is_admitted {
            self.admitted.store(admitted + 1, Ordering::Relaxed);
        }
        is_admitted
    }

    pub(super) fn leave_out(&self, mark: u64) {
        self.left_out.add(mark);
    }

    pub(super) fn reset(&self) {
        self.admitted.store(0, Ordering::Relaxed);
        self.left_out.reset();
    }
}

fn hour_of(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since: Duration| since.as_secs() / HOUR)
}
