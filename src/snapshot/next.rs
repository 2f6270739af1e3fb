//! A snapshot and the rows of a load → the next snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashSet;

use super::key_table::{KeyTable, Keyed};
use super::{AllowedUsersByFlag, Flags, Loaded, Snapshot, Stored, Values};
use crate::allowed_users::AllowedUsers;
use crate::flag::{Flag, Identity};
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
            let flags = self.flags.iter().map(|flag| with_users(flag, &next.allowed_users));
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
            (row.flag_pk, Arc::new(users))
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
                let identity = match before.get(&key) {
                    Some(last) if last.identity.pk == pk => last.identity.clone(),
                    _ => Arc::new(Identity::new(key, pk)),
                };
                flags.insert(Flag {
                    identity,
                    enabled,
                    rollout_percent,
                    client_side,
                    allowed_users,
                });
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
        if let Some(flag) = before.iter().find(|flag| flag.identity.pk == pk) {
            flags.entries.add(with_users(flag, users));
        }
    }
    (flags.entries, flags.problems)
}

/// The flag with its current allowed users.
fn with_users(flag: &Flag, users: &AllowedUsersByFlag) -> Flag {
    Flag { allowed_users: users.of(&flag.identity.pk), ..flag.clone() }
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

/// Entries by key. Rows with the same key contradict each other, so none of them is used: the last
/// good version stays, or the key is absent.
struct Unique<'a, T> {
    table: &'static str,
    before: &'a KeyTable<T>,
    entries: KeyTable<T>,
    duplicates: HashSet<Box<str>>,
    problems: Vec<Problem>,
}

impl<'a, T: Clone + Keyed> Unique<'a, T> {
    fn new(table: &'static str, before: &'a KeyTable<T>, capacity: usize) -> Self {
        Self {
            table,
            before,
            entries: KeyTable::with_capacity(capacity),
            duplicates: HashSet::new(),
            problems: Vec::new(),
        }
    }

    fn insert(&mut self, entry: T) {
        if self.duplicates.contains(entry.key()) {
            return;
        }
        let Some(duplicate) = self.entries.add(entry) else { return };
        let key = duplicate.key();
        self.entries.remove(key);
        if let Some(good) = self.before.get(key) {
            self.entries.add(good.clone());
        }
        self.problems.push(Problem::duplicate(self.table, key));
        self.duplicates.insert(key.into());
    }
}
