//! What code declares: flags and values that exist without a row, and what a row may have.

use std::collections::HashMap;
use std::sync::Arc;

use crate::message::{Message, Template, templates};
use crate::rules::{is_date, is_datetime, is_number, is_same_number};
use crate::stored_value::StoredValue;

templates! {
    WRONG_TYPE, "{part} must be {expected}, not {present}";
    NO_CHOICE, "{part} is not one of the declared choices";
    DEFAULT_TYPE,
        "value {key} is {present}, but a call has {expected} as its default; correct one of them, or \
         declare the value";
    OWN, "the value";
    OF_RULE, "the value of rule {number}";
    NULL, "null";
    BOOLEAN, "true or false";
    INTEGER, "an integer";
    NUMBER, "a number";
    STRING, "a string";
    ARRAY, "an array";
    OBJECT, "an object";
    DECIMAL, "a decimal such as \"4.90\"";
    DATE, "a date such as \"2027-03-01\"";
    DATETIME, "a time such as \"2027-03-01T12:30:00\"";
    DURATION, "a duration such as \"1 12:30:00\"";
    OTHER_STRING, "another string";
}

/// All declared keys.
#[derive(Debug, Default)]
pub struct Declared {
    /// The flags by key.
    pub flags: HashMap<Box<str>, DeclaredFlag>,
    /// The values by key.
    pub values: HashMap<Box<str>, Arc<DeclaredValue>>,
}

impl Declared {
    /// Whether code declares nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.values.is_empty()
    }

    /// What code declares for one key.
    #[must_use]
    pub fn only(&self, key: &str) -> Self {
        let flag = self.flags.get(key).map(|flag| (key.into(), *flag));
        let value = self.values.get(key).map(|value| (key.into(), value.clone()));
        Self { flags: flag.into_iter().collect(), values: value.into_iter().collect() }
    }
}

/// A flag that code declares. Without a row it is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredFlag {
    /// Whether browsers may read it, unless its row says no.
    pub client_side: bool,
}

/// A value that code declares. Without a row it is its default.
#[derive(Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one that code declares")]
pub struct DeclaredValue {
    /// Its key.
    pub key: Arc<str>,
    /// What evaluations return without a row, and in place of what it cannot be.
    pub default: StoredValue,
    /// What it can be.
    pub form: Form,
    /// Whether it can be null, too.
    pub is_nullable: bool,
    /// The only values that it can have; none for all of its form.
    pub choices: Box<[StoredValue]>,
    /// Whether only evaluations may show it, whatever its row says.
    pub is_secret: bool,
    /// Whether browsers may read it, unless its row says no.
    pub client_side: bool,
    /// Whether Python makes its object from the JSON text.
    pub is_converted: bool,
}

/// The JSON of a declared type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `true` or `false`.
    Boolean,
    /// A number that Python decodes to an `int`.
    Integer,
    /// Any number.
    Number,
    /// A string.
    String,
    /// A list.
    Array,
    /// An object.
    Object,
    /// A number, or a string with one.
    Decimal,
    /// A string such as `2027-03-01`.
    Date,
    /// A string such as `2027-03-01T12:30:00`.
    Datetime,
    /// A string such as `1 12:30:00.5`, as Django writes it.
    Duration,
}

/// Why a value cannot be what a row or a rule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It has another type.
    Type(Form, &'static Template),
    /// It is none of the choices.
    Choice,
}

impl Form {
    const ALL: [(&'static str, Self); 10] = [
        ("boolean", Self::Boolean),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("string", Self::String),
        ("array", Self::Array),
        ("object", Self::Object),
        ("decimal", Self::Decimal),
        ("date", Self::Date),
        ("datetime", Self::Datetime),
        ("duration", Self::Duration),
    ];

    /// The form with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, form)| form)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, form)| *form == self).map_or("", |(name, _)| name)
    }

    fn has(self, value: &StoredValue) -> bool {
        let text = string(value);
        match self {
            Self::Boolean => matches!(value, StoredValue::Bool(_)),
            Self::Integer => match value {
                StoredValue::Integer(_) => true,
                // One of more than 64 bits.
                StoredValue::Json(text) => is_number(text) && !text.contains(['.', 'e', 'E']),
                _ => false,
            },
            Self::Number => type_of(value) == &NUMBER,
            Self::String => text.is_some(),
            Self::Array => type_of(value) == &ARRAY,
            Self::Object => type_of(value) == &OBJECT,
            Self::Decimal => type_of(value) == &NUMBER || text.is_some_and(is_number),
            Self::Date => text.is_some_and(is_date),
            Self::Datetime => text.is_some_and(is_datetime),
            Self::Duration => text.is_some_and(is_duration),
        }
    }

