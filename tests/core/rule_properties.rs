//! Random rules, segments and attributes against a slow reference.

use std::cmp::Ordering;
use std::sync::Arc;

use flagstaff::rules::{
    Attribute, Attributes, Decision, Outcome, ParsedRules, RuleKind, Rules, SegmentConditions,
    Value, can_match,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use crate::attributes::Given;

const SEGMENTS: [&str; 3] = ["one", "two", "gone"];

/// A bool, a whole number or a text, few enough that two are often equal.
fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        any::<bool>().prop_map(Json::from),
        (-2..12_i64).prop_map(Json::from),
        "[-a1é]{0,2}".prop_map(Json::from),
    ]
}

fn text() -> impl Strategy<Value = Json> {
    "[-a1é]{0,2}".prop_map(Json::from)
}

fn number_or_text() -> impl Strategy<Value = Json> {
    prop_oneof![(-2..12_i64).prop_map(Json::from), text()]
}

fn attribute_condition() -> impl Strategy<Value = Json> {
    let texts = prop_oneof![Just("contains"), Just("startswith"), Just("endswith")];
    let order = prop_oneof![Just("lt"), Just("lte"), Just("gt"), Just("gte")];
    let test = prop_oneof![
        vec(scalar(), 1..4).prop_map(|values| ("in", values)),
        (texts, vec(text(), 1..3)),
        (order, vec(number_or_text(), 1..3)),
        any::<bool>().prop_map(|is_null| ("isnull", vec![Json::from(is_null)])),
    ];
    (prop_oneof![Just("a"), Just("b"), Just("c")], test, any::<bool>()).prop_map(
        |(attribute, (operator, values), negate)| {
            json!({"attribute": attribute, "operator": operator, "values": values, "negate": negate})
        },
    )
}

fn condition() -> impl Strategy<Value = Json> {
    let segment = (0..SEGMENTS.len(), any::<bool>())
        .prop_map(|(index, negate)| json!({"segment": SEGMENTS[index], "negate": negate}));
    prop_oneof![3 => attribute_condition(), 1 => segment]
}

fn rules() -> impl Strategy<Value = Vec<Vec<Json>>> {
    vec(vec(condition(), 1..4), 0..4)
}

fn attributes() -> impl Strategy<Value = Map<String, Json>> {
    let value = prop_oneof![
        1 => Just(Json::Null),
        1 => Just(json!({"needs_user": true})),
        6 => scalar(),
        2 => vec(scalar(), 0..3).prop_map(Json::from),
    ];
    vec(value, 3)
        .prop_map(|values| ["a", "b", "c"].into_iter().map(str::to_owned).zip(values).collect())
}

/// The text of a text or a number.
fn text_of(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned).or_else(|| json.as_i64().map(|number| number.to_string()))
}

/// Whether the attribute matches the value; `None` if they have unlike types.
fn matches_value(operator: &str, attribute: &Json, value: &Json) -> Option<bool> {
    if operator == "in" && (attribute.is_boolean() || value.is_boolean()) {
        return (attribute.is_boolean() && value.is_boolean()).then(|| attribute == value);
    }
    let (one, other) = (text_of(attribute)?, text_of(value)?);
    let order = match (attribute.as_i64(), value.as_i64()) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        (None, None) => Some(one.chars().cmp(other.chars())),
        _ => None,
    };
    match operator {
        // The text of a number is a number.
        "in" if attribute.is_i64() && other.parse::<i64>().is_err() => None,
        "in" => Some(one == other),
        "contains" => Some(one.contains(&other)),
        "startswith" => Some(one.starts_with(&other)),
        "endswith" => Some(one.ends_with(&other)),
        "lt" => order.map(Ordering::is_lt),
        "gt" => order.map(Ordering::is_gt),
        "lte" => order.map(Ordering::is_le),
        _ => order.map(Ordering::is_ge),
    }
}

