//! Rules as they are parsed: each has a name, conditions and a rollout.

use super::condition::{Condition, SegmentConditions};

/// Parsed rules, in order, and the keys of the segments that they name.
#[derive(Debug, Default)]
pub struct ParsedRules {
    pub(super) text: Box<str>,
    pub(super) rules: Box<[Rule]>,
    /// In the order of [`Condition::Segment`]'s index.
    pub(super) segments: Box<[Box<str>]>,
    pub(super) patterns: usize,
    /// The JSON texts of the results of the rules of a value; empty for other rules.
    pub(super) results: Box<[Box<str>]>,
}

/// What rules decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Whether a flag is on, or whether a unit takes part in an experiment.
    Flag,
    /// Which value a key has: each rule has a value.
    Value,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Option<Box<str>>,
    pub(super) conditions: Box<[Condition]>,
    pub(super) rollout_percent: u8,
}

impl Rule {
    /// Whether it includes some of those who match and not all.
    pub(super) fn splits(&self) -> bool {
        (1..100).contains(&self.rollout_percent)
    }
}

impl ParsedRules {
    /// The JSON text that they were parsed from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of regular expressions.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns
    }

    /// The JSON texts of the results of the rules of a value, in order.
    #[must_use]
    pub fn results(&self) -> &[Box<str>] {
        &self.results
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl SegmentConditions {
    /// The JSON text that they were parsed from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of regular expressions.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.patterns
    }
}

/// The same text has the same meaning.
impl PartialEq for ParsedRules {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The same text has the same meaning.
impl PartialEq for SegmentConditions {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
