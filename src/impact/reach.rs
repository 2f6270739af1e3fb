//! How many subjects a state of a flag reaches, and by which rule.

use crate::evaluate::at_percentage;
use crate::flag::Flag;
use crate::rules::{Attributes, Match};
use crate::subject::Subject;
use crate::targeting::Targeting;

/// The subjects for whom a rule decides, or the rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The number of subjects for whom it decides.
    pub subjects: u64,
    /// The number of them who have the flag.
    pub on: u64,
    /// The number of further subjects for whom it may decide: that depends on unknown attributes.
    pub unsure: u64,
}

/// The subjects that a state of a flag reaches.
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
        let targeting = flag.targeting.as_deref();
        let mut results = Results::default();
        if let Some(rules) = targeting.and_then(|targeting| targeting.rules.as_ref()) {
            // Rules that cannot be read: the result is the caller's default.
            let rules = rules.rules()?;
            let matches = rules.matches(inputs.attributes, inputs.is_known);
            for (index, (percent, found)) in matches.enumerate() {
                if self.rules.len() <= index {
                    self.rules.push(Decided::default());
                }
                if found != Match::No {
                    let value = inputs.at(targeting, percent.into());
                    results.add(&mut self.rules[index], value, found);
                }
                if found == Match::Yes {
                    return results.only();
                }
            }
        }
        let value = inputs.at(targeting, flag.rollout_percent);
        results.add(&mut self.others, value, Match::Yes);
        results.only()
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
struct Results {
    on: bool,
    off: bool,
}

impl Results {
    /// Adds the result where a rule matches, or the rollout decides, and counts the subject there.
    fn add(&mut self, decided: &mut Decided, value: Option<bool>, found: Match) {
        if found == Match::Yes && !(self.on || self.off) {
            decided.subjects += 1;
            decided.on += u64::from(value == Some(true));
        } else {
            decided.unsure += 1;
        }
        self.on |= value != Some(false);
        self.off |= value != Some(true);
    }

    /// The only result; `None` if there are two.
    fn only(&self) -> Option<bool> {
        (self.on != self.off).then_some(self.on)
    }
}
