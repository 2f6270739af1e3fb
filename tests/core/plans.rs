//! Rollout plans in snapshots: which flags are watched, what the watches have measured, and which
//! plans a driver guards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstaff::observation::{Observation, Origin};
use flagstaff::row::PlanRow;
use flagstaff::snapshot::{Loaded, Snapshot};
use flagstaff::watch::{CountKind, Outcome, Watch};
use flagstaff::watch_registry::{WatchRegistry, reset_after_fork};

use crate::rows::{flag, flags, plan, plans};

fn watched(rows: impl IntoIterator<Item = PlanRow>) -> Snapshot {
    let flags = flags([flag("1", "checkout", 25), flag("2", "search", 25)]);
    Snapshot::default().next(Loaded { plans: plans(rows).plans, ..flags })
}

fn watch_of(snapshot: &Snapshot, key: &str) -> Option<Arc<Watch>> {
    snapshot.flag(key).expect("the flag exists").watch().cloned()
}

/// Counts a request of a user outside of the rollout of `checkout`.
fn count_request(snapshot: &Snapshot) {
    let watch = watch_of(snapshot, "checkout").expect("a watch");
    let mut observation = Observation::default();
    observation.note(&watch, watch.unit("1"), false, false);
    observation.end(Outcome { failed: false, took: Duration::ZERO }, &Origin::default());
}

/// The runs that have measured something since the last call, with their numbers of requests.
fn taken(registry: &WatchRegistry) -> Vec<(i64, u64)> {
    let requests = |counts: &[(bool, CountKind, u64)]| {
        counts.iter().find(|(_, kind, _)| *kind == CountKind::Requests).map_or(0, |found| found.2)
    };
    registry.take().iter().map(|measured| (measured.run, requests(&measured.counts))).collect()
}

#[test]
fn flag_of_a_plan_that_measures_is_watched() {
    let snapshot = watched([plan("1", Some(7))]);
    assert_eq!(watch_of(&snapshot, "checkout").expect("a watch").run(), 7);
    assert!(watch_of(&snapshot, "search").is_none());
    assert!(snapshot.flag("search").expect("the flag exists").targeting.is_none());
}

#[test]
fn flag_of_a_paused_plan_is_not_watched() {
    assert!(watch_of(&watched([plan("1", None)]), "checkout").is_none());
}

#[test]
fn run_that_goes_on_keeps_its_watch() {
    let before = watched([plan("1", Some(7))]);
    let guarded = PlanRow { guarded_for: Some(300.0), ..plan("1", Some(7)) };
    let after = before.next(plans([guarded]));
    let (before, after) = (watch_of(&before, "checkout"), watch_of(&after, "checkout"));
    assert!(Arc::ptr_eq(&before.expect("a watch"), &after.expect("a watch")));
}

#[test]
fn next_run_and_new_limits_get_a_watch_of_their_own() {
    let before = watched([plan("1", Some(7))]);
    let next = before.next(plans([plan("1", Some(8))]));
    assert_eq!(watch_of(&next, "checkout").expect("a watch").run(), 8);
    let limits = PlanRow { latency_limits: r#"{"1": 0.5}"#.into(), ..plan("1", Some(7)) };
    let limited = before.next(plans([limits]));
    let (before, limited) = (watch_of(&before, "checkout"), watch_of(&limited, "checkout"));
    assert!(!Arc::ptr_eq(&before.expect("a watch"), &limited.expect("a watch")));
}

#[test]
fn plan_that_ends_leaves_no_watch() {
    let after = watched([plan("1", Some(7))]).next(plans([]));
    assert!(after.flag("checkout").expect("the flag exists").targeting.is_none());
    assert_eq!(after.watches().count(), 0);
}

#[test]
fn changed_flag_stays_watched() {
    let before = watched([plan("1", Some(7))]);
    let after = before.next(flags([flag("1", "checkout", 50)]));
    let (before, after) = (watch_of(&before, "checkout"), watch_of(&after, "checkout"));
    assert!(Arc::ptr_eq(&before.expect("a watch"), &after.expect("a watch")));
}

#[test]
fn each_request_of_a_registered_watch_is_taken_once() {
    let snapshot = watched([plan("1", Some(7)), plan("2", Some(8))]);
    let registry = WatchRegistry::default();
    registry.add(&snapshot);
    for _ in 0..2 {
        count_request(&snapshot);
        assert_eq!(taken(&registry), [(7, 1)]);
        assert_eq!(taken(&registry), []);
    }
}

#[test]
fn watch_of_a_run_that_has_ended_is_taken_once_more_and_dropped() {
    let snapshot = watched([plan("1", Some(7))]);
    let registry = WatchRegistry::default();
    registry.add(&snapshot);
    count_request(&snapshot);
    let watch = Arc::downgrade(&watch_of(&snapshot, "checkout").expect("a watch"));
    drop(snapshot);
    assert_eq!(taken(&registry), [(7, 1)]);
    assert!(watch.upgrade().is_none());
}

#[test]
fn forked_child_takes_no_requests_of_its_parent() {
    let snapshot = watched([plan("1", Some(7))]);
    WatchRegistry::default().add(&snapshot);
    count_request(&snapshot);
    reset_after_fork(Some(&snapshot));
    let registry = WatchRegistry::default();
    registry.add(&snapshot);
    assert_eq!(taken(&registry), []);
    count_request(&snapshot);
    assert_eq!(taken(&registry), [(7, 1)]);
}

#[test]
fn plan_is_unguarded_after_its_time() {
    let guarded = |seconds| PlanRow { guarded_for: Some(seconds), ..plan("1", Some(7)) };
    let snapshot = watched([guarded(60.0)]);
    let at = |after| Instant::now() + Duration::from_secs(after);
    assert_eq!(snapshot.unguarded(at(50)).count(), 0);
    assert_eq!(snapshot.unguarded(at(61)).collect::<Vec<_>>(), ["checkout"]);
    let missed = watched([guarded(-5.0)]);
    assert_eq!(missed.unguarded(at(1)).count(), 1);
    assert_eq!(watched([plan("1", Some(7))]).unguarded(at(1000)).count(), 0);
}

#[test]
fn limits_that_cannot_be_read_are_a_problem() {
    let limits = |text: &str| PlanRow { latency_limits: text.into(), ..plan("1", Some(7)) };
    for text in ["", "[]", r#"{"1": -1}"#, r#"{"1": 1e99}"#, r#"{"one": 1}"#] {
        let snapshot = watched([limits(text)]);
        assert_eq!(snapshot.problems().count(), 1, "{text}");
        assert!(watch_of(&snapshot, "checkout").is_some());
        assert_eq!(snapshot.next(plans([limits("{}")])).problems().count(), 0);
    }
}
