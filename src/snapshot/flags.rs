//! The rows of the flags' table → the flags of the next snapshot.

use std::sync::Arc;

use super::allowed_users::AllowedUsersByFlag;
use super::key_table::{KeyTable, Keyed};
use super::plans::Plans;
use super::ruled::with_rows;
use super::segments::{NextRules, unreadable_rules};
use super::slot::{LoadedTable, Versions};
use super::unique::Unique;
use crate::declared::Declared;
use crate::flag::{Flag, Identity};
use crate::primary_key::PrimaryKey;
use crate::row::{CheckedFlag, FlagRow, Problem, RowKind};
use crate::targeting::Targeting;
use crate::token_set::Relation;

/// The flags by key.
pub(super) type Flags = KeyTable<Flag>;

impl Keyed for Flag {
    #[inline]
    fn key(&self) -> &str {
        &self.identity.key
    }
}

/// What flags take from other tables.
pub(super) struct FlagSources<'a> {
    pub(super) users: Versions<'a, AllowedUsersByFlag>,
    pub(super) plans: Versions<'a, Plans>,
    pub(super) rules: NextRules<'a, Flag>,
    pub(super) declared: &'a Declared,
}

impl FlagSources<'_> {
    fn have_other_watches(&self) -> bool {
        self.plans.differ() && !self.plans.now.measure_the_same(self.plans.before)
    }

    /// The flag of a row. `last` is the flag that had its key before, if it has the same row.
    fn flag(&self, row: CheckedFlag, last: Option<&Flag>) -> Flag {
        let CheckedFlag { pk, key, enabled, rollout_percent, client_side, rules, bucket_by } = row;
        let allowed_users = self.users.now.of(&pk);
        let rules = self.rules.of(&pk, last, rules);
        let before = last.and_then(|last| last.targeting.as_ref());
        let watch = self.plans.now.watch(&pk);
        let targeting = Targeting::next(before, rules, bucket_by, watch);
        let identity = match last {
            Some(last) => last.identity.clone(),
            None => Arc::new(Identity::new(key, pk)),
        };
        let flag =
            Flag { identity, enabled, rollout_percent, client_side, allowed_users, targeting };
        declared_flag(flag, self.declared)
    }

    /// The flag with its current allowed users, segments and watch.
    fn current(&self, flag: &Flag) -> Flag {
        let allowed_users = self.users.now.of(&flag.identity.pk);
        let watch = self.plans.now.watch(&flag.identity.pk);
        let bucket_by = flag.bucket_by().map(Into::into);
        let before = flag.targeting.as_ref();
        let targeting = Targeting::next(before, self.rules.current(flag), bucket_by, watch);
        Flag { allowed_users, targeting, ..flag.clone() }
    }
}

impl LoadedTable for Flags {
    const RELATION: Relation = Relation::FLAGS;

    type Row = FlagRow;
    type Others<'a> = FlagSources<'a>;

    fn load(&self, rows: Vec<FlagRow>, sources: &FlagSources<'_>) -> (Self, Vec<Problem>) {
        let mut flags = Unique::new(RowKind::Flag, self, rows.len());
        let mut bad = Vec::new();
        for row in rows {
            match row.checked() {
                Ok(row) => {
                    let last = self.get(&row.key).filter(|last| last.identity.pk == row.pk);
                    flags.insert(sources.flag(row, last));
                }
                Err(row) => bad.push(row),
            }
        }
        // The last good version gets the current allowed users, or a removed user would keep the
        // flag.
        for key in &flags.duplicates {
            if let Some(flag) = flags.entries.get_mut(key) {
                *flag = sources.current(flag);
            }
        }
        // Last: a row that lost its key must not hide the row that has the key now.
        for (pk, problem) in bad {
            flags.problems.push(problem);
            if let Some(flag) = self.iter().find(|flag| flag.identity.pk == pk) {
                flags.entries.add(sources.current(flag));
            }
        }
        add_flags(&mut flags.entries, self, sources.declared);
        (flags.entries, flags.problems)
    }

    fn update(
        &self,
        asked: &[PrimaryKey],
        rows: Vec<FlagRow>,
        sources: &FlagSources<'_>,
    ) -> Option<Self> {
        let flags = rows.into_iter().map(|row| {
            let row = row.checked().ok()?;
            let last = self.get(&row.key).filter(|last| last.identity.pk == row.pk);
            Some(sources.flag(row, last))
        });
        let mut next = with_rows(self, asked, flags)?;
        add_flags(&mut next, self, sources.declared);
        Some(next)
    }

    fn has_changed_others(sources: &FlagSources<'_>) -> bool {
        sources.users.differ() || sources.rules.segments.differ() || sources.have_other_watches()
    }

    fn with_others(&self, sources: &FlagSources<'_>) -> Option<Self> {
        let is_current = !sources.users.differ()
            && !sources.have_other_watches()
            && sources.rules.are_current(self);
        (!is_current).then(|| self.iter().map(|flag| sources.current(flag)).collect())
    }

    fn rule_problems(&self) -> Vec<Problem> {
        unreadable_rules(self)
    }
}

/// The flags with what code declares now.
pub(super) fn with_declared(flags: &Flags, declared: &Declared) -> Flags {
    let of_rows = flags.iter().filter(|flag| flag.has_row()).cloned();
    let mut next = of_rows.map(|flag| declared_flag(flag, declared)).collect();
    add_flags(&mut next, flags, declared);
    next
}

/// The flag of a row, as far as code lets it be read.
fn declared_flag(mut flag: Flag, declared: &Declared) -> Flag {
    if let Some(declared) = declared.flags.get(&*flag.identity.key) {
        flag.client_side &= declared.client_side;
    }
    flag
}

/// Adds the declared flags without a row: disabled.
fn add_flags(flags: &mut Flags, before: &Flags, declared: &Declared) {
    for (key, declared) in &declared.flags {
        if flags.get(key).is_some() {
            continue;
        }
        let identity = match before.get(key) {
            Some(before) if !before.has_row() => before.identity.clone(),
            _ => Arc::new(Identity::new(key.clone(), PrimaryKey::None)),
        };
        flags.add(Flag {
            identity,
            enabled: false,
            rollout_percent: 0,
            client_side: declared.client_side,
            allowed_users: Arc::default(),
            targeting: None,
        });
    }
}
