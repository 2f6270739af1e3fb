//! How many subjects a state of a flag or a value reaches, and by which rule.

use super::value::ValueState;
use crate::evaluate::at_percentage;
use crate::flag::Flag;
use crate::rules::{Attributes, Match};
use crate::subject::Subject;
use crate::targeting::Targeting;

/// The subjects for whom a rule decides, or the rollout.
///
/// A subject has a value by a rule as it has a flag: if it gets what the rule gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The number of subjects for whom it decides.
    pub subjects: u64,
    /// The number of them who have the flag.
    pub on: u64,
    /// The number of further subjects for whom it may decide: that depends on unknown attributes.
    pub unsure: u64,
}

/// The subjects that a state of a flag reaches: those who have it. Those of a value have another one
/// than the value itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The number of subjects who have the flag.
    pub on: u64,
    /// The number of further subjects who may have it: that depends on unknown attributes.
    pub unsure: u64,
    /// The number of allowed users among those who have it.
    pub allowed: u64,
    /// The subjects for whom each rule decides, in order.
    pub rules: Vec<Decided>,
    /// The subjects for whom the rollout decides.
    pub others: Decided,
}

/// What a result depends on.
pub(super) struct Inputs<'a, A, K> {
    pub(super) key: &'a str,
    pub(super) subject: &'a Subject<'a>,
    pub(super) attributes: &'a A,
    /// Whether the attributes have the value of this name.
    pub(super) is_known: &'a K,
}

impl Reach {
    /// Counts a subject. Returns whether it has the flag; `None` if that depends on unknown attributes.
    pub(super) fn count<A: Attributes, K: Fn(&str) -> bool>(
        &mut self,
        flag: &Flag,
        inputs: &Inputs<'_, A, K>,
    ) -> Option<bool> {
        let value = self.value(flag, inputs);
        self.on += u64::from(value == Some(true));
        self.unsure += u64::from(value.is_none());
        value
    }

    fn value<A: Attributes, K: Fn(&str) -> bool>(
        &mut self,
        flag: &Flag,
        inputs: &Inputs<'_, A, K>,
    ) -> Option<bool> {
        if !flag.enabled {
            return Some(false);
        }
        if flag.allowed_users.contains(inputs.subject) {
            self.allowed += 1;
            return Some(true);
        }
        let mut results = Results::default();
        self.decide(flag.targeting.as_deref(), flag.rollout_percent, inputs, |_, within| {
            results.add_each(within, true, false);
        })?;
        results.only()
    }

    /// Counts a subject. Returns the JSON text of the result; `None` if that depends on unknown
    /// attributes.
    pub(super) fn count_value<'a, A: Attributes, K: Fn(&str) -> bool>(
        &mut self,
        value: &'a ValueState,
        inputs: &Inputs<'_, A, K>,
    ) -> Option<&'a str> {
        let (mut results, own) = (Results::default(), &*value.own);
        let decided = self.decide(value.targeting.as_deref(), 0, inputs, |rule, within| {
            results.add_each(within, value.result(rule), own);
        });
        let result = decided.and_then(|()| results.only());
        self.on += u64::from(result.is_some_and(|result| result != own));
        self.unsure += u64::from(result.is_none());
        result
    }

    /// Counts a subject for all that may decide its result. Calls `add` with the number of each such
    /// rule, 0 for the rollout, and whether the subject is within the percentage, if that is known.
    ///
    /// Returns `None` if the rules cannot be read: the result is the caller's default.
    fn decide<A: Attributes, K: Fn(&str) -> bool>(
        &mut self,
        targeting: Option<&Targeting>,
        rollout_percent: i32,
        inputs: &Inputs<'_, A, K>,
        mut add: impl FnMut(usize, Option<bool>),
    ) -> Option<()> {
        let mut is_sure = true;
        if let Some(rules) = targeting.and_then(|targeting| targeting.rules.as_ref()) {
            let matches = rules.rules()?.matches(inputs.attributes, inputs.is_known);
            for (index, (percent, found)) in matches.enumerate() {
                if self.rules.len() <= index {
                    self.rules.push(Decided::default());
                }
                if found == Match::No {
                    continue;
                }
                is_sure &= found == Match::Yes;
                let within = inputs.at(targeting, percent.into());
                self.rules[index].add(within, is_sure);
                add(index + 1, within);
                if found == Match::Yes {
                    return Some(());
                }
            }
        }
        let within = inputs.at(targeting, rollout_percent);
        self.others.add(within, is_sure);
        add(0, within);
        Some(())
    }
}

impl Decided {
    /// Counts a subject for whom it decides, which `is_sure` or depends on unknown attributes.
    fn add(&mut self, within: Option<bool>, is_sure: bool) {
        self.subjects += u64::from(is_sure);
        self.on += u64::from(is_sure && within == Some(true));
        self.unsure += u64::from(!is_sure);
    }
}

impl<A: Attributes, K: Fn(&str) -> bool> Inputs<'_, A, K> {
    /// Whether the subject is within a percentage; `None` if its unit is unknown.
    fn at(&self, targeting: Option<&Targeting>, percent: i32) -> Option<bool> {
        let unit = targeting.and_then(|targeting| targeting.bucket_by.as_deref());
        if (1..100).contains(&percent) && unit.is_some_and(|unit| !(self.is_known)(unit)) {
            return None;
        }
        Some(at_percentage(self.key, targeting, percent, self.subject, self.attributes))
    }
}

/// The results that a subject may have.
#[derive(Default)]
struct Results<T> {
    found: Option<T>,
    differ: bool,
}

impl<T: Copy + PartialEq> Results<T> {
    /// Adds the result of a subject within a percentage, or the other one, or both if it is unknown
    /// whether it is within.
    fn add_each(&mut self, within: Option<bool>, result: T, other: T) {
        if within != Some(false) {
            self.add(result);
        }
        if within != Some(true) {
            self.add(other);
        }
    }

    fn add(&mut self, result: T) {
        self.differ |= self.found.is_some_and(|found| found != result);
        self.found = Some(result);
    }

    /// The only result; `None` if there are several.
    fn only(self) -> Option<T> {
        self.found.filter(|_| !self.differ)
    }
}
