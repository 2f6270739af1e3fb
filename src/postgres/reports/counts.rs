//! The usage that is not written yet, by key and hour, and when keys were served in bulk.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::usage::{KeyUsage, ResultUsage};

const HOUR: i64 = 3600;
/// The number of keys and hours that a worker keeps while it cannot write. The oldest go first.
const MAX_COUNTS: usize = 100_000;

#[derive(Clone, Copy, Debug, Default)]
struct Hourly {
    false_count: i64,
    true_count: i64,
    last: i64,
}

/// Usage by hour, key, and whether a flag existed. Times are Unix seconds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    hourly: BTreeMap<(i64, Box<str>, bool), Hourly>,
    /// The last times at which a key was served, and served to a browser. No more than there were
    /// flags.
    served: BTreeMap<Box<str>, [Option<i64>; 2]>,
    /// How often each result of a value was returned, by hour, key and number.
    results: BTreeMap<(i64, Arc<str>, u8), i64>,
}

/// The same as columns, the parameters of one statement.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) hours: Vec<i64>,
    pub(super) keys: Vec<String>,
    pub(super) defined: Vec<bool>,
    pub(super) false_counts: Vec<i64>,
    pub(super) true_counts: Vec<i64>,
    pub(super) last: Vec<i64>,
    pub(super) served_keys: Vec<String>,
    pub(super) served_in_bulk: Vec<Option<i64>>,
    pub(super) served_to_browsers: Vec<Option<i64>>,
    pub(super) result_hours: Vec<i64>,
    pub(super) result_keys: Vec<String>,
    pub(super) result_numbers: Vec<i16>,
    pub(super) result_counts: Vec<i64>,
}

impl Counts {
    /// Adds the usage up to `now`.
    pub(super) fn add(&mut self, usage: Vec<KeyUsage>, now: i64) {
        for KeyUsage { key, defined, false_count, true_count, served } in usage {
            if served != [false; 2] {
                let times = self.served.entry(key.clone()).or_default();
                *times = [0, 1].map(|bulk| if served[bulk] { Some(now) } else { times[bulk] });
            }
            if (false_count, true_count) == (0, 0) {
                continue;
            }
            let hour = (hour_of(now), key, defined);
            let hourly = self.hourly.entry(hour).or_default();
            hourly.false_count = hourly.false_count.saturating_add_unsigned(false_count);
            hourly.true_count = hourly.true_count.saturating_add_unsigned(true_count);
            hourly.last = hourly.last.max(now);
        }
        while self.hourly.len() > MAX_COUNTS {
            self.hourly.pop_first();
        }
    }

    /// Adds the results of values up to `now`.
    pub(super) fn add_results(&mut self, usage: Vec<ResultUsage>, now: i64) {
        for ResultUsage { key, number, count } in usage {
            let counted = self.results.entry((hour_of(now), key, number)).or_default();
            *counted = counted.saturating_add_unsigned(count);
        }
        while self.results.len() > MAX_COUNTS {
            self.results.pop_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hourly.is_empty() && self.served.is_empty() && self.results.is_empty()
    }

    /// Removes and returns everything.
    pub(super) fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        for ((hour, key, defined), hourly) in std::mem::take(&mut self.hourly) {
            columns.hours.push(hour);
            columns.keys.push(key.into());
            columns.defined.push(defined);
            columns.false_counts.push(hourly.false_count);
            columns.true_counts.push(hourly.true_count);
            columns.last.push(hourly.last);
        }
        for (key, [in_bulk, to_browsers]) in std::mem::take(&mut self.served) {
            columns.served_keys.push(key.into());
            columns.served_in_bulk.push(in_bulk);
            columns.served_to_browsers.push(to_browsers);
        }
        for ((hour, key, number), count) in std::mem::take(&mut self.results) {
            columns.result_hours.push(hour);
            columns.result_keys.push((*key).into());
            columns.result_numbers.push(number.into());
            columns.result_counts.push(count);
        }
        columns
    }
}

/// The start of the hour of `now`.
fn hour_of(now: i64) -> i64 {
    now - now.rem_euclid(HOUR)
}

/// The seconds until the hour of `now` ends.
pub(super) fn left_of_hour(now: i64) -> u64 {
    (HOUR - now.rem_euclid(HOUR)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(key: &str, true_count: u64) -> Vec<KeyUsage> {
        let counts = KeyUsage { false_count: 1, true_count, ..served(key, [false; 2]) };
        vec![counts]
    }

    fn served(key: &str, served: [bool; 2]) -> KeyUsage {
        KeyUsage { key: key.into(), defined: true, served, ..KeyUsage::default() }
    }

    #[test]
    fn usage_within_one_hour_is_added_up() {
        let mut counts = Counts::default();
        counts.add(usage("a", 2), 7200);
        counts.add(usage("a", 3), 10_799);
        counts.add(usage("a", 4), 10_800);
        let columns = counts.take();
        assert_eq!(columns.hours, [7200, 10_800]);
        assert_eq!((columns.true_counts, columns.false_counts), (vec![5, 4], vec![2, 1]));
        assert_eq!(columns.last, [10_799, 10_800]);
        assert!(counts.is_empty());
    }

    #[test]
    fn key_that_is_only_served_has_times_and_no_hour() {
        let mut counts = Counts::default();
        counts.add(vec![served("a", [true, false]), served("b", [true, true])], 7200);
        counts.add(vec![served("a", [false, true]), served("b", [true, false])], 10_800);
        assert!(!counts.is_empty());
        let columns = counts.take();
        assert_eq!((columns.hours.len(), columns.served_keys), (0, vec!["a".into(), "b".into()]));
        assert_eq!(columns.served_in_bulk, [Some(7200), Some(10_800)]);
        assert_eq!(columns.served_to_browsers, [Some(10_800), Some(7200)]);
        assert!(counts.is_empty());
    }

    #[test]
    fn key_that_is_served_and_evaluated_has_both() {
        let mut counts = Counts::default();
        counts.add(vec![KeyUsage { true_count: 3, ..served("a", [true, false]) }], 7200);
        let columns = counts.take();
        assert_eq!((columns.keys, columns.true_counts), (vec!["a".into()], vec![3]));
        assert_eq!(
            (columns.served_keys, columns.served_in_bulk),
            (vec!["a".into()], vec![Some(7200)])
        );
    }

    #[test]
    fn results_of_a_value_are_added_up_by_hour_and_number() {
        let result = |number, count| ResultUsage { key: "a".into(), number, count };
        let mut counts = Counts::default();
        counts.add_results(vec![result(0, 1), result(2, 5)], 7200);
        counts.add_results(vec![result(2, 6)], 10_799);
        counts.add_results(vec![result(2, 7)], 10_800);
        assert!(!counts.is_empty());
        let columns = counts.take();
        assert_eq!(columns.result_hours, [7200, 7200, 10_800]);
        assert_eq!(columns.result_numbers, [0, 2, 2]);
        assert_eq!(columns.result_counts, [1, 11, 7]);
        assert!(counts.is_empty());
    }

    #[test]
    fn counts_over_the_maximum_drop_the_oldest_hours() {
        let mut counts = Counts::default();
        for hour in 0..=i64::try_from(MAX_COUNTS).expect("a small number") {
            counts.add(usage("a", 1), hour * HOUR);
        }
        let columns = counts.take();
        assert_eq!((columns.hours.len(), columns.hours[0]), (MAX_COUNTS, HOUR));
    }

    #[test]
    fn hour_ends_after_its_last_second() {
        assert_eq!([0, 1, 3599, 3600].map(left_of_hour), [3600, 3599, 1, 3600]);
    }
}
