//! What stands over the database, for the whole process: what tests and the environment have set,
//! whether listeners are called, and whether requests have previews.

use hashbrown::{HashMap, HashSet};

use crate::evaluate::{Evaluation, Reason};
use crate::stored_value::StoredValue;
use crate::subject::Subject;

/// What decides a flag in place of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOverride {
    /// A test has set the result.
    Test(bool),
    /// The environment turns the flag off in this process.
    ForcedOff,
    /// The environment turns the flag on in this process, in development.
    ForcedOn,
    /// The user of the request previews this result.
    Preview(bool),
}

impl FlagOverride {
    /// The result, and its reason.
    #[must_use]
    pub const fn evaluation(self) -> Evaluation {
        let (value, reason) = match self {
            Self::Test(value) => (value, Reason::Static),
            Self::ForcedOff => (false, Reason::Disabled),
            Self::ForcedOn => (true, Reason::Static),
            Self::Preview(value) => (value, Reason::Preview),
        };
        Evaluation { value, reason, bucket: None, rule: None }
    }

    /// The name of what has set it, as a developer writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Test(_) => "override_flag",
            Self::ForcedOff => "FLAGSTAFF_FORCE_OFF",
            Self::ForcedOn => "FLAGSTAFF_FORCE_ON",
            Self::Preview(_) => "preview",
        }
    }

    /// Whether the environment decides.
    #[must_use]
    pub const fn is_forced(self) -> bool {
        matches!(self, Self::ForcedOff | Self::ForcedOn)
    }
}

/// What decides an experiment in place of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariantOverride<'a> {
    /// A test has set the variant, or the default of the call.
    Test(Option<&'a str>),
    /// The environment turns the experiment off in this process.
    ForcedOff,
}

impl<'a> VariantOverride<'a> {
    /// The key of the variant; `None` for the default of the call.
    #[must_use]
    pub const fn variant(self) -> Option<&'a str> {
        match self {
            Self::Test(variant) => variant,
            Self::ForcedOff => None,
        }
    }

    /// Why it is the result.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Test(_) => Reason::Static,
            Self::ForcedOff => Reason::Disabled,
        }
    }

    /// The name of what has set it, as a developer writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Test(_) => "override_variant",
            Self::ForcedOff => FlagOverride::ForcedOff.name(),
        }
    }
}

/// The results of flags, the values and the variants that are set over the database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    flags: HashMap<Box<str>, bool>,
    /// The results for single users, by flag and primary key.
    flags_of_users: HashMap<Box<str>, HashMap<Box<str>, bool>>,
    values: HashMap<Box<str>, StoredValue>,
    variants: HashMap<Box<str>, Option<Box<str>>>,
    forced_off: HashSet<Box<str>>,
    forced_on: HashSet<Box<str>>,
    has_listeners: bool,
    /// The number of requests that have previews now.
    previews: u32,
}

