//! The groups of the project's users: those that rules name, and their members.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::subject::Subject;
use crate::user_set::{UserSet, Users};

/// The groups that rules refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupReferences {
    /// The groups with these names.
    Named(BTreeSet<Box<str>>),
    /// All groups: an operator other than `in` may match any name.
    All,
}

impl Default for GroupReferences {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl GroupReferences {
    /// Whether no group is referred to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }

    /// Whether every group of `other` is one of these.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Named(names), Self::Named(others)) => names.is_superset(others),
            (Self::Named(_), Self::All) => false,
        }
    }

    /// Adds the groups with these names.
    pub fn add<'a>(&mut self, more: impl Iterator<Item = &'a str>) {
        if let Self::Named(names) = self {
            names.extend(more.map(Into::into));
        }
    }

    /// The names, `None` for all groups.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::Named(names) => Some(names.iter().map(|name| &**name).collect()),
            Self::All => None,
        }
    }
}

/// The members of the groups that rules refer to, by the name of the group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    references: GroupReferences,
    members: HashMap<Box<str>, UserSet>,
}

impl Groups {
    /// The groups of `references` that exist, with their members.
    #[must_use]
    pub fn new(
        references: GroupReferences,
        members: impl IntoIterator<Item = (Box<str>, UserSet)>,
    ) -> Self {
        Self { references, members: members.into_iter().collect() }
    }

    /// These groups after users have joined and left the one with this name. `None` if there is no such
    /// group, or if the keys of the users have another type.
    #[must_use]
    pub fn updated(mut self, name: &str, joined: Users, left: Users) -> Option<Self> {
        let members = self.members.get_mut(name)?;
        *members = members.updated(joined, left)?;
        Some(self)
    }

    /// Those of these groups that `references` names, all of which were read.
    #[must_use]
    pub fn only(&self, references: GroupReferences) -> Self {
        let is_named = |name: &str| match &references {
            GroupReferences::Named(names) => names.contains(name),
            GroupReferences::All => true,
        };
        let members = self.members.iter().filter(|(name, _)| is_named(name));
        let members = members.map(|(name, users)| (name.clone(), users.clone())).collect();
        Self { references, members }
    }

    /// The names of the groups that were read, `None` for all groups.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        self.references.names()
    }

    /// Whether all groups of `references` were read.
    #[must_use]
    pub fn cover(&self, references: &GroupReferences) -> bool {
        self.references.covers(references)
    }

    /// Whether exactly the groups of `references` were read.
    #[must_use]
    pub fn are_those_of(&self, references: &GroupReferences) -> bool {
        self.references == *references
    }

    /// Whether rules refer to groups.
    #[must_use]
    pub fn are_read(&self) -> bool {
        !self.references.is_empty()
    }

    /// Whether there is a group with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The members of the group with this name, `None` if there is no such group.
    #[must_use]
    pub fn members(&self, name: &str) -> Option<&UserSet> {
        self.members.get(name)
    }

    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no groups.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// The groups of one subject: the list of their names, without the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupsOf<'a> {
    groups: &'a Groups,
    subject: Subject<'a>,
}

impl<'a> GroupsOf<'a> {
    /// The groups of `subject`.
    #[must_use]
    pub fn new(groups: &'a Groups, subject: Subject<'a>) -> Self {
        Self { groups, subject }
    }

    /// Whether the subject is a member of the group with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.groups.members.get(name).is_some_and(|members| members.contains(&self.subject))
    }

    /// The names of the groups, in no order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        let Self { groups, subject } = *self;
        let groups = groups.members.iter().filter(move |(_, members)| members.contains(&subject));
        groups.map(|(name, _)| &**name)
    }
}
