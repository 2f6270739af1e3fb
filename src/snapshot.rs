//! All flags, segments and values at one point in time, immutable.
//!
//! A snapshot is built from the previous one and the rows of the tables that changed. It shares the
//! other tables, so a change of one flag copies none of a million allowed users.

mod experiments;
mod groups;
mod key_table;
mod next;
mod next_groups;
mod pattern_limit;
mod plans;
mod ruled;
mod segments;
mod unique;

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use self::groups::KnownGroups;
use self::key_table::{KeyTable, Keyed};
use self::plans::Plans;
use self::segments::Segments;
use crate::experiment::Experiment;
use crate::flag::Flag;
use crate::primary_key::PrimaryKey;
use crate::row::{
    AllowedUsersRow, ExperimentRow, FlagRow, GroupRow, PlanRow, Problem, SegmentRow, ValueRow,
};
use crate::stored_value::StoredValue;
use crate::token_set::TokenSet;
use crate::user_set::UserSet;
use crate::watch::Watch;

type Flags = KeyTable<Flag>;
type Values = KeyTable<Stored>;
type Experiments = KeyTable<Experiment>;

/// The allowed users by the primary key of their flag.
#[derive(Clone, Debug, Default)]
struct AllowedUsersByFlag {
    users: HashMap<PrimaryKey, Arc<UserSet>>,
    /// What all flags without allowed users share, in every load.
    none: Arc<UserSet>,
}

/// A value, its key, and the primary key of its row, which identifies its last good version.
#[derive(Clone, Debug)]
struct Stored {
    key: Arc<str>,
    pk: PrimaryKey,
    value: StoredValue,
}

impl Keyed for Flag {
    #[inline]
    fn key(&self) -> &str {
        &self.identity.key
    }
}

impl Keyed for Experiment {
    #[inline]
    fn key(&self) -> &str {
        &self.identity.key
    }
}

impl Keyed for Stored {
    #[inline]
    fn key(&self) -> &str {
        &self.key
    }
}

/// All flags and values at one point in time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    token_set: Option<TokenSet>,
    flags: Arc<Flags>,
    allowed_users: Arc<AllowedUsersByFlag>,
    segments: Arc<Segments>,
    groups: KnownGroups,
    plans: Arc<Plans>,
    experiments: Arc<Experiments>,
    values: Arc<Values>,
    values_version: u64,
    flag_problems: Arc<[Problem]>,
    rule_problems: Arc<[Problem]>,
    segment_problems: Arc<[Problem]>,
    user_problems: Arc<[Problem]>,
    value_problems: Arc<[Problem]>,
    plan_problems: Arc<[Problem]>,
    experiment_problems: Arc<[Problem]>,
    experiment_rule_problems: Arc<[Problem]>,
}

/// The rows of one load, all at the same point in time. A table that was not read is `None`.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The change tokens, or `None` if the database has none.
    pub token_set: Option<TokenSet>,
    /// All rows of the flags' table.
    pub flags: Option<Vec<FlagRow>>,
    /// The allowed users of all flags.
    pub allowed_users: Option<Vec<AllowedUsersRow>>,
    /// All rows of the segments' table.
    pub segments: Option<Vec<SegmentRow>>,
    /// The groups that rules refer to. For [`Snapshot::with_groups`]: the rules are known once the
    /// next snapshot is.
    pub groups: Option<Vec<GroupRow>>,
    /// All rows of the key-value table.
    pub values: Option<Vec<ValueRow>>,
    /// The rollout plans that have not ended.
    pub plans: Option<Vec<PlanRow>>,
    /// All rows of the experiments' table.
    pub experiments: Option<Vec<ExperimentRow>>,
    /// Whether the model field decodes every value, even plain scalars.
    pub opaque_values: bool,
}

impl Snapshot {
    /// The flag with this key.
    #[must_use]
    #[inline]
    pub fn flag(&self, key: &str) -> Option<&Flag> {
        self.flags.get(key)
    }

    /// The experiment with this key.
    #[must_use]
    #[inline]
    pub fn experiment(&self, key: &str) -> Option<&Experiment> {
        self.experiments.get(key)
    }

    /// All experiments, in no order.
    pub fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.experiments.iter()
    }

    /// The value with this key.
    #[must_use]
    #[inline]
    pub fn value(&self, key: &str) -> Option<&StoredValue> {
        self.values.get(key).map(|stored| &stored.value)
    }

    /// Identifies the values of this process at one point in time; a later load of them has a
    /// higher version.
    #[must_use]
    #[inline]
    pub fn values_version(&self) -> u64 {
        self.values_version
    }

    /// All flags by key, in no order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, &Flag)> {
        self.flags.iter().map(|flag| (flag.key(), flag))
    }

    /// How many flags there are.
    #[must_use]
    pub fn flag_count(&self) -> usize {
        self.flags.len()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// How many values there are.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The change tokens that this snapshot contains.
    #[must_use]
    pub fn token_set(&self) -> Option<&TokenSet> {
        self.token_set.as_ref()
    }

    /// What is measured for rollout plans.
    pub fn watches(&self) -> impl Iterator<Item = &Arc<Watch>> {
        self.plans.watches()
    }

    /// The flags whose plans no driver has guarded until `now`.
    pub fn unguarded(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.plans.unguarded(now)
    }

    /// The rows that could not be used, or not as they are.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let tables: [&[Problem]; 9] = [
            &self.flag_problems,
            &self.rule_problems,
            &self.segment_problems,
            self.groups.problems(),
            &self.user_problems,
            &self.value_problems,
            &self.plan_problems,
            &self.experiment_problems,
            &self.experiment_rule_problems,
        ];
        tables.into_iter().flatten()
    }
}
