//! The rows of the key-value table → the values of the next snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key_table::{KeyTable, Keyed};
use super::ruled::{Ruled, with_rows};
use super::segments::{NextRules, unreadable_rules};
use super::slot::LoadedTable;
use super::unique::Unique;
use crate::declared::{Declared, DeclaredValue, Misfit};
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
    /// What code says about it.
    declared: Option<Arc<DeclaredValue>>,
    /// What its row has, if it cannot be that, and its value is the declared default.
    misfit: Option<Box<(StoredValue, Misfit)>>,
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

    fn with_rules(&self, rules: Option<Arc<RowRules>>) -> Self {
        let before = self.rules.as_ref();
        let unit = before.and_then(|before| before.targeting.bucket_by.clone());
        let rules = ValueRules::next(&self.key, before, rules, unit, self.declared.as_ref());
        Self { rules, ..self.clone() }
    }
}

impl Stored {
    /// The value itself, for those for whom no rule decides.
    #[must_use]
    pub fn value(&self) -> &StoredValue {
        &self.value
    }

    /// What code says about it, `None` if it is not declared.
    #[must_use]
    pub fn declared(&self) -> Option<&Arc<DeclaredValue>> {
        self.declared.as_ref()
    }

    /// Whether it has a row: one that code declares need not.
    #[must_use]
    pub fn is_of_row(&self) -> bool {
        self.pk != PrimaryKey::None
    }

    /// Whether its row has something else than code declares, so that it is the default.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        self.misfit.is_some()
    }

    /// One without a row.
    fn of_default(declared: &Arc<DeclaredValue>) -> Self {
        Self {
            key: declared.key.clone(),
            pk: PrimaryKey::None,
            value: declared.default.clone(),
            size: 0,
            is_secret: declared.is_secret,
            client_side: declared.client_side,
            rules: None,
            declared: Some(declared.clone()),
            misfit: None,
        }
    }

    /// The same row with what code says about it now.
    fn with_declared(self, declared: Option<&Arc<DeclaredValue>>) -> Self {
        let value = self.misfit.map_or(self.value, |misfit| misfit.0);
        let targeting = self.rules.as_ref().map(|rules| &rules.targeting);
        let rules = targeting.and_then(|targeting| {
            let (rules, unit) = (targeting.rules.clone(), targeting.bucket_by.clone());
            ValueRules::next(&self.key, self.rules.as_ref(), rules, unit, declared)
        });
        let misfit = declared.and_then(|declared| declared.misfit(&value));
        let (value, misfit) = match (declared, misfit) {
            (Some(declared), Some(misfit)) => {
                (declared.default.clone(), Some(Box::new((value, misfit))))
            }
            _ => (value, None),
        };
        Self {
            value,
            misfit,
            rules,
            is_secret: self.is_secret || declared.is_some_and(|declared| declared.is_secret),
            client_side: self.client_side && declared.is_none_or(|declared| declared.client_side),
            declared: declared.cloned(),
            ..self
        }
    }

    /// What its row and its rules have, and it cannot be.
    fn misfits(&self) -> impl Iterator<Item = Problem> {
        let own = self.misfit.as_ref().map(|misfit| (None, misfit.1));
        let of_rules = self.rules.iter().flat_map(|rules| rules.misfits());
        let all = own.into_iter().chain(of_rules.map(|(number, misfit)| (Some(number), misfit)));
        all.map(|(rule, misfit)| Problem::of_declared(&self.key, misfit.message(rule)))
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
    pub(super) declared: &'a Declared,
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
        let declared = self.declared.values.get(&*key);
        let rules = ValueRules::next(&key, before, rules, bucket_by, declared);
        let (declared, misfit) = (declared.cloned(), None);
        let stored =
            Stored { key, pk, value, size, is_secret, client_side, rules, declared, misfit };
        Ok(match stored.declared.clone() {
            None => stored,
            declared => stored.with_declared(declared.as_ref()),
        })
    }

    /// The value with the current segments in its rules.
    fn current(&self, stored: &Stored) -> Stored {
        stored.with_rules(self.rules.current(stored))
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

    /// The same values with other rules. The version stays: only values without rules are kept by it.
    pub(super) fn with_rules(&self, by_key: KeyTable<Stored>) -> Self {
        Self { by_key, version: self.version }
    }

    /// The same rows with what code declares now.
    pub(super) fn with_declared(&self, declared: &Declared) -> Self {
        let of_rows = self.by_key.iter().filter(|stored| stored.has_row()).cloned();
        let of_code = |stored: &Stored| declared.values.get(stored.key());
        let of_rows = of_rows.map(|stored| {
            let of_code = of_code(&stored);
            stored.with_declared(of_code)
        });
        let mut by_key = of_rows.collect();
        add_values(&mut by_key, declared);
        Self { by_key, version: next_version() }
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
        add_values(&mut values.entries, sources.declared);
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
        let mut by_key = with_rows(&self.by_key, asked, values)?;
        add_values(&mut by_key, sources.declared);
        let next = Self { by_key, version: next_version() };
        next.leave_room().then_some(next)
    }

    fn has_changed_others(sources: &ValueSources<'_>) -> bool {
        sources.rules.segments.differ()
    }

    fn with_others(&self, sources: &ValueSources<'_>) -> Option<Self> {
        let is_current = sources.rules.are_current(&self.by_key);
        (!is_current).then(|| {
            self.with_rules(self.by_key.iter().map(|stored| sources.current(stored)).collect())
        })
    }

    fn rule_problems(&self) -> Vec<Problem> {
        let mut misfits: Vec<_> =
            self.by_key.iter().filter(|stored| stored.declared.is_some()).collect();
        misfits.sort_unstable_by_key(|stored| stored.key());
        let misfits = misfits.into_iter().flat_map(Stored::misfits);
        unreadable_rules(&self.by_key).into_iter().chain(misfits).collect()
    }
}

/// Adds the declared values without a row: their defaults.
fn add_values(values: &mut KeyTable<Stored>, declared: &Declared) {
    for (key, declared) in &declared.values {
        if values.get(key).is_none() {
            values.add(Stored::of_default(declared));
        }
    }
}
