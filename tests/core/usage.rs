//! Every evaluation is counted and taken once.

use std::sync::Arc;

use flagstaff::counters::Bulk;
use flagstaff::evaluate::{Evaluation, Reason};
use flagstaff::flag::Flag;
use flagstaff::row::ValueRow;
use flagstaff::snapshot::Snapshot;
use flagstaff::usage::{Counted, CounterRegistry, KeyUsage, OTHERS, UnknownKeys, reset_after_fork};

use crate::rows::{flag, flags, snapshot, value, values};

fn usage(key: &str, result: bool, count: u64) -> KeyUsage {
    KeyUsage { key: key.into(), counted: Counted::Flag(result), count }
}

fn of<'a>(snapshot: &'a Snapshot, key: &str) -> &'a Flag {
    snapshot.flag(key).expect("a flag")
}

/// A registry with the counters of this snapshot, and no unknown key.
fn registered(snapshot: &Snapshot) -> (CounterRegistry, UnknownKeys) {
    let registry = CounterRegistry::default();
    registry.add(snapshot);
    (registry, UnknownKeys::new())
}

fn one_flag() -> Snapshot {
    snapshot([flags([flag("1", "a", 50)])])
}

#[test]
fn counts_survive_a_load() {
    let before = one_flag();
    let (registry, unknown) = registered(&before);
    let after = before.next(flags([flag("1", "a", 100)]));
    registry.add(&after);
    for (snapshot, result) in [(&before, false), (&after, true), (&after, true)] {
        of(snapshot, "a").count(result);
    }
    assert_eq!(registry.take(&unknown), [usage("a", false, 1), usage("a", true, 2)]);
    assert_eq!(registry.take(&unknown), []);
    of(&before, "a").count(true);
    assert_eq!(registry.take(&unknown), [usage("a", true, 1)]);
}

#[test]
fn deleted_flag_is_counted_until_its_last_snapshot_is_dropped() {
    let before = one_flag();
    let (registry, unknown) = registered(&before);
    let after = before.next(flags([]));
    registry.add(&after);
    of(&before, "a").count(true);
    assert_eq!(registry.take(&unknown), [usage("a", true, 1)]);
    of(&before, "a").count(true);
    drop(before);
    assert_eq!(registry.take(&unknown), [usage("a", true, 1)]);
    assert_eq!(registry.take(&unknown), []);
}

#[test]
fn counters_of_a_deleted_flag_are_freed_after_the_last_take() {
    let before = one_flag();
    let (registry, unknown) = registered(&before);
    let counters = Arc::downgrade(&of(&before, "a").identity);
    of(&before, "a").count(true);
    drop(before);
    assert_eq!(counters.strong_count(), 1);
    assert_eq!(registry.take(&unknown), [usage("a", true, 1)]);
    assert_eq!(counters.strong_count(), 0);
}

#[test]
fn forked_child_starts_at_zero() {
    let inherited = one_flag();
    let (_registry, unknown) = registered(&inherited);
    of(&inherited, "a").count(true);
    unknown.count("b");
    unknown.count("ada@example.com");
    reset_after_fork(Some(&inherited), &unknown);
    let registry = CounterRegistry::default();
    registry.add(&inherited);
    assert_eq!(registry.take(&unknown), []);
    of(&inherited, "a").count(false);
    assert_eq!(registry.take(&unknown), [usage("a", false, 1)]);
    // Its own child also starts at zero, after a report.
    reset_after_fork(Some(&inherited), &unknown);
    let registry = CounterRegistry::default();
    registry.add(&inherited);
    of(&inherited, "a").count(true);
    assert_eq!(registry.take(&unknown), [usage("a", true, 1)]);
}

#[test]
fn flag_served_in_bulk_is_reported_once_and_not_counted() {
    let snapshot = one_flag();
    let (registry, unknown) = registered(&snapshot);
    for bulk in [Bulk::All, Bulk::ForBrowsers] {
        (0..3).for_each(|_| of(&snapshot, "a").serve(bulk));
        let expected = KeyUsage { key: "a".into(), counted: Counted::Served(bulk), count: 0 };
        assert_eq!(registry.take(&unknown), [expected]);
        assert_eq!(registry.take(&unknown), []);
    }
}

