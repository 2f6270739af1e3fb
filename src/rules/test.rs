//! The test of a condition: an operator and its values.

use std::cmp::Ordering;

use regex::Regex;

use super::attributes::Value;
use super::moment::Moment;
use super::number::{Number, with_text};
use super::version::Version;

/// An operator and its values. An attribute passes if it matches one of the values.
#[derive(Debug)]
pub(super) enum Test {
    In(Members),
    Contains(Texts),
    StartsWith(Texts),
    EndsWith(Texts),
    Matches(Box<[Regex]>),
    Compares(Comparison, Box<[Bound]>),
    /// The values are valid versions.
    ComparesVersion(Comparison, Texts),
    /// Whether the attribute must be missing.
    IsNull(bool),
}

pub(super) type Texts = Box<[Box<str>]>;

/// Which results of a comparison match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Comparison {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
        }
    }
}

impl Test {
    /// Whether an attribute that is there matches. On a list, one matching element is enough.
    pub(super) fn matches(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::IsNull(is_null), _) => !is_null,
            (_, Value::List(elements)) => elements.iter().any(|element| self.matches_one(element)),
            (Self::In(members), Value::Groups(groups)) => {
                members.all_texts().any(|name| groups.contains(name))
            }
            (_, Value::Groups(groups)) => {
                groups.names().any(|name| self.matches_one(&Value::Text(name)))
            }
            _ => self.matches_one(value),
        }
    }

    fn matches_one(&self, value: &Value<'_>) -> bool {
        match self {
            Self::In(members) => members.contains(value),
            Self::Contains(texts) => any_text(texts, value, |text, part| text.contains(part)),
            Self::StartsWith(texts) => any_text(texts, value, |text, part| text.starts_with(part)),
            Self::EndsWith(texts) => any_text(texts, value, |text, part| text.ends_with(part)),
            Self::Matches(patterns) => {
                let found = |text: &str| patterns.iter().any(|pattern| pattern.is_match(text));
                with_text(value, found) == Some(true)
            }
            Self::Compares(comparison, bounds) => bounds
                .iter()
                .any(|bound| bound.compare(value).is_some_and(|found| comparison.accepts(found))),
            Self::ComparesVersion(comparison, versions) => {
                let found = |text: &str| compares_version(*comparison, text, versions);
                with_text(value, found) == Some(true)
            }
            Self::IsNull(is_null) => !is_null,
        }
    }
}

fn any_text(texts: &Texts, value: &Value<'_>, test: impl Fn(&str, &str) -> bool) -> bool {
    with_text(value, |text| texts.iter().any(|part| test(text, part))) == Some(true)
}

fn compares_version(comparison: Comparison, text: &str, versions: &Texts) -> bool {
    let Some(version) = Version::parse(text) else { return false };
    let mut bounds = versions.iter().filter_map(|text| Version::parse(text));
    bounds.any(|bound| comparison.accepts(version.cmp(&bound)))
}

/// A value that an attribute is less or greater than.
#[derive(Debug)]
pub(super) enum Bound {
    Number(Number),
    /// A text, and the date or datetime that it is.
    Text(Box<str>, Option<Moment>),
}

impl Bound {
    /// Compares an attribute with this value. Unlike types do not compare.
    fn compare(&self, value: &Value<'_>) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(number), _) => number.compare(value),
            // The order of UTF-8 is the order of code points.
            (Self::Text(bound, _), Value::Text(text)) => Some((**text).cmp(bound)),
            (Self::Text(_, moment), _) => moment.and_then(|moment| moment.compare(value)),
        }
    }
}

/// The values of `in`.
#[derive(Debug, Default)]
pub(super) struct Members {
    has_true: bool,
    has_false: bool,
    numbers: Box<[Number]>,
    /// In order.
    texts: Texts,
    /// The numbers as Python writes them, in order.
    number_texts: Texts,
    moments: Box<[Moment]>,
}

impl Members {
    pub(super) fn new(bools: &[bool], numbers: Vec<Number>, mut texts: Vec<Box<str>>) -> Self {
        let mut number_texts: Vec<_> = numbers.iter().map(Number::python_text).collect();
        number_texts.sort_unstable();
        texts.sort_unstable();
        Self {
            has_true: bools.contains(&true),
            has_false: bools.contains(&false),
            moments: texts.iter().filter_map(|text| Moment::parse(text)).collect(),
            numbers: numbers.into(),
            texts: texts.into(),
            number_texts: number_texts.into(),
        }
    }

    fn contains(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Bool(true) => self.has_true,
            Value::Bool(false) => self.has_false,
            Value::Text(text) => has(&self.texts, text) || has(&self.number_texts, text),
            Value::Integer(_) | Value::Decimal(_) | Value::Float(_) => self.contains_number(value),
            Value::Date(_) | Value::DateTime { .. } => {
                self.moments.iter().any(|moment| moment.equals(value))
            }
            Value::List(_) | Value::Groups(_) => false,
        }
    }

    /// The texts that match: those of the values, and the numbers as Python writes them.
    pub(super) fn all_texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().chain(&self.number_texts).map(|text| &**text)
    }

    fn contains_number(&self, value: &Value<'_>) -> bool {
        let is_equal = |number: &Number| number.compare(value).is_some_and(Ordering::is_eq);
        let has_text = || with_text(value, |text| has(&self.texts, text)) == Some(true);
        self.numbers.iter().any(is_equal) || (!self.texts.is_empty() && has_text())
    }
}

fn has(sorted: &Texts, text: &str) -> bool {
    sorted.binary_search_by(|other| (**other).cmp(text)).is_ok()
}
