//! What tests and the environment set over the database, and which of them wins.

use std::sync::Arc;

use flagstaff::boot_time::since_boot;
use flagstaff::evaluate::{Evaluation, Reason};
use flagstaff::live::{EvaluationMode, Live};
use flagstaff::overrides::{FlagOverride, Overrides, VariantOverride};
use flagstaff::snapshot::Snapshot;
use flagstaff::stored_value::StoredValue;
use flagstaff::subject::Subject;

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn forced_off(names: &[&str]) -> Overrides {
    Overrides::default().with_forced_off(keys(names))
}

fn set_by_test(flags: &[(&str, bool)]) -> Overrides {
    Overrides::new(flags.iter().map(|(key, value)| ((*key).to_owned(), *value)), [], [])
}

fn sorted(overrides: &Overrides) -> Vec<(&str, bool)> {
    let set = overrides.flags();
    let mut flags: Vec<_> = set.map(|(key, found)| (key, found.evaluation().value)).collect();
    flags.sort_unstable();
    flags
}

fn current(live: &Live) -> Option<Overrides> {
    live.current().as_ref()?.overrides.as_deref().cloned()
}

#[test]
fn forced_off_flag_is_disabled_for_all() {
    let overrides = forced_off(&["search_v2"]);
    let found = overrides.flag("search_v2").expect("it is forced off");
    let off = Evaluation { value: false, reason: Reason::Disabled, bucket: None, rule: None };
    assert_eq!((found, found.evaluation()), (FlagOverride::ForcedOff, off));
    assert_eq!(found.name(), "FLAGSTAFF_FORCE_OFF");
    assert!(!overrides.is_empty());
}

#[test]
fn forced_on_flag_is_static_for_all() {
    let overrides = Overrides::default().with_forced_on(keys(&["search_v2"]));
    let found = overrides.flag("search_v2").expect("it is forced on");
    let on = Evaluation { value: true, reason: Reason::Static, bucket: None, rule: None };
    assert_eq!((found, found.evaluation()), (FlagOverride::ForcedOn, on));
    assert_eq!(found.name(), "FLAGSTAFF_FORCE_ON");
    assert_eq!((overrides.is_empty(), overrides.forces()), (false, true));
    assert_eq!(overrides.variant("search_v2"), None);
}

#[test]
fn test_wins_over_off_which_wins_over_on() {
    let overrides = set_by_test(&[("a", false)]);
    let overrides = overrides.with_forced_off(keys(&["a", "b"]));
    let overrides = overrides.with_forced_on(keys(&["a", "b", "c"]));
    let found = ["a", "b", "c", "d"].map(|key| overrides.flag(key));
    let expected = [
        Some(FlagOverride::Test(false)),
        Some(FlagOverride::ForcedOff),
        Some(FlagOverride::ForcedOn),
        None,
    ];
    assert_eq!(found, expected);
    assert_eq!(sorted(&overrides), [("a", false), ("b", false), ("c", true)]);
    assert_eq!(overrides.forced_on(), ["c"]);
}

#[test]
fn flag_set_by_a_test_is_static() {
    for value in [true, false] {
        let found = set_by_test(&[("banner", value)]).flag("banner").expect("it is set");
        let expected = Evaluation { value, reason: Reason::Static, bucket: None, rule: None };
        assert_eq!((found.evaluation(), found.name()), (expected, "override_flag"));
    }
}

#[test]
fn other_key_is_not_forced_off() {
    let overrides = forced_off(&["search_v2"]);
    for key in ["", "search", "search_v22", "Search_v2", " search_v2"] {
        assert_eq!(overrides.flag(key), None, "{key}");
    }
}

#[test]
fn test_wins_over_the_environment_and_each_flag_is_listed_once() {
    let overrides = set_by_test(&[("banner", true), ("footer", false), ("search_v2", true)]);
    let overrides = overrides.with_forced_off(keys(&["search_v2", "footer", "new_checkout"]));
    assert_eq!(overrides.flag("search_v2"), Some(FlagOverride::Test(true)));
    let expected =
        [("banner", true), ("footer", false), ("new_checkout", false), ("search_v2", true)];
    assert_eq!(sorted(&overrides), expected);
}

#[test]
fn forced_off_keys_are_listed_in_order_and_once() {
    let overrides = forced_off(&["b", "c", "a", "b"]);
    assert_eq!(overrides.forced_off(), ["a", "b", "c"]);
    assert!(overrides.forces());
    assert!(!set_by_test(&[("a", true)]).forces());
}

#[test]
fn end_of_a_test_keeps_the_forced_off_flags() {
    let live = Live::new();
    live.set_forced_off(&keys(&["search_v2"]));
    live.set_overrides(&set_by_test(&[("search_v2", true)]));
    let during = current(&live).expect("both are set");
    assert_eq!(during.flag("search_v2"), Some(FlagOverride::Test(true)));
    live.set_overrides(&Overrides::default());
    let after = current(&live).expect("the environment still sets it");
    assert_eq!(after.flag("search_v2"), Some(FlagOverride::ForcedOff));
}

