//! The rows in which two snapshots differ.

use std::collections::BTreeSet;

use super::Snapshot;
use super::key_table::{KeyTable, Keyed};
use crate::flag::Flag;
use crate::message::Message;
use crate::row::RowKind;

impl Snapshot {
    /// The keys of the flags that are not the same in both, in no order.
    #[must_use]
    pub fn differing_flags<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut found = Differences::default();
        found.add(RowKind::Flag, &self.flags, &other.flags, is_same_flag);
        found.0.into_iter().map(|(_, key)| key).collect()
    }

    /// The rows that are not the same in both, and the problems that only one has. Without groups,
    /// and without what plans have measured.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Message> {
        let mut found = Differences::default();
        found.add(RowKind::Flag, &self.flags, &other.flags, is_same_flag);
        found.add(RowKind::Segment, &self.segments, &other.segments, |one, two| one == two);
        found
            .add(RowKind::Experiment, &self.experiments, &other.experiments, |one, two| one == two);
        found.add(RowKind::Value, self.values.by_key(), other.values.by_key(), |one, two| {
            one == two
        });
        found.add_keys(RowKind::Flag, self.plans.differences(&other.plans));
        let (own, others): (Vec<_>, Vec<_>) =
            (self.problems_of_rows().collect(), other.problems_of_rows().collect());
        let only_own = own.iter().filter(|one| !others.contains(one));
        let problems = only_own.chain(others.iter().filter(|one| !own.contains(one)));
        let rows = found.0.into_iter().map(|(kind, key)| kind.named(key));
        rows.chain(problems.map(|problem| problem.message().clone())).collect()
    }
}

/// The kinds and keys of rows.
#[derive(Default)]
struct Differences<'a>(BTreeSet<(RowKind, &'a str)>);

impl<'a> Differences<'a> {
    fn add_keys(&mut self, kind: RowKind, keys: impl IntoIterator<Item = &'a str>) {
        self.0.extend(keys.into_iter().map(|key| (kind, key)));
    }

    /// Adds the rows that one of the tables lacks, or that are not the same in both.
    fn add<T: Keyed>(
        &mut self,
        kind: RowKind,
        table: &'a KeyTable<T>,
        other: &'a KeyTable<T>,
        is_same: impl Fn(&T, &T) -> bool,
    ) {
        let differs = |one: &&T| !other.get(one.key()).is_some_and(|two| is_same(one, two));
        self.add_keys(kind, table.iter().filter(differs).map(Keyed::key));
        let is_missing = |one: &&T| table.get(one.key()).is_none();
        self.add_keys(kind, other.iter().filter(is_missing).map(Keyed::key));
    }
}

fn is_same_flag(one: &Flag, two: &Flag) -> bool {
    (one.enabled, one.rollout_percent, one.client_side)
        == (two.enabled, two.rollout_percent, two.client_side)
        && one.identity.pk == two.identity.pk
        && one.allowed_users == two.allowed_users
        && (one.rules(), one.bucket_by()) == (two.rules(), two.bucket_by())
        && one.watch().is_some() == two.watch().is_some()
}
