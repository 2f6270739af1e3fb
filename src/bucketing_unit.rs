//! What a flag's percentages are percentages of: users, visitors, or the values of an attribute.

use crate::bucket::bucket;
use crate::rules::{Attribute, Attributes, with_unit_text};
use crate::subject::Subject;

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

/// The attributes of a subject as the rules of a row read them: with the unit of the row.
#[derive(Clone, Copy, Debug)]
pub struct OfRow<'a, A> {
    /// The subject.
    pub subject: &'a Subject<'a>,
    /// The attribute that the percentages of the row bucket by, `None` for the user's primary key.
    pub bucket_by: Option<&'a str>,
    /// The attributes, whatever the row is.
    pub attributes: &'a A,
}

impl<A: Attributes> Attributes for OfRow<'_, A> {
    #[inline]
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        self.attributes.read(name, with)
    }

    #[inline]
    fn read_unit<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        self.attributes.read_unit(name, with)
    }

    fn unit<T>(&self, with: impl FnOnce(&str) -> T) -> Option<T> {
        match self.bucket_by {
            None => self.subject.text(with),
            Some(name) => self.attributes.read_unit(name, |unit| unit_text(unit, with)),
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.attributes.flag(key)
    }

    fn utc(&self, wall: i64) -> i64 {
        self.attributes.utc(wall)
    }
}