#[test]
fn forced_off_flags_keep_what_tests_have_set() {
    let live = Live::new();
    live.set_overrides(&set_by_test(&[("banner", true)]));
    live.set_forced_off(&keys(&["search_v2"]));
    live.set_forced_off(&keys(&["new_checkout"]));
    let overrides = current(&live).expect("both are set");
    assert_eq!(sorted(&overrides), [("banner", true), ("new_checkout", false)]);
}

#[test]
fn nothing_set_leaves_no_overrides() {
    let live = Live::new();
    live.set_forced_off(&keys(&["search_v2"]));
    live.set_forced_off(&[]);
    assert_eq!(current(&live), None);
    live.set_overrides(&value_set_by_test("gateway", StoredValue::Null));
    assert!(current(&live).is_some());
    live.set_overrides(&Overrides::default());
    assert_eq!(current(&live), None);
}

#[test]
fn forced_off_flags_outlive_a_reset() {
    let live = Live::new();
    live.set_forced_off(&keys(&["search_v2"]));
    live.set_forced_on(&keys(&["banner"]));
    live.set_mode(EvaluationMode::Memory, false);
    live.reset();
    live.set_overrides(&Overrides::default());
    let overrides = current(&live).expect("they are kept");
    assert_eq!(
        (overrides.forced_off(), overrides.forced_on()),
        (vec!["search_v2"], vec!["banner"])
    );
}

fn value_set_by_test(key: &str, value: StoredValue) -> Overrides {
    Overrides::new([], [(key.to_owned(), value)], [])
}

#[test]
fn value_set_by_a_test_is_found_by_its_key_only() {
    for value in [StoredValue::Text("stripe".into()), StoredValue::Null] {
        let overrides = value_set_by_test("gateway", value.clone());
        assert_eq!(overrides.value("gateway"), Some(&value));
        for key in ["", "Gateway", "gateway2", "gatewa"] {
            assert_eq!(overrides.value(key), None, "{key}");
        }
    }
}

#[test]
fn variant_set_by_a_test_is_found_by_its_key_only() {
    let set = [("button", Some("green")), ("banner", None)];
    let set = set.map(|(key, variant)| (key.to_owned(), variant.map(str::to_owned)));
    let overrides = Overrides::new([], [], set);
    let found = ["button", "banner", "footer"].map(|key| overrides.variant(key));
    let set = |variant| Some(VariantOverride::Test(variant));
    assert_eq!(found, [set(Some("green")), set(None), None]);
    let found = found.map(|found| found.map(|one| (one.variant(), one.reason(), one.name())));
    let by_test = |variant| Some((variant, Reason::Static, "override_variant"));
    assert_eq!(found, [by_test(Some("green")), by_test(None), None]);
}

#[test]
fn forced_off_experiment_gives_the_default_unless_a_test_has_set_its_variant() {
    let overrides = forced_off(&["button", "banner"]);
    let found = overrides.variant("button").expect("it is forced off");
    assert_eq!(found, VariantOverride::ForcedOff);
    assert_eq!((found.variant(), found.reason()), (None, Reason::Disabled));
    assert_eq!(found.name(), "FLAGSTAFF_FORCE_OFF");
    assert_eq!(overrides.variant("footer"), None);
    let set = Overrides::new([], [], [("button".to_owned(), Some("green".to_owned()))]);
    let set = set.with_process_of(&overrides);
    assert_eq!(set.variant("button"), Some(VariantOverride::Test(Some("green"))));
}

#[test]
fn flag_and_value_with_the_same_key_are_independent() {
    let value = value_set_by_test("checkout", StoredValue::Bool(true));
    assert_eq!((value.flag("checkout"), sorted(&value)), (None, vec![]));
    let flag = set_by_test(&[("checkout", true)]).with_forced_off(keys(&["search_v2"]));
    assert_eq!((flag.value("checkout"), flag.value("search_v2")), (None, None));
}

#[test]
fn overrides_are_empty_only_without_flags_values_variants_forced_off_and_listeners() {
    assert!(Overrides::default().is_empty());
    let some = [
        set_by_test(&[("banner", false)]),
        value_set_by_test("gateway", StoredValue::Null),
        Overrides::new([], [], [("button".to_owned(), None)]),
        forced_off(&["search_v2"]),
        Overrides::default().with_listeners(true),
    ];
    for overrides in some {
        assert!(!overrides.is_empty(), "{overrides:?}");
    }
}

