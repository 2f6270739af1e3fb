//! The groups that the rules of a snapshot refer to.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::problems::Problems;
use crate::boot_time::since_boot;
use crate::groups::{GroupReferences, Groups};
use crate::message::Value;
use crate::row::{GroupRow, Problem, Users};

/// The groups of a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownGroups {
    /// `None` if the database offers none, or if they could never be read.
    groups: Option<Arc<Groups>>,
    /// Whether the next load must read them, although no token says so.
    must_be_read: bool,
    problems: Problems,
    /// When all members were read, as a time since the boot.
    read_at: Duration,
}

impl KnownGroups {
    /// The groups; `None` if the database offers none.
    pub(super) fn known(&self) -> Option<&Groups> {
        self.groups.as_deref()
    }

    /// The time since all members were read; `None` if no rule refers to groups.
    pub(super) fn age(&self) -> Option<Duration> {
        self.known().filter(|groups| groups.are_read())?;
        Some(since_boot().saturating_sub(self.read_at))
    }

    pub(super) fn must_be_read(&self) -> bool {
        self.must_be_read
    }

    pub(super) fn are_unreadable(&self) -> bool {
        self.problems.iter().any(Problem::is_of_groups)
    }

    pub(super) fn problems(&self) -> &Problems {
        &self.problems
    }

    /// The groups that were read for `references`, after these.
    ///
    /// Those that no rule has named before are read once more: a transaction that was open then
    /// has written no token for its new members.
    pub(super) fn next(&self, references: GroupReferences, rows: Vec<GroupRow>) -> Self {
        let must_be_read = self.known().is_some_and(|known| !known.cover(&references));
        let members = by_name(rows).into_iter().map(|(name, users)| (name, users.into()));
        let groups = Some(Arc::new(Groups::new(references, members)));
        let problems = if self.are_unreadable() {
            self.problems.next(Vec::new())
        } else {
            self.problems.clone()
        };
        Self { groups, must_be_read, problems, read_at: since_boot() }
    }

    /// These groups after changes of some members; `None` if one of the groups is unknown.
    pub(super) fn updated(&self, rows: Vec<GroupRow>) -> Option<Self> {
        let mut groups = self.known()?.clone();
        for GroupRow { name, users, absent } in rows {
            groups = groups.updated(&name, users, absent)?;
        }
        Some(self.with(groups))
    }

    /// The same groups, because the present ones cannot be read.
    pub(super) fn stale(self, why: impl Into<Value>) -> Self {
        let problem = Problem::of_groups(self.groups.is_some(), why);
        Self { must_be_read: true, ..self.with_problems(vec![problem]) }
    }

    /// The groups that could be read at the last attempt.
    pub(super) fn readable(&self) -> Option<&Groups> {
        self.known().filter(|_| !self.are_unreadable())
    }

    /// Other groups, with the same problems.
    pub(super) fn with(&self, groups: Groups) -> Self {
        Self { groups: Some(Arc::new(groups)), ..self.clone() }
    }

    /// The same groups with other problems.
    pub(super) fn with_problems(self, problems: Vec<Problem>) -> Self {
        let problems = self.problems.next(problems);
        Self { problems, ..self }
    }
}

/// The members of the groups by name, which two groups may share.
fn by_name(rows: Vec<GroupRow>) -> HashMap<Box<str>, Users> {
    let mut members: HashMap<_, Users> = HashMap::new();
    for GroupRow { name, users, .. } in rows {
        match (members.get_mut(&name), users) {
            (Some(Users::Integers(known)), Users::Integers(users)) => known.extend(users),
            (Some(Users::Texts(known)), Users::Texts(users)) => known.extend(users),
            (_, users) => drop(members.insert(name, users)),
        }
    }
    members
}
