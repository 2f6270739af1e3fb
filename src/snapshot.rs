//! All flags and settings at one moment of the database, immutable.
//!
//! A snapshot is made from the one before it and the rows of those tables that moved. Tables that
//! did not move are shared, so a toggle beside a million allow-list entries copies none of them.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::allow_list::AllowList;
use crate::fingerprint::Fingerprint;
use crate::flag::Flag;
use crate::row::{AllowRow, CheckedFlag, CheckedValue, FlagRow, Problem, Users, ValueRow};
use crate::setting::Setting;

type Flags = HashMap<Box<str>, Flag>;
type AllowLists = HashMap<Box<str>, Arc<AllowList>>;
type Settings = HashMap<Box<str>, Stored>;

/// A setting and the primary key of its row, by which its last good version is found.
#[derive(Clone, Debug)]
struct Stored {
    pk: Box<str>,
    setting: Setting,
}

/// All flags and settings at one moment of the database.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    fingerprint: Option<Fingerprint>,
    flags: Arc<Flags>,
    allow_lists: Arc<AllowLists>,
    settings: Arc<Settings>,
    flag_problems: Arc<[Problem]>,
    list_problems: Arc<[Problem]>,
    value_problems: Arc<[Problem]>,
}

/// What one load read, all at the same moment. A table that was not read is `None`.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The token table, or `None` where the database keeps no tokens.
    pub fingerprint: Option<Fingerprint>,
    /// All rows of the flags' table.
    pub flags: Option<Vec<FlagRow>>,
    /// All allow-lists.
    pub allow_lists: Option<Vec<AllowRow>>,
    /// All rows of the key-value table.
    pub values: Option<Vec<ValueRow>>,
    /// Whether the model field decodes every value itself, plain scalars too.
    pub opaque_values: bool,
}

impl Snapshot {
    /// The flag that the code asks for as `key`.
    #[must_use]
    #[inline]
    pub fn flag(&self, key: &str) -> Option<&Flag> {
        self.flags.get(key)
    }

    /// The setting that the code asks for as `key`.
    #[must_use]
    #[inline]
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key).map(|stored| &stored.setting)
    }

    /// All flags by key, in no order.
    pub fn flags(&self) -> impl Iterator<Item = (&str, &Flag)> {
        self.flags.iter().map(|(key, flag)| (&**key, flag))
    }

    /// How many flags there are.
    #[must_use]
    pub fn flag_count(&self) -> usize {
        self.flags.len()
    }

    /// How many settings there are.
    #[must_use]
    pub fn setting_count(&self) -> usize {
        self.settings.len()
    }

    /// The token table at the moment of this snapshot.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&Fingerprint> {
        self.fingerprint.as_ref()
    }

    /// The rows that were set aside.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let lists = [&self.flag_problems, &self.list_problems, &self.value_problems];
        lists.into_iter().flat_map(|problems| problems.iter())
    }

    /// The snapshot after this one.
    ///
    /// A row that cannot be evaluated keeps its last good version, and is absent where there is
    /// none; either way it is among the [`problems`](Self::problems).
    #[must_use]
    pub fn next(&self, loaded: Loaded) -> Self {
        let mut next = Self { fingerprint: loaded.fingerprint, ..self.clone() };
        let lists_moved = loaded.allow_lists.is_some();
        if let Some(rows) = loaded.allow_lists {
            next.list_problems = list_problems(&rows);
            next.allow_lists = Arc::new(allow_lists(rows));
        }
        if let Some(rows) = loaded.flags {
            let (flags, problems) = flags(rows, &self.flags, &next.allow_lists);
            next.flags = Arc::new(flags);
            next.flag_problems = problems.into();
        } else if lists_moved {
            next.flags = Arc::new(relinked(&self.flags, &next.allow_lists));
        }
        if let Some(rows) = loaded.values {
            let (settings, problems) = settings(rows, &self.settings, loaded.opaque_values);
            next.settings = Arc::new(settings);
            next.value_problems = problems.into();
        }
        next
    }
}

