//! What a flag's percentages are percentages of: users, visitors, or the values of an attribute.

use crate::bucket::bucket;
use crate::rules::{Attribute, with_unit_text};

/// The unit of the users, by their primary key.
pub const USER: &str = "user";

/// The unit of the browsers.
pub const VISITOR: &str = "visitor";

/// The bucket, 0 to 99, of the value of a bucketing unit. `None` if there is no unit: the attribute
/// is missing, an empty text, a bool, a date, a list, or a number with a fraction.
#[must_use]
pub fn unit_bucket(key: &str, unit: Attribute<'_>) -> Option<u8> {
    unit_text(unit, |text| bucket(key, text))
}

/// Calls `with` with the text of a bucketing unit. `None` if there is no unit.
#[must_use]
pub fn unit_text<T>(unit: Attribute<'_>, with: impl FnOnce(&str) -> T) -> Option<T> {
    match unit {
        Attribute::Value(value) => {
            with_unit_text(&value, |text| (!text.is_empty()).then(|| with(text))).flatten()
        }
        Attribute::Missing | Attribute::NeedsUser | Attribute::Unknown => None,
    }
}
