use std::collections::BTreeSet;
use std::sync::Arc;

use flagstaff::bucket::bucket;
use flagstaff::flag::Flag;
use flagstaff::impact::{Decided, Impact, Reach, ValueImpact, ValueState};
use flagstaff::row_rules::RowRules;
use flagstaff::rules::{RuleKind, SegmentConditions};
use flagstaff::subject::Subject;
use flagstaff::targeting::Targeting;

use crate::attributes::in_country;
use crate::rows::detached as flag;

/// Compares a flag with the same flag enabled at another rollout.
fn compared(flag: Flag, percent: i32, sample_size: usize) -> Impact {
    let proposed = Flag { enabled: true, rollout_percent: percent, ..flag.clone() };
    Impact::between("new_checkout", flag, proposed, sample_size)
}

fn counted(flag: Flag, percent: i32, sample_size: usize) -> Impact {
    let mut impact = compared(flag, percent, sample_size);
    for pk in 1..=1000 {
        impact.count(&Subject::Integer(pk));
    }
    impact
}

/// The number of the same users whose bucket is in this range.
fn between(low: u8, high: u8) -> u64 {
    let buckets = (1..=1000).map(|pk: i64| bucket("new_checkout", &pk.to_string()));
    buckets.filter(|bucket| (low..high).contains(bucket)).count() as u64
}

#[test]
fn higher_rollout_is_gained_by_the_buckets_between() {
    let impact = counted(flag(true, 10, &[]), 50, 0);
    let (users, have) = (impact.users, impact.reach.0.on);
    assert_eq!((users, have, impact.gain, impact.lose), (1000, between(0, 10), between(10, 50), 0));
}

#[test]
fn lower_rollout_is_lost_by_the_buckets_between() {
    let impact = counted(flag(true, 50, &[]), 10, 0);
    assert_eq!((impact.gain, impact.lose), (0, between(10, 50)));
}

#[test]
fn allowed_user_keeps_the_flag() {
    let all: Vec<i64> = (1..=1000).collect();
    let impact = counted(flag(true, 50, &all), 0, 10);
    assert_eq!((impact.reach.0.on, impact.gain, impact.lose), (1000, 0, 0));
    assert!(impact.into_sample().is_empty());
}

#[test]
fn disabled_flag_is_gained_by_the_users_who_have_it_once_it_is_enabled() {
    let outside = (1..=1000).find(|pk: &i64| bucket("new_checkout", &pk.to_string()) >= 50);
    let impact = counted(flag(false, 80, outside.as_slice()), 50, 10);
    assert_eq!((impact.reach.0.on, impact.gain, impact.lose), (0, between(0, 50) + 1, 0));
}

#[test]
fn unreadable_user_is_counted_and_changes_nothing() {
    let mut impact = compared(flag(true, 0, &[]), 100, 10);
    impact.count_unreadable();
    assert_eq!((impact.users, impact.gain), (1, 0));
}

#[test]
fn sample_holds_distinct_users_up_to_its_size() {
    let sample = counted(flag(true, 0, &[]), 100, 50).into_sample();
    assert_eq!(sample.iter().collect::<BTreeSet<_>>().len(), 50);
    assert_eq!(counted(flag(true, 0, &[]), 100, 2000).into_sample().len(), 1000);
    assert!(counted(flag(true, 0, &[]), 100, 0).into_sample().is_empty());
}

#[test]
fn sample_holds_only_users_whose_result_changes() {
    let sample = counted(flag(true, 10, &[]), 50, 2_000).into_sample();
    assert_eq!(sample.len() as u64, between(10, 50));
    assert!(sample.iter().all(|pk| (10..50).contains(&bucket("new_checkout", pk))));
}

/// Computed with a second implementation of reservoir sampling over xorshift64, in Python.
#[test]
fn sample_of_the_same_users_in_the_same_order_is_the_same() {
    let sample = counted(flag(true, 0, &[]), 100, 5).into_sample();
    assert_eq!(sample, ["141", "885", "481", "782", "802"].map(Box::from));
}

#[test]
fn sample_represents_early_and_late_users_alike() {
    let mut tenths = [0_i32; 10];
    for pk in counted(flag(true, 0, &[]), 100, 500).into_sample() {
        let pk: usize = pk.parse().expect("an integer");
        tenths[(pk - 1) / 100] += 1;
    }
    // 50 are expected in each; five standard deviations are 24.
    assert!(tenths.iter().all(|count| (count - 50).abs() < 24), "{tenths:?}");
}

#[test]
fn anonymous_subject_is_counted_and_not_sampled() {
    for sample_size in [0, 10] {
        let mut impact = compared(flag(true, 0, &[]), 100, sample_size);
        for _ in 0..20 {
            impact.count(&Subject::Anonymous);
        }
        assert_eq!((impact.users, impact.gain), (20, 20));
        assert!(impact.into_sample().is_empty());
    }
}

