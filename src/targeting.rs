//! What most flags and values do not have: rules, a bucketing unit other than the user, and a rollout
//! plan.

use std::sync::Arc;

use crate::row_rules::RowRules;
use crate::rules::Rules;
use crate::watch::Watch;

/// The rules of a row, what its percentages bucket by, and what is measured for its rollout plan.
/// At least one of them is set.
#[derive(Debug, PartialEq)]
pub struct Targeting {
    /// Its rules, `None` if it has none.
    pub rules: Option<Arc<RowRules>>,
    /// The attribute that its percentages bucket by, `None` for the user's primary key.
    pub bucket_by: Option<Box<str>>,
    /// What is measured for its rollout plan, `None` if no plan measures now.
    pub watch: Option<Arc<Watch>>,
}

/// What has rules: a flag, a value or an experiment.
pub trait Dependent {
    /// Whether the result can differ between users.
    ///
    /// If not, every subject gets the result of an anonymous one, and the caller need not read the
    /// user: an unevaluated `request.user` costs a query.
    fn depends_on_subject(&self) -> bool;

    /// Whether the result can depend on the primary key: on the bucket, or on the allowed users.
    fn depends_on_key(&self) -> bool;

    /// The names of the attributes that its rules and its bucketing unit read.
    fn attributes(&self) -> impl Iterator<Item = &str>;
}

/// The names of the attributes that rules and a bucketing unit read.
pub(crate) fn attributes<'a>(
    rules: Option<&'a Rules>,
    unit: Option<&'a str>,
) -> impl Iterator<Item = &'a str> {
    rules.into_iter().flat_map(Rules::attributes).map(|name| &**name).chain(unit)
}

impl Targeting {
    /// Whether there are rules that can be read. The last good ones of a row that had none are empty.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        let rules = self.rules.as_ref().and_then(|rules| rules.rules());
        rules.is_some_and(|rules| !rules.is_empty())
    }

    /// Those of a flag that no plan watches. `None` for a flag without rules that buckets by the
    /// user.
    #[must_use]
    pub fn new(rules: Option<Arc<RowRules>>, bucket_by: Option<Box<str>>) -> Option<Arc<Self>> {
        Self::next(None, rules, bucket_by, None)
    }

    /// What a row has now, shared with what it had `before` if it is the same.
    #[must_use]
    pub fn next(
        before: Option<&Arc<Self>>,
        rules: Option<Arc<RowRules>>,
        bucket_by: Option<Box<str>>,
        watch: Option<Arc<Watch>>,
    ) -> Option<Arc<Self>> {
        let is_same = |before: &&Arc<Self>| {
            before.bucket_by == bucket_by
                && before.rules.as_ref().map(Arc::as_ptr) == rules.as_ref().map(Arc::as_ptr)
                && before.watch.as_ref().map(Arc::as_ptr) == watch.as_ref().map(Arc::as_ptr)
        };
        if let Some(before) = before.filter(is_same) {
            return Some(before.clone());
        }
        let is_needed = rules.is_some() || bucket_by.is_some() || watch.is_some();
        is_needed.then(|| Arc::new(Self { rules, bucket_by, watch }))
    }
}
