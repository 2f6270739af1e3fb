//! Text is decoded to a scalar only if Python decodes it to the same one.

use flagstaff::stored_value::{StoredValue, Undecodable, undecodable};
use proptest::prelude::*;
use serde_json::Value;

fn expected(text: &str) -> StoredValue {
    match serde_json::from_str(text) {
        Ok(Value::Null) => StoredValue::Null,
        Ok(Value::Bool(value)) => StoredValue::Bool(value),
        Ok(Value::Number(number)) if number.is_i64() => {
            StoredValue::Integer(number.as_i64().expect("it is one"))
        }
        Ok(Value::String(value)) => StoredValue::Text(value.into()),
        _ => StoredValue::Json(text.into()),
    }
}

#[test]
fn plain_scalar_is_decoded() {
    let made = [
        ("null", StoredValue::Null),
        ("true", StoredValue::Bool(true)),
        ("false", StoredValue::Bool(false)),
        ("0", StoredValue::Integer(0)),
        ("-7", StoredValue::Integer(-7)),
        ("9223372036854775807", StoredValue::Integer(i64::MAX)),
        ("-9223372036854775808", StoredValue::Integer(i64::MIN)),
        ("\"\"", StoredValue::Text("".into())),
        ("\"1\"", StoredValue::Text("1".into())),
        ("\"null\"", StoredValue::Text("null".into())),
        (r#""\u0001\n\"\\\/""#, StoredValue::Text("\u{1}\n\"\\/".into())),
        (r#""\ud83e\udd80""#, StoredValue::Text("🦀".into())),
    ];
    for (text, value) in made {
        assert_eq!(StoredValue::from_json(text), value, "{text}");
    }
}

#[test]
fn other_json_stays_text() {
    let texts = [
        "1.0",
        "-0.0",
        "-0",
        "1e3",
        "1E400",
        "0.1",
        "9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "[]",
        "{}",
        "[null]",
        "{\"a\": 1}",
        "[1, 2.0, \"x\"]",
        "NaN",
        "Infinity",
        "-Infinity",
        "",
        " ",
        "nul",
        r#""\ud83e""#,
        "\"open",
        "tru",
        "1 2",
        "\"\u{1}\"",
    ];
    for text in texts {
        assert_eq!(StoredValue::from_json(text), StoredValue::Json(text.into()), "{text}");
    }
}

#[test]
fn white_space_around_a_scalar_is_ignored() {
    for text in ["true", "42", "\"stripe\""] {
        assert_eq!(StoredValue::from_json(&format!(" \n{text}\t")), StoredValue::from_json(text));
    }
    // Python decodes this one, to None as well.
    assert_eq!(StoredValue::from_json(" null"), StoredValue::Json(" null".into()));
}

#[test]
fn integer_beyond_4300_digits_is_undecodable() {
    for (count, expected) in [(4_300, None), (4_301, Some(Undecodable::TooManyDigits))] {
        let digits = "1".repeat(count);
        let nested = format!("{{\"a\": [1.5, {digits}]}}");
        for text in [digits.clone(), format!("-{digits}"), format!("[{digits},{digits}]"), nested] {
            assert_eq!(undecodable(&text), expected);
        }
    }
}

#[test]
fn every_character_beside_a_number_ends_it() {
    let (half, long) = ("1".repeat(2_200), "1".repeat(4_301));
    for between in [",", " ", "\n", "]", "}", ":", "\"\""] {
        assert_eq!(undecodable(&format!("{half}{between}{half}")), None, "{between:?}");
        let text = format!("1.5{between}{long}{between}1.5");
        assert_eq!(undecodable(&text), Some(Undecodable::TooManyDigits), "{between:?}");
    }
}

#[test]
fn every_digit_counts() {
    let digits = "1234567890".repeat(430);
    assert_eq!(undecodable(&digits), None);
    for digit in 0..=9 {
        let text = format!("{digits}{digit}");
        assert_eq!(undecodable(&text), Some(Undecodable::TooManyDigits), "{digit}");
    }
}

#[test]
fn signs_do_not_end_a_number() {
    let half = "1".repeat(2_200);
    for sign in ["-", "+"] {
        let text = format!("{half}{sign}{half}");
        assert_eq!(undecodable(&text), Some(Undecodable::TooManyDigits), "{sign}");
    }
}

#[test]
fn digits_of_fractions_and_strings_do_not_count() {
    let digits = "1".repeat(4_301);
    for text in [format!("0.{digits}"), format!(r#""{digits}""#)] {
        assert_eq!(undecodable(&text), None);
    }
    assert_eq!(undecodable(&format!(r#"["\"{digits}", "\\"]"#)), None);
    for mark in [".5", "e5", "E5", "e+5", "E-5", ".5e5"] {
        assert_eq!(undecodable(&format!("{digits}{mark}")), None, "{mark}");
        assert_eq!(undecodable(&format!("[{digits}{mark},1]")), None, "{mark}");
    }
}

#[test]
fn escaped_quote_does_not_end_a_string() {
    let (deep, digits) = ("[".repeat(501), "1".repeat(4_301));
    for content in [deep, digits] {
        for start in [r#"\""#, r"\\\u0041", r#"\\\""#, r#"a\"b\\"#] {
            assert_eq!(undecodable(&format!("\"{start}{content}\"")), None, "{start}");
        }
        for closed in [r#""\\""#, r#""\"""#, r#""a""#] {
            assert!(undecodable(&format!("[{closed},{content}")).is_some(), "{closed}");
        }
    }
}

#[test]
fn closing_bracket_ends_one_level_if_one_is_open() {
    assert_eq!(undecodable(&format!("]}}{}", "[".repeat(500))), None);
    assert_eq!(undecodable(&format!("]}}{}", "{".repeat(501))), Some(Undecodable::TooDeep));
    for closed in ["[]", "{}"] {
        let text = |depth| format!("{}{closed},{}", "[".repeat(300), "[".repeat(depth));
        assert_eq!(undecodable(&text(200)), None, "{closed}");
        assert_eq!(undecodable(&text(201)), Some(Undecodable::TooDeep), "{closed}");
    }
}

#[test]
fn limits_are_named_in_the_messages() {
    let digits = "has a number of more than 4,300 digits";
    assert_eq!(Undecodable::TooManyDigits.to_string(), digits);
    assert_eq!(Undecodable::TooDeep.to_string(), "is nested deeper than 500 levels");
}

#[test]
fn deep_nesting_is_undecodable() {
    let lists = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mixed = |depth| format!("{}{}", "[{".repeat(depth / 2), "[".repeat(depth % 2));
    for (depth, expected) in [(500, None), (501, Some(Undecodable::TooDeep))] {
        assert_eq!((undecodable(&lists(depth)), undecodable(&mixed(depth))), (expected, expected));
    }
    assert_eq!(undecodable(&"{\"a\":".repeat(501)), Some(Undecodable::TooDeep));
    for empty in ["[],", "{},"] {
        assert_eq!(undecodable(&format!("[{}]", empty.repeat(501))), None);
    }
    assert_eq!(undecodable(&format!("\"{}\"", "[".repeat(500))), None);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_json_equals_what_serde_reads(value in json()) {
        let text = value.to_string();
        prop_assert_eq!(StoredValue::from_json(&text), expected(&text));
    }

    #[test]
    fn any_digits_are_an_integer_or_stay_text(text in "-?[1-9][0-9]{0,30}") {
        let expected = match text.parse() {
            Ok(number) => StoredValue::Integer(number),
            Err(_) => StoredValue::Json(text.clone().into()),
        };
        prop_assert_eq!(StoredValue::from_json(&text), expected);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text: String) {
        let _ = StoredValue::from_json(&text);
    }
}
