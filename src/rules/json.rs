//! JSON text, one level at a time: exact numbers, and every name of an object.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{RuleError, listed, quoted};
use super::texts;
use crate::message::{Template, Value};

/// A JSON value whose members are not decoded yet.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// The text of the number, because a float would not be exact.
    Number(&'a str),
    Text(String),
    List(Vec<&'a RawValue>),
    Object(Members<'a>),
}

/// The members of an object, in order, with the names that are given twice.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Json<'a> {
    /// The value of a whole JSON text.
    pub(super) fn of_text(text: &'a str) -> Result<Self, RuleError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
            RuleError::with(&texts::NOT_JSON, [("error", error.to_string().into())])
        })?;
        Self::of(raw)
    }

    /// The value of a part of a JSON text.
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, RuleError> {
        let text = raw.get();
        let decoded = match text.as_bytes() {
            [b'n', ..] => Ok(Self::Null),
            [b't', ..] => Ok(Self::Bool(true)),
            [b'f', ..] => Ok(Self::Bool(false)),
            [b'"', ..] => serde_json::from_str(text).map(Self::Text),
            [b'[', ..] => serde_json::from_str(text).map(Self::List),
            [b'{', ..] => {
                serde_json::Deserializer::from_str(text).deserialize_map(Named).map(Self::Object)
            }
            _ => Ok(Self::Number(text)),
        };
        // The syntax is valid, so only the escapes of a text can be wrong.
        match decoded.map_err(|_| RuleError::new(&texts::NO_CHARACTER))? {
            Self::Text(text) if text.contains('\0') => Err(RuleError::new(&texts::NUL)),
            decoded => Ok(decoded),
        }
    }

    /// The kind of value, as a message names it.
    pub(super) fn kind(&self) -> &'static Template {
        match self {
            Self::Null => &texts::NULL,
            Self::Bool(_) => &texts::BOOL,
            Self::Number(_) => &texts::NUMBER,
            Self::Text(_) => &texts::TEXT,
            Self::List(_) => &texts::LIST,
            Self::Object(_) => &texts::OBJECT,
        }
    }

    /// The elements of a list, which `what` must be.
    pub(super) fn list(self, what: impl Into<Value>) -> Result<Vec<&'a RawValue>, RuleError> {
        match self {
            Self::List(elements) => Ok(elements),
            other => Err(wrong_kind(what, &texts::LIST, &other)),
        }
    }

    /// The members of an object, which `what` must be, with these names only.
    pub(super) fn object(
        self,
        what: &'static Template,
        known: &[&str],
    ) -> Result<Members<'a>, RuleError> {
        match self {
            Self::Object(members) => members.checked(known),
            other => Err(wrong_kind(what, &texts::OBJECT, &other)),
        }
    }

    /// A bool, which `what` must be.
    pub(super) fn bool(&self, what: impl Into<Value>) -> Result<bool, RuleError> {
        match self {
            Self::Bool(value) => Ok(*value),
            other => Err(wrong_kind(what, &texts::TRUE_OR_FALSE, other)),
        }
    }

    /// A text of 1 to `limit` characters, which `what` must be.
    pub(super) fn name(self, what: &str, limit: usize) -> Result<Box<str>, RuleError> {
        match self {
            Self::Text(text) if (1..=limit).contains(&text.chars().count()) => Ok(text.into()),
            Self::Text(_) => {
                let values = [("what", what.into()), ("limit", limit.into())];
                Err(RuleError::with(&texts::WRONG_LENGTH, values))
            }
            other => Err(wrong_kind(what, &texts::TEXT, &other)),
        }
    }
}

/// `what` must be something else.
pub(super) fn wrong_kind(
    what: impl Into<Value>,
    expected: &'static Template,
    found: &Json<'_>,
) -> RuleError {
    let (expected, kind) = (expected.into(), found.kind().into());
    let values = [("what", what.into()), ("expected", expected), ("kind", kind)];
    RuleError::with(&texts::WRONG_KIND, values)
}

impl<'a> Members<'a> {
    fn checked(self, known: &[&str]) -> Result<Self, RuleError> {
        for (position, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let values = [("name", quoted(name).into()), ("known", listed(known).into())];
                return Err(RuleError::with(&texts::UNKNOWN_MEMBER, values));
            }
            if self.0[..position].iter().any(|(other, _)| other == name) {
                let values = [("name", quoted(name).into())];
                return Err(RuleError::with(&texts::DUPLICATE_MEMBER, values));
            }
        }
        Ok(self)
    }

    /// Whether there is a member with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Result<Option<Json<'a>>, RuleError> {
        self.raw(name).map(Json::of).transpose()
    }

    /// The value of a member that must be there.
    pub(super) fn required(&self, name: &str) -> Result<Json<'a>, RuleError> {
        self.required_raw(name).and_then(Json::of)
    }

    /// The JSON text of a member that must be there.
    pub(super) fn required_raw(&self, name: &str) -> Result<&'a RawValue, RuleError> {
        let name_value = || [("name", quoted(name).into())];
        self.raw(name).ok_or_else(|| RuleError::with(&texts::MISSING_MEMBER, name_value()))
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, raw)| *raw)
    }
}

struct Named;

impl<'de> Visitor<'de> for Named {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
