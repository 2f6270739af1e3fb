//! What has rules: flags, experiments and values.

use std::sync::Arc;

use super::key_table::{KeyTable, Keyed};
use crate::experiment::Experiment;
use crate::flag::Flag;
use crate::primary_key::PrimaryKey;
use crate::row::RowKind;
use crate::row_rules::RowRules;
use crate::rules::RuleKind;
use crate::targeting::Targeting;

/// A row that may have rules.
pub(super) trait Ruled: Keyed {
    /// What it is, for problems.
    const KIND: RowKind;

    /// What its rules decide.
    const RULES: RuleKind = RuleKind::Flag;

    fn pk(&self) -> &PrimaryKey;

    /// Whether it has a row: what code declares need not.
    fn has_row(&self) -> bool {
        *self.pk() != PrimaryKey::None
    }

    /// Its rules, `None` if it has none.
    fn rules(&self) -> Option<&Arc<RowRules>>;

    /// The same row with other rules.
    fn with_rules(&self, rules: Option<Arc<RowRules>>) -> Self;
}

impl Ruled for Flag {
    const KIND: RowKind = RowKind::Flag;

    fn pk(&self) -> &PrimaryKey {
        &self.identity.pk
    }

    fn rules(&self) -> Option<&Arc<RowRules>> {
        self.rules()
    }

    fn with_rules(&self, rules: Option<Arc<RowRules>>) -> Self {
        let (unit, watch) = (self.bucket_by().map(Into::into), self.watch().cloned());
        let targeting = Targeting::next(self.targeting.as_ref(), rules, unit, watch);
        Self { targeting, ..self.clone() }
    }
}

impl Ruled for Experiment {
    const KIND: RowKind = RowKind::Experiment;

    fn pk(&self) -> &PrimaryKey {
        &self.identity.pk
    }

    fn rules(&self) -> Option<&Arc<RowRules>> {
        self.rules.as_ref()
    }

    fn with_rules(&self, rules: Option<Arc<RowRules>>) -> Self {
        Self { rules, ..self.clone() }
    }
}

/// The table with the rows that have the keys `asked` replaced. `None` if two rows have one key, or if
/// rules cannot be read.
pub(super) fn with_rows<T: Ruled + Clone>(
    table: &KeyTable<T>,
    asked: &[PrimaryKey],
    rows: impl Iterator<Item = Option<T>>,
) -> Option<KeyTable<T>> {
    let mut next = table.without(|row| asked.contains(row.pk()));
    for row in rows {
        let row = row?;
        if next.get(row.key()).is_some_and(|other| !other.has_row()) {
            next.remove(row.key());
        }
        if next.add(row).is_some() {
            return None;
        }
    }
    let all_are_readable = next.iter().filter_map(Ruled::rules).all(|rules| rules.size().is_some());
    all_are_readable.then_some(next)
}
