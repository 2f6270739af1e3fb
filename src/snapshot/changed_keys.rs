//! The keys whose result can differ between two snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Snapshot;
use super::key_table::{KeyTable, Keyed};
use super::ruled::Ruled;
use crate::flag::Flag;
use crate::groups::{GroupReferences, Groups};
use crate::rules::Rules;

impl Snapshot {
    /// The keys of the flags, values and experiments whose result can differ from the one in
    /// `older`, in order.
    #[must_use]
    pub fn changed_keys<'a>(&'a self, older: &'a Self) -> BTreeSet<&'a str> {
        let mut keys = BTreeSet::new();
        let groups = ChangedGroups { now: self.groups.known(), before: older.groups.known() };
        let groups_differ = groups.differ();
        if groups_differ || !self.flags.is_same(&older.flags) {
            add_changed(&self.flags, &older.flags, &mut keys, |now, before| {
                is_same_flag(now, before) && !(groups_differ && groups.matter_to(now))
            });
        }
        if groups_differ || !self.experiments.is_same(&older.experiments) {
            add_changed(&self.experiments, &older.experiments, &mut keys, |now, before| {
                now == before && !(groups_differ && groups.matter_to(now))
            });
        }
        if groups_differ || !self.values.is_same(&older.values) {
            let (now, before) = (self.values.by_key(), older.values.by_key());
            add_changed(now, before, &mut keys, |now, before| {
                now.is_same(before) && !(groups_differ && groups.matter_to(now))
            });
        }
        self.add_dependants(&mut keys);
        keys
    }

    /// Adds the keys of the rows whose rules need one of these flags. Rules that need other flags than
    /// before are changed themselves.
    fn add_dependants<'a>(&'a self, keys: &mut BTreeSet<&'a str>) {
        let is_changed =
            |rules: &Rules| rules.needs().flags.iter().any(|key| keys.contains(&**key));
        let dependants = self.rules().filter(|(_, rules)| is_changed(rules));
        let dependants: Vec<_> = dependants.map(|((_, key), _)| key).collect();
        keys.extend(dependants);
    }
}

/// Adds the keys that one of the tables lacks, or whose entries are not the same.
fn add_changed<'a, T: Keyed>(
    now: &'a KeyTable<T>,
    before: &'a KeyTable<T>,
    keys: &mut BTreeSet<&'a str>,
    is_same: impl Fn(&T, &T) -> bool,
) {
    let changed = now
        .iter()
        .filter(|entry| !before.get(entry.key()).is_some_and(|before| is_same(entry, before)));
    keys.extend(changed.map(Keyed::key));
    keys.extend(before.iter().map(Keyed::key).filter(|key| now.get(key).is_none()));
}

/// Whether both give every subject the same result, as long as their groups are the same.
fn is_same_flag(one: &Flag, other: &Flag) -> bool {
    let is_same_targeting = match (&one.targeting, &other.targeting) {
        (Some(one), Some(other)) if Arc::ptr_eq(one, other) => true,
        _ => one.rules() == other.rules() && one.bucket_by() == other.bucket_by(),
    };
    is_same_targeting
        && (one.enabled, one.rollout_percent) == (other.enabled, other.rollout_percent)
        && (Arc::ptr_eq(&one.allowed_users, &other.allowed_users)
            || one.allowed_users == other.allowed_users)
}

/// The groups of two snapshots.
struct ChangedGroups<'a> {
    now: Option<&'a Groups>,
    before: Option<&'a Groups>,
}

impl ChangedGroups<'_> {
    fn differ(&self) -> bool {
        !self.now.map(std::ptr::from_ref).eq(&self.before.map(std::ptr::from_ref))
            && self.now != self.before
    }

    /// Whether the rules of this row read a group whose members have changed.
    fn matter_to(&self, row: &impl Ruled) -> bool {
        let Some(rules) = row.rules().and_then(|rules| rules.rules()) else { return false };
        let mut references = GroupReferences::default();
        rules.add_group_references(&mut references);
        match (references.names(), self.now, self.before) {
            (Some(names), Some(now), Some(before)) => {
                names.into_iter().any(|name| now.members(name) != before.members(name))
            }
            _ => !references.is_empty(),
        }
    }
}
