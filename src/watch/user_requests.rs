//! How many requests of each user count, so that nobody weighs more than others, in constant memory.
//!
//! A user has a slot by the hash, which others may share. Whether a request counts depends neither
//! on its side nor on its outcome, so of those that count without harm, the same part fails on both
//! sides, however many each user makes.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::unit::Unit;

const SLOTS: usize = 1 << 16;
/// The number of requests of a slot that count.
const MAX_REQUESTS: u8 = 64;
/// With fewer users, a single one would matter after an early start.
const LEAST_USERS: usize = 100;

/// The numbers of requests that have counted since the last start.
#[derive(Debug)]
pub(super) struct UserRequests {
    counts: Box<[AtomicU8]>,
    /// The slots in use, and the sum of all counts.
    users: AtomicUsize,
    requests: AtomicUsize,
}

impl UserRequests {
    pub(super) fn new() -> Self {
        Self {
            counts: (0..SLOTS).map(|_| AtomicU8::new(0)).collect(),
            users: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        }
    }

    /// Whether a request of a user counts. The caller holds the GIL.
    pub(super) fn admit(&self, Unit(hash): Unit) -> bool {
        // Not by the bits that select a register or a place among the failed users.
        let slot = &self.counts[usize::try_from(hash >> 44).expect("20 bits") % SLOTS];
        let count = slot.load(Ordering::Relaxed);
        if count >= MAX_REQUESTS {
            return false;
        }
        slot.store(count + 1, Ordering::Relaxed);
        let users = self.users.load(Ordering::Relaxed) + usize::from(count == 0);
        let requests = self.requests.load(Ordering::Relaxed) + 1;
        self.users.store(users, Ordering::Relaxed);
        self.requests.store(requests, Ordering::Relaxed);
        // Full slots would hide what begins later. No user has made more than two of a hundred.
        let is_half_full = requests >= users * usize::from(MAX_REQUESTS / 2);
        if users >= LEAST_USERS && (users >= SLOTS / 2 || is_half_full) {
            self.reset();
        }
        true
    }

    /// Starts again, also in a forked child.
    pub(super) fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.users.store(0, Ordering::Relaxed);
        self.requests.store(0, Ordering::Relaxed);
    }
}
