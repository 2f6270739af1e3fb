//! Every evaluation is counted and taken once.

use flagstaff::flag::Flag;
use flagstaff::snapshot::Snapshot;
use flagstaff::usage::{CounterRegistry, KeyUsage, OTHERS, UnknownKeys, reset_after_fork};

use crate::rows::{flag, flags, snapshot};

fn usage(key: &str, false_count: u64, true_count: u64) -> KeyUsage {
    KeyUsage { key: key.into(), defined: true, false_count, true_count }
}

fn of<'a>(snapshot: &'a Snapshot, key: &str) -> &'a Flag {
    snapshot.flag(key).expect("a flag")
}

fn one_flag() -> Snapshot {
    snapshot([flags([flag("1", "a", 50)])])
}

#[test]
fn counts_survive_a_load() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    let before = one_flag();
    registry.add(&before);
    let after = before.next(flags([flag("1", "a", 100)]));
    registry.add(&after);
    for (snapshot, result) in [(&before, false), (&after, true), (&after, true)] {
        of(snapshot, "a").counters.count(result);
    }
    assert_eq!(registry.take(&unknown), [usage("a", 1, 2)]);
    assert_eq!(registry.take(&unknown), []);
    of(&before, "a").counters.count(true);
    assert_eq!(registry.take(&unknown), [usage("a", 0, 1)]);
}

#[test]
fn deleted_flag_is_counted_until_its_last_snapshot_is_dropped() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    let before = one_flag();
    registry.add(&before);
    let after = before.next(flags([]));
    registry.add(&after);
    of(&before, "a").counters.count(true);
    assert_eq!(registry.take(&unknown), [usage("a", 0, 1)]);
    of(&before, "a").counters.count(true);
    drop(before);
    assert_eq!(registry.take(&unknown), [usage("a", 0, 1)]);
    assert_eq!(registry.take(&unknown), []);
}

#[test]
fn forked_child_starts_at_zero() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    let inherited = one_flag();
    registry.add(&inherited);
    of(&inherited, "a").counters.count(true);
    unknown.count("b", false);
    unknown.count("ada@example.com", false);
    reset_after_fork(Some(&inherited), &unknown);
    let registry = CounterRegistry::default();
    registry.add(&inherited);
    assert_eq!(registry.take(&unknown), []);
    of(&inherited, "a").counters.count(false);
    assert_eq!(registry.take(&unknown), [usage("a", 1, 0)]);
}

#[test]
fn unknown_key_made_from_data_is_counted_as_other() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    let long = "x".repeat(101);
    for key in ["ada@example.com", "user_4711471", "", "two words", "Grüße", &long] {
        unknown.count(key, false);
    }
    unknown.count("beta_2026", true);
    let mut found = registry.take(&unknown);
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    assert!(found.iter().all(|usage| !usage.defined));
    let found: Vec<_> =
        found.iter().map(|usage| (&*usage.key, usage.false_count, usage.true_count)).collect();
    assert_eq!(found, [(OTHERS, 6, 0), ("beta_2026", 0, 1)]);
}

#[test]
fn each_unknown_key_has_a_count_of_its_own() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    // Each chain has several of them.
    for round in 0..5 {
        (0..1000).filter(|n| n % 5 >= round).for_each(|n| unknown.count(&format!("k{n}"), n > 500));
    }
    let mut found = registry.take(&unknown);
    found.sort_unstable_by_key(|usage| usage.key[1..].parse::<u64>().expect("a number"));
    let counts: Vec<_> = found.iter().map(|usage| (usage.false_count, usage.true_count)).collect();
    let expected = (0..1000).map(|n| if n > 500 { (0, n % 5 + 1) } else { (n % 5 + 1, 0) });
    assert_eq!(counts, expected.collect::<Vec<_>>());
    assert_eq!(registry.take(&unknown), []);
}

#[test]
fn unknown_keys_are_bounded_in_number() {
    let (registry, unknown) = (CounterRegistry::default(), UnknownKeys::new());
    for key in 0..3000 {
        unknown.count(&format!("k{key}"), false);
        unknown.count(&format!("k{key}"), false);
    }
    let found = registry.take(&unknown);
    assert_eq!(found.len(), 1001);
    assert_eq!(found.iter().map(|usage| usage.false_count).sum::<u64>(), 6000);
}
