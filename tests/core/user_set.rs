//! Whether a subject is an allowed user: the same key matches in any type.

use flagstaff::subject::{Subject, canonical_integer};
use flagstaff::user_set::UserSet;
use proptest::prelude::*;

#[test]
fn empty_set_contains_no_subject() {
    let sets =
        [UserSet::default(), UserSet::of_integers([]), UserSet::of_texts(Vec::<String>::new())];
    for users in sets {
        assert!(users.is_empty());
        for subject in [Subject::Anonymous, Subject::Integer(0), Subject::Text("")] {
            assert!(!users.contains(&subject), "{subject:?}");
        }
    }
}

#[test]
fn integers_of_every_width_and_sign_are_distinct() {
    let allowed = [i64::MIN, -1, 0, 1 << 40, i64::MAX];
    let users = UserSet::of_integers(allowed);
    for key in allowed {
        assert!(users.contains(&Subject::Integer(key)), "{key}");
        assert!(users.contains(&Subject::Text(&key.to_string())), "text {key}");
    }
    for key in [i64::MIN + 1, 1, -(1 << 40), (1 << 40) - (1 << 32), i64::from(u32::MAX)] {
        assert!(!users.contains(&Subject::Integer(key)), "{key}");
    }
}

#[test]
fn list_and_bitmap_contain_the_same_keys() {
    for count in [1, 63, 64, 65, 66, 1000] {
        let keys = || (0..count).map(|n| (n - 20) * 1_000_003);
        // The order and the repetition of rows do not matter.
        let users = UserSet::of_integers(keys().rev().chain(keys()));
        let contains = |key| users.contains(&Subject::Integer(key));
        assert!(keys().all(contains), "{count}");
        assert!(!keys().any(|key| contains(key - 1) || contains(key + 1)), "{count}");
        assert_eq!(users, UserSet::of_integers(keys()), "{count}");
    }
}

#[test]
fn up_to_64_integer_keys_are_a_list_and_more_a_bitmap() {
    let kept = |count| UserSet::of_integers(0..count);
    assert!(matches!(kept(1), UserSet::Few(_)));
    assert!(matches!(kept(64), UserSet::Few(_)));
    assert!(matches!(kept(65), UserSet::Integers(_)));
}

#[test]
fn integer_text_not_canonical_is_rejected() {
    for text in ["042", "+42", " 42", "42 ", "-0", "", "-", "4_2", "42.0", "٤٢", "９"] {
        assert_eq!(canonical_integer(text), None, "{text:?}");
    }
}

#[test]
fn text_beyond_64_bits_is_not_in_integer_set() {
    let users = UserSet::of_integers([0, i64::MAX, i64::MIN]);
    for text in ["9223372036854775808", "-9223372036854775809", "18446744073709551616"] {
        assert!(!users.contains(&Subject::Text(text)), "{text}");
    }
}

#[test]
fn integer_subject_is_found_by_its_text_in_text_set() {
    let users = UserSet::of_texts(["42", "-7", "007"]);
    let named = [42, -7, 7].map(|key| users.contains(&Subject::Integer(key)));
    assert_eq!(named, [true, true, false]);
}

#[test]
fn anonymous_subject_is_never_contained() {
    assert!(!UserSet::of_texts(["", "None"]).contains(&Subject::Anonymous));
    assert!(!UserSet::of_integers([0]).contains(&Subject::Anonymous));
}

proptest! {
    #[test]
    fn integer_set_contains_exactly_its_keys(
        keys in proptest::collection::btree_set(any::<i64>(), 0..40),
        near in -2..=2_i64,
    ) {
        let users = UserSet::of_integers(keys.iter().copied());
        for key in keys.iter().map(|key| key.wrapping_add(near)) {
            prop_assert_eq!(users.contains(&Subject::Integer(key)), keys.contains(&key));
        }
    }

    #[test]
    fn text_set_contains_exactly_its_keys(
        keys in proptest::collection::btree_set("\\PC{0,9}", 0..9),
        other in "\\PC{0,2}",
    ) {
        let users = UserSet::of_texts(keys.iter().cloned());
        prop_assert!(keys.iter().all(|key| users.contains(&Subject::Text(key))));
        prop_assert_eq!(users.contains(&Subject::Text(&other)), keys.contains(&other));
    }

    #[test]
    fn integer_is_parsed_from_its_canonical_text_only(key: i64) {
        let text = key.to_string();
        prop_assert_eq!(canonical_integer(&text), Some(key));
        let (sign, digits) = text.split_at(usize::from(key < 0));
        for other in [format!("{sign}0{digits}"), format!("+{digits}"), format!("{text}.0")] {
            prop_assert_eq!(canonical_integer(&other), None, "{}", other);
        }
    }
}