fn list_problems(rows: &[AllowRow]) -> Arc<[Problem]> {
    rows.iter().filter(|row| row.undecodable).map(|row| Problem::of_list(&row.flag_pk)).collect()
}

fn allow_lists(rows: Vec<AllowRow>) -> AllowLists {
    rows.into_iter()
        .map(|row| {
            let list = match row.users {
                Users::Integers(keys) => AllowList::of_integers(keys),
                Users::Texts(keys) => AllowList::of_texts(keys),
            };
            (row.flag_pk.into(), Arc::new(list))
        })
        .collect()
}

fn list_of(pk: &str, lists: &AllowLists) -> Arc<AllowList> {
    lists.get(pk).cloned().unwrap_or_default()
}

fn flags(rows: Vec<FlagRow>, before: &Flags, lists: &AllowLists) -> (Flags, Vec<Problem>) {
    let mut flags = Unique::new("flag", before);
    let mut bad = Vec::new();
    for row in rows {
        match row.checked() {
            Ok(CheckedFlag { pk, key, enabled, rollout_percent, client_side }) => {
                let allowed = list_of(&pk, lists);
                let asked = before.get(&key).map(|flag| flag.asked.clone()).unwrap_or_default();
                let flag = Flag { pk, enabled, rollout_percent, client_side, allowed, asked };
                flags.insert(key, flag);
            }
            Err(row) => bad.push(row),
        }
    }
    // A flag that is kept keeps no user who has left its list since.
    for key in &flags.twice {
        if let Some(flag) = flags.entries.get_mut(key) {
            flag.allowed = list_of(&flag.pk, lists);
        }
    }
    // After the good rows: a row that has lost its key must not keep it from the row that took it.
    for (pk, problem) in bad {
        flags.problems.push(problem);
        if let Some((key, flag)) = before.iter().find(|(_, flag)| *flag.pk == *pk) {
            let kept = Flag { allowed: list_of(&pk, lists), ..flag.clone() };
            flags.entries.entry(key.clone()).or_insert(kept);
        }
    }
    (flags.entries, flags.problems)
}

fn relinked(flags: &Flags, lists: &AllowLists) -> Flags {
    flags
        .iter()
        .map(|(key, flag)| {
            (key.clone(), Flag { allowed: list_of(&flag.pk, lists), ..flag.clone() })
        })
        .collect()
}

fn settings(rows: Vec<ValueRow>, before: &Settings, opaque: bool) -> (Settings, Vec<Problem>) {
    let mut settings = Unique::new("value", before);
    let mut bad = Vec::new();
    for row in rows {
        let CheckedValue { pk, key, value } = match row.checked() {
            Ok(row) => row,
            Err(row) => {
                bad.push(row);
                continue;
            }
        };
        let setting = match value {
            None => Setting::Null,
            Some(text) if opaque => Setting::Json(text.into()),
            Some(text) => Setting::from_json(&text),
        };
        settings.insert(key, Stored { pk, setting });
    }
    for (pk, problem) in bad {
        settings.problems.push(problem);
        if let Some((key, stored)) = before.iter().find(|(_, stored)| *stored.pk == *pk) {
            settings.entries.entry(key.clone()).or_insert_with(|| stored.clone());
        }
    }
    (settings.entries, settings.problems)
}

/// Entries by key. Two rows with one key contradict each other, so neither counts: the last good
/// one stays, or the key is absent.
struct Unique<'a, T> {
    table: &'static str,
    before: &'a HashMap<Box<str>, T>,
    entries: HashMap<Box<str>, T>,
    twice: HashSet<Box<str>>,
    problems: Vec<Problem>,
}

impl<'a, T: Clone> Unique<'a, T> {
    fn new(table: &'static str, before: &'a HashMap<Box<str>, T>) -> Self {
        Self { table, before, entries: HashMap::new(), twice: HashSet::new(), problems: Vec::new() }
    }

    fn insert(&mut self, key: Box<str>, entry: T) {
        if self.twice.contains(&key) {
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
        self.twice.insert(key);
    }
}
