//! Properties of every flag and subject, beyond the cases.

use std::sync::Arc;

use flagstaff::evaluate::{Evaluation, Reason};
use flagstaff::flag::Flag;
use flagstaff::rules::NoAttributes;
use flagstaff::subject::Subject;
use flagstaff::targeting::Dependent;
use flagstaff::user_set::UserSet;
use proptest::prelude::*;

use crate::rows::detached as flag;

fn evaluate(key: &str, flag: &Flag, subject: &Subject<'_>) -> Evaluation {
    flagstaff::evaluate::evaluate(key, flag, subject, &NoAttributes)
}

#[test]
fn reasons_have_the_names_of_openfeature_and_one_of_our_own() {
    use Reason::{Default, Disabled, Error, Preview, Split, Static, TargetingMatch};
    let words = [Disabled, TargetingMatch, Static, Default, Split, Error].map(Reason::as_str);
    let expected = ["DISABLED", "TARGETING_MATCH", "STATIC", "DEFAULT", "SPLIT", "ERROR"];
    assert_eq!(words, expected);
    assert_eq!(Preview.as_str(), "PREVIEW");
}

#[test]
fn flag_without_allowed_users_uses_the_rollout() {
    let empty = Flag { allowed_users: Arc::new(UserSet::Empty), ..flag(true, 34, &[]) };
    let evaluation = evaluate("new_checkout", &empty, &Subject::Integer(42));
    assert_eq!((evaluation.value, evaluation.bucket), (true, Some(33)));
}

#[test]
fn flag_depends_on_the_key_of_the_user_for_its_bucket_or_its_allowed_users() {
    for (percent, allowed, depends) in
        [(0, &[][..], false), (50, &[], true), (100, &[], false), (0, &[1], true)]
    {
        assert_eq!(flag(true, percent, allowed).depends_on_key(), depends, "{percent} {allowed:?}");
    }
}

proptest! {
    #[test]
    fn user_in_a_rollout_stays_in_as_it_grows(key: String, user: i64) {
        let in_at = |percent| {
            evaluate(&key, &flag(true, percent, &[]), &Subject::Integer(user)).value
        };
        let first = (0..=100).find(|percent| in_at(*percent)).expect("all users are in at 100");
        prop_assert!(first > 0);
        prop_assert!((first..=120).all(in_at));
    }

    #[test]
    fn integer_and_its_text_get_the_same_result(
        percent in -10..110,
        allowed: Vec<i64>,
        user: i64,
    ) {
        let flag = flag(true, percent, &allowed);
        let (integer, text) = (Subject::Integer(user), user.to_string());
        prop_assert_eq!(
            evaluate("key", &flag, &integer),
            evaluate("key", &flag, &Subject::Text(&text))
        );
    }

    /// Callers rely on this to skip reading the user.
    #[test]
    fn flag_independent_of_the_subject_returns_the_anonymous_result(
        enabled: bool,
        percent in prop_oneof![-5..=1, 95..=105, Just(50)],
        allowed in proptest::collection::vec(0..5_i64, 0..3),
        user in 0..5_i64,
    ) {
        let flag = flag(enabled, percent, &allowed);
        let anonymous = evaluate("key", &flag, &Subject::Anonymous).value;
        let user = evaluate("key", &flag, &Subject::Integer(user)).value;
        prop_assert!(flag.depends_on_subject() || user == anonymous);
    }

    #[test]
    fn flag_depends_on_the_subject_only_if_two_results_differ(
        enabled: bool,
        percent in -5..105,
        allowed in proptest::collection::vec(0..5_i64, 0..3),
    ) {
        let flag = flag(enabled, percent, &allowed);
        let value = |user| evaluate("key", &flag, &Subject::Integer(user)).value;
        let differs = (0..2_000).any(|user| value(user) != value(2_000));
        prop_assert_eq!(flag.depends_on_subject(), differs);
    }
}
