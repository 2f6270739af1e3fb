//! Entries by the key that they contain.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
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

    /// Adds an entry, or returns it if there is one with its key.
    pub(super) fn add(&mut self, entry: T) -> Option<T> {
        let hash_of = |entry: &T| self.hasher.hash_one(entry.key());
        match self.entries.entry(hash_of(&entry), |other| other.key() == entry.key(), hash_of) {
            Entry::Occupied(_) => Some(entry),
            Entry::Vacant(place) => {
                place.insert(entry);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.entries.find_entry(hash, |entry| entry.key() == key) {
            entry.remove();
        }
    }

    /// The entries without those that `is_left_out` selects.
    pub(super) fn without(&self, is_left_out: impl Fn(&T) -> bool) -> Self
    where
        T: Clone,
    {
        let mut kept = self.clone();
        kept.entries.retain(|entry| !is_left_out(entry));
        kept
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
        for entry in entries {
            table.add(entry);
        }
        table
    }
}
