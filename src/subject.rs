//! Who asks: nobody, or the primary key of a user.
//!
//! Knows no Python and no user model: whoever builds a subject has already read the key.

/// Who asks a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// No user, or one without a primary key.
    Nobody,
    /// A user with an integer key.
    Integer(i64),
    /// A user with any other key, as Python's `str()` writes it.
    Text(&'a str),
}

impl Subject<'_> {
    /// Calls `with` with the text that is hashed, or gives `None` for nobody.
    ///
    /// An integer is formatted on the stack, so nothing is allocated.
    pub fn text<T>(&self, with: impl FnOnce(&str) -> T) -> Option<T> {
        match self {
            Subject::Nobody => None,
            Subject::Integer(key) => Some(with(itoa::Buffer::new().format(*key))),
            Subject::Text(key) => Some(with(key)),
        }
    }

    /// The key as an integer, where its text is one in canonical form: `"42"`, not `"042"`.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Subject::Nobody => None,
            Subject::Integer(key) => Some(*key),
            Subject::Text(text) => canonical_integer(text),
        }
    }
}

/// Reads an `i64` only from the text that formatting it would give.
#[must_use]
pub fn canonical_integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (itoa::Buffer::new().format(number) == text).then_some(number)
}
