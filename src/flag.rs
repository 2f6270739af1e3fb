//! A flag as it is evaluated: enabled or not, allowed users, rules, rollout.

use std::sync::Arc;

use crate::bucketing_unit::VISITOR;
use crate::counters::{Bulk, Counters};
use crate::primary_key::PrimaryKey;
use crate::row_rules::RowRules;
use crate::rules::{Needs, Rules};
use crate::targeting::{Dependent, Targeting, attributes};
use crate::user_set::UserSet;
use crate::watch::Watch;

/// What all versions of a flag share, and only one row has.
#[derive(Debug, PartialEq)]
pub struct Identity {
    /// The key that the code evaluates.
    pub key: Box<str>,
    /// The primary key of its row. The next load finds its allowed users by it.
    pub pk: PrimaryKey,
    /// How often it was evaluated.
    pub counters: Counters,
}

/// A flag as it is evaluated. Cloning it allocates nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// Its key, its row and its counts.
    pub identity: Arc<Identity>,
    /// A disabled flag is off for all users.
    pub enabled: bool,
    /// The rollout in percent. At 100 and above all users have the flag; at 0 and below none,
    /// except the allowed users.
    pub rollout_percent: i32,
    /// Whether browsers may read it. Does not affect the result.
    pub client_side: bool,
    /// The users who have the flag regardless of the rollout.
    pub allowed_users: Arc<UserSet>,
    /// Its rules, bucketing unit and watch, `None` if it has no rules, buckets by the user, and is
    /// not watched.
    pub targeting: Option<Arc<Targeting>>,
}

impl Identity {
    /// A flag that was not evaluated yet.
    #[must_use]
    pub fn new(key: Box<str>, pk: PrimaryKey) -> Self {
        Self { key, pk, counters: Counters::default() }
    }
}

impl Flag {
    /// Counts a result.
    #[inline]
    pub fn count(&self, result: bool) {
        self.identity.counters.count(result);
    }

    /// Notes that it was served in bulk.
    #[inline]
    pub fn serve(&self, bulk: Bulk) {
        self.identity.counters.serve(bulk);
    }

    /// Its rules, `None` if it has none.
    #[must_use]
    pub fn rules(&self) -> Option<&Arc<RowRules>> {
        self.targeting.as_ref()?.rules.as_ref()
    }

    /// The attribute that its percentages bucket by, `None` for the user's primary key.
    #[must_use]
    pub fn bucket_by(&self) -> Option<&str> {
        self.targeting.as_ref()?.bucket_by.as_deref()
    }

    /// What is measured for its rollout plan.
    #[must_use]
    pub fn watch(&self) -> Option<&Arc<Watch>> {
        self.targeting.as_ref()?.watch.as_ref()
    }

    /// The same as `bucket_by`, `None` also for a flag without a percentage from 1 to 99.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.bucket_by().filter(|_| self.splits())
    }

    /// Whether conditions can read its result: an evaluation follows the flags that it needs.
    #[must_use]
    pub fn can_be_needed(&self) -> bool {
        let rules = self.rules().and_then(|rules| rules.rules());
        rules.is_none_or(|rules| rules.needs().depth < Needs::MAX_DEPTH)
    }

    /// Whether it has a row: one that code declares need not.
    #[must_use]
    pub fn has_row(&self) -> bool {
        self.identity.pk != PrimaryKey::None
    }

    fn rollout_or_users_depend(&self) -> bool {
        self.rollout_percent > 0 || !self.allowed_users.is_empty()
    }

    #[inline(never)]
    fn depends_with(&self, targeting: &Targeting) -> bool {
        let rules = targeting.rules.as_deref();
        if rules.is_some_and(|rules| rules.rules().is_none()) {
            return !self.allowed_users.is_empty();
        }
        let reads = |rules: &Rules| !rules.attributes().is_empty() || rules.needs().on_subject;
        rules.and_then(RowRules::rules).is_some_and(reads)
            // A visitor stays the same when the user logs in.
            || (targeting.bucket_by.as_deref() != Some(VISITOR) && self.splits())
            || (self.rollout_percent < 100 && !self.allowed_users.is_empty())
    }

    /// Whether the rollout, or that of a rule, includes some and not all.
    fn splits(&self) -> bool {
        let rules = self.rules().and_then(|rules| rules.rules());
        self.rollout_splits() || rules.is_some_and(Rules::splits)
    }

    fn rollout_splits(&self) -> bool {
        (1..100).contains(&self.rollout_percent)
    }
}

impl Dependent for Flag {
    fn depends_on_subject(&self) -> bool {
        self.enabled
            && match &self.targeting {
                None => self.rollout_percent < 100 && self.rollout_or_users_depend(),
                Some(targeting) => self.depends_with(targeting),
            }
    }

    fn depends_on_key(&self) -> bool {
        let rules = self.rules().and_then(|rules| rules.rules());
        !self.allowed_users.is_empty()
            || (self.bucket_by().is_none() && self.splits())
            || rules.is_some_and(|rules| rules.needs().on_key)
    }

    fn attributes(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules().and_then(|rules| rules.rules());
        attributes(rules, self.unit()).filter(|_| self.enabled)
    }
}
