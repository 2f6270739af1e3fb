//! The keys whose result can differ between two snapshots.

use flagstaff::groups::GroupReferences;
use flagstaff::row::{ExperimentRow, FlagRow, GroupRow, Users, ValueRow};
use flagstaff::snapshot::{Loaded, Snapshot};

use crate::rows::{
    allow, allowed_users, experiment, experiments, flag, flag_with_rules, flags, segment, segments,
    snapshot, value, values,
};

const GERMANY: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]}]"#;
const FRANCE: &str = r#"[{"attribute": "country", "operator": "in", "values": ["FR"]}]"#;
const OF_SEGMENT: &str = r#"[{"conditions": [{"segment": "beta"}]}]"#;

fn of_groups(condition: &str) -> String {
    format!(r#"[{{"conditions": [{{"attribute": "groups", {condition}}}]}}]"#)
}

/// The keys that a load on top of others changes.
fn changed(before: impl IntoIterator<Item = Loaded>, then: Loaded) -> Vec<String> {
    let before = snapshot(before);
    keys(&before.next(then), &before)
}

fn keys(now: &Snapshot, before: &Snapshot) -> Vec<String> {
    now.changed_keys(before).into_iter().map(Into::into).collect()
}

#[test]
fn full_load_of_the_same_rows_changes_no_key() {
    let loads = || {
        let rules = flag_with_rules("2", "b", OF_SEGMENT);
        [
            segments([segment("1", "beta", GERMANY)]),
            flags([flag("1", "a", 5), rules]),
            allowed_users([allow("1", &[1, 2])]),
            values([value("1", "limit", "[1, 2]")]),
            experiments([experiment("1", "layout")]),
        ]
    };
    assert_eq!(keys(&snapshot(loads()), &snapshot(loads())), [""; 0]);
}

#[test]
fn changed_column_of_a_flag_changes_its_key_alone() {
    let cases = [
        FlagRow { enabled: Some(false), ..flag("1", "a", 5) },
        flag("1", "a", 6),
        FlagRow { bucket_by: Some("visitor".into()), ..flag("1", "a", 5) },
        FlagRow { rules: Some(OF_SEGMENT.into()), ..flag("1", "a", 5) },
    ];
    for row in cases {
        let before = flags([flag("1", "a", 5), flag("2", "b", 5)]);
        assert_eq!(changed([before], flags([row, flag("2", "b", 5)])), ["a"]);
    }
}

#[test]
fn column_that_changes_no_result_changes_no_key() {
    let row = FlagRow { client_side: true, ..flag("1", "a", 5) };
    assert_eq!(changed([flags([flag("1", "a", 5)])], flags([row])), [""; 0]);
}

#[test]
fn added_and_deleted_rows_change_their_keys() {
    let before = flags([flag("1", "a", 5), flag("2", "b", 5)]);
    assert_eq!(changed([before], flags([flag("2", "b", 5), flag("3", "c", 5)])), ["a", "c"]);
    let before = values([value("1", "x", "1")]);
    assert_eq!(changed([before], values([value("2", "y", "1")])), ["x", "y"]);
}

#[test]
fn first_snapshot_changes_all_keys() {
    let now = snapshot([flags([flag("1", "a", 0)]), values([value("1", "b", "1")])]);
    assert_eq!(keys(&now, &Snapshot::default()), ["a", "b"]);
}

#[test]
fn changed_value_changes_its_key() {
    let before = values([value("1", "x", "1"), value("2", "y", "[1]")]);
    assert_eq!(changed([before], values([value("1", "x", "1"), value("2", "y", "[2]")])), ["y"]);
}

#[test]
fn allowed_user_changes_the_key_of_the_flag() {
    let before = [flags([flag("1", "a", 5), flag("2", "b", 5)]), allowed_users([allow("1", &[1])])];
    assert_eq!(changed(before, allowed_users([allow("1", &[1]), allow("2", &[1])])), ["b"]);
}

#[test]
fn changed_experiment_changes_its_key() {
    let stopped = ExperimentRow { state: "stopped".into(), ..experiment("1", "layout") };
    let before = experiments([experiment("1", "layout"), experiment("2", "price")]);
    assert_eq!(changed([before], experiments([stopped, experiment("2", "price")])), ["layout"]);
}

#[test]
fn changed_segment_changes_the_keys_of_the_rules_that_name_it() {
    let taking_part = ExperimentRow { rules: Some(OF_SEGMENT.into()), ..experiment("1", "layout") };
    let before = [
        segments([segment("1", "beta", GERMANY)]),
        flags([flag_with_rules("1", "a", OF_SEGMENT), flag("2", "b", 5)]),
        experiments([taking_part, experiment("2", "price")]),
    ];
    assert_eq!(changed(before, segments([segment("1", "beta", FRANCE)])), ["a", "layout"]);
}

#[test]
fn changed_group_changes_the_keys_of_the_rules_that_read_it() {
    let staff = of_groups(r#""operator": "in", "values": ["staff"]"#);
    let beta = of_groups(r#""operator": "in", "values": ["beta"]"#);
    let any = of_groups(r#""operator": "startswith", "values": ["b"]"#);
    let rows = [
        flag_with_rules("1", "a", &staff),
        flag_with_rules("2", "b", &beta),
        flag_with_rules("3", "c", &any),
        flag("4", "d", 5),
    ];
    let rows = snapshot([flags(rows)]);
    let with_beta = |users: &[i64]| {
        let group =
            |name: &str, users: &[i64]| GroupRow::new(name, Users::Integers(users.to_vec()));
        let groups = vec![group("staff", &[1]), group("beta", users)];
        rows.clone().with_groups(GroupReferences::All, groups)
    };
    assert_eq!(keys(&with_beta(&[1, 2]), &with_beta(&[1])), ["b", "c"]);
    assert_eq!(keys(&with_beta(&[1]), &with_beta(&[1])), [""; 0]);
    assert_eq!(keys(&with_beta(&[1]), &rows), ["a", "b", "c"]);
}

#[test]
fn changed_group_changes_the_keys_of_experiments_and_values_whose_rules_read_it() {
    let of_group = |name: &str| of_groups(&format!(r#""operator": "in", "values": ["{name}"]"#));
    let taking_part = |key: &str, name: &str| ExperimentRow {
        rules: Some(of_group(name).into()),
        ..experiment(key, key)
    };
    let giving = |key: &str, name: &str| {
        let rules = of_group(name).replace(r#""conditions""#, r#""value": 5, "conditions""#);
        ValueRow { rules: Some(rules.into()), ..value(key, key, "1") }
    };
    let rows = snapshot([
        experiments([taking_part("a", "staff"), taking_part("b", "beta"), experiment("c", "c")]),
        values([giving("d", "staff"), giving("e", "beta"), value("f", "f", "1")]),
    ]);
    let with_beta = |users: &[i64]| {
        let staff = GroupRow::new("staff", Users::Integers(vec![1]));
        let beta = GroupRow::new("beta", Users::Integers(users.to_vec()));
        rows.clone().with_groups(GroupReferences::All, vec![staff, beta])
    };
    assert_eq!(keys(&with_beta(&[1, 2]), &with_beta(&[1])), ["b", "e"]);
}
