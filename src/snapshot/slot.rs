//! One table of a snapshot, and how a load replaces it or some of its rows.
//!
//! A further table implements [`LoadedTable`], and gets a field in `Snapshot` and in `Loaded` and a
//! line in `Snapshot::try_next` and in `Snapshot::takes_rows`.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use super::problems::Problems;
use crate::primary_key::PrimaryKey;
use crate::row::Problem;
use crate::token_set::Relation;

/// A table that a load replaces, or of which it replaces rows.
pub(super) trait LoadedTable: Sized {
    /// The relation of its tokens.
    const RELATION: Relation;

    /// A row as a load reads it.
    type Row;
    /// What the table takes from the other tables of the next snapshot.
    type Others<'a>;

    /// The table of these rows, and the problems of the rows that cannot be used. A row that could
    /// be used before keeps its last good version.
    fn load(&self, rows: Vec<Self::Row>, others: &Self::Others<'_>) -> (Self, Vec<Problem>);

    /// The table after the rows with the keys `asked` are replaced by `rows`. `None` if all rows must
    /// be read: one of the rows has a problem, or the rows together may exceed a limit.
    fn update(
        &self,
        asked: &[PrimaryKey],
        rows: Vec<Self::Row>,
        others: &Self::Others<'_>,
    ) -> Option<Self>;

    /// Whether what it takes from other tables has changed.
    fn has_changed_others(_others: &Self::Others<'_>) -> bool {
        false
    }

    /// The same rows with what other tables have now, `None` if that is what they have already.
    fn with_others(&self, _others: &Self::Others<'_>) -> Option<Self> {
        None
    }

    /// The rules that cannot be read.
    fn rule_problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

/// A table of a snapshot, with its problems. Snapshots share it until a load changes it.
#[derive(Debug, Default)]
pub(super) struct TableSlot<T> {
    table: Arc<T>,
    /// The rows that could not be used.
    row_problems: Problems,
    /// The rules that cannot be read.
    rule_problems: Problems,
}

impl<T: LoadedTable> TableSlot<T> {
    /// The slot of the next snapshot; `None` if all rows must be read. `rows` is `None` if the load
    /// did not read the table. `asked` has the keys of the tables of which it read only some rows.
    pub(super) fn next(
        &self,
        rows: Option<Vec<T::Row>>,
        asked: &BTreeMap<Relation, Vec<PrimaryKey>>,
        others: &T::Others<'_>,
    ) -> Option<Self> {
        let mut next = self.clone();
        match (rows, asked.get(&T::RELATION)) {
            (Some(rows), None) => {
                let (table, problems) = self.table.load(rows, others);
                next.table = Arc::new(table);
                next.row_problems = self.row_problems.next(problems);
            }
            (Some(rows), Some(asked)) => {
                next.table = Arc::new(self.updated(asked, rows, others)?);
            }
            (None, _) if !T::has_changed_others(others) => return Some(next),
            (None, _) => {
                if let Some(table) = self.table.with_others(others) {
                    next.table = Arc::new(table);
                }
            }
        }
        next.rule_problems = self.rule_problems.next(next.table.rule_problems());
        Some(next)
    }

    /// The table with some rows replaced. A row that cannot be used may be the reason why another
    /// one is used, so then all rows are read.
    fn updated(
        &self,
        asked: &[PrimaryKey],
        rows: Vec<T::Row>,
        others: &T::Others<'_>,
    ) -> Option<T> {
        if !self.takes_rows() {
            return None;
        }
        let other = T::has_changed_others(others).then(|| self.table.with_others(others)).flatten();
        other.as_ref().unwrap_or(&self.table).update(asked, rows, others)
    }
}

impl<T: LoadedTable> TableSlot<T> {
    /// The same slot with another table of the same rows.
    pub(super) fn replaced(&self, table: T) -> Self {
        let rule_problems = self.rule_problems.next(table.rule_problems());
        Self { table: Arc::new(table), rule_problems, ..self.clone() }
    }
}

impl<T> TableSlot<T> {
    /// Whether both have the same table, of the same load.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }

    /// Whether a load may replace some rows: all could be used, and their rules could be read.
    pub(super) fn takes_rows(&self) -> bool {
        self.row_problems.is_empty() && self.rule_problems.is_empty()
    }

    /// The rows that could not be used, and the rules that cannot be read.
    pub(super) fn problems(&self) -> [&Problems; 2] {
        [&self.row_problems, &self.rule_problems]
    }
}

impl<T> Clone for TableSlot<T> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            row_problems: self.row_problems.clone(),
            rule_problems: self.rule_problems.clone(),
        }
    }
}

impl<T> Deref for TableSlot<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.table
    }
}

/// A table that another one depends on, before and after a load.
#[derive(Debug)]
pub(super) struct Versions<'a, T> {
    pub(super) before: &'a TableSlot<T>,
    pub(super) now: &'a TableSlot<T>,
}

impl<T> Versions<'_, T> {
    pub(super) fn differ(&self) -> bool {
        !self.now.is_same(self.before)
    }
}
