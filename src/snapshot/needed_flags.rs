//! What rules depend on by the flags that they need, closed over all of them at each load.
//!
//! A load of one flag changes that of each row above it, so it is computed anew for all rows that
//! need flags.

use std::collections::BTreeSet;

use super::Snapshot;
use super::key_table::{KeyTable, Keyed};
use super::ruled::Ruled;
use crate::flag::Flag;
use crate::rules::{Needs, Rules};
use crate::targeting::Dependent;

impl Snapshot {
    /// Whether a rule needs a flag.
    #[must_use]
    pub fn needs_flags(&self) -> bool {
        self.rules().any(|(_, rules)| !rules.flags().is_empty())
    }

    /// The same rows with what their rules depend on by the flags that they need now.
    #[must_use]
    pub(super) fn with_needs(mut self) -> Self {
        if !self.needs_flags() {
            return self;
        }
        if let Some(flags) = closed(&self.flags) {
            self.flags = self.flags.replaced(flags);
        }
        // What is no flag is needed by none, whatever its depth.
        let of_rules = |rules: &Rules| needs(rules, &self.flags, 1, &BTreeSet::new());
        let experiments = updated(self.experiments.iter(), of_rules);
        let values = updated(self.values.by_key().iter(), of_rules);
        if !experiments.is_empty() {
            self.experiments = self
                .experiments
                .replaced(replaced(KeyTable::clone(&self.experiments), experiments));
        }
        if !values.is_empty() {
            let by_key = replaced(self.values.by_key().clone(), values);
            self.values = self.values.replaced(self.values.with_rules(by_key));
        }
        self
    }
}

/// The flags with what their rules depend on; `None` if that has not changed.
///
/// From below: first the flags whose rules need flags that need none, and so on. Those that are left
/// then form a circle, need one, or need too many flags one by the other.
fn closed(flags: &KeyTable<Flag>) -> Option<KeyTable<Flag>> {
    let rules_of = |flag: &Flag| {
        flag.rules()
            .is_some_and(|rules| rules.rules().is_some_and(|rules| !rules.flags().is_empty()))
    };
    let mut open: Vec<&Flag> = flags.iter().filter(|flag| rules_of(flag)).collect();
    let (mut next, mut has_changed) = (flags.clone(), false);
    for depth in 1..=Needs::MAX_DEPTH + 1 {
        let is_last = depth > Needs::MAX_DEPTH;
        let keys: BTreeSet<&str> = open.iter().map(|flag| flag.key()).collect();
        let names = |rules: &Rules| rules.flags().iter().any(|key| keys.contains(&**key));
        let (ready, later) = open.into_iter().partition(|flag| {
            let rules = flag.rules().and_then(|rules| rules.rules());
            is_last || !rules.is_some_and(names)
        });
        let ready: Vec<&Flag> = ready;
        let changed = updated(ready.into_iter(), |rules| needs(rules, &next, depth, &keys));
        has_changed |= !changed.is_empty();
        next = replaced(next, changed);
        open = later;
    }
    has_changed.then_some(next)
}

/// What rules depend on, whose flags are known but for those that are `open`.
fn needs(rules: &Rules, flags: &KeyTable<Flag>, depth: u8, open: &BTreeSet<&str>) -> Needs {
    let mut needs = Needs { depth, ..Needs::default() };
    for key in rules.flags().iter().filter(|key| !open.contains(&***key)) {
        let Some(flag) = flags.get(key).filter(|flag| flag.can_be_needed()) else { continue };
        needs.flags.insert(key.clone());
        needs.attributes.extend(flag.attributes().map(Into::into));
        needs.units.extend(flag.bucket_by().map(Into::into));
        needs.on_subject |= flag.depends_on_subject();
        needs.on_key |= flag.enabled && flag.depends_on_key();
        if let Some(rules) = flag.rules().and_then(|rules| rules.rules()) {
            needs.flags.extend(rules.needs().flags.iter().cloned());
            needs.units.extend(rules.needs().units.iter().cloned());
        }
    }
    needs
}

/// Those of the rows whose rules depend on something else now.
fn updated<'a, T: Ruled + 'a>(
    rows: impl Iterator<Item = &'a T>,
    needs: impl Fn(&Rules) -> Needs,
) -> Vec<T> {
    let updated = rows.filter_map(|row| {
        let row_rules = row.rules()?;
        let rules = row_rules.rules().filter(|rules| !rules.flags().is_empty())?;
        let needs = needs(rules);
        (needs != *rules.needs()).then(|| row.with_rules(Some(row_rules.with_needs(&needs))))
    });
    updated.collect()
}

/// The table with these rows in place of those with their keys.
fn replaced<T: Keyed>(mut table: KeyTable<T>, rows: Vec<T>) -> KeyTable<T> {
    for row in rows {
        if let Some(entry) = table.get_mut(row.key()) {
            *entry = row;
        }
    }
    table
}
