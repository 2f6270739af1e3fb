//! The semantics of values with rules as rows: `tests/conformance/cases_values.json`.
//!
//! A case without a user has the one with primary key 2.

use std::collections::BTreeMap;

use flagstaff::evaluate::{Evaluation, Reason, evaluate_value};
use flagstaff::row::ValueRow;
use flagstaff::snapshot::{Loaded, Snapshot, Stored};
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;
use flagstaff::value_rules::ValueRules;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::attributes::Given;
use crate::rows::{problems, segment, value};

const KEY: &str = "max_items";

#[derive(Deserialize)]
struct Case<'a> {
    name: String,
    attributes: Map<String, Value>,
    #[serde(borrow)]
    own: &'a RawValue,
    #[serde(borrow)]
    rules: &'a RawValue,
    #[serde(borrow, default)]
    segments: BTreeMap<String, &'a RawValue>,
    bucket_by: Option<Box<str>>,
    #[serde(default = "user_two")]
    user: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    reason: String,
    bucket: Option<u8>,
    rule: Option<u8>,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional member")]
fn user_two() -> Option<String> {
    Some("2".to_owned())
}

impl Case<'_> {
    fn snapshot(&self) -> Snapshot {
        let rules = Some(self.rules.get()).filter(|rules| *rules != "[]");
        let row = ValueRow {
            rules: rules.map(Into::into),
            bucket_by: self.bucket_by.clone().filter(|unit| **unit != *"user"),
            ..value("1", KEY, self.own.get())
        };
        let segments = self.segments.iter();
        let segments = segments.map(|(key, conditions)| segment(key, key, conditions.get()));
        Snapshot::default().next(Loaded {
            values: Some(vec![row]),
            segments: Some(segments.collect()),
            ..Loaded::default()
        })
    }

    fn check(&self) {
        let snapshot = self.snapshot();
        let problems = problems(&snapshot).into_iter();
        let unexpected: Vec<_> = problems.filter(|text| !text.ends_with(r#""gone""#)).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?}", self.name);
        let stored = snapshot.value(KEY).expect("the value");
        let attributes = Given::new(self.attributes.clone());
        let (found, how) = self.evaluated(stored, &attributes);
        assert_eq!(found, &StoredValue::from_json(self.value.get()), "{}", self.name);
        let how = (how.reason.as_str(), how.bucket, how.rule);
        assert_eq!(how, (self.reason.as_str(), self.bucket, self.rule), "{}", self.name);
        let unread = |name: &String| !is_listed(stored, name);
        assert!(!attributes.read.borrow().iter().any(unread), "{}", self.name);
    }

    fn evaluated<'s>(
        &self,
        stored: &'s Stored,
        attributes: &Given,
    ) -> (&'s StoredValue, Evaluation) {
        let subject = self.user.as_deref().map_or(Subject::Anonymous, Subject::Text);
        let Some(rules) = stored.rules() else {
            let everyone =
                Evaluation { value: false, reason: Reason::Static, bucket: None, rule: None };
            return (stored.value(), everyone);
        };
        let decided = evaluate_value(KEY, &rules.targeting, &subject, attributes);
        (rules.result_of(decided).unwrap_or_else(|| stored.value()), decided)
    }
}

/// Whether the value says that it may read this attribute.
fn is_listed(stored: &Stored, name: &str) -> bool {
    let rules = stored.rules().and_then(|rules| rules.rules());
    let of_rules = rules.is_some_and(|rules| rules.attributes().contains(&name.into()));
    of_rules || stored.rules().and_then(|rules| rules.unit()) == Some(name)
}

#[test]
fn every_case_of_values_returns_its_result_and_reason() {
    let cases: Vec<Case<'_>> =
        serde_json::from_str(include_str!("../conformance/cases_values.json")).expect("the cases");
    assert!(cases.len() > 200);
    for case in &cases {
        case.check();
    }
}

/// The rules of the next version of a value, whose row has these rules and this value.
fn next(before: &Snapshot, rules: &str, own: &str) -> Snapshot {
    let rules = Some(rules).filter(|rules| *rules != "[]");
    let row = ValueRow { rules: rules.map(Into::into), ..value("1", KEY, own) };
    before.next(Loaded { values: Some(vec![row]), ..Loaded::default() })
}