fn outcome_of(condition: &Json, attributes: &Map<String, Json>) -> Outcome {
    let operator = condition["operator"].as_str().expect("a text");
    let values = condition["values"].as_array().expect("a list");
    let negate = condition["negate"] == true;
    let attribute = &attributes[condition["attribute"].as_str().expect("a text")];
    let missing = match attribute {
        Json::Null => Some(Outcome::Missing),
        Json::Object(_) => Some(Outcome::NeedsUser),
        _ => None,
    };
    let elements = match attribute {
        Json::Array(elements) => elements.as_slice(),
        _ => std::slice::from_ref(attribute),
    };
    let pairs =
        elements.iter().flat_map(|element| values.iter().map(move |value| (element, value)));
    let found: Vec<_> =
        pairs.filter_map(|(element, value)| matches_value(operator, element, value)).collect();
    let passes = match operator {
        "isnull" => missing.is_some() == (values[0] == true),
        _ => found.contains(&true),
    };
    match missing {
        Some(missing) if operator != "isnull" || passes == negate => missing,
        None if operator != "isnull" && !elements.is_empty() && found.is_empty() => {
            Outcome::TypeMismatch
        }
        _ if passes != negate => Outcome::Passed,
        _ => Outcome::Failed,
    }
}

type Conditions<'a> = &'a [Json];

fn passes(condition: &Json, segments: [Conditions<'_>; 2], attributes: &Map<String, Json>) -> bool {
    let Some(key) = condition.get("segment") else {
        return outcome_of(condition, attributes) == Outcome::Passed;
    };
    let Some(index) = SEGMENTS[..2].iter().position(|segment| key == segment) else {
        return false;
    };
    let mut outcomes = segments[index].iter().map(|condition| outcome_of(condition, attributes));
    if condition["negate"] == true {
        outcomes.any(|outcome| outcome == Outcome::Failed)
    } else {
        outcomes.all(|outcome| outcome == Outcome::Passed)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_rules_decide_as_the_reference(
        rules in rules(),
        one in vec(attribute_condition(), 1..3),
        two in vec(attribute_condition(), 1..3),
        attributes in attributes(),
    ) {
        let expected = rules.iter().zip(1..).find(|(conditions, _)| {
            conditions.iter().all(|condition| passes(condition, [&one, &two], &attributes))
        });
        let expected = expected.map(|(_, number)| Decision { number, rollout_percent: number });
        let text: Vec<_> = rules.iter().zip(1..).map(|(conditions, number): (_, u8)| {
            json!({"conditions": conditions, "rollout_percent": number})
        }).collect();
        let parsed = ParsedRules::parse(&json!(text).to_string(), RuleKind::Flag).expect("rules");
        let segments = [&one, &two].map(|conditions| {
            Arc::new(SegmentConditions::parse(&json!(conditions).to_string()).expect("conditions"))
        });
        let segment = |key: &str| match key {
            "one" => Some(segments[0].clone()),
            "two" => Some(segments[1].clone()),
            _ => None,
        };
        let rules = Rules::new(Arc::new(parsed), segment);
        let given = Given::new(attributes);
        prop_assert_eq!(rules.decide(&given), expected);
        let mut explained = rules.explain(&given).into_iter();
        let all_passed = explained.find(|rule| {
            rule.conditions.iter().all(|condition| condition.outcome == Outcome::Passed)
        });
        let number = all_passed.as_ref().map(|rule| rule.number);
        prop_assert_eq!(number, expected.map(|decision| decision.number));
        prop_assert!(all_passed.is_none_or(|rule| rule.decides));
    }
}

/// One attribute, whatever its name.
struct Only<'a>(Value<'a>);

impl Attributes for Only<'_> {
    fn read<T>(&self, _name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        with(Attribute::Value(self.0))
    }
}

fn is_true(operator: &str, value: &str, attribute: Value<'_>) -> bool {
    let rules = format!(
        r#"[{{"conditions": [{{"attribute": "a", "operator": "{operator}", "values": [{value}]}}]}}]"#
    );
    let parsed = ParsedRules::parse(&rules, RuleKind::Flag).expect("rules");
    Rules::new(Arc::new(parsed), |_| None).decide(&Only(attribute)).is_some()
}

