//! The rules of one row. Rules that cannot be read never hide the other columns of its row.

use std::sync::Arc;

use crate::last_good::LastGood;
use crate::row::{Fault, Unreadable};
use crate::rules::{Needs, ParsedRules, RuleKind, Rules, SegmentConditions};

/// The rules of one row: those that it has, or the last good ones.
#[derive(Debug, PartialEq)]
pub struct RowRules {
    source: LastGood<ParsedRules>,
    rules: Option<Rules>,
}

impl RowRules {
    /// No rules, and nothing that cannot be read.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Arc::new(Self::new(LastGood::of(ParsedRules::default()), |_| None))
    }

    /// The rules of a row's JSON text, after those `before`, with the segments that `segment`
    /// returns for their keys. `None` if there are no rules. Shares what has not changed.
    #[must_use]
    pub fn next(
        before: Option<&Arc<Self>>,
        text: Result<Box<str>, Fault>,
        kind: RuleKind,
        segment: impl Fn(&str) -> Option<Arc<SegmentConditions>>,
    ) -> Option<Arc<Self>> {
        let source = LastGood::next(before.map(|before| &before.source), text, |text| {
            ParsedRules::parse(text, kind)
        });
        if source.unreadable().is_none() && source.good().is_some_and(|rules| rules.is_empty()) {
            return None;
        }
        if let Some(before) = before.filter(|before| before.source == source) {
            return Some(before.with_segments(segment));
        }
        Some(Arc::new(Self::new(source, segment)))
    }

    fn new(
        source: LastGood<ParsedRules>,
        segment: impl Fn(&str) -> Option<Arc<SegmentConditions>>,
    ) -> Self {
        let rules = source.good().map(|parsed| Rules::new(parsed.clone(), segment));
        Self { source, rules }
    }

    /// The same rules with the segments that `segment` returns.
    #[must_use]
    pub fn with_segments(
        self: &Arc<Self>,
        segment: impl Fn(&str) -> Option<Arc<SegmentConditions>>,
    ) -> Arc<Self> {
        if self.has_segments(&segment) {
            return self.clone();
        }
        Arc::new(Self::new(self.source.clone(), segment))
    }

    /// The same rules, which depend on this by the flags that they need.
    #[must_use]
    pub fn with_needs(&self, needs: &Needs) -> Arc<Self> {
        let rules = self.rules.as_ref().map(|rules| rules.with_needs(needs.clone()));
        Arc::new(Self { source: self.source.clone(), rules })
    }

    /// Whether the rules have exactly the segments that `segment` returns.
    #[must_use]
    pub fn has_segments(&self, segment: impl Fn(&str) -> Option<Arc<SegmentConditions>>) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.has_segments(segment))
    }

    /// The rules, `None` if they could never be read.
    #[must_use]
    #[inline]
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// Whether `text` is not parsed again.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        self.source.knows(text)
    }

    /// The bytes of their JSON text, `None` if it cannot be read.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        self.source.size()
    }

    /// The number of regular expressions.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.source.good().map_or(0, |rules| rules.patterns())
    }

    /// Why the rules of the row cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> Option<&Unreadable> {
        self.source.unreadable()
    }
}
