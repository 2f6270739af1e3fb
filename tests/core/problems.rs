//! The message for each row that cannot be used: the table, the key or primary key, the column and
//! the reason.

use flagstaff::row::{Fault, FlagRow, ValueRow};
use flagstaff::snapshot::{Loaded, Snapshot, Stored};
use flagstaff::stored_value::{StoredValue, Undecodable};

use crate::rows::{
    flag, flag_with_rules, flags, problems, segment, segments, snapshot, value, values,
};

/// Each fault with what its message says of a column.
const FAULTS: [(Fault, &str); 5] = [
    (Fault::Null, "its {column} is NULL"),
    (Fault::Duplicate, "several rows have this key"),
    (
        Fault::TooLarge,
        "its {column} is over 1 MiB, or all of them are over 64 MiB; shorten it, or keep large data \
         in a table of your own",
    ),
    (
        Fault::Json(Undecodable::TooManyDigits),
        "its {column} has a number of more than 4,300 digits",
    ),
    (Fault::Json(Undecodable::TooDeep), "its {column} is nested deeper than 500 levels"),
];

#[track_caller]
fn assert_problem(loaded: Loaded, expected: &str) {
    assert_eq!(problems(&snapshot([loaded])), [expected]);
}

#[test]
fn flag_with_a_faulty_key_is_named_by_its_primary_key() {
    for (fault, message) in FAULTS {
        let row = FlagRow { key: Err(fault), ..flag("17", "", 10) };
        let message = message.replace("{column}", "key");
        assert_problem(flags([row]), &format!("flag \"pk 17\" is set aside: {message}"));
    }
}

#[test]
fn value_with_a_faulty_key_is_named_by_its_primary_key() {
    for (fault, message) in FAULTS {
        let row = ValueRow { key: Err(fault), ..value("17", "", "1") };
        let message = message.replace("{column}", "key");
        assert_problem(values([row]), &format!("value \"pk 17\" is set aside: {message}"));
    }
}

#[test]
fn faulty_value_is_named_by_its_key() {
    for (fault, message) in FAULTS {
        let row = ValueRow { value: Err(fault), ..value("17", "gateway", "") };
        let message = message.replace("{column}", "value");
        assert_problem(values([row]), &format!("value \"gateway\" is set aside: {message}"));
    }
}

#[test]
fn flag_without_enabled_and_rollout_is_one_problem() {
    let row = FlagRow { enabled: None, rollout_percent: None, ..flag("1", "banner", 0) };
    assert_problem(flags([row]), "flag \"banner\" is set aside: its enabled is NULL");
}

#[test]
fn faulty_key_comes_before_the_other_columns() {
    let row = FlagRow { key: Err(Fault::TooLarge), enabled: None, ..flag("1", "", 0) };
    let too_large = "its key is over 1 MiB, or all of them are over 64 MiB; shorten it, or keep large \
                     data in a table of your own";
    assert_problem(flags([row]), &format!("flag \"pk 1\" is set aside: {too_large}"));
    let row = ValueRow { key: Err(Fault::TooLarge), value: Err(Fault::Null), ..value("1", "", "") };
    assert_problem(values([row]), &format!("value \"pk 1\" is set aside: {too_large}"));
}

#[test]
fn problems_of_all_tables_are_listed() {
    let after = Snapshot::default().next(Loaded {
        flags: Some(vec![FlagRow { enabled: None, ..flag("1", "banner", 0) }]),
        values: Some(vec![ValueRow { value: Err(Fault::TooLarge), ..value("3", "gateway", "") }]),
        ..Loaded::default()
    });
    let expected = [
        "flag \"banner\" is set aside: its enabled is NULL",
        "value \"gateway\" is set aside: its value is over 1 MiB, or all of them are over 64 MiB; \
         shorten it, or keep large data in a table of your own",
    ];
    assert_eq!(problems(&after), expected);
}

#[test]
fn version_of_problems_changes_with_them_only() {
    let rows = |rollout| {
        let names_segment = r#"[{"conditions": [{"segment": "x"}]}]"#;
        let banner = FlagRow { enabled: None, ..flag("1", "banner", rollout) };
        flags([banner, flag_with_rules("2", "search", names_segment), flag("3", "other", rollout)])
    };
    let before = snapshot([rows(0)]);
    assert_eq!(before.problem_count(), 2);
    let same = before.next(rows(50)).next(values([value("1", "gateway", "1")]));
    assert_eq!(same.problems_version(), before.problems_version());
    let fewer = same.next(flags([flag("1", "banner", 0)]));
    assert!(fewer.problems_version() > same.problems_version());
    assert_eq!((fewer.problem_count(), snapshot([]).problems_version()), (0, 0));
}

#[test]
fn faulty_value_keeps_the_last_version_of_its_own_row_only() {
    let before = snapshot([values([value("1", "gateway", "1"), value("2", "limit", "2")])]);
    let row = ValueRow { value: Err(Fault::TooLarge), ..value("2", "limit", "") };
    let after = before.next(values([row]));
    assert_eq!(after.value("limit").map(Stored::value), Some(&StoredValue::Integer(2)));
    assert_eq!((after.value("gateway").map(Stored::value), after.value_count()), (None, 1));
}

#[test]
fn faulty_value_loses_its_key_to_a_good_row() {
    let before = snapshot([values([value("1", "gateway", "1")])]);
    let lost = ValueRow { key: Err(Fault::Null), ..value("1", "", "3") };
    for rows in [[lost.clone(), value("2", "gateway", "2")], [value("2", "gateway", "2"), lost]] {
        let after = before.next(values(rows));
        assert_eq!(after.value("gateway").map(Stored::value), Some(&StoredValue::Integer(2)));
    }
}

#[test]
fn percentage_of_a_bucket_by_which_a_rule_selects_is_a_problem_also_by_a_segment() {
    let of_bucket = r#"{"bucket": "a", "operator": "lt", "values": [5]}"#;
    let rule = |condition: &str, percent: u8| {
        format!(r#"[{{"conditions": [{condition}], "rollout_percent": {percent}}}]"#)
    };
    let conditions = || segments([segment("1", "s", &format!("[{of_bucket}]"))]);
    let expected = r#"a rule of flag "a" has a percentage of the bucket "a" by which it selects, so it selects all of these users or none; use another name for the bucket"#;
    for condition in [of_bucket, r#"{"segment": "s"}"#] {
        let found = |key: &str, percent| {
            let row = flag_with_rules("1", key, &rule(condition, percent));
            problems(&snapshot([conditions(), flags([row])]))
        };
        assert_eq!(found("a", 50), [expected]);
        assert!(
            found("b", 50).is_empty() && found("a", 0).is_empty() && found("a", 100).is_empty()
        );
    }
}
