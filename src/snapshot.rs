//! All flags, segments and values at one point in time, immutable.
//!
//! A snapshot is built from the previous one and the rows that changed, or all rows of the tables that
//! changed. It shares the other tables, so a change of one flag copies none of a million allowed users.

mod allowed_users;
mod changed_keys;
mod compare;
mod declared;
mod experiments;
mod flags;
mod groups;
mod key_table;
mod missing_names;
mod needed_flags;
mod next;
mod next_groups;
mod pattern_limit;
mod plans;
mod problems;
mod ruled;
mod segments;
mod slot;
mod unique;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use self::allowed_users::AllowedUsersByFlag;
use self::experiments::Experiments;
use self::flags::Flags;
use self::groups::KnownGroups;
use self::key_table::Keyed;
use self::plans::Plans;
use self::problems::Problems;
use self::segments::Segments;
use self::slot::TableSlot;
pub use self::values::Stored;
use self::values::Values;
use crate::declared::Declared;
use crate::experiment::Experiment;
use crate::flag::Flag;
use crate::primary_key::PrimaryKey;
use crate::row::{
    AllowedUsersRow, ExperimentRow, FlagRow, GroupRow, PlanRow, Problem, SegmentRow, ValueRow,
};
use crate::token_set::{ReadPoint, Relation, TokenSet};
use crate::value_rules::ValueRules;
use crate::watch::Watch;

/// All flags and values at one point in time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    token_set: Option<TokenSet>,
    read_point: Option<ReadPoint>,
    flags: TableSlot<Flags>,
    allowed_users: TableSlot<AllowedUsersByFlag>,
    segments: TableSlot<Segments>,
    groups: KnownGroups,
    plans: TableSlot<Plans>,
    experiments: TableSlot<Experiments>,
    values: TableSlot<Values>,
    declared: Arc<Declared>,
    /// Names in rules that stand for nothing.
    missing_names: Problems,
}

/// The rows of one load, all at the same point in time. A table that was not read is `None`.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The change tokens, or `None` if the database has none.
    pub token_set: Option<TokenSet>,
    /// Where the load has read, `None` if the database has no change tokens.
    pub read_point: Option<ReadPoint>,
    /// The tables of which only the rows with these keys were asked for. A row that was not found is
    /// deleted. For pairs, the rows say what was not found.
    pub asked: BTreeMap<Relation, Vec<PrimaryKey>>,
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
    pub fn value(&self, key: &str) -> Option<&Stored> {
        self.values.get(key)
    }

    /// Whether the value with this key is secret.
    #[must_use]
    pub fn is_secret(&self, key: &str) -> bool {
        self.value(key).is_some_and(Stored::is_secret)
    }

    /// The values that are not secret by key, without those of flags, in no order.
    pub fn readable_values(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.values.readable().filter(|(key, _)| self.flag(key).is_none())
    }

    /// Identifies the values of this process at one point in time; a later load of them has a
    /// higher version.
    #[must_use]
    #[inline]
    pub fn values_version(&self) -> u64 {
        self.values.version()
    }

    /// All flags by key, in no order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, &Flag)> {
        self.flags.iter().map(|flag| (flag.key(), flag))
    }

    /// Whether no load has replaced flags between this snapshot and `other`.
    #[must_use]
    pub fn has_flags_of(&self, other: &Self) -> bool {
        self.flags.is_same(&other.flags)
    }

    /// How many flags there are.
    #[must_use]
    pub fn flag_count(&self) -> usize {
        self.flags.len()
    }

    /// The rules of all values that have any, in no order.
    pub fn value_rules(&self) -> impl Iterator<Item = &Arc<ValueRules>> {
        self.values.by_key().iter().filter_map(Stored::rules)
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

    /// Whether rows of the table of `relation` can be replaced alone.
    #[must_use]
    pub fn takes_rows(&self, relation: Relation) -> bool {
        match relation {
            Relation::FLAGS => self.flags.takes_rows(),
            Relation::ALLOWED_USERS => self.allowed_users.takes_rows(),
            Relation::VALUES => self.values.takes_rows() && self.values.leave_room(),
            Relation::SEGMENTS => self.segments.takes_rows(),
            Relation::PLANS => self.plans.takes_rows(),
            Relation::EXPERIMENTS => self.experiments.takes_rows(),
            _ => true,
        }
    }

    /// Where the load has read whose change tokens these are.
    #[must_use]
    pub fn read_point(&self) -> Option<&ReadPoint> {
        self.read_point.as_ref()
    }

    /// What is measured for rollout plans.
    pub fn watches(&self) -> impl Iterator<Item = &Arc<Watch>> {
        self.plans.watches()
    }

    /// The flags whose plans no driver has guarded until `now`.
    pub fn unguarded(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.plans.unguarded(now)
    }

    /// The rows that could not be used, or not as they are, and the names that do not exist.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.all_problems().flat_map(|problems| problems.iter())
    }

    /// The number of problems.
    #[must_use]
    pub fn problem_count(&self) -> usize {
        self.all_problems().map(|problems| problems.len()).sum()
    }

    /// Identifies the problems of this process at one point in time; other ones of a later load have
    /// a higher version.
    #[must_use]
    pub fn problems_version(&self) -> u64 {
        self.all_problems().map(Problems::version).max().unwrap_or_default()
    }

    fn all_problems(&self) -> impl Iterator<Item = &Problems> {
        self.problems_without_groups().chain([self.groups.problems()])
    }

    /// The same as `problems`, without those of groups.
    fn problems_of_rows(&self) -> impl Iterator<Item = &Problem> {
        self.problems_without_groups().flat_map(|problems| problems.iter())
    }

    fn problems_without_groups(&self) -> impl Iterator<Item = &Problems> {
        let tables = [
            self.flags.problems(),
            self.segments.problems(),
            self.allowed_users.problems(),
            self.values.problems(),
            self.plans.problems(),
            self.experiments.problems(),
        ];
        tables.into_iter().flatten().chain([&self.missing_names])
    }
}