/// How the attribute compares with the value, if one of the operators says so.
fn compare(attribute: Value<'_>, value: &str) -> Option<Ordering> {
    let found = ["lt", "in", "gt"].map(|operator| is_true(operator, value, attribute));
    let ordering = match found {
        [true, false, false] => Ordering::Less,
        [false, true, false] => Ordering::Equal,
        [false, false, true] => Ordering::Greater,
        _ => return None,
    };
    let or_equal = ["lte", "gte"].map(|operator| is_true(operator, value, attribute));
    assert_eq!(or_equal, [ordering.is_le(), ordering.is_ge()]);
    Some(ordering)
}

/// A decimal and the same number times 10^24.
fn decimal() -> impl Strategy<Value = (String, i128)> {
    let small = prop_oneof![-20..20_i64, -1_000_000_000..1_000_000_000_i64];
    (small, 0..6_u32, -6..6_i32).prop_map(|(mantissa, places, exponent)| {
        let (sign, digits) = (if mantissa < 0 { "-" } else { "" }, mantissa.unsigned_abs());
        let scale = 10_u64.pow(places);
        let (whole, fraction) = (digits / scale, digits % scale);
        let point = if places > 0 {
            format!(".{fraction:0width$}", width = places as usize)
        } else {
            String::new()
        };
        let power = 24 - i32::try_from(places).expect("a few") + exponent;
        let scaled = i128::from(mantissa) * 10_i128.pow(power.try_into().expect("a power"));
        (format!("{sign}{whole}{point}e{exponent}"), scaled)
    })
}

