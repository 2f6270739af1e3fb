//! A load of the rows that changed gives the same snapshot as a load of all rows, or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flagstaff::evaluate::evaluate;
use flagstaff::flag::Flag;
use flagstaff::row::Problem;
use flagstaff::rules::NoAttributes;
use flagstaff::snapshot::{Loaded, Snapshot, Stored};
use flagstaff::subject::Subject;

use super::bytes::Bytes;
use super::database::Database;

const LOADS: u8 = 8;

/// The numbers of loads that asked for rows, and of those whose rows were enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loads {
    pub(crate) asked: usize,
    pub(crate) enough: usize,
}

impl Loads {
    /// The next snapshot of a worker that asks for the rows that changed, and reads the tables that
    /// changed if these are not enough.
    fn next(&mut self, before: &Snapshot, asked: &Loaded, changed_tables: Loaded) -> Snapshot {
        let by_tables = before.next(changed_tables);
        let by_rows = before.try_next(asked.clone());
        if !asked.asked.is_empty() {
            self.asked += 1;
            self.enough += usize::from(by_rows.is_some());
        }
        let Some(by_rows) = by_rows else {
            assert!(has_problems(before) || has_problems(&by_tables), "{asked:?}");
            return by_tables;
        };
        assert_same_step(before, &by_rows, &by_tables, asked);
        by_rows
    }
}

pub(crate) fn row_loads(bytes: &[u8]) -> Loads {
    let mut bytes = Bytes(bytes);
    let mut database = Database::new(&mut bytes);
    let mut loads = Loads::default();
    database.change(&mut bytes);
    // One worker reads the rows that changed, the other one all tables.
    let mut worker = Snapshot::default().next(database.all());
    let mut other = worker.clone();
    for _ in 0..LOADS {
        database.take_changes();
        database.change(&mut bytes);
        worker = loads.next(&worker, &database.asked(&mut bytes), database.changed_tables());
        other = other.next(database.all());
        assert_same(&worker, &other);
        if has_duplicates(&worker) {
            // Two last good versions may be of one row, and then a load may drop any of them.
            worker = Snapshot::default().next(database.all());
            other = worker.clone();
        }
        if bytes.is_empty() {
            break;
        }
    }
    loads
}

/// Whether some row cannot be used, or not as it is.
fn has_problems(snapshot: &Snapshot) -> bool {
    let is_of_row = |problem: &Problem| !problem.to_string().contains("does not exist");
    snapshot.problems().any(is_of_row)
}

fn has_duplicates(snapshot: &Snapshot) -> bool {
    snapshot.problems().any(|problem| problem.to_string().contains("several rows have this key"))
}

/// Both have the same rows, and give every subject the same results.
fn assert_same(one: &Snapshot, two: &Snapshot) {
    for found in [one.differences(two), two.differences(one)] {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(one.changed_keys(two).is_empty(), "{:?}", one.changed_keys(two));
    assert_eq!(problems(one), problems(two));
    assert_eq!((one.flag_count(), one.value_count()), (two.flag_count(), two.value_count()));
    for (key, flag) in one.flags() {
        let same = two.flag(key).expect("both have the flag");
        for subject in subjects() {
            let [found, expected] =
                [flag, same].map(|flag| evaluate(key, flag, &subject, &NoAttributes));
            assert_eq!(found, expected, "{key:?} for {subject:?}");
        }
    }
    for (key, stored) in one.readable_values() {
        assert_eq!(Some(stored.value()), two.value(key).map(Stored::value));
    }
}

fn subjects() -> impl Iterator<Item = Subject<'static>> {
    let texts = ["0", "1", "2", "a", ""].map(Subject::Text);
    texts.into_iter().chain([0, 1, 2, 33, 98, 99].map(Subject::Integer)).chain([Subject::Anonymous])
}

fn problems(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.problems().map(ToString::to_string).collect()
}

/// After the same snapshot, both have the same rows, and have kept the same counters and watches.
fn assert_same_step(before: &Snapshot, by_rows: &Snapshot, by_tables: &Snapshot, asked: &Loaded) {
    assert_same(by_rows, by_tables);
    assert_eq!(by_rows.changed_keys(before), by_tables.changed_keys(before));
    assert_eq!(kept(before, by_rows), kept(before, by_tables));
    let has_other_values = by_rows.values_version() != before.values_version();
    assert_eq!(has_other_values, asked.values.is_some());
    if asked.values.is_none() && asked.segments.is_none() {
        for (key, stored) in by_rows.readable_values() {
            assert!(std::ptr::eq(stored, before.value(key).expect("it is not loaded")));
        }
    }
}

/// The flags that count as before, and those that are measured as before.
fn kept<'a>(before: &Snapshot, after: &'a Snapshot) -> BTreeMap<&'a str, (bool, bool)> {
    let both = |(key, flag)| Some((key, flag, before.flag(key)?));
    let kept = |(key, now, then): (&'a str, &Flag, &Flag)| {
        let watches = now.watch().zip(then.watch());
        let is_watched = watches.is_some_and(|(now, then)| Arc::ptr_eq(now, then));
        (key, (Arc::ptr_eq(&now.identity, &then.identity), is_watched))
    };
    after.flags().filter_map(both).map(kept).collect()
}