impl Overrides {
    /// What tests have set: these results for flags, these values, and these variants of
    /// experiments, by key. `None` is the default of the call.
    #[must_use]
    pub fn new(
        flags: impl IntoIterator<Item = (String, bool)>,
        values: impl IntoIterator<Item = (String, StoredValue)>,
        variants: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Self {
        let variant =
            |(key, variant): (String, Option<String>)| (key.into(), variant.map(Into::into));
        Self {
            flags: flags.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            flags_of_users: HashMap::default(),
            values: values.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            variants: variants.into_iter().map(variant).collect(),
            forced_off: HashSet::default(),
            forced_on: HashSet::default(),
            has_listeners: false,
            previews: 0,
        }
    }

    /// The same, with results of flags for single users, by key of the flag and primary key.
    #[must_use]
    pub fn with_flags_of_users<U: IntoIterator<Item = (String, bool)>>(
        self,
        flags: impl IntoIterator<Item = (String, U)>,
    ) -> Self {
        let of_flag = |users: U| users.into_iter().map(|(user, value)| (user.into(), value));
        let flags = flags.into_iter().map(|(key, users)| (key.into(), of_flag(users).collect()));
        Self { flags_of_users: flags.collect(), ..self }
    }

    /// The same, with these flags and experiments forced off instead of the earlier ones.
    #[must_use]
    pub fn with_forced_off(self, keys: impl IntoIterator<Item = String>) -> Self {
        Self { forced_off: keys.into_iter().map(Into::into).collect(), ..self }
    }

    /// The same, with these flags forced on instead of the earlier ones. Those that are forced off
    /// stay off.
    #[must_use]
    pub fn with_forced_on(self, keys: impl IntoIterator<Item = String>) -> Self {
        Self { forced_on: keys.into_iter().map(Into::into).collect(), ..self }
    }

    /// The same, with or without listeners.
    #[must_use]
    pub fn with_listeners(self, has_listeners: bool) -> Self {
        Self { has_listeners, ..self }
    }

    /// The same, with so many more requests that have previews, or fewer.
    #[must_use]
    pub fn with_more_previews(self, change: i32) -> Self {
        Self { previews: self.previews.saturating_add_signed(change), ..self }
    }

    /// The same, with the listeners and the previews of `other`, and the keys that it forces off and
    /// on.
    #[must_use]
    pub fn with_process_of(self, other: &Self) -> Self {
        let (forced_off, forced_on) = (other.forced_off.clone(), other.forced_on.clone());
        let Self { has_listeners, previews, .. } = *other;
        Self { forced_off, forced_on, has_listeners, previews, ..self }
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
            && self.flags_of_users.is_empty()
            && self.values.is_empty()
            && self.variants.is_empty()
            && !self.forces()
            && !self.has_listeners
            && !self.has_previews()
    }

    /// Whether any request has previews.
    #[must_use]
    pub fn has_previews(&self) -> bool {
        self.previews > 0
    }

    /// Whether evaluations call listeners.
    #[must_use]
    #[inline]
    pub fn has_listeners(&self) -> bool {
        self.has_listeners
    }

    /// Whether any value is set, which hides the values of a snapshot.
    #[must_use]
    pub fn has_values(&self) -> bool {
        !self.values.is_empty()
    }

    /// What decides this flag in place of its row. A test can turn on a flag that is forced off:
    /// it says what it needs. Off wins over on.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<FlagOverride> {
        if let Some(value) = self.flags.get(key) {
            return Some(FlagOverride::Test(*value));
        }
        if self.forced_off.contains(key) {
            return Some(FlagOverride::ForcedOff);
        }
        self.forced_on.contains(key).then_some(FlagOverride::ForcedOn)
    }

    /// The same for one user.
    #[must_use]
    pub fn flag_of(&self, key: &str, subject: &Subject<'_>) -> Option<FlagOverride> {
        let users = self.flags_of_users.get(key);
        let of_user = users.and_then(|users| subject.text(|text| users.get(text).copied())?);
        of_user.map_or_else(|| self.flag(key), |value| Some(FlagOverride::Test(value)))
    }

    /// Whether the result of this flag is set for single users.
    #[must_use]
    pub fn has_users(&self, key: &str) -> bool {
        self.flags_of_users.contains_key(key)
    }

    /// The flags whose results are set for single users, in no order.
    pub fn flags_of_users(&self) -> impl Iterator<Item = &str> {
        self.flags_of_users.keys().map(|key| &**key)
    }

    /// The value that is set for a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&StoredValue> {
        self.values.get(key)
    }

    /// What decides this experiment in place of its row.
    #[must_use]
    pub fn variant(&self, key: &str) -> Option<VariantOverride<'_>> {
        match self.variants.get(key) {
            Some(variant) => Some(VariantOverride::Test(variant.as_deref())),
            None => self.forced_off.contains(key).then_some(VariantOverride::ForcedOff),
        }
    }

    /// What decides the flags that are set, in no order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, FlagOverride)> {
        let set = self.flags.keys().map(|key| &**key);
        let forced = self.forced_off.union(&self.forced_on).map(|key| &**key);
        let keys = set.chain(forced.filter(|key| !self.flags.contains_key(*key)));
        keys.filter_map(|key| Some((key, self.flag(key)?)))
    }

    /// Whether any key is forced off or on.
    #[must_use]
    pub fn forces(&self) -> bool {
        !self.forced_off.is_empty() || !self.forced_on.is_empty()
    }

    /// The keys that are forced off, in order.
    #[must_use]
    pub fn forced_off(&self) -> Vec<&str> {
        sorted(&self.forced_off)
    }

    /// The keys that are forced on, in order, without those that are forced off.
    #[must_use]
    pub fn forced_on(&self) -> Vec<&str> {
        sorted(self.forced_on.difference(&self.forced_off))
    }
}

fn sorted<'a>(keys: impl IntoIterator<Item = &'a Box<str>>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = keys.into_iter().map(|key| &**key).collect();
    keys.sort_unstable();
    keys
}
