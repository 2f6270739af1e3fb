//! The primary key of a row, which identifies it from one load to the next.

use std::fmt;

use crate::subject::canonical_integer;

/// The primary key of a row. An integer, as most are, needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PrimaryKey {
    /// An integer in canonical form.
    Integer(i64),
    /// Any other text, such as that of a UUID.
    Text(Box<str>),
    /// That of a declared key without a row.
    None,
}

impl fmt::Display for PrimaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(pk) => pk.fmt(f),
            Self::Text(pk) => f.write_str(pk),
            Self::None => Ok(()),
        }
    }
}

impl From<&str> for PrimaryKey {
    fn from(text: &str) -> Self {
        canonical_integer(text).map_or_else(|| Self::Text(text.into()), Self::Integer)
    }
}

impl From<String> for PrimaryKey {
    fn from(text: String) -> Self {
        canonical_integer(&text).map_or_else(|| Self::Text(text.into()), Self::Integer)
    }
}
