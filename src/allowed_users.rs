//! The allowed users of a flag: a compressed bitmap of integer keys, or a set of texts.

use hashbrown::HashSet;
use roaring::RoaringTreemap;

use crate::subject::Subject;

/// The primary keys of the users who have a flag regardless of its rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AllowedUsers {
    /// No users.
    #[default]
    Empty,
    /// Integer keys. Negative ones are kept as the `u64` with the same bits.
    Integers(RoaringTreemap),
    /// Keys of any other type, as Python's `str()` writes them.
    Texts(HashSet<Box<str>>),
}

impl AllowedUsers {
    /// The users with these integer keys.
    #[must_use]
    pub fn of_integers(keys: impl IntoIterator<Item = i64>) -> Self {
        let keys: RoaringTreemap = keys.into_iter().map(i64::cast_unsigned).collect();
        if keys.is_empty() { Self::Empty } else { Self::Integers(keys) }
    }

    /// The users with these textual keys.
    #[must_use]
    pub fn of_texts<T: Into<Box<str>>>(keys: impl IntoIterator<Item = T>) -> Self {
        let keys: HashSet<Box<str>> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() { Self::Empty } else { Self::Texts(keys) }
    }

    /// Whether there are no allowed users.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether `subject` is one of the allowed users.
    #[must_use]
    pub fn contains(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Empty => false,
            Self::Integers(keys) => {
                subject.integer().is_some_and(|key| keys.contains(key.cast_unsigned()))
            }
            Self::Texts(keys) => subject.text(|key| keys.contains(key)) == Some(true),
        }
    }
}
