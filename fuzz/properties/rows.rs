//! For any rows, each entry of the next snapshot follows from the rows and the last snapshot.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use flagstaff::evaluate::evaluate;
use flagstaff::primary_key::PrimaryKey;
use flagstaff::row::{AllowedUsersRow, Fault, FlagRow, SegmentRow, Users, ValueRow};
use flagstaff::rules::NoAttributes;
use flagstaff::snapshot::{Loaded, Snapshot, Stored};
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;

use super::bytes::Bytes;

const LOADS: u8 = 6;
const ROWS: u8 = 12;

pub(crate) fn rows_to_snapshot(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut before = Snapshot::default();
    for _ in 0..LOADS {
        let loaded = some_load(&mut bytes);
        let after = before.next(loaded.clone());
        let problems = after.problems().count();
        assert_flags(&before, &loaded, &after);
        assert_values(&before, &loaded, &after);
        assert_eq!(after.next(Loaded::default()).problems().count(), problems);
        for problem in after.problems() {
            // A key is shown with its control characters escaped: a line stays a line.
            assert!(!problem.to_string().chars().any(char::is_control), "{problem}");
        }
        for (key, flag) in after.flags() {
            for subject in
                [Subject::Anonymous, Subject::Integer(bytes.integer()), Subject::Text(key)]
            {
                let result = evaluate(key, flag, &subject, &NoAttributes);
                assert!(flag.enabled || !result.value, "{key:?} is disabled");
            }
        }
        before = after;
        if bytes.is_empty() {
            break;
        }
    }
}

fn some_load(bytes: &mut Bytes<'_>) -> Loaded {
    Loaded {
        flags: bytes.bool().then(|| some_rows(bytes, flag_row)),
        allowed_users: bytes.bool().then(|| some_rows(bytes, allowed_users_row)),
        segments: bytes.bool().then(|| some_rows(bytes, segment_row)),
        values: bytes.bool().then(|| some_rows(bytes, value_row)),
        ..Loaded::default()
    }
}

/// Rows of one table, with distinct primary keys.
fn some_rows<T>(bytes: &mut Bytes<'_>, row: fn(PrimaryKey, &mut Bytes<'_>) -> T) -> Vec<T> {
    let count = bytes.below(ROWS);
    let keys: BTreeSet<String> = (0..count).map(|_| bytes.text()).collect();
    let mut rows: Vec<T> = keys.into_iter().map(|pk| row(pk.into(), bytes)).collect();
    if bytes.bool() {
        rows.reverse();
    }
    rows
}

fn flag_row(pk: PrimaryKey, bytes: &mut Bytes<'_>) -> FlagRow {
    FlagRow {
        pk,
        key: text_or_fault(bytes),
        enabled: (bytes.below(8) > 0).then(|| bytes.bool()),
        rollout_percent: (bytes.below(8) > 0).then(|| bytes.percent()),
        client_side: bytes.bool(),
        rules: rules(bytes),
        bucket_by: bucket_by(bytes),
    }
}

/// The user, the visitor, an attribute, or one that no subject has.
fn bucket_by(bytes: &mut Bytes<'_>) -> Option<Box<str>> {
    let units = [None, Some("visitor"), Some("country"), Some("")];
    units[usize::from(bytes.below(4))].map(Into::into)
}

