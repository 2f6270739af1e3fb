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
use crate::token_set::Relation;

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
        let asked = |relation| loaded.asked.get(&relation);
        let count = || self.patterns();
        let limit = PatternLimit::new(&count);
        let allowed_users =
            self.allowed_users.next(loaded.allowed_users, asked(Relation::ALLOWED_USERS), &())?;
        let segments = self.segments.next(loaded.segments, asked(Relation::SEGMENTS), &limit)?;
        let plans = self.plans.next(loaded.plans, asked(Relation::PLANS), &Instant::now())?;
        let segment_versions = || Versions { before: &self.segments, now: &segments };
        let flags = self.flags.next(
            loaded.flags,
            asked(Relation::FLAGS),
            &FlagSources {
                users: Versions { before: &self.allowed_users, now: &allowed_users },
                plans: Versions { before: &self.plans, now: &plans },
                rules: NextRules::new(&self.flags, segment_versions(), &limit),
            },
        )?;
        let experiments = self.experiments.next(
            loaded.experiments,
            asked(Relation::EXPERIMENTS),
            &NextRules::new(&self.experiments, segment_versions(), &limit),
        )?;
        let values = self.values.next(
            loaded.values,
            asked(Relation::VALUES),
            &ValueSources {
                opaque: loaded.opaque_values,
                rules: NextRules::new(self.values.by_key(), segment_versions(), &limit),
            },
        )?;
        let has_other_rules = !flags.is_same(&self.flags)
            || !experiments.is_same(&self.experiments)
            || !values.is_same(&self.values);
        let groups = self.groups.clone();
        let next = Self {
            token_set: loaded.token_set,
            read_point: loaded.read_point,
            flags,
            allowed_users,
            segments,
            groups,
            plans,
            experiments,
            values,
        };
        Some(if has_other_rules { next.with_missing_groups() } else { next })
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
