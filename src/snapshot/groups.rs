//! The groups that the rules of a snapshot refer to.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{KeyTable, Snapshot};
use crate::flag::Flag;
use crate::groups::{GroupReferences, Groups};
use crate::row::{GroupRow, Problem, Users};

/// The groups of a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownGroups {
    /// `None` if the database offers none, or if they could never be read.
    groups: Option<Arc<Groups>>,
    /// Whether they are older than the snapshot, because they could not be read.
    are_stale: bool,
    problems: Arc<[Problem]>,
}

impl KnownGroups {
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Finds the groups that rules name and that do not exist. Rules that name further groups make
    /// the load read groups again.
    pub(super) fn find_missing(&mut self, flags: &KeyTable<Flag>) {
        if let Some(groups) = self.groups.as_ref().filter(|_| !self.are_stale) {
            self.problems = missing_groups(flags, groups);
        }
    }
}

impl Snapshot {
    /// The groups that rules refer to; `None` if the database offers none.
    #[must_use]
    #[inline]
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.groups.as_deref()
    }

    /// Whether the groups are older than the snapshot, because they could not be read.
    #[must_use]
    pub fn has_stale_groups(&self) -> bool {
        self.groups.are_stale
    }

    /// The groups that must be read for this snapshot; `None` if those that it has will do.
    /// `changed` is whether they may have changed since.
    #[must_use]
    pub fn wanted_groups(&self, changed: bool) -> Option<GroupReferences> {
        let references = group_references(&self.flags);
        let is_current = !changed && !self.groups.are_stale;
        let covers = |groups: &Groups| groups.cover(&references);
        if is_current && self.groups().is_some_and(covers) { None } else { Some(references) }
    }

    /// The same snapshot with the groups that were read for `references`.
    #[must_use]
    pub fn with_groups(self, references: GroupReferences, rows: Vec<GroupRow>) -> Self {
        let members = by_name(rows).into_iter().map(|(name, users)| (name, users.into()));
        let groups = Some(Arc::new(Groups::new(references, members)));
        let mut groups = KnownGroups { groups, ..KnownGroups::default() };
        groups.find_missing(&self.flags);
        Self { groups, ..self }
    }

    /// The same snapshot with the last good groups, because the present ones cannot be read.
    #[must_use]
    pub fn with_unreadable_groups(self, why: &str) -> Self {
        let problems = [Problem::of_groups(self.groups.groups.is_some(), why)].into();
        Self { groups: KnownGroups { are_stale: true, problems, ..self.groups }, ..self }
    }
}

/// The members of the groups by name, which two groups may share.
fn by_name(rows: Vec<GroupRow>) -> HashMap<Box<str>, Users> {
    let mut members: HashMap<_, Users> = HashMap::new();
    for GroupRow { name, users } in rows {
        match (members.get_mut(&name), users) {
            (Some(Users::Integers(known)), Users::Integers(users)) => known.extend(users),
            (Some(Users::Texts(known)), Users::Texts(users)) => known.extend(users),
            (_, users) => drop(members.insert(name, users)),
        }
    }
    members
}

/// The groups that the rules of these flags refer to.
fn group_references(flags: &KeyTable<Flag>) -> GroupReferences {
    let mut references = GroupReferences::default();
    for rules in flags.iter().filter_map(|flag| flag.rules()?.rules()) {
        rules.add_group_references(&mut references);
    }
    references
}

/// The groups that rules name and that do not exist.
fn missing_groups(flags: &KeyTable<Flag>, groups: &Groups) -> Arc<[Problem]> {
    let mut missing = Vec::new();
    for flag in flags.iter() {
        let Some(rules) = flag.rules().and_then(|rules| rules.rules()) else { continue };
        let mut references = GroupReferences::default();
        rules.add_group_references(&mut references);
        let absent = references.names().unwrap_or_default().into_iter();
        let absent = absent.filter(|name| !groups.contains(name));
        missing.extend(absent.map(|name| (flag.identity.key.clone(), Box::<str>::from(name))));
    }
    missing.sort_unstable();
    missing.iter().map(|(flag, group)| Problem::of_missing_group(flag, group)).collect()
}
