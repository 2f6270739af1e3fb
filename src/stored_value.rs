//! A stored value: a scalar that Python gets directly, or JSON text for the model field's decoder.

use serde::Deserialize;

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
    /// Anything else (containers, fractions, big integers) as the JSON text of the column. The
    /// model field decodes it.
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