#[test]
fn forced_off_keys_replace_the_earlier_ones_and_nothing_else() {
    let (flag, value) = (("banner".to_owned(), true), StoredValue::Integer(1));
    let set = Overrides::new([flag], [("gateway".to_owned(), value.clone())], []);
    let overrides = set.with_forced_off(keys(&["search_v2"]));
    let overrides = overrides.with_forced_off(keys(&["new_checkout"]));
    assert_eq!(overrides.forced_off(), ["new_checkout"]);
    assert_eq!(overrides.flag("banner"), Some(FlagOverride::Test(true)));
    assert_eq!(overrides.value("gateway"), Some(&value));
}

#[test]
fn forced_off_keys_and_listeners_of_another_replace_own_ones_and_nothing_else() {
    let other = set_by_test(&[("footer", true)]).with_forced_off(keys(&["search_v2"]));
    let other = other.with_listeners(true);
    let overrides = set_by_test(&[("banner", true)]).with_forced_off(keys(&["new_checkout"]));
    let overrides = overrides.with_process_of(&other);
    assert_eq!(sorted(&overrides), [("banner", true), ("search_v2", false)]);
    assert!(overrides.has_listeners());
}

#[test]
fn listeners_stay_with_overrides_and_end_with_the_last_one() {
    let live = Live::new();
    live.set_listeners(true);
    assert!(current(&live).is_some_and(|all| all.has_listeners() && !all.has_values()));
    live.set_overrides(&value_set_by_test("gateway", StoredValue::Null));
    live.set_forced_off(&keys(&["search_v2"]));
    assert!(current(&live).is_some_and(|all| all.has_listeners() && all.has_values()));
    live.set_listeners(false);
    assert!(current(&live).is_some_and(|all| !all.has_listeners() && all.has_values()));
    live.set_overrides(&Overrides::default());
    live.set_forced_off(&[]);
    assert_eq!(current(&live), None);
}

#[test]
fn overrides_of_a_test_replace_the_earlier_ones() {
    let live = Live::new();
    live.set_overrides(&value_set_by_test("gateway", StoredValue::Null));
    live.set_overrides(&set_by_test(&[("banner", true)]));
    live.set_overrides(&set_by_test(&[("footer", false)]));
    let overrides = current(&live).expect("one is set");
    assert_eq!((sorted(&overrides), overrides.value("gateway")), (vec![("footer", false)], None));
}

#[test]
fn overrides_and_the_start_leave_each_other_as_they_are() {
    let live = Live::new();
    live.set_overrides(&set_by_test(&[("banner", false)]));
    live.set_mode(EvaluationMode::Memory, true);
    assert!(live.publish(None, Snapshot::default(), since_boot()));
    assert_eq!(current(&live), Some(set_by_test(&[("banner", false)])));
    let snapshot = live.snapshot().expect("it is published");
    live.set_overrides(&set_by_test(&[("banner", true)]));
    live.set_forced_off(&keys(&["search_v2"]));
    let current = live.current();
    let state = current.as_ref().expect("it is started");
    assert_eq!((state.mode, state.report_unknown), (EvaluationMode::Memory, true));
    assert!(state.snapshot.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &snapshot)));
}

#[test]
fn flag_set_for_one_user_precedes_the_one_for_all_for_this_user_only() {
    let users = [("42".to_owned(), false)];
    let overrides = set_by_test(&[("banner", true)])
        .with_flags_of_users([("banner".to_owned(), users.clone()), ("search".to_owned(), users)]);
    for subject in [Subject::Integer(42), Subject::Text("42")] {
        assert_eq!(overrides.flag_of("banner", &subject), Some(FlagOverride::Test(false)));
    }
    for subject in [Subject::Integer(7), Subject::Anonymous] {
        assert_eq!(overrides.flag_of("banner", &subject), Some(FlagOverride::Test(true)));
        assert_eq!(overrides.flag_of("search", &subject), None);
    }
    assert!(overrides.has_users("search") && !overrides.has_users("other"));
    assert!(!Overrides::default().with_flags_of_users([("a".to_owned(), [])]).is_empty());
}

#[test]
fn preview_is_a_result_of_its_own_reason_that_the_environment_does_not_force() {
    for value in [true, false] {
        let found = FlagOverride::Preview(value);
        let expected = Evaluation { value, reason: Reason::Preview, bucket: None, rule: None };
        assert_eq!((found.evaluation(), found.name()), (expected, "preview"));
        assert!(!found.is_forced());
    }
}

#[test]
fn requests_with_previews_are_counted_beside_what_tests_set() {
    let live = Live::new();
    live.count_previews(1);
    live.count_previews(1);
    live.set_overrides(&set_by_test(&[("a", true)]));
    live.count_previews(-1);
    assert!(current(&live).is_some_and(|overrides| overrides.has_previews()));
    live.set_overrides(&Overrides::default());
    assert!(current(&live).is_some_and(|overrides| overrides.has_previews()));
    live.count_previews(-1);
    assert_eq!(current(&live), None);
}
