//! A snapshot and the rows of a load → the next snapshot.

use std::collections::BTreeMap;
use std::time::Instant;

use super::flags::FlagSources;
use super::pattern_limit::PatternLimit;
use super::ruled::Ruled;
use super::segments::NextRules;
use super::slot::Versions;
use super::values::ValueSources;
use super::{Loaded, Snapshot};
use crate::flag::Flag;

impl Snapshot {
    /// The next snapshot: this one with the loaded tables replaced.
    ///
    /// A row that cannot be used keeps its last good version; without one its key is absent. It is
    /// listed in [`problems`](Self::problems). Rules that cannot be read never hide the other columns
    /// of their row.
    #[must_use]
    pub fn next(&self, loaded: Loaded) -> Self {
        let whole = Loaded { asked: BTreeMap::new(), ..loaded };
        self.try_next(whole).unwrap_or_else(|| self.clone())
    }

    /// The same after a load that may have read only some rows of a table; `None` if only all rows
    /// show the result.
    #[must_use]
    pub fn try_next(&self, loaded: Loaded) -> Option<Self> {
        let Loaded { token_set, read_point, asked, .. } = loaded;
        let count = || self.patterns();
        let limit = PatternLimit::new(&count);
        let allowed_users = self.allowed_users.next(loaded.allowed_users, &asked, &())?;
        let segments = self.segments.next(loaded.segments, &asked, &limit)?;
        let plans = self.plans.next(loaded.plans, &asked, &Instant::now())?;
        let versions = || Versions { before: &self.segments, now: &segments };
        let flags = self.flags.next(
            loaded.flags,
            &asked,
            &FlagSources {
                users: Versions { before: &self.allowed_users, now: &allowed_users },
                plans: Versions { before: &self.plans, now: &plans },
                rules: NextRules::new(&self.flags, versions(), &limit),
                declared: &self.declared,
            },
        )?;
        let experiments = self.experiments.next(
            loaded.experiments,
            &asked,
            &NextRules::new(&self.experiments, versions(), &limit),
        )?;
        let values = self.values.next(
            loaded.values,
            &asked,
            &ValueSources {
                rules: NextRules::new(self.values.by_key(), versions(), &limit),
                declared: &self.declared,
            },
        )?;
        let groups = self.groups.clone();
        let next = Self {
            token_set,
            read_point,
            flags,
            allowed_users,
            segments,
            groups,
            plans,
            experiments,
            values,
            declared: self.declared.clone(),
            missing_names: self.missing_names.clone(),
        };
        Some(if next.has_rules_of(self) {
            next
        } else {
            next.with_needs().with_missing_names().without_unnamed_groups().with_missing_groups()
        })
    }

    /// Whether all that has rules is as in `before`, and the segments that these may name.
    fn has_rules_of(&self, before: &Self) -> bool {
        self.segments.is_same(&before.segments)
            && self.flags.is_same(&before.flags)
            && self.experiments.is_same(&before.experiments)
            && self.values.is_same(&before.values)
    }

    /// The number of regular expressions in rules and segments.
    fn patterns(&self) -> usize {
        let of_flags = self.flags.iter().filter_map(Flag::rules);
        let of_experiments = self.experiments.iter().filter_map(|one| one.rules.as_ref());
        let of_values = self.values.by_key().iter().filter_map(Ruled::rules);
        let rules = of_flags.chain(of_experiments).chain(of_values);
        rules.map(|rules| rules.patterns()).sum::<usize>() + self.segments.patterns()
    }
}
