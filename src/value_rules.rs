//! What the rules of a value give, and to whom.

use std::sync::Arc;

use crate::bucketing_unit::VISITOR;
use crate::counters::ResultCounters;
use crate::evaluate::Evaluation;
use crate::row_rules::RowRules;
use crate::rules::Rules;
use crate::stored_value::StoredValue;
use crate::targeting::{Dependent, Targeting, attributes};

/// The rules of a value and their results.
#[derive(Debug, PartialEq)]
pub struct ValueRules {
    /// The rules, and what their percentages bucket by.
    pub targeting: Targeting,
    /// What each rule gives, in order; none if the rules could never be read.
    results: Box<[StoredValue]>,
    /// How often each result was returned.
    pub counters: Arc<ResultCounters>,
}

impl ValueRules {
    /// The rules of a row, shared with what it had `before` if they are the same. `None` without
    /// rules. `key` is the key of the value.
    #[must_use]
    pub fn next(
        key: &Arc<str>,
        before: Option<&Arc<Self>>,
        rules: Option<Arc<RowRules>>,
        bucket_by: Option<Box<str>>,
    ) -> Option<Arc<Self>> {
        let rules = rules?;
        if let Some(before) = before.filter(|before| before.has(&rules, bucket_by.as_deref())) {
            return Some(before.clone());
        }
        let results = rules
            .rules()
            .map(|rules| rules.results().iter().map(|text| StoredValue::from_json(text)).collect());
        let results: Box<[_]> = results.unwrap_or_default();
        let kept = before.map(|before| &before.counters);
        let kept = kept.filter(|kept| kept.rules() == results.len() && kept.key == *key).cloned();
        let new = || Arc::new(ResultCounters::new(key.clone(), results.len()));
        let counters = kept.unwrap_or_else(new);
        let targeting = Targeting { rules: Some(rules), bucket_by, watch: None };
        Some(Arc::new(Self { targeting, results, counters }))
    }

    /// Counts a result. The caller holds the GIL.
    #[inline]
    pub fn count(&self, decided: Evaluation) {
        self.counters.count(decided.rule.filter(|_| decided.value).unwrap_or(0));
    }

    fn has(&self, rules: &Arc<RowRules>, bucket_by: Option<&str>) -> bool {
        let own = self.targeting.rules.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, rules))
            && self.targeting.bucket_by.as_deref() == bucket_by
    }

    /// The rules, `None` if they could never be read.
    #[must_use]
    pub fn rules(&self) -> Option<&Rules> {
        self.targeting.rules.as_ref()?.rules()
    }

    /// What the rule that decided gives, `None` for the value itself.
    #[must_use]
    #[inline]
    pub fn result_of(&self, decided: Evaluation) -> Option<&StoredValue> {
        let number = decided.rule.filter(|_| decided.value)?;
        self.results.get(usize::from(number).checked_sub(1)?)
    }

    /// The attribute that its percentages bucket by, `None` for the user or without a percentage
    /// from 1 to 99.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.targeting.bucket_by.as_deref().filter(|_| self.splits())
    }

    fn splits(&self) -> bool {
        self.rules().is_some_and(Rules::splits)
    }
}

impl Dependent for ValueRules {
    fn depends_on_subject(&self) -> bool {
        // A visitor stays the same when the user logs in.
        let by_user = self.targeting.bucket_by.as_deref() != Some(VISITOR);
        self.rules().is_some_and(|rules| !rules.attributes().is_empty())
            || (self.splits() && by_user)
    }

    fn depends_on_key(&self) -> bool {
        self.targeting.bucket_by.is_none() && self.splits()
    }

    fn attributes(&self) -> impl Iterator<Item = &str> {
        attributes(self.rules(), self.unit())
    }
}