const TWENTY_FOR_ALL_IN_DE: &str = r#"[{"conditions": [
    {"attribute": "country", "operator": "in", "values": ["DE"]}], "value": 20}]"#;

fn in_germany(snapshot: &Snapshot) -> (StoredValue, StoredValue) {
    let stored = snapshot.value(KEY).expect("the value");
    let country = serde_json::from_str(r#"{"country": "DE"}"#).expect("attributes");
    let attributes = Given::new(country);
    let result = stored.rules().and_then(|rules| {
        let subject = Subject::Text("2");
        rules.result_of(evaluate_value(KEY, &rules.targeting, &subject, &attributes))
    });
    (stored.value().clone(), result.unwrap_or_else(|| stored.value()).clone())
}

#[test]
fn rules_that_cannot_be_read_keep_the_last_good_ones_with_the_new_value() {
    let before = next(&Snapshot::default(), TWENTY_FOR_ALL_IN_DE, "10");
    let after = next(&before, r#"[{"conditions": []}]"#, "11");
    assert_eq!(in_germany(&after), (StoredValue::Integer(11), StoredValue::Integer(20)));
    assert_eq!(
        problems(&after),
        [
            r#"the rules of value "max_items" cannot be read, so its last good rules stay: rule 1: the member "value" is missing; add it"#
        ]
    );
}

#[test]
fn rules_that_could_never_be_read_leave_everyone_the_value_itself() {
    let after = next(&Snapshot::default(), "[1]", "10");
    assert_eq!(in_germany(&after), (StoredValue::Integer(10), StoredValue::Integer(10)));
    let stored = after.value(KEY).and_then(Stored::rules).cloned();
    let decided = stored.as_deref().map(|rules: &ValueRules| {
        evaluate_value(KEY, &rules.targeting, &Subject::Anonymous, &Given::new(Map::new()))
    });
    assert_eq!(decided.map(|decided| decided.reason), Some(Reason::Static));
    let [problem] = &problems(&after)[..] else { panic!("one problem") };
    assert!(problem.contains("so everyone gets the value itself"), "{problem}");
}

#[test]
fn rules_that_cannot_be_read_after_none_leave_everyone_the_value_itself() {
    let before = next(&Snapshot::default(), "[]", "10");
    let after = next(&before, "[1]", "11");
    assert_eq!(in_germany(&after), (StoredValue::Integer(11), StoredValue::Integer(11)));
    let rules = after.value(KEY).and_then(Stored::rules).expect("rules");
    let anyone = Given::new(Map::new());
    let decided = evaluate_value(KEY, &rules.targeting, &Subject::Anonymous, &anyone);
    assert_eq!(decided.reason, Reason::Static);
    assert_eq!(problems(&after).len(), 1);
}

#[test]
fn rules_that_have_not_changed_are_shared() {
    let before = next(&Snapshot::default(), TWENTY_FOR_ALL_IN_DE, "10");
    let after = next(&before, TWENTY_FOR_ALL_IN_DE, "11");
    let rules = [&before, &after].map(|one| one.value(KEY).and_then(Stored::rules).cloned());
    let [Some(one), Some(other)] = rules else { panic!("rules") };
    assert!(std::sync::Arc::ptr_eq(&one, &other));
    assert_eq!(after.changed_keys(&before).into_iter().collect::<Vec<_>>(), [KEY]);
}

#[test]
fn changed_segment_reaches_the_rules_of_values() {
    let named = r#"[{"conditions": [{"segment": "german"}], "value": 20}]"#;
    let of = |country: &str| {
        let conditions =
            format!(r#"[{{"attribute": "country", "operator": "in", "values": ["{country}"]}}]"#);
        Loaded { segments: Some(vec![segment("1", "german", &conditions)]), ..Loaded::default() }
    };
    let before = next(&Snapshot::default().next(of("AT")), named, "10");
    assert_eq!(in_germany(&before).1, StoredValue::Integer(10));
    let after = before.next(of("DE"));
    assert_eq!(in_germany(&after).1, StoredValue::Integer(20));
    assert!(after.changed_keys(&before).contains(KEY));
    assert_eq!(after.values_version(), before.values_version());
}
