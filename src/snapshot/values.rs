//! The rows of the key-value table → the values of the next snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key_table::{KeyTable, Keyed};
use super::slot::LoadedTable;
use super::unique::Unique;
use crate::primary_key::PrimaryKey;
use crate::row::{CheckedValue, Fault, Problem, RowKind, ValueRow};
use crate::stored_value::{StoredValue, undecodable};

/// The version of the values that were loaded last.
static LAST_VERSION: AtomicU64 = AtomicU64::new(0);

/// The values by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    by_key: KeyTable<Stored>,
    version: u64,
}

/// A value, its key, and the primary key of its row, which identifies its last good version.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    key: Arc<str>,
    pk: PrimaryKey,
    value: StoredValue,
    is_secret: bool,
}

impl Keyed for Stored {
    #[inline]
    fn key(&self) -> &str {
        &self.key
    }
}

impl Stored {
    pub(super) fn value(&self) -> &StoredValue {
        &self.value
    }

    /// The value of a row; its fault, and the primary key, if the text cannot be decoded.
    fn new(
        row: CheckedValue,
        last: Option<&Self>,
        opaque: bool,
    ) -> Result<Self, (PrimaryKey, Problem)> {
        let CheckedValue { pk, key, value, is_secret } = row;
        let value = match value {
            None => StoredValue::Null,
            Some(text) if opaque => StoredValue::Json(text.into()),
            Some(text) => match undecodable(&text) {
                None => StoredValue::from_json(&text),
                Some(fault) => {
                    return Err((
                        pk,
                        Problem::of(RowKind::Value, &key, "value", Fault::Json(fault)),
                    ));
                }
            },
        };
        let key = last.map_or_else(|| key.into(), |last| last.key.clone());
        Ok(Self { key, pk, value, is_secret })
    }
}

impl Values {
    /// The value with this key.
    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&StoredValue> {
        self.by_key.get(key).map(|stored| &stored.value)
    }

    /// The values by key, with their keys.
    pub(super) fn by_key(&self) -> &KeyTable<Stored> {
        &self.by_key
    }

    /// Whether the value with this key is secret.
    pub(super) fn is_secret(&self, key: &str) -> bool {
        self.by_key.get(key).is_some_and(|stored| stored.is_secret)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Identifies these values in this process; a later load has a higher version.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

impl LoadedTable for Values {
    type Row = ValueRow;
    /// Whether the model field decodes every value, even plain scalars.
    type Others<'a> = bool;

    fn load(&self, rows: Vec<ValueRow>, opaque: &bool) -> (Self, Vec<Problem>) {
        let mut values = Unique::new(RowKind::Value, &self.by_key, rows.len());
        let mut bad = Vec::new();
        for row in rows {
            let is_secret = row.is_secret;
            let stored = row.checked().and_then(|row| {
                let last = self.by_key.get(&row.key);
                Stored::new(row, last, *opaque)
            });
            match stored {
                Ok(stored) => values.insert(stored),
                Err((pk, problem)) => bad.push((pk, problem, is_secret)),
            }
        }
        for (pk, problem, is_secret) in bad {
            values.problems.push(problem);
            if let Some(stored) = self.by_key.iter().find(|stored| stored.pk == pk) {
                // The value that stays must be kept from listeners, too.
                let is_secret = is_secret || stored.is_secret;
                values.entries.add(Stored { is_secret, ..stored.clone() });
            }
        }
        let version = 1 + LAST_VERSION.fetch_add(1, Ordering::Relaxed);
        (Self { by_key: values.entries, version }, values.problems)
    }
}
