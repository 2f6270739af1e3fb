//! Conditions on attributes, buckets, flags and segments, and what comes of each.

use std::sync::Arc;

use super::attributes::{Attribute, Attributes};
use super::matching::Test;
use crate::bucket::hundredths;

/// What came of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is true.
    Passed,
    /// It is false.
    Failed,
    /// It is false, because its attribute, unit, flag or segment is missing.
    Missing,
    /// It is false, because its attribute needs the user object.
    NeedsUser,
    /// It is false, because none of its values can match an attribute of this type.
    TypeMismatch,
}

impl Outcome {
    /// What comes of a condition whose attribute, unit or flag is there.
    fn of(is_true: bool) -> Self {
        if is_true { Self::Passed } else { Self::Failed }
    }
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
                Some(matches) => Outcome::of(matches != self.negate),
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

/// A condition on the bucket of the unit that the percentages of the row bucket by.
#[derive(Debug)]
pub(super) struct BucketCondition {
    /// What the unit is hashed with.
    pub(super) name: Box<str>,
    /// The first bucket of which it is false, in hundredths; of which it is true if it is negated.
    pub(super) end: u16,
    pub(super) negate: bool,
}

impl BucketCondition {
    fn outcome(&self, attributes: &impl Attributes) -> Outcome {
        let is_below = attributes.unit(|unit| hundredths(&self.name, unit) < self.end);
        is_below.map_or(Outcome::Missing, |is_below| Outcome::of(is_below != self.negate))
    }
}

/// A condition on the result of another flag.
#[derive(Debug)]
pub(super) struct FlagCondition {
    pub(super) key: Box<str>,
    pub(super) is: bool,
}

impl FlagCondition {
    fn outcome(&self, attributes: &impl Attributes) -> Outcome {
        attributes.flag(&self.key).map_or(Outcome::Missing, |value| Outcome::of(value == self.is))
    }
}

/// A condition that segments may have, too.
#[derive(Debug)]
pub(super) enum PlainCondition {
    Attribute(AttributeCondition),
    Bucket(BucketCondition),
    Flag(FlagCondition),
}

impl PlainCondition {
    #[inline]
    pub(super) fn outcome(&self, attributes: &impl Attributes) -> Outcome {
        match self {
            Self::Attribute(condition) => condition.outcome(attributes),
            Self::Bucket(condition) => condition.outcome(attributes),
            Self::Flag(condition) => condition.outcome(attributes),
        }
    }

    /// Whether it is true; `None` if the flag that it needs is off, so that it decides nothing.
    fn known(&self, attributes: &impl Attributes) -> Option<bool> {
        let outcome = self.outcome(attributes);
        let is_off = outcome == Outcome::Missing && self.needs_flag();
        (!is_off).then_some(outcome == Outcome::Passed)
    }

    fn needs_flag(&self) -> bool {
        matches!(self, Self::Flag(_))
    }

    fn reads_bucket(&self, name: &str) -> bool {
        matches!(self, Self::Bucket(condition) if *condition.name == *name)
    }
}

/// The conditions of a segment. It contains the subjects for whom all are true.
#[derive(Debug)]
pub struct SegmentConditions {
    pub(super) text: Box<str>,
    pub(super) conditions: Box<[PlainCondition]>,
    pub(super) patterns: usize,
}

/// The segments that rules name, in the order of [`Condition::Segment`]'s index. `None` for one
/// that does not exist.
pub(super) type Segments = [Option<Arc<SegmentConditions>>];

/// A condition of a rule.
#[derive(Debug)]
pub(super) enum Condition {
    Plain(PlainCondition),
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
            Self::Plain(condition) => condition.outcome(attributes) == Outcome::Passed,
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

    /// Whether it depends on the bucket with this name.
    pub(super) fn reads_bucket(&self, name: &str, segments: &Segments) -> bool {
        match self {
            Self::Plain(condition) => condition.reads_bucket(name),
            Self::Segment { index, .. } => segments[*index].as_ref().is_some_and(|segment| {
                segment.conditions.iter().any(|condition| condition.reads_bucket(name))
            }),
        }
    }

    /// Whether the condition is true; `None` if it is false only because a flag that it needs is off.
    pub(super) fn known(&self, segments: &Segments, attributes: &impl Attributes) -> Option<bool> {
        let (index, negate) = match self {
            Self::Plain(condition) => return condition.known(attributes),
            Self::Segment { index, negate } => (*index, *negate),
        };
        let Some(segment) = segments.get(index).and_then(Option::as_ref) else {
            return Some(false);
        };
        let mut is_off = false;
        for condition in &segment.conditions {
            match condition.outcome(attributes) {
                Outcome::Passed => {}
                Outcome::Failed if negate => return Some(true),
                Outcome::Missing if condition.needs_flag() => is_off = true,
                _ if negate => {}
                _ => return Some(false),
            }
        }
        (!is_off).then_some(!negate)
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
