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
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Option<Box<str>>,
    pub(super) conditions: Box<[Condition]>,
    pub(super) rollout_percent: u8,
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
