//! Users by their primary keys: a sorted list or a compressed bitmap of integers, or a set of texts.
//! They are the allowed users of a flag, or the members of a group.

use hashbrown::HashSet;
use roaring::RoaringTreemap;

use crate::subject::Subject;

/// The number of integer keys that are kept as a list: it is searched faster than a bitmap, and
/// smaller.
const FEW: usize = 64;

/// The primary keys of some users.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum UserSet {
    /// No users.
    #[default]
    Empty,
    /// A few integer keys, in order.
    Few(Box<[i64]>),
    /// Integer keys. Negative ones are kept as the `u64` with the same bits.
    Integers(RoaringTreemap),
    /// Keys of any other type, as Python's `str()` writes them.
    Texts(HashSet<Box<str>>),
}

/// Primary keys of users, in the type of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Integers of any width.
    Integers(Vec<i64>),
    /// Any other type, as text.
    Texts(Vec<String>),
}

impl Default for Users {
    fn default() -> Self {
        Self::Texts(Vec::new())
    }
}

impl From<Users> for UserSet {
    fn from(users: Users) -> Self {
        match users {
            Users::Integers(keys) => Self::of_integers(keys),
            Users::Texts(keys) => Self::of_texts(keys),
        }
    }
}

impl UserSet {
    /// The users with these integer keys.
    #[must_use]
    pub fn of_integers(keys: impl IntoIterator<Item = i64>) -> Self {
        Self::of_set(keys.into_iter().map(i64::cast_unsigned).collect())
    }

    fn of_set(keys: RoaringTreemap) -> Self {
        if keys.is_empty() {
            return Self::Empty;
        }
        if keys.len() > FEW as u64 {
            return Self::Integers(keys);
        }
        let mut keys: Box<[i64]> = keys.into_iter().map(u64::cast_signed).collect();
        keys.sort_unstable();
        Self::Few(keys)
    }

    /// The users with these textual keys.
    #[must_use]
    pub fn of_texts<T: Into<Box<str>>>(keys: impl IntoIterator<Item = T>) -> Self {
        let keys: HashSet<Box<str>> = keys.into_iter().map(Into::into).collect();
        if keys.is_empty() { Self::Empty } else { Self::Texts(keys) }
    }

    /// The same users with others added and removed. `None` if the keys have another type.
    #[must_use]
    pub fn updated(&self, added: Users, removed: Users) -> Option<Self> {
        match (added, removed) {
            (Users::Integers(added), Users::Integers(removed)) => {
                let mut keys = self.integers()?;
                keys.extend(added.into_iter().map(i64::cast_unsigned));
                for key in removed {
                    keys.remove(key.cast_unsigned());
                }
                Some(Self::of_set(keys))
            }
            (Users::Texts(added), Users::Texts(removed)) => {
                let mut keys = match self {
                    Self::Empty => HashSet::new(),
                    Self::Texts(keys) => keys.clone(),
                    _ => return None,
                };
                keys.extend(added.into_iter().map(Into::into));
                for key in removed {
                    keys.remove(key.as_str());
                }
                Some(if keys.is_empty() { Self::Empty } else { Self::Texts(keys) })
            }
            _ => None,
        }
    }

    /// The integer keys, `None` for texts.
    fn integers(&self) -> Option<RoaringTreemap> {
        match self {
            Self::Empty => Some(RoaringTreemap::new()),
            Self::Few(keys) => Some(keys.iter().copied().map(i64::cast_unsigned).collect()),
            Self::Integers(keys) => Some(keys.clone()),
            Self::Texts(_) => None,
        }
    }

    /// Whether there are no users.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether `subject` is one of the users.
    #[must_use]
    #[inline]
    pub fn contains(&self, subject: &Subject<'_>) -> bool {
        match (self, subject) {
            (Self::Empty, _) => false,
            (Self::Few(keys), Subject::Integer(key)) => keys.binary_search(key).is_ok(),
            _ => self.contains_any(subject),
        }
    }

    /// The same for every set and subject. Not inlined: most flags have no allowed users, or few.
    #[inline(never)]
    fn contains_any(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Empty => false,
            Self::Few(keys) => {
                subject.integer().is_some_and(|key| keys.binary_search(&key).is_ok())
            }
            Self::Integers(keys) => {
                subject.integer().is_some_and(|key| keys.contains(key.cast_unsigned()))
            }
            Self::Texts(keys) => subject.text(|key| keys.contains(key)) == Some(true),
        }
    }
}
