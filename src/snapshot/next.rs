//! A snapshot and the rows of a load → the next snapshot.

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
        let count = || self.patterns();
        let limit = PatternLimit::new(&count);
        let allowed_users = self.allowed_users.next(loaded.allowed_users, &());
        let segments = self.segments.next(loaded.segments, &limit);
        let plans = self.plans.next(loaded.plans, &Instant::now());
        let segment_versions = || Versions { before: &self.segments, now: &segments };
        let flags = self.flags.next(
            loaded.flags,
            &FlagSources {
                users: Versions { before: &self.allowed_users, now: &allowed_users },
                plans: Versions { before: &self.plans, now: &plans },
                rules: NextRules::new(&self.flags, segment_versions(), &limit),
            },
        );
        let experiments = self.experiments.next(
            loaded.experiments,
            &NextRules::new(&self.experiments, segment_versions(), &limit),
        );
        let values = self.values.next(
            loaded.values,
            &ValueSources {
                opaque: loaded.opaque_values,
                rules: NextRules::new(self.values.by_key(), segment_versions(), &limit),
            },
        );
        let has_other_rules = !flags.is_same(&self.flags)
            || !experiments.is_same(&self.experiments)
            || !values.is_same(&self.values);
        let groups = self.groups.clone();
        let token_set = loaded.token_set;
        let next =
            Self { token_set, flags, allowed_users, segments, groups, plans, experiments, values };
        if has_other_rules { next.with_missing_groups() } else { next }
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
