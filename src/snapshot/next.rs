//! A snapshot and the rows of a load → the next snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::experiments::experiments;
use super::pattern_limit::PatternLimit;
use super::plans::Plans;
use super::segments::{NextRules, rule_problems};
use super::unique::Unique;
use super::{AllowedUsersByFlag, Flags, Loaded, Snapshot, Stored, Values};
use crate::experiment::Experiment;
use crate::flag::{Flag, Identity};
use crate::primary_key::PrimaryKey;
use crate::row::{AllowedUsersRow, CheckedFlag, CheckedValue, Fault, FlagRow, Problem, ValueRow};
use crate::stored_value::{StoredValue, undecodable};
use crate::targeting::Targeting;
use crate::user_set::UserSet;

/// The version of the values that were loaded last.
static LAST_VERSION: AtomicU64 = AtomicU64::new(0);

impl Snapshot {
    /// The next snapshot: this one with the loaded tables replaced.
    ///
    /// A row that cannot be used keeps its last good version; without one its key is absent. It is
    /// listed in [`problems`](Self::problems). Rules that cannot be read never hide the other columns
    /// of their row.
    #[must_use]
    pub fn next(&self, loaded: Loaded) -> Self {
        let mut next = Self { token_set: loaded.token_set, ..self.clone() };
        let users_changed = loaded.allowed_users.is_some();
        if let Some(rows) = loaded.allowed_users {
            next.user_problems = user_problems(&rows);
            next.allowed_users = Arc::new(self.allowed_users.next(rows));
        }
        let count = || self.patterns();
        let patterns = PatternLimit::new(&count);
        let segments_changed = loaded.segments.is_some();
        if let Some(rows) = loaded.segments {
            let (segments, problems) = self.segments.next(rows, &patterns);
            next.segments = Arc::new(segments);
            next.segment_problems = problems.into();
        }
        let mut watches_changed = false;
        if let Some(rows) = loaded.plans {
            let (plans, problems) = self.plans.next(rows, Instant::now());
            watches_changed = !plans.measure_the_same(&self.plans);
            next.plans = Arc::new(plans);
            next.plan_problems = problems.into();
        }
        let flags_changed = loaded.flags.is_some();
        let (users, segments) = (next.allowed_users.clone(), next.segments.clone());
        let (plans, rules) =
            (next.plans.clone(), NextRules::new(&self.flags, &segments, &patterns));
        let now = Now { users: &users, plans: &plans, rules };
        if let Some(rows) = loaded.flags {
            let (flags, problems) = flags(rows, &self.flags, &now);
            next.flags = Arc::new(flags);
            next.flag_problems = problems.into();
        } else if users_changed
            || watches_changed
            || (segments_changed && !now.rules.are_current(&self.flags))
        {
            let flags = self.flags.iter().map(|flag| now.current(flag));
            next.flags = Arc::new(flags.collect());
        }
        let experiments_changed = loaded.experiments.is_some();
        let rules = NextRules::new(&self.experiments, &segments, &patterns);
        if let Some(rows) = loaded.experiments {
            let (experiments, problems) = experiments(rows, &self.experiments, &rules);
            next.experiments = Arc::new(experiments);
            next.experiment_problems = problems.into();
        } else if segments_changed && !rules.are_current(&self.experiments) {
            let current =
                |one: &Experiment| Experiment { rules: rules.current(one), ..one.clone() };
            next.experiments = Arc::new(self.experiments.iter().map(current).collect());
        }
        if experiments_changed || segments_changed {
            next.experiment_rule_problems = rule_problems(&next.experiments, &next.segments).into();
        }
        if flags_changed || segments_changed {
            next.rule_problems = rule_problems(&next.flags, &next.segments).into();
        }
        if flags_changed || segments_changed || experiments_changed {
            next.groups.find_missing(&next.flags, &next.experiments);
        }
        if let Some(rows) = loaded.values {
            let (values, problems) = values(rows, &self.values, loaded.opaque_values);
            next.values = Arc::new(values);
            next.values_version = 1 + LAST_VERSION.fetch_add(1, Ordering::Relaxed);
            next.value_problems = problems.into();
        }
        next
    }
}

impl Snapshot {
    /// The number of regular expressions in rules and segments.
    fn patterns(&self) -> usize {
        let of_flags = self.flags.iter().filter_map(Flag::rules);
        let of_experiments = self.experiments.iter().filter_map(|one| one.rules.as_ref());
        let rules = of_flags.chain(of_experiments);
        rules.map(|rules| rules.patterns()).sum::<usize>() + self.segments.patterns()
    }
}

