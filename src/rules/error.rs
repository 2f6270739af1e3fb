//! Why rules cannot be read: the place, what is wrong, and what to do.

use std::fmt;

use super::texts;
use crate::message::{Message, Template, Value};

/// The longest name of rules that a message repeats, in characters.
const SHOWN: usize = 100;

/// Why rules or conditions cannot be read. Contains names, but no value of a condition, because
/// values may be personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// From the outermost place to the innermost one.
    pub places: Vec<Message>,
    /// What is wrong there.
    pub message: Message,
}

impl RuleError {
    pub(super) fn new(message: impl Into<Message>) -> Self {
        Self { places: Vec::new(), message: message.into() }
    }

    pub(super) fn with<const N: usize>(
        template: &'static Template,
        values: [(&'static str, Value); N],
    ) -> Self {
        Self::new(template.with(values))
    }

    /// The same error, inside of `place`.
    pub(super) fn at(mut self, place: Message) -> Self {
        self.places.insert(0, place);
        self
    }
}

/// The place with this number, from 1.
pub(super) fn numbered(place: &'static Template, number: usize) -> Message {
    place.with([("number", number.to_string().into())])
}

impl From<RuleError> for Message {
    fn from(RuleError { places, message }: RuleError) -> Self {
        if places.is_empty() {
            return message;
        }
        texts::IN_PLACES.with([("places", Value::List(places)), ("problem", message.into())])
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Message::from(self.clone()).fmt(f)
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
