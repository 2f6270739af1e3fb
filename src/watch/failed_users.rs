//! The users who failed a guard, each once, in bounded memory.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::unit::{Network, Unit, Visit};

/// The number of users that a worker keeps. More would not change what a guard decides.
const MAX_USERS: usize = 16_384;
/// The number of slots: at most half of them are used, so that a search is short.
const SLOTS: usize = 2 * MAX_USERS;

/// The bits of a slot beside the hash.
const INSIDE: u64 = 1;
const TAKEN: u64 = 2;
const HASH: u64 = !(INSIDE | TAKEN);

/// A user who failed, with the origin of the first request that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The hash of the user.
    pub unit: i64,
    /// Whether the user is inside of the rollout.
    pub inside: bool,
    /// The hash of the network, if it is known and limits what counts.
    pub network: Option<i32>,
    /// When the id of the visitor was drawn, in seconds since 1970.
    pub drawn_at: Option<u32>,
}

/// A set of users. No user is removed, so a reader needs no lock.
#[derive(Debug)]
pub(super) struct FailedUsers {
    /// Zero if the slot is free.
    slots: Box<[AtomicU64]>,
    /// Network and time of the user in the slot, 32 bits each; zero if there is none.
    origins: Box<[AtomicU64]>,
    count: AtomicUsize,
}

impl FailedUsers {
    pub(super) fn new() -> Self {
        let zeros = || (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { slots: zeros(), origins: zeros(), count: AtomicUsize::new(0) }
    }

    /// Adds a user. Only the first failure counts. Returns false if the set is full. The caller
    /// holds the GIL.
    pub(super) fn add(&self, visit: Visit) -> bool {
        let hash = slot_hash(visit.unit);
        let mut place = usize::try_from(hash >> 2).expect("64 bits") % SLOTS;
        loop {
            let slot = &self.slots[place];
            match slot.load(Ordering::Relaxed) {
                0 if self.count.load(Ordering::Relaxed) >= MAX_USERS => return false,
                0 => {
                    self.count.fetch_add(1, Ordering::Relaxed);
                    self.origins[place].store(origin(visit), Ordering::Relaxed);
                    // A reader that sees the user sees the origin.
                    slot.store(hash | u64::from(visit.inside), Ordering::Release);
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
        for (slot, origin) in self.slots.iter().zip(&self.origins) {
            let used = slot.load(Ordering::Acquire);
            if used == 0 || used & TAKEN != 0 {
                continue;
            }
            slot.fetch_or(TAKEN, Ordering::Relaxed);
            let [network, drawn_at] = parts(origin.load(Ordering::Relaxed));
            failed.push(Failed {
                unit: (used & HASH).cast_signed(),
                inside: used & INSIDE != 0,
                network: network.map(u32::cast_signed),
                drawn_at,
            });
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

/// The origin of a visit in 64 bits.
fn origin(Visit { network, drawn_at, .. }: Visit) -> u64 {
    let network = network.map_or(0, |Network(hash)| hash);
    u64::from(network) << u32::BITS | u64::from(drawn_at.unwrap_or_default())
}

/// The network and the time in an origin.
fn parts(origin: u64) -> [Option<u32>; 2] {
    [origin >> u32::BITS, origin & u64::from(u32::MAX)]
        .map(|part| u32::try_from(part).ok().filter(|part| *part != 0))
}
