//! A flag as it is evaluated: enabled or not, allowed users, rules, rollout.

use std::sync::Arc;

use crate::allowed_users::AllowedUsers;
use crate::counters::Counters;
use crate::flag_rules::FlagRules;
use crate::primary_key::PrimaryKey;
use crate::rules::Rules;

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
    pub allowed_users: Arc<AllowedUsers>,
    /// Its targeting rules, `None` if it has none.
    pub rules: Option<Arc<FlagRules>>,
}

impl Identity {
    /// A flag that was not evaluated yet.
    #[must_use]
    pub fn new(key: Box<str>, pk: PrimaryKey) -> Self {
        Self { key, pk, counters: Counters::new() }
    }
}

impl Flag {
    /// A flag without rules outside a snapshot, whose evaluations are not collected.
    #[must_use]
    pub fn detached(enabled: bool, rollout_percent: i32, allowed_users: Arc<AllowedUsers>) -> Self {
        let identity = Identity::new(Box::default(), PrimaryKey::from("")).into();
        Self { identity, enabled, rollout_percent, client_side: false, allowed_users, rules: None }
    }

    /// Counts a result.
    #[inline]
    pub fn count(&self, result: bool) {
        self.identity.counters.count(result);
    }

    /// Whether the result can differ between users.
    ///
    /// If not, every subject gets the result of an anonymous one, and the caller need not read the
    /// user: an unevaluated `request.user` costs a query.
    #[must_use]
    pub fn depends_on_subject(&self) -> bool {
        self.enabled
            && match &self.rules {
                None => self.rollout_percent < 100 && self.rollout_or_users_depend(),
                Some(rules) => self.depends_with(rules),
            }
    }

    fn rollout_or_users_depend(&self) -> bool {
        self.rollout_percent > 0 || !self.allowed_users.is_empty()
    }

    /// Whether the result can depend on the primary key: on the bucket, or on the allowed users.
    #[must_use]
    pub fn depends_on_key(&self) -> bool {
        let splits = |percent: i32| (1..100).contains(&percent);
        let rules = self.rules.as_deref().and_then(FlagRules::rules);
        splits(self.rollout_percent)
            || !self.allowed_users.is_empty()
            || rules.is_some_and(Rules::splits)
    }

    #[inline(never)]
    fn depends_with(&self, rules: &FlagRules) -> bool {
        let has_split = (1..100).contains(&self.rollout_percent);
        match rules.rules() {
            None => !self.allowed_users.is_empty(),
            Some(rules) => {
                !rules.attributes().is_empty()
                    || has_split
                    || (self.rollout_percent < 100 && !self.allowed_users.is_empty())
            }
        }
    }
}
