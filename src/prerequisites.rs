//! The flags that conditions need, and the result that each would have there.

use crate::counters::Bulk;
use crate::evaluate::needed;
use crate::flag::Flag;
use crate::overrides::{FlagOverride, Overrides};
use crate::rules::Attributes;
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// Where conditions find the flags that they need: a snapshot, with what is set over it.
#[derive(Clone, Copy, Debug)]
pub struct Prerequisites<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// What tests and the environment have set.
    pub overrides: Option<&'a Overrides>,
    /// Whether an evaluation is a use of the flags: not that of an explanation or a comparison.
    pub is_use: bool,
}

/// What a condition finds under the key of a flag.
#[derive(Clone, Copy, Debug)]
pub enum Prerequisite<'a> {
    /// This decides in place of the row.
    Set(FlagOverride),
    /// The flag.
    Flag(&'a Flag),
    /// The flags that it needs itself form a circle, or are too many.
    Endless,
    /// There is no flag.
    Missing,
}

impl<'a> Prerequisites<'a> {
    /// What a condition finds under this key.
    #[must_use]
    pub fn find(&self, key: &str, subject: &Subject<'_>) -> Prerequisite<'a> {
        if let Some(found) = self.overrides.and_then(|overrides| overrides.flag_of(key, subject)) {
            return Prerequisite::Set(found);
        }
        match self.snapshot.flag(key) {
            None => Prerequisite::Missing,
            Some(flag) if flag.can_be_needed() => Prerequisite::Flag(flag),
            Some(_) => Prerequisite::Endless,
        }
    }

    /// The result of the flag with this key, not counted. `None` if it is off, unknown or unreadable,
    /// or false by a brake ([`needed`]), or if the flags that it needs have no end: what needs it is
    /// then false, whatever it asks for.
    #[must_use]
    pub fn result(
        &self,
        key: &str,
        subject: &Subject<'_>,
        attributes: &impl Attributes,
    ) -> Option<bool> {
        let flag = match self.find(key, subject) {
            Prerequisite::Flag(flag) => flag,
            Prerequisite::Set(FlagOverride::Test(value) | FlagOverride::Preview(value)) => {
                return Some(value);
            }
            Prerequisite::Set(FlagOverride::ForcedOn) => return Some(true),
            Prerequisite::Set(FlagOverride::ForcedOff)
            | Prerequisite::Endless
            | Prerequisite::Missing => return None,
        };
        if self.is_use {
            flag.serve(Bulk::Needed);
        }
        flag.enabled.then(|| needed(key, flag, subject, attributes))?
    }

    /// Whether tests have set results for single users, on which any other result may depend.
    #[must_use]
    pub fn are_set_for_users(&self) -> bool {
        self.overrides.is_some_and(|overrides| overrides.flags_of_users().next().is_some())
    }
}
