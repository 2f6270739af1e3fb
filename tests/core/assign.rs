//! The variant of a subject, and why.

use flagstaff::assign::{Assignment, assign};
use flagstaff::bucket::{bucket, position};
use flagstaff::evaluate::Reason;
use flagstaff::experiment::Experiment;
use flagstaff::row::ExperimentRow;
use flagstaff::rules::NoAttributes;
use flagstaff::snapshot::Snapshot;
use flagstaff::subject::Subject;

use crate::attributes::{given, in_country};
use crate::rows::{experiment, experiments, snapshot};

const GERMANY: &str =
    r#"[{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}]"#;

fn loaded(row: ExperimentRow) -> Snapshot {
    snapshot([experiments([row])])
}

fn of(snapshot: &Snapshot) -> &Experiment {
    snapshot.experiment("a").expect("the experiment")
}

/// The assignment of a user, and the key of the variant.
fn assigned(row: ExperimentRow, subject: Subject<'_>) -> (Option<String>, Assignment) {
    let snapshot = loaded(row);
    let assignment = assign(of(&snapshot), &subject, &NoAttributes);
    let key = assignment.variant.map(|variant| of(&snapshot).allocation.key(variant).to_owned());
    (key, assignment)
}

fn row() -> ExperimentRow {
    experiment("1", "a")
}

/// The first user with a bucket in this range.
fn user_in(buckets: std::ops::Range<u16>) -> i64 {
    let is_in =
        |user: &i64| buckets.contains(&position("experiment:a:0", &user.to_string()).bucket);
    (0..100_000).find(is_in).expect("a user")
}

#[test]
fn bucket_decides_the_variant() {
    for (buckets, variant) in [(0..5000, "control"), (5000..10_000, "treatment")] {
        let (key, assignment) = assigned(row(), Subject::Integer(user_in(buckets)));
        assert_eq!(key.as_deref(), Some(variant));
        assert_eq!((assignment.reason, assignment.is_analysed), (Reason::Split, true));
    }
}

#[test]
fn last_bucket_of_a_range_and_the_first_of_the_next_differ() {
    let last = assigned(row(), Subject::Integer(user_in(4999..5000))).0;
    let first = assigned(row(), Subject::Integer(user_in(5000..5001))).0;
    assert_eq!((last.as_deref(), first.as_deref()), (Some("control"), Some("treatment")));
}

#[test]
fn positions_of_ten_thousand_users_decide_and_equal_those_of_python() {
    let snapshot = loaded(experiment("1", "checkout_button"));
    let found = snapshot.experiment("checkout_button").expect("the experiment");
    let sum: u64 = (0..10_000_i64)
        .map(|user| {
            let assignment = assign(found, &Subject::Integer(user), &NoAttributes);
            let bucket = assignment.position.expect("a position").bucket;
            let variant = assignment.variant.map(|variant| found.allocation.key(variant));
            assert_eq!(variant, Some(if bucket < 5000 { "control" } else { "treatment" }));
            u64::from(bucket) * u64::try_from(user + 1).expect("positive")
        })
        .sum();
    // tests/database/experiments/test_variants.py computes it with hashlib.
    assert_eq!(sum, 250_845_773_321);
}

#[test]
fn variant_of_a_unit_does_not_depend_on_the_traffic() {
    let row = |traffic_percent| ExperimentRow { traffic_percent, ..row() };
    let of = |user, traffic| assigned(row(traffic), Subject::Integer(user));
    for user in 0..200 {
        let (whole, _) = of(user, 100);
        for (less, more) in [(0, 1), (1, 20), (20, 99), (99, 100)] {
            let ((before, assignment), (after, _)) = (of(user, less), of(user, more));
            assert_eq!(
                (assignment.reason, assignment.is_analysed),
                (Reason::Split, before.is_some())
            );
            assert!(before.is_none() || before == after, "{user} at {less} and {more}");
            assert!(after.is_none() || after == whole, "{user} at {more}");
        }
    }
}

#[test]
fn traffic_is_that_share_of_each_variant() {
    let snapshot = loaded(ExperimentRow { traffic_percent: 20, ..row() });
    let mut units = [0, 0];
    for user in 0..20_000_i64 {
        let assignment = assign(of(&snapshot), &Subject::Integer(user), &NoAttributes);
        if let Some(variant) = assignment.variant {
            units[usize::from(variant)] += 1;
        }
    }
    assert!(units.iter().all(|one| (1_900..2_100).contains(one)), "{units:?}");
}

#[test]
fn variant_without_weight_gets_no_unit() {
    let variants =
        r#"[{"key": "a", "weight": 0}, {"key": "b", "weight": 3}, {"key": "c", "weight": 0}]"#;
    for user in 0..100 {
        let row = ExperimentRow { variants: Ok(variants.into()), ..row() };
        assert_eq!(assigned(row, Subject::Integer(user)).0.as_deref(), Some("b"));
    }
}

#[test]
fn anonymous_user_gets_the_default() {
    let (key, assignment) = assigned(row(), Subject::Anonymous);
    assert_eq!((key, assignment.reason), (None, Reason::Default));
}

#[test]
fn unit_that_no_index_can_hold_gets_the_default() {
    for unit in ["u".repeat(256), "nul\0".to_owned()] {
        assert_eq!(assigned(row(), Subject::Text(&unit)).0, None);
    }
    assert!(assigned(row(), Subject::Text(&"u".repeat(255))).0.is_some());
}

