//! An evaluation allocates nothing. A binary of its own, because its allocator counts.

use std::hint::black_box;

use allocation_counter::measure;
use flagstaff::boot_time::since_boot;
use flagstaff::evaluate::evaluate;
use flagstaff::live::{EvaluationMode, Live};
use flagstaff::row::{AllowedUsersRow, FlagRow, Users};
use flagstaff::rules::{Attribute, Attributes, NoAttributes, Value};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::subject::Subject;
use flagstaff::usage::CounterRegistry;

const UUID: &str = "6fa459ea-ee8a-3ca4-894e-db77e160355e";

fn flag(pk: &str, key: &str, rollout_percent: i32) -> FlagRow {
    FlagRow {
        pk: pk.into(),
        key: Ok(key.into()),
        enabled: Some(true),
        rollout_percent: Some(rollout_percent),
        client_side: false,
        rules: None,
        bucket_by: None,
    }
}

fn live() -> Live {
    let live = Live::new();
    live.set_mode(EvaluationMode::Memory, false);
    let integers = Users::Integers((0..1_000).map(|n| n * 1_000_003).collect());
    let texts = Users::Texts(vec![UUID.into(), "alice".into()]);
    let loaded = Loaded {
        flags: Some(vec![flag("1", "half", 50), flag("2", "listed", 0), flag("3", "texts", 10)]),
        allowed_users: Some(vec![
            AllowedUsersRow::new("2", integers),
            AllowedUsersRow::new("3", texts),
        ]),
        ..Loaded::default()
    };
    assert!(live.publish(None, Snapshot::default().next(loaded), since_boot()));
    live
}

fn count_evaluation(live: &Live, key: &str, subject: &Subject<'_>) -> Option<bool> {
    let current = live.current();
    let snapshot = current.as_ref()?.snapshot.as_ref()?;
    let flag = snapshot.flag(key)?;
    let result = evaluate(key, flag, subject, &NoAttributes).value;
    flag.count(result);
    Some(result)
}

#[test]
fn allocator_counts_allocations() {
    assert_eq!(measure(|| drop(black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn evaluation_allocates_nothing() {
    let live = live();
    let long = "u".repeat(500);
    let subjects = [
        Subject::Anonymous,
        Subject::Integer(42),
        Subject::Integer(i64::MIN),
        Subject::Text(UUID),
        Subject::Text("123"),
        Subject::Text(&long),
    ];
    // The first read of a thread allocates its slot in arc-swap.
    black_box(count_evaluation(&live, "half", &Subject::Anonymous));
    for key in ["half", "listed", "texts", "missing"] {
        for subject in &subjects {
            let counted = measure(|| {
                black_box(count_evaluation(&live, key, subject));
            });
            assert_eq!(counted.count_total, 0, "{key} for {subject:?}");
        }
    }
}

/// Every attribute has the same value.
struct Same(Value<'static>);

impl Attributes for Same {
    fn read<T>(&self, _name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        with(Attribute::Value(self.0))
    }
}

#[test]
fn evaluation_of_rules_allocates_nothing() {
    let conditions = r#"[{"conditions": [
        {"attribute": "plan", "operator": "in", "values": ["pro", "team", 7]},
        {"attribute": "mail", "operator": "endswith", "values": ["@acme.com"], "negate": true},
        {"attribute": "age", "operator": "lt", "values": ["2026-03-01", 18.5], "negate": true},
        {"attribute": "app", "operator": "version_gte", "values": ["99.1.0"], "negate": true}
    ], "rollout_percent": 50}]"#;
    let row = FlagRow { rules: Some(conditions.into()), ..flag("1", "ruled", 0) };
    let loaded = Loaded { flags: Some(vec![row]), ..Loaded::default() };
    let snapshot = Snapshot::default().next(loaded);
    let flag = snapshot.flag("ruled").expect("the flag");
    let moment = Value::DateTime(i64::MAX);
    for value in [Value::Text("pro"), Value::Integer(7), Value::Decimal("7.0"), moment] {
        let counted = measure(|| {
            black_box(evaluate("ruled", flag, &Subject::Integer(42), &Same(value)));
        });
        assert_eq!(counted.count_total, 0, "{value:?}");
    }
}

#[test]
fn evaluation_of_a_forced_off_flag_allocates_nothing() {
    let live = Live::new();
    live.set_forced_off(&["new_checkout".to_owned()]);
    // The first read of a thread allocates its slot in arc-swap.
    drop(live.current());
    let found = measure(|| {
        let current = live.current();
        let overrides = current.as_ref().and_then(|state| state.overrides.as_deref());
        assert!(overrides.is_some_and(|overrides| overrides.flag("new_checkout").is_some()));
    });
    assert_eq!(found.count_total, 0);
}

#[test]
fn evaluation_while_snapshots_are_held_allocates_nothing() {
    let live = live();
    black_box(count_evaluation(&live, "half", &Subject::Anonymous));
    let held: Vec<_> = (0..4).map(|_| live.current()).collect();
    let counted = measure(|| {
        black_box(count_evaluation(&live, "half", &Subject::Integer(42)));
    });
    assert_eq!((counted.count_total, held.len()), (0, 4));
}

const MANY: i64 = 10_000;

fn many_flags() -> Loaded {
    let flags = (0..MANY).map(|n| flag(&n.to_string(), &format!("some_feature_{n:07}"), 50));
    Loaded { flags: Some(flags.collect()), ..Loaded::default() }
}

/// The bytes for each of the flags that `work` has left behind.
fn bytes_a_flag(work: impl FnOnce()) -> i64 {
    measure(work).bytes_current / MANY
}

#[test]
fn first_load_keeps_at_most_220_bytes_a_flag() {
    let (mut snapshot, registry) = (None, CounterRegistry::default());
    let kept = bytes_a_flag(|| {
        let first = Snapshot::default().next(many_flags());
        registry.add(&first);
        snapshot = Some(first);
    });
    assert!(kept <= 220, "{kept} bytes");
}

#[test]
fn next_load_of_the_same_flags_adds_at_most_60_bytes_a_flag() {
    let registry = CounterRegistry::default();
    let before = Snapshot::default().next(many_flags());
    registry.add(&before);
    let mut after = None;
    let kept = bytes_a_flag(|| {
        let next = before.next(many_flags());
        registry.add(&next);
        after = Some(next);
    });
    assert!(kept <= 60, "{kept} bytes");
}
