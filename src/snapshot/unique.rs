//! Entries by key, without those whose key is given twice.

use hashbrown::HashSet;

use super::key_table::{KeyTable, Keyed};
use crate::row::{Problem, RowKind};

/// Entries by key. Rows with the same key contradict each other, so none of them is used: the last
/// good version stays, or the key is absent.
pub(super) struct Unique<'a, T> {
    kind: RowKind,
    before: &'a KeyTable<T>,
    pub(super) entries: KeyTable<T>,
    pub(super) duplicates: HashSet<Box<str>>,
    pub(super) problems: Vec<Problem>,
}

impl<'a, T: Clone + Keyed> Unique<'a, T> {
    pub(super) fn new(kind: RowKind, before: &'a KeyTable<T>, capacity: usize) -> Self {
        Self {
            kind,
            before,
            entries: KeyTable::with_capacity(capacity),
            duplicates: HashSet::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, entry: T) {
        if self.duplicates.contains(entry.key()) {
            return;
        }
        let Some(duplicate) = self.entries.add(entry) else { return };
        let key = duplicate.key();
        self.entries.remove(key);
        if let Some(good) = self.before.get(key) {
            self.entries.add(good.clone());
        }
        self.problems.push(Problem::duplicate(self.kind, key));
        self.duplicates.insert(key.into());
    }
}
