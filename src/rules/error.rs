//! Why rules cannot be read: the place, what is wrong, and what to do.

use std::fmt;

/// The longest name of rules that a message repeats, in characters.
const SHOWN: usize = 100;

/// Why rules or conditions cannot be read. Contains names, but no value of a condition, because
/// values may be personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// From the outermost place to the innermost one.
    places: Vec<Box<str>>,
    message: Box<str>,
}

impl RuleError {
    pub(super) fn new(message: impl Into<Box<str>>) -> Self {
        Self { places: Vec::new(), message: message.into() }
    }

    /// The same error, inside of `place`.
    pub(super) fn at(mut self, place: impl Into<Box<str>>) -> Self {
        self.places.insert(0, place.into());
        self
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.places.is_empty() {
            write!(f, "{}: ", self.places.join(", "))?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for RuleError {}

/// A name as a message shows it: quoted, on one line, and not too long.
pub(super) fn quoted(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// The names, quoted and separated by commas.
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}
