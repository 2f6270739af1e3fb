//! The last good version of a text: which texts are parsed again, and what a bad text leaves.

use std::sync::Arc;

use flagstaff::last_good::{LastGood, Parsed};
use flagstaff::row_rules::RowRules;
use flagstaff::rules::{ParsedRules, RuleError, RuleKind, SegmentConditions};

const BAD: &str = "[1]";

type Parse<T> = fn(&str) -> Result<T, RuleError>;

fn is_same<T: Parsed>(one: &LastGood<T>, other: &LastGood<T>) -> bool {
    Arc::ptr_eq(one.good().expect("a version"), other.good().expect("a version"))
}

fn assert_known_texts_are_not_parsed_again<T: Parsed>(
    parse: Parse<T>,
    text: &str,
    other_text: &str,
) {
    let next =
        |before: Option<&LastGood<T>>, text: &str| LastGood::next(before, Ok(text.into()), parse);
    let first = next(None, text);
    let bad = next(Some(&first), BAD);
    let other = next(Some(&bad), other_text);
    assert!(is_same(&first, &bad) && bad.unreadable().is_some());
    assert!(!is_same(&first, &other) && other.unreadable().is_none());
    assert_eq!(other.good().map(|good| good.text()), Some(other_text));
    for before in [&first, &bad] {
        let again = next(Some(before), text);
        assert!(is_same(&first, &again) && again.unreadable().is_none());
    }
    for (known, by_first, by_bad) in
        [(text, true, true), (BAD, false, true), (other_text, false, false)]
    {
        assert_eq!((first.knows(known), bad.knows(known)), (by_first, by_bad), "{known}");
    }
}

#[test]
fn known_rules_and_conditions_are_not_parsed_again() {
    let condition =
        |value| format!(r#"{{"attribute": "plan", "operator": "in", "values": ["{value}"]}}"#);
    let rules = |value| format!(r#"[{{"conditions": [{}]}}]"#, condition(value));
    let conditions = |value| format!("[{}]", condition(value));
    let of_flag =
        RowRules::next(None, Ok(rules("pro").into()), RuleKind::Flag, |_| None).expect("rules");
    assert!(of_flag.knows(&rules("pro")) && !of_flag.knows(&rules("team")));
    let parse_rules: Parse<ParsedRules> = |text| ParsedRules::parse(text, RuleKind::Flag);
    assert_known_texts_are_not_parsed_again(parse_rules, &rules("pro"), &rules("team"));
    assert_known_texts_are_not_parsed_again(
        SegmentConditions::parse as Parse<SegmentConditions>,
        &conditions("pro"),
        &conditions("team"),
    );
}
