//! The experiments of a snapshot: what changes, what stays, and what is a problem.

use std::sync::Arc;

use flagstaff::allocation::Allocation;
use flagstaff::assign::assign;
use flagstaff::experiment::{ExperimentIdentity, ExperimentState};
use flagstaff::row::{ExperimentRow, Fault};
use flagstaff::rules::NoAttributes;
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::subject::Subject;

use crate::attributes::given;
use crate::rows::{experiment, experiments, flag, flags, problems, segment, segments, snapshot};

const BETA: &str = r#"[{"conditions": [{"segment": "beta"}]}]"#;
const GERMANY: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]}]"#;

fn running(snapshot: &Snapshot) -> Option<bool> {
    snapshot.experiment("a").map(|found| found.state == ExperimentState::Running)
}

fn row() -> ExperimentRow {
    experiment("1", "a")
}

#[test]
fn load_without_experiments_keeps_them() {
    let after = snapshot([experiments([row()]), flags([flag("1", "a", 5)])]);
    assert_eq!(running(&after), Some(true));
}

#[test]
fn deleted_experiment_is_gone() {
    assert_eq!(running(&snapshot([experiments([row()]), experiments([])])), None);
}

#[test]
fn row_that_cannot_be_used_keeps_its_last_good_version() {
    let cases: [(&str, ExperimentRow); 6] = [
        ("variants", ExperimentRow { variants: Err(Fault::Null), ..row() }),
        ("variants", ExperimentRow { variants: Ok("{}".into()), ..row() }),
        ("variants", ExperimentRow { traffic_percent: 101, ..row() }),
        ("overrides", ExperimentRow { forced: Ok(r#"{"7": "other"}"#.into()), ..row() }),
        ("state", ExperimentRow { state: "lost".into(), ..row() }),
        ("state", ExperimentRow { state: "shipped".into(), winner: "other".into(), ..row() }),
    ];
    for (column, bad) in cases {
        let after = snapshot([experiments([row()]), experiments([bad.clone()])]);
        assert_eq!(running(&after), Some(true), "{column}");
        let problem = format!("experiment \"a\" is set aside: its {column}");
        assert!(problems(&after)[0].starts_with(&problem), "{:?}", problems(&after));
        assert_eq!(running(&snapshot([experiments([bad])])), None, "{column}");
    }
}

#[test]
fn row_that_cannot_be_used_is_stopped_with_its_state() {
    for state in ["stopped", "draft"] {
        let (state, variants) = (state.into(), Ok("[5]".into()));
        let bad = ExperimentRow { state, variants, ..row() };
        let after = snapshot([experiments([row()]), experiments([bad])]);
        assert_eq!(running(&after), Some(false));
        assert!(problems(&after)[0].starts_with("experiment \"a\" is set aside: its variants"));
    }
}

#[test]
fn allocation_has_at_most_100_variants_and_a_weight_above_0() {
    let cases =
        [(100, 1, true), (101, 1, false), (2, 0, false), (0, 1, false), (2, u32::MAX, true)];
    for (variants, weight, is_allowed) in cases {
        let one = |number| format!(r#"{{"key": "{number}", "weight": {weight}}}"#);
        let all: Vec<_> = (0..variants).map(one).collect();
        let parsed = Allocation::parse(&format!("[{}]", all.join(", ")), 100);
        let found = parsed.map(|found| found.keys().count());
        assert_eq!(found, is_allowed.then_some(variants), "{variants} variants of {weight}");
    }
}

#[test]
fn experiment_with_another_key_or_row_is_another_one() {
    let identity = |key: &str, pk: &str| ExperimentIdentity::new(key.into(), pk.into());
    let cases = [("a", "1", true), ("b", "1", false), ("a", "2", false), ("b", "2", false)];
    for (key, pk, is_same) in cases {
        assert_eq!(identity(key, pk) == identity("a", "1"), is_same, "{key} {pk}");
    }
}

#[test]
fn two_experiments_with_one_key_are_a_problem_and_neither_is_used() {
    let after = snapshot([experiments([row(), experiment("2", "a")])]);
    assert_eq!(running(&after), None);
    assert_eq!(problems(&after), ["experiment \"a\" is set aside: several rows have this key"]);
}

#[test]
fn changed_segment_changes_who_takes_part() {
    let beta = ExperimentRow { rules: Some(BETA.into()), ..row() };
    let bad = ExperimentRow { state: "lost".into(), ..beta.clone() };
    let before = snapshot([experiments([beta])]);
    let takes_part = |snapshot: &Snapshot| {
        let found = snapshot.experiment("a").expect("the experiment");
        assign(found, &Subject::Integer(1), &given(r#"{"country": "DE"}"#)).variant.is_some()
    };
    assert!(!takes_part(&before));
    let changed = || segments([segment("1", "beta", GERMANY)]);
    let after = before.next(changed());
    assert!(takes_part(&after));
    assert_eq!(problems(&after), Vec::<String>::new());
    // Also while the row is set aside.
    let twice = [row(), experiment("2", "a")];
    assert!(takes_part(
        &before.next(Loaded { segments: changed().segments, ..experiments(twice) })
    ));
    assert!(takes_part(
        &before.next(Loaded { segments: changed().segments, ..experiments([bad]) })
    ));
}

#[test]
fn next_version_has_the_identity_of_the_same_row_only() {
    let before = snapshot([experiments([row()])]);
    let identity =
        |snapshot: &Snapshot| snapshot.experiment("a").expect("the experiment").identity.clone();
    for (pk, is_same) in [("1", true), ("2", false)] {
        let after = before.next(experiments([experiment(pk, "a")]));
        assert_eq!(Arc::ptr_eq(&identity(&before), &identity(&after)), is_same, "{pk}");
        assert_eq!(identity(&after).pk, pk.into());
    }
}

#[test]
fn rules_name_their_experiment_in_problems() {
    let rules = |text: &str| ExperimentRow { rules: Some(text.into()), ..row() };
    let missing = snapshot([experiments([rules(BETA)])]);
    let unreadable = snapshot([experiments([rules("[1]")])]);
    assert_eq!(
        problems(&missing),
        ["the rules of experiment \"a\" name a segment that does not exist: \"beta\""]
    );
    let problem =
        "the rules of experiment \"a\" cannot be read, so it returns the default of the call";
    assert!(problems(&unreadable)[0].starts_with(problem));
}

#[test]
fn renamed_row_has_other_buckets() {
    let after = snapshot([experiments([row()]), experiments([experiment("1", "b")])]);
    assert_eq!(running(&after), None);
    let renamed = after.experiment("b").expect("the experiment");
    assert_eq!(&*renamed.seed, "experiment:b:0");
    assert!(assign(renamed, &Subject::Integer(1), &NoAttributes).variant.is_some());
}