/// No rules, rules that always match, rules of a segment, or a text that is none.
fn rules(bytes: &mut Bytes<'_>) -> Option<Box<str>> {
    let conditions = match bytes.below(6) {
        0 | 1 => return Some(bytes.text().into()),
        2 => ANYONE.to_owned(),
        3 => format!(r#"[{{"segment": "{}"}}]"#, bytes.below(8)),
        _ => return None,
    };
    Some(format!(r#"[{{"conditions": {conditions}}}]"#).into())
}

const ANYONE: &str = r#"[{"attribute": "a", "operator": "isnull", "values": [true]}]"#;

fn segment_row(pk: PrimaryKey, bytes: &mut Bytes<'_>) -> SegmentRow {
    let conditions = match bytes.below(3) {
        0 => text_or_fault(bytes),
        _ => Ok(ANYONE.into()),
    };
    SegmentRow { pk, key: text_or_fault(bytes), conditions }
}

fn allowed_users_row(flag_pk: PrimaryKey, bytes: &mut Bytes<'_>) -> AllowedUsersRow {
    let count = bytes.below(5);
    let users = if bytes.bool() {
        Users::Integers((0..count).map(|_| bytes.integer()).collect())
    } else {
        Users::Texts((0..count).map(|_| bytes.text()).collect())
    };
    AllowedUsersRow::new(flag_pk, users)
}

fn value_row(pk: PrimaryKey, bytes: &mut Bytes<'_>) -> ValueRow {
    let value = if bytes.below(8) == 0 { Ok(None) } else { text_or_fault(bytes).map(Some) };
    let (key, is_secret) = (text_or_fault(bytes), bytes.bool());
    let rules = if bytes.below(4) == 0 { Some(rules_of_value(bytes)) } else { None };
    ValueRow { pk, key, value, is_secret, client_side: false, rules, bucket_by: None }
}

fn rules_of_value(bytes: &mut Bytes<'_>) -> Box<str> {
    let segment = bytes.below(8);
    match bytes.below(4) {
        0 => bytes.text().into(),
        1 => r#"[{"conditions": [], "rollout_percent": 20, "value": 5}]"#.into(),
        2 => format!(r#"[{{"conditions": [{{"segment": "{segment}"}}], "value": "b"}}]"#).into(),
        _ => format!(r#"[{{"conditions": {ANYONE}, "value": [1]}}]"#).into(),
    }
}

fn text_or_fault<T: From<String>>(bytes: &mut Bytes<'_>) -> Result<T, Fault> {
    match bytes.below(10) {
        0 => Err(Fault::Null),
        1 => Err(Fault::TooLarge),
        _ => Ok(bytes.text().into()),
    }
}

/// The number of good rows of each key.
fn count<'a>(keys: impl Iterator<Item = &'a Box<str>>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(&**key).or_default() += 1;
    }
    counts
}

fn assert_flags(before: &Snapshot, loaded: &Loaded, after: &Snapshot) {
    let Some(rows) = &loaded.flags else {
        assert_eq!(after.flag_count(), before.flag_count());
        return;
    };
    let is_good =
        |row: &&FlagRow| row.key.is_ok() && row.enabled.is_some() && row.rollout_percent.is_some();
    let counts = count(rows.iter().filter(is_good).filter_map(|row| row.key.as_ref().ok()));
    for row in rows.iter().filter(is_good) {
        let Ok(key) = &row.key else { continue };
        let flag = after.flag(key);
        if counts[&**key] > 1 {
            let percent = |snapshot: &Snapshot| snapshot.flag(key).map(|flag| flag.rollout_percent);
            assert_eq!(percent(after), percent(before), "{key:?} has duplicates");
        } else {
            let flag = flag.expect("a good row is there");
            assert_eq!((&flag.identity.pk, Some(flag.enabled)), (&row.pk, row.enabled));
            assert_eq!(Some(flag.rollout_percent), row.rollout_percent);
            assert_eq!(flag.client_side, row.client_side);
        }
    }
    let bad: HashSet<PrimaryKey> =
        rows.iter().filter(|row| !is_good(row)).map(|row| row.pk.clone()).collect();
    for (key, flag) in after.flags().filter(|(key, _)| !counts.contains_key(key)) {
        let kept = before.flag(key).expect("a kept flag existed before");
        assert!(bad.contains(&kept.identity.pk), "{key:?} has no row");
        assert_eq!((flag.enabled, flag.rollout_percent), (kept.enabled, kept.rollout_percent));
    }
    for (key, flag) in before.flags().filter(|(_, flag)| bad.contains(&flag.identity.pk)) {
        let doubles =
            before.flags().filter(|(_, other)| other.identity.pk == flag.identity.pk).count();
        assert!(doubles > 1 || after.flag(key).is_some(), "{key:?} lost its last good version");
    }
}

fn assert_values(before: &Snapshot, loaded: &Loaded, after: &Snapshot) {
    let Some(rows) = &loaded.values else {
        assert_eq!(after.value_count(), before.value_count());
        return;
    };
    let good: Vec<(&Box<str>, &Option<String>)> =
        rows.iter().filter_map(|row| row.key.as_ref().ok().zip(row.value.as_ref().ok())).collect();
    let counts = count(good.iter().map(|(key, _)| *key));
    for (key, value) in good {
        if counts[&**key] > 1 {
            let own =
                |snapshot: &Snapshot| snapshot.value(key).map(|stored| stored.value().clone());
            assert_eq!(own(after), own(before), "{key:?} has duplicates");
            continue;
        }
        let expected = match value {
            None => StoredValue::Null,
            Some(text) => StoredValue::from_json(text),
        };
        assert_eq!(after.value(key).map(Stored::value), Some(&expected));
    }
    // One for each bad row and each duplicate key of the values.
    let bad = rows.iter().filter(|row| row.key.is_err() || row.value.is_err()).count();
    let duplicates = counts.values().filter(|count| **count > 1).count();
    let reported =
        after.problems().filter(|problem| problem.to_string().starts_with("value ")).count();
    assert_eq!(reported, bad + duplicates);
    assert!(after.value_count() <= counts.len() + bad);
}
