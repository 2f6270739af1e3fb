//! What tests set over the database, for the whole process.

use hashbrown::HashMap;

use crate::stored_value::StoredValue;

/// The results of flags, and the values, that tests have set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    flags: HashMap<Box<str>, bool>,
    values: HashMap<Box<str>, StoredValue>,
}

impl Overrides {
    /// These results for flags, and these values, by key.
    #[must_use]
    pub fn new(
        flags: impl IntoIterator<Item = (String, bool)>,
        values: impl IntoIterator<Item = (String, StoredValue)>,
    ) -> Self {
        Self {
            flags: flags.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            values: values.into_iter().map(|(key, value)| (key.into(), value)).collect(),
        }
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.values.is_empty()
    }

    /// The result that is set for a flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.flags.get(key).copied()
    }

    /// The value that is set for a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&StoredValue> {
        self.values.get(key)
    }

    /// All results that are set for flags, in no order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, bool)> {
        self.flags.iter().map(|(key, value)| (&**key, *value))
    }
}
