//! The message for each text that is no rules: the place, what is wrong, and what to do.

use flagstaff::rules::{ParsedRules, RuleKind, SegmentConditions};
use serde_json::json;

fn error(text: &str) -> String {
    ParsedRules::parse(text, RuleKind::Flag).expect_err("no rules").to_string()
}

fn segment_error(text: &str) -> String {
    SegmentConditions::parse(text).expect_err("no conditions").to_string()
}

/// The error of one condition, without its place.
fn condition_error(condition: &str) -> String {
    let found = error(&format!(r#"[{{"conditions": [{condition}]}}]"#));
    let inside = found.strip_prefix("rule 1, condition 1").expect("the place");
    inside.trim_start_matches([',', ':', ' ']).to_owned()
}

/// The error of these values, without the place of the condition.
fn values_error(operator: &str, values: &str) -> String {
    condition_error(&format!(
        r#"{{"attribute": "a", "operator": "{operator}", "values": {values}}}"#
    ))
}

fn is_valid(condition: &str) -> bool {
    ParsedRules::parse(&format!(r#"[{{"conditions": [{condition}]}}]"#), RuleKind::Flag).is_ok()
}

fn has_valid_values(operator: &str, values: &str) -> bool {
    is_valid(&format!(r#"{{"attribute": "a", "operator": "{operator}", "values": {values}}}"#))
}

const CONDITION: &str = r#"{"attribute": "a", "operator": "in", "values": [1]}"#;

#[test]
fn text_that_is_no_list_of_rules_is_an_error() {
    assert_eq!(error("{}"), "the rules must be a list, not an object");
    assert_eq!(error("null"), "the rules must be a list, not null");
    assert_eq!(error("true"), "the rules must be a list, not a bool");
    assert_eq!(error(r#""[]""#), "the rules must be a list, not a text");
    assert_eq!(error("12"), "the rules must be a list, not a number");
    assert_eq!(error("[[]]"), "rule 1: a rule must be an object, not a list");
    assert_eq!(segment_error("7"), "the conditions must be a list, not a number");
}

#[test]
fn invalid_json_is_an_error_with_its_position() {
    let expected = "this is not valid JSON: EOF while parsing a list at line 1 column 1";
    assert_eq!(error("["), expected);
    assert!(error("[NaN]").starts_with("this is not valid JSON: expected value at line 1"));
    assert!(error("").starts_with("this is not valid JSON: EOF"));
    assert!(error("[] []").starts_with("this is not valid JSON: trailing characters"));
    assert!(error("[1e]").starts_with("this is not valid JSON: invalid number"));
}

#[test]
fn lone_surrogate_is_an_error() {
    let expected = "a text has an escape that is not a Unicode character; remove it";
    assert_eq!(values_error("in", r#"["a", "\ud800"]"#), format!("value 2: {expected}"));
    assert_eq!(error(r#"[{"\udfff": 1}]"#), format!("rule 1: {expected}"));
}

#[test]
fn text_with_a_nul_character_is_an_error() {
    let expected = "a text has the character U+0000, which PostgreSQL cannot store; remove it";
    assert_eq!(values_error("in", r#"["a", "b\u0000"]"#), format!("value 2: {expected}"));
    assert_eq!(error(r#"[{"name": "\u0000"}]"#), format!("rule 1: {expected}"));
    assert!(has_valid_values("in", r#"["\\u0000"]"#));
}

#[test]
fn deep_json_is_an_error_and_no_stack_overflow() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(error(&deep), "rule 1: a rule must be an object, not a list");
    let value = values_error("in", &deep);
    assert_eq!(value, "value 1: the value must be a bool, a number or a text, not a list");
}

#[test]
fn text_over_256_kib_is_an_error() {
    let longest = format!("[]{}", " ".repeat(256 * 1024 - 2));
    assert!(ParsedRules::parse(&longest, RuleKind::Flag).is_ok());
    let expected = "the JSON text has more than 256 KiB; use fewer rules, and groups or attributes \
                    instead of long lists of values";
    assert_eq!(error(&format!("{longest} ")), expected);
}

#[test]
fn unknown_member_is_an_error() {
    let known = r#"use "name", "conditions", "rollout_percent""#;
    let expected = format!(r#"rule 1: the member "percent" is not known to this version; {known}"#);
    assert_eq!(error(r#"[{"percent": 5}]"#), expected);
    let known =
        r#"use "attribute", "operator", "values", "negate", "segment", "bucket", "flag", "is""#;
    let expected = format!(r#"the member "op" is not known to this version; {known}"#);
    assert_eq!(condition_error(r#"{"op": "in"}"#), expected);
}

#[test]
fn long_unknown_name_is_shortened() {
    let name = "é".repeat(101);
    let shown = format!(r#"the member "{}"… is not known"#, "é".repeat(100));
    assert!(condition_error(&json!({ name: 1 }).to_string()).starts_with(&shown));
    let name = "é".repeat(100);
    let shown = format!(r#"the member "{name}" is not known"#);
    assert!(condition_error(&json!({ name: 1 }).to_string()).starts_with(&shown));
}

#[test]
fn member_that_is_there_twice_is_an_error() {
    let twice = format!(r#"[{{"conditions": [{CONDITION}], "conditions": []}}]"#);
    assert_eq!(error(&twice), r#"rule 1: the member "conditions" is given twice; remove one"#);
    let twice = r#"{"segment": "a", "segment": "a"}"#;
    assert_eq!(condition_error(twice), r#"the member "segment" is given twice; remove one"#);
}

#[test]
fn missing_member_is_an_error() {
    let missing = |name| format!(r#"the member "{name}" is missing; add it"#);
    assert_eq!(error("[{}]"), format!("rule 1: {}", missing("conditions")));
    assert_eq!(condition_error("{}"), missing("attribute"));
    assert_eq!(condition_error(r#"{"attribute": "a"}"#), missing("operator"));
    let condition = r#"{"attribute": "a", "operator": "in"}"#;
    assert_eq!(condition_error(condition), missing("values"));
}

#[test]
fn error_names_the_rule_and_the_condition() {
    let rules = format!(
        r#"[{{"conditions": [{CONDITION}]}}, {{"name": "beta \"x\"", "conditions": [{CONDITION}, {{}}]}}]"#
    );
    let expected =
        r#"rule 2 ("beta \"x\""), condition 2: the member "attribute" is missing; add it"#;
    assert_eq!(error(&rules), expected);
    let conditions = format!("[{CONDITION}, 1]");
    assert_eq!(
        segment_error(&conditions),
        "condition 2: a condition must be an object, not a number"
    );
}

#[test]
fn name_of_a_rule_has_1_to_100_characters() {
    let named = |name: &str| {
        let name = json!(name);
        ParsedRules::parse(
            &format!(r#"[{{"name": {name}, "conditions": [{CONDITION}]}}]"#),
            RuleKind::Flag,
        )
    };
    assert!(named(&"é".repeat(100)).is_ok() && named("x").is_ok());
    for name in [String::new(), "é".repeat(101)] {
        let message = named(&name).expect_err("no name").to_string();
        assert_eq!(message, r#"rule 1: "name" must have 1 to 100 characters"#);
    }
    assert_eq!(error(r#"[{"name": 1}]"#), r#"rule 1: "name" must be a text, not a number"#);
}

#[test]
fn rollout_of_a_rule_is_a_whole_number_from_0_to_100() {
    let of = |percent: &str| {
        let rules = format!(r#"[{{"conditions": [{CONDITION}], "rollout_percent": {percent}}}]"#);
        ParsedRules::parse(&rules, RuleKind::Flag)
    };
    assert!(["0", "1", "100"].into_iter().all(|percent| of(percent).is_ok()));
    for percent in ["-1", "101", "256", "50.0", "5e1", "\"50\"", "true", "null", "1e400"] {
        let expected = r#"rule 1: "rollout_percent" must be a whole number from 0 to 100"#;
        assert_eq!(of(percent).expect_err(percent).to_string(), expected);
    }
}

#[test]
fn rule_without_conditions_is_an_error() {
    let expected = "there are no conditions, which would include everyone; add at least one";
    assert_eq!(error(r#"[{"conditions": []}]"#), format!("rule 1: {expected}"));
    assert_eq!(segment_error("[]"), expected);
}

#[test]
fn numbers_of_rules_and_conditions_are_bounded() {
    let conditions = |count: usize| format!("[{}]", vec![CONDITION; count].join(","));
    let rules = |count: usize| {
        let rule = format!(r#"{{"conditions": [{CONDITION}]}}"#);
        format!("[{}]", vec![rule; count].join(","))
    };
    assert!(ParsedRules::parse(&rules(100), RuleKind::Flag).is_ok());
    let too_many = "101 rules are too many; use at most 100, and join rules that differ only in their \
                    values";
    assert_eq!(error(&rules(101)), too_many);
    assert!(SegmentConditions::parse(&conditions(100)).is_ok());
    let advice = "use at most 100, and put the others into a segment of their own";
    let too_many = format!("101 conditions are too many; {advice}");
    assert_eq!(segment_error(&conditions(101)), too_many);
    let many = format!(r#"[{{"conditions": [{}]}}]"#, vec!["1"; 10_000].join(","));
    assert_eq!(error(&many), format!("rule 1: 10,000 conditions are too many; {advice}"));
}

#[test]
fn number_of_values_is_bounded() {
    let values = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(has_valid_values("in", &values(1_000)));
    assert_eq!(values_error("in", "[]"), "there are no values; add at least one");
    let expected = "1,001 values are too many; use at most 1,000, or test a group or a column that \
                    ATTRIBUTES names, or use allowed users";
    assert_eq!(values_error("in", &values(1_001)), expected);
}

#[test]
fn attribute_of_a_condition_has_1_to_100_characters() {
    let of = |name: String| json!({"attribute": name, "operator": "in", "values": [1]}).to_string();
    assert!(is_valid(&of("é".repeat(100))) && is_valid(&of("groups".to_owned())));
    for name in [String::new(), "é".repeat(101)] {
        let expected = r#""attribute" must have 1 to 100 characters"#;
        assert_eq!(condition_error(&of(name)), expected);
    }
    let expected = r#""attribute" must be a text, not null"#;
    assert_eq!(condition_error(r#"{"attribute": null}"#), expected);
}

#[test]
fn unknown_operator_is_an_error_that_lists_the_known_ones() {
    let known = r#""in", "contains", "startswith", "endswith", "regex", "lt", "lte", "gt", "gte", "version_eq", "version_lt", "version_lte", "version_gt", "version_gte", "isnull""#;
    let expected = format!(r#"the operator "matches" is not known to this version; use {known}"#);
    assert_eq!(values_error("matches", "[1]"), expected);
    let condition = r#"{"attribute": "a", "operator": ["in"], "values": [1]}"#;
    assert_eq!(condition_error(condition), r#""operator" must be a text, not a list"#);
}

#[test]
fn negate_is_a_bool() {
    let expected = r#""negate" must be true or false, not a number"#;
    assert_eq!(condition_error(r#"{"segment": "a", "negate": 1}"#), expected);
    let condition = r#"{"attribute": "a", "operator": "in", "values": [1], "negate": 1}"#;
    assert_eq!(condition_error(condition), expected);
}

#[test]
fn values_have_the_types_of_their_operator() {
    let scalars = "the value must be a bool, a number or a text, not";
    assert_eq!(values_error("in", "[1, null]"), format!("value 2: {scalars} null"));
    assert_eq!(values_error("in", "[{}]"), format!("value 1: {scalars} an object"));
    assert_eq!(values_error("in", "1"), r#""values" must be a list, not a number"#);
    for operator in ["contains", "startswith", "endswith", "regex", "version_lt", "version_gte"] {
        let expected = "value 1: the value must be a text, not a number";
        assert_eq!(values_error(operator, "[1]"), expected);
    }
    for operator in ["lt", "lte", "gt", "gte"] {
        let expected = "value 2: the value must be a number or a text, not a bool";
        assert_eq!(values_error(operator, "[1, true]"), expected);
    }
}

#[test]
fn isnull_has_exactly_one_bool() {
    let expected = r#"the operator "isnull" has one value, true or false"#;
    assert_eq!(values_error("isnull", "[true, false]"), expected);
    let expected = "the value must be true or false, not a number";
    assert_eq!(values_error("isnull", "[0]"), expected);
}

#[test]
fn versions_are_valid() {
    let expected = r#"value 1: the text is not a version; write it like "1.2.3" or "2.0.0-beta.1""#;
    for version in ["vv1.2", "v", "x1", "", "1.2.3.4", "01", "1.0.0-"] {
        for operator in ["version_eq", "version_lt", "version_gte"] {
            assert_eq!(values_error(operator, &json!([version]).to_string()), expected);
        }
    }
    assert!(has_valid_values(
        "version_lt",
        r#"["1", "v1.2", "V1.2", "18446744073709551616.0.0-a.1+b"]"#
    ));
}

#[test]
fn texts_have_at_most_1000_characters() {
    let (longest, too_long) = (json!(["é".repeat(1_000)]), json!(["é".repeat(1_001)]));
    for operator in ["in", "contains", "startswith", "endswith", "lt", "lte", "gt", "gte"] {
        assert!(has_valid_values(operator, &longest.to_string()));
        let expected = "value 1: the text has more than 1,000 characters; shorten it, or test a part \
                        of it with \"contains\"";
        assert_eq!(values_error(operator, &too_long.to_string()), expected);
    }
}

#[test]
fn huge_number_is_an_error() {
    let digits = |count| format!("[{}]", "9".repeat(count));
    for operator in ["in", "lt"] {
        assert!(has_valid_values(operator, &digits(1_000)));
        let expected = "value 1: the number has more than 1,000 digits; shorten it";
        assert_eq!(values_error(operator, &digits(1_001)), expected);
        let expected =
            "value 1: the exponent of the number is out of range; write a smaller number";
        for number in ["[1e131073]", "[-1e-131074]", "[1e99999999999999999999]"] {
            assert_eq!(values_error(operator, number), expected);
        }
        assert!(has_valid_values(operator, "[1e131071, 0e999999, 1e-131000]"));
    }
}

#[test]
fn segment_is_named_alone() {
    for name in ["attribute", "operator", "values"] {
        let condition = format!(r#"{{"segment": "a", "{name}": 1}}"#);
        let expected =
            format!(r#"a condition has either "segment" or "{name}"; remove one of them"#);
        assert_eq!(condition_error(&condition), expected);
    }
    let expected = r#""segment" must have 1 to 255 characters"#;
    assert_eq!(condition_error(r#"{"segment": ""}"#), expected);
    assert_eq!(condition_error(&json!({"segment": "é".repeat(256)}).to_string()), expected);
    assert!(is_valid(&json!({"segment": "é".repeat(255), "negate": true}).to_string()));
}

#[test]
fn segment_that_names_a_segment_is_an_error() {
    let expected = "a segment cannot name a segment; add the conditions of that segment here";
    assert_eq!(segment_error(r#"[{"segment": "a"}]"#), format!("condition 1: {expected}"));
}

mod buckets {
    use super::*;

    fn bound_is_valid(bound: &str) -> bool {
        let condition = format!(r#"{{"bucket": "a", "operator": "lt", "values": {bound}}}"#);
        let expected = "a condition on a bucket has one value, a number from 0 to 100 with at most \
                        two decimals, such as 0.25";
        is_valid(&condition) || condition_error(&condition) != expected
    }

    #[test]
    fn bound_is_a_percentage_with_at_most_two_decimals() {
        for bound in ["0", "100", "5.0", "0.25", "12.340", "100.00"] {
            assert!(bound_is_valid(&format!("[{bound}]")), "{bound}");
        }
        for bound in ["-1", "0.125", "100.01", "101", "1e1", "655360", r#""5""#, "true", "1, 2"] {
            assert!(!bound_is_valid(&format!("[{bound}]")), "{bound}");
        }
        assert!(!bound_is_valid("[]"));
    }

    #[test]
    fn bucket_has_a_name_that_is_no_seed_of_an_experiment() {
        let of = |name: &str| json!({"bucket": name, "operator": "lt", "values": [5]}).to_string();
        assert!(is_valid(&of(&"é".repeat(255))));
        let expected = r#""bucket" must have 1 to 255 characters"#;
        assert_eq!(condition_error(&of("")), expected);
        let expected = "the name of a bucket must not begin with \"experiment:\", as those of the \
                        buckets of experiments do; use another name";
        assert_eq!(condition_error(&of("experiment:checkout:0")), expected);
    }

    #[test]
    fn bucket_is_compared_by_lt_or_gte() {
        let expected = r#"a condition on a bucket has the operator "lt" or "gte", not "lte""#;
        let condition = r#"{"bucket": "a", "operator": "lte", "values": [5]}"#;
        assert_eq!(condition_error(condition), expected);
        let expected = r#"the member "values" is missing; add it"#;
        assert_eq!(condition_error(r#"{"bucket": "a", "operator": "lt"}"#), expected);
    }
}

#[test]
fn condition_on_a_flag_has_a_key_and_a_bool() {
    assert!(is_valid(r#"{"flag": "new_checkout", "is": false}"#));
    let expected = r#"the member "is" is missing; add it"#;
    assert_eq!(condition_error(r#"{"flag": "a"}"#), expected);
    let expected = r#""is" must be true or false, not a text"#;
    assert_eq!(condition_error(r#"{"flag": "a", "is": "true"}"#), expected);
    assert_eq!(
        condition_error(r#"{"flag": "", "is": true}"#),
        r#""flag" must have 1 to 255 characters"#
    );
}

#[test]
fn condition_is_of_one_kind() {
    let two = [
        ("bucket", "attribute", r#"{"bucket": "a", "attribute": "b"}"#),
        ("bucket", "is", r#"{"bucket": "a", "is": true}"#),
        ("flag", "negate", r#"{"flag": "a", "is": true, "negate": true}"#),
        ("segment", "bucket", r#"{"segment": "a", "bucket": "b"}"#),
        ("flag", "operator", r#"{"flag": "a", "operator": "in"}"#),
    ];
    for (kind, other, condition) in two {
        let expected =
            format!(r#"a condition has either "{kind}" or "{other}"; remove one of them"#);
        assert_eq!(condition_error(condition), expected);
    }
}

#[test]
fn segment_has_conditions_of_all_kinds_but_its_own() {
    let text = r#"[{"bucket": "a", "operator": "gte", "values": [5]}, {"flag": "b", "is": true}]"#;
    assert!(SegmentConditions::parse(text).is_ok());
}

mod patterns {
    use super::*;

    #[test]
    fn invalid_pattern_is_an_error_without_the_pattern() {
        let expected = "value 2: the pattern is not valid: unclosed group";
        assert_eq!(values_error("regex", r#"["a", "secret("]"#), expected);
        let expected = "value 1: the pattern is not valid: look-around, including look-ahead and look-behind, is not supported";
        assert_eq!(values_error("regex", r#"["(?=a)"]"#), expected);
    }

    #[test]
    fn pattern_has_at_most_500_characters() {
        assert!(has_valid_values("regex", &json!(["é".repeat(500)]).to_string()));
        let expected = "value 1: the pattern has more than 500 characters; write its alternatives as \
                        several values";
        assert_eq!(values_error("regex", &json!(["é".repeat(501)]).to_string()), expected);
    }

    #[test]
    fn regex_bomb_is_an_error() {
        let expected = r"value 1: the pattern is too big; use smaller repetitions and fewer classes such as \w";
        for bomb in ["(?:a{1000}){1000}", r"\w{100}", "((((a{99}){99}){99}){99}){99}"] {
            assert_eq!(values_error("regex", &json!([bomb]).to_string()), expected);
        }
    }

    #[test]
    fn pattern_for_mail_addresses_is_small_enough() {
        assert!(has_valid_values("regex", r#"["(?i)^[\\w.+-]+@[\\w-]+\\.[\\w.-]+$"]"#));
    }

    #[test]
    fn number_of_patterns_is_bounded_in_all_rules_together() {
        let condition = |count: usize| json!({"attribute": "a", "operator": "regex", "values": vec!["a"; count]});
        let rules = |last: usize| {
            json!([{"conditions": [condition(60)]}, {"conditions": [condition(last)]}]).to_string()
        };
        assert!(ParsedRules::parse(&rules(40), RuleKind::Flag).is_ok());
        let expected =
            "rule 2, condition 1, value 41: more than 100 patterns in all; join some with |";
        assert_eq!(error(&rules(41)), expected);
    }

    #[test]
    fn pattern_that_backtracks_elsewhere_is_linear() {
        use crate::attributes::Given;
        let conditions =
            r#"[{"conditions": [{"attribute": "a", "operator": "regex", "values": ["^(a+)+$"]}]}]"#;
        let rules = flagstaff::rules::Rules::new(
            ParsedRules::parse(conditions, RuleKind::Flag).expect("rules").into(),
            |_| None,
        );
        let text = "a".repeat(100_000) + "b";
        let given = Given::new([("a".to_owned(), json!(text))].into_iter().collect());
        assert_eq!(rules.decide(&given), None);
    }
}
