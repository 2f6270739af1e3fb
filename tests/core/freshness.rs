//! The age of the snapshot, and since when it equals the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstaff::live::Live;

use crate::live::{started, with_token};

const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn a_second_ago() -> Instant {
    Instant::now().checked_sub(SECOND).expect("the clock runs")
}

/// A snapshot whose load began at this instant, a second ago.
fn loaded() -> (Live, Instant) {
    let (live, read_at) = (started(), a_second_ago());
    assert!(live.publish(None, with_token(1), read_at));
    (live, read_at)
}

#[test]
fn age_counts_from_the_start_of_the_load_and_not_from_a_refused_publication() {
    let (live, read_at) = loaded();
    assert!(!live.publish(None, with_token(2), Instant::now()));
    let age = live.age().expect("it is loaded");
    assert!(age >= SECOND && age <= read_at.elapsed());
}

#[test]
fn confirmation_lowers_the_age_and_an_older_one_does_not_raise_it() {
    let (live, read_at) = loaded();
    assert!(live.age().expect("it is loaded") >= SECOND);
    let again = Instant::now();
    live.confirm(again);
    live.confirm(read_at);
    assert!(live.age().expect("it is loaded") <= again.elapsed());
}

#[test]
fn nothing_is_current_before_the_first_load() {
    let (new, started) = (Live::new(), started());
    for live in [&new, &started] {
        assert!(!live.is_current_since(Instant::now()));
    }
    assert!(!started.is_current_since(a_second_ago()));
}

#[test]
fn snapshot_is_current_up_to_the_start_of_its_load() {
    let live = started();
    live.confirm(a_second_ago());
    let before = Instant::now();
    let read_at = before + NANOSECOND;
    assert!(live.publish(None, with_token(1), read_at));
    assert!(live.is_current_since(before) && live.is_current_since(read_at));
    assert!(!live.is_current_since(read_at + NANOSECOND));
}

#[test]
fn first_confirmation_is_exact_and_an_older_one_changes_nothing() {
    let live = Live::new();
    let first = Instant::now();
    live.confirm(first);
    assert!(live.is_current_since(first) && !live.is_current_since(first + NANOSECOND));
    let older = a_second_ago();
    live.confirm(older);
    assert!(live.is_current_since(older) && live.is_current_since(first));
    assert!(live.age().is_some_and(|age| age <= first.elapsed()));
}

#[test]
fn confirmation_moves_the_instant_forward_and_an_older_one_not_back() {
    let live = started();
    let first = Instant::now() + NANOSECOND;
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
    let first = Instant::now();
    live.confirm(first);
    let centuries = Duration::from_secs(600 * 365 * 86_400);
    let Some(far) = first.checked_add(centuries) else { return };
    live.confirm(far);
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
