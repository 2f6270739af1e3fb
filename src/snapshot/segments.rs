//! The segments that rules name, and what their rows do to the rules of flags.

use std::cell::OnceCell;
use std::sync::Arc;

use hashbrown::HashMap;

use super::key_table::{KeyTable, Keyed};
use super::pattern_limit::PatternLimit;
use super::ruled::Ruled;
use super::slot::{LoadedTable, Versions};
use super::unique::Unique;
use crate::last_good::LastGood;
use crate::primary_key::PrimaryKey;
use crate::row::{Fault, Problem, RowKind, SegmentRow};
use crate::row_rules::RowRules;
use crate::rules::SegmentConditions;
use crate::token_set::Relation;

/// The segments by key.
pub(super) type Segments = KeyTable<Segment>;

/// A row of the segments' table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    key: Box<str>,
    pk: PrimaryKey,
    conditions: LastGood<SegmentConditions>,
}

impl Keyed for Segment {
    fn key(&self) -> &str {
        &self.key
    }
}

impl LoadedTable for Segments {
    const RELATION: Relation = Relation::SEGMENTS;

    type Row = SegmentRow;
    type Others<'a> = PatternLimit<'a>;

    fn load(&self, rows: Vec<SegmentRow>, limit: &PatternLimit<'_>) -> (Self, Vec<Problem>) {
        let mut segments = Unique::new(RowKind::Segment, self, rows.len());
        let mut bad = Vec::new();
        let last: HashMap<_, _> = self.iter().map(|segment| (&segment.pk, segment)).collect();
        for SegmentRow { pk, key, conditions } in rows {
            match key {
                Ok(key) => {
                    let before = last.get(&pk).map(|segment| &segment.conditions);
                    segments.insert(Segment::of_row(pk, key, conditions, before, limit));
                }
                Err(fault) => bad.push((pk, fault)),
            }
        }
        // Last: a row that lost its key must not hide the row that has the key now.
        for (pk, fault) in bad {
            segments.problems.push(Problem::of_key(RowKind::Segment, &pk, fault));
            if let Some(segment) = last.get(&pk) {
                segments.entries.add((*segment).clone());
            }
        }
        segments.problems.extend(unreadable_conditions(&segments.entries));
        (segments.entries, segments.problems)
    }

    fn update(
        &self,
        asked: &[PrimaryKey],
        rows: Vec<SegmentRow>,
        limit: &PatternLimit<'_>,
    ) -> Option<Self> {
        let mut next = self.without(|segment| asked.contains(&segment.pk));
        for SegmentRow { pk, key, conditions } in rows {
            let before = self.iter().find(|segment| segment.pk == pk);
            let before = before.map(|segment| &segment.conditions);
            if next.add(Segment::of_row(pk, key.ok()?, conditions, before, limit)).is_some() {
                return None;
            }
        }
        let all_are_readable = next.iter().all(|segment| segment.conditions.size().is_some());
        all_are_readable.then_some(next)
    }
}

impl Segment {
    /// The segment of a row, `before` which it had these conditions.
    fn of_row(
        pk: PrimaryKey,
        key: Box<str>,
        conditions: Result<Box<str>, Fault>,
        before: Option<&LastGood<SegmentConditions>>,
        limit: &PatternLimit<'_>,
    ) -> Self {
        let parse = |conditions| LastGood::next(before, conditions, SegmentConditions::parse);
        let conditions = match conditions {
            Ok(text) if !before.is_some_and(|before| before.knows(&text)) => {
                limit.parse(before.map_or(0, patterns), text, parse, patterns)
            }
            conditions => parse(conditions),
        };
        Self { key, pk, conditions }
    }
}

impl Segments {
    /// The number of regular expressions.
    pub(super) fn patterns(&self) -> usize {
        self.iter().map(|segment| patterns(&segment.conditions)).sum()
    }

