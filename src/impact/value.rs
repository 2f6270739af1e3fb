//! The number of subjects whose value would change with other rules, or another value itself.

use std::sync::Arc;

use super::Sample;
use super::reach::{Inputs, Reach};
use crate::rules::{Attributes, Rules};
use crate::subject::Subject;
use crate::targeting::Targeting;

/// A state of a value. Equal results have equal texts.
#[derive(Debug)]
pub struct ValueState {
    /// The JSON text of the value itself.
    pub own: Box<str>,
    /// Its rules, and what their percentages bucket by.
    pub targeting: Option<Arc<Targeting>>,
}

impl ValueState {
    /// The JSON text of what a rule gives; of the value itself for 0.
    pub(super) fn result(&self, rule: usize) -> &str {
        let rules = self.targeting.as_ref().and_then(|targeting| targeting.rules.as_ref()?.rules());
        let results = rules.map_or(&[][..], Rules::results);
        rule.checked_sub(1).and_then(|index| results.get(index)).unwrap_or(&self.own)
    }
}

/// The effect of another state of one value on the subjects that were counted.
#[derive(Debug)]
pub struct ValueImpact {
    key: Box<str>,
    states: (ValueState, ValueState),
    /// The number of users that were counted.
    pub users: u64,
    /// The number of them whose value would certainly change.
    pub changed: u64,
    /// The users who have another value than the value itself, before and after.
    pub reach: (Reach, Reach),
    sample: Sample,
}

impl ValueImpact {
    /// Compares two states of the value whose key is `key`. Keeps a sample of at most `sample_size`
    /// subjects whose value would change.
    #[must_use]
    pub fn between(key: &str, states: (ValueState, ValueState), sample_size: usize) -> Self {
        let (sample, reach) = (Sample::new(sample_size), Default::default());
        Self { key: key.into(), states, users: 0, changed: 0, reach, sample }
    }

    /// Counts one subject, as [`super::Impact::count_with`] does.
    pub fn count_with(
        &mut self,
        subject: &Subject<'_>,
        attributes: &impl Attributes,
        is_known: impl Fn(&str) -> bool,
    ) {
        let inputs = Inputs { key: &self.key, subject, attributes, is_known: &is_known };
        let before = self.reach.0.count_value(&self.states.0, &inputs);
        let after = self.reach.1.count_value(&self.states.1, &inputs);
        self.users += 1;
        if before.zip(after).is_some_and(|(before, after)| before != after) {
            self.changed += 1;
            self.sample.offer(subject);
        }
    }

    /// A random sample of the subjects whose value would change.
    #[must_use]
    pub fn into_sample(self) -> Vec<Box<str>> {
        self.sample.subjects
    }
}
