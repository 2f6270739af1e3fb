//! The last good version of a text: which texts are parsed again, and what a bad text leaves.

use std::sync::Arc;

use flagstaff::last_good::{LastGood, Parsed};
use flagstaff::row::Fault;
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

#[test]
fn size_is_that_of_the_text_of_the_row_and_unknown_if_it_cannot_be_read() {
    let parse: Parse<SegmentConditions> = SegmentConditions::parse;
    let text = r#"[{"attribute": "plan", "operator": "in", "values": ["größe"]}]"#;
    let next = |before, text: &str| LastGood::next(before, Ok(text.into()), parse);
    let first = next(None, text);
    // In bytes.
    assert_eq!(first.size(), Some(text.chars().count() + 2));
    let longer = next(Some(&first), &format!("{text} "));
    assert_eq!(longer.size(), Some(text.len() + 1));
    let bad = next(Some(&longer), BAD);
    let undecodable = LastGood::next(Some(&longer), Err(Fault::Null), parse);
    for unreadable in [&bad, &undecodable, &next(None, BAD)] {
        assert_eq!(unreadable.size(), None);
    }
    assert_eq!(next(Some(&bad), text).size(), Some(text.len()));
    assert_eq!(next(Some(&bad), &format!("{text} ")).size(), Some(text.len() + 1));
}

#[test]
fn size_of_the_rules_of_a_row_is_that_of_their_text() {
    let rules = |text: Result<&str, Fault>| {
        RowRules::next(Some(&RowRules::none()), text.map(Into::into), RuleKind::Flag, |_| None)
    };
    let text = r#"[{"conditions": [{"segment": "beta"}]}]"#;
    assert_eq!(rules(Ok(text)).expect("rules").size(), Some(text.len()));
    assert_eq!(rules(Ok(BAD)).expect("rules").size(), None);
    assert_eq!(rules(Err(Fault::TooLarge)).expect("rules").size(), None);
    assert_eq!(rules(Ok("[]")), None);
}
