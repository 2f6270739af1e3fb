//! The test of a condition: an operator and its values.

use std::cmp::Ordering;

use regex::Regex;

use super::attributes::{Attributes, Value};
use super::moment::Moment;
use super::number::{Number, is_nan, is_number_text, with_text};
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
    Eq,
    Lt,
    Lte,
    Gt,
    Gte,
}

impl Comparison {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Lt => ordering.is_lt(),
            Self::Lte => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Gte => ordering.is_ge(),
        }
    }
}

impl Test {
    /// Whether an attribute that is there matches; `None` if no value can match one of its type. On a
    /// list, one matching element is enough.
    pub(super) fn matches(&self, value: &Value<'_>, zone: &impl Attributes) -> Option<bool> {
        match (self, value) {
            (Self::IsNull(is_null), _) => Some(!is_null),
            (Self::In(members), Value::Groups(groups)) => {
                if members.all_texts().any(|name| groups.contains(name)) {
                    return Some(true);
                }
                // As on an empty list, no value matches without groups.
                members.other_text.or_else(|| groups.names().next().is_none().then_some(false))
            }
            (_, Value::Groups(groups)) => self.matches_any(groups.names().map(Value::Text), zone),
            (_, Value::List(elements)) => self.matches_any(elements.iter().copied(), zone),
            _ => self.matches_one(value, zone),
        }
    }

    #[inline(never)]
    fn matches_any<'a>(
        &self,
        elements: impl Iterator<Item = Value<'a>>,
        zone: &impl Attributes,
    ) -> Option<bool> {
        let mut elements = elements.map(|element| self.matches_one(&element, zone)).peekable();
        // An empty list is there, and matches nothing.
        if elements.peek().is_none() { Some(false) } else { any(elements) }
    }

    fn matches_one(&self, value: &Value<'_>, zone: &impl Attributes) -> Option<bool> {
        match self {
            Self::In(members) => members.contains(value, zone),
            Self::Contains(texts) => any_text(texts, value, |text, part| text.contains(part)),
            Self::StartsWith(texts) => any_text(texts, value, |text, part| text.starts_with(part)),
            Self::EndsWith(texts) => any_text(texts, value, |text, part| text.ends_with(part)),
            Self::Matches(patterns) if patterns.is_empty() => None,
            Self::Matches(patterns) => {
                let found = |text: &str| patterns.iter().any(|pattern| pattern.is_match(text));
                with_text(value, found)
            }
            Self::Compares(comparison, bounds) => any(bounds
                .iter()
                .map(|bound| bound.compare(value, zone).map(|found| comparison.accepts(found)))),
            Self::ComparesVersion(comparison, versions) => {
                with_text(value, |text| compares_version(*comparison, text, versions)).flatten()
            }
            Self::IsNull(is_null) => Some(!is_null),
        }
    }
}

/// Whether one matches; `None` if none can.
#[inline]
fn any(matches: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut found = None;
    for one in matches {
        if one == Some(true) {
            return one;
        }
        found = found.or(one);
    }
    found
}

fn any_text(texts: &Texts, value: &Value<'_>, test: impl Fn(&str, &str) -> bool) -> Option<bool> {
    with_text(value, |text| texts.iter().any(|part| test(text, part)))
}

fn compares_version(comparison: Comparison, text: &str, versions: &Texts) -> Option<bool> {
    let version = Version::parse(text)?;
    let mut bounds = versions.iter().filter_map(|text| Version::parse(text));
    Some(bounds.any(|bound| comparison.accepts(version.cmp(&bound))))
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
    fn compare(&self, value: &Value<'_>, zone: &impl Attributes) -> Option<Ordering> {
        match (self, value) {
            (Self::Number(number), _) => number.compare(value),
            (Self::Text(bound, moment), _) => {
                let moments = moment.and_then(|moment| Some((Moment::of(value)?, moment)));
                match (moments, value) {
                    (Some((found, moment)), _) => Some(found.cmp(moment, zone)),
                    // The order of UTF-8 is the order of code points.
                    (None, Value::Text(text)) => Some((**text).cmp(bound)),
                    (None, _) => None,
                }
            }
        }
    }
}

/// The values of `in`.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Whether `True` and `False` are values, and whether another text and another number are: `None`
    /// if no value has the type.
    is_true: Option<bool>,
    is_false: Option<bool>,
    other_text: Option<bool>,
    other_number: Option<bool>,
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
        let has_number_text = texts.iter().any(|text| is_number_text(text));
        let other = |has_values: bool| has_values.then_some(false);
        Self {
            is_true: (!bools.is_empty()).then(|| bools.contains(&true)),
            is_false: (!bools.is_empty()).then(|| bools.contains(&false)),
            other_text: other(!texts.is_empty() || !numbers.is_empty()),
            other_number: other(!numbers.is_empty() || has_number_text),
            moments: texts.iter().filter_map(|text| Moment::parse(text)).collect(),
            numbers: numbers.into(),
            texts: texts.into(),
            number_texts: number_texts.into(),
        }
    }

    fn contains(&self, value: &Value<'_>, zone: &impl Attributes) -> Option<bool> {
        match value {
            Value::Bool(true) => self.is_true,
            Value::Bool(false) => self.is_false,
            Value::Text(text) => {
                if has(&self.texts, text) || has(&self.number_texts, text) {
                    Some(true)
                } else if self.moments.is_empty() {
                    self.other_text
                } else {
                    self.contains_moment(value, zone)
                }
            }
            Value::Date(_) | Value::DateTime(_) => self.contains_moment(value, zone),
            _ if self.contains_number(value) => Some(true),
            _ if is_nan(value) => None,
            Value::Integer(_) | Value::Decimal(_) | Value::Float(_) => self.other_number,
            Value::List(_) | Value::Groups(_) => None,
        }
    }

    /// Whether a text can equal one of the values.
    pub(super) const fn can_equal_text(&self) -> bool {
        self.other_text.is_some()
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

    #[inline(never)]
    fn contains_moment(&self, value: &Value<'_>, zone: &impl Attributes) -> Option<bool> {
        let Some(found) = Moment::of(value) else { return self.other_text };
        any(self.moments.iter().map(|own| Some(found.cmp(*own, zone).is_eq())))
    }
}

#[inline]
fn has(sorted: &Texts, text: &str) -> bool {
    sorted.binary_search_by(|other| (**other).cmp(text)).is_ok()
}
