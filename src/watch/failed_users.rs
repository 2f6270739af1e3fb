//! The users who failed a guard: which of them were counted already, and which wait for a flush.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::unit::{Network, Unit, Visit};

/// The number of users who can wait. The thread that writes them flushes early, so that only a
/// database that is away for long fills it.
const MAX_WAITING: usize = 16_384;
/// So many waiting users are flushed at once.
pub(crate) const MANY: usize = MAX_WAITING / 4;

/// The users whom a worker remembers, so that it writes each once. One who is forgotten is written
/// again, which the database ignores.
const REMEMBERED: usize = 32_768;
/// A user is in one of so many places, which share a cache line.
const PLACES: usize = 8;

/// The bits beside the hash.
const INSIDE: u64 = 1;
const HASH: u64 = !(INSIDE | 2);

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

/// A set of the last users, and a queue of those who are not written yet. Both are bounded. One
/// thread adds at a time, and one takes.
#[derive(Debug)]
pub(super) struct FailedUsers {
    /// The hashes; zero if the place is free.
    known: Box<[AtomicU64]>,
    /// The hash with the side; network and time of the cookie, 32 bits each, zero if there is none.
    waiting: Box<[[AtomicU64; 2]]>,
    /// How many users were added to the queue and taken from it.
    added: AtomicUsize,
    taken: AtomicUsize,
}

impl FailedUsers {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            known: (0..REMEMBERED).map(|_| zero()).collect(),
            waiting: (0..MAX_WAITING).map(|_| [zero(), zero()]).collect(),
            added: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
        }
    }

    /// Adds a user. Only the first failure counts. Returns false if the queue is full; the next
    /// failure of the user then counts. The caller holds the GIL.
    pub(super) fn add(&self, visit: Visit) -> bool {
        let hash = known_hash(visit.unit);
        if self.knows(visit.unit) {
            return true;
        }
        let added = self.added.load(Ordering::Relaxed);
        if added.wrapping_sub(self.taken.load(Ordering::Acquire)) >= MAX_WAITING {
            return false;
        }
        let [user, of_visit] = &self.waiting[added % MAX_WAITING];
        user.store(hash | u64::from(visit.inside), Ordering::Relaxed);
        of_visit.store(origin(visit), Ordering::Relaxed);
        // A reader that sees the number sees the user.
        self.added.store(added.wrapping_add(1), Ordering::Release);
        let places = self.places(hash);
        let free = places.iter().find(|place| place.load(Ordering::Relaxed) == 0);
        // By bits of the hash that do not select the places.
        let oldest = usize::try_from(hash >> 61).expect("3 bits");
        free.unwrap_or(&places[oldest]).store(hash, Ordering::Relaxed);
        true
    }

    /// Whether a user was added before, and is not forgotten.
    pub(super) fn knows(&self, unit: Unit) -> bool {
        let hash = known_hash(unit);
        self.places(hash).iter().any(|place| place.load(Ordering::Relaxed) == hash)
    }

    /// The places in which a user can be.
    fn places(&self, hash: u64) -> &[AtomicU64] {
        let first = usize::try_from(hash >> 2).expect("64 bits") % (REMEMBERED / PLACES) * PLACES;
        &self.known[first..first + PLACES]
    }

    /// How many users wait.
    pub(super) fn waiting(&self) -> usize {
        self.added.load(Ordering::Relaxed).wrapping_sub(self.taken.load(Ordering::Relaxed))
    }

    /// The users who were added since the last call.
    pub(super) fn take(&self) -> Vec<Failed> {
        let added = self.added.load(Ordering::Acquire);
        let first = self.taken.load(Ordering::Relaxed);
        let count = added.wrapping_sub(first);
        let failed = (0..count).map(|number| {
            let [user, origin] = &self.waiting[first.wrapping_add(number) % MAX_WAITING];
            let user = user.load(Ordering::Relaxed);
            let [network, drawn_at] = parts(origin.load(Ordering::Relaxed));
            Failed {
                unit: (user & HASH).cast_signed(),
                inside: user & INSIDE != 0,
                network: network.map(u32::cast_signed),
                drawn_at,
            }
        });
        let failed = failed.collect();
        // From here on their places in the queue are used again.
        self.taken.store(added, Ordering::Release);
        failed
    }

    /// Forgets all users, in a forked child.
    pub(super) fn reset(&self) {
        self.known.iter().for_each(|place| place.store(0, Ordering::Relaxed));
        self.added.store(0, Ordering::Relaxed);
        self.taken.store(0, Ordering::Relaxed);
    }
}

/// The hash by which a user is known, never zero.
fn known_hash(Unit(hash): Unit) -> u64 {
    match hash & HASH {
        0 => 4,
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
