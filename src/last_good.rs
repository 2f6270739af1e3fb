//! What the text of a row means, or what it meant when it could last be read.

use std::sync::Arc;

use crate::row::{Fault, Unreadable};
use crate::rules::{ParsedRules, RuleError, SegmentConditions};

/// Something that is parsed from a text.
pub trait Parsed: Sized {
    /// The text that it was parsed from.
    fn text(&self) -> &str;
}

impl Parsed for ParsedRules {
    fn text(&self) -> &str {
        self.text()
    }
}

impl Parsed for SegmentConditions {
    fn text(&self) -> &str {
        self.text()
    }
}

/// The last good version of a text, and why the text of the row cannot be read.
#[derive(Debug, PartialEq)]
pub struct LastGood<T> {
    good: Option<Arc<T>>,
    bad: Option<Bad>,
}

#[derive(Clone, Debug, PartialEq)]
struct Bad {
    text: Option<Box<str>>,
    why: Unreadable,
}

impl<T> Clone for LastGood<T> {
    fn clone(&self) -> Self {
        Self { good: self.good.clone(), bad: self.bad.clone() }
    }
}

impl<T: Parsed> LastGood<T> {
    /// The meaning of a text that can be read.
    #[must_use]
    pub fn of(parsed: T) -> Self {
        Self { good: Some(Arc::new(parsed)), bad: None }
    }

    /// The meaning of `text`, after `before`. The same text is not parsed again.
    #[must_use]
    pub fn next(
        before: Option<&Self>,
        text: Result<Box<str>, Fault>,
        parse: impl FnOnce(&str) -> Result<T, RuleError>,
    ) -> Self {
        let good = before.and_then(|before| before.good.clone());
        let text = match text {
            Ok(text) => text,
            Err(fault) => {
                return Self {
                    good,
                    bad: Some(Bad { text: None, why: Unreadable::Column(fault) }),
                };
            }
        };
        if let Some(before) = before.filter(|before| before.text() == Some(&text)) {
            return before.clone();
        }
        // Also the last good text, when a bad one is taken back.
        if let Some(good) = good.as_ref().filter(|good| good.text() == &*text) {
            return Self { good: Some(good.clone()), bad: None };
        }
        match parse(&text) {
            Ok(parsed) => Self::of(parsed),
            Err(error) => {
                Self { good, bad: Some(Bad { text: Some(text), why: Unreadable::Text(error) }) }
            }
        }
    }

    /// Whether `text` is the one of the row, or the last good one: it is not parsed again.
    #[must_use]
    pub fn knows(&self, text: &str) -> bool {
        self.text() == Some(text) || self.good.as_ref().is_some_and(|good| good.text() == text)
    }

    /// The text of the row.
    fn text(&self) -> Option<&str> {
        match &self.bad {
            Some(bad) => bad.text.as_deref(),
            None => self.good.as_ref().map(|good| good.text()),
        }
    }

    /// The bytes of the text of the row, `None` if it cannot be read.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        self.text().filter(|_| self.bad.is_none()).map(str::len)
    }

    /// The last good version.
    #[must_use]
    pub fn good(&self) -> Option<&Arc<T>> {
        self.good.as_ref()
    }

    /// Why the text of the row cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> Option<&Unreadable> {
        self.bad.as_ref().map(|bad| &bad.why)
    }
}
