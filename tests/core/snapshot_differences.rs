//! The rows in which two snapshots differ: what a load of everything finds that no token has named.

use flagstaff::groups::GroupReferences;
use flagstaff::row::{ExperimentRow, Fault, FlagRow, GroupRow, PlanRow, Users, ValueRow};
use flagstaff::snapshot::{Loaded, Snapshot};

use crate::rows::{
    allow, allowed_users, experiment, experiments, flag, flag_with_rules, flags, plan, plans,
    segment, segments, snapshot, value, values,
};

const GERMANY: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]}]"#;
const FRANCE: &str = r#"[{"attribute": "country", "operator": "in", "values": ["FR"]}]"#;

fn rows() -> Loaded {
    Loaded {
        flags: Some(vec![flag("1", "banner", 10), flag("2", "checkout", 20)]),
        allowed_users: Some(vec![allow("1", &[7])]),
        segments: Some(vec![segment("1", "beta", GERMANY)]),
        values: Some(vec![value("1", "gateway", "1"), value("2", "limit", "2")]),
        experiments: Some(vec![experiment("1", "layout"), experiment("2", "price")]),
        plans: Some(vec![plan("2", Some(7))]),
        ..Loaded::default()
    }
}

fn before() -> Snapshot {
    snapshot([rows()])
}

fn differences(one: &Snapshot, other: &Snapshot) -> Vec<String> {
    one.differences(other).iter().map(ToString::to_string).collect()
}

/// The differences to the snapshot after a load, which are the same in both directions.
#[track_caller]
fn after(loaded: Loaded) -> Vec<String> {
    let (before, after) = (before(), before().next(loaded));
    let found = differences(&after, &before);
    assert_eq!(differences(&before, &after), found);
    found
}

#[test]
fn snapshots_of_the_same_rows_do_not_differ() {
    assert_eq!(differences(&before(), &before()), [""; 0]);
    assert_eq!(after(rows()), [""; 0]);
    let guarded = PlanRow { guarded_for: Some(60.0), ..plan("2", Some(7)) };
    let another_time = PlanRow { guarded_for: Some(30.0), ..guarded.clone() };
    let one = before().next(plans([guarded]));
    assert_eq!(differences(&one, &one.next(plans([another_time]))), [""; 0]);
}

#[test]
fn each_column_of_a_flag_is_a_difference() {
    let row = || flag("1", "banner", 10);
    for changed in [
        FlagRow { enabled: Some(false), ..row() },
        FlagRow { rollout_percent: Some(11), ..row() },
        FlagRow { client_side: true, ..row() },
        FlagRow { bucket_by: Some("visitor".into()), ..row() },
    ] {
        assert_eq!(after(flags([changed, flag("2", "checkout", 20)])), [r#"flag "banner""#]);
    }
    let rules = format!(r#"[{{"conditions": {GERMANY}}}]"#);
    let changed = flag_with_rules("1", "banner", &rules);
    let changed = FlagRow { rollout_percent: Some(10), ..changed };
    assert_eq!(after(flags([changed, flag("2", "checkout", 20)])), [r#"flag "banner""#]);
    assert_eq!(after(allowed_users([allow("1", &[8])])), [r#"flag "banner""#]);
}

#[test]
fn other_row_with_the_same_key_is_a_difference() {
    let [one, other] = ["1", "9"].map(|pk| snapshot([flags([flag(pk, "banner", 10)])]));
    assert_eq!(differences(&one, &other), [r#"flag "banner""#]);
}

#[test]
fn rows_that_only_one_has_are_differences() {
    let changed = [flag("2", "checkout", 20), flag("3", "new", 0)];
    assert_eq!(after(flags(changed)), [r#"flag "banner""#, r#"flag "new""#]);
    assert_eq!(after(segments([])), [r#"segment "beta""#]);
    assert_eq!(after(values([value("1", "gateway", "1")])), [r#"value "limit""#]);
    assert_eq!(after(experiments([experiment("1", "layout")])), [r#"experiment "price""#]);
    assert_eq!(after(plans([])), [r#"flag "checkout""#]);
}

#[test]
fn changed_rows_of_other_tables_are_differences() {
    assert_eq!(after(segments([segment("1", "beta", FRANCE)])), [r#"segment "beta""#]);
    let changed = [value("1", "gateway", "2"), value("2", "limit", "2")];
    assert_eq!(after(values(changed)), [r#"value "gateway""#]);
    let secret = ValueRow { is_secret: true, ..value("1", "gateway", "1") };
    assert_eq!(after(values([secret, value("2", "limit", "2")])), [r#"value "gateway""#]);
    let changed = ExperimentRow { run: 2, ..experiment("1", "layout") };
    let changed = experiments([changed, experiment("2", "price")]);
    assert_eq!(after(changed), [r#"experiment "layout""#]);
}

#[test]
fn begin_and_end_of_what_a_plan_measures_or_needs_are_differences() {
    let flag = r#"flag "checkout""#;
    assert_eq!(after(plans([plan("2", None)])), [flag]);
    let guarded = PlanRow { guarded_for: Some(60.0), ..plan("2", Some(7)) };
    assert_eq!(after(plans([guarded])), [flag]);
    let of_no_flag = |run| snapshot([plans([plan("9", run)])]);
    assert_eq!(differences(&of_no_flag(Some(7)), &of_no_flag(None)), [flag]);
    let renumbered = PlanRow { pk: "9".into(), ..plan("2", Some(7)) };
    assert_eq!(after(plans([renumbered])), [flag]);
}

#[test]
fn problem_that_only_one_has_is_a_difference() {
    let bad = FlagRow { enabled: None, ..flag("1", "banner", 10) };
    let expected = r#"flag "banner" is set aside: its enabled is NULL"#;
    assert_eq!(after(flags([bad, flag("2", "checkout", 20)])), [expected]);
    let bad = ValueRow { key: Err(Fault::Null), ..value("3", "", "1") };
    let loaded = values([value("1", "gateway", "1"), value("2", "limit", "2"), bad]);
    assert_eq!(after(loaded), [r#"value "pk 3" is set aside: its key is NULL"#]);
}

#[test]
fn groups_are_no_difference() {
    let group = |users: &[i64]| GroupRow::new("beta", Users::Integers(users.to_vec()));
    let with = |users| before().with_groups(GroupReferences::All, vec![group(users)]);
    assert_eq!(differences(&with(&[7]), &with(&[8])), [""; 0]);
    assert_eq!(differences(&with(&[7]), &before().with_unreadable_groups("no rights")), [""; 0]);
}