#[test]
fn experiment_that_does_not_run_gives_the_default() {
    for state in ["draft", "stopped"] {
        let row = ExperimentRow { state: state.into(), ..row() };
        let (key, assignment) = assigned(row, Subject::Integer(1));
        assert_eq!((key, assignment.reason), (None, Reason::Disabled));
    }
}

#[test]
fn shipped_winner_is_everyones_variant_and_not_analysed() {
    let row = || ExperimentRow {
        state: "shipped".into(),
        winner: "treatment".into(),
        rules: Some(GERMANY.into()),
        ..row()
    };
    for subject in [Subject::Anonymous, Subject::Integer(1), Subject::Integer(2)] {
        let (key, assignment) = assigned(row(), subject);
        assert_eq!(key.as_deref(), Some("treatment"));
        assert_eq!((assignment.reason, assignment.is_analysed), (Reason::Static, false));
    }
}

#[test]
fn override_decides_before_rules_and_is_not_analysed() {
    let forced = Ok(r#"{"7": "treatment"}"#.into());
    let row = ExperimentRow { forced, rules: Some(GERMANY.into()), ..row() };
    let (key, assignment) = assigned(row, Subject::Integer(7));
    assert_eq!(key.as_deref(), Some("treatment"));
    assert_eq!((assignment.reason, assignment.is_analysed), (Reason::TargetingMatch, false));
}

#[test]
fn only_subjects_of_a_rule_take_part() {
    let snapshot = loaded(ExperimentRow { rules: Some(GERMANY.into()), ..row() });
    let [germany, france] = ["DE", "FR"]
        .map(|country| assign(of(&snapshot), &Subject::Integer(1), &in_country(country)));
    assert_eq!((germany.rule, germany.reason), (Some(1), Reason::Split));
    assert_eq!((france.variant, france.rule, france.reason), (None, None, Reason::TargetingMatch));
}

#[test]
fn rule_at_zero_percent_excludes() {
    let country = |country: &str, percent: u8| {
        format!(
            r#"{{"rollout_percent": {percent}, "conditions":
                [{{"attribute": "country", "operator": "in", "values": ["{country}"]}}]}}"#
        )
    };
    let rules = format!("[{}, {}]", country("DE", 0), country("FR", 100));
    let snapshot = loaded(ExperimentRow { rules: Some(rules.into()), ..row() });
    let [germany, france] = ["DE", "FR"]
        .map(|country| assign(of(&snapshot), &Subject::Integer(1), &in_country(country)));
    assert_eq!((germany.variant, germany.rule), (None, Some(1)));
    assert!(france.variant.is_some());
}

#[test]
fn rules_that_could_never_be_read_give_the_default() {
    let (key, assignment) =
        assigned(ExperimentRow { rules: Some("[1]".into()), ..row() }, Subject::Integer(1));
    assert_eq!((key, assignment.reason), (None, Reason::Error));
}

#[test]
fn unit_may_be_an_attribute() {
    let snapshot = loaded(ExperimentRow { bucket_by: Some("company".into()), ..row() });
    let of_company =
        |text: &str, user| assign(of(&snapshot), &Subject::Integer(user), &given(text));
    let company = r#"{"company": "acme"}"#;
    assert_eq!(of_company(company, 1), of_company(company, 2));
    assert_eq!(of_company(company, 1).position, Some(position("experiment:a:0", "acme")));
    assert_eq!(of_company("{}", 1).reason, Reason::Default);
}

#[test]
fn shuffle_gives_units_other_buckets() {
    let (before, after) = (loaded(row()), loaded(ExperimentRow { run: 1, ..row() }));
    let variant = |snapshot: &Snapshot, user| {
        assign(of(snapshot), &Subject::Integer(user), &NoAttributes).variant
    };
    let moved = (0..2000).filter(|user| variant(&before, *user) != variant(&after, *user)).count();
    assert!((900..1100).contains(&moved), "{moved} of 2000");
}

/// The chi-square statistic of a table of counts, against independence of its rows and columns.
fn chi_square<const C: usize>(table: &[[f64; C]]) -> f64 {
    let rows: Vec<f64> = table.iter().map(|row| row.iter().sum()).collect();
    let total: f64 = rows.iter().sum();
    let column = |c: usize| table.iter().map(|row| row[c]).sum::<f64>();
    let cell = |r: usize, c: usize| {
        let expected = rows[r] * column(c) / total;
        (table[r][c] - expected).powi(2) / expected
    };
    (0..table.len()).flat_map(|r| (0..C).map(move |c| (r, c))).map(|(r, c)| cell(r, c)).sum()
}

#[test]
fn buckets_are_independent_of_those_of_a_flag_and_of_another_experiment() {
    let (mut by_flag, mut by_other) = ([[0.0; 10]; 10], [[0.0; 10]; 10]);
    for user in 0..50_000 {
        let user = user.to_string();
        let tenth = |seed: &str| usize::from(position(seed, &user).bucket / 1000);
        let own = tenth("experiment:a:0");
        by_flag[own][usize::from(bucket("a", &user) / 10)] += 1.0;
        by_other[own][tenth("experiment:b:0")] += 1.0;
    }
    // 81 degrees of freedom: more than 126 by chance in one of a thousand tables.
    assert!(chi_square(&by_flag) < 126.1, "{}", chi_square(&by_flag));
    assert!(chi_square(&by_other) < 126.1, "{}", chi_square(&by_other));
}
