//! A snapshot and the rows of a load → the next snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};

use super::{AllowedUsersByFlag, Flags, Loaded, Snapshot, Stored, Values};
use crate::allowed_users::AllowedUsers;
use crate::flag::Flag;
use crate::primary_key::PrimaryKey;
use crate::row::{
    AllowedUsersRow, CheckedFlag, CheckedValue, Fault, FlagRow, Problem, Users, ValueRow,
};
use crate::stored_value::{StoredValue, undecodable};

/// The version of the values that were loaded last.
static LAST_VERSION: AtomicU64 = AtomicU64::new(0);

impl Snapshot {
    /// The next snapshot: this one with the loaded tables replaced.
    ///
    /// A row that cannot be used keeps its last good version; without one its key is absent. It is
    /// listed in [`problems`](Self::problems).
    #[must_use]
    pub fn next(&self, loaded: Loaded) -> Self {
        let mut next = Self { token_set: loaded.token_set, ..self.clone() };
        let users_changed = loaded.allowed_users.is_some();
        if let Some(rows) = loaded.allowed_users {
            next.user_problems = user_problems(&rows);
            next.allowed_users = Arc::new(self.allowed_users.next(rows));
        }
        if let Some(rows) = loaded.flags {
            let (flags, problems) = flags(rows, &self.flags, &next.allowed_users);
            next.flags = Arc::new(flags);
            next.flag_problems = problems.into();
        } else if users_changed {
            let flags = self.flags.iter();
            let flags =
                flags.map(|(key, flag)| (key.clone(), with_users(flag, &next.allowed_users)));
            next.flags = Arc::new(flags.collect());
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

fn user_problems(rows: &[AllowedUsersRow]) -> Arc<[Problem]> {
    rows.iter()
        .filter(|row| row.undecodable)
        .map(|row| Problem::of_allowed_users(&row.flag_pk))
        .collect()
}

impl AllowedUsersByFlag {
    fn next(&self, rows: Vec<AllowedUsersRow>) -> Self {
        let users = rows.into_iter().map(|row| {
            let users = match row.users {
                Users::Integers(keys) => AllowedUsers::of_integers(keys),
                Users::Texts(keys) => AllowedUsers::of_texts(keys),
            };
            (row.flag_pk.into(), Arc::new(users))
        });
        Self { users: users.collect(), none: self.none.clone() }
    }

    fn of(&self, flag: &PrimaryKey) -> Arc<AllowedUsers> {
        self.users.get(flag).unwrap_or(&self.none).clone()
    }
}

fn flags(rows: Vec<FlagRow>, before: &Flags, users: &AllowedUsersByFlag) -> (Flags, Vec<Problem>) {
    let mut flags = Unique::new("flag", before, rows.len());
    let mut bad = Vec::new();
    for row in rows {
        match row.checked() {
            Ok(CheckedFlag { pk, key, enabled, rollout_percent, client_side }) => {
                let allowed_users = users.of(&pk);
                let last = before.get(&*key);
                let counters = last.map(|flag| flag.counters.clone()).unwrap_or_default();
                let flag =
                    Flag { pk, enabled, rollout_percent, client_side, allowed_users, counters };
                let flag = match last {
                    Some(last) if is_same(last, &flag) => last.clone(),
                    _ => Arc::new(flag),
                };
                flags.insert(key, flag);
            }
            Err(row) => bad.push(row),
        }
    }
    // The last good version gets the current allowed users, or a removed user would keep the flag.
    for key in &flags.duplicates {
        if let Some(flag) = flags.entries.get_mut(key) {
            *flag = with_users(flag, users);
        }
    }
    // Last: a row that lost its key must not hide the row that has the key now.
    for (pk, problem) in bad {
        flags.problems.push(problem);
        if let Some((key, flag)) = before.iter().find(|(_, flag)| flag.pk == pk) {
            flags.entries.entry(key.clone()).or_insert_with(|| with_users(flag, users));
        }
    }
    (flags.entries, flags.problems)
}

/// Whether two versions are the same, without comparing a million allowed users.
fn is_same(one: &Flag, other: &Flag) -> bool {
    let row = |flag: &Flag| (flag.enabled, flag.rollout_percent, flag.client_side);
    one.pk == other.pk
        && row(one) == row(other)
        && Arc::ptr_eq(&one.allowed_users, &other.allowed_users)
}

/// The flag with its current allowed users.
fn with_users(flag: &Arc<Flag>, users: &AllowedUsersByFlag) -> Arc<Flag> {
    let allowed_users = users.of(&flag.pk);
    if Arc::ptr_eq(&flag.allowed_users, &allowed_users) {
        return flag.clone();
    }
    Arc::new(Flag { allowed_users, ..Flag::clone(flag) })
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
                    let problem = Problem::of("value", key, "value", Fault::Json(fault));
                    bad.push((pk, problem));
                    continue;
                }
            },
        };
        values.insert(key, Stored { pk, value });
    }
    for (pk, problem) in bad {
        values.problems.push(problem);
        if let Some((key, stored)) = before.iter().find(|(_, stored)| stored.pk == pk) {
            values.entries.entry(key.clone()).or_insert_with(|| stored.clone());
        }
    }
    (values.entries, values.problems)
}

/// Entries by key. Rows with the same key contradict each other, so none of them is used: the last
/// good version stays, or the key is absent.
struct Unique<'a, T> {
    table: &'static str,
    before: &'a HashMap<Arc<str>, T>,
    entries: HashMap<Arc<str>, T>,
    duplicates: HashSet<Arc<str>>,
    problems: Vec<Problem>,
}

impl<'a, T: Clone> Unique<'a, T> {
    fn new(table: &'static str, before: &'a HashMap<Arc<str>, T>, capacity: usize) -> Self {
        Self {
            table,
            before,
            entries: HashMap::with_capacity(capacity),
            duplicates: HashSet::new(),
            problems: Vec::new(),
        }
    }

    fn insert(&mut self, key: String, entry: T) {
        if self.duplicates.contains(&*key) {
            return;
        }
        let before = self.before.get_key_value(&*key);
        let key = before.map_or_else(|| key.into(), |(key, _)| Arc::clone(key));
        if !self.entries.contains_key(&key) {
            self.entries.insert(key, entry);
            return;
        }
        match before {
            Some((_, good)) => self.entries.insert(key.clone(), good.clone()),
            None => self.entries.remove(&key),
        };
        self.problems.push(Problem::duplicate(self.table, &key));
        self.duplicates.insert(key);
    }
}
