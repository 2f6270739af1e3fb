//! The age of the snapshot, and since when it equals the database.

use std::sync::Arc;
use std::time::Duration;

use flagstaff::boot_time::since_boot;
use flagstaff::live::Live;

use crate::live::{started, with_token};

const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn a_second_ago() -> Duration {
    since_boot().checked_sub(SECOND).expect("the clock runs")
}

fn time_since(time: Duration) -> Duration {
    since_boot().saturating_sub(time)
}

/// A snapshot whose load began at this time, a second ago.
fn loaded() -> (Live, Duration) {
    let (live, read_at) = (started(), a_second_ago());
    assert!(live.publish(None, with_token(1), read_at));
    (live, read_at)
}

#[test]
fn age_counts_from_the_start_of_the_load_and_not_from_a_refused_publication() {
    let (live, read_at) = loaded();
    assert!(!live.publish(None, with_token(2), since_boot()));
    let age = live.age().expect("it is loaded");
    assert!(age >= SECOND && age <= time_since(read_at));
}

#[test]
fn confirmation_lowers_the_age_and_an_older_one_does_not_raise_it() {
    let (live, read_at) = loaded();
    assert!(live.age().expect("it is loaded") >= SECOND);
    let again = since_boot();
    live.confirm(again);
    live.confirm(read_at);
    assert!(live.age().expect("it is loaded") <= time_since(again));
}

#[test]
fn nothing_is_current_before_the_first_load() {
    let (new, started) = (Live::new(), started());
    for live in [&new, &started] {
        assert!(!live.is_current_since(since_boot()));
    }
    assert!(!started.is_current_since(a_second_ago()));
}

#[test]
fn snapshot_is_current_up_to_the_start_of_its_load() {
    let live = started();
    live.confirm(a_second_ago());
    let before = since_boot();
    let read_at = before + NANOSECOND;
    assert!(live.publish(None, with_token(1), read_at));
    assert!(live.is_current_since(before) && live.is_current_since(read_at));
    assert!(!live.is_current_since(read_at + NANOSECOND));
}

#[test]
fn first_confirmation_is_exact_and_an_older_one_changes_nothing() {
    let live = Live::new();
    let first = since_boot();
    live.confirm(first);
    assert!(live.is_current_since(first) && !live.is_current_since(first + NANOSECOND));
    let older = a_second_ago();
    live.confirm(older);
    assert!(live.is_current_since(older) && live.is_current_since(first));
    assert!(live.age().is_some_and(|age| age <= time_since(first)));
}

#[test]
fn confirmation_moves_the_instant_forward_and_an_older_one_not_back() {
    let live = started();
    let first = since_boot() + NANOSECOND;
    let second = first + SECOND;
    live.confirm(first);
    assert!(!live.is_current_since(second));
    live.confirm(second);
    live.confirm(first);
    assert!(live.is_current_since(second));
}

#[test]
fn confirmation_beyond_64_bits_of_nanoseconds_is_the_newest() {
    let live = started();
    let first = since_boot();
    live.confirm(first);
    let centuries = Duration::from_secs(600 * 365 * 86_400);
    live.confirm(first + centuries);
    assert!(live.is_current_since(first + Duration::from_secs(500 * 365 * 86_400)));
    assert_eq!(live.age(), Some(Duration::ZERO));
}

#[test]
fn reset_and_a_refused_publication_make_nothing_current() {
    let (live, read_at) = loaded();
    assert!(live.is_current_since(read_at));
    live.reset();
    assert!(!live.is_current_since(read_at));
    let live = started();
    assert!(!live.publish(Some(&Arc::default()), with_token(1), read_at));
    assert!(!live.is_current_since(read_at));
}

/// The kernel's own figure, which counts the time that the machine was suspended.
#[cfg(target_os = "linux")]
#[test]
fn age_is_measured_by_the_time_since_boot_and_not_by_the_time_awake() {
    let uptime = || {
        let read = std::fs::read_to_string("/proc/uptime").expect("a figure of the kernel");
        let seconds = read.split(' ').next().and_then(|seconds| seconds.parse().ok());
        Duration::from_secs_f64(seconds.expect("seconds"))
    };
    let (before, now, after) = (uptime(), since_boot(), uptime());
    // The kernel rounds to hundredths.
    assert!(before <= now && now <= after + SECOND / 50, "{before:?}, {now:?}, {after:?}");
}
