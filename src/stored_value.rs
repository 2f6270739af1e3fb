//! A stored value: a scalar that Python gets directly, or JSON text that Python decodes.

use std::fmt;

use serde::Deserialize;

use crate::message::{Template, templates};

/// Python refuses longer integers by default.
const MAX_DIGITS: usize = 4_300;
/// Python's decoder is recursive, and its stack may be half full.
const MAX_DEPTH: usize = 500;

/// Why Python cannot decode a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// An integer is too long.
    TooManyDigits,
    /// Lists and objects are nested too deeply.
    TooDeep,
}

templates! {
    TOO_MANY_DIGITS, "has a number of more than 4,300 digits";
    TOO_DEEP, "is nested deeper than 500 levels";
}

impl Undecodable {
    /// The message, which has no values.
    #[must_use]
    pub fn template(self) -> &'static Template {
        match self {
            Self::TooManyDigits => &TOO_MANY_DIGITS,
            Self::TooDeep => &TOO_DEEP,
        }
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.template().english)
    }
}

/// Why Python cannot decode this JSON text, if it cannot. The syntax is not checked.
#[must_use]
pub fn undecodable(text: &str) -> Option<Undecodable> {
    let (mut depth, mut digits, mut is_fraction) = (0_usize, 0, false);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'0'..=b'9' => digits += 1,
            // A number that Python reads as a float, of any length.
            b'.' | b'e' | b'E' => is_fraction = true,
            b'+' | b'-' => {}
            _ => {
                if digits > MAX_DIGITS && !is_fraction {
                    return Some(Undecodable::TooManyDigits);
                }
                (digits, is_fraction) = (0, false);
            }
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some(Undecodable::TooDeep);
        }
    }
    (digits > MAX_DIGITS && !is_fraction).then_some(Undecodable::TooManyDigits)
}

/// The value of a row of the key-value table.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredValue {
    /// JSON's `null`, and SQL's.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// A string.
    Text(Box<str>),
    /// Anything else (containers, fractions, big integers) as the JSON text of the column.
    Json(Box<str>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl StoredValue {
    /// Its JSON text.
    #[must_use]
    pub fn json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => serde_json::Value::from(&**text).to_string(),
            Self::Json(text) => text.to_string(),
        }
    }

    /// The value of this JSON text; anything but a plain scalar stays text.
    #[must_use]
    pub fn from_json(text: &str) -> Self {
        if text == "null" {
            return Self::Null;
        }
        // serde accepts neither 1.0 nor -0 as an integer, so Python would decode the same `int`.
        match serde_json::from_str(text) {
            Ok(Scalar::Bool(value)) => Self::Bool(value),
            Ok(Scalar::Integer(value)) => Self::Integer(value),
            Ok(Scalar::Text(value)) => Self::Text(value.into()),
            Err(_) => Self::Json(text.into()),
        }
    }
}