fn user_problems(rows: &[AllowedUsersRow]) -> Arc<[Problem]> {
    rows.iter()
        .filter(|row| row.undecodable)
        .map(|row| Problem::of_allowed_users(&row.flag_pk))
        .collect()
}

impl AllowedUsersByFlag {
    fn next(&self, rows: Vec<AllowedUsersRow>) -> Self {
        let users = rows.into_iter().map(|row| (row.flag_pk, Arc::new(row.users.into())));
        Self { users: users.collect(), none: self.none.clone() }
    }

    fn of(&self, flag: &PrimaryKey) -> Arc<UserSet> {
        self.users.get(flag).unwrap_or(&self.none).clone()
    }
}

/// What flags get from other tables.
struct Now<'a> {
    users: &'a AllowedUsersByFlag,
    plans: &'a Plans,
    rules: NextRules<'a, Flag>,
}

impl Now<'_> {
    /// The flag with its current allowed users, segments and watch.
    fn current(&self, flag: &Flag) -> Flag {
        let allowed_users = self.users.of(&flag.identity.pk);
        let watch = self.plans.watch(&flag.identity.pk);
        let bucket_by = flag.bucket_by().map(Into::into);
        let before = flag.targeting.as_ref();
        let targeting = Targeting::next(before, self.rules.current(flag), bucket_by, watch);
        Flag { allowed_users, targeting, ..flag.clone() }
    }
}

fn flags<'a>(rows: Vec<FlagRow>, before: &'a Flags, now: &Now<'a>) -> (Flags, Vec<Problem>) {
    let mut flags = Unique::new("flag", before, rows.len());
    let mut bad = Vec::new();
    for row in rows {
        match row.checked() {
            Ok(CheckedFlag {
                pk,
                key,
                enabled,
                rollout_percent,
                client_side,
                rules,
                bucket_by,
            }) => {
                let allowed_users = now.users.of(&pk);
                let last = before.get(&key).filter(|last| last.identity.pk == pk);
                let rules = now.rules.of(&pk, last, rules);
                let before = last.and_then(|last| last.targeting.as_ref());
                let watch = now.plans.watch(&pk);
                let targeting = Targeting::next(before, rules, bucket_by, watch);
                let identity = match last {
                    Some(last) => last.identity.clone(),
                    None => Arc::new(Identity::new(key, pk)),
                };
                flags.insert(Flag {
                    identity,
                    enabled,
                    rollout_percent,
                    client_side,
                    allowed_users,
                    targeting,
                });
            }
            Err(row) => bad.push(row),
        }
    }
    // The last good version gets the current allowed users, or a removed user would keep the flag.
    for key in &flags.duplicates {
        if let Some(flag) = flags.entries.get_mut(key) {
            *flag = now.current(flag);
        }
    }
    // Last: a row that lost its key must not hide the row that has the key now.
    for (pk, problem) in bad {
        flags.problems.push(problem);
        if let Some(flag) = before.iter().find(|flag| flag.identity.pk == pk) {
            flags.entries.add(now.current(flag));
        }
    }
    (flags.entries, flags.problems)
}

fn values(rows: Vec<ValueRow>, before: &Values, opaque: bool) -> (Values, Vec<Problem>) {
    let mut values = Unique::new("value", before, rows.len());
    let mut bad = Vec::new();
    for row in rows {
        let CheckedValue { pk, key, value } = match row.checked() {
            Ok(row) => row,
            Err(row) => {
                bad.push(row);
                continue;
            }
        };
        let value = match value {
            None => StoredValue::Null,
            Some(text) if opaque => StoredValue::Json(text.into()),
            Some(text) => match undecodable(&text) {
                None => StoredValue::from_json(&text),
                Some(fault) => {
                    let problem = Problem::of("value", &key, "value", Fault::Json(fault));
                    bad.push((pk, problem));
                    continue;
                }
            },
        };
        let key = before.get(&key).map_or_else(|| key.into(), |last| last.key.clone());
        values.insert(Stored { key, pk, value });
    }
    for (pk, problem) in bad {
        values.problems.push(problem);
        if let Some(stored) = before.iter().find(|stored| stored.pk == pk) {
            values.entries.add(stored.clone());
        }
    }
    (values.entries, values.problems)
}
