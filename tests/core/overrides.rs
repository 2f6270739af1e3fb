//! What tests and the environment set over the database, and which of them wins.

use flagstaff::evaluate::{Evaluation, Reason};
use flagstaff::live::{EvaluationMode, Live};
use flagstaff::overrides::{FlagOverride, Overrides};

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn set_by_test(flags: &[(&str, bool)]) -> Overrides {
    Overrides::new(flags.iter().map(|(key, value)| ((*key).to_owned(), *value)), [])
}

fn sorted(overrides: &Overrides) -> Vec<(&str, bool)> {
    let mut flags: Vec<_> = overrides.flags().collect();
    flags.sort_unstable();
    flags
}

fn current(live: &Live) -> Option<Overrides> {
    live.current().as_ref()?.overrides.as_deref().cloned()
}

#[test]
fn forced_off_flag_is_disabled_for_all() {
    let overrides = Overrides::default().with_forced_off(keys(&["search_v2"]));
    let found = overrides.flag("search_v2").expect("it is forced off");
    let off = Evaluation { value: false, reason: Reason::Disabled, bucket: None };
    assert_eq!((found, found.evaluation()), (FlagOverride::ForcedOff, off));
    assert_eq!(found.name(), "FLAGSTAFF_FORCE_OFF");
    assert!(!overrides.is_empty());
}

#[test]
fn flag_set_by_a_test_is_static() {
    for value in [true, false] {
        let found = set_by_test(&[("banner", value)]).flag("banner").expect("it is set");
        let expected = Evaluation { value, reason: Reason::Static, bucket: None };
        assert_eq!((found.evaluation(), found.name()), (expected, "override_flag"));
    }
}

#[test]
fn other_key_is_not_forced_off() {
    let overrides = Overrides::default().with_forced_off(keys(&["search_v2"]));
    for key in ["", "search", "search_v22", "Search_v2", " search_v2"] {
        assert_eq!(overrides.flag(key), None, "{key}");
    }
}

#[test]
fn test_wins_over_the_environment() {
    let overrides = set_by_test(&[("banner", true), ("search_v2", true)]);
    let overrides = overrides.with_forced_off(keys(&["search_v2", "new_checkout"]));
    assert_eq!(overrides.flag("search_v2"), Some(FlagOverride::Test(true)));
    let expected = [("banner", true), ("new_checkout", false), ("search_v2", true)];
    assert_eq!(sorted(&overrides), expected);
}

#[test]
fn forced_off_keys_are_listed_in_order_and_once() {
    let overrides = Overrides::default().with_forced_off(keys(&["b", "c", "a", "b"]));
    assert_eq!(overrides.forced_off(), ["a", "b", "c"]);
    assert!(overrides.forces_off());
    assert!(!set_by_test(&[("a", true)]).forces_off());
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
fn nothing_forced_off_leaves_no_overrides() {
    let live = Live::new();
    live.set_forced_off(&keys(&["search_v2"]));
    live.set_forced_off(&[]);
    assert_eq!(current(&live), None);
}

#[test]
fn forced_off_flags_outlive_a_reset() {
    let live = Live::new();
    live.set_forced_off(&keys(&["search_v2"]));
    live.set_mode(EvaluationMode::Memory, false);
    live.reset();
    let overrides = current(&live).expect("they are kept");
    assert_eq!(overrides.forced_off(), ["search_v2"]);
}
