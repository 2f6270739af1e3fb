//! Entries by the key that they contain.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// An entry that contains its key, so that a table need not hold it a second time.
pub(super) trait Keyed {
    fn key(&self) -> &str;
}

/// Entries by key, in no order.
#[derive(Clone, Debug)]
pub(super) struct KeyTable<T> {
    entries: HashTable<T>,
    hasher: DefaultHashBuilder,
}

impl<T: Keyed> Default for KeyTable<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T: Keyed> KeyTable<T> {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { entries: HashTable::with_capacity(capacity), hasher: DefaultHashBuilder::default() }
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.entries.find(self.hasher.hash_one(key), |entry| entry.key() == key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.entries.find_mut(self.hasher.hash_one(key), |entry| entry.key() == key)
    }

    /// Adds an entry, or replaces the one with its key.
    pub(super) fn insert(&mut self, entry: T) {
        if let Some(found) = self.get_mut(entry.key()) {
            *found = entry;
            return;
        }
        let hash = self.hasher.hash_one(entry.key());
        self.entries.insert_unique(hash, entry, |entry| self.hasher.hash_one(entry.key()));
    }

    pub(super) fn remove(&mut self, key: &str) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| entry.key() == key) {
            entry.remove();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<T: Keyed> FromIterator<T> for KeyTable<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let mut table = Self::with_capacity(entries.size_hint().0);
        entries.for_each(|entry| table.insert(entry));
        table
    }
}
