//! A snapshot and the rows of a load → the next snapshot.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{AllowedUsersByFlag, Flags, Loaded, Snapshot, Stored, Values};
use crate::allowed_users::AllowedUsers;
use crate::flag::Flag;
use crate::row::{
    AllowedUsersRow, CheckedFlag, CheckedValue, Fault, FlagRow, Problem, Users, ValueRow,
};
use crate::stored_value::{StoredValue, undecodable};

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
            next.allowed_users = Arc::new(allowed_users_by_flag(rows));
        }
        if let Some(rows) = loaded.flags {
            let (flags, problems) = flags(rows, &self.flags, &next.allowed_users);
            next.flags = Arc::new(flags);
            next.flag_problems = problems.into();
        } else if users_changed {
            next.flags = Arc::new(with_users(&self.flags, &next.allowed_users));
        }
        if let Some(rows) = loaded.values {
            let (values, problems) = values(rows, &self.values, loaded.opaque_values);
            next.values = Arc::new(values);
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

fn allowed_users_by_flag(rows: Vec<AllowedUsersRow>) -> AllowedUsersByFlag {
    rows.into_iter()
        .map(|row| {
            let users = match row.users {
                Users::Integers(keys) => AllowedUsers::of_integers(keys),
                Users::Texts(keys) => AllowedUsers::of_texts(keys),
            };
            (row.flag_pk.into(), Arc::new(users))
        })
        .collect()
}

fn users_of(pk: &str, users: &AllowedUsersByFlag) -> Arc<AllowedUsers> {
    users.get(pk).cloned().unwrap_or_default()
}

fn flags(rows: Vec<FlagRow>, before: &Flags, users: &AllowedUsersByFlag) -> (Flags, Vec<Problem>) {
    let mut flags = Unique::new("flag", before);
    let mut bad = Vec::new();
    for row in rows {
        match row.checked() {
            Ok(CheckedFlag { pk, key, enabled, rollout_percent, client_side }) => {
                let allowed_users = users_of(&pk, users);
                let counters =
                    before.get(&key).map(|flag| flag.counters.clone()).unwrap_or_default();
                let flag =
                    Flag { pk, enabled, rollout_percent, client_side, allowed_users, counters };
                flags.insert(key, flag);
            }
            Err(row) => bad.push(row),
        }
    }
    // The last good version gets the current allowed users, or a removed user would keep the flag.
    for key in &flags.duplicates {
        if let Some(flag) = flags.entries.get_mut(key) {
            flag.allowed_users = users_of(&flag.pk, users);
        }
    }
    // Last: a row that lost its key must not hide the row that has the key now.
    for (pk, problem) in bad {
        flags.problems.push(problem);
        if let Some((key, flag)) = before.iter().find(|(_, flag)| *flag.pk == *pk) {
            let kept = Flag { allowed_users: users_of(&pk, users), ..flag.clone() };
            flags.entries.entry(key.clone()).or_insert(kept);
        }
    }
    (flags.entries, flags.problems)
}

fn with_users(flags: &Flags, users: &AllowedUsersByFlag) -> Flags {
    flags
        .iter()
        .map(|(key, flag)| {
            (key.clone(), Flag { allowed_users: users_of(&flag.pk, users), ..flag.clone() })
        })
        .collect()
}

fn values(rows: Vec<ValueRow>, before: &Values, opaque: bool) -> (Values, Vec<Problem>) {
    let mut values = Unique::new("value", before);
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
                    let problem = Problem::of("value", key.into(), "value", Fault::Json(fault));
                    bad.push((pk.into(), problem));
                    continue;
                }
            },
        };
        values.insert(key, Stored { pk, value });
    }
    for (pk, problem) in bad {
        values.problems.push(problem);
        if let Some((key, stored)) = before.iter().find(|(_, stored)| *stored.pk == *pk) {
            values.entries.entry(key.clone()).or_insert_with(|| stored.clone());
        }
    }
    (values.entries, values.problems)
}

/// Entries by key. Rows with the same key contradict each other, so none of them is used: the last
/// good version stays, or the key is absent.
struct Unique<'a, T> {
    table: &'static str,
    before: &'a HashMap<Box<str>, T>,
    entries: HashMap<Box<str>, T>,
    duplicates: HashSet<Box<str>>,
    problems: Vec<Problem>,
}

impl<'a, T: Clone> Unique<'a, T> {
    fn new(table: &'static str, before: &'a HashMap<Box<str>, T>) -> Self {
        Self {
            table,
            before,
            entries: HashMap::new(),
            duplicates: HashSet::new(),
            problems: Vec::new(),
        }
    }

    fn insert(&mut self, key: Box<str>, entry: T) {
        if self.duplicates.contains(&key) {
            return;
        }
        if !self.entries.contains_key(&key) {
            self.entries.insert(key, entry);
            return;
        }
        match self.before.get(&key) {
            Some(good) => self.entries.insert(key.clone(), good.clone()),
            None => self.entries.remove(&key),
        };
        self.problems.push(Problem::duplicate(self.table, &key));
        self.duplicates.insert(key);
    }
}
