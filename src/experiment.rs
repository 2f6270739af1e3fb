//! An experiment as it is evaluated: its variants, who takes part, and its state.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::allocation::{Allocation, VariantNumber};
use crate::counters::Tally;
use crate::primary_key::PrimaryKey;
use crate::row_rules::RowRules;
use crate::targeting::{Dependent, attributes};

/// What all versions of an experiment share, and only one row has.
#[derive(Debug)]
pub struct ExperimentIdentity {
    /// The key that the code evaluates.
    pub key: Box<str>,
    /// The primary key of its row.
    pub pk: PrimaryKey,
    /// A hash of the primary key, so that another experiment with the same key is another one.
    pub(crate) mark: u64,
    /// The exposures that were left out, because too many waited to be written.
    pub(crate) lost: Tally,
    /// The units that were left out, because too many new ones came in one hour.
    pub(crate) left_out: Tally,
}

impl ExperimentIdentity {
    /// An experiment without exposures.
    #[must_use]
    pub fn new(key: Box<str>, pk: PrimaryKey) -> Self {
        let mut hasher = DefaultHasher::new();
        pk.hash(&mut hasher);
        Self { key, pk, mark: hasher.finish(), lost: Tally::new(), left_out: Tally::new() }
    }

    /// Restarts at zero in a forked child, because the parent reports what was counted so far.
    pub fn reset(&self) {
        self.lost.reset();
        self.left_out.reset();
    }

    /// The number of exposures that were left out since the last call.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        self.lost.take()
    }

    /// The number of units that were left out since the last call.
    #[must_use]
    pub fn take_left_out(&self) -> u64 {
        self.left_out.take()
    }
}

/// Counts do not make two experiments different.
impl PartialEq for ExperimentIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.pk == other.pk
    }
}

/// Whether an experiment gives variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExperimentState {
    /// It has not started, or it was stopped: every call gets its default.
    Off,
    /// Units get variants, and are recorded.
    Running,
    /// Everyone gets the winner, and no unit is recorded.
    Shipped(VariantNumber),
}

/// An experiment as it is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its key and its row.
    pub identity: Arc<ExperimentIdentity>,
    /// Whether it gives variants.
    pub state: ExperimentState,
    /// What units are hashed with: `experiment:KEY:RUN`.
    pub seed: Arc<str>,
    /// How often it was restarted. The exposures of another run are those of another experiment.
    pub run: i32,
    /// Its variants, and the units of each.
    pub allocation: Arc<Allocation>,
    /// The units that always get a certain variant and are not recorded.
    pub forced: Arc<HashMap<Box<str>, VariantNumber>>,
    /// Who takes part: those for whom a rule matches. `None` for everyone.
    pub rules: Option<Arc<RowRules>>,
    /// The attribute that is its unit, `None` for the user's primary key.
    pub bucket_by: Option<Box<str>>,
}

impl Dependent for Experiment {
    fn depends_on_subject(&self) -> bool {
        self.state == ExperimentState::Running
    }

    fn depends_on_key(&self) -> bool {
        let rules = self.rules.as_ref().and_then(|rules| rules.rules());
        self.bucket_by.is_none() || rules.is_some_and(|rules| rules.needs().on_key)
    }

    fn attributes(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules.as_ref().and_then(|rules| rules.rules());
        attributes(rules, self.bucket_by.as_deref())
    }
}

/// What units of an experiment are hashed with.
#[must_use]
pub fn seed(key: &str, run: i32) -> String {
    format!("experiment:{key}:{run}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_after_a_fork_has_lost_no_exposures() {
        let identity = ExperimentIdentity::new("a".into(), "1".into());
        identity.lost.count();
        identity.reset();
        assert_eq!(identity.take_lost(), 0);
    }
}
