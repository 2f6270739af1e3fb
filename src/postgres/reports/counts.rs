//! The usage that is not written yet, by key and hour.

use std::collections::BTreeMap;

use crate::usage::KeyUsage;

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
pub(super) struct Counts(BTreeMap<(i64, Box<str>, bool), Hourly>);

/// The same as columns, the parameters of one statement.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) hours: Vec<i64>,
    pub(super) keys: Vec<String>,
    pub(super) defined: Vec<bool>,
    pub(super) false_counts: Vec<i64>,
    pub(super) true_counts: Vec<i64>,
    pub(super) last: Vec<i64>,
}

impl Counts {
    /// Adds the usage up to `now`.
    pub(super) fn add(&mut self, usage: Vec<KeyUsage>, now: i64) {
        for KeyUsage { key, defined, false_count, true_count } in usage {
            let hourly = self.0.entry((now - now.rem_euclid(HOUR), key, defined)).or_default();
            hourly.false_count = hourly.false_count.saturating_add_unsigned(false_count);
            hourly.true_count = hourly.true_count.saturating_add_unsigned(true_count);
            hourly.last = hourly.last.max(now);
        }
        while self.0.len() > MAX_COUNTS {
            self.0.pop_first();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes and returns everything.
    pub(super) fn take(&mut self) -> Columns {
        let mut columns = Columns::default();
        for ((hour, key, defined), hourly) in std::mem::take(&mut self.0) {
            columns.hours.push(hour);
            columns.keys.push(key.into());
            columns.defined.push(defined);
            columns.false_counts.push(hourly.false_count);
            columns.true_counts.push(hourly.true_count);
            columns.last.push(hourly.last);
        }
        columns
    }
}

/// The seconds until the hour of `now` ends.
pub(super) fn left_of_hour(now: i64) -> u64 {
    (HOUR - now.rem_euclid(HOUR)).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(key: &str, true_count: u64) -> Vec<KeyUsage> {
        vec![KeyUsage { key: key.into(), defined: true, false_count: 1, true_count }]
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
