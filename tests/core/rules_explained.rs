//! What `explain` says of each rule and condition, and which attributes an evaluation reads.

use std::sync::Arc;

use flagstaff::rules::{
    About, Decision, ExplainedCondition, NoAttributes, Outcome, ParsedRules, RuleKind, Rules,
    SegmentConditions,
};

use crate::attributes::{Given, given};

const SEGMENT: &str = r#"[{"attribute": "country", "operator": "in", "values": ["DE"]},
    {"attribute": "age", "operator": "gte", "values": [18]}]"#;

const RULES: &str = r#"[
    {"name": "staff", "conditions": [{"attribute": "is_staff", "operator": "in", "values": [true]}]},
    {"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]},
                    {"segment": "adults"}, {"segment": "gone"}], "rollout_percent": 0},
    {"name": "rest", "conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}],
     "rollout_percent": 25}]"#;

fn rules(text: &str) -> Rules {
    let adults = Arc::new(SegmentConditions::parse(SEGMENT).expect("conditions"));
    let parsed = Arc::new(ParsedRules::parse(text, RuleKind::Flag).expect("rules"));
    Rules::new(parsed, |key| (key == "adults").then(|| adults.clone()))
}

fn of_attribute(name: &str, outcome: Outcome) -> ExplainedCondition {
    ExplainedCondition { about: About::Attribute(name.into()), outcome }
}

/// The outcome of a segment with the conditions above.
fn of_segment(negate: bool, attributes: &Given) -> Outcome {
    let rules =
        rules(&format!(r#"[{{"conditions": [{{"segment": "adults", "negate": {negate}}}]}}]"#));
    let [rule] = &rules.explain(attributes)[..] else { panic!("one rule") };
    let passed = rule.conditions[0].outcome == Outcome::Passed;
    assert_eq!(rules.decide(attributes).is_some(), passed);
    rule.conditions[0].outcome
}

#[test]
fn rules_and_their_segments_keep_their_json_text() {
    let rules = rules(RULES);
    assert_eq!(rules.text(), RULES);
    assert_eq!(rules.segment("adults").map(SegmentConditions::text), Some(SEGMENT));
    assert_eq!(rules.segment("gone"), None);
    assert_eq!(rules.segment("other"), None);
}

#[test]
fn each_rule_has_its_number_name_percentage_and_outcomes() {
    let attributes =
        given(r#"{"is_staff": {"needs_user": true}, "plan": "free", "country": "DE"}"#);
    let explained = rules(RULES).explain(&attributes);
    let names: Vec<_> = explained
        .iter()
        .map(|rule| (rule.number, rule.name.as_deref(), rule.rollout_percent, rule.decides))
        .collect();
    let expected =
        [(1, Some("staff"), 100, false), (2, None, 0, false), (3, Some("rest"), 25, true)];
    assert_eq!(names, expected);
    assert_eq!(explained[0].conditions, [of_attribute("is_staff", Outcome::NeedsUser)]);
    assert_eq!(explained[2].conditions, [of_attribute("country", Outcome::Passed)]);
    let adults = ExplainedCondition {
        about: About::Segment {
            key: "adults".into(),
            conditions: Some(vec![
                of_attribute("country", Outcome::Passed),
                of_attribute("age", Outcome::Missing),
            ]),
        },
        outcome: Outcome::Missing,
    };
    let gone = ExplainedCondition {
        about: About::Segment { key: "gone".into(), conditions: None },
        outcome: Outcome::Missing,
    };
    let expected = [of_attribute("plan", Outcome::Failed), adults, gone];
    assert_eq!(explained[1].conditions, expected);
}

#[test]
fn rules_after_the_one_that_decides_are_explained_too() {
    let attributes = given(r#"{"is_staff": true, "country": "DE"}"#);
    let explained = rules(RULES).explain(&attributes);
    let decides: Vec<_> = explained.iter().map(|rule| rule.decides).collect();
    assert_eq!(decides, [true, false, false]);
    assert_eq!(explained[2].conditions, [of_attribute("country", Outcome::Passed)]);
}

#[test]
fn outcome_of_a_segment_follows_from_its_conditions() {
    use Outcome::{Failed, Missing, NeedsUser, Passed};
    for (attributes, plain, negated) in [
        (r#"{"country": "DE", "age": 18}"#, Passed, Failed),
        (r#"{"country": "DE", "age": 17}"#, Failed, Passed),
        (r#"{"country": "DE"}"#, Missing, Missing),
        (r#"{"country": "FR"}"#, Failed, Passed),
        (r#"{"age": 17}"#, Failed, Passed),
        (r#"{"age": 18, "country": {"needs_user": true}}"#, NeedsUser, NeedsUser),
        (r#"{"country": {"needs_user": true}}"#, NeedsUser, NeedsUser),
        (r#"{"age": 17, "country": {"needs_user": true}}"#, Failed, Passed),
        ("{}", Missing, Missing),
    ] {
        let attributes = given(attributes);
        let found = (of_segment(false, &attributes), of_segment(true, &attributes));
        assert_eq!(found, (plain, negated), "{attributes:?}");
    }
}

#[test]
fn evaluation_reads_no_attribute_after_the_one_that_decides() {
    for (attributes, expected) in [
        (r#"{"is_staff": true, "plan": "pro"}"#, &["is_staff"][..]),
        (r#"{"is_staff": false}"#, &["is_staff", "plan", "country"]),
        (r#"{"plan": "pro", "country": "FR"}"#, &["is_staff", "plan", "country", "country"]),
        (r#"{"plan": "pro", "country": "DE"}"#, &["is_staff", "plan", "country", "age", "country"]),
    ] {
        let attributes = given(attributes);
        let _ = rules(RULES).decide(&attributes);
        assert_eq!(*attributes.read.borrow(), expected);
    }
}

#[test]
fn rules_without_attributes_decide_nothing() {
    assert_eq!(rules(RULES).decide(&NoAttributes), None);
    let anyone =
        r#"[{"conditions": [{"attribute": "a", "operator": "isnull", "values": [true]}]}]"#;
    let decision = Decision { number: 1, rollout_percent: 100 };
    assert_eq!(rules(anyone).decide(&NoAttributes), Some(decision));
}

#[test]
fn rules_of_the_same_text_and_segments_are_equal() {
    assert_eq!(rules(RULES), rules(RULES));
    assert_ne!(rules(RULES), rules("[]"));
    let other =
        Rules::new(Arc::new(ParsedRules::parse(RULES, RuleKind::Flag).expect("rules")), |_| None);
    assert_ne!(rules(RULES), other);
}
