//! Flags whose percentages bucket by a visitor or an attribute.

use flagstaff::bucket::bucket;
use flagstaff::bucketing_unit::unit_bucket;
use flagstaff::evaluate::{Evaluation, Reason, evaluate};
use flagstaff::flag::Flag;
use flagstaff::row::FlagRow;
use flagstaff::rules::{Attribute, NoAttributes, Value};
use flagstaff::subject::Subject;
use flagstaff::targeting::{Dependent, Targeting};

use crate::attributes::{Given, given};
use crate::rows::{detached, flag, flag_with_rules, flags, integers, snapshot};

const KEY: &str = "new_checkout";
const USER: Subject<'_> = Subject::Integer(1);

fn loaded(row: FlagRow) -> Flag {
    let row = FlagRow { bucket_by: Some("organization".into()), ..row };
    snapshot([flags([row])]).flag(KEY).expect("the flag").clone()
}

fn by_organization(percent: i32) -> Flag {
    loaded(flag("1", KEY, percent))
}

fn with_rule(rule_percent: u8) -> Flag {
    let rule = format!(
        r#"[{{"conditions": [{{"attribute": "plan", "operator": "in", "values": ["pro"]}}],
             "rollout_percent": {rule_percent}}}]"#
    );
    loaded(flag_with_rules("1", KEY, &rule))
}

fn result(flag: &Flag, subject: &Subject<'_>, attributes: &Given) -> Evaluation {
    evaluate(KEY, flag, subject, attributes)
}

#[test]
fn unit_is_hashed_in_place_of_the_user() {
    let acme = bucket(KEY, "acme");
    for (percent, value) in [(i32::from(acme), false), (i32::from(acme) + 1, true)] {
        for subject in [USER, Subject::Integer(2), Subject::Anonymous] {
            let found =
                result(&by_organization(percent), &subject, &given(r#"{"organization": "acme"}"#));
            let expected =
                Evaluation { value, reason: Reason::Split, bucket: Some(acme), rule: None };
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn missing_unit_is_off_for_a_percentage() {
    for attributes in ["{}", r#"{"organization": null}"#, r#"{"organization": {"needs_user": 1}}"#]
    {
        let found = result(&by_organization(99), &USER, &given(attributes));
        assert_eq!((found.value, found.reason, found.bucket), (false, Reason::Default, None));
    }
}

#[test]
fn unit_is_read_only_for_a_percentage() {
    let attributes = given(r#"{"organization": "acme"}"#);
    let allowed = Flag { allowed_users: integers(&[1]), ..by_organization(50) };
    let disabled = Flag { enabled: false, ..by_organization(50) };
    let flags = [by_organization(0), by_organization(-1), by_organization(100), allowed, disabled];
    for flag in flags {
        assert_eq!(result(&flag, &USER, &attributes).bucket, None);
    }
    assert!(attributes.read.borrow().is_empty());
}

#[test]
fn percentage_of_a_rule_buckets_by_the_unit() {
    let acme = bucket(KEY, "acme");
    let attributes = given(r#"{"plan": "pro", "organization": "acme"}"#);
    for (percent, value) in [(acme, false), (acme + 1, true)] {
        let found = result(&with_rule(percent), &USER, &attributes);
        let expected =
            Evaluation { value, reason: Reason::Split, bucket: Some(acme), rule: Some(1) };
        assert_eq!(found, expected);
    }
    let found = result(&with_rule(99), &USER, &given(r#"{"plan": "pro"}"#));
    assert_eq!((found.value, found.reason, found.rule), (false, Reason::Default, Some(1)));
}

#[test]
fn equal_whole_numbers_are_one_unit_and_texts_are_as_they_are() {
    let units = [
        (Value::Integer(42), "42"),
        (Value::Float(42.0), "42"),
        (Value::Decimal("42.00"), "42"),
        (Value::Decimal("+4.2E+1"), "42"),
        (Value::Float(-0.0), "0"),
        (Value::Decimal("-0.00"), "0"),
        (Value::Decimal("-1E+3"), "-1000"),
        (Value::Decimal("0700"), "700"),
        (Value::Float(9_007_199_254_740_991.0), "9007199254740991"),
        (Value::Decimal("123456789012345678901"), "123456789012345678901"),
        (Value::Text("42.00"), "42.00"),
        (Value::Text("a b"), "a b"),
    ];
    for (value, text) in units {
        assert_eq!(unit_bucket(KEY, Attribute::Value(value)), Some(bucket(KEY, text)), "{text}");
    }
}

#[test]
fn other_values_are_no_units() {
    let moment = Value::DateTime(0);
    let list = [Value::Text("acme")];
    let others = [
        Value::Bool(true),
        Value::Text(""),
        Value::Float(f64::NAN),
        Value::Float(f64::INFINITY),
        Value::Float(9_007_199_254_740_992.0),
        Value::Float(1.5),
        Value::Decimal("1.10"),
        Value::Decimal("1E-3"),
        Value::Decimal("1E+255"),
        Value::Decimal("NaN"),
        Value::Decimal("Infinity"),
        Value::Date(0),
        moment,
        Value::List(&list),
    ];
    for value in others {
        assert_eq!(unit_bucket(KEY, Attribute::Value(value)), None, "{value:?}");
    }
}

#[test]
fn flag_depends_on_the_user_only_where_the_unit_or_an_allowed_user_does() {
    let by_visitor = |percent| Flag {
        targeting: Targeting::new(None, Some("visitor".into())),
        ..by_organization(percent)
    };
    for (percent, depends) in [(0, false), (50, true), (100, false)] {
        assert_eq!(by_organization(percent).depends_on_subject(), depends);
        assert!(!by_visitor(percent).depends_on_subject());
        let allowed = Flag { allowed_users: integers(&[1]), ..by_visitor(percent) };
        assert_eq!(allowed.depends_on_subject(), percent < 100);
        assert!(!by_organization(percent).depends_on_key());
    }
}

#[test]
fn unit_is_named_only_for_a_flag_with_a_percentage() {
    assert_eq!(by_organization(50).unit(), Some("organization"));
    assert_eq!(with_rule(50).unit(), Some("organization"));
    for flag in [by_organization(0), by_organization(100), with_rule(0), with_rule(100)] {
        assert_eq!(flag.unit(), None);
    }
    assert_eq!(detached(true, 50, &[]).unit(), None);
}

#[test]
fn flag_without_a_unit_buckets_by_the_user() {
    let by_user = Flag { targeting: None, ..by_organization(50) };
    let found = evaluate(KEY, &by_user, &USER, &NoAttributes);
    assert_eq!(found.bucket, Some(bucket(KEY, "1")));
}
