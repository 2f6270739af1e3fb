//! The exposures of this process: which unit has met which variant of an experiment, and when.
//!
//! An evaluation of a unit that was recorded before reads one number from memory. Nothing here is
//! guarded by a lock that an evaluation waits for, because a fork may happen while another thread
//! holds it. Memory is bounded.

mod queue;
mod seen;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use self::queue::Queue;
use self::seen::Seen;
use crate::allocation::VariantNumber;
use crate::bucket::Position;
use crate::experiment::{Experiment, ExperimentIdentity};

/// The first time that a unit met a variant in this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// The experiment.
    pub experiment: Arc<ExperimentIdentity>,
    /// How often the units of the experiment were shuffled before.
    pub shuffle: i32,
    /// The phase of the experiment.
    pub phase: i32,
    /// The bucket of the unit.
    pub bucket: u16,
    /// The key of the variant.
    pub variant: Box<str>,
    /// The text of the unit.
    pub unit: Box<str>,
    /// The primary key of the user, for a unit that is not the user. `None` if it is not known.
    pub user: Option<Box<str>>,
    /// When, by this machine's clock: the one that stamps what the project's metrics read.
    pub at: SystemTime,
}

/// Where the hash of a unit lies, and the variant there.
pub type Place = (Position, VariantNumber);

/// The exposures that are not written yet, and the units that were recorded.
#[derive(Debug)]
pub struct Exposures {
    queue: ArcSwapOption<Queue<Exposure>>,
    seen: Seen,
}

impl Default for Exposures {
    fn default() -> Self {
        Self::new()
    }
}

impl Exposures {
    /// Nothing recorded yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { queue: ArcSwapOption::const_empty(), seen: Seen::new() }
    }

    /// Whether the unit at this position was recorded with this variant. `knows_user` is whether
    /// the caller could say now which user the unit is. The caller holds the GIL.
    #[must_use]
    #[inline]
    pub fn contains(&self, experiment: &Experiment, place: Place, knows_user: bool) -> bool {
        self.seen.contains(mark(experiment, place, knows_user))
    }

    /// Records the unit at this position. If too many exposures wait to be written, it is counted as
    /// lost, and the next call tries again. The caller holds the GIL.
    pub fn record(&self, experiment: &Experiment, place: Place, unit: &str, user: Option<&str>) {
        let is_recorded = self.queue().add(|| Exposure {
            experiment: experiment.identity.clone(),
            shuffle: experiment.shuffle,
            phase: experiment.phase,
            bucket: place.0.bucket,
            variant: experiment.allocation.key(place.1).into(),
            unit: unit.into(),
            user: user.map(Into::into),
            at: SystemTime::now(),
        });
        if !is_recorded {
            return experiment.identity.lost.count();
        }
        // With the user, it also answers for calls that do not know the user.
        self.seen.add(mark(experiment, place, false));
        if user.is_some() {
            self.seen.add(mark(experiment, place, true));
        }
    }

    fn queue(&self) -> Arc<Queue<Exposure>> {
        let queue = self.queue.load_full();
        queue.unwrap_or_else(|| {
            // The caller holds the GIL, so no other thread adds one meanwhile.
            let new = Arc::new(Queue::new());
            self.queue.store(Some(new.clone()));
            new
        })
    }

    /// Removes and returns the first exposures that wait to be written, at most `limit` of them.
    #[must_use]
    pub fn take(&self, limit: usize) -> Vec<Exposure> {
        self.queue.load_full().map(|queue| queue.take(limit)).unwrap_or_default()
    }

    /// How many exposures wait to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.load().as_ref().map_or(0, |queue| queue.len())
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything in a forked child, because the parent writes what was recorded so far.
    pub fn reset_after_fork(&self) {
        // Leaked: a thread of the parent may have been in the middle of it.
        std::mem::forget(self.queue.swap(None));
        self.seen.reset();
    }
}

/// Identifies a unit with a variant, and whether its user is known. Never 0.
fn mark(experiment: &Experiment, (position, variant): Place, knows_user: bool) -> u64 {
    // An odd factor maps no two variants to the same number.
    let of_variant = u64::from(variant).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of_unit = position.fingerprint ^ experiment.identity.mark;
    (of_unit ^ of_variant ^ (u64::from(knows_user) << 1)) | 1
}
