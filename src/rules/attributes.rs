//! What rules read: the attributes of a subject, and the caller's context.

use crate::groups::GroupsOf;

/// The attribute whose value is the list of the subject's groups.
pub const GROUPS: &str = "groups";

/// The attributes of one evaluation.
pub trait Attributes {
    /// Calls `with` with the attribute of this name. Called only when a condition needs it, and
    /// again for each condition that does.
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T;

    /// The same for the attribute that a percentage buckets by. Called only for a percentage from 1
    /// to 99: a browser gets a visitor's id then, and not before.
    fn read_unit<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        self.read(name, with)
    }

    /// Calls `with` with the text of the unit that the percentages of the row bucket by. `None` if
    /// it is missing, and outside of a row. Called only for a condition on a bucket.
    fn unit<T>(&self, _with: impl FnOnce(&str) -> T) -> Option<T> {
        None
    }

    /// The result of the flag with this key, which a condition needs; `None` if the flag is unknown,
    /// off or unreadable, or needs flags without an end.
    fn flag(&self, _key: &str) -> Option<bool> {
        None
    }

    /// The time in UTC at which the clock of the project's time zone shows this time, both in
    /// microseconds since 1970-01-01T00:00. Called only for a time without an offset.
    fn utc(&self, wall: i64) -> i64 {
        wall
    }
}

/// An attribute, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute<'a> {
    /// It has no value.
    Missing,
    /// It is an attribute of the user object, and the caller has passed only a primary key.
    NeedsUser,
    /// Only a call knows it, and there is none: each condition on it is false.
    Unknown,
    /// Its value.
    Value(Value<'a>),
}

/// The value of an attribute. Any type that is not listed arrives as its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `True` or `False`.
    Bool(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// A longer integer, or a `Decimal`, as Python's `str()` writes it.
    Decimal(&'a str),
    /// A float.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// A date, in days since 1970-01-01.
    Date(i32),
    /// A datetime, in microseconds since 1970-01-01T00:00 UTC.
    DateTime(i64),
    /// A list of the others. A list in a list matches nothing.
    List(&'a [Value<'a>]),
    /// The list of the names of the subject's groups.
    Groups(GroupsOf<'a>),
}

/// No attributes: each is missing.
#[derive(Clone, Copy, Debug)]
pub struct NoAttributes;

impl Attributes for NoAttributes {
    fn read<T>(&self, _name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        with(Attribute::Missing)
    }
}