proptest! {
    #[test]
    fn decimals_compare_exactly((one, scaled) in decimal(), (other, other_scaled) in decimal()) {
        let expected = scaled.cmp(&other_scaled);
        prop_assert_eq!(compare(Value::Decimal(&one), &other), Some(expected));
        if let Ok(integer) = i64::try_from(scaled / 10_i128.pow(24)) {
            let expected = (i128::from(integer) * 10_i128.pow(24)).cmp(&other_scaled);
            prop_assert_eq!(compare(Value::Integer(integer), &other), Some(expected));
        }
    }

    #[test]
    fn float_compares_with_a_whole_number_exactly(
        float in prop_oneof![
            -1e20_f64..1e20_f64,
            -10.0_f64..10.0_f64,
            (-100..100_i32).prop_map(f64::from),
        ],
        off in -2..=2_i128,
    ) {
        #[expect(clippy::cast_possible_truncation, reason = "the fraction is compared next")]
        let whole = float as i128;
        let value = whole + off;
        let expected = whole.cmp(&value).then(float.fract().total_cmp(&0.0));
        // The fraction of -0.0 is -0.0, which is 0.
        let expected = if float.fract() == 0.0 { whole.cmp(&value) } else { expected };
        prop_assert_eq!(compare(Value::Float(float), &value.to_string()), Some(expected));
    }

    #[test]
    fn finite_float_equals_its_own_json(float: f64) {
        prop_assume!(float.is_finite());
        let text = serde_json::to_string(&float).expect("a number");
        prop_assert_eq!(compare(Value::Float(float), &text), Some(Ordering::Equal));
        prop_assert_eq!(compare(Value::Float(f64::NAN), &text), None);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text: String) {
        let value = json!(text).to_string();
        prop_assert!(is_true("in", &value, Value::Text(&text)));
        let _ = ParsedRules::parse(&text, RuleKind::Flag);
        let _ = SegmentConditions::parse(&text);
        let _ = is_true("version_lt", r#""1""#, Value::Text(&text));
        let _ = is_true("lt", &value, Value::Date(0));
    }
}

#[test]
fn each_day_is_one_more_than_the_day_before() {
    let mut days = -25_567_i32; // 1900-01-01
    for year in [1900, 1901, 1902, 1903, 1904] {
        for (month, length) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().enumerate() {
            let leap_day = i32::from(month == 1 && year == 1904);
            for day in 1..=length + leap_day {
                let text = format!(r#""{year}-{:02}-{day:02}""#, month + 1);
                assert!(is_true("in", &text, Value::Date(days)), "{text}");
                days += 1;
            }
            let beyond = format!(r#""{year}-{:02}-{:02}""#, month + 1, length + leap_day + 1);
            assert!(!is_true("lte", &beyond, Value::Date(i32::MIN)), "{beyond}");
        }
    }
    assert!(is_true("in", r#""0001-01-01""#, Value::Date(-719_162)));
    assert!(is_true("in", r#""2000-02-29""#, Value::Date(11_016)));
    assert!(is_true("in", r#""9999-12-31""#, Value::Date(2_932_896)));
}

#[test]
fn text_that_is_nearly_a_moment_is_a_text() {
    let any_time = Value::DateTime(i64::MIN);
    for text in [
        "0000-01-01",
        "2026-00-01",
        "2026-13-01",
        "2026-01-00",
        "2026/01/01",
        "+2026-01-01",
        "2026-01-01 ",
        "2026-01-01T",
        "2026-01-01T24:00",
        "2026-01-01T12:60",
        "2026-01-01T12:00:60",
        "2026-01-01X12:00",
        "2026-01-01T12",
        "2026-01-01T12:00.5",
        "2026-01-01T12:00:00.",
        "2026-01-01T12:00:00.1234567890",
        "2026-01-01T12:00:00,5",
        "2026-01-01T12:00+1",
        "2026-01-01T12:00+01:",
        "2026-01-01T12:00+01:0",
        "2026-01-01T12:00+010",
        "2026-W01-4",
        "2026-001",
        "20260101",
        "2026-01-01T12:00+24:00",
        "2026-01-01T12:00+01:60",
        "2026-01-01T12:00+01:00 ",
        "2026-01-01T12:00Z0",
        "2026-01-01T1２:00",
    ] {
        let value = json!(text).to_string();
        assert!(!is_true("gt", &value, any_time) && !is_true("lt", &value, any_time), "{text}");
        assert!(is_true("in", &value, Value::Text(text)));
    }
}

#[test]
fn offset_is_subtracted() {
    let hour = 3_600_000_000;
    for (text, utc) in [
        ("1970-01-01T00:00Z", 0),
        ("1970-01-01T00:00z", 0),
        ("1970-01-01T01:30+01:30", 0),
        ("1970-01-01T01:30+0130", 0),
        ("1970-01-01T01:00+01", 0),
        ("1969-12-31T22:30:00-01:30", 0),
        ("1970-01-01 23:59:59.999999Z", 24 * hour - 1),
        ("1970-01-01T00:00:00.05+00:00", 50_000),
        ("1970-01-01T00:00:00.000001999Z", 1),
        ("1970-01-02T00:00:01+23:59", 60_000_000 + 1_000_000),
        // The clock of `Only` is that of UTC.
        ("1970-01-01T01:02:03.004", hour + 2 * 60_000_000 + 3_004_000),
    ] {
        let at = Value::DateTime(utc);
        assert_eq!(compare(at, &json!(text).to_string()), Some(Ordering::Equal), "{text}");
        let later = Value::DateTime(utc + 1);
        assert_eq!(compare(later, &json!(text).to_string()), Some(Ordering::Greater), "{text}");
    }
}

#[test]
fn pattern_that_no_text_matches_is_a_type_mismatch() {
    for (pattern, expected) in [
        ("^DE$", true),
        ("^", true),
        ("$^", true),
        ("(^a|b)$", true),
        ("(?m)a$^b", true),
        ("a^|b", true),
        ("(a^)?b", true),
        ("(^a?){2}b", true),
        ("a^", false),
        ("$a", false),
        ("/^DE$/", false),
        ("^DE$ ", false),
        ("(^a){2}", false),
        ("(a^)+b", false),
        (r"[^\s\S]", false),
    ] {
        let values = json!([pattern]).to_string();
        assert_eq!(can_match("regex", &values, &Value::Text("")), expected, "{pattern}");
    }
}
