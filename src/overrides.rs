//! Answers that a test has set, whatever the database says. They hold for the whole process.

use hashbrown::HashMap;

use crate::setting::Setting;

/// Answers that a test has set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    flags: HashMap<Box<str>, bool>,
    settings: HashMap<Box<str>, Setting>,
}

impl Overrides {
    /// These answers for flags, and these values for settings.
    #[must_use]
    pub fn new(
        flags: impl IntoIterator<Item = (String, bool)>,
        settings: impl IntoIterator<Item = (String, Setting)>,
    ) -> Self {
        Self {
            flags: flags.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            settings: settings.into_iter().map(|(key, value)| (key.into(), value)).collect(),
        }
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.settings.is_empty()
    }

    /// The answer set for a flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.flags.get(key).copied()
    }

    /// The value set for a setting.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    /// All answers set for flags, in no order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, bool)> {
        self.flags.iter().map(|(key, value)| (&**key, *value))
    }
}