/// A flag for the users of a country.
fn flag_for(country: &str, rollout_percent: i32) -> Flag {
    let rules = format!(
        r#"[{{"conditions": [{{"attribute": "country", "operator": "in", "values": ["{country}"]}}]}}]"#
    );
    let rules = RowRules::next(None, Ok(rules.into()), RuleKind::Flag, |_| None);
    Flag { targeting: Targeting::new(rules, None), ..flag(true, rollout_percent, &[]) }
}

fn count_countries(mut impact: Impact, countries: &[&str]) -> Impact {
    for (country, pk) in countries.iter().zip(1..) {
        impact.count_with(&Subject::Integer(pk), &in_country(country), |_| true);
    }
    impact
}

#[test]
fn user_whose_rule_decides_is_not_changed_by_the_rollout() {
    let impact = compared(flag_for("DE", 0), 100, 10);
    let impact = count_countries(impact, &["DE", "AT", "DE", "CH"]);
    assert_eq!((impact.users, impact.reach.0.on, impact.gain, impact.lose), (4, 2, 2, 0));
    assert_eq!(impact.into_sample(), ["2", "4"].map(Box::from));
}

#[test]
fn change_of_rules_is_counted_between_the_two_states() {
    let impact = Impact::between("new_checkout", flag_for("DE", 0), flag_for("AT", 0), 10);
    let impact = count_countries(impact, &["DE", "AT", "DE", "CH"]);
    assert_eq!((impact.reach.0.on, impact.gain, impact.lose), (2, 1, 2));
}

/// A flag with these rules, each a JSON list of conditions and a percentage.
fn flag_with(rules: &[(&str, u8)], rollout_percent: i32) -> Flag {
    let rules: Vec<_> = rules
        .iter()
        .map(|(conditions, percent)| {
            format!(r#"{{"conditions": {conditions}, "rollout_percent": {percent}}}"#)
        })
        .collect();
    let segment = SegmentConditions::parse(IS_DE).expect("conditions");
    let segment = Arc::new(segment);
    let text = format!("[{}]", rules.join(","));
    let rules = RowRules::next(None, Ok(text.into()), RuleKind::Flag, |_| Some(segment.clone()));
    Flag { targeting: Targeting::new(rules, None), ..flag(true, rollout_percent, &[9]) }
}

const IS_DE: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]}]"#;
const IS_PRO: &str = r#"[{"attribute": "plan", "operator": "in", "values": ["pro"]}]"#;
const OUT_OF_SEGMENT: &str = r#"[{"segment": "germany", "negate": true}]"#;

fn decided(subjects: u64, on: u64, unsure: u64) -> Decided {
    Decided { subjects, on, unsure }
}

/// The users whom a flag reaches, of whom only the country is known. The last one is allowed.
fn reach_of(flag: &Flag, countries: &[&str]) -> Reach {
    let mut impact = Impact::between("new_checkout", flag.clone(), flag.clone(), 0);
    for (country, pk) in countries.iter().zip((1..=9).rev()) {
        let is_known = |name: &str| name == "country";
        impact.count_with(&Subject::Integer(pk), &in_country(country), is_known);
    }
    assert_eq!((impact.gain, impact.lose), (0, 0));
    impact.reach.0
}

#[test]
fn each_rule_has_the_users_for_whom_it_decides() {
    let flag = flag_with(&[(IS_DE, 0), (OUT_OF_SEGMENT, 100)], 0);
    let reach = reach_of(&flag, &["CH", "DE", "AT", "DE"]);
    assert_eq!((reach.on, reach.unsure, reach.allowed), (2, 0, 1));
    assert_eq!(reach.rules, [decided(2, 0, 0), decided(1, 1, 0)]);
    assert_eq!(reach.others, decided(0, 0, 0));
}

#[test]
fn rule_with_an_unknown_attribute_makes_results_unsure_that_it_can_change() {
    let flag = flag_with(&[(IS_PRO, 100), (IS_DE, 100)], 0);
    let reach = reach_of(&flag, &["CH", "DE", "AT"]);
    // The user in Germany has the flag by one rule or the other.
    assert_eq!((reach.on, reach.unsure, reach.allowed), (2, 1, 1));
    assert_eq!(reach.rules, [decided(0, 0, 2), decided(0, 0, 1)]);
    assert_eq!(reach.others, decided(0, 0, 1));
}

#[test]
fn rule_before_an_unknown_attribute_decides_for_sure() {
    let flag = flag_with(&[(IS_DE, 100), (IS_PRO, 0)], 0);
    let reach = reach_of(&flag, &["CH", "DE", "AT"]);
    assert_eq!((reach.on, reach.unsure), (2, 0));
    assert_eq!(reach.rules, [decided(1, 1, 0), decided(0, 0, 1)]);
}