#[test]
fn forked_child_does_not_report_what_its_parent_served() {
    let inherited = one_flag();
    let (_registry, unknown) = registered(&inherited);
    of(&inherited, "a").serve(Bulk::All);
    of(&inherited, "a").serve(Bulk::ForBrowsers);
    reset_after_fork(Some(&inherited), &unknown);
    let registry = CounterRegistry::default();
    registry.add(&inherited);
    assert_eq!(registry.take(&unknown), []);
    of(&inherited, "a").serve(Bulk::All);
    let expected = KeyUsage { key: "a".into(), counted: Counted::Served(Bulk::All), count: 0 };
    assert_eq!(registry.take(&unknown), [expected]);
}

/// The unknown keys that are counted for these evaluations, with the number of each.
fn counted<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<(Box<str>, u64)> {
    let unknown = UnknownKeys::default();
    keys.into_iter().for_each(|key| unknown.count(key));
    let usage = CounterRegistry::default().take(&unknown);
    let mut counted: Vec<_> = usage.into_iter().map(|usage| (usage.key, usage.count)).collect();
    counted.sort_unstable();
    counted
}

#[test]
fn unknown_key_that_looks_like_a_name_is_counted_by_it() {
    let longest = "x".repeat(100);
    for key in ["a", "new_checkout", "shop.v2-beta", "A", "2026", "_", "-", ".", &longest] {
        assert_eq!(counted([key]), [(key.into(), 1)], "{key}");
    }
}

#[test]
fn unknown_key_beyond_one_limit_is_counted_as_other() {
    let too_long = "x".repeat(101);
    for key in ["", "12345", "a1b2c3d4e5", "a b", "a/b", "a:b", "a@b", "é", "a\n", &too_long] {
        assert_eq!(counted([key]), [(OTHERS.into(), 1)], "{key}");
    }
}

#[test]
fn unknown_key_that_is_counted_already_stays_so_beyond_the_limit() {
    let names: Vec<String> = (0..1000).map(|key| format!("k{key}")).collect();
    let late = ["late", "k0", "late", "k999"];
    let found = counted(names.iter().map(String::as_str).chain(late));
    assert_eq!(found.len(), 1001);
    let more: Vec<_> = found.iter().filter(|(_, count)| *count != 1).collect();
    assert_eq!(more, [&(OTHERS.into(), 2), &("k0".into(), 2), &("k999".into(), 2)]);
}

#[test]
fn other_keys_do_not_take_the_place_of_a_name() {
    let names: Vec<String> = (0..999).map(|key| format!("k{key}")).collect();
    let found = counted(["", "a b"].into_iter().chain(names.iter().map(String::as_str)));
    assert_eq!(found.len(), 1000);
    assert_eq!(found.iter().filter(|(_, count)| *count != 1).count(), 1);
}

#[test]
fn no_flag_can_have_the_key_of_the_others() {
    assert_eq!((OTHERS, counted([OTHERS])), ("(other keys)", vec![(OTHERS.into(), 1)]));
}

#[test]
fn flag_counted_in_one_result_only_is_reported() {
    let snapshot = snapshot([flags([flag("1", "a", 50), flag("2", "b", 50), flag("3", "c", 50)])]);
    let (registry, unknown) = registered(&snapshot);
    of(&snapshot, "a").count(true);
    of(&snapshot, "b").count(false);
    let mut found = registry.take(&unknown);
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(found, [usage("a", true, 1), usage("b", false, 1)]);
}

#[test]
fn flag_of_many_loads_is_counted_once() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    let snapshot = one_flag();
    for _ in 0..3 {
        registry.add(&snapshot);
    }
    of(&snapshot, "a").count(true);
    assert_eq!(registry.take(&unknown), [usage("a", true, 1)]);
}

#[test]
fn another_row_with_the_key_is_counted_anew() {
    for is_deleted_first in [true, false] {
        let first = one_flag();
        let (registry, unknown) = registered(&first);
        let row = flags([flag("2", "a", 50)]);
        let second =
            if is_deleted_first { first.next(flags([])).next(row) } else { first.next(row) };
        registry.add(&second);
        of(&first, "a").count(true);
        of(&second, "a").count(false);
        drop(first);
        assert_eq!(registry.take(&unknown), [usage("a", true, 1), usage("a", false, 1)]);
    }
}

#[test]
fn child_without_a_snapshot_drops_the_unknown_keys() {
    let unknown = UnknownKeys::new();
    unknown.count("missing");
    reset_after_fork(None, &unknown);
    assert_eq!(CounterRegistry::default().take(&unknown), []);
    unknown.count("missing");
    assert_eq!(CounterRegistry::default().take(&unknown).len(), 1);
}

