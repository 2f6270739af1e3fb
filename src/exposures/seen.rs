//! The units that were recorded lately, in bounded memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of marks, 1 MiB of them. A unit that was forgotten is written again, which changes
/// nothing.
const SLOTS: usize = 1 << 17;
/// A mark is in one of so many places, in one cache line. The last one that was added is first.
const PLACES: usize = 8;

/// A cache of marks. The caller holds the GIL.
#[derive(Debug)]
pub(super) struct Seen(OnceLock<Box<[AtomicU64]>>);

impl Seen {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    #[inline]
    pub(super) fn contains(&self, mark: u64) -> bool {
        let Some(slots) = self.0.get() else { return false };
        places(slots, mark).iter().any(|slot| slot.load(Ordering::Relaxed) == mark)
    }

    pub(super) fn add(&self, mark: u64) {
        let slots = self.0.get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        let mut added = mark;
        for slot in places(slots, mark) {
            added = slot.swap(added, Ordering::Relaxed);
            if added == mark || added == 0 {
                return;
            }
        }
    }

    pub(super) fn reset(&self) {
        for slot in self.0.get().iter().flat_map(|slots| slots.iter()) {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

#[inline]
fn places(slots: &[AtomicU64], mark: u64) -> &[AtomicU64] {
    // Not the lowest bits, which do not differ between all marks.
    let first = usize::try_from(mark >> 40).unwrap_or_default() % (SLOTS / PLACES) * PLACES;
    &slots[first..first + PLACES]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninth_mark_of_a_line_replaces_the_first_one() {
        let seen = Seen::new();
        for mark in [1, 2, 3, 4, 5, 6, 7, 8, 8] {
            seen.add(mark);
        }
        assert!((1..=8).all(|mark| seen.contains(mark)));
        seen.add(9);
        assert!(!seen.contains(1) && (2..=9).all(|mark| seen.contains(mark)));
    }
}
