//! Tables that change at random, and what loads read of them.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::swap;

use flagstaff::primary_key::PrimaryKey;
use flagstaff::row::{
    AllowedUsersRow, ExperimentRow, FlagRow, PlanRow, SegmentRow, Users, ValueRow,
};
use flagstaff::snapshot::Loaded;
use flagstaff::token_set::Relation;

use super::bytes::Bytes;
use super::random_rows::RandomRows;

/// So few primary keys that rows are often deleted and inserted again.
const PKS: u8 = 6;
const CHANGES: u8 = 5;
/// The most rows that one token names.
const MOST_PAIRS: usize = 64;

/// The tables of a project.
#[derive(Default)]
pub(crate) struct Database {
    rows: RandomRows,
    flags: Table<FlagRow>,
    segments: Table<SegmentRow>,
    values: Table<ValueRow>,
    experiments: Table<ExperimentRow>,
    plans: Table<PlanRow>,
    allowed_users: AllowedUsers,
}

impl Database {
    pub(crate) fn new(bytes: &mut Bytes<'_>) -> Self {
        let rows = RandomRows { is_faulty: bytes.below(4) == 0 };
        let has_texts = bytes.bool();
        let allowed_users = AllowedUsers { has_texts, ..AllowedUsers::default() };
        Self { rows, allowed_users, ..Self::default() }
    }

    /// Changes some rows.
    pub(crate) fn change(&mut self, bytes: &mut Bytes<'_>) {
        for _ in 0..=bytes.below(CHANGES) {
            let rows = &self.rows;
            match bytes.below(9) {
                0..=2 => self.flags.change(bytes, |pk, bytes| rows.flag(pk, bytes)),
                3 => self.segments.change(bytes, |pk, bytes| rows.segment(pk, bytes)),
                4 => self.values.change(bytes, |pk, bytes| rows.value(pk, bytes)),
                5 => self.experiments.change(bytes, |pk, bytes| rows.experiment(pk, bytes)),
                6 => self.change_plan(bytes),
                _ => self.allowed_users.change(bytes),
            }
        }
    }

    /// Changes a plan, and ends the other ones of its flag.
    fn change_plan(&mut self, bytes: &mut Bytes<'_>) {
        let mut begun = None;
        let rows = &self.rows;
        self.plans.change(bytes, |pk, bytes| {
            let plan = rows.plan(pk, bytes);
            begun = Some((plan.pk.clone(), plan.flag_pk.clone()));
            plan
        });
        let Some((own, flag)) = begun else { return };
        let ended = self.plans.rows.iter().filter(|(_, one)| one.flag_pk == flag && one.pk != own);
        for pk in ended.map(|(pk, _)| *pk).collect::<Vec<_>>() {
            self.plans.rows.remove(&pk);
            self.plans.changed.insert(pk);
        }
    }

    /// A load of all tables.
    pub(crate) fn all(&self) -> Loaded {
        Loaded {
            flags: Some(self.flags.all()),
            segments: Some(self.segments.all()),
            values: Some(self.values.all()),
            experiments: Some(self.experiments.all()),
            plans: Some(self.plans.all()),
            allowed_users: Some(self.allowed_users.all()),
            ..Loaded::default()
        }
    }

    /// A load of the tables that have changed.
    pub(crate) fn changed_tables(&self) -> Loaded {
        let Loaded { flags, segments, values, experiments, plans, allowed_users, .. } = self.all();
        Loaded {
            flags: flags.filter(|_| self.flags.has_changed()),
            segments: segments.filter(|_| self.segments.has_changed()),
            values: values.filter(|_| self.values.has_changed()),
            experiments: experiments.filter(|_| self.experiments.has_changed()),
            plans: plans.filter(|_| self.plans.has_changed()),
            allowed_users: allowed_users.filter(|_| !self.allowed_users.changed.is_empty()),
            ..Loaded::default()
        }
    }

    /// A load that asks most of these tables for the rows that have changed.
    pub(crate) fn asked(&self, bytes: &mut Bytes<'_>) -> Loaded {
        let mut loaded = self.changed_tables();
        let mut ask = |relation, is_read: bool, keys: Vec<PrimaryKey>| {
            let is_asked = is_read && bytes.below(8) > 0;
            is_asked.then(|| loaded.asked.insert(relation, keys)).is_some()
        };
        if ask(Relation::FLAGS, loaded.flags.is_some(), self.flags.asked()) {
            loaded.flags = Some(self.flags.found());
        }
        if ask(Relation::SEGMENTS, loaded.segments.is_some(), self.segments.asked()) {
            loaded.segments = Some(self.segments.found());
        }
        if ask(Relation::VALUES, loaded.values.is_some(), self.values.asked()) {
            loaded.values = Some(self.values.found());
        }
        if ask(Relation::EXPERIMENTS, loaded.experiments.is_some(), self.experiments.asked()) {
            loaded.experiments = Some(self.experiments.found());
        }
        if ask(Relation::PLANS, loaded.plans.is_some(), self.plans.asked()) {
            loaded.plans = Some(self.plans.found());
        }
        let has_pairs = loaded.allowed_users.is_some() && self.allowed_users.are_named();
        if ask(Relation::ALLOWED_USERS, has_pairs, Vec::new()) {
            loaded.allowed_users = Some(self.allowed_users.found());
        }
        loaded
    }