#[test]
fn unknown_key_made_from_data_is_counted_as_other() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    let long = "x".repeat(101);
    for key in ["ada@example.com", "user_4711471", "", "two words", "Grüße", &long] {
        unknown.count(key);
    }
    unknown.count("beta_2026");
    let mut found = registry.take(&unknown);
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    let found: Vec<_> =
        found.iter().map(|usage| (&*usage.key, usage.counted, usage.count)).collect();
    let unknown = Counted::Unknown;
    assert_eq!(found, [(OTHERS, unknown, 6), ("beta_2026", unknown, 1)]);
}

#[test]
fn each_unknown_key_has_a_count_of_its_own() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    // Each chain has several of them.
    for round in 0..5 {
        (0..1000).filter(|n| n % 5 >= round).for_each(|n| unknown.count(&format!("k{n}")));
    }
    let mut found = registry.take(&unknown);
    found.sort_unstable_by_key(|usage| usage.key[1..].parse::<u64>().expect("a number"));
    let counts: Vec<_> = found.iter().map(|usage| usage.count).collect();
    assert_eq!(counts, (0..1000).map(|n| n % 5 + 1).collect::<Vec<_>>());
    assert_eq!(registry.take(&unknown), []);
}

#[test]
fn unknown_keys_are_bounded_in_number() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    for key in 0..3000 {
        unknown.count(&format!("k{key}"));
        unknown.count(&format!("k{key}"));
    }
    let found = registry.take(&unknown);
    assert_eq!(found.len(), 1001);
    assert_eq!(found.iter().map(|usage| usage.count).sum::<u64>(), 6000);
}

mod values_with_rules {
    use super::*;

    const RULE: &str =
        r#"{"conditions": [{"attribute": "a", "operator": "in", "values": [1]}], "value": 5}"#;

    fn with_rules(count: usize) -> Snapshot {
        let rules = format!("[{}]", vec![RULE; count].join(", "));
        let row = ValueRow { rules: Some(rules.into()), ..value("1", "a", "1") };
        snapshot([values([row])])
    }

    /// Counts a result of the rule with this number, or of the value itself.
    fn count(snapshot: &Snapshot, rule: Option<u8>, is_result_of_rule: bool) {
        let rules = snapshot.value("a").and_then(|stored| stored.rules()).expect("rules");
        let reason = Reason::TargetingMatch;
        rules.count(Evaluation { value: is_result_of_rule, reason, bucket: None, rule });
    }

    fn taken(registry: &CounterRegistry) -> Vec<(Counted, u64)> {
        let usage = registry.take(&UnknownKeys::new());
        usage.into_iter().map(|one| (one.counted, one.count)).collect()
    }

    #[test]
    fn results_are_counted_by_number_and_taken_once() {
        let snapshot = with_rules(2);
        let (registry, _) = registered(&snapshot);
        for (rule, is_result_of_rule) in [(None, false), (Some(1), false), (Some(2), true)] {
            count(&snapshot, rule, is_result_of_rule);
        }
        assert_eq!(taken(&registry), [(Counted::Value(0), 2), (Counted::Value(2), 1)]);
        assert_eq!(taken(&registry), []);
    }

    #[test]
    fn counts_of_other_rules_are_taken_once_more_and_then_dropped() {
        let before = with_rules(2);
        let (registry, _) = registered(&before);
        count(&before, Some(2), true);
        drop(before);
        registry.add(&with_rules(1));
        assert_eq!(taken(&registry), [(Counted::Value(2), 1)]);
        assert_eq!(taken(&registry), []);
    }

    #[test]
    fn child_after_a_fork_starts_at_zero() {
        let inherited = with_rules(1);
        count(&inherited, Some(1), true);
        reset_after_fork(Some(&inherited), &UnknownKeys::new());
        let (registry, _) = registered(&inherited);
        assert_eq!(taken(&registry), []);
        count(&inherited, Some(1), true);
        assert_eq!(taken(&registry), [(Counted::Value(1), 1)]);
    }

    #[test]
    fn value_without_rules_is_not_counted() {
        let snapshot = snapshot([values([value("1", "a", "1")])]);
        assert_eq!(snapshot.value_rules().count(), 0);
    }
}
