//! What was asked is counted for as long as anybody can ask, and taken once.

use flagstaff::flag::Flag;
use flagstaff::snapshot::Snapshot;
use flagstaff::usage::{Asked, OTHERS, Register, Unknown, forked};

use crate::rows::{flag, flags, snapshot};

fn asked(key: &str, no: u64, yes: u64) -> Asked {
    Asked { key: key.into(), defined: true, no, yes }
}

fn of<'a>(snapshot: &'a Snapshot, key: &str) -> &'a Flag {
    snapshot.flag(key).expect("a flag")
}

fn one_flag() -> Snapshot {
    snapshot([flags([flag("1", "a", 50)])])
}

#[test]
fn counts_outlive_a_load() {
    let (register, unknown) = (Register::default(), Unknown::new());
    let before = one_flag();
    register.watch(&before);
    let after = before.next(flags([flag("1", "a", 100)]));
    register.watch(&after);
    for (moment, answer) in [(&before, false), (&after, true), (&after, true)] {
        of(moment, "a").asked.count(answer);
    }
    assert_eq!(register.take(&unknown), [asked("a", 1, 2)]);
    assert_eq!(register.take(&unknown), []);
    of(&before, "a").asked.count(true);
    assert_eq!(register.take(&unknown), [asked("a", 0, 1)]);
}

#[test]
fn flag_that_has_gone_is_counted_until_nobody_has_it() {
    let (register, unknown) = (Register::default(), Unknown::new());
    let before = one_flag();
    register.watch(&before);
    let after = before.next(flags([]));
    register.watch(&after);
    of(&before, "a").asked.count(true);
    assert_eq!(register.take(&unknown), [asked("a", 0, 1)]);
    of(&before, "a").asked.count(true);
    drop(before);
    assert_eq!(register.take(&unknown), [asked("a", 0, 1)]);
    assert_eq!(register.take(&unknown), []);
}

#[test]
fn child_of_a_fork_begins_anew() {
    let (register, unknown) = (Register::default(), Unknown::new());
    let inherited = one_flag();
    register.watch(&inherited);
    of(&inherited, "a").asked.count(true);
    unknown.count("b", false);
    forked(Some(&inherited), &unknown);
    let register = Register::default();
    register.watch(&inherited);
    assert_eq!(register.take(&unknown), []);
    of(&inherited, "a").asked.count(false);
    assert_eq!(register.take(&unknown), [asked("a", 1, 0)]);
}

#[test]
fn what_looks_made_from_data_has_no_name_of_its_own() {
    let (register, unknown) = (Register::default(), Unknown::new());
    let long = "x".repeat(101);
    for key in ["ada@example.com", "user_4711471", "", "two words", "Grüße", &long] {
        unknown.count(key, false);
    }
    unknown.count("beta_2026", true);
    let mut found = register.take(&unknown);
    found.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    assert!(found.iter().all(|asked| !asked.defined));
    let found: Vec<_> = found.iter().map(|asked| (&*asked.key, asked.no, asked.yes)).collect();
    assert_eq!(found, [(OTHERS, 6, 0), ("beta_2026", 0, 1)]);
}

#[test]
fn keys_without_a_flag_are_bounded_in_number() {
    let (register, unknown) = (Register::default(), Unknown::new());
    for key in 0..3000 {
        unknown.count(&format!("k{key}"), false);
        unknown.count(&format!("k{key}"), false);
    }
    let found = register.take(&unknown);
    assert_eq!(found.len(), 1001);
    assert_eq!(found.iter().map(|asked| asked.no).sum::<u64>(), 6000);
}
