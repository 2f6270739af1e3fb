//! The experiments of a snapshot: what changes, what stays, and what is a problem.

use flagstaff::assign::assign;
use flagstaff::experiment::ExperimentState;
use flagstaff::row::{ExperimentRow, Fault};
use flagstaff::rules::NoAttributes;
use flagstaff::snapshot::Snapshot;
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
    let cases: [(&str, ExperimentRow); 7] = [
        ("variants", ExperimentRow { variants: Err(Fault::Null), ..row() }),
        ("allocation", ExperimentRow { variants: Ok("{}".into()), ..row() }),
        ("allocation", ExperimentRow { allocation: Ok(r#"[["control", 9999]]"#.into()), ..row() }),
        ("allocation", ExperimentRow { allocation: Ok(r#"[["other", 10000]]"#.into()), ..row() }),
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
fn too_many_buckets_are_a_problem() {
    let allocation = Ok(r#"[["control", 65535], ["treatment", 65535]]"#.into());
    let after = snapshot([experiments([ExperimentRow { allocation, ..row() }])]);
    assert_eq!(running(&after), None);
}

#[test]
fn two_experiments_with_one_key_are_a_problem_and_neither_is_used() {
    let after = snapshot([experiments([row(), experiment("2", "a")])]);
    assert_eq!(running(&after), None);
    assert_eq!(problems(&after), ["experiment \"a\" is set aside: several rows have this key"]);
}

#[test]
fn changed_segment_changes_who_takes_part() {
    let rows = [ExperimentRow { rules: Ok(Some(BETA.into())), ..row() }];
    let before = snapshot([experiments(rows)]);
    let takes_part = |snapshot: &Snapshot| {
        let found = snapshot.experiment("a").expect("the experiment");
        assign(found, &Subject::Integer(1), &given(r#"{"country": "DE"}"#)).variant.is_some()
    };
    assert!(!takes_part(&before));
    let after = before.next(segments([segment("1", "beta", GERMANY)]));
    assert!(takes_part(&after));
    assert_eq!(problems(&after), Vec::<String>::new());
}

#[test]
fn rules_name_their_experiment_in_problems() {
    let rules = |text: &str| ExperimentRow { rules: Ok(Some(text.into())), ..row() };
    let missing = snapshot([experiments([rules(BETA)])]);
    let unreadable = snapshot([experiments([rules("[1]")])]);
    assert_eq!(
        problems(&missing),
        ["rule 1 of experiment \"a\" names a segment that does not exist: \"beta\""]
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
