//! Whether a subject is an allowed user: the same key matches in any type.

use std::collections::BTreeSet;

use flagstaff::subject::{Subject, canonical_integer};
use flagstaff::user_set::{UserSet, Users};
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

fn integers(keys: impl IntoIterator<Item = i64>) -> Users {
    Users::Integers(keys.into_iter().collect())
}

fn texts(keys: &[&str]) -> Users {
    Users::Texts(keys.iter().map(|key| (*key).into()).collect())
}

#[test]
fn updated_integers_are_those_of_before_with_the_added_and_without_the_removed_ones() {
    for (before, added, removed, expected) in [
        (vec![], vec![2, 1], vec![], vec![1, 2]),
        (vec![1, 2], vec![-3], vec![2], vec![1, -3]),
        (vec![1, 2], vec![2], vec![7], vec![1, 2]),
        (vec![1, i64::MIN], vec![i64::MAX], vec![1, i64::MIN], vec![i64::MAX]),
        (vec![1], vec![], vec![1], vec![]),
        (vec![], vec![], vec![1], vec![]),
    ] {
        let updated = UserSet::of_integers(before).updated(integers(added), integers(removed));
        assert_eq!(updated, Some(UserSet::of_integers(expected)));
    }
}

#[test]
fn updated_integers_become_a_bitmap_and_a_list_again() {
    let list = UserSet::of_integers(0..64);
    let bitmap = list.updated(integers([64]), integers([])).expect("integers");
    assert!(matches!(&bitmap, UserSet::Integers(_)) && bitmap == UserSet::of_integers(0..65));
    let more = bitmap.updated(integers([65]), integers([0])).expect("integers");
    assert_eq!(more, UserSet::of_integers(1..66));
    assert_eq!(more.updated(integers([]), integers([1, 2])), Some(UserSet::of_integers(3..66)));
    assert_eq!(bitmap.updated(integers([]), integers(0..65)), Some(UserSet::Empty));
}

#[test]
fn updated_texts_are_those_of_before_with_the_added_and_without_the_removed_ones() {
    let before = UserSet::of_texts(["alice", "7"]);
    let updated = before.updated(texts(&["bob", "007"]), texts(&["7", "carol"]));
    assert_eq!(updated, Some(UserSet::of_texts(["alice", "bob", "007"])));
    assert_eq!(before.updated(texts(&[]), texts(&["7", "alice"])), Some(UserSet::Empty));
    let first = UserSet::Empty.updated(texts(&["alice"]), texts(&[]));
    assert_eq!(first, Some(UserSet::of_texts(["alice"])));
}

#[test]
fn keys_of_another_type_update_nothing() {
    let of_texts = UserSet::of_texts(["7"]);
    for of_integers in [UserSet::of_integers([7]), UserSet::of_integers(0..65)] {
        assert_eq!(of_integers.updated(texts(&["8"]), texts(&[])), None);
    }
    assert_eq!(of_texts.updated(integers([8]), integers([])), None);
    assert_eq!(of_texts.updated(texts(&["8"]), integers([7])), None);
    assert_eq!(UserSet::Empty.updated(integers([8]), texts(&["7"])), None);
}

proptest! {
    #[test]
    fn updated_set_is_the_set_of_the_keys_that_are_left(
        before in proptest::collection::btree_set(-50..100_i64, 0..100),
        added in proptest::collection::btree_set(-50..100_i64, 0..20),
        removed in proptest::collection::btree_set(-50..100_i64, 0..100),
    ) {
        let left: BTreeSet<_> = before.union(&added).filter(|key| !removed.contains(key)).collect();
        let text = |keys: &BTreeSet<i64>| Users::Texts(keys.iter().map(i64::to_string).collect());
        let by_integers = UserSet::of_integers(before.iter().copied());
        let by_texts = UserSet::of_texts(before.iter().map(i64::to_string));
        prop_assert_eq!(
            by_integers.updated(integers(added.iter().copied()), integers(removed.iter().copied())),
            Some(UserSet::of_integers(left.iter().map(|key| **key)))
        );
        prop_assert_eq!(
            by_texts.updated(text(&added), text(&removed)),
            Some(UserSet::of_texts(left.iter().map(ToString::to_string)))
        );
    }

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
