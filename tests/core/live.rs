//! The current state: which publications succeed, and what each change keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flagstaff::boot_time::since_boot;
use flagstaff::live::{EvaluationMode, Live};
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::usage::{Counted, CounterRegistry, KeyUsage};

use crate::rows::{flag, flags, token_set};

pub(crate) fn started() -> Live {
    let live = Live::new();
    live.set_mode(EvaluationMode::Memory, false);
    live
}

pub(crate) fn with_token(newest: i64) -> Snapshot {
    Snapshot::default().next(Loaded { token_set: Some(token_set(newest)), ..Loaded::default() })
}

fn token(live: &Live) -> Option<i64> {
    live.snapshot()?.token_set().map(flagstaff::token_set::TokenSet::newest)
}

/// The mode, and whether unknown keys are reported.
fn mode(live: &Live) -> (EvaluationMode, bool) {
    let current = live.current();
    let state = current.as_ref().expect("it is started");
    (state.mode, state.report_unknown)
}

#[test]
fn live_not_started_refuses_publication() {
    for live in [Live::new(), Live::default()] {
        assert!(live.current().is_none() && live.snapshot().is_none());
        assert!(!live.publish(None, with_token(1), since_boot()));
        assert_eq!((live.swaps(), live.age()), (0, None));
    }
}

#[test]
fn live_starting_has_a_mode_and_no_snapshot() {
    let live = Live::new();
    live.set_mode(EvaluationMode::Starting, true);
    assert_eq!(mode(&live), (EvaluationMode::Starting, true));
    assert!(live.snapshot().is_none() && live.age().is_none());
}

#[test]
fn mode_change_keeps_the_snapshot() {
    let live = started();
    assert!(live.publish(None, with_token(1), since_boot()));
    live.set_mode(EvaluationMode::Inherited, true);
    assert_eq!((token(&live), live.swaps()), (Some(1), 1));
    assert!(live.age().is_some());
    assert_eq!(mode(&live), (EvaluationMode::Inherited, true));
}

#[test]
fn publication_keeps_the_mode() {
    let live = Live::new();
    live.set_mode(EvaluationMode::Direct, true);
    assert!(live.publish(None, with_token(1), since_boot()));
    assert_eq!(mode(&live), (EvaluationMode::Direct, true));
}

#[test]
fn publication_from_a_stale_base_is_refused() {
    let live = started();
    assert!(live.publish(None, with_token(1), since_boot()));
    let first = live.snapshot();
    assert!(live.publish(first.as_ref(), with_token(2), since_boot()));
    for stale in [None, first.as_ref(), Some(&Arc::new(with_token(2)))] {
        assert!(!live.publish(stale, with_token(3), since_boot()));
    }
    assert_eq!((token(&live), live.swaps()), (Some(2), 2));
}

#[test]
fn reset_drops_the_snapshot_until_started_again() {
    let live = started();
    assert!(live.publish(None, with_token(1), since_boot()));
    live.reset();
    assert!(live.snapshot().is_none() && live.age().is_none());
    assert!(live.current().as_ref().is_none_or(|state| state.mode == EvaluationMode::NotStarted));
    assert!(!live.publish(None, with_token(2), since_boot()));
    live.set_mode(EvaluationMode::Memory, false);
    assert!(live.snapshot().is_none() && live.age().is_none());
    assert!(live.publish(None, with_token(2), since_boot()));
    assert_eq!(token(&live), Some(2));
}

#[test]
fn concurrent_publications_from_one_base_succeed_once() {
    let live = started();
    assert!(live.publish(None, with_token(0), since_boot()));
    let base = live.snapshot();
    let published = thread::scope(|scope| {
        let tries = [1, 2, 3, 4].map(|newest| {
            let (live, base) = (&live, base.as_ref());
            scope.spawn(move || live.publish(base, with_token(newest), since_boot()))
        });
        tries.map(|publication| publication.join().expect("no panic"))
    });
    assert_eq!(published.iter().filter(|published| **published).count(), 1);
    assert_eq!(live.swaps(), 2);
}

/// Ends the loop of another thread, also if an assertion fails: else the test would never end.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn concurrent_mode_changes_lose_no_publication() {
    let live = started();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                live.set_mode(EvaluationMode::Memory, false);
            }
        });
        let _end = EndOnDrop(&done);
        for newest in 1..=2_000 {
            let base = live.snapshot();
            assert!(live.publish(base.as_ref(), with_token(newest), since_boot()));
            assert_eq!(token(&live), Some(newest));
        }
    });
    assert_eq!(live.swaps(), 2_000);
}

#[test]
fn reader_sees_consistent_snapshots_in_order() {
    let live = started();
    let pair = |percent| {
        let rows = [flag("1", "one", percent), flag("2", "other", percent)];
        Snapshot::default().next(flags(rows))
    };
    assert!(live.publish(None, pair(0), since_boot()));
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while last < 1_000 && !failed.load(Ordering::Relaxed) {
                let snapshot = live.snapshot().expect("it is loaded");
                let [one, other] =
                    ["one", "other"].map(|key| snapshot.flag(key).map(|flag| flag.rollout_percent));
                assert_eq!(one, other);
                assert!(one >= Some(last));
                last = one.expect("both are there");
            }
        });
        let end = EndOnDrop(&failed);
        for percent in 1..=1_000 {
            let base = live.snapshot();
            assert!(live.publish(base.as_ref(), pair(percent), since_boot()));
        }
        // Published to the end: the reader comes to it by itself.
        std::mem::forget(end);
        reader.join().expect("no panic");
    });
}

#[test]
fn own_writes_survive_start_publication_and_reset_until_they_end() {
    let live = Live::new();
    let own_writes = || live.current().as_ref().is_some_and(|state| state.own_writes);
    assert!(!own_writes());
    live.set_own_writes(true);
    live.set_mode(EvaluationMode::Memory, false);
    assert!(own_writes());
    assert!(live.publish(None, with_token(1), since_boot()));
    assert!(own_writes());
    // They change neither the mode nor the snapshot.
    live.set_own_writes(true);
    assert_eq!(token(&live), Some(1));
    live.reset();
    assert!(own_writes());
    live.set_own_writes(false);
    assert!(!own_writes());
}

#[test]
fn unknown_key_is_counted_once_for_the_process() {
    let (live, registry) = (Live::new(), CounterRegistry::default());
    live.unknown_keys().count("missing");
    live.unknown_keys().count("missing");
    let usage = registry.take(live.unknown_keys());
    let expected = KeyUsage { key: "missing".into(), counted: Counted::Unknown, count: 2 };
    assert_eq!(usage, [expected]);
}
