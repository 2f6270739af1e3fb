//! Conditions of attributes and of segments, and what comes of each.

use std::sync::Arc;

use super::attributes::{Attribute, Attributes};
use super::matching::Test;

/// What came of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true.
    Passed,
    /// It is false.
    Failed,
    /// It is false, because its attribute or segment is missing.
    Missing,
    /// It is false, because its attribute needs the user object.
    NeedsUser,
    /// It is false, because none of its values can match an attribute of this type.
    TypeMismatch,
}

/// A condition on one attribute.
#[derive(Debug)]
pub(super) struct AttributeCondition {
    pub(super) attribute: Box<str>,
    pub(super) test: Test,
    pub(super) negate: bool,
}

impl AttributeCondition {
    #[inline]
    pub(super) fn outcome(&self, attributes: &impl Attributes) -> Outcome {
        attributes.read(&self.attribute, |attribute| match attribute {
            Attribute::Value(value) => match self.test.matches(&value, attributes) {
                Some(matches) if matches != self.negate => Outcome::Passed,
                Some(_) => Outcome::Failed,
                None => Outcome::TypeMismatch,
            },
            Attribute::Missing | Attribute::NeedsUser if self.accepts_missing() => Outcome::Passed,
            Attribute::Missing | Attribute::Unknown => Outcome::Missing,
            Attribute::NeedsUser => Outcome::NeedsUser,
        })
    }

    fn accepts_missing(&self) -> bool {
        matches!(self.test, Test::IsNull(is_null) if is_null != self.negate)
    }
}

/// The conditions of a segment. It contains the subjects for whom all are true.
#[derive(Debug)]
pub struct SegmentConditions {
    pub(super) text: Box<str>,
    pub(super) conditions: Box<[AttributeCondition]>,
    pub(super) patterns: usize,
}

/// The segments that rules name, in the order of [`Condition::Segment`]'s index. `None` for one
/// that does not exist.
pub(super) type Segments = [Option<Arc<SegmentConditions>>];

/// A condition of a rule.
#[derive(Debug)]
pub(super) enum Condition {
    Attribute(AttributeCondition),
    /// The index of the segment among those that the rules name.
    Segment {
        index: usize,
        negate: bool,
    },
}

impl Condition {
    /// Whether the condition is true. Reads no attribute after the one that decides.
    pub(super) fn passes(&self, segments: &Segments, attributes: &impl Attributes) -> bool {
        match self {
            Self::Attribute(condition) => condition.outcome(attributes) == Outcome::Passed,
            Self::Segment { index, negate } => {
                let Some(segment) = segments.get(*index).and_then(Option::as_ref) else {
                    return false;
                };
                let mut outcomes =
                    segment.conditions.iter().map(|condition| condition.outcome(attributes));
                if *negate {
                    outcomes.any(|outcome| outcome == Outcome::Failed)
                } else {
                    outcomes.all(|outcome| outcome == Outcome::Passed)
                }
            }
        }
    }
}

/// What came of a segment whose conditions have these outcomes.
pub(super) fn of_segment(conditions: &[Outcome], negate: bool) -> Outcome {
    let has = |outcome| conditions.contains(&outcome);
    if has(Outcome::Failed) {
        return if negate { Outcome::Passed } else { Outcome::Failed };
    }
    let unknown = [Outcome::NeedsUser, Outcome::Missing, Outcome::TypeMismatch];
    match unknown.into_iter().find(|outcome| has(*outcome)) {
        Some(unknown) => unknown,
        None if negate => Outcome::Failed,
        None => Outcome::Passed,
    }
}
