//! The rules that may match a subject of which some attributes are unknown.

use super::attributes::Attributes;
use super::condition::{AttributeCondition, Condition, Outcome};
use super::decide::Rules;

/// Whether a rule matches, as far as the known attributes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It does, whatever the unknown attributes are.
    Yes,
    /// It does not, whatever they are.
    No,
    /// That depends on them.
    Maybe,
}

impl Match {
    fn of(is_true: bool) -> Self {
        if is_true { Self::Yes } else { Self::No }
    }

    /// Whether all are true.
    fn all(matches: impl Iterator<Item = Self>) -> Self {
        let mut found = Self::Yes;
        for one in matches {
            match one {
                Self::Yes => {}
                Self::No => return Self::No,
                Self::Maybe => found = Self::Maybe,
            }
        }
        found
    }

    /// Whether one is true.
    fn any(matches: impl Iterator<Item = Self>) -> Self {
        Self::all(matches.map(Self::not)).not()
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
        }
    }
}

impl Rules {
    /// The percentage of each rule, in order, and whether it matches. `is_known` says of the name of an
    /// attribute whether `attributes` has its value.
    pub fn matches(
        &self,
        attributes: &impl Attributes,
        is_known: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (u8, Match)> {
        self.parsed.rules.iter().map(move |rule| {
            let found = rule.conditions.iter();
            let matches = found.map(|condition| self.possible(condition, attributes, &is_known));
            (rule.rollout_percent, Match::all(matches))
        })
    }

    fn possible(
        &self,
        condition: &Condition,
        attributes: &impl Attributes,
        is_known: &impl Fn(&str) -> bool,
    ) -> Match {
        let has = |condition: &AttributeCondition, outcome: Outcome| {
            if is_known(&condition.attribute) {
                Match::of(condition.outcome(attributes) == outcome)
            } else {
                Match::Maybe
            }
        };
        match condition {
            Condition::Attribute(condition) => has(condition, Outcome::Passed),
            Condition::Segment { index, negate } => {
                let Some(segment) = self.segments.get(*index).and_then(Option::as_ref) else {
                    return Match::No;
                };
                let conditions = segment.conditions.iter();
                if *negate {
                    Match::any(conditions.map(|condition| has(condition, Outcome::Failed)))
                } else {
                    Match::all(conditions.map(|condition| has(condition, Outcome::Passed)))
                }
            }
        }
    }
}
