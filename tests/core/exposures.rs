//! The exposures of a process: each unit once, in bounded memory.

use flagstaff::allocation::VariantNumber;
use flagstaff::bucket::{Position, position};
use flagstaff::exposures::{Exposures, Known};
use flagstaff::row::ExperimentRow;
use flagstaff::snapshot::Snapshot;

use crate::rows::{experiment, experiments, snapshot};

fn running() -> Snapshot {
    snapshot([experiments([experiment("1", "a")])])
}

fn place(unit: &str) -> Position {
    position("experiment:a:0", unit)
}

fn knows(
    exposures: &Exposures,
    snapshot: &Snapshot,
    unit: &str,
    variant: VariantNumber,
    knows_user: bool,
) -> bool {
    let found = snapshot.experiment("a").expect("the experiment");
    let known = Known { user: knows_user, returned: false };
    exposures.contains(found, (place(unit), variant), known)
}

fn record(exposures: &Exposures, snapshot: &Snapshot, unit: &str, user: Option<&str>) {
    let found = snapshot.experiment("a").expect("the experiment");
    exposures.record(found, (place(unit), 0), unit, user, false);
}

/// The units and users that were recorded since the last call.
fn taken(exposures: &Exposures) -> Vec<(String, Option<String>)> {
    let taken = exposures.take(usize::MAX);
    taken.into_iter().map(|one| (one.unit.into(), one.user.map(Into::into))).collect()
}

#[test]
fn recorded_unit_is_taken_once() {
    let (exposures, snapshot) = (Exposures::new(), running());
    assert!(exposures.is_empty());
    record(&exposures, &snapshot, "42", None);
    assert!(!exposures.is_empty());
    let taken = exposures.take(10);
    let [exposure] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((&*exposure.unit, &*exposure.variant), ("42", "control"));
    assert_eq!(exposure.run, 0);
    assert_eq!(&*exposure.experiment.key, "a");
    assert_eq!(exposures.take(10), []);
    assert!(exposures.is_empty());
}

#[test]
fn first_exposures_are_taken_first() {
    let (exposures, snapshot) = (Exposures::new(), running());
    for unit in ["1", "2", "3"] {
        record(&exposures, &snapshot, unit, None);
    }
    let units = |limit| {
        let taken = exposures.take(limit);
        taken.into_iter().map(|one| one.unit.into()).collect::<Vec<String>>()
    };
    assert_eq!(units(2), ["1", "2"]);
    assert_eq!(exposures.len(), 1);
    assert_eq!(units(2), ["3"]);
}

#[test]
fn recorded_unit_is_known_with_its_variant_only() {
    let (exposures, snapshot) = (Exposures::new(), running());
    assert!(!knows(&exposures, &snapshot, "42", 0, false));
    record(&exposures, &snapshot, "42", None);
    assert!(knows(&exposures, &snapshot, "42", 0, false));
    assert!(!knows(&exposures, &snapshot, "42", 1, false));
    assert!(!knows(&exposures, &snapshot, "43", 0, false));
}

#[test]
fn visitor_is_recorded_again_once_the_user_is_known() {
    let (exposures, snapshot) = (Exposures::new(), running());
    record(&exposures, &snapshot, "v", None);
    assert!(!knows(&exposures, &snapshot, "v", 0, true));
    record(&exposures, &snapshot, "v", Some("42"));
    assert!(knows(&exposures, &snapshot, "v", 0, true));
    let all = [("v".to_owned(), None), ("v".to_owned(), Some("42".to_owned()))];
    assert_eq!(taken(&exposures), all);
}

#[test]
fn visitor_with_a_user_is_known_without_the_user_too() {
    let (exposures, snapshot) = (Exposures::new(), running());
    record(&exposures, &snapshot, "v", Some("42"));
    assert!(knows(&exposures, &snapshot, "v", 0, false));
}