#[test]
fn negated_segment_with_an_unknown_attribute_is_unsure_unless_a_known_one_fails() {
    let segment = Arc::new(
        SegmentConditions::parse(&format!("{},{}", &IS_DE[..IS_DE.len() - 1], &IS_PRO[1..]))
            .expect("conditions"),
    );
    let text = format!(r#"[{{"conditions": {OUT_OF_SEGMENT}}}]"#);
    let rules = RowRules::next(None, Ok(text.into()), RuleKind::Flag, |_| Some(segment.clone()));
    let flag = Flag { targeting: Targeting::new(rules, None), ..flag(true, 0, &[]) };
    let reach = reach_of(&flag, &["CH", "DE"]);
    assert_eq!((reach.on, reach.unsure), (1, 1));
    assert_eq!(reach.rules, [decided(1, 1, 1)]);
}

#[test]
fn percentage_of_an_unknown_unit_is_unsure() {
    let rules = RowRules::next(None, Ok("[]".into()), RuleKind::Flag, |_| None);
    let targeting = Targeting::new(rules, Some("visitor".into()));
    for (percent, on, unsure) in [(0, 0, 0), (50, 0, 2), (100, 2, 0)] {
        let flag = Flag { targeting: targeting.clone(), ..flag(true, percent, &[]) };
        let reach = reach_of(&flag, &["CH", "DE"]);
        assert_eq!((reach.on, reach.unsure), (on, unsure));
    }
}

#[test]
fn user_who_is_unsure_before_or_after_neither_gains_nor_loses() {
    let (before, after) = (flag_with(&[(IS_PRO, 100)], 0), flag_with(&[(IS_PRO, 100)], 100));
    let mut impact = Impact::between("new_checkout", before, after, 10);
    impact.count_with(&Subject::Integer(1), &in_country("DE"), |name| name == "country");
    assert_eq!((impact.gain, impact.lose), (0, 0));
    assert_eq!((impact.reach.0.unsure, impact.reach.1.on, impact.reach.1.unsure), (1, 1, 0));
}

/// A value with these rules, each a JSON list of conditions, a percentage, and what it gives.
fn value_with(own: &str, rules: &[(&str, u8, &str)]) -> ValueState {
    let rules: Vec<_> = rules
        .iter()
        .map(|(conditions, percent, value)| {
            format!(
                r#"{{"conditions": {conditions}, "rollout_percent": {percent}, "value": {value}}}"#
            )
        })
        .collect();
    let text = format!("[{}]", rules.join(","));
    let rules = RowRules::next(None, Ok(text.into()), RuleKind::Value, |_| None);
    ValueState { own: own.into(), targeting: Targeting::new(rules, None) }
}

/// The impact on users of whom only the country is known.
fn value_impact(before: ValueState, after: ValueState, countries: &[&str]) -> ValueImpact {
    let mut impact = ValueImpact::between("max_items", (before, after), 10);
    for (country, pk) in countries.iter().zip(1..) {
        let is_known = |name: &str| name == "country";
        impact.count_with(&Subject::Integer(pk), &in_country(country), is_known);
    }
    impact
}

#[test]
fn value_changes_for_users_whose_results_differ() {
    let before = value_with("10", &[(IS_DE, 100, "20")]);
    let after = value_with("20", &[(IS_DE, 100, "20")]);
    let impact = value_impact(before, after, &["DE", "AT", "DE", "CH"]);
    assert_eq!((impact.users, impact.changed), (4, 2));
    assert_eq!((impact.reach.0.on, impact.reach.1.on), (2, 0));
    assert_eq!(impact.reach.0.rules, [decided(2, 2, 0)]);
    assert_eq!(impact.reach.0.others, decided(2, 0, 0));
    assert_eq!(impact.into_sample(), ["2", "4"].map(Box::from));
}

#[test]
fn value_by_a_percentage_has_the_users_whose_bucket_is_below() {
    let (none, quarter) = (value_with("10", &[]), value_with("10", &[("[]", 25, "20")]));
    let mut impact = ValueImpact::between("new_checkout", (none, quarter), 0);
    for pk in 1..=1000 {
        impact.count_with(&Subject::Integer(pk), &in_country("DE"), |_| true);
    }
    assert_eq!((impact.changed, impact.reach.1.on), (between(0, 25), between(0, 25)));
    assert_eq!(impact.reach.1.rules, [decided(1000, between(0, 25), 0)]);
}

#[test]
fn value_is_unsure_only_if_an_unknown_attribute_can_change_it() {
    let same = value_with("10", &[(IS_PRO, 100, "10")]);
    let other = value_with("10", &[(IS_PRO, 100, "20"), (IS_DE, 100, "20")]);
    let impact = value_impact(same, other, &["DE", "AT"]);
    assert_eq!((impact.reach.0.unsure, impact.reach.0.on), (0, 0));
    // The user in Germany has 20 by one rule or the other.
    assert_eq!((impact.reach.1.unsure, impact.reach.1.on), (1, 1));
    assert_eq!(impact.changed, 1);
}

#[test]
fn value_whose_rules_cannot_be_read_is_unsure() {
    let impact =
        value_impact(value_with("10", &[("{}", 100, "20")]), value_with("10", &[]), &["DE"]);
    assert_eq!((impact.reach.0.unsure, impact.changed), (1, 0));
}
