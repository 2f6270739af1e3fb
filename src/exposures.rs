//! The exposures of this process: which unit has met which variant of an experiment, and when.
//!
//! An evaluation of a unit that was recorded before reads one number from memory. Nothing here is
//! guarded by a lock that an evaluation waits for, because a fork may happen while another thread
//! holds it. Memory is bounded.

mod admission;
mod queue;
mod seen;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use self::admission::Admission;
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
    /// How often the experiment was restarted before.
    pub run: i32,
    /// The key of the variant.
    pub variant: Box<str>,
    /// The text of the unit.
    pub unit: Box<str>,
    /// The primary key of the user, for a unit that is not the user. `None` if it is not known.
    pub user: Option<Box<str>>,
    /// Of a visitor: whether the browser has sent the cookie back.
    pub returned: bool,
    /// When, by this machine's clock: the one that stamps what the project's metrics read.
    pub at: SystemTime,
}

/// Where the hash of a unit lies, and the variant there.
pub type Place = (Position, VariantNumber);

/// What the caller knows of a unit besides its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Which user it is.
    pub user: bool,
    /// That the browser has sent the cookie of this visitor back.
    pub returned: bool,
}

/// The exposures that are not written yet, and the units that were recorded.
#[derive(Debug)]
pub struct Exposures {
    queue: ArcSwapOption<Queue<Exposure>>,
    seen: Seen,
    admission: Admission,
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
        Self { queue: ArcSwapOption::const_empty(), seen: Seen::new(), admission: Admission::new() }
    }

    /// Begins to count the new units of the hour, of which so many are recorded.
    pub fn begin(&self, limit: u32) {
        self.admission.begin(limit);
    }

    /// Whether the unit at this position was recorded with this variant, and with what the caller
    /// knows now. The caller holds the GIL.
    #[must_use]
    #[inline]
    pub fn contains(&self, experiment: &Experiment, place: Place, known: Known) -> bool {
        self.seen.contains(mark(experiment, place, known))
    }

    /// Whether the unit at this position was left out in this run.
    #[must_use]
    #[inline]
    pub fn has_left_out(&self, experiment: &Experiment, place: Place) -> bool {
        self.admission.has_left_out(mark_of_run(experiment, place))
    }

    /// Whether a unit that is in memory nowhere may be recorded. `is_new` says that it is surely
    /// new everywhere: a visitor whose id was drawn for this request.
    ///
    /// Above the limit of the hour new units are left out in the order in which they arrive, so
    /// this does not depend on the variant. One that was left out stays so in this run, as long as
    /// this process remembers it. Another process may record it at a later request: after the
    /// default, which was the same for all variants, so that biases no comparison. The caller holds
    /// the GIL.
    #[must_use]
    pub fn admits(&self, experiment: &Experiment, place: Place, is_new: bool) -> bool {
        if self.has_left_out(experiment, place) {
            return false;
        }
        if !is_new || self.admission.admits(SystemTime::now()) {
            return true;
        }
        self.admission.leave_out(mark_of_run(experiment, place));
        experiment.identity.left_out.count();
        false
    }

    /// Records the unit at this position. If too many exposures wait to be written, it is counted as
    /// lost, and the next call tries again. The caller holds the GIL.
    pub fn record(
        &self,
        experiment: &Experiment,
        place: Place,
        unit: &str,
        user: Option<&str>,
        returned: bool,
    ) {
        let is_recorded = self.queue().add(|| Exposure {
            experiment: experiment.identity.clone(),
            run: experiment.run,
            variant: experiment.allocation.key(place.1).into(),
            unit: unit.into(),
            user: user.map(Into::into),
            returned,
            at: SystemTime::now(),
        });
        if !is_recorded {
            return experiment.identity.lost.count();
        }
        // It also answers for calls that know less.
        for known in [(false, false), (true, false), (false, true), (true, true)] {
            let known = Known { user: known.0, returned: known.1 };
            if (user.is_some() || !known.user) && (returned || !known.returned) {
                self.seen.add(mark(experiment, place, known));
            }
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
        self.admission.reset();
    }
}

/// Identifies a unit with a variant, and what is known of it. Never 0.
fn mark(experiment: &Experiment, (position, variant): Place, known: Known) -> u64 {
    // An odd factor maps no two variants to the same number.
    let of_variant = u64::from(variant).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of_unit = position.fingerprint ^ experiment.identity.mark;
    (of_unit ^ of_variant ^ (u64::from(known.user) << 1) ^ (u64::from(known.returned) << 2)) | 1
}

/// Identifies a unit in the present run, whose seed is part of the fingerprint.
fn mark_of_run(experiment: &Experiment, (position, _): Place) -> u64 {
    (position.fingerprint ^ experiment.identity.mark) | 1
}