    fn template(self) -> &'static Template {
        match self {
            Self::Boolean => &BOOLEAN,
            Self::Integer => &INTEGER,
            Self::Number => &NUMBER,
            Self::String => &STRING,
            Self::Array => &ARRAY,
            Self::Object => &OBJECT,
            Self::Decimal => &DECIMAL,
            Self::Date => &DATE,
            Self::Datetime => &DATETIME,
            Self::Duration => &DURATION,
        }
    }

    fn is_of_text(self) -> bool {
        matches!(self, Self::Decimal | Self::Date | Self::Datetime | Self::Duration)
    }
}

impl DeclaredValue {
    /// Why evaluations must not return what a row or a rule has, or `None`.
    #[must_use]
    pub fn misfit(&self, value: &StoredValue) -> Option<Misfit> {
        if *value == StoredValue::Null {
            return (!self.is_nullable).then_some(Misfit::Type(self.form, &NULL));
        }
        if !self.form.has(value) {
            let is_string = self.form.is_of_text() && string(value).is_some();
            let present = if is_string { &OTHER_STRING } else { type_of(value) };
            return Some(Misfit::Type(self.form, present));
        }
        let is_free = self.choices.is_empty();
        let is_same = |choice: &StoredValue| self.is_same(choice, value);
        (!is_free && !self.choices.iter().any(is_same)).then_some(Misfit::Choice)
    }

    /// Whether both are the same value: 1 and 1.0 are, as PostgreSQL says.
    fn is_same(&self, one: &StoredValue, other: &StoredValue) -> bool {
        let is_number = matches!(self.form, Form::Integer | Form::Number | Form::Decimal);
        one == other || (is_number && is_same_number(&json_text(one), &json_text(other)))
    }
}

impl Misfit {
    /// What is wrong with the value, or with that of the rule with this number. Without the value,
    /// which may be a secret.
    #[must_use]
    pub fn message(self, rule: Option<usize>) -> Message {
        let part = match rule {
            None => Message::from(&OWN),
            Some(number) => OF_RULE.with([("number", number.into())]),
        };
        match self {
            Self::Choice => NO_CHOICE.with([("part", part.into())]),
            Self::Type(form, present) => WRONG_TYPE.with([
                ("part", part.into()),
                ("expected", form.template().into()),
                ("present", present.into()),
            ]),
        }
    }
}

/// The value with this key is not what the default of a call is.
#[must_use]
pub fn default_type(key: &str, expected: Form, present: Form) -> Message {
    DEFAULT_TYPE.with([
        ("key", format!("{key:?}").into()),
        ("present", present.template().into()),
        ("expected", expected.template().into()),
    ])
}

/// The text of a string.
fn string(value: &StoredValue) -> Option<&str> {
    match value {
        StoredValue::Text(text) => Some(text),
        _ => None,
    }
}

/// The number of a value, without the quotation marks of one that is stored as a string.
fn json_text(value: &StoredValue) -> String {
    match value {
        StoredValue::Integer(number) => number.to_string(),
        StoredValue::Text(text) | StoredValue::Json(text) => (**text).to_owned(),
        StoredValue::Null | StoredValue::Bool(_) => String::new(),
    }
}

/// The JSON type of a value.
fn type_of(value: &StoredValue) -> &'static Template {
    match value {
        StoredValue::Null => &NULL,
        StoredValue::Bool(_) => &BOOLEAN,
        StoredValue::Integer(_) => &NUMBER,
        StoredValue::Text(_) => &STRING,
        StoredValue::Json(text) => match text.trim_start().as_bytes().first() {
            Some(b'[') => &ARRAY,
            Some(b'{') => &OBJECT,
            Some(b'"') => &STRING,
            _ => &NUMBER,
        },
    }
}

/// Whether a text is a duration as Django writes it: `[-][DAYS ]HH:MM:SS[.MICROSECONDS]`.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (days, time) = text.split_once(' ').unwrap_or(("0", text));
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let has_digits = |part: &str, longest| {
        (1..=longest).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<_> = time.split(':').collect();
    has_digits(days, 9)
        && has_digits(fraction, 6)
        && parts.len() == 3
        && parts.iter().all(|part| has_digits(part, 2))
}
