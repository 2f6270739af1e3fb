//! Rules with their segments, and the rule that decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::attributes::Attributes;
use super::condition::{Condition, PlainCondition, SegmentConditions};
use super::needs::Needs;
use super::parsed::{ParsedRules, Rule};

/// Rules with the segments that they name, and what they depend on by the flags that they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub(super) parsed: Arc<ParsedRules>,
    /// In the order of the keys of the parsed rules.
    pub(super) segments: Box<[Option<Arc<SegmentConditions>>]>,
    attributes: Box<[Box<str>]>,
    /// The flags that conditions of the rules and of their segments name, in order.
    flags: Box<[Box<str>]>,
    reads_bucket: bool,
    needs: Needs,
}

/// The first rule whose conditions are all true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its position, 1 for the first rule.
    pub number: u8,
    /// The percentage of the subjects that match who have the flag.
    pub rollout_percent: u8,
}

impl Rules {
    /// The rules with the segments that `segment` returns for their keys.
    #[must_use]
    pub fn new(
        parsed: Arc<ParsedRules>,
        segment: impl Fn(&str) -> Option<Arc<SegmentConditions>>,
    ) -> Self {
        let segments = parsed.segments.iter().map(|key| segment(key)).collect();
        Self::of(parsed, segments, Needs::default())
    }

    fn of(
        parsed: Arc<ParsedRules>,
        segments: Box<[Option<Arc<SegmentConditions>>]>,
        needs: Needs,
    ) -> Self {
        let of_segments = segments.iter().flatten().flat_map(|segment| &segment.conditions);
        let conditions = parsed.rules.iter().flat_map(|rule| &rule.conditions);
        let of_rules = conditions.filter_map(|condition| match condition {
            Condition::Plain(condition) => Some(condition),
            Condition::Segment { .. } => None,
        });
        let (mut attributes, mut flags) = (needs.attributes.clone(), BTreeSet::new());
        let mut reads_bucket = false;
        for condition in of_rules.chain(of_segments) {
            match condition {
                PlainCondition::Attribute(condition) => {
                    attributes.insert(condition.attribute.clone());
                }
                PlainCondition::Bucket(_) => reads_bucket = true,
                PlainCondition::Flag(condition) => {
                    flags.insert(condition.key.clone());
                }
            }
        }
        let attributes = attributes.into_iter().collect();
        let flags = flags.into_iter().collect();
        Self { parsed, segments, attributes, flags, reads_bucket, needs }
    }

    /// The same rules, which depend on this by the flags that they need.
    #[must_use]
    pub fn with_needs(&self, needs: Needs) -> Self {
        Self::of(self.parsed.clone(), self.segments.clone(), needs)
    }

    /// What they depend on by the flags that they need.
    #[must_use]
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The flags that the rules and their segments name, in order.
    #[must_use]
    pub fn flags(&self) -> &[Box<str>] {
        &self.flags
    }

    /// The first rule whose conditions are all true.
    #[must_use]
    pub fn decide(&self, attributes: &impl Attributes) -> Option<Decision> {
        let passes = |condition: &Condition| condition.passes(&self.segments, attributes);
        let matches = |(rule, _): &(&Rule, u8)| rule.conditions.iter().all(passes);
        let (rule, number) = self.parsed.rules.iter().zip(1..).find(matches)?;
        Some(Decision { number, rollout_percent: rule.rollout_percent })
    }

    /// The first rule whose conditions are all true, and the lowest percentage of the rules before it
    /// that might decide if flags that they need were not off. No later rule and no rollout gives more,
    /// so turning off a flag gives nobody anything. `None` without such a rule.
    #[must_use]
    pub fn decide_below(&self, attributes: &impl Attributes) -> (Option<Decision>, Option<u8>) {
        let mut ceiling: Option<u8> = None;
        for (rule, number) in self.parsed.rules.iter().zip(1..) {
            let rollout_percent = rule.rollout_percent;
            let known = |condition: &Condition| condition.known(&self.segments, attributes);
            let mut is_off = false;
            let may_match = rule.conditions.iter().map(known).all(|known| {
                is_off |= known.is_none();
                known != Some(false)
            });
            if may_match && is_off {
                ceiling = Some(ceiling.map_or(rollout_percent, |low| low.min(rollout_percent)));
            } else if may_match {
                return (Some(Decision { number, rollout_percent }), ceiling);
            }
        }
        (None, ceiling)
    }

    /// Whether a rule with a percentage from 1 to 99 has a condition on this bucket, also by a segment.
    #[must_use]
    pub fn has_percentage_of(&self, bucket: &str) -> bool {
        let has = |condition: &Condition| condition.reads_bucket(bucket, &self.segments);
        let mut rules = self.parsed.rules.iter().filter(|rule| rule.splits());
        self.reads_bucket && rules.any(|rule| rule.conditions.iter().any(has))
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parsed.is_empty()
    }

    /// Whether a rule may decide by a bucket of the unit of its row.
    #[must_use]
    pub fn splits(&self) -> bool {
        self.reads_bucket || self.parsed.rules.iter().any(Rule::splits)
    }

    /// The names of the attributes that the rules, their segments and the flags that they need read,
    /// in order. Of these flags also the bucketing units.
    #[must_use]
    pub fn attributes(&self) -> &[Box<str>] {
        &self.attributes
    }

    /// The JSON texts of the results of the rules of a value, in order.
    #[must_use]
    pub fn results(&self) -> &[Box<str>] {
        self.parsed.results()
    }

    /// The JSON text of the rules.
    #[must_use]
    pub fn text(&self) -> &str {
        self.parsed.text()
    }

    /// The segment of this key, if the rules name it and it exists.
    #[must_use]
    pub fn segment(&self, key: &str) -> Option<&SegmentConditions> {
        let index = self.parsed.segments.iter().position(|named| **named == *key)?;
        self.segments[index].as_deref()
    }

    /// The keys of the segments that the rules name.
    #[must_use]
    pub fn segment_keys(&self) -> &[Box<str>] {
        &self.parsed.segments
    }

    /// Whether the rules have exactly the segments that `segment` returns.
    #[must_use]
    pub fn has_segments(&self, segment: impl Fn(&str) -> Option<Arc<SegmentConditions>>) -> bool {
        let mut segments = self.parsed.segments.iter().zip(&self.segments);
        segments.all(|(key, own)| match (segment(key), own) {
            (Some(found), Some(own)) => Arc::ptr_eq(&found, own),
            (found, own) => found.is_none() && own.is_none(),
        })
    }

    /// The keys of the segments that do not exist.
    pub fn missing_segments(&self) -> impl Iterator<Item = &str> {
        let segments = self.segments.iter().zip(&self.parsed.segments);
        segments.filter(|(segment, _)| segment.is_none()).map(|(_, key)| &**key)
    }
}
