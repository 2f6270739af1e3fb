//! The users who count where the number per network is limited: the first ones to arrive.
//!
//! Which users these are depends on neither side nor failures, so without harm a user who fails
//! is inside as often as any other user who counts. If only failures were limited, the share of
//! users inside would be that of other users than those whose failures are compared.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::unit::{Network, Unit};

/// The number of users of a network who count in a process. Small, because a client that draws
/// visitors inside raises the share of users inside, which hides a fault.
const MAX_USERS: u8 = 4;

/// The bits of the filter, and the number of them for a user. For 100,000 users, 2 % of the others
/// look like one of them; they count as well, so the limit gets higher and no user is lost.
const FILTER_BITS: u64 = 1 << 20;
const BITS_PER_USER: u64 = 3;

/// The numbers of users by 16 bits of a network's hash.
type Row = Box<[AtomicU8]>;

/// A Bloom filter of the users who count, and a count-min sketch of their number by network.
#[derive(Debug)]
pub(super) struct Arrivals {
    known: Box<[AtomicU64]>,
    numbers: [Row; 2],
}

impl Arrivals {
    pub(super) fn new() -> Self {
        let row = || (0..=u16::MAX).map(|_| AtomicU8::new(0)).collect();
        let known = (0..FILTER_BITS / u64::from(u64::BITS)).map(|_| AtomicU64::new(0)).collect();
        Self { known, numbers: [row(), row()] }
    }

    /// Whether a user counts: an earlier one who did, or one of the first of the network. The
    /// caller holds the GIL.
    pub(super) fn admit(&self, unit: Unit, network: Network) -> bool {
        if self.bits(unit).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0) {
            return true;
        }
        let cells = network.halves().map(usize::from);
        let cells = [&self.numbers[0][cells[0]], &self.numbers[1][cells[1]]];
        let [one, other] = cells.map(|cell| cell.load(Ordering::Relaxed));
        let number = one.min(other);
        if number >= MAX_USERS {
            return false;
        }
        // The larger cell has users of other networks, too.
        for cell in cells {
            cell.store(cell.load(Ordering::Relaxed).max(number + 1), Ordering::Relaxed);
        }
        for (word, bit) in self.bits(unit) {
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
        true
    }

    /// The words and bits of a user.
    fn bits(&self, Unit(hash): Unit) -> impl Iterator<Item = (&AtomicU64, u64)> {
        (0..BITS_PER_USER).map(move |place| {
            let bit = (hash >> (place * u64::from(FILTER_BITS.ilog2()))) % FILTER_BITS;
            let word = usize::try_from(bit / u64::from(u64::BITS)).expect("below 2^14");
            (&self.known[word], 1 << (bit % u64::from(u64::BITS)))
        })
    }

    /// Forgets all users, in a forked child.
    pub(super) fn reset(&self) {
        self.known.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.numbers.iter().flatten().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }
}
