//! What rules depend on by the flags that their conditions name.

use std::collections::BTreeSet;

/// What rules depend on by the flags that they need, and by those that these need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// How many flags are needed one by the other. Above [`Needs::MAX_DEPTH`] if an evaluation does
    /// not follow them all: they form a circle, or are too many.
    pub depth: u8,
    /// The keys of these flags.
    pub flags: BTreeSet<Box<str>>,
    /// The attributes that they read, and their bucketing units.
    pub attributes: BTreeSet<Box<str>>,
    /// Their bucketing units, whatever their percentages are.
    pub units: BTreeSet<Box<str>>,
    /// Whether the result of one can differ between users.
    pub on_subject: bool,
    /// Whether the result of one can depend on the primary key.
    pub on_key: bool,
}

impl Needs {
    /// How many flags an evaluation follows, one needed by the other.
    pub const MAX_DEPTH: u8 = 4;
}
