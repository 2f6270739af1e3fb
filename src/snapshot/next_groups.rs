//! Which groups a load must read for a snapshot, and the snapshot with them.

use std::time::Duration;

use super::Snapshot;
use crate::groups::{GroupReferences, Groups};
use crate::message::Value;
use crate::row::GroupRow;

impl Snapshot {
    /// The groups that rules refer to; `None` if the database offers none.
    #[must_use]
    #[inline]
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.known()
    }

    /// Whether rules refer to groups.
    #[must_use]
    pub fn reads_groups(&self) -> bool {
        self.groups().is_some_and(Groups::are_read)
    }

    /// The time since all members of the groups were read; `None` if no rule refers to groups.
    #[must_use]
    pub fn age_of_members(&self) -> Option<Duration> {
        self.groups.age()
    }

    /// Whether the next load must read groups, although no token says so: they could not be read,
    /// or no rule has named them before.
    #[must_use]
    pub fn must_read_groups(&self) -> bool {
        self.groups.must_be_read()
    }

    /// Whether the groups could not be read.
    #[must_use]
    pub fn has_unreadable_groups(&self) -> bool {
        self.groups.are_unreadable()
    }

    /// The groups that must be read for this snapshot; `None` if those that it has will do.
    /// `changed` is whether they may have changed since.
    #[must_use]
    pub fn wanted_groups(&self, changed: bool) -> Option<GroupReferences> {
        let references = self.group_references();
        let is_current = !changed && !self.must_read_groups();
        let covers = |groups: &Groups| groups.cover(&references);
        if is_current && self.groups().is_some_and(covers) { None } else { Some(references) }
    }

    /// The groups that rules refer to.
    fn group_references(&self) -> GroupReferences {
        let mut references = GroupReferences::default();
        for (_, rules) in self.rules() {
            rules.add_group_references(&mut references);
        }
        references
    }

    /// The same snapshot without the groups that no rule refers to any longer: a change of these
    /// writes no token.
    #[must_use]
    pub(super) fn without_unnamed_groups(self) -> Self {
        let references = self.group_references();
        let is_wider =
            |known: &&Groups| known.cover(&references) && !known.are_those_of(&references);
        match self.groups.readable().filter(is_wider) {
            None => self,
            Some(known) => {
                let groups = self.groups.with(known.only(references));
                Self { groups, ..self }
            }
        }
    }

    /// The same snapshot with the groups that were read for `references`.
    #[must_use]
    pub fn with_groups(self, references: GroupReferences, rows: Vec<GroupRow>) -> Self {
        let groups = self.groups.next(references, rows);
        Self { groups, ..self }.with_missing_groups()
    }

    /// The same snapshot after changes of some members; `None` if all must be read.
    #[must_use]
    pub fn with_members(self, rows: Vec<GroupRow>) -> Option<Self> {
        let groups = self.groups.updated(rows)?;
        Some(Self { groups, ..self })
    }

    /// The same snapshot with the groups that rules name and that do not exist as problems. Rules
    /// that name further groups make the load read groups again.
    #[must_use]
    pub(super) fn with_missing_groups(self) -> Self {
        match self.groups.readable().map(|groups| self.missing_groups(groups)) {
            None => self,
            Some(problems) => Self { groups: self.groups.with_problems(problems), ..self },
        }
    }

    /// The same snapshot with the last good groups, because the present ones cannot be read.
    #[must_use]
    pub fn with_unreadable_groups(self, why: impl Into<Value>) -> Self {
        Self { groups: self.groups.stale(why), ..self }
    }
}
