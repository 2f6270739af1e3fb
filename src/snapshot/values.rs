//! The rows of the key-value table → the values of the next snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key_table::{KeyTable, Keyed};
use super::ruled::{Ruled, with_rows};
use super::segments::{NextRules, unreadable_rules};
use super::slot::LoadedTable;
use super::unique::Unique;
use crate::primary_key::PrimaryKey;
use crate::row::{CheckedValue, Fault, Problem, RowKind, ValueRow};
use crate::row_rules::RowRules;
use crate::rules::RuleKind;
use crate::stored_value::{StoredValue, undecodable};
use crate::token_set::Relation;
use crate::value_rules::ValueRules;

/// The version of the values that were loaded last.
static LAST_VERSION: AtomicU64 = AtomicU64::new(0);

/// The bytes of all values for which it is sure that none is set aside: half the limit, because the
/// database measures them in its own encoding.
const SAFE_SIZE: usize = 32 << 20;

fn next_version() -> u64 {
    1 + LAST_VERSION.fetch_add(1, Ordering::Relaxed)
}

/// The values by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    by_key: KeyTable<Stored>,
    version: u64,
}

/// A value, its key, and the primary key of its row, which identifies its last good version.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    key: Arc<str>,
    pk: PrimaryKey,
    value: StoredValue,
    /// The bytes of its JSON text.
    size: usize,
    is_secret: bool,
    client_side: bool,
    rules: Option<Arc<ValueRules>>,
}

impl Keyed for Stored {
    #[inline]
    fn key(&self) -> &str {
        &self.key
    }
}

impl Ruled for Stored {
    const KIND: RowKind = RowKind::Value;
    const RULES: RuleKind = RuleKind::Value;

    fn pk(&self) -> &PrimaryKey {
        &self.pk
    }

    fn rules(&self) -> Option<&Arc<RowRules>> {
        self.rules.as_ref()?.targeting.rules.as_ref()
    }
}

impl Stored {
    /// The value itself, for those for whom no rule decides.
    #[must_use]
    pub fn value(&self) -> &StoredValue {
        &self.value
    }

    /// Whether only evaluations may show it.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// Whether browsers may read it: never if it is secret.
    #[must_use]
    pub fn is_client_side(&self) -> bool {
        self.client_side && !self.is_secret
    }

    /// What its rules give, and to whom; `None` if it has no rules.
    #[must_use]
    pub fn rules(&self) -> Option<&Arc<ValueRules>> {
        self.rules.as_ref()
    }

    /// Whether both give every subject the same result, as long as their groups are the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.value == other.value && self.rules == other.rules
    }
}

/// What values take from other tables.
pub(super) struct ValueSources<'a> {
    pub(super) rules: NextRules<'a, Stored>,
}

impl ValueSources<'_> {
    /// The value of a row; the primary key and the problem, if the text cannot be decoded.
    fn value(
        &self,
        row: CheckedValue,
        last: Option<&Stored>,
    ) -> Result<Stored, (PrimaryKey, Problem)> {
        let CheckedValue { pk, key, value, is_secret, client_side, rules, bucket_by } = row;
        let size = value.as_ref().map_or(0, String::len);
        let value = match value {
            None => StoredValue::Null,
            Some(text) => match undecodable(&text) {
                None => StoredValue::from_json(&text),
                Some(fault) => {
                    let problem = Problem::of(RowKind::Value, &key, "value", Fault::Json(fault));
                    return Err((pk, problem));
                }
            },
        };
        let same = last.filter(|last| last.pk == pk);
        let rules = self.rules.of(&pk, same, rules);
        let before = same.and_then(|last| last.rules.as_ref());
        let key = last.map_or_else(|| key.into(), |last| last.key.clone());
        let rules = ValueRules::next(&key, before, rules, bucket_by);
        Ok(Stored { key, pk, value, size, is_secret, client_side, rules })
    }

    /// The value with the current segments in its rules.
    fn current(&self, stored: &Stored) -> Stored {
        let before = stored.rules.as_ref();
        let bucket_by = before.and_then(|before| before.targeting.bucket_by.clone());
        let rules = self.rules.current(stored);
        let rules = ValueRules::next(&stored.key, before, rules, bucket_by);
        Stored { rules, ..stored.clone() }
    }
}

impl Values {
    /// The value with this key.
    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&Stored> {
        self.by_key.get(key)
    }

    /// The values by key, with their keys.
    pub(super) fn by_key(&self) -> &KeyTable<Stored> {
        &self.by_key
    }

    /// The values that are not secret by key, in no order.
    pub(super) fn readable(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.by_key.iter().filter(|stored| !stored.is_secret).map(|stored| (stored.key(), stored))
    }

    /// Whether it is sure that none was set aside because of the size of all.
    pub(super) fn leave_room(&self) -> bool {
        self.by_key.iter().map(|stored| stored.size).sum::<usize>() <= SAFE_SIZE
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
    const RELATION: Relation = Relation::VALUES;

    type Row = ValueRow;
    type Others<'a> = ValueSources<'a>;

    fn load(&self, rows: Vec<ValueRow>, sources: &ValueSources<'_>) -> (Self, Vec<Problem>) {
        let mut values = Unique::new(RowKind::Value, &self.by_key, rows.len());
        let mut bad = Vec::new();
        for row in rows {
            let readers = (row.is_secret, row.client_side);
            let stored = row.checked().and_then(|row| {
                let last = self.by_key.get(&row.key);
                sources.value(row, last)
            });
            match stored {
                Ok(stored) => values.insert(stored),
                Err((pk, problem)) => bad.push((pk, problem, readers)),
            }
        }
        // The last good version gets the current segments.
        for key in &values.duplicates {
            if let Some(stored) = values.entries.get_mut(key) {
                *stored = sources.current(stored);
            }
        }
        for (pk, problem, (is_secret, client_side)) in bad {
            values.problems.push(problem);
            if let Some(stored) = self.by_key.iter().find(|stored| stored.pk == pk) {
                // The value that stays must be kept from listeners and browsers, too.
                let is_secret = is_secret || stored.is_secret;
                let client_side = client_side && stored.client_side;
                let kept = Stored { is_secret, client_side, ..sources.current(stored) };
                values.entries.add(kept);
            }
        }
        (Self { by_key: values.entries, version: next_version() }, values.problems)
    }

    fn update(
        &self,
        asked: &[PrimaryKey],
        rows: Vec<ValueRow>,
        sources: &ValueSources<'_>,
    ) -> Option<Self> {
        let values = rows.into_iter().map(|row| {
            let row = row.checked().ok()?;
            let last = self.by_key.get(&row.key);
            sources.value(row, last).ok()
        });
        let by_key = with_rows(&self.by_key, asked, values)?;
        let next = Self { by_key, version: next_version() };
        next.leave_room().then_some(next)
    }

    fn has_changed_others(sources: &ValueSources<'_>) -> bool {
        sources.rules.segments.differ()
    }

    /// The version stays: only values without rules are kept by it.
    fn with_others(&self, sources: &ValueSources<'_>) -> Option<Self> {
        let is_current = sources.rules.are_current(&self.by_key);
        (!is_current).then(|| {
            let by_key = self.by_key.iter().map(|stored| sources.current(stored)).collect();
            Self { by_key, version: self.version }
        })
    }

    fn rule_problems(&self) -> Vec<Problem> {
        unreadable_rules(&self.by_key)
    }
}
