//! What most flags do not have: rules, and a bucketing unit other than the user.

use std::sync::Arc;

use crate::flag_rules::FlagRules;

/// The rules of a flag, and what its percentages bucket by. At least one of them is set.
#[derive(Debug, PartialEq)]
pub struct Targeting {
    /// Its rules, `None` if it has none.
    pub rules: Option<Arc<FlagRules>>,
    /// The attribute that its percentages bucket by, `None` for the user's primary key.
    pub bucket_by: Option<Box<str>>,
}

impl Targeting {
    /// `None` for a flag without rules that buckets by the user.
    #[must_use]
    pub fn new(rules: Option<Arc<FlagRules>>, bucket_by: Option<Box<str>>) -> Option<Arc<Self>> {
        let is_needed = rules.is_some() || bucket_by.is_some();
        is_needed.then(|| Arc::new(Self { rules, bucket_by }))
    }

    /// The same with these rules. Shared with `before` if they are those that it has.
    #[must_use]
    pub fn with_rules(
        before: Option<&Arc<Self>>,
        rules: Option<Arc<FlagRules>>,
    ) -> Option<Arc<Self>> {
        Self::next(before, rules, before.and_then(|before| before.bucket_by.clone()))
    }

    /// What a row has now, shared with what it had `before` if it is the same.
    #[must_use]
    pub fn next(
        before: Option<&Arc<Self>>,
        rules: Option<Arc<FlagRules>>,
        bucket_by: Option<Box<str>>,
    ) -> Option<Arc<Self>> {
        let is_same = |before: &&Arc<Self>| {
            before.bucket_by == bucket_by
                && before.rules.as_ref().map(Arc::as_ptr) == rules.as_ref().map(Arc::as_ptr)
        };
        match before.filter(is_same) {
            Some(before) => Some(before.clone()),
            None => Self::new(rules, bucket_by),
        }
    }
}
