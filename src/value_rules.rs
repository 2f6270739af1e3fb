//! What the rules of a value give, and to whom.

use std::sync::Arc;

use crate::bucketing_unit::VISITOR;
use crate::counters::ResultCounters;
use crate::declared::{DeclaredValue, Misfit};
use crate::evaluate::Evaluation;
use crate::row_rules::RowRules;
use crate::rules::Rules;
use crate::stored_value::StoredValue;
use crate::targeting::{Dependent, Targeting, attributes};

/// Replaces what the value cannot be by its default. Returns why, by the numbers of the rules.
fn replace(results: &mut [StoredValue], declared: &DeclaredValue) -> Box<[(usize, Misfit)]> {
    let mut misfits = Vec::new();
    for (number, result) in (1..).zip(results) {
        if let Some(misfit) = declared.misfit(result) {
            *result = declared.default.clone();
            misfits.push((number, misfit));
        }
    }
    misfits.into()
}

/// The rules of a value and their results.
#[derive(Debug, PartialEq)]
pub struct ValueRules {
    /// The rules, and what their percentages bucket by.
    pub targeting: Targeting,
    /// What each rule gives, in order; none if the rules could never be read. The declared default
    /// in place of what the value cannot be.
    results: Box<[StoredValue]>,
    /// Why it cannot be the result of a rule, by the number of the rule.
    misfits: Box<[(usize, Misfit)]>,
    declared: Option<Arc<DeclaredValue>>,
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
        declared: Option<&Arc<DeclaredValue>>,
    ) -> Option<Arc<Self>> {
        let rules = rules?;
        let is_same = |before: &&Arc<Self>| {
            before.has(&rules, bucket_by.as_deref()) && before.declared.as_ref() == declared
        };
        if let Some(before) = before.filter(is_same) {
            return Some(before.clone());
        }
        let results = rules
            .rules()
            .map(|rules| rules.results().iter().map(|text| StoredValue::from_json(text)).collect());
        let mut results: Box<[_]> = results.unwrap_or_default();
        let misfits =
            declared.map_or_else(Box::default, |declared| replace(&mut results, declared));
        let kept = before.map(|before| &before.counters);
        let kept = kept.filter(|kept| kept.rules() == results.len() && kept.key == *key).cloned();
        let new = || Arc::new(ResultCounters::new(key.clone(), results.len()));
        let counters = kept.unwrap_or_else(new);
        let targeting = Targeting { rules: Some(rules), bucket_by, watch: None };
        let declared = declared.cloned();
        Some(Arc::new(Self { targeting, results, misfits, declared, counters }))
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

    /// What each rule gives, in order.
    pub fn results(&self) -> impl Iterator<Item = &StoredValue> {
        self.results.iter()
    }

    /// Why it cannot be the results of rules, by the numbers of the rules.
    pub fn misfits(&self) -> impl Iterator<Item = (usize, Misfit)> {
        self.misfits.iter().copied()
    }

    /// Whether the rule that decided gives something else than code declares.
    #[must_use]
    pub fn is_misfit(&self, decided: Evaluation) -> bool {
        let number = decided.rule.filter(|_| decided.value).map(usize::from);
        self.misfits.iter().any(|(rule, _)| Some(*rule) == number)
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
        let reads = |rules: &Rules| !rules.attributes().is_empty() || rules.needs().on_subject;
        self.rules().is_some_and(reads) || (self.splits() && by_user)
    }

    fn depends_on_key(&self) -> bool {
        (self.targeting.bucket_by.is_none() && self.splits())
            || self.rules().is_some_and(|rules| rules.needs().on_key)
    }

    fn attributes(&self) -> impl Iterator<Item = &str> {
        attributes(self.rules(), self.unit())
    }
}