    /// The conditions of the segment with this key, if they could ever be read.
    pub(super) fn conditions(&self, key: &str) -> Option<Arc<SegmentConditions>> {
        self.get(key)?.conditions.good().cloned()
    }
}

fn patterns(conditions: &LastGood<SegmentConditions>) -> usize {
    conditions.good().map_or(0, |conditions| conditions.patterns())
}

fn unreadable_conditions(segments: &Segments) -> Vec<Problem> {
    let unreadable = segments.iter().filter_map(|segment| {
        let why = segment.conditions.unreadable()?;
        let has_last_good = segment.conditions.good().is_some();
        Some((&segment.key, Problem::of_conditions(&segment.key, has_last_good, why)))
    });
    in_order(unreadable.collect())
}

/// The problems in the order of their keys.
fn in_order<K: Ord>(mut problems: Vec<(K, Problem)>) -> Vec<Problem> {
    problems.sort_by(|(one, _), (other, _)| one.cmp(other));
    problems.into_iter().map(|(_, problem)| problem).collect()
}

/// The rules of the next flags, experiments or values: their texts with the current segments.
pub(super) struct NextRules<'a, T> {
    before: &'a KeyTable<T>,
    pub(super) segments: Versions<'a, Segments>,
    by_row: OnceCell<HashMap<&'a PrimaryKey, &'a T>>,
    none: Arc<RowRules>,
    limit: &'a PatternLimit<'a>,
}

impl<'a, T: Ruled> NextRules<'a, T> {
    pub(super) fn new(
        before: &'a KeyTable<T>,
        segments: Versions<'a, Segments>,
        limit: &'a PatternLimit<'a>,
    ) -> Self {
        Self { before, segments, by_row: OnceCell::new(), none: RowRules::none(), limit }
    }

    /// The rules of a row. `same` is what had its key before, if it has the same row.
    pub(super) fn of(
        &self,
        pk: &PrimaryKey,
        same: Option<&T>,
        text: Option<Box<str>>,
    ) -> Option<Arc<RowRules>> {
        let text = text?;
        let before = same.or_else(|| self.by_row().get(pk).copied());
        // What had no rules goes on without them while its new ones cannot be read.
        let before = before.map(|row| row.rules().unwrap_or(&self.none));
        let segment = |key: &str| self.segments.now.conditions(key);
        let parse = |text| RowRules::next(before, text, T::RULES, segment);
        if before.is_some_and(|before| before.knows(&text)) {
            return parse(Ok(text));
        }
        let own = before.map_or(0, |before| before.patterns());
        self.limit
            .parse(own, text, parse, |rules| rules.as_ref().map_or(0, |rules| rules.patterns()))
    }

    /// By row: a row keeps its last good rules under another key.
    fn by_row(&self) -> &HashMap<&'a PrimaryKey, &'a T> {
        self.by_row.get_or_init(|| self.before.iter().map(|row| (row.pk(), row)).collect())
    }

    /// Whether these rules have the current segments.
    pub(super) fn are_current(&self, rows: &KeyTable<T>) -> bool {
        let mut rules = rows.iter().filter_map(Ruled::rules);
        rules.all(|rules| rules.has_segments(|key| self.segments.now.conditions(key)))
    }

    /// The rules of a row with the current segments.
    pub(super) fn current(&self, row: &T) -> Option<Arc<RowRules>> {
        let rules = row.rules()?;
        Some(rules.with_segments(|key| self.segments.now.conditions(key)))
    }
}

/// The rules of these rows that cannot be read.
pub(super) fn unreadable_rules<T: Ruled>(rows: &KeyTable<T>) -> Vec<Problem> {
    let unreadable = rows.iter().filter_map(|row| {
        let rules = row.rules()?;
        let why = rules.unreadable()?;
        Some((row.key(), Problem::of_rules(T::KIND, row.key(), rules.rules().is_some(), why)))
    });
    in_order(unreadable.collect())
}
