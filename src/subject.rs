//! The subject of an evaluation: anonymous, or the primary key of a user.
//!
//! Depends on neither Python nor a user model: the caller has already read the key.

/// The user that a flag is evaluated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// No user, or one without a primary key.
    Anonymous,
    /// A user with an integer key.
    Integer(i64),
    /// A user with any other key, as Python's `str()` writes it.
    Text(&'a str),
}

impl Subject<'_> {
    /// Calls `with` with the text that is hashed. Returns `None` for an anonymous subject.
    ///
    /// An integer is formatted on the stack, so nothing is allocated.
    pub fn text<T>(&self, with: impl FnOnce(&str) -> T) -> Option<T> {
        match self {
            Subject::Anonymous => None,
            Subject::Integer(key) => Some(with(itoa::Buffer::new().format(*key))),
            Subject::Text(key) => Some(with(key)),
        }
    }

    /// The key as an integer, if its text is one in canonical form: `"42"`, not `"042"`.
    #[must_use]
    #[inline]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Subject::Anonymous => None,
            Subject::Integer(key) => Some(*key),
            Subject::Text(text) => canonical_integer(text),
        }
    }
}

/// Parses an `i64`, but only from the text that formatting it returns.
#[must_use]
pub fn canonical_integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (itoa::Buffer::new().format(number) == text).then_some(number)
}
