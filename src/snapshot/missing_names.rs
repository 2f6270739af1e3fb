//! The names in rules that cannot be used: segments, groups and flags, one problem for each name, and
//! the bucket of an own percentage.

use std::collections::{BTreeMap, BTreeSet};

use super::Snapshot;
use super::key_table::KeyTable;
use super::ruled::Ruled;
use crate::flag::Flag;
use crate::groups::{GroupReferences, Groups};
use crate::row::{Problem, RowKind, RowsNaming};
use crate::rules::Rules;

impl Snapshot {
    /// The same snapshot with the names in rules that cannot be used as problems.
    pub(super) fn with_missing_names(self) -> Self {
        let mut problems = self.missing_segments();
        problems.extend(self.missing_flags());
        problems.extend(self.own_buckets());
        Self { missing_names: self.missing_names.next(problems), ..self }
    }

    /// The flags that rules name and that do not exist, and those whose own conditions are not
    /// followed.
    fn missing_flags(&self) -> impl Iterator<Item = Problem> {
        let named = |rules: &Rules, is_missing: fn(Option<&Flag>) -> bool| {
            let keys = rules.flags().iter().filter(|key| is_missing(self.flags.get(key)));
            keys.cloned().collect::<Vec<_>>()
        };
        let missing = self
            .missing_names(|rules| named(rules, |flag| flag.is_none()), Problem::of_missing_flag);
        let endless = self.missing_names(
            |rules| named(rules, |flag| flag.is_some_and(|flag| !flag.can_be_needed())),
            Problem::of_endless_flag,
        );
        missing.into_iter().chain(endless)
    }

    /// The rows whose rules select by the bucket of an own percentage.
    fn own_buckets(&self) -> Vec<Problem> {
        let rows = self.rules().filter(|((_, key), rules)| rules.has_percentage_of(key));
        let rows: BTreeSet<_> = rows.map(|(row, _)| row).collect();
        rows.into_iter().map(|(kind, key)| Problem::of_own_bucket(kind, key)).collect()
    }

    /// The segments that rules name and that do not exist.
    fn missing_segments(&self) -> Vec<Problem> {
        // Unreadable segments are problems of their own.
        let is_missing = |key: &&str| self.segments.get(key).is_none();
        let names = |rules: &Rules| {
            rules.missing_segments().filter(is_missing).map(Into::into).collect::<Vec<_>>()
        };
        self.missing_names(names, Problem::of_missing_segment)
    }

    /// The groups that rules name and that do not exist.
    pub(super) fn missing_groups(&self, groups: &Groups) -> Vec<Problem> {
        let names = |rules: &Rules| {
            let mut references = GroupReferences::default();
            rules.add_group_references(&mut references);
            let names = references.names().unwrap_or_default().into_iter();
            names.filter(|name| !groups.contains(name)).map(Into::into).collect::<Vec<_>>()
        };
        self.missing_names(names, Problem::of_missing_group)
    }

    /// `names` returns each missing name of some rules once.
    fn missing_names(
        &self,
        names: impl Fn(&Rules) -> Vec<Box<str>>,
        problem: fn(&RowsNaming<'_>, &str) -> Problem,
    ) -> Vec<Problem> {
        let mut missing = BTreeMap::<_, RowsNaming<'_>>::new();
        for (row, rules) in self.rules() {
            for name in names(rules) {
                missing
                    .entry(name)
                    .and_modify(|rows| {
                        rows.first = row.min(rows.first);
                        rows.others += 1;
                    })
                    .or_insert(RowsNaming { first: row, others: 0 });
            }
        }
        missing.iter().map(|(name, rows)| problem(rows, name)).collect()
    }

    /// All rules that can be evaluated, with their rows, in no order.
    pub(super) fn rules(&self) -> impl Iterator<Item = ((RowKind, &str), &Rules)> {
        let of_values = rules_of(self.values.by_key());
        rules_of(&self.flags).chain(rules_of(&self.experiments)).chain(of_values)
    }
}

fn rules_of<T: Ruled>(rows: &KeyTable<T>) -> impl Iterator<Item = ((RowKind, &str), &Rules)> {
    rows.iter().filter_map(|row| Some(((T::KIND, row.key()), row.rules()?.rules()?)))
}
