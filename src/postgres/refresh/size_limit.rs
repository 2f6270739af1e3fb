//! A limit for the sum of texts: the largest are set aside while they arrive, so that a load never
//! takes more memory, however large the table is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::primary_key::PrimaryKey;
use crate::row::{Fault, FlagRow, SegmentRow, ValueRow};

/// A row with a text that counts.
pub(super) trait Measured {
    /// The bytes of the text, 0 without one.
    fn size(&self) -> usize;

    /// What decides between texts of the same size, so that all workers set the same ones aside.
    fn pk(&self) -> &PrimaryKey;

    /// Replaces the text.
    fn set_aside(&mut self);
}

impl Measured for FlagRow {
    fn size(&self) -> usize {
        size_of_rules(&self.rules)
    }

    fn pk(&self) -> &PrimaryKey {
        &self.pk
    }

    fn set_aside(&mut self) {
        self.rules = Err(Fault::TotalTooLarge);
    }
}

impl Measured for ValueRow {
    fn size(&self) -> usize {
        size_of_rules(&self.rules)
    }

    fn pk(&self) -> &PrimaryKey {
        &self.pk
    }

    fn set_aside(&mut self) {
        self.rules = Err(Fault::TotalTooLarge);
    }
}

impl Measured for SegmentRow {
    fn size(&self) -> usize {
        self.conditions.as_ref().map_or(0, |text| text.len())
    }

    fn pk(&self) -> &PrimaryKey {
        &self.pk
    }

    fn set_aside(&mut self) {
        self.conditions = Err(Fault::TotalTooLarge);
    }
}

fn size_of_rules(rules: &Result<Option<Box<str>>, Fault>) -> usize {
    rules.as_ref().ok().and_then(Option::as_ref).map_or(0, |text| text.len())
}

/// The sum of the texts of a table.
#[derive(Debug, Default)]
pub(super) struct SizeLimit {
    total: usize,
    /// The texts by size, once their sum has exceeded the limit.
    largest: Option<BinaryHeap<(usize, Reverse<String>, usize)>>,
}

impl SizeLimit {
    /// Adds a row, and sets the largest ones aside while the sum exceeds `limit`.
    pub(super) fn push<T: Measured>(&mut self, rows: &mut Vec<T>, row: T, limit: usize) {
        self.total += row.size();
        rows.push(row);
        if self.total <= limit && self.largest.is_none() {
            return;
        }
        let entry =
            |(position, row): (usize, &T)| (row.size(), Reverse(row.pk().to_string()), position);
        let largest = match &mut self.largest {
            Some(largest) => {
                largest.extend(rows.iter().enumerate().next_back().map(entry));
                largest
            }
            none => none.insert(rows.iter().enumerate().map(entry).collect()),
        };
        while self.total > limit
            && let Some((size, _, position)) = largest.pop()
        {
            self.total -= size;
            if let Some(row) = rows.get_mut(position) {
                row.set_aside();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(pk: &str, size: usize) -> SegmentRow {
        let conditions = Ok("x".repeat(size).into());
        SegmentRow { pk: pk.into(), key: Ok(pk.into()), conditions }
    }

    /// The primary keys of the rows of which the texts were kept.
    fn kept(limit: usize, rows: &[(&str, usize)]) -> Vec<String> {
        let (mut sizes, mut found) = (SizeLimit::default(), Vec::new());
        for (pk, size) in rows {
            sizes.push(&mut found, segment(pk, *size), limit);
            let total: usize = found.iter().map(Measured::size).sum();
            assert!(total <= limit && total == sizes.total);
        }
        assert_eq!(found.len(), rows.len());
        let kept = found.iter().filter(|row| row.conditions.is_ok());
        kept.map(|row| row.pk.to_string()).collect()
    }

    #[test]
    fn texts_within_the_limit_are_kept() {
        assert_eq!(kept(6, &[("1", 1), ("2", 2), ("3", 3)]), ["1", "2", "3"]);
    }

    #[test]
    fn largest_texts_are_set_aside_in_any_order() {
        assert_eq!(kept(5, &[("1", 1), ("2", 2), ("3", 3)]), ["1", "2"]);
        assert_eq!(kept(5, &[("3", 3), ("2", 2), ("1", 1)]), ["2", "1"]);
        assert_eq!(kept(5, &[("9", 9), ("8", 8), ("1", 1), ("4", 4)]), ["1", "4"]);
    }

    #[test]
    fn of_texts_of_one_size_the_same_are_set_aside_in_any_order() {
        assert_eq!(kept(4, &[("1", 2), ("2", 2), ("3", 2)]), ["2", "3"]);
        assert_eq!(kept(4, &[("3", 2), ("2", 2), ("1", 2)]), ["3", "2"]);
    }

    #[test]
    fn row_without_a_text_counts_nothing() {
        let (mut sizes, mut rows) = (SizeLimit::default(), Vec::new());
        for conditions in [Err(Fault::Undecodable), Ok("xx".into()), Err(Fault::TooLarge)] {
            sizes.push(&mut rows, SegmentRow { conditions, ..segment("1", 0) }, 1);
        }
        let faults: Vec<_> = rows.into_iter().map(|row| row.conditions).collect();
        let expected = [Fault::Undecodable, Fault::TotalTooLarge, Fault::TooLarge].map(Err);
        assert_eq!(faults, expected);
    }
}