    /// Forgets what has changed.
    pub(crate) fn take_changes(&mut self) {
        self.flags.changed.clear();
        self.segments.changed.clear();
        self.values.changed.clear();
        self.experiments.changed.clear();
        self.plans.changed.clear();
        self.allowed_users.changed.clear();
    }
}

/// A table with a primary key of one column, and the primary keys of the rows that have changed.
struct Table<T> {
    rows: BTreeMap<u8, T>,
    changed: BTreeSet<u8>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<T: Row> Table<T> {
    /// Inserts, replaces or deletes a row, or swaps the keys of two.
    fn change(&mut self, bytes: &mut Bytes<'_>, row: impl FnOnce(PrimaryKey, &mut Bytes<'_>) -> T) {
        let pk = bytes.below(PKS);
        self.changed.insert(pk);
        match bytes.below(8) {
            0 => drop(self.rows.remove(&pk)),
            1 => self.swap(pk, bytes.below(PKS)),
            // The row is written as it was.
            2 => {}
            _ => drop(self.rows.insert(pk, row(T::pk(pk), bytes))),
        }
    }

    fn swap(&mut self, one: u8, other: u8) {
        let [first, second] = [one, other].map(|pk| self.rows.get(&pk).cloned());
        if let (Some(mut first), Some(mut second)) = (first, second) {
            first.swap(&mut second);
            self.rows.extend([(one, first), (other, second)]);
            self.changed.insert(other);
        }
    }

    fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    fn all(&self) -> Vec<T> {
        self.rows.values().cloned().collect()
    }

    /// The primary keys of the rows that have changed.
    fn asked(&self) -> Vec<PrimaryKey> {
        self.changed.iter().map(|pk| T::pk(*pk)).collect()
    }

    /// The rows that have changed and that exist.
    fn found(&self) -> Vec<T> {
        self.changed.iter().filter_map(|pk| self.rows.get(pk)).cloned().collect()
    }
}

/// A row of which two can swap what only one of them may have.
trait Row: Clone {
    fn pk(number: u8) -> PrimaryKey {
        PrimaryKey::from(number.to_string())
    }

    fn swap(&mut self, other: &mut Self);
}

impl Row for FlagRow {
    fn swap(&mut self, other: &mut Self) {
        swap(&mut self.key, &mut other.key);
    }
}

impl Row for SegmentRow {
    fn swap(&mut self, other: &mut Self) {
        swap(&mut self.key, &mut other.key);
    }
}

impl Row for ValueRow {
    fn pk(number: u8) -> PrimaryKey {
        PrimaryKey::from(format!("uuid-{number}"))
    }

    fn swap(&mut self, other: &mut Self) {
        swap(&mut self.key, &mut other.key);
    }
}

impl Row for ExperimentRow {
    fn swap(&mut self, other: &mut Self) {
        swap(&mut self.key, &mut other.key);
    }
}

impl Row for PlanRow {
    fn swap(&mut self, other: &mut Self) {
        swap(&mut self.flag_pk, &mut other.flag_pk);
    }
}

/// The allowed users: pairs of a flag, which need not exist, and a user.
#[derive(Default)]
struct AllowedUsers {
    has_texts: bool,
    pairs: BTreeSet<(u8, u8)>,
    changed: BTreeSet<(u8, u8)>,
}

impl AllowedUsers {
    /// Adds or removes one user of a flag, or all, also more than a short list holds.
    fn change(&mut self, bytes: &mut Bytes<'_>) {
        let flag = bytes.below(PKS + 2);
        let is_added = bytes.bool();
        let users = match bytes.below(8) {
            0 => 0..if is_added { 70 } else { 100 },
            1 => 99..100,
            _ => {
                let user = bytes.below(100);
                user..user + 1
            }
        };
        for pair in users.map(|user| (flag, user)) {
            let has_changed =
                if is_added { self.pairs.insert(pair) } else { self.pairs.remove(&pair) };
            if has_changed {
                self.changed.insert(pair);
            }
        }
    }

    /// Whether one token can name all pairs that have changed.
    fn are_named(&self) -> bool {
        self.changed.len() <= MOST_PAIRS
    }

    fn all(&self) -> Vec<AllowedUsersRow> {
        let flags: BTreeSet<_> = self.pairs.iter().map(|(flag, _)| *flag).collect();
        let row = |flag| {
            let users = self.pairs.iter().filter(|(of, _)| *of == flag).collect();
            AllowedUsersRow::new(pk_of(flag), self.users(users))
        };
        flags.into_iter().map(row).collect()
    }

    /// Which of the users that have changed are allowed.
    fn found(&self) -> Vec<AllowedUsersRow> {
        let flags: BTreeSet<_> = self.changed.iter().map(|(flag, _)| *flag).collect();
        let row = |flag| {
            let asked = self.changed.iter().filter(|(of, _)| *of == flag);
            let (users, absent): (Vec<_>, Vec<_>) =
                asked.partition(|pair| self.pairs.contains(pair));
            let row = AllowedUsersRow::new(pk_of(flag), self.users(users));
            AllowedUsersRow { absent: self.users(absent), ..row }
        };
        flags.into_iter().map(row).collect()
    }

    fn users(&self, pairs: Vec<&(u8, u8)>) -> Users {
        let users = pairs.into_iter().map(|(_, user)| *user);
        if self.has_texts {
            Users::Texts(users.map(|user| user.to_string()).collect())
        } else {
            Users::Integers(users.map(i64::from).collect())
        }
    }
}

fn pk_of(flag: u8) -> PrimaryKey {
    FlagRow::pk(flag)
}
