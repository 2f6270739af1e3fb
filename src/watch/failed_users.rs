//! The users who failed a guard, each once, in bounded memory.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::unit::Unit;

/// The number of users that a worker keeps. More would not change what a guard decides.
const MAX_USERS: usize = 16_384;
/// The number of slots: at most half of them are used, so that a search is short.
const SLOTS: usize = 2 * MAX_USERS;

/// The bits of a slot beside the hash.
const INSIDE: u64 = 1;
const TAKEN: u64 = 2;
const HASH: u64 = !(INSIDE | TAKEN);

/// A user who failed, and whether inside of the rollout.
pub(super) type Failed = (i64, bool);

/// A set of users. No user is removed, so a reader needs no lock.
#[derive(Debug)]
pub(super) struct FailedUsers {
    /// Zero if the slot is free.
    slots: Box<[AtomicU64]>,
    count: AtomicUsize,
}

impl FailedUsers {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), count: AtomicUsize::new(0) }
    }

    /// Adds a user. Only the first failure counts. Returns false if the set is full. The caller
    /// holds the GIL.
    pub(super) fn add(&self, unit: Unit, inside: bool) -> bool {
        let hash = slot_hash(unit);
        let mut place = usize::try_from(hash >> 2).expect("64 bits") % SLOTS;
        loop {
            let slot = &self.slots[place];
            match slot.load(Ordering::Relaxed) {
                0 if self.count.load(Ordering::Relaxed) >= MAX_USERS => return false,
                0 => {
                    self.count.fetch_add(1, Ordering::Relaxed);
                    slot.store(hash | u64::from(inside), Ordering::Relaxed);
                    return true;
                }
                used if used & HASH == hash => return true,
                _ => place = (place + 1) % SLOTS,
            }
        }
    }

    /// The users who were added since the last call.
    pub(super) fn take(&self) -> Vec<Failed> {
        let mut failed = Vec::new();
        for slot in &self.slots {
            let used = slot.load(Ordering::Relaxed);
            if used != 0 && used & TAKEN == 0 {
                slot.fetch_or(TAKEN, Ordering::Relaxed);
                failed.push(((used & HASH).cast_signed(), used & INSIDE != 0));
            }
        }
        failed
    }

    /// Forgets all users, in a forked child.
    pub(super) fn reset(&self) {
        self.slots.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
        self.count.store(0, Ordering::Relaxed);
    }
}

/// The hash in a slot, never zero.
fn slot_hash(Unit(hash): Unit) -> u64 {
    match hash & HASH {
        0 => TAKEN << 1,
        hash => hash,
    }
}