#[test]
fn exposure_beyond_the_limit_is_counted_as_lost_and_tried_again() {
    let (exposures, snapshot) = (Exposures::new(), running());
    for unit in 0..100_010 {
        record(&exposures, &snapshot, &unit.to_string(), None);
    }
    let identity = &snapshot.experiment("a").expect("the experiment").identity;
    assert_eq!(identity.take_lost(), 10);
    assert_eq!(identity.take_lost(), 0);
    assert!(!knows(&exposures, &snapshot, "100005", 0, false));
    assert_eq!(exposures.take(usize::MAX).len(), 100_000);
    record(&exposures, &snapshot, "100005", None);
    assert_eq!(taken(&exposures), [("100005".to_owned(), None)]);
}

#[test]
fn forked_child_records_again_and_writes_nothing_of_its_parent() {
    let (exposures, snapshot) = (Exposures::new(), running());
    record(&exposures, &snapshot, "42", None);
    exposures.reset_after_fork();
    assert!(exposures.is_empty());
    assert!(!knows(&exposures, &snapshot, "42", 0, false));
    record(&exposures, &snapshot, "42", None);
    assert_eq!(taken(&exposures), [("42".to_owned(), None)]);
}

#[test]
fn thousands_of_units_stay_known() {
    let (exposures, snapshot) = (Exposures::new(), running());
    let units: Vec<_> = (0..50_000).map(|unit: u32| unit.to_string()).collect();
    for unit in &units {
        record(&exposures, &snapshot, unit, None);
    }
    let forgotten =
        units.iter().filter(|unit| !knows(&exposures, &snapshot, unit, 0, false)).count();
    assert!(forgotten < 500, "{forgotten} of 50,000");
}

#[test]
fn another_experiment_with_the_same_key_records_its_own_units() {
    let (exposures, snapshot_before) = (Exposures::new(), running());
    record(&exposures, &snapshot_before, "42", None);
    let created_again = snapshot([experiments([experiment("2", "a")])]);
    assert!(!knows(&exposures, &created_again, "42", 0, false));
}

#[test]
fn visitor_that_has_returned_is_recorded_once_more() {
    let (exposures, snapshot) = (Exposures::new(), running());
    let found = snapshot.experiment("a").expect("the experiment");
    let knows =
        |returned| exposures.contains(found, (place("v"), 0), Known { user: false, returned });
    exposures.record(found, (place("v"), 0), "v", None, false);
    assert_eq!((knows(false), knows(true)), (true, false));
    exposures.record(found, (place("v"), 0), "v", None, true);
    assert_eq!((knows(false), knows(true)), (true, true));
    assert_eq!(exposures.take(9).iter().map(|one| one.returned).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn new_units_above_the_limit_are_left_out_for_their_run_in_order_of_arrival() {
    let exposures = Exposures::new();
    exposures.begin(3);
    let run = |number| {
        let row = ExperimentRow { run: number, ..experiment("1", "a") };
        snapshot([experiments([row])])
    };
    let admitted = |snapshot: &Snapshot, units: &[&str], is_new| {
        let found = snapshot.experiment("a").expect("the experiment");
        // The variant of every other unit is another one.
        let admits = |(variant, unit): (usize, &&str)| {
            let variant = VariantNumber::try_from(variant % 2).expect("a small number");
            exposures.admits(found, (position(&found.seed, unit), variant), is_new)
        };
        units.iter().enumerate().map(admits).collect::<Vec<_>>()
    };
    let first = run(1);
    assert_eq!(
        admitted(&first, &["1", "2", "3", "4", "5"], true),
        [true, true, true, false, false]
    );
    // Neither a later request of the same units, nor the other variant, changes that.
    assert_eq!(admitted(&first, &["5", "4", "6"], false), [false, false, true]);
    let identity = &first.experiment("a").expect("the experiment").identity;
    assert_eq!((identity.take_left_out(), identity.take_lost()), (2, 0));
    assert_eq!(admitted(&run(2), &["4"], false), [true]);
    exposures.reset_after_fork();
    assert_eq!(admitted(&first, &["4", "7"], true), [true, true]);
}
