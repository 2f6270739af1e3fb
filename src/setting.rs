//! A key-value entry: a scalar that Python can be given at once, or text for the field's decoder.

use serde::Deserialize;

/// The value of a key-value entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// JSON's `null`, and SQL's.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// A string.
    Text(Box<str>),
    /// Anything else (containers, fractions, big integers) as the JSON text of the column. Only
    /// the model field knows what Python object it stands for.
    Json(Box<str>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Text(String),
}

impl Setting {
    /// The setting that this JSON text stands for; what is no plain scalar stays text.
    #[must_use]
    pub fn from_json(text: &str) -> Self {
        if text == "null" {
            return Self::Null;
        }
        // No number may pass that Python reads as anything but `int`: serde takes neither 1.0 nor
        // -0 for an integer.
        match serde_json::from_str(text) {
            Ok(Scalar::Bool(value)) => Self::Bool(value),
            Ok(Scalar::Integer(value)) => Self::Integer(value),
            Ok(Scalar::Text(value)) => Self::Text(value.into()),
            Err(_) => Self::Json(text.into()),
        }
    }
}
