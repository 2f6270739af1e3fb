//! Conditions on buckets, in hundredths of a percent, and that they are independent.
//!
//! What could make them depend on something else: a name that is a flag's key, that is close to another
//! name or contains the separator, the seed of an experiment, the part of the digest that decides about
//! the traffic of an experiment, the whole percent that a flag of this name uses already, a bound that
//! rises. Each is one test below, on 300,000 units.

use flagstaff::bucket::{POSITIONS, bucket, hundredths, position};
use flagstaff::evaluate::{Reason, evaluate};
use flagstaff::flag::Flag;
use flagstaff::row::{ExperimentRow, FlagRow};
use flagstaff::rules::NoAttributes;
use flagstaff::subject::Subject;
use flagstaff::targeting::Dependent;
use proptest::prelude::*;

use crate::attributes::given;
use crate::rows::{experiment, experiments, flag_with_rules, flags, segment, segments, snapshot};

const UNITS: usize = 300_000;
const NAME: &str = "holdout_2027";

fn rules(conditions: &str) -> String {
    format!(r#"[{{"conditions": [{conditions}]}}]"#)
}

fn condition(operator: &str, bound: &str) -> String {
    format!(r#"{{"bucket": "{NAME}", "operator": "{operator}", "values": [{bound}]}}"#)
}

fn flag_of(conditions: &str, bucket_by: Option<&str>) -> Flag {
    let row = FlagRow {
        bucket_by: bucket_by.map(Into::into),
        ..flag_with_rules("1", "a", &rules(conditions))
    };
    snapshot([flags([row])]).flag("a").expect("the flag").clone()
}

fn is_on(flag: &Flag, user: i64) -> bool {
    evaluate("a", flag, &Subject::Integer(user), &NoAttributes).value
}

mod evaluation {
    use super::*;

    #[test]
    fn numbers_of_documented_units_are_as_documented() {
        let numbers = ["1", "2", "3", "42", "100000"].map(|unit| hundredths("new_checkout", unit));
        assert_eq!(numbers, [259, 5196, 368, 3374, 6616]);
    }

    #[test]
    fn whole_part_is_the_bucket_of_a_flag_with_this_key() {
        for unit in 0..1_000 {
            let unit = unit.to_string();
            assert_eq!(hundredths(NAME, &unit) / 100, u16::from(bucket(NAME, &unit)));
        }
    }

    #[test]
    fn bound_is_compared_in_hundredths() {
        for user in 0..500 {
            let number = hundredths(NAME, &user.to_string());
            for (bound, end) in
                [("0", 0), ("0.5", 50), ("12.34", 1_234), ("5.10", 510), ("100", POSITIONS)]
            {
                let below = flag_of(&condition("lt", bound), None);
                let above = flag_of(&condition("gte", bound), None);
                assert_eq!(
                    (is_on(&below, user), is_on(&above, user)),
                    (number < end, number >= end)
                );
            }
        }
    }

    #[test]
    fn negated_condition_selects_the_other_units() {
        let negated = condition("lt", "30").replace('}', r#", "negate": true}"#);
        let (negated, above) = (flag_of(&negated, None), flag_of(&condition("gte", "30"), None));
        assert!((0..200).all(|user| is_on(&negated, user) == is_on(&above, user)));
    }

    #[test]
    fn unit_is_that_of_the_row() {
        let flag = flag_of(&condition("lt", "50"), Some("organization"));
        for name in ["acme", "globex", "initech", "hooli"] {
            let attributes = given(&format!(r#"{{"organization": "{name}"}}"#));
            let found = evaluate("a", &flag, &Subject::Integer(1), &attributes);
            assert_eq!(found.value, hundredths(NAME, name) < 5_000);
        }
    }

    #[test]
    fn missing_unit_makes_it_false_negated_too() {
        for bucket_by in [None, Some("organization")] {
            for operator in ["lt", "gte"] {
                for negate in [false, true] {
                    let negate = format!(r#", "negate": {negate}}}"#);
                    let conditions = condition(operator, "50").replace('}', &negate);
                    let flag = flag_of(&conditions, bucket_by);
                    let found = evaluate("a", &flag, &Subject::Anonymous, &NoAttributes);
                    assert_eq!((found.value, found.rule), (false, None));
                }
            }
        }
    }

    #[test]
    fn negated_segment_holds_units_out_and_those_without_one() {
        let holdout = segments([segment("1", "holdout", &format!("[{}]", condition("lt", "5")))]);
        let row = flag_with_rules("1", "a", &rules(r#"{"segment": "holdout", "negate": true}"#));
        let loaded = snapshot([holdout, flags([row])]);
        let flag = loaded.flag("a").expect("the flag");
        for user in 0..500 {
            let is_held_out = hundredths(NAME, &user.to_string()) < 500;
            assert_eq!(is_on(flag, user), !is_held_out);
        }
        assert!(!evaluate("a", flag, &Subject::Anonymous, &NoAttributes).value);
    }

    #[test]
    fn flag_depends_on_the_unit_of_its_buckets() {
        let by_user = flag_of(&condition("lt", "5"), None);
        assert!(by_user.depends_on_subject() && by_user.depends_on_key());
        let by_visitor = flag_of(&condition("lt", "5"), Some("visitor"));
        assert_eq!(by_visitor.attributes().collect::<Vec<_>>(), ["visitor"]);
        assert!(!by_visitor.depends_on_subject() && !by_visitor.depends_on_key());
    }

    #[test]
    fn unit_is_read_only_if_the_condition_is_reached() {
        let other = r#"{"attribute": "plan", "operator": "in", "values": ["pro"]}"#;
        let flag = flag_of(&format!("{other}, {}", condition("lt", "50")), Some("visitor"));
        let attributes = given(r#"{"plan": "free", "visitor": "v"}"#);
        let found = evaluate("a", &flag, &Subject::Anonymous, &attributes);
        assert_eq!((found.value, found.reason), (false, Reason::Split));
        assert_eq!(*attributes.read.borrow(), ["plan"]);
    }
}

mod experiments_apart {
    use super::*;
    use flagstaff::assign::assign;
    use flagstaff::experiment::Experiment;

    fn running(key: &str, conditions: &str) -> Experiment {
        let row = ExperimentRow { rules: Some(rules(conditions).into()), ..experiment("1", key) };
        let loaded = snapshot([experiments([row])]);
        loaded.experiment(key).expect("the experiment").clone()
    }

    fn variant(experiment: &Experiment, user: i64) -> Option<u8> {
        assign(experiment, &Subject::Integer(user), &NoAttributes).variant
    }

    #[test]
    fn holdout_is_in_none_of_four_experiments() {
        let conditions = condition("gte", "5");
        let all = ["one", "two", "three", "four"].map(|key| running(key, &conditions));
        let (mut held_out, mut in_any) = (0, 0);
        for user in 0..20_000 {
            let is_held_out = hundredths(NAME, &user.to_string()) < 500;
            held_out += u32::from(is_held_out);
            in_any += u32::from(is_held_out && all.iter().any(|one| variant(one, user).is_some()));
        }
        assert_eq!((in_any, (900..1_100).contains(&held_out)), (0, true), "{held_out}");
    }

    #[test]
    fn ranges_of_one_name_exclude_each_other() {
        let first = running("one", &condition("lt", "50"));
        let second = running("two", &condition("gte", "50"));
        let count = |user| [&first, &second].map(|one| variant(one, user).is_some());
        assert!((0..20_000).map(count).all(|[one, other]| one != other));
    }

    /// Outcomes that nothing changes, of those who are not held out.
    #[test]
    fn experiments_beside_a_holdout_find_effects_as_often_as_their_level_says() {
        let (conditions, runs) = (condition("gte", "5"), 200);
        let is_false = |run: &i32| {
            let experiment = running(&format!("aa_{run}"), &conditions);
            let mut counts = [[0.0, 0.0]; 2];
            for user in 0..5_000 {
                let Some(variant) = variant(&experiment, user) else { continue };
                let has_bought = bucket(&format!("outcome_{run}"), &user.to_string()) < 20;
                counts[usize::from(variant)][usize::from(has_bought)] += 1.0;
            }
            z_score(&counts.concat(), 2) > 1.645
        };
        let false_results = (0..runs).filter(is_false).count();
        // 5 % of 200 are 10; the 99 % limit of a binomial is 18.
        assert!(false_results <= 18, "{false_results}");
    }
}

mod independence {
    use super::*;

    /// The greatest z of a p above 0.001, on one side.
    const LIMIT: f64 = 3.090;

    type Part = Box<dyn Fn(&str) -> usize>;

    fn number_of(name: &'static str) -> Part {
        Box::new(move |unit| usize::from(hundredths(name, unit)))
    }

    /// One of 20 equal parts.
    fn part_of(name: &'static str) -> Part {
        Box::new(move |unit| usize::from(hundredths(name, unit)) / 500)
    }

    fn flag_part(key: &'static str) -> Part {
        Box::new(move |unit| usize::from(bucket(key, unit)) / 5)
    }

    fn variant_part(seed: &'static str) -> Part {
        Box::new(move |unit| usize::from(position(seed, unit).bucket) / 500)
    }

    fn traffic_part(seed: &'static str) -> Part {
        let part = |unit: &str| position(seed, unit).fingerprint % 100 / 5;
        Box::new(move |unit| usize::try_from(part(unit)).expect("below 20"))
    }

    #[test]
    fn numbers_are_uniform() {
        for name in [NAME, "checkout", "é", "a:b"] {
            let mut counts = vec![0.0; POSITIONS.into()];
            let number = number_of(name);
            (0..UNITS).for_each(|unit| counts[number(&unit.to_string())] += 1.0);
            let z = z_score(&counts, 1);
            assert!(z < LIMIT, "{name}: {z}");
        }
    }

    #[test]
    fn number_is_independent_of_other_buckets() {
        let fraction: Part = Box::new(|unit| usize::from(hundredths(NAME, unit)) % 100 / 5);
        let pairs: [(&str, Part, Part); 16] = [
            ("a flag", part_of(NAME), flag_part("new_checkout")),
            ("a flag whose key is longer", part_of(NAME), flag_part("holdout_2027_b")),
            ("a flag whose key is shorter", part_of(NAME), flag_part("holdout_202")),
            ("the whole part of its own", fraction, flag_part(NAME)),
            ("another name", part_of(NAME), part_of("holdout_2028")),
            ("a short name", part_of("a"), part_of("b")),
            ("a name in capitals", part_of("checkout"), part_of("CHECKOUT")),
            ("a name with the separator", part_of("a"), part_of("a:")),
            ("a name with two", part_of("a:b"), part_of("a:b:")),
            (
                "a longest name",
                part_of(NAME),
                part_of("a_name_of_more_than_one_block_of_the_hash_which_has_64_bytes_less_nine"),
            ),
            ("the variants of an experiment", part_of(NAME), variant_part("experiment:checkout:0")),
            ("those of one of this name", part_of(NAME), variant_part("experiment:holdout_2027:0")),
            ("those of its next run", part_of(NAME), variant_part("experiment:holdout_2027:1")),
            ("the traffic of an experiment", part_of(NAME), traffic_part("experiment:checkout:0")),
            ("that of one of this name", part_of(NAME), traffic_part("experiment:holdout_2027:0")),
            ("the traffic of a seed of this name", part_of(NAME), traffic_part(NAME)),
        ];
        for (what, own, other) in pairs {
            let mut counts = vec![0.0; 400];
            for unit in 0..UNITS {
                let unit = unit.to_string();
                counts[own(&unit) * 20 + other(&unit)] += 1.0;
            }
            let z = z_score(&counts, 20);
            assert!(z < LIMIT, "{what}: {z}");
        }
    }

    proptest! {
        #[test]
        fn higher_bound_keeps_all_units(low in 0_u16..=POSITIONS, more in 0_u16..=POSITIONS, unit in any::<String>()) {
            let number = hundredths(NAME, &unit);
            let high = low.saturating_add(more).min(POSITIONS);
            prop_assert!(number >= low || number < high);
        }
    }
}

/// How many standard deviations the chi-squared statistic of a table with so many columns is above its
/// expectation, after Wilson and Hilferty. One column is compared with equal shares, more of them with
/// the products of the margins.
fn z_score(counts: &[f64], columns: usize) -> f64 {
    let rows = counts.len() / columns;
    let total: f64 = counts.iter().sum();
    let of_row = |row: usize| counts[row * columns..][..columns].iter().sum::<f64>();
    let of_column = |column: usize| counts.iter().skip(column).step_by(columns).sum::<f64>();
    let (of_rows, of_columns): (Vec<_>, Vec<_>) =
        ((0..rows).map(of_row).collect(), (0..columns).map(of_column).collect());
    let expected = |place: usize| match columns {
        1 => total / f64::from(u32::try_from(rows).expect("few rows")),
        _ => of_rows[place / columns] * of_columns[place % columns] / total,
    };
    let deviation =
        |(place, count): (usize, &f64)| (count - expected(place)).powi(2) / expected(place);
    let statistic: f64 = counts.iter().enumerate().map(deviation).sum();
    let degrees = if columns == 1 { rows - 1 } else { (rows - 1) * (columns - 1) };
    let degrees = f64::from(u32::try_from(degrees).expect("few cells"));
    let spread = 2.0 / (9.0 * degrees);
    ((statistic / degrees).cbrt() - (1.0 - spread)) / spread.sqrt()
}
