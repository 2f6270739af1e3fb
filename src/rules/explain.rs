//! What came of each rule and each condition.

use super::attributes::Attributes;
use super::condition::{Condition, Outcome, PlainCondition, of_segment};
use super::decide::Rules;
use super::parsed::Rule;
use crate::bucket::hundredths;

/// What came of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Its position, 1 for the first rule.
    pub number: u8,
    /// Its name.
    pub name: Option<Box<str>>,
    /// The percentage of the subjects that match who have the flag.
    pub rollout_percent: u8,
    /// Its conditions.
    pub conditions: Vec<ExplainedCondition>,
    /// Whether it decides the result: it is the first rule whose conditions are all true.
    pub decides: bool,
}

/// What came of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCondition {
    /// What the condition is about.
    pub about: About,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The attribute of this name.
    Attribute(Box<str>),
    /// The bucket of the unit, in hundredths; `None` without a unit.
    Bucket(Option<u16>),
    /// The flag with this key.
    Flag(Box<str>),
    /// The segment with this key.
    Segment {
        /// Its key.
        key: Box<str>,
        /// Its conditions, `None` if it does not exist.
        conditions: Option<Vec<ExplainedCondition>>,
    },
}

impl Rules {
    /// What comes of each rule, also of those after the one that decides.
    #[must_use]
    pub fn explain(&self, attributes: &impl Attributes) -> Vec<ExplainedRule> {
        let decided = self.decide(attributes).map(|decision| decision.number);
        let explained = |(rule, number): (&Rule, u8)| ExplainedRule {
            number,
            name: rule.name.clone(),
            rollout_percent: rule.rollout_percent,
            conditions: self.explain_conditions(rule, attributes),
            decides: decided == Some(number),
        };
        self.parsed.rules.iter().zip(1..).map(explained).collect()
    }

    fn explain_conditions(
        &self,
        rule: &Rule,
        attributes: &impl Attributes,
    ) -> Vec<ExplainedCondition> {
        let explained = |condition: &Condition| match condition {
            Condition::Plain(condition) => explain(condition, attributes),
            Condition::Segment { index, negate } => {
                self.explain_segment(*index, *negate, attributes)
            }
        };
        rule.conditions.iter().map(explained).collect()
    }

    fn explain_segment(
        &self,
        index: usize,
        negate: bool,
        attributes: &impl Attributes,
    ) -> ExplainedCondition {
        let key = self.parsed.segments[index].clone();
        let conditions: Option<Vec<_>> = self.segments[index].as_ref().map(|segment| {
            segment.conditions.iter().map(|condition| explain(condition, attributes)).collect()
        });
        let outcome = match &conditions {
            None => Outcome::Missing,
            Some(conditions) => {
                let outcomes: Vec<_> =
                    conditions.iter().map(|condition| condition.outcome).collect();
                of_segment(&outcomes, negate)
            }
        };
        ExplainedCondition { about: About::Segment { key, conditions }, outcome }
    }
}

fn explain(condition: &PlainCondition, attributes: &impl Attributes) -> ExplainedCondition {
    let about = match condition {
        PlainCondition::Attribute(condition) => About::Attribute(condition.attribute.clone()),
        PlainCondition::Bucket(condition) => {
            About::Bucket(attributes.unit(|unit| hundredths(&condition.name, unit)))
        }
        PlainCondition::Flag(condition) => About::Flag(condition.key.clone()),
    };
    ExplainedCondition { about, outcome: condition.outcome(attributes) }
}
