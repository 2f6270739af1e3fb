//! The current snapshot: which publications succeed, and its age.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagstaff::live::{EvaluationMode, Live};
use flagstaff::snapshot::{Loaded, Snapshot};

use crate::rows::{flag, flags, token_set};

fn started() -> Live {
    let live = Live::new();
    live.set_mode(EvaluationMode::Memory, false);
    live
}

fn with_token(newest: i64) -> Snapshot {
    Snapshot::default().next(Loaded { token_set: Some(token_set(newest)), ..Loaded::default() })
}

fn token(live: &Live) -> Option<i64> {
    live.snapshot()?.token_set().map(flagstaff::token_set::TokenSet::newest)
}

#[test]
fn live_not_started_refuses_publication() {
    let live = Live::new();
    assert!(live.current().is_none() && live.snapshot().is_none() && live.age().is_none());
    assert!(!live.publish(None, with_token(1), Instant::now()));
    assert_eq!((live.swaps(), live.age()), (0, None));
}

#[test]
fn live_starting_has_a_mode_and_no_snapshot() {
    let live = Live::new();
    live.set_mode(EvaluationMode::Starting, true);
    let current = live.current();
    let state = current.as_ref().expect("it is started");
    assert_eq!((state.mode, state.report_unknown), (EvaluationMode::Starting, true));
    assert!(state.snapshot.is_none() && live.age().is_none());
}

#[test]
fn mode_change_keeps_the_snapshot() {
    let live = started();
    assert!(live.publish(None, with_token(1), Instant::now()));
    live.set_mode(EvaluationMode::Inherited, true);
    assert_eq!((token(&live), live.swaps()), (Some(1), 1));
    assert!(live.age().is_some());
    let current = live.current();
    let state = current.as_ref().expect("it is started");
    assert_eq!((state.mode, state.report_unknown), (EvaluationMode::Inherited, true));
}

#[test]
fn publication_keeps_the_mode() {
    let live = Live::new();
    live.set_mode(EvaluationMode::Direct, true);
    assert!(live.publish(None, with_token(1), Instant::now()));
    let current = live.current();
    let state = current.as_ref().expect("it is started");
    assert_eq!((state.mode, state.report_unknown), (EvaluationMode::Direct, true));
}

#[test]
fn publication_from_a_stale_base_is_refused() {
    let live = started();
    assert!(live.publish(None, with_token(1), Instant::now()));
    let first = live.snapshot();
    assert!(live.publish(first.as_ref(), with_token(2), Instant::now()));
    for stale in [None, first.as_ref(), Some(&Arc::new(with_token(2)))] {
        assert!(!live.publish(stale, with_token(3), Instant::now()));
    }
    assert_eq!((token(&live), live.swaps()), (Some(2), 2));
}

#[test]
fn refused_publication_does_not_change_the_age() {
    let live = started();
    let read_at = Instant::now();
    assert!(live.publish(None, with_token(1), read_at));
    assert!(!live.publish(None, with_token(2), read_at + Duration::from_secs(100)));
    thread::sleep(Duration::from_millis(20));
    assert!(live.age().expect("it is loaded") >= Duration::from_millis(20));
}

#[test]
fn age_counts_from_the_start_of_the_load() {
    let live = started();
    thread::sleep(Duration::from_millis(30));
    let read_at = Instant::now().checked_sub(Duration::from_millis(20)).expect("the clock runs");
    assert!(live.publish(None, with_token(1), read_at));
    assert!(live.age().expect("it is loaded") >= Duration::from_millis(20));
}

#[test]
fn confirmation_lowers_the_age_and_an_older_one_does_not_raise_it() {
    let live = started();
    let read_at = Instant::now();
    assert!(live.publish(None, with_token(1), read_at));
    thread::sleep(Duration::from_millis(30));
    assert!(live.age().expect("it is loaded") >= Duration::from_millis(30));
    let again = Instant::now();
    live.confirm(again);
    live.confirm(read_at);
    assert!(live.age().expect("it is loaded") <= again.elapsed());
}

#[test]
fn reset_drops_the_snapshot_until_started_again() {
    let live = started();
    assert!(live.publish(None, with_token(1), Instant::now()));
    live.reset();
    assert!(live.snapshot().is_none() && live.age().is_none());
    assert!(live.current().as_ref().is_none_or(|state| state.mode == EvaluationMode::NotStarted));
    assert!(!live.publish(None, with_token(2), Instant::now()));
    live.set_mode(EvaluationMode::Memory, false);
    assert!(live.snapshot().is_none() && live.age().is_none());
    assert!(live.publish(None, with_token(2), Instant::now()));
    assert_eq!(token(&live), Some(2));
}

#[test]
fn concurrent_publications_from_one_base_succeed_once() {
    let live = started();
    assert!(live.publish(None, with_token(0), Instant::now()));
    let base = live.snapshot();
    let published = thread::scope(|scope| {
        let tries = [1, 2, 3, 4].map(|newest| {
            let (live, base) = (&live, base.as_ref());
            scope.spawn(move || live.publish(base, with_token(newest), Instant::now()))
        });
        tries.map(|publication| publication.join().expect("no panic"))
    });
    assert_eq!(published.iter().filter(|published| **published).count(), 1);
    assert_eq!(live.swaps(), 2);
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
        for newest in 1..=2_000 {
            let base = live.snapshot();
            assert!(live.publish(base.as_ref(), with_token(newest), Instant::now()));
            assert_eq!(token(&live), Some(newest));
        }
        done.store(true, Ordering::Relaxed);
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
    assert!(live.publish(None, pair(0), Instant::now()));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while last < 1_000 {
                let snapshot = live.snapshot().expect("it is loaded");
                let [one, other] =
                    ["one", "other"].map(|key| snapshot.flag(key).map(|flag| flag.rollout_percent));
                assert_eq!(one, other);
                assert!(one >= Some(last));
                last = one.expect("both are there");
            }
        });
        for percent in 1..=1_000 {
            let base = live.snapshot();
            assert!(live.publish(base.as_ref(), pair(percent), Instant::now()));
        }
        reader.join().expect("no panic");
    });
}
